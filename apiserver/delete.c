#include "apiserver/delete.h"

#include "apiserver/admission.h"
#include "apiserver/decode.h"
#include "apiserver/node_authz.h"
#include "apiserver/read.h"
#include "apiserver/service_ip.h"
#include "apiserver/tag.h"
#include "apiserver/write.h"

static bool is_kind(const struct request *r, const char *kind)
{
	return streq(r->kind->kind, kind) && !*r->kind->group;
}

static int check_preconditions(struct request *r, const json_t *old)
{
	const struct request_options *o = &r->options;
	uint64_t rv = 0;
	if (!str_empty(o->pre_uid) && !streq(o->pre_uid, meta_uid(old)))
		return fail_conflict(r,
				     "the UID in the precondition (%s) does not match the UID in record (%s). The "
				     "object might have been deleted and then recreated",
				     o->pre_uid, meta_uid(old));
	if (!str_empty(o->pre_rv) && (parse_u64(o->pre_rv, &rv) < 0 || rv != r->old_rev))
		return fail_conflict(r,
				     "the ResourceVersion in the precondition (%s) does not match the ResourceVersion "
				     "in record (%llu). The object might have been modified",
				     o->pre_rv, (unsigned long long)r->old_rev);
	return 0;
}

/* Seconds a pod is given; 0 for what has no grace or nobody to use it. */
static int64_t grace_of(const struct request *r, const json_t *old)
{
	if (!is_kind(r, "Pod"))
		return 0;
	const json_t *spec = json_object_get(old, "spec");
	const char *phase = json_get_str(json_object_get(old, "status"), "phase", "");
	if (!*json_get_str(spec, "nodeName", "") || streq(phase, "Failed") || streq(phase, "Succeeded"))
		return 0;
	if (r->options.grace_s >= 0)
		return r->options.grace_s;
	return json_get_int(spec, "terminationGracePeriodSeconds", 30);
}

static bool remove_string(json_t *list, const char *s)
{
	size_t i;
	json_t *v;
	bool removed = false;
	json_array_foreach(list, i, v)
	{
		if (streq(json_string_value(v), s)) {
			json_array_remove(list, i--);
			removed = true;
		}
	}
	return removed;
}

/* propagationPolicy becomes a finalizer for the garbage collector. */
static void set_propagation(const struct request *r, json_t *meta)
{
	const char *p = r->options.propagation;
	if (!p)
		return;
	json_t *list = json_need_array(meta, "finalizers");
	remove_string(list, "orphan");
	remove_string(list, "foregroundDeletion");
	if (streq(p, "Orphan"))
		json_array_append_new(list, json_string("orphan"));
	else if (streq(p, "Foreground"))
		json_array_append_new(list, json_string("foregroundDeletion"));
	if (json_array_size(list) == 0)
		json_object_del(meta, "finalizers");
}

static void set_deleting(struct request *r, json_t *tree, int64_t grace_s)
{
	json_t *meta = json_object_get(tree, "metadata");
	char when[21];
	int64_t old_grace = json_get_int(meta, "deletionGracePeriodSeconds", 0), at_us = 0;
	int64_t at_s = env_wall_s(r->server->env) + grace_s;
	const char *old_when = json_get_str(meta, "deletionTimestamp", NULL);
	if (old_when && time_parse_us(old_when, &at_us) == 0) {
		if (grace_s >= old_grace)
			return; /* only ever sooner */
		at_s = at_us / 1000000 - old_grace + grace_s;
	}
	json_put_str(meta, "deletionTimestamp", time_format_s(at_s, when));
	json_put_int(meta, "deletionGracePeriodSeconds", grace_s);
	if (json_object_get(meta, "generation"))
		json_put_int(meta, "generation", meta_generation(tree) + 1);
	if (is_kind(r, "Namespace"))
		json_put_str(json_need_object(tree, "status"), "phase", "Terminating");
}

static bool must_stay(const struct request *r, const json_t *tree, int64_t grace_s)
{
	if (json_array_size(json_path(tree, "metadata", "finalizers", NULL)) > 0)
		return true;
	if (is_kind(r, "Namespace"))
		return json_array_size(json_path(tree, "spec", "finalizers", NULL)) > 0;
	return grace_s > 0;
}

/* Gone at once: the answer is the last state, or (for most kinds) a Status. */
static int plan_removal(struct request *r, const json_t *old)
{
	r->deletes = true;
	plan_expect(&r->plan, r->key, STORE_CMP_MOD_REV, STORE_EQ, r->old_rev);
	plan_delete(&r->plan, r->key);
	service_ip_plan_release(r, old);
	return REQUEST_NEXT;
}

int delete_change(struct request *r)
{
	json_t *old = old_tree(r);
	int rc = old ? check_preconditions(r, old) : r->err.code;
	if (rc >= 0)
		rc = admit_namespace_delete(r);
	if (rc >= 0)
		rc = node_restriction(r, NULL, old);
	if (rc < 0)
		return rc;
	int64_t grace_s = grace_of(r, old);
	json_t *tree = json_deep_copy(old);
	set_propagation(r, json_object_get(tree, "metadata"));
	if (!must_stay(r, tree, grace_s)) {
		json_decref(tree);
		return plan_removal(r, old);
	}
	set_deleting(r, tree, grace_s);
	return write_replace(r, tree);
}

int delete_refused(struct request *r, const struct store_txn_resp *resp)
{
	(void)resp;
	if (!str_empty(r->options.pre_rv) || ++r->attempts >= 2 * WRITE_ATTEMPTS)
		return fail_modified(r);
	return REQUEST_LOOK_AGAIN;
}

static bool answers_object(const struct request *r)
{
	static const char *const kinds[] = {"Pod", "Service", "ServiceAccount"};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (is_kind(r, kinds[i]))
			return true;
	return false;
}

int delete_committed(struct request *r)
{
	if (!r->deletes) {
		int rc = write_committed(r);
		r->result.http_status = 200;
		return rc;
	}
	struct object *o = old_object(r);
	/* The direct door tells its caller the revision of the deletion: in the object. */
	if (o && (answers_object(r) || !r->http)) {
		struct object *gone = NULL;
		if (object_from_bytes(r->kind, o->bytes, r->commit_rev ? r->commit_rev : r->old_rev, &gone, NULL) ==
		    0) {
			result_object(r, gone, 200);
			return REQUEST_NEXT;
		}
	}
	result_tree(r, status_success(r->res, r->route.name, o ? o->uid : ""), 200);
	return REQUEST_NEXT;
}

const struct handler handler_delete = {decode_delete_options, look_named, delete_change, delete_refused,
				       delete_committed};

/* ---- deletecollection: a list, then a deletion of each, a few at a time ---- */

#define AT_ONCE 16

static bool sweep_answer(struct request *child);
static const struct door sweep_door = {.answer = sweep_answer};

static int sweep_decode(struct request *r)
{
	int rc = decode_delete_options(r);
	return rc < 0 ? rc : handler_list.decode(r);
}

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* A request of its own per object, in the name of the same user, already authorized. */
static void sweep_one(struct request *r, const struct item *item)
{
	struct object *o = NULL;
	if (object_from_bytes(r->kind, item->bytes, item->rv, &o, NULL) < 0)
		return;
	struct request *c = request_new(r->server, &sweep_door);
	_cleanup_free_ char *path = xasprintf("%s/%s", r->route.path, o->name);
	route_parse(path, &c->route);
	if (*o->ns)
		c->route.ns = o->ns;
	c->verb = V_DELETE;
	c->res = r->res;
	c->kind = r->kind;
	c->user = user_ref(r->user);
	c->options.grace_s = r->options.grace_s;
	c->options.dry_run = r->options.dry_run;
	c->options.propagation = dup_or_null(r->options.propagation);
	c->key = resource_key(r->res, o->ns, o->name);
	c->door_data = r;
	c->extra = o; /* the names borrowed above */
	c->extra_free = (void (*)(void *))object_unref;
	c->handler = &handler_delete;
	r->pending++;
	request_resume(c, REQUEST_LOOK);
}

static int sweep_go_on(struct request *r)
{
	while (r->result.type == RESULT_NONE && r->attempts < r->result.n_items && r->pending < AT_ONCE)
		sweep_one(r, &r->result.items[r->attempts++]);
	if (r->pending > 0)
		return REQUEST_WAIT;
	r->result.type = RESULT_LIST;
	r->result.http_status = 200;
	return REQUEST_SKIP_TO_ANSWER;
}

static bool sweep_answer(struct request *child)
{
	struct request *r = child->door_data;
	if (!request_arrived(r))
		return true;
	/* one that is gone already is no failure */
	if (child->err.code && child->err.reason != ERR_NOT_FOUND && r->err.code == 0)
		err_copy(&r->err, &child->err);
	if (r->err.code) {
		r->result.type = RESULT_NONE;
		if (r->pending == 0)
			request_resume(r, REQUEST_ANSWER);
		return true;
	}
	if (sweep_go_on(r) == REQUEST_SKIP_TO_ANSWER)
		request_resume(r, REQUEST_ANSWER);
	return true;
}

static int sweep_look(struct request *r)
{
	return handler_list.look(r);
}

const struct handler handler_deletecollection = {.decode = sweep_decode, .look = sweep_look, .change = sweep_go_on};
