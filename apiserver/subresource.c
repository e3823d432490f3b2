#include "apiserver/subresource.h"

#include "apiserver/authz.h"
#include "apiserver/decode.h"
#include "apiserver/delete.h"
#include "apiserver/read.h"
#include "apiserver/tag.h"
#include "apiserver/write.h"

static int created_status(struct request *r)
{
	if (r->new_obj && !r->deletes && r->commit_rev) {
		r->new_obj->rv = r->commit_rev;
		recent_put(r->server->recent, r->new_obj);
	}
	result_tree(r,
		    json_make("{s:s, s:s, s:{}, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			      "Success", "code", 201),
		    201);
	return REQUEST_NEXT;
}

/* ---- pods/binding: the scheduler's decision, made once ---- */

static int decode_binding(struct request *r)
{
	int rc = decode_body(r, NULL, &schema_binding);
	if (rc < 0)
		return rc;
	const json_t *target = json_object_get(r->body, "target");
	if (!*json_get_str(target, "name", ""))
		return fail_bad(r, "Binding \"%s\" is invalid: target.name: Required value", r->route.name);
	const char *kind = json_get_str(target, "kind", "");
	if (*kind && !streq(kind, "Node"))
		return fail_bad(
			r,
			"Binding \"%s\" is invalid: target.kind: Unsupported value: \"%.100s\": supported values: "
			"\"Node\"",
			r->route.name, kind);
	return REQUEST_NEXT;
}

/* Set the condition `type` to True, keeping the time if it was. */
static void set_scheduled(struct request *r, json_t *status)
{
	json_t *list = json_need_array(status, "conditions"), *c;
	char now[21];
	size_t i;
	json_array_foreach(list, i, c)
	{
		if (streq(json_get_str(c, "type", ""), "PodScheduled")) {
			json_array_remove(list, i);
			break;
		}
	}
	json_array_append_new(list, json_make("{s:s, s:s, s:n, s:s}", "type", "PodScheduled", "status", "True",
					      "lastProbeTime", "lastTransitionTime", server_now(r->server, now)));
}

static int bind_change(struct request *r)
{
	json_t *old = old_tree(r);
	if (!old)
		return r->err.code;
	const char *on = json_get_str(json_object_get(old, "spec"), "nodeName", "");
	const char *uid = meta_uid(r->body);
	if (*uid && !streq(uid, meta_uid(old)))
		return fail_conflict(r, "Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
				     meta_uid(old));
	if (*on)
		return fail_conflict(r, "pod %s is already assigned to node \"%s\"", r->route.name, on);
	if (meta_deleting(old))
		return fail_conflict(r, "pod %s is being deleted, cannot be assigned to a host", r->route.name);
	json_t *tree = json_deep_copy(old);
	json_put_str(json_need_object(tree, "spec"), "nodeName",
		     json_get_str(json_object_get(r->body, "target"), "name", ""));
	json_t *notes = json_path(r->body, "metadata", "annotations", NULL);
	if (json_is_object(notes))
		json_object_update(json_need_object(json_object_get(tree, "metadata"), "annotations"), notes);
	set_scheduled(r, json_need_object(tree, "status"));
	return write_replace(r, tree);
}

const struct handler handler_binding = {decode_binding, look_named, bind_change, write_refused, created_status};

/* ---- pods/eviction: a deletion that disruption budgets may refuse (there are none yet) ---- */

static int decode_eviction(struct request *r)
{
	int rc = decode_body(r, NULL, &schema_eviction);
	if (rc < 0)
		return rc;
	struct request_options *o = &r->options;
	const json_t *d = json_object_get(r->body, "deleteOptions"), *pre = json_object_get(d, "preconditions");
	const char *uid = json_get_str(pre, "uid", NULL), *rv = json_get_str(pre, "resourceVersion", NULL);
	o->grace_s = json_get_int(d, "gracePeriodSeconds", -1);
	if (uid && !o->pre_uid)
		o->pre_uid = xstrdup(uid);
	if (rv && !o->pre_rv)
		o->pre_rv = xstrdup(rv);
	if (json_array_size(json_object_get(d, "dryRun")) > 0)
		o->dry_run = true;
	return REQUEST_NEXT;
}

static int evict_change(struct request *r)
{
	int rc = delete_change(r);
	if (rc == REQUEST_SKIP_TO_ANSWER) { /* it was being deleted already */
		object_unref(STEAL(r->result.obj));
		created_status(r);
	}
	return rc;
}

const struct handler handler_eviction = {decode_eviction, look_named, evict_change, delete_refused, created_status};

/* ---- namespaces/finalize: the namespace controller takes its finalizer away ---- */

static int finalize_change(struct request *r)
{
	json_t *old = old_tree(r);
	if (!old)
		return r->err.code;
	const char *rv = json_get_str(json_object_get(r->body, "metadata"), "resourceVersion", "");
	uint64_t want = 0;
	if (*rv && (parse_u64(rv, &want) < 0 || want != r->old_rev))
		return fail_modified(r);
	json_t *tree = json_deep_copy(old);
	json_t *list = json_path(r->body, "spec", "finalizers", NULL);
	json_t *spec = json_need_object(tree, "spec");
	if (json_array_size(list) > 0)
		json_object_set(spec, "finalizers", list);
	else
		json_object_del(spec, "finalizers");
	return write_replace(r, tree);
}

const struct handler handler_finalize = {decode_object, look_named, finalize_change, write_refused, write_committed};
