#include "apiserver/read.h"

#include <errno.h>

#include "apiserver/tag.h"

int read_selectors(struct request *r, struct selector **ret_labels, struct field_selector **ret_fields)
{
	const struct request_options *o = &r->options;
	int rc = 0;
	if (!str_empty(o->label_selector))
		rc = selector_parse(o->label_selector, ret_labels, &r->err);
	if (rc < 0 || str_empty(o->field_selector))
		return rc;
	rc = field_selector_parse(o->field_selector, ret_fields, &r->err);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < field_selector_count(*ret_fields); i++) {
		const char *path = field_selector_path(*ret_fields, i);
		bool known = streq(path, "metadata.name") || (r->kind->namespaced && streq(path, "metadata.namespace"));
		for (const char *const *f = r->kind->field_selectors; f && *f && !known; f++)
			known = streq(*f, path);
		if (!known && r->kind->field_selectors)
			return fail_bad(r, "field label not supported: %.200s", path);
		if (!known)
			return fail_bad(r,
					"\"%.200s\" is not a known field selector: only \"metadata.name\", "
					"\"metadata.namespace\"",
					path);
	}
	return 0;
}

/* ---- one object ---- */

static void on_named(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	enum request_stage next = REQUEST_CHANGE;
	if (store_failed(err)) {
		fail_store(r, err);
		next = REQUEST_ANSWER;
	} else if (resp->n_kvs == 0) {
		fail_not_found(r);
		next = REQUEST_ANSWER;
	} else {
		r->old = blob_ref(resp->kvs[0].value);
		r->old_rev = resp->kvs[0].mod_rev;
	}
	request_resume(r, next);
}

int look_named(struct request *r)
{
	if (!r->key)
		r->key = resource_key(r->res, r->route.ns, r->route.name);
	/* only who asks for any version gets one that may be old; changes are decided on the newest */
	bool any = r->verb == V_GET && streq(r->options.rv, "0");
	struct store_range_req req = {.key = r->key, .serializable = any};
	request_submitted(r);
	store_range(r->server->store, &req, on_named, r);
	return REQUEST_WAIT;
}

struct object *old_object(struct request *r)
{
	if (!r->old_obj) {
		r->old_obj = recent_object(r->server, r->res, r->old, r->old_rev);
		if (!r->old_obj)
			err_status(&r->err, ERR_INTERNAL_ERROR, "the stored object %s cannot be read", r->key);
	}
	return r->old_obj;
}

json_t *old_tree(struct request *r)
{
	if (!r->old_tree) {
		struct object *o = old_object(r);
		r->old_tree = o ? object_tree(o) : NULL;
	}
	return r->old_tree;
}

static int get_change(struct request *r)
{
	struct object *o = old_object(r);
	if (!o)
		return r->err.code;
	result_object(r, object_ref(o), 200);
	return REQUEST_SKIP_TO_ANSWER;
}

const struct handler handler_get = {.look = look_named, .change = get_change};

/* ---- lists ----
 *
 * Without selectors one range is the answer. With selectors pages are read until enough entries match; each page
 * starts behind the last key seen, all at the first page's revision. */

struct listing {
	struct selector *labels;
	struct field_selector *fields;
	char *prefix, *end, *start; /* start: where the next page begins */
	uint64_t rev;               /* 0 until known */
	uint64_t exact_rev;
};

static void listing_free(void *p)
{
	struct listing *l = p;
	selector_free(l->labels);
	field_selector_free(l->fields);
	free(l->prefix);
	free(l->end);
	free(l->start);
	free(l);
}

static int read_continue(struct request *r, struct listing *l)
{
	uint8_t *bytes = NULL;
	size_t len;
	_cleanup_json_ json_t *j = NULL;
	uint64_t rev = 0;
	if (strlen(r->options.continue_token) < 8192 &&
	    base64url_decode(r->options.continue_token, strlen(r->options.continue_token), &bytes, &len) == 0)
		json_parse((const char *)bytes, len, &j, NULL);
	free(bytes);
	const char *start = json_get_str(j, "start", NULL);
	if (!start || parse_u64(json_get_str(j, "rv", ""), &rev) < 0 || rev == 0 || strstr(start, "//"))
		return fail_bad(
			r, "invalid continue token: continue key is not valid: the token is not one of this server");
	l->exact_rev = rev;
	/* behind that key: no name has a byte as low as this one */
	l->start = xasprintf("%s%s\x01", r->res->prefix, start);
	if (!str_starts(l->start, l->prefix))
		return fail_bad(r, "invalid continue token: continue key is not valid: it belongs to another list");
	return 0;
}

static char *write_continue(const struct request *r, uint64_t rev, const char *last_key)
{
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)rev);
	_cleanup_json_ json_t *j = json_make("{s:s, s:s, s:s}", "v", "meta.k8s.io/v1", "rv", rv, "start",
					     resource_key_rest(r->res, last_key));
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_write(&b, j);
	return base64url_encode(b.data, b.len);
}

static int fail_match(struct request *r, const char *type, const char *why)
{
	err_add_cause(&r->err, type, "resourceVersionMatch", "%s", why);
	snprintf(r->err.group, sizeof(r->err.group), "meta.k8s.io");
	snprintf(r->err.kind, sizeof(r->err.kind), "ListOptions");
	return err_status(&r->err, ERR_INVALID, "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: %s",
			  why);
}

static int read_revision(struct request *r, struct listing *l)
{
	const struct request_options *o = &r->options;
	uint64_t rv = 0;
	const char *match = o->rv_match ? o->rv_match : "";
	if (!str_empty(o->rv) && parse_u64(o->rv, &rv) < 0)
		return fail_bad(r, "resourceVersion: Invalid value: \"%.100s\": not a revision", o->rv);
	if (!str_empty(o->continue_token)) {
		if (rv)
			return fail_bad(r, "specifying resource version is not allowed when using continue");
		return read_continue(r, l);
	}
	if (*match && str_empty(o->rv))
		return fail_match(r, "FieldValueForbidden",
				  "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (*match && !streq(match, "Exact") && !streq(match, "NotOlderThan")) {
		char text[256];
		snprintf(text, sizeof(text),
			 "Unsupported value: \"%.100s\": supported values: \"Exact\", \"NotOlderThan\", \"\"", match);
		return fail_match(r, "FieldValueNotSupported", text);
	}
	if (streq(match, "Exact") && rv == 0)
		return fail_match(r, "FieldValueForbidden",
				  "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	if (streq(match, "Exact") || (!*match && rv && o->limit))
		l->exact_rev = rv;
	return 0;
}

static int list_decode(struct request *r)
{
	struct listing *l = NEW(struct listing);
	r->extra = l;
	r->extra_free = listing_free;
	int rc = read_selectors(r, &l->labels, &l->fields);
	if (rc < 0)
		return rc;
	l->prefix = resource_range(r->res, r->route.ns);
	l->end = store_prefix_end(l->prefix);
	return read_revision(r, l);
}

/* Informers know this one by its cause. */
static int fail_too_new(struct request *r, uint64_t current)
{
	err_add_cause(&r->err, "ResourceVersionTooLarge", "", "Too large resource version");
	err_status(&r->err, ERR_TIMEOUT, "Timeout: Too large resource version: %.40s, current: %llu",
		   r->options.rv ? r->options.rv : "", (unsigned long long)current);
	r->err.retry_after_s = 1;
	return r->err.code;
}

static int list_failed(struct request *r, const struct err *err)
{
	if (err->code == -ESTALE)
		return err_status(&r->err, ERR_EXPIRED,
				  "The provided continue parameter is too old to display a consistent list result. You "
				  "can start a new list without the continue parameter.");
	if (err->code == -ERANGE)
		return fail_too_new(r, 0);
	return fail_store(r, err);
}

/* Take what matches. The last key taken when the limit was reached, else NULL. */
static const char *take_page(struct request *r, const struct store_range_resp *resp)
{
	struct listing *l = r->extra;
	uint64_t limit = r->options.limit;
	for (size_t i = 0; i < resp->n_kvs; i++) {
		const struct store_kv *kv = &resp->kvs[i];
		if (tag_matches(r->server, r->res, kv->value, l->labels, l->fields))
			result_item(&r->result, kv->value, kv->mod_rev, NULL);
		if (limit && r->result.n_items >= limit && (resp->more || i + 1 < resp->n_kvs))
			return kv->key;
	}
	return NULL;
}

static bool newer_wanted(const struct request *r, uint64_t rev)
{
	uint64_t rv = 0;
	return !str_empty(r->options.rv) && parse_u64(r->options.rv, &rv) == 0 && rv > rev;
}

static void on_page(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct listing *l = r->extra;
	int rc = 0;
	if (store_failed(err)) {
		rc = list_failed(r, err);
	} else if (newer_wanted(r, resp->rev)) {
		rc = fail_too_new(r, resp->rev);
	}
	if (rc < 0) {
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	l->rev = resp->rev;
	r->result.list_rv = resp->rev;
	const char *last = take_page(r, resp);
	if (!last && resp->more) {
		free(l->start);
		l->start = xasprintf("%s\x01", resp->kvs[resp->n_kvs - 1].key);
		l->exact_rev = resp->rev;
		request_resume(r, REQUEST_LOOK);
		return;
	}
	if (last) {
		r->result.continue_token = write_continue(r, resp->rev, last);
		if (!l->labels && !l->fields && resp->count > resp->n_kvs)
			r->result.remaining = (int64_t)(resp->count - resp->n_kvs);
	}
	request_resume(r, REQUEST_CHANGE);
}

static int list_look(struct request *r)
{
	struct listing *l = r->extra;
	struct store_range_req req = {.key = l->start ? l->start : l->prefix,
				      .end = l->end,
				      .rev = l->exact_rev,
				      .limit = r->options.limit,
				      .serializable = streq(r->options.rv, "0")};
	if (r->options.limit && (l->labels || l->fields))
		req.limit = MAX(r->options.limit, 500u);
	request_submitted(r);
	store_range(r->server->store, &req, on_page, r);
	return REQUEST_WAIT;
}

static int list_change(struct request *r)
{
	r->result.type = RESULT_LIST;
	r->result.http_status = 200;
	return REQUEST_SKIP_TO_ANSWER;
}

const struct handler handler_list = {.decode = list_decode, .look = list_look, .change = list_change};
