/* metav1.Status from an err, and back. An err's texts may be cut short anywhere: what goes out is UTF-8 all the same. */
#include "lib/api/object.h"
#include "lib/core/utf8.h"

static void copy_str(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);
	memcpy(to, from, n);
	to[n] = '\0';
}

static void put_unless_empty(json_t *obj, const char *key, const char *s)
{
	_cleanup_free_ char *text = xstrdup(s);
	utf8_mend(text);
	if (*text)
		json_put_str(obj, key, text);
}

static void put_details(json_t *status, const struct err *err)
{
	json_t *details = json_object();

	put_unless_empty(details, "name", err->name);
	put_unless_empty(details, "group", err->group);
	put_unless_empty(details, "kind", err->kind);
	for (int i = 0; err->causes && i < MIN(err->n_causes, ERR_CAUSES_MAX); i++) {
		const struct err_cause *c = &err->causes[i];
		json_t *cause = json_object();
		put_unless_empty(cause, "reason", c->type);
		put_unless_empty(cause, "message", c->message);
		put_unless_empty(cause, "field", c->field);
		json_array_append_new(json_need_array(details, "causes"), cause);
	}
	if (err->retry_after_s)
		json_put_int(details, "retryAfterSeconds", err->retry_after_s);
	/* kubectl looks into the details of every 404, there or not: `kubectl debug` crashes without them */
	if (json_object_size(details) || err->reason == ERR_NOT_FOUND)
		json_put(status, "details", details);
	else
		json_decref(details);
}

json_t *status_from_err(const struct err *err)
{
	json_t *status = json_make("{s:s, s:s, s:{}, s:s}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
				   err->code ? "Failure" : "Success");

	put_unless_empty(status, "message", err->message);
	if (!err->code) {
		json_put_int(status, "code", 200);
		return status;
	}
	enum err_reason reason = err->reason;
	if (reason == ERR_NONE && err_http(err) == 500)
		reason = ERR_INTERNAL_ERROR;
	put_unless_empty(status, "reason", err_reason_str(reason));
	put_details(status, err);
	json_put_int(status, "code", err_http(err));
	return status;
}

static enum err_reason reason_of_http(int code)
{
	for (enum err_reason r = ERR_NONE + 1; r < ERR_REASON_COUNT; r++) {
		if (err_reason_http(r) == code)
			return r;
	}
	return code >= 500 ? ERR_INTERNAL_ERROR : ERR_BAD_REQUEST;
}

static void read_causes(const json_t *causes, struct err *ret)
{
	size_t n = json_array_size(causes);

	if (n == 0)
		return;
	ret->causes = NEW_N(struct err_cause, MIN(n, ERR_CAUSES_MAX));
	ret->n_causes = (int)MIN(n, 1000000);
	for (size_t i = 0; i < MIN(n, ERR_CAUSES_MAX); i++) {
		const json_t *c = json_array_get(causes, i);
		struct err_cause *to = &ret->causes[i];
		copy_str(to->type, sizeof(to->type), json_get_str(c, "reason", ""));
		copy_str(to->field, sizeof(to->field), json_get_str(c, "field", ""));
		copy_str(to->message, sizeof(to->message), json_get_str(c, "message", ""));
	}
}

void err_from_status(const json_t *status, int http_code, struct err *ret)
{
	int code = (int)json_get_int(status, "code", 0);
	if (code <= 0)
		code = http_code;
	const char *said = json_get_str(status, "message", NULL);
	enum err_reason reason = err_reason_from_str(json_get_str(status, "reason", ""));
	if (reason == ERR_NONE)
		reason = reason_of_http(code);

	err_done(ret);
	if (said)
		err_status(ret, reason, "%s", said);
	else
		err_status(ret, reason, "the server answered with status %d", code);
	const json_t *details = json_object_get(status, "details");
	copy_str(ret->group, sizeof(ret->group), json_get_str(details, "group", ""));
	copy_str(ret->kind, sizeof(ret->kind), json_get_str(details, "kind", ""));
	copy_str(ret->name, sizeof(ret->name), json_get_str(details, "name", ""));
	ret->retry_after_s = (int)json_get_int(details, "retryAfterSeconds", 0);
	read_causes(json_object_get(details, "causes"), ret);
}
