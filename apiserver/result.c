/* What a request answers: results, and errors in upstream's words. */
#include "apiserver/request.h"

#include <errno.h>

void result_object(struct request *r, struct object *obj, int http_status)
{
	r->result.type = RESULT_OBJECT;
	r->result.obj = obj;
	r->result.http_status = http_status;
}

void result_tree(struct request *r, json_t *tree, int http_status)
{
	r->result.type = RESULT_TREE;
	r->result.tree = tree;
	r->result.http_status = http_status;
}

void result_bytes(struct request *r, struct buf *bytes, const char *content_type, int http_status)
{
	r->result.type = RESULT_BYTES;
	r->result.bytes = *bytes;
	*bytes = BUF_INIT;
	r->result.content_type = content_type;
	r->result.http_status = http_status;
}

void result_item(struct result *res, struct blob *bytes, uint64_t rv, struct object *obj)
{
	GROW(res->items, res->cap_items, res->n_items + 1);
	res->items[res->n_items++] = (struct item){blob_ref(bytes), rv, obj};
}

void result_done(struct result *res)
{
	object_unref(res->obj);
	json_decref(res->tree);
	buf_done(&res->bytes);
	free(res->etag);
	for (size_t i = 0; i < res->n_items; i++) {
		blob_unref(res->items[i].bytes);
		object_unref(res->items[i].obj);
	}
	free(res->items);
	free(res->continue_token);
	*res = (struct result){.remaining = -1};
}

json_t *status_success(const struct resource *res, const char *name, const char *uid)
{
	json_t *details = json_object();
	json_put_str(details, "name", name);
	json_put_str(details, "group", *res->kind->group ? res->kind->group : NULL);
	json_put_str(details, "kind", res->kind->plural);
	json_put_str(details, "uid", str_empty(uid) ? NULL : uid);
	return json_make("{s:s, s:s, s:{}, s:s, s:o}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			 "Success", "details", details);
}

/* Who the error is about, in details. */
static int about(struct request *r, const struct resource *res, const char *name)
{
	if (res) {
		snprintf(r->err.group, sizeof(r->err.group), "%s", res->kind->group);
		snprintf(r->err.kind, sizeof(r->err.kind), "%s", res->kind->plural);
	}
	snprintf(r->err.name, sizeof(r->err.name), "%s", name ? name : "");
	return r->err.code;
}

int fail_not_found_named(struct request *r, const struct resource *res, const char *name)
{
	err_status(&r->err, ERR_NOT_FOUND, "%s \"%s\" not found", res->resource, name);
	return about(r, res, name);
}

int fail_not_found(struct request *r)
{
	return fail_not_found_named(r, r->res, r->route.name);
}

int fail_exists(struct request *r)
{
	err_status(&r->err, ERR_ALREADY_EXISTS, "%s \"%s\" already exists", r->res->resource, r->route.name);
	return about(r, r->res, r->route.name);
}

int fail_conflict(struct request *r, const char *fmt, ...)
{
	char text[700];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_status(&r->err, ERR_CONFLICT, "Operation cannot be fulfilled on %s \"%s\": %s", r->res->resource,
		   r->route.name, text);
	return about(r, r->res, r->route.name);
}

int fail_modified(struct request *r)
{
	return fail_conflict(r, "the object has been modified; please apply your changes to the latest version and "
				"try again");
}

int fail_forbidden(struct request *r, const char *fmt, ...)
{
	char text[800];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_status(&r->err, ERR_FORBIDDEN, "%s \"%s\" is forbidden: %s", r->res->resource, r->route.name, text);
	return about(r, r->res, r->route.name);
}

int fail_bad(struct request *r, const char *fmt, ...)
{
	char text[900];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_status(&r->err, ERR_BAD_REQUEST, "%s", text);
}

/* The store speaks errno; clients want a Status they can act on. */
int fail_store(struct request *r, const struct err *err)
{
	switch (err->code) {
	case -ESTALE:
		return err_status(&r->err, ERR_EXPIRED, "%s", err->message);
	case -EBUSY:
		err_status(&r->err, ERR_TOO_MANY_REQUESTS, "%s", err->message);
		r->err.retry_after_s = 1;
		return r->err.code;
	case -EHOSTUNREACH:
		err_status(&r->err, ERR_SERVICE_UNAVAILABLE, "%s", err->message);
		r->err.retry_after_s = 1;
		return r->err.code;
	case -EFBIG:
		return err_status(&r->err, ERR_TOO_LARGE, "%s", err->message);
	case -ECANCELED:
		return err_status(&r->err, ERR_TIMEOUT, "%s", err->message);
	default:
		return err_status(&r->err, ERR_INTERNAL_ERROR, "%s", err->message);
	}
}
