#include "lib/api/object.h"

#include <errno.h>

#include "lib/api/api_internal.h"

/* Trees are worth keeping for the objects in use right now only: a bounded list, the most recently used in front. */
static struct {
	struct list lru;
	unsigned n, limit;
} cache = {.lru = {&cache.lru, &cache.lru}, .limit = 256};

static void cache_drop(struct object *o)
{
	if (!o->tree)
		return;
	json_decref(STEAL(o->tree));
	list_del(&o->lru);
	cache.n--;
}

static void cache_trim(void)
{
	while (cache.n > cache.limit)
		cache_drop(LIST_ENTRY(cache.lru.prev, struct object, lru));
}

/* Takes the reference. */
static void cache_put(struct object *o, json_t *tree)
{
	cache_drop(o);
	o->tree = tree;
	list_unshift(&cache.lru, &o->lru);
	cache.n++;
	cache_trim();
}

void object_cache_limit(unsigned trees)
{
	cache.limit = trees;
	cache_trim();
}

struct object *object_ref(struct object *o)
{
	o->refs++;
	return o;
}

void object_unref(struct object *o)
{
	if (!o || --o->refs > 0)
		return;
	cache_drop(o);
	blob_unref(o->bytes);
	free(o->idents);
	free(o);
}

struct span {
	const char *s;
	size_t len;
};

static struct object *object_new(const struct kind *k, struct blob *bytes, size_t rv_offset, uint64_t rv,
				 struct span ns, struct span name, struct span uid)
{
	struct object *o = NEW(struct object);

	o->refs = 1;
	o->kind = k;
	o->bytes = bytes;
	o->rv_offset = (uint32_t)rv_offset;
	o->rv = rv;
	list_init(&o->lru);
	char *p = o->idents = xmalloc(ns.len + name.len + uid.len + 3);
	const struct span parts[] = {ns, name, uid};
	const char **const slots[] = {&o->ns, &o->name, &o->uid};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		*slots[i] = p;
		if (parts[i].len)
			memcpy(p, parts[i].s, parts[i].len);
		p += parts[i].len;
		*p++ = '\0';
	}
	return o;
}

static struct span span_of(const json_t *v)
{
	return (struct span){json_string_value(v), json_string_length(v)};
}

static uint64_t rv_of(const json_t *meta)
{
	uint64_t rv = 0;
	const char *s = json_get_str(meta, "resourceVersion", NULL);
	if (s)
		parse_u64(s, &rv);
	return rv;
}

/* ---- serialized form: kind, apiVersion, metadata {name, namespace, uid, ...}, the rest ---- */

static void write_member(struct buf *out, const char *key, size_t key_len, const json_t *v)
{
	char last = out->data[out->len - 1];
	if (last != '{')
		buf_addc(out, ',');
	json_write_string(out, key, key_len);
	buf_addc(out, ':');
	json_write(out, v);
}

static void write_first(struct buf *out, const json_t *obj, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(obj, keys[i]);
		if (v)
			write_member(out, keys[i], strlen(keys[i]), v);
	}
}

static void write_others(struct buf *out, json_t *obj, const char *const *skip, size_t n)
{
	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
		const char *key = json_object_iter_key(it);
		bool skipped = false;
		for (size_t i = 0; i < n && !skipped; i++)
			skipped = strcmp(key, skip[i]) == 0;
		if (!skipped)
			write_member(out, key, json_object_iter_key_len(it), json_object_iter_value(it));
	}
}

static const char *const first_members[] = {"kind", "apiVersion", "metadata"};
static const char *const first_metadata[] = {"name", "namespace", "uid", "resourceVersion"};

/* Returns where the resource version goes. */
static size_t write_stored(struct buf *out, json_t *tree)
{
	json_t *meta = json_object_get(tree, "metadata");

	buf_addc(out, '{');
	write_first(out, tree, first_members, 2);
	if (out->data[out->len - 1] != '{')
		buf_addc(out, ',');
	buf_adds(out, "\"metadata\":{");
	size_t rv_offset = out->len;
	if (json_is_object(meta)) {
		write_first(out, meta, first_metadata, 3);
		write_others(out, meta, first_metadata, 4);
	}
	buf_addc(out, '}');
	write_others(out, tree, first_members, 3);
	buf_addc(out, '}');
	return rv_offset;
}

/* Takes no reference of tree; the object has no cached tree yet. */
static struct object *object_serialize(const struct kind *k, json_t *tree, uint64_t rv)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t rv_offset = write_stored(&b, tree);
	const json_t *meta = json_object_get(tree, "metadata");

	return object_new(k, blob_new(b.data, b.len), rv_offset, rv, span_of(json_object_get(meta, "namespace")),
			  span_of(json_object_get(meta, "name")), span_of(json_object_get(meta, "uid")));
}

struct object *object_from_tree(const struct kind *k, json_t *tree)
{
	struct object *o = object_serialize(k, tree, rv_of(json_object_get(tree, "metadata")));

	cache_put(o, json_incref(tree));
	return o;
}

/* ---- reading our own form back without a parse ---- */

static bool eat(const char **p, const char *end, const char *lit)
{
	size_t n = strlen(lit);
	if ((size_t)(end - *p) < n || memcmp(*p, lit, n) != 0)
		return false;
	*p += n;
	return true;
}

/* A string's content up to its closing quote; not for strings with escapes. */
static bool eat_string(const char **p, const char *end, struct span *ret)
{
	const char *q = memchr(*p, '"', (size_t)(end - *p));
	if (!q || memchr(*p, '\\', (size_t)(q - *p)))
		return false;
	*ret = (struct span){*p, (size_t)(q - *p)};
	*p = q + 1;
	return true;
}

/* "key":"value" followed by ',' (eaten) or '}' (left). Absent: true, empty span. */
static bool eat_member(const char **p, const char *end, const char *prefix, struct span *ret)
{
	if (!eat(p, end, prefix))
		return true;
	if (!eat_string(p, end, ret) || *p >= end)
		return false;
	if (**p == ',')
		(*p)++;
	return true;
}

static struct object *scan_stored(const struct kind *k, struct blob *bytes, uint64_t rv)
{
	const char *p = bytes->data, *end = p + bytes->len;
	struct span kind = {0}, version = {0}, name = {0}, ns = {0}, uid = {0};

	if (bytes->len < 2 || end[-1] != '}' || !eat(&p, end, "{"))
		return NULL;
	if (!eat_member(&p, end, "\"kind\":\"", &kind) || !eat_member(&p, end, "\"apiVersion\":\"", &version) ||
	    !eat(&p, end, "\"metadata\":{"))
		return NULL;
	size_t rv_offset = (size_t)(p - bytes->data);
	if (!eat_member(&p, end, "\"name\":\"", &name) || !eat_member(&p, end, "\"namespace\":\"", &ns) ||
	    !eat_member(&p, end, "\"uid\":\"", &uid) || p >= end || (*p != '"' && *p != '}'))
		return NULL;
	/* Only our writer puts uid and name in front; what came from elsewhere has none here, or a version inside. */
	if (!name.len || !uid.len)
		return NULL;
	return object_new(k, blob_ref(bytes), rv_offset, rv, ns, name, uid);
}

int object_from_bytes(const struct kind *k, struct blob *bytes, uint64_t rv, struct object **ret, struct err *err)
{
	struct object *o = scan_stored(k, bytes, rv);
	if (!o) {
		_cleanup_json_ json_t *tree = NULL;
		struct err why = ERR_INIT;
		if (json_parse(bytes->data, bytes->len, &tree, &why)) {
			int rc = err_set(err, -EPROTO, "stored bytes are not an object: %s", why.message);
			err_done(&why);
			return rc;
		}
		if (!json_is_object(tree))
			return err_set(err, -EPROTO, "stored bytes are not an object");
		o = object_serialize(k, tree, rv ? rv : rv_of(json_object_get(tree, "metadata")));
	}
	*ret = o;
	return 0;
}

int object_parse(const char *text, size_t len, struct object **ret, struct err *err)
{
	_cleanup_json_ json_t *tree = NULL;
	int rc = json_parse(text, len, &tree, err);

	if (rc)
		return rc;
	if (!json_is_object(tree))
		return err_status(err, ERR_BAD_REQUEST, "not an object");
	const struct kind *k =
		kind_by_api_version(json_get_str(tree, "apiVersion", ""), json_get_str(tree, "kind", ""));
	*ret = object_from_tree(k, tree);
	return 0;
}

/* ---- trees ---- */

static void set_rv(json_t *tree, uint64_t rv)
{
	char text[24];
	json_t *meta = json_need_object(tree, "metadata");

	snprintf(text, sizeof(text), "%llu", (unsigned long long)rv);
	json_put(meta, "resourceVersion", rv ? json_string_nocheck(text) : NULL);
}

json_t *object_tree(struct object *o)
{
	if (!o->tree) {
		json_t *tree = NULL;
		struct err err = ERR_INIT;
		if (json_parse(o->bytes->data, o->bytes->len, &tree, &err)) {
			/* The scanner took damaged bytes for an object's: what can be said of it is who it is. */
			err_done(&err);
			tree = json_make("{s:{s:s, s:s, s:s}}", "metadata", "name", o->name, "namespace", o->ns, "uid",
					 o->uid);
		}
		set_rv(tree, o->rv);
		json_t *ref = json_incref(tree);
		cache_put(o, tree);
		return ref;
	}
	json_t *meta = json_object_get(o->tree, "metadata");
	if (rv_of(meta) != o->rv) {
		/* made from a tree before its version was known; that tree may be shared, so it stays as it is */
		json_t *tree = json_copy(o->tree);
		json_t *new_meta = json_is_object(meta) ? json_copy(meta) : json_object();
		json_put(tree, "metadata", new_meta);
		set_rv(tree, o->rv);
		json_t *ref = json_incref(tree);
		cache_put(o, tree);
		return ref;
	}
	list_del(&o->lru);
	list_unshift(&cache.lru, &o->lru);
	return json_incref(o->tree);
}

json_t *object_edit(struct object *o)
{
	_cleanup_json_ json_t *tree = object_tree(o);
	return json_clone(tree);
}

void object_write(struct buf *out, const struct object *o)
{
	const char *data = o->bytes->data;

	if (!o->rv) {
		buf_add(out, data, o->bytes->len);
		return;
	}
	buf_reserve(out, o->bytes->len + 48);
	buf_add(out, data, o->rv_offset);
	char text[64];
	int n = snprintf(text, sizeof(text), "\"resourceVersion\":\"%llu\"%s", (unsigned long long)o->rv,
			 data[o->rv_offset] == '}' ? "" : ",");
	buf_add(out, text, (size_t)n);
	buf_add(out, data + o->rv_offset, o->bytes->len - o->rv_offset);
}
