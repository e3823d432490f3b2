/* The scale subresource of whatever has replicas: autoscaling/v1 Scale in and out. */
#include "apiserver/decode.h"
#include "apiserver/read.h"
#include "apiserver/subresource.h"
#include "apiserver/tag.h"
#include "apiserver/write.h"
#include "lib/api/kinds/duration.h"

static json_t *scale_of(const json_t *obj)
{
	static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"};
	json_t *meta = json_object(), *from = json_object_get(obj, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		json_t *v = json_object_get(from, kept[i]);
		if (v)
			json_object_set(meta, kept[i], v);
	}
	json_t *scale = json_make("{s:s, s:s, s:o, s:{s:I}, s:{s:I}}", "kind", "Scale", "apiVersion", "autoscaling/v1",
				  "metadata", meta, "spec", "replicas",
				  (json_int_t)json_get_int(json_object_get(obj, "spec"), "replicas", 1), "status",
				  "replicas", (json_int_t)json_get_int(json_object_get(obj, "status"), "replicas", 0));
	_cleanup_selector_ struct selector *s = NULL;
	if (selector_from_json(json_path(obj, "spec", "selector", NULL), &s, NULL) == 0) {
		_cleanup_free_ char *text = selector_str(s);
		json_put_str(json_object_get(scale, "status"), "selector", text);
	}
	return scale;
}

/* As `kubectl get --subresource=scale` shows it. */
static json_t *scale_table(json_t *scale_new, int64_t now_s)
{
	static const char *const columns[][3] = {{"Name", "string", "name"},
						 {"Desired", "integer", ""},
						 {"Available", "integer", ""},
						 {"Age", "string", ""}};
	json_t *table = json_make("{s:s, s:s, s:{}}", "kind", "Table", "apiVersion", "meta.k8s.io/v1", "metadata");
	json_t *meta = json_object_get(scale_new, "metadata");
	char age[HUMAN_DURATION_MAX];
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		json_array_append_new(json_need_array(table, "columnDefinitions"),
				      json_make("{s:s, s:s, s:s, s:s, s:i}", "name", columns[i][0], "type",
						columns[i][1], "format", columns[i][2], "description", "", "priority",
						0));
	json_t *cells = json_make("[s, I, I, s]", json_get_str(meta, "name", ""),
				  (json_int_t)json_get_int(json_object_get(scale_new, "spec"), "replicas", 0),
				  (json_int_t)json_get_int(json_object_get(scale_new, "status"), "replicas", 0),
				  human_age(json_get_str(meta, "creationTimestamp", ""), now_s, age));
	json_array_append_new(json_need_array(table, "rows"),
			      json_make("{s:o, s:o}", "cells", cells, "object", scale_new));
	return table;
}

static int get_scale(struct request *r)
{
	json_t *old = old_tree(r);
	if (!old)
		return r->err.code;
	json_t *scale = scale_of(old);
	result_tree(r, r->format == FORMAT_TABLE ? scale_table(scale, env_wall_s(r->server->env)) : scale, 200);
	return REQUEST_SKIP_TO_ANSWER;
}

/* Take the count from a Scale (not consumed) and write it. */
static int write_scale(struct request *r, const json_t *scale)
{
	json_t *old = old_tree(r);
	int64_t n = json_get_int(json_object_get(scale, "spec"), "replicas", 0);
	const char *rv = json_get_str(json_object_get(scale, "metadata"), "resourceVersion", NULL);
	if (n < 0) {
		err_add_cause(&r->err, "FieldValueInvalid", "spec.replicas",
			      "Invalid value: %lld: must be greater than or equal to 0", (long long)n);
		snprintf(r->err.group, sizeof(r->err.group), "autoscaling");
		snprintf(r->err.kind, sizeof(r->err.kind), "Scale");
		snprintf(r->err.name, sizeof(r->err.name), "%s", r->route.name);
		return err_status(
			&r->err, ERR_INVALID,
			"Scale.autoscaling \"%s\" is invalid: spec.replicas: Invalid value: %lld: must be greater "
			"than or equal to 0",
			r->route.name, (long long)n);
	}
	json_t *tree = json_deep_copy(old);
	json_put_int(json_need_object(tree, "spec"), "replicas", n);
	json_put_str(json_object_get(tree, "metadata"), "resourceVersion", rv);
	return write_update(r, tree, false);
}

static int decode_scale(struct request *r)
{
	int rc = decode_body(r, NULL, &schema_scale);
	if (rc < 0)
		return rc;
	const char *kind = json_get_str(r->body, "kind", "Scale");
	const char *name = json_get_str(json_object_get(r->body, "metadata"), "name", r->route.name);
	if (!streq(kind, "Scale"))
		return fail_bad(r, "the body must be a Scale, not a %.100s", kind);
	if (!streq(name, r->route.name))
		return fail_bad(r, "the name of the object (%.253s) does not match the name on the URL (%.253s)", name,
				r->route.name);
	return REQUEST_NEXT;
}

static int update_scale(struct request *r)
{
	return old_tree(r) ? write_scale(r, r->body) : r->err.code;
}

static int patch_scale(struct request *r)
{
	if (!old_tree(r))
		return r->err.code;
	_cleanup_json_ json_t *scale = scale_of(old_tree(r)), *patched = NULL, *tree = NULL;
	int rc = write_apply_patch(r, &schema_scale, scale, &patched);
	if (rc < 0)
		return rc;
	tree = json_deep_copy(patched);
	rc = decode_tree(r, NULL, &schema_scale, tree, NULL);
	return rc < 0 ? rc : write_scale(r, tree);
}

/* What write_update left unchanged is answered as a Scale as well. */
static int answer_scale(struct request *r)
{
	int rc = write_committed(r);
	if (rc < 0)
		return rc;
	_cleanup_object_ struct object *o = STEAL(r->result.obj);
	_cleanup_json_ json_t *tree = object_tree(o);
	result_tree(r, scale_of(tree), 200);
	return REQUEST_NEXT;
}

static int as_scale(struct request *r, int rc)
{
	if (rc == REQUEST_SKIP_TO_ANSWER && r->result.type == RESULT_OBJECT) {
		_cleanup_object_ struct object *o = STEAL(r->result.obj);
		_cleanup_json_ json_t *tree = object_tree(o);
		result_tree(r, scale_of(tree), 200);
	}
	return rc;
}

static int update_scale_change(struct request *r)
{
	return as_scale(r, update_scale(r));
}

static int patch_scale_change(struct request *r)
{
	return as_scale(r, patch_scale(r));
}

const struct handler handler_get_scale = {.look = look_named, .change = get_scale};
const struct handler handler_update_scale = {decode_scale, look_named, update_scale_change, write_refused,
					     answer_scale};
const struct handler handler_patch_scale = {decode_patch, look_named, patch_scale_change, write_refused, answer_scale};
