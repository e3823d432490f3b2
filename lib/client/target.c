/* Requests as HTTP wants them: path, query, body of a deletion. */
#include "lib/client/http_priv.h"

static void add_query(struct buf *out, char *sep, const char *key, const char *value)
{
	if (str_empty(value))
		return;
	buf_addc(out, *sep);
	*sep = '&';
	buf_adds(out, key);
	buf_addc(out, '=');
	http_escape(out, value);
}

static void add_segment(struct buf *out, const char *s)
{
	buf_addc(out, '/');
	http_escape(out, s);
}

void target__path(struct buf *out, const struct kind *k, const char *ns, const char *name, const char *subresource)
{
	if (*k->group)
		buf_addf(out, "/apis/%s/%s", k->group, k->version);
	else
		buf_addf(out, "/api/%s", k->version);
	if (k->namespaced && !str_empty(ns)) {
		buf_adds(out, "/namespaces");
		add_segment(out, ns);
	}
	add_segment(out, k->plural);
	if (!str_empty(name))
		add_segment(out, name);
	if (!str_empty(subresource))
		add_segment(out, subresource);
}

void client_http_target(struct buf *out, const struct client_request *r)
{
	bool collection = r->verb == CLIENT_LIST || r->verb == CLIENT_DELETECOLLECTION ||
			  (r->verb == CLIENT_CREATE && str_empty(r->subresource));
	const char *ns = r->ns, *name = r->name;
	if (str_empty(ns) && r->body && r->verb != CLIENT_LIST && r->verb != CLIENT_DELETECOLLECTION)
		ns = meta_ns(r->body);
	if (str_empty(name) && r->body)
		name = meta_name(r->body);
	target__path(out, r->kind, ns, collection ? NULL : name, r->subresource);
	char sep = '?';
	if (r->verb == CLIENT_LIST || r->verb == CLIENT_DELETECOLLECTION) {
		add_query(out, &sep, "labelSelector", r->label_selector);
		add_query(out, &sep, "fieldSelector", r->field_selector);
		char limit[24];
		snprintf(limit, sizeof(limit), "%llu", (unsigned long long)r->limit);
		add_query(out, &sep, "limit", r->limit ? limit : NULL);
		add_query(out, &sep, "continue", r->continue_token);
	}
	if (r->verb == CLIENT_LIST || r->verb == CLIENT_GET)
		add_query(out, &sep, "resourceVersion", r->resource_version);
	if (r->verb == CLIENT_CREATE || r->verb == CLIENT_UPDATE || r->verb == CLIENT_PATCH) {
		add_query(out, &sep, "dryRun", r->dry_run ? "All" : NULL);
		add_query(out, &sep, "fieldManager", r->field_manager);
		add_query(out, &sep, "fieldValidation", r->field_validation);
		if (r->verb == CLIENT_PATCH && r->patch == CLIENT_PATCH_APPLY)
			add_query(out, &sep, "force", "true");
	}
}

void target__watch(struct buf *out, const struct client_watch_request *r)
{
	target__path(out, r->kind, r->ns, NULL, NULL);
	char sep = '?', number[24];
	add_query(out, &sep, "watch", "true");
	add_query(out, &sep, "labelSelector", r->label_selector);
	add_query(out, &sep, "fieldSelector", r->field_selector);
	add_query(out, &sep, "allowWatchBookmarks", r->bookmarks ? "true" : NULL);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)r->rv);
	add_query(out, &sep, "resourceVersion", r->rv ? number : NULL);
	snprintf(number, sizeof(number), "%u", r->timeout_s);
	add_query(out, &sep, "timeoutSeconds", r->timeout_s ? number : NULL);
}

static json_t *delete_options(const struct client_request *r)
{
	json_t *o = json_make("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
	if (r->grace_period_s >= 0)
		json_put_int(o, "gracePeriodSeconds", r->grace_period_s);
	if (r->propagation)
		json_put_str(o, "propagationPolicy", r->propagation);
	if (r->precondition_uid)
		json_put_str(json_need_object(o, "preconditions"), "uid", r->precondition_uid);
	if (r->precondition_rv)
		json_put_str(json_need_object(o, "preconditions"), "resourceVersion", r->precondition_rv);
	if (r->dry_run)
		json_array_append_new(json_need_array(o, "dryRun"), json_string("All"));
	return o;
}

const char *target__method(const struct client_request *r)
{
	switch (r->verb) {
	case CLIENT_GET:
	case CLIENT_LIST:
		return "GET";
	case CLIENT_CREATE:
		return "POST";
	case CLIENT_UPDATE:
		return "PUT";
	case CLIENT_PATCH:
		return "PATCH";
	case CLIENT_DELETE:
	case CLIENT_DELETECOLLECTION:
		return "DELETE";
	}
	return "GET";
}

const char *target__content_type(const struct client_request *r)
{
	if (r->verb != CLIENT_PATCH)
		return "application/json";
	switch (r->patch) {
	case CLIENT_PATCH_JSON:
		return "application/json-patch+json";
	case CLIENT_PATCH_MERGE:
		return "application/merge-patch+json";
	case CLIENT_PATCH_STRATEGIC:
		return "application/strategic-merge-patch+json";
	case CLIENT_PATCH_APPLY:
		return "application/apply-patch+yaml";
	}
	return "application/json";
}

void target__body(struct buf *out, const struct client_request *r)
{
	if (r->verb == CLIENT_DELETE || r->verb == CLIENT_DELETECOLLECTION) {
		_cleanup_json_ json_t *o = delete_options(r);
		json_write(out, o);
	} else if (r->body && r->verb != CLIENT_GET && r->verb != CLIENT_LIST) {
		json_write(out, r->body);
	}
}
