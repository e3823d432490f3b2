#include "apiserver/tag.h"

#define TAG_MAGIC      0x74616721u
#define RECENT_SLOTS   512u
#define RECENT_MAX_LEN (16u << 10)

struct tag {
	uint32_t magic;
	json_t *labels; /* NULL: none, or not looked at */
	json_t *fields; /* a thin tree of the selectable fields */
	bool parsed;
};

static void tag_free(void *p)
{
	struct tag *t = p;
	json_decref(t->labels);
	json_decref(t->fields);
	free(t);
}

static struct tag *tag_of(struct blob *b)
{
	struct tag *t = b->tag;
	if (t) {
		MAGIC_CHECK(t, TAG_MAGIC);
		return t;
	}
	t = NEW(struct tag);
	t->magic = TAG_MAGIC;
	b->tag = t;
	b->tag_free = tag_free;
	return t;
}

/* Our own form begins with the same bytes for every object of a kind; what another writer left is asked. */
static size_t rv_offset(const struct resource *res, struct blob *b)
{
	if (b->len > res->head_len && memcmp(b->data, res->head, res->head_len) == 0)
		return res->head_len;
	struct object *o = NULL;
	if (object_from_bytes(res->kind, b, 1, &o, NULL) < 0)
		return 0;
	size_t at = o->bytes == b ? o->rv_offset : 0;
	object_unref(o);
	return at;
}

/* What a field that is left out says to a selector: `spec.unschedulable=false` finds the nodes without it. */
static json_t *zero_of(const struct schema_field *f)
{
	if (f && f->type == SCHEMA_BOOL)
		return json_false();
	return f && (f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64) ? json_integer(0) : NULL;
}

/* Copy the value at a dotted path into the same place of a thin tree. */
static void pick(json_t *thin, const struct schema *s, const json_t *tree, const char *path)
{
	char text[128];
	snprintf(text, sizeof(text), "%s", path);
	const json_t *from = tree;
	json_t *to = thin;
	for (char *save = NULL, *p = strtok_r(text, ".", &save); p;) {
		char *next = strtok_r(NULL, ".", &save);
		const struct schema_field *f = s ? schema_field(s, p) : NULL;
		json_t *v = json_object_get(from, p);
		if (next)
			to = json_need_object(to, p);
		else
			json_put(to, p, v ? json_incref(v) : zero_of(f));
		s = f ? f->of : NULL;
		from = v;
		p = next;
	}
}

static void tag_parse(struct apiserver *a, const struct resource *res, struct blob *b, struct tag *t)
{
	t->parsed = true;
	_cleanup_object_ struct object *o = recent_object(a, res, b, 1);
	if (!o)
		return;
	_cleanup_json_ json_t *tree = object_tree(o);
	t->labels = json_incref(json_path(tree, "metadata", "labels", NULL));
	t->fields = json_object();
	pick(t->fields, res->kind->schema, tree, "metadata.name");
	pick(t->fields, res->kind->schema, tree, "metadata.namespace");
	for (const char *const *f = res->kind->field_selectors; f && *f; f++)
		pick(t->fields, res->kind->schema, tree, *f);
}

bool tag_matches(struct apiserver *a, const struct resource *res, struct blob *b, const struct selector *labels,
		 const struct field_selector *fields)
{
	if (!labels && !fields)
		return true;
	struct tag *t = tag_of(b);
	if (!t->parsed)
		tag_parse(a, res, b, t);
	if (labels && !selector_matches(labels, t->labels))
		return false;
	return !fields || field_selector_matches(fields, t->fields);
}

void tag_write(const struct resource *res, struct blob *b, uint64_t rv, struct buf *out)
{
	size_t at = rv_offset(res, b);
	if (at == 0 || rv == 0) {
		buf_add(out, b->data, b->len);
		return;
	}
	char text[48];
	int n = snprintf(text, sizeof(text), "\"resourceVersion\":\"%llu\"%s", (unsigned long long)rv,
			 b->data[at] == '}' ? "" : ",");
	buf_reserve(out, b->len + (size_t)n);
	buf_add(out, b->data, at);
	buf_add(out, text, (size_t)n);
	buf_add(out, b->data + at, b->len - at);
}

/* ---- objects lately seen ---- */

struct recent {
	struct object *slots[RECENT_SLOTS];
};

static struct object **slot_of(struct recent *rc, const struct blob *b)
{
	uintptr_t p = (uintptr_t)b;
	return &rc->slots[(p >> 4 ^ p >> 14) % RECENT_SLOTS];
}

struct recent *recent_new(void)
{
	return NEW(struct recent);
}

void recent_free(struct recent *rc)
{
	if (!rc)
		return;
	for (unsigned i = 0; i < RECENT_SLOTS; i++)
		object_unref(rc->slots[i]);
	free(rc);
}

void recent_put(struct recent *rc, struct object *o)
{
	if (o->bytes->len > RECENT_MAX_LEN)
		return;
	struct object **slot = slot_of(rc, o->bytes);
	if (*slot == o)
		return;
	object_unref(*slot);
	*slot = object_ref(o);
}

struct object *recent_object(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv)
{
	struct object *o = *slot_of(a->recent, b);
	if (o && o->bytes == b && (o->rv == rv || rv == 1))
		return object_ref(o);
	if (object_from_bytes(res->kind, b, rv, &o, NULL) < 0)
		return NULL;
	return o;
}
