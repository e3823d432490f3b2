/* JSON patch (RFC 6902) and merge patch (RFC 7386). */
#include "lib/api/patch.h"

#include <errno.h>

#define OPS_MAX    10000
#define COPIED_MAX 1000000 /* nodes that `copy` may bring about */

struct json_patcher {
	json_t *doc;
	size_t copied;
	struct err *err;
	size_t op; /* which one, for messages */
};

static int refuse(struct json_patcher *p, enum err_reason reason, const char *what, const char *path)
{
	return err_status(p->err, reason, "operation %zu of the patch: %s%s%s%s", p->op, what, path ? ": \"" : "",
			  path ? path : "", path ? "\"" : "");
}

static int no_such(struct json_patcher *p, const char *path)
{
	return refuse(p, ERR_INVALID, "no such place", path);
}

/* One step of a pointer: *p stands behind its slash. Returns the unescaped token, NULL if malformed. */
static char *pointer_token(const char **p)
{
	size_t len = strcspn(*p, "/"), n = 0;
	_cleanup_free_ char *t = xmalloc(len + 1);

	for (size_t i = 0; i < len; i++) {
		char c = (*p)[i];
		if (c == '~') {
			i++;
			if (i >= len || ((*p)[i] != '0' && (*p)[i] != '1'))
				return NULL;
			c = (*p)[i] == '0' ? '~' : '/';
		}
		t[n++] = c;
	}
	t[n] = '\0';
	*p += len;
	return STEAL(t);
}

/* A list index: digits without leading zeros. Behind a minus they count from the end of `size`, as upstream has it. */
static bool list_index(const char *t, size_t size, size_t *ret)
{
	bool from_end = *t == '-';
	t += from_end;
	size_t n = strspn(t, "0123456789");
	if (!n || t[n] || (n > 1 && *t == '0') || n > 9)
		return false;
	size_t i = (size_t)atol(t);
	if (from_end && (i == 0 || i > size))
		return false;
	*ret = from_end ? size - i : i;
	return true;
}

static json_t *child(json_t *at, const char *token)
{
	size_t i;
	if (json_is_object(at))
		return json_object_get(at, token);
	return json_is_array(at) && list_index(token, json_array_size(at), &i) ? json_array_get(at, i) : NULL;
}

/* The container that holds the place, and the last token. The path "" (the whole) gives *ret_parent NULL. */
static int locate(struct json_patcher *p, const char *path, json_t **ret_parent, char **ret_token, unsigned *ret_depth)
{
	json_t *at = p->doc;
	const char *s = path;
	unsigned depth = 0;

	if (!*s) {
		*ret_parent = NULL;
		*ret_token = NULL;
		*ret_depth = 0;
		return 0;
	}
	for (;;) {
		if (*s != '/')
			return refuse(p, ERR_BAD_REQUEST, "not a JSON pointer", path);
		s++;
		_cleanup_free_ char *token = pointer_token(&s);
		if (!token)
			return refuse(p, ERR_BAD_REQUEST, "not a JSON pointer", path);
		depth++;
		if (!*s) {
			if (!json_is_object(at) && !json_is_array(at))
				return no_such(p, path);
			*ret_parent = at;
			*ret_token = STEAL(token);
			*ret_depth = depth;
			return 0;
		}
		at = child(at, token);
		if (!at)
			return no_such(p, path);
	}
}

static unsigned depth_of(const json_t *v)
{
	unsigned most = 0;

	if (json_is_object(v)) {
		json_t *o = (json_t *)v;
		for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
			unsigned d = depth_of(json_object_iter_value(it));
			most = MAX(most, d);
		}
		return most + 1;
	}
	if (json_is_array(v)) {
		for (size_t i = 0; i < json_array_size(v); i++) {
			unsigned d = depth_of(json_array_get(v, i));
			most = MAX(most, d);
		}
		return most + 1;
	}
	return 0;
}

static size_t nodes_of(const json_t *v)
{
	size_t n = 1;

	if (json_is_object(v)) {
		json_t *o = (json_t *)v;
		for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
			n += nodes_of(json_object_iter_value(it));
	}
	for (size_t i = 0; i < json_array_size(v); i++)
		n += nodes_of(json_array_get(v, i));
	return n;
}

static int find(struct json_patcher *p, const char *path, json_t **ret)
{
	_cleanup_free_ char *token = NULL;
	json_t *parent = NULL;
	unsigned depth;

	int rc = locate(p, path, &parent, &token, &depth);
	if (rc)
		return rc;
	json_t *v = parent ? child(parent, token) : p->doc;
	if (!v)
		return no_such(p, path);
	*ret = v;
	return 0;
}

/* Takes the reference of v, also when it fails. */
static int add(struct json_patcher *p, const char *path, json_t *v_new, bool replace)
{
	_cleanup_json_ json_t *v = v_new;
	_cleanup_free_ char *token = NULL;
	json_t *parent = NULL;
	unsigned depth = 0;
	size_t i;

	int rc = locate(p, path, &parent, &token, &depth);
	if (rc)
		return rc;
	if (depth + depth_of(v) > JSON_MAX_DEPTH)
		return refuse(p, ERR_INVALID, "nested too deeply", path);
	if (!parent) {
		json_decref(p->doc);
		p->doc = STEAL(v);
		return 0;
	}
	if (replace && !child(parent, token))
		return no_such(p, path);
	if (json_is_object(parent)) {
		json_put(parent, token, STEAL(v));
		return 0;
	}
	if (streq(token, "-"))
		i = json_array_size(parent);
	else if (!list_index(token, json_array_size(parent) + !replace, &i) || i > json_array_size(parent))
		return no_such(p, path);
	if (replace)
		json_array_set_new(parent, i, STEAL(v));
	else
		json_array_insert_new(parent, i, STEAL(v));
	return 0;
}

static int take_out(struct json_patcher *p, const char *path, json_t **ret)
{
	_cleanup_free_ char *token = NULL;
	json_t *parent = NULL;
	unsigned depth;
	size_t i;

	int rc = locate(p, path, &parent, &token, &depth);
	if (rc)
		return rc;
	json_t *v = parent ? child(parent, token) : NULL;
	if (!v)
		return no_such(p, path);
	*ret = json_incref(v);
	if (json_is_object(parent))
		json_object_del(parent, token);
	else if (list_index(token, json_array_size(parent), &i))
		json_array_remove(parent, i);
	return 0;
}

static int move(struct json_patcher *p, const char *from, const char *path)
{
	json_t *v = NULL;
	size_t n = strlen(from);

	if (strncmp(path, from, n) == 0 && path[n] == '/')
		return refuse(p, ERR_INVALID, "a value cannot be moved into itself", path);
	if (streq(path, from))
		return find(p, from, &v);
	int rc = take_out(p, from, &v);
	return rc ? rc : add(p, path, v, false);
}

static int copy(struct json_patcher *p, const char *from, const char *path)
{
	json_t *v = NULL;

	int rc = find(p, from, &v);
	if (rc)
		return rc;
	p->copied += nodes_of(v);
	if (p->copied > COPIED_MAX)
		return refuse(p, ERR_INVALID, "the patch copies too much", path);
	return add(p, path, json_clone(v), false);
}

/* Numbers are equal by value. */
static bool values_equal(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b);
}

static int test(struct json_patcher *p, const char *path, const json_t *want)
{
	json_t *v;

	int rc = find(p, path, &v);
	if (rc)
		return json_is_null(want) && p->err && p->err->reason == ERR_INVALID ? (err_done(p->err), 0) : rc;
	return values_equal(v, want) ? 0 : refuse(p, ERR_INVALID, "test failed", path);
}

static int run_op(struct json_patcher *p, const json_t *op)
{
	const char *verb = json_get_str(op, "op", ""), *path = json_get_str(op, "path", NULL);
	const char *from = json_get_str(op, "from", NULL);
	json_t *value = json_object_get(op, "value");

	if (!path)
		return refuse(p, ERR_BAD_REQUEST, "it has no path", NULL);
	if (streq(verb, "remove")) {
		json_t *gone;
		int rc = take_out(p, path, &gone);
		if (!rc)
			json_decref(gone);
		return rc;
	}
	if (streq(verb, "move") || streq(verb, "copy")) {
		if (!from)
			return refuse(p, ERR_BAD_REQUEST, "it has no from", path);
		return *verb == 'm' ? move(p, from, path) : copy(p, from, path);
	}
	bool is_add = streq(verb, "add"), is_replace = streq(verb, "replace");
	if (!is_add && !is_replace && !streq(verb, "test"))
		return refuse(p, ERR_BAD_REQUEST, "unknown op", verb);
	if (!value)
		return refuse(p, ERR_BAD_REQUEST, "it has no value", path);
	return is_add || is_replace ? add(p, path, json_clone(value), is_replace) : test(p, path, value);
}

int patch_json(const json_t *doc, const json_t *ops, json_t **ret, struct err *err)
{
	if (!json_is_array(ops))
		return err_status(err, ERR_BAD_REQUEST, "a JSON patch is a list of operations");
	if (json_array_size(ops) > OPS_MAX)
		return err_status(err, ERR_TOO_LARGE, "The allowed maximum operations in a JSON patch is %d, got %zu",
				  OPS_MAX, json_array_size(ops));
	struct err own = ERR_INIT;
	struct json_patcher p = {.doc = json_clone(doc), .err = &own};
	for (; p.op < json_array_size(ops); p.op++) {
		int rc = run_op(&p, json_array_get(ops, p.op));
		if (rc) {
			json_decref(p.doc);
			return err_move(err, &own);
		}
	}
	*ret = p.doc;
	return 0;
}

/* ---- merge patch ---- */

/* A patch's value where there was nothing: nulls in it have nothing to delete. */
static json_t *without_nulls(const json_t *v)
{
	if (!json_is_object(v))
		return json_clone(v);
	json_t *out = json_object(), *o = (json_t *)v;
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		if (!json_is_null(json_object_iter_value(it)))
			json_put(out, json_object_iter_key(it), without_nulls(json_object_iter_value(it)));
	}
	return out;
}

static void merge(json_t *doc, json_t *patch)
{
	for (void *it = json_object_iter(patch); it; it = json_object_iter_next(patch, it)) {
		const char *key = json_object_iter_key(it);
		json_t *v = json_object_iter_value(it), *was = json_object_get(doc, key);
		if (json_is_null(v))
			json_object_del(doc, key);
		else if (json_is_object(v) && json_is_object(was))
			merge(was, v);
		else
			json_put(doc, key, without_nulls(v));
	}
}

int patch_merge(const json_t *doc, const json_t *patch, json_t **ret, struct err *err)
{
	(void)err; /* whatever the patch is, it has a result */
	if (!json_is_object(patch) || !json_is_object(doc)) {
		*ret = without_nulls(patch);
		return 0;
	}
	json_t *out = json_clone(doc);
	merge(out, (json_t *)patch);
	*ret = out;
	return 0;
}
