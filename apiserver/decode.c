#include "apiserver/decode.h"

#include "lib/net/http.h"

/* The raw body; direct requests have none. */
static const struct buf *raw(const struct request *r)
{
	return r->http ? http_body(r->http) : NULL;
}

static int parse_yaml(struct request *r, const struct buf *b, json_t **ret)
{
	_cleanup_json_ json_t *docs = NULL;
	int rc = yaml_parse_all(buf_str(b), b->len, NULL, &docs, &r->err);
	if (rc < 0)
		return rc;
	if (json_array_size(docs) != 1)
		return fail_bad(r, "the body must be one YAML document, not %zu", json_array_size(docs));
	*ret = json_incref(json_array_get(docs, 0));
	return 0;
}

static int parse_body(struct request *r, json_t *dups)
{
	const struct buf *b = raw(r);
	if (!b)
		return r->body ? 0 : fail_bad(r, "a body is needed");
	if (b->len == 0)
		return fail_bad(r, "unexpected end of JSON input: the body is empty");
	switch (r->body_format) {
	case BODY_PROTOBUF:
		return protobuf_decode((const uint8_t *)b->data, b->len, &r->body, &r->err);
	case BODY_YAML:
		return parse_yaml(r, b, &r->body);
	case BODY_NONE:
	case BODY_JSON:
	case BODY_PATCH_JSON:
	case BODY_PATCH_MERGE:
	case BODY_PATCH_STRATEGIC:
		return json_parse_dups(b->data, b->len, &r->body, dups, &r->err);
	}
	return fail_bad(r, "unknown body format");
}

static void join_strings(const json_t *list, struct buf *out)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) buf_addf(out, "%s%s", i ? ", " : "", json_string_value(v));
}

static int say_unknown(struct request *r, const struct kind *k, const json_t *unknown)
{
	size_t i;
	json_t *v;
	if (json_array_size(unknown) == 0 || r->options.validation == VALIDATE_IGNORE)
		return 0;
	if (r->options.validation == VALIDATE_WARN) {
		json_array_foreach(unknown, i, v) request_warn(r, "%s", json_string_value(v));
		return 0;
	}
	_cleanup_buf_ struct buf text = BUF_INIT;
	join_strings(unknown, &text);
	const char *name = k ? k->kind : "object";
	return fail_bad(r, "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", name,
			k ? k->version : "v1", name, buf_str(&text));
}

int decode_tree(struct request *r, const struct kind *k, const struct schema *s, json_t *tree, json_t *dups)
{
	_cleanup_json_ json_t *unknown = dups ? json_incref(dups) : json_array();
	int rc = schema_decode(s, tree, unknown, &r->err);
	if (rc < 0) {
		if (k && r->err.reason == ERR_BAD_REQUEST && !strstr(r->err.message, "cannot be handled as"))
			err_prefix(&r->err, "%s in version \"%s\" cannot be handled as a %s", k->kind, k->version,
				   k->kind);
		return rc;
	}
	return say_unknown(r, k, unknown);
}

static int check_type(struct request *r, const struct kind *k)
{
	_cleanup_free_ char *want = kind_api_version(k);
	if (!json_object_get(r->body, "apiVersion"))
		json_put_str(r->body, "apiVersion", want);
	if (!json_object_get(r->body, "kind"))
		json_put_str(r->body, "kind", k->kind);
	const char *version = json_get_str(r->body, "apiVersion", ""), *kind = json_get_str(r->body, "kind", "");
	if (!streq(kind, k->kind))
		return fail_bad(r,
				"%.100s in version \"%.100s\" cannot be handled as a %s: converting (%.100s) to (%s): "
				"unknown conversion",
				kind, version, k->kind, kind, k->kind);
	if (!streq(version, want))
		return fail_bad(r, "the API version in the data (%.100s) does not match the expected API version (%s)",
				version, want);
	return 0;
}

int decode_body(struct request *r, const struct kind *k, const struct schema *s)
{
	_cleanup_json_ json_t *dups = json_array();
	int rc = parse_body(r, dups);
	if (rc < 0)
		return rc;
	if (!json_is_object(r->body))
		return fail_bad(r, "the body must be an object");
	if (k && (rc = check_type(r, k)) < 0)
		return rc;
	return s ? decode_tree(r, k, s, r->body, dups) : 0;
}

int decode_check_names(struct request *r)
{
	if (!json_is_object(json_object_get(r->body, "metadata")))
		json_put(r->body, "metadata", json_object());
	json_t *meta = json_object_get(r->body, "metadata");
	const char *name = json_get_str(meta, "name", ""), *ns = json_get_str(meta, "namespace", "");
	if (*r->route.name && *name && !streq(name, r->route.name))
		return fail_bad(r, "the name of the object (%.253s) does not match the name on the URL (%.253s)", name,
				r->route.name);
	if (*r->route.name && !*name)
		json_put_str(meta, "name", r->route.name);
	if (!r->kind->namespaced) {
		json_put_str(meta, "namespace", NULL);
		return 0;
	}
	if (*ns && !streq(ns, r->route.ns))
		return fail_bad(
			r, "the namespace of the provided object does not match the namespace sent on the request");
	json_put_str(meta, "namespace", r->route.ns);
	return 0;
}

int decode_object(struct request *r)
{
	int rc = decode_body(r, r->kind, r->kind->schema);
	return rc < 0 ? rc : decode_check_names(r);
}

int decode_patch(struct request *r)
{
	int rc = parse_body(r, NULL);
	if (rc < 0)
		return rc;
	if (r->body_format == BODY_PATCH_JSON ? !json_is_array(r->body) : !json_is_object(r->body))
		return fail_bad(r, "the patch must be %s",
				r->body_format == BODY_PATCH_JSON ? "an array" : "an object");
	return REQUEST_NEXT;
}

static void take_str(char **to, const char *s)
{
	if (!s)
		return;
	free(*to);
	*to = xstrdup(s);
}

static int check_propagation(struct request *r)
{
	const char *p = r->options.propagation;
	if (!p || streq(p, "Background") || streq(p, "Foreground") || streq(p, "Orphan"))
		return 0;
	err_add_cause(
		&r->err, "FieldValueNotSupported", "propagationPolicy",
		"Unsupported value: \"%.100s\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
		p);
	return err_status(
		&r->err, ERR_INVALID,
		"DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"%.100s\": "
		"supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
		p);
}

int decode_delete_options(struct request *r)
{
	struct request_options *o = &r->options;
	const struct buf *b = raw(r);
	if (b && b->len > 0) {
		int rc = decode_body(r, NULL, NULL);
		if (rc < 0)
			return rc;
		rc = decode_tree(r, NULL, &schema_delete_options, r->body, NULL);
		if (rc < 0)
			return rc;
		o->grace_s = json_get_int(r->body, "gracePeriodSeconds", o->grace_s);
		if (o->grace_s < 0 && json_object_get(r->body, "gracePeriodSeconds"))
			o->grace_s = 1; /* upstream's meaning of a negative one */
		take_str(&o->propagation, json_get_str(r->body, "propagationPolicy", NULL));
		json_t *orphan = json_object_get(r->body, "orphanDependents");
		if (json_is_boolean(orphan) && json_get_str(r->body, "propagationPolicy", NULL)) {
			err_add_cause(
				&r->err, "FieldValueInvalid", "propagationPolicy",
				"Invalid value: \"%.100s\": orphanDependents and deletionPropagation cannot be both set",
				json_get_str(r->body, "propagationPolicy", ""));
			return err_status(
				&r->err, ERR_INVALID,
				"DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: "
				"\"%.100s\": orphanDependents and deletionPropagation cannot be both set",
				json_get_str(r->body, "propagationPolicy", ""));
		}
		if (json_is_boolean(orphan) && !o->propagation)
			take_str(&o->propagation, json_is_true(orphan) ? "Orphan" : "Background");
		json_t *pre = json_object_get(r->body, "preconditions");
		take_str(&o->pre_uid, json_get_str(pre, "uid", NULL));
		take_str(&o->pre_rv, json_get_str(pre, "resourceVersion", NULL));
		if (json_array_size(json_object_get(r->body, "dryRun")) > 0)
			o->dry_run = true;
	}
	return check_propagation(r);
}
