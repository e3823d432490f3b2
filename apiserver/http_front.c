#include "apiserver/http_front.h"

#include <errno.h>

#include "apiserver/http_answer.h"
#include "lib/core/log.h"

#define BODY_MAX (3u << 20)

static enum verb verb_of(const char *method, const struct request *r, bool watch)
{
	static const char *const streaming[] = {"exec", "attach", "portforward"};
	for (size_t i = 0; i < ARRAY_LEN(streaming); i++)
		if (streq(r->route.subresource, streaming[i]))
			return V_CONNECT;
	bool named = *r->route.name != 0;
	if (streq(method, "GET") || streq(method, "HEAD")) {
		if (r->route.legacy_watch || (watch && !named))
			return V_WATCH;
		return named ? V_GET : V_LIST;
	}
	if (streq(method, "POST"))
		return V_CREATE;
	if (streq(method, "PUT"))
		return named ? V_UPDATE : V_NONE;
	if (streq(method, "PATCH"))
		return named ? V_PATCH : V_NONE;
	if (streq(method, "DELETE"))
		return named ? V_DELETE : V_DELETECOLLECTION;
	return V_NONE;
}

static void take(char **to, const char *value)
{
	free(*to);
	*to = xstrdup(value);
}

static bool is_true(const char *s)
{
	return http_query_true(s);
}

/* A fault in the options of a request, in the words of upstream's validation of them. */
static int fail_option(struct request *r, const char *type, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static int fail_option(struct request *r, const char *type, const char *field, const char *fmt, ...)
{
	const char *kind = r->verb == V_CREATE   ? "CreateOptions"
			   : r->verb == V_PATCH  ? "PatchOptions"
			   : r->verb == V_UPDATE ? "UpdateOptions"
						 : "DeleteOptions";
	char text[300];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_add_cause(&r->err, type, field, "%s", text);
	snprintf(r->err.group, sizeof(r->err.group), "meta.k8s.io");
	snprintf(r->err.kind, sizeof(r->err.kind), "%s", kind);
	return err_status(&r->err, ERR_INVALID, "%s.meta.k8s.io \"\" is invalid: %s: %s", kind, field, text);
}

/* A whole number; a negative one is as good as none. */
static int take_number(struct request *r, const char *value, uint64_t *ret)
{
	int64_t n = 0;
	if (*value && parse_i64(value, &n) < 0)
		return fail_bad(r, "strconv.ParseInt: parsing \"%.100s\": invalid syntax", value);
	*ret = n < 0 ? 0 : (uint64_t)n;
	return 0;
}

static int take_option(struct request *r, const char *name, const char *value)
{
	struct request_options *o = &r->options;
	uint64_t n = 0;
	if (streq(name, "labelSelector")) {
		take(&o->label_selector, value);
	} else if (streq(name, "fieldSelector")) {
		take(&o->field_selector, value);
	} else if (streq(name, "continue")) {
		take(&o->continue_token, value);
	} else if (streq(name, "resourceVersion")) {
		take(&o->rv, value);
	} else if (streq(name, "resourceVersionMatch")) {
		take(&o->rv_match, value);
	} else if (streq(name, "propagationPolicy")) {
		take(&o->propagation, value);
	} else if (streq(name, "limit")) {
		return take_number(r, value, &o->limit);
	} else if (streq(name, "timeoutSeconds")) {
		if (take_number(r, value, &n) < 0)
			return r->err.code;
		o->timeout_s = (unsigned)MIN(n, 86400u);
	} else if (streq(name, "gracePeriodSeconds")) {
		if (take_number(r, value, &n) < 0)
			return r->err.code;
		/* upstream's meaning of a negative one is 1 */
		o->grace_s = *value == '-' ? 1 : (int64_t)MIN(n, (uint64_t)INT32_MAX);
	} else if (streq(name, "orphanDependents")) {
		take(&o->propagation, is_true(value) ? "Orphan" : "Background");
	} else if (streq(name, "allowWatchBookmarks")) {
		o->bookmarks = is_true(value);
	} else if (streq(name, "sendInitialEvents")) {
		o->send_initial = is_true(value);
	} else if (streq(name, "pretty")) {
		o->pretty = is_true(value);
	} else if (streq(name, "dryRun")) {
		if (*value && !streq(value, "All"))
			return fail_option(r, "FieldValueNotSupported", "dryRun",
					   "Unsupported value: []string{\"%.100s\"}: supported values: \"All\"", value);
		o->dry_run = *value != 0;
	} else if (streq(name, "fieldValidation")) {
		if (*value && !streq(value, "Strict") && !streq(value, "Warn") && !streq(value, "Ignore"))
			return fail_option(r, "FieldValueNotSupported", "fieldValidation",
					   "Unsupported value: \"%.100s\": supported values: \"\", \"Ignore\", "
					   "\"Strict\", \"Warn\"",
					   value);
		o->validation = streq(value, "Strict")   ? VALIDATE_STRICT
				: streq(value, "Ignore") ? VALIDATE_IGNORE
							 : VALIDATE_WARN;
	} else if (streq(name, "fieldManager")) {
		if (strlen(value) > 128)
			return fail_option(r, "FieldValueTooLong", "fieldManager",
					   "Too long: may not be more than 128 bytes");
	} else if (streq(name, "includeObject")) {
		r->table_include = streq(value, "Object") ? INCLUDE_OBJECT
				   : streq(value, "None") ? INCLUDE_NONE
							  : INCLUDE_METADATA;
	}
	return 0;
}

static int take_options(struct request *r)
{
	unsigned pos = 0;
	const char *name, *value;
	int rc = 0;
	while (rc >= 0 && http_query_next(r->http, &pos, &name, &value))
		rc = take_option(r, name, value);
	return rc;
}

static bool takes_format(const struct request *r, enum answer_format format)
{
	const char *sub = r->route.subresource;
	if (!r->res)
		return false;
	if (*sub)
		return r->verb == V_GET && (streq(sub, "status") || streq(sub, "scale"));
	return format != FORMAT_TABLE || r->verb == V_GET || r->verb == V_LIST || r->verb == V_WATCH;
}

static int take_formats(struct request *r)
{
	struct accept accept;
	const char *header = http_header(r->http, "Accept");
	bool streams = r->verb == V_CONNECT || streq(r->route.subresource, "log") || !r->route.is_resource;
	if (!accept_parse(header, &accept) && !streams)
		return err_status(&r->err, ERR_NOT_ACCEPTABLE,
				  "only the following media types are accepted: application/json, application/yaml");
	r->answer_yaml = accept.yaml;
	r->format = takes_format(r, accept.format) ? accept.format : FORMAT_JSON;
	if (!content_type_parse(http_header(r->http, "Content-Type"), &r->body_format) && http_body(r->http)->len > 0)
		return err_status(&r->err, ERR_UNSUPPORTED_MEDIA_TYPE,
				  r->verb == V_PATCH
					  ? "the body of the request was in an unknown format - accepted media types "
					    "include: application/json-patch+json, application/merge-patch+json, "
					    "application/strategic-merge-patch+json"
					  : "the body of the request was in an unknown format - accepted media types "
					    "include: application/json, application/yaml, "
					    "application/vnd.kubernetes.protobuf");
	if (r->verb == V_PATCH && r->body_format < BODY_PATCH_JSON)
		return err_status(&r->err, ERR_UNSUPPORTED_MEDIA_TYPE,
				  "the body of the request was in an unknown format - accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, "
				  "application/strategic-merge-patch+json");
	return 0;
}

/* A list of one name is about that name: rules with resourceNames apply to it. */
static void name_from_selector(struct request *r)
{
	static const char prefix[] = "metadata.name=";
	const char *s = r->options.field_selector;
	if ((r->verb != V_LIST && r->verb != V_WATCH && r->verb != V_DELETECOLLECTION) || *r->route.name || !s ||
	    !str_starts(s, prefix))
		return;
	const char *name = s + strlen(prefix);
	if (*name == '=')
		name++;
	if (*name && !strpbrk(name, ",/\\!"))
		route_set_name(r, name);
}

static int read_request(struct request *r, struct http_request *hr)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
	const char *method = http_method(hr);
	r->method = "UNKNOWN";
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (streq(methods[i], method))
			r->method = methods[i];
	route_parse(http_path(hr), &r->route);
	if (r->route.is_resource) {
		r->res = server_resource(r->server, r->route.group, r->route.version, r->route.plural);
		r->kind = r->res ? r->res->kind : NULL;
		const char *watch = http_query(hr, "watch");
		r->verb = verb_of(method, r, watch && is_true(watch));
	}
	int rc = take_options(r);
	if (rc >= 0)
		rc = take_formats(r);
	if (rc >= 0 && http_body(hr)->len > BODY_MAX)
		rc = err_status(&r->err, ERR_TOO_LARGE, "Request entity too large: limit is %u", BODY_MAX);
	if (rc >= 0)
		name_from_selector(r);
	return rc;
}

static void on_request(void *arg, struct http_request *hr)
{
	struct apiserver *a = arg;
	struct request *r = request_new(a, &http_door);
	r->http = hr;
	http_request_set_data(hr, r);
	if (read_request(r, hr) < 0)
		request_resume(r, REQUEST_ANSWER);
	else
		request_start(r);
}

static void on_close(void *arg, struct http_request *hr)
{
	(void)arg;
	struct request *r = http_request_data(hr);
	request_cancel(r);
}

/* What never became a request is refused in the API's own words. */
static void refusal(int status, const char *reason, struct buf *body)
{
	struct err err = ERR_INIT;
	if (status == 413)
		err_status(&err, ERR_TOO_LARGE, "Request entity too large: limit is %u", BODY_MAX);
	else
		err_status(&err,
			   status == 408   ? ERR_TIMEOUT
			   : status == 429 ? ERR_TOO_MANY_REQUESTS
					   : ERR_BAD_REQUEST,
			   "%s", reason);
	_cleanup_json_ json_t *tree = status_from_err(&err);
	json_object_set_new(tree, "code", json_integer(status));
	json_write(body, tree);
	buf_addc(body, '\n');
	err_done(&err);
}

int apiserver_listen(struct apiserver *a, struct tls_context *tls, const char *host, uint16_t port, struct err *err)
{
	static const struct http_server_ops ops = {on_request, on_close};
	if (!a->loop)
		return err_set(err, -ENOTSUP, "no loop to listen on");
	if (!a->http) {
		/* a little more than the API's own bound, so that the refusal is the API's */
		const struct http_limits limits = {.body_bytes = BODY_MAX + 4096};
		a->http = http_server_new(a->env, a->loop, tls, &limits, &ops, a);
		http_server_set_refusal(a->http, "application/json", refusal);
	}
	return http_server_listen(a->http, host, port, err);
}

void apiserver_set_tls(struct apiserver *a, struct tls_context *tls)
{
	if (a->http)
		http_server_set_tls(a->http, tls);
}
