#include "apiserver/write.h"

#include "apiserver/admission.h"
#include "apiserver/decode.h"
#include "apiserver/node_authz.h"
#include "apiserver/rbac.h"
#include "apiserver/read.h"
#include "apiserver/service_ip.h"
#include "apiserver/tag.h"

/* ---- what all writes share ---- */

static int validate(struct request *r, const json_t *tree, const json_t *old)
{
	struct err *err = &r->err;
	meta_validate(r->kind, tree, old, err);
	schema_validate(r->kind->schema, tree, old, err);
	if (err->n_causes == 0)
		return err->code;
	schema_invalid_message(err, r->kind, meta_name(tree));
	return err->code;
}

/* As upstream's v1.32: deployments, replica sets and endpoint slices. */
static bool counts_generations(const struct kind *k)
{
	return (streq(k->group, "apps") && (k->subresources & KIND_SUB_STATUS)) || streq(k->kind, "EndpointSlice");
}

int write_plan(struct request *r)
{
	r->new_obj = object_from_tree(r->kind, r->tree);
	struct plan *p = &r->plan;
	if (r->old_rev)
		plan_expect(p, r->key, STORE_CMP_MOD_REV, STORE_EQ, r->old_rev);
	else
		plan_expect(p, r->key, STORE_CMP_CREATE_REV, STORE_EQ, 0);
	plan_put(p, r->key, r->new_obj->bytes);
	if (r->new_obj->bytes->len > JSON_MAX_BYTES)
		return err_status(&r->err, ERR_TOO_LARGE, "Request entity too large: limit is %u", JSON_MAX_BYTES);
	return REQUEST_NEXT;
}

int write_committed(struct request *r)
{
	struct object *o = STEAL(r->new_obj);
	o->rv = r->options.dry_run ? r->old_rev : r->commit_rev;
	if (!r->options.dry_run && !r->deletes)
		recent_put(r->server->recent, o);
	result_object(r, o, r->verb == V_CREATE ? 201 : 200);
	return REQUEST_NEXT;
}

/* ---- create ---- */

struct create {
	bool account_looked, generated;
	struct service_ip_claim service;
};

static void create_free(void *p)
{
	struct create *c = p;
	service_ip_claim_done(&c->service);
	free(c);
}

void route_set_name(struct request *r, const char *name)
{
	/* the route's strings live in one piece of memory: make it anew with the name behind */
	size_t used = 2 * strlen(r->route.path) + 2, len = strlen(name) + 1;
	char *memory = xmalloc(used + len);
	memcpy(memory, r->route.memory, used);
	const char **fields[] = {&r->route.path,   &r->route.group, &r->route.version,
				 &r->route.plural, &r->route.ns,    &r->route.subresource};
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (*fields[i] >= r->route.memory && *fields[i] < r->route.memory + used)
			*fields[i] = memory + (*fields[i] - r->route.memory);
	memcpy(memory + used, name, len);
	r->route.name = memory + used;
	free(r->route.memory);
	r->route.memory = memory;
}

static int create_decode(struct request *r)
{
	struct create *c = NEW(struct create);
	r->extra = c;
	r->extra_free = create_free;
	if (*r->route.name && r->http)
		return err_status(&r->err, ERR_METHOD_NOT_ALLOWED,
				  "the server does not allow this method on the requested resource");
	int rc = decode_object(r);
	if (rc < 0)
		return rc;
	json_t *meta = json_object_get(r->body, "metadata");
	if (json_object_get(meta, "resourceVersion") && *json_get_str(meta, "resourceVersion", ""))
		return fail_bad(r, "resourceVersion should not be set on objects to be created");
	route_set_name(r, json_get_str(meta, "name", ""));
	c->generated = !*r->route.name && *json_get_str(meta, "generateName", "");
	return REQUEST_NEXT;
}

static int create_look(struct request *r)
{
	int rc = admit_namespace_look(r);
	if (rc == REQUEST_NEXT)
		rc = admit_account_look(r, &((struct create *)r->extra)->account_looked);
	return rc == REQUEST_NEXT ? admit_pod_classes(r) : rc;
}

/* generateName: the prefix, cut to leave room, and five random characters. */
static void generate_name(struct request *r, json_t *meta)
{
	char name[80], suffix[6];
	server_random_suffix(r->server, suffix, 5);
	snprintf(name, sizeof(name), "%.58s%s", json_get_str(meta, "generateName", ""), suffix);
	json_put_str(meta, "name", name);
	route_set_name(r, name);
}

static void create_metadata(struct request *r, json_t *tree)
{
	static const char *const owned[] = {"managedFields",     "selfLink",
					    "deletionTimestamp", "deletionGracePeriodSeconds",
					    "resourceVersion",   "generation"};
	json_t *meta = json_object_get(tree, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		json_object_del(meta, owned[i]);
	if (((struct create *)r->extra)->generated)
		generate_name(r, meta);
	server_stamp(r->server, tree);
	if (counts_generations(r->kind))
		json_put_int(meta, "generation", 1);
}

static int create_change(struct request *r)
{
	struct create *c = r->extra;
	bool adds = streq(r->kind->kind, "Pod") || streq(r->kind->kind, "Service");
	/* what is admitted must be decided anew if the transaction is refused */
	r->tree = adds || c->generated ? json_deep_copy(r->body) : json_incref(r->body);
	create_metadata(r, r->tree);
	admit_new(r, r->tree);
	schema_default(r->kind->schema, r->tree);
	if (r->kind->prepare)
		r->kind->prepare(r->tree, NULL);
	int rc = service_ip_claim(r, r->tree, NULL, &c->service);
	if (rc >= 0)
		rc = validate(r, r->tree, NULL);
	if (rc >= 0)
		rc = rbac_may_grant(r, r->tree, NULL);
	if (rc >= 0)
		rc = node_restriction(r, r->tree, NULL);
	if (rc < 0)
		return rc;
	free(r->key);
	r->key = resource_key(r->res, r->route.ns, r->route.name);
	rc = write_plan(r);
	admit_namespace_plan(r);
	plan_get_else(&r->plan, r->key);
	service_ip_plan(r, &c->service);
	return rc;
}

static int create_refused(struct request *r, const struct store_txn_resp *resp)
{
	struct create *c = r->extra;
	if (resp->n_got > 0 && resp->got[0].value && !c->generated)
		return fail_exists(r);
	admit_namespace_refused(r);
	int rc = service_ip_refused(r, &c->service, resp);
	if (rc < 0)
		return rc;
	if (++r->attempts > 2 * WRITE_ATTEMPTS)
		return fail_conflict(r, "too many changes at once; please try again");
	return REQUEST_LOOK_AGAIN;
}

const struct handler handler_create = {create_decode, create_look, create_change, create_refused, write_committed};

/* ---- update ---- */

/* Members of metadata that are the server's: taken from what is stored. */
static void carry_over(json_t *tree, const json_t *old)
{
	static const char *const owned[] = {
		"uid",  "creationTimestamp", "generation",  "deletionTimestamp", "deletionGracePeriodSeconds",
		"name", "namespace",         "generateName"};
	json_t *meta = json_need_object(tree, "metadata"), *old_meta = json_object_get(old, "metadata");
	for (size_t i = 0; i < ARRAY_LEN(owned); i++) {
		json_t *v = json_object_get(old_meta, owned[i]);
		if (v)
			json_object_set(meta, owned[i], v);
		else
			json_object_del(meta, owned[i]);
	}
	json_object_del(meta, "managedFields");
	json_object_del(meta, "selfLink");
	json_put_str(tree, "apiVersion", json_get_str(old, "apiVersion", ""));
	json_put_str(tree, "kind", json_get_str(old, "kind", ""));
}

/* The revision and uid a client says it decided on. */
static int check_preconditions(struct request *r, const json_t *tree, const json_t *old)
{
	const char *rv = json_get_str(json_object_get(tree, "metadata"), "resourceVersion", "");
	const char *uid = meta_uid(tree);
	uint64_t want = 0;
	if (*rv && parse_u64(rv, &want) < 0)
		return fail_bad(r, "metadata.resourceVersion: Invalid value: \"%.100s\"", rv);
	if (want && want != r->old_rev)
		return fail_modified(r);
	if (*uid && !streq(uid, meta_uid(old)))
		return fail_conflict(r, "Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
				     meta_uid(old));
	return 0;
}

/* Equal but for the version? Then there is nothing to write. */
static bool unchanged(const json_t *tree, const json_t *old)
{
	if (json_object_size(tree) != json_object_size(old))
		return false;
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)tree, key, v)
	{
		if (!streq(key, "metadata") && !json_equal(v, json_object_get(old, key)))
			return false;
	}
	_cleanup_json_ json_t *a = json_copy(json_object_get(tree, "metadata"));
	_cleanup_json_ json_t *b = json_copy(json_object_get(old, "metadata"));
	json_object_del(a, "resourceVersion");
	json_object_del(b, "resourceVersion");
	return json_equal(a, b);
}

/* An object that waited for its finalizers, and has none left. */
static bool ends_deletion(const struct request *r, const json_t *tree)
{
	const json_t *meta = json_object_get(tree, "metadata");
	if (!meta_deleting(tree) || json_array_size(json_object_get(meta, "finalizers")) > 0)
		return false;
	if (streq(r->kind->kind, "Namespace"))
		return json_array_size(json_path(tree, "spec", "finalizers", NULL)) == 0;
	return json_get_int(meta, "deletionGracePeriodSeconds", 0) == 0;
}

int write_replace(struct request *r, json_t *tree)
{
	json_t *old = old_tree(r);
	r->tree = tree;
	json_object_del(json_need_object(tree, "metadata"), "resourceVersion");
	if (unchanged(tree, old)) {
		result_object(r, object_ref(old_object(r)), 200);
		return REQUEST_SKIP_TO_ANSWER;
	}
	int rc = write_plan(r);
	if (rc >= 0 && ends_deletion(r, tree)) {
		r->deletes = true;
		plan_clear(&r->plan);
		plan_expect(&r->plan, r->key, STORE_CMP_MOD_REV, STORE_EQ, r->old_rev);
		plan_delete(&r->plan, r->key);
		service_ip_plan_release(r, tree);
	}
	return rc;
}

/* Is any member but metadata and status of a not the same in b? */
static bool wish_differs(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)a, key, v)
	{
		if (!streq(key, "metadata") && !streq(key, "status") && !json_equal(v, json_object_get(b, key)))
			return true;
	}
	return false;
}

static void bump_generation(const struct request *r, json_t *tree, const json_t *old)
{
	if (counts_generations(r->kind) && (wish_differs(tree, old) || wish_differs(old, tree)))
		json_put_int(json_object_get(tree, "metadata"), "generation", meta_generation(old) + 1);
}

static void keep_old_member(json_t *tree, const json_t *old, const char *key)
{
	json_t *v = json_object_get(old, key);
	if (v)
		json_object_set(tree, key, v);
	else
		json_object_del(tree, key);
}

/* Only the status of tree counts; the rest stays as it is stored. */
static json_t *status_of(struct request *r, json_t *tree)
{
	json_t *result = json_copy(old_tree(r));
	json_put(result, "metadata", json_copy(json_object_get(result, "metadata")));
	json_t *status = json_object_get(tree, "status");
	if (status)
		json_object_set(result, "status", status);
	else
		json_object_del(result, "status");
	/* controllers and agents note things about the object beside its status */
	json_t *notes = json_path(tree, "metadata", "annotations", NULL);
	if (json_is_object(notes))
		json_object_set(json_object_get(result, "metadata"), "annotations", notes);
	json_decref(tree);
	return result;
}

/* A renewed Lease in the same hands may share another write's commit; not the first after a start, which may be somebody
 * waiting to take his own back. */
static bool is_heartbeat(const struct request *r, const json_t *tree, const json_t *old)
{
	const json_t *a = json_object_get(tree, "spec"), *b = json_object_get(old, "spec");
	return streq(r->kind->kind, "Lease") && r->old_rev > r->server->start_rev &&
	       streq(json_get_str(a, "holderIdentity", ""), json_get_str(b, "holderIdentity", "")) &&
	       *json_get_str(a, "holderIdentity", "");
}

static void claim_free(void *p)
{
	service_ip_claim_done(p);
	free(p);
}

/* What an update of a Service takes and gives: kept for `refused`. NULL for other kinds. */
static struct service_ip_claim *update_claim(struct request *r)
{
	if (!streq(r->kind->kind, "Service"))
		return NULL;
	if (!r->extra) {
		r->extra = NEW(struct service_ip_claim);
		r->extra_free = claim_free;
	}
	return r->extra;
}

int write_update(struct request *r, json_t *tree, bool status_only)
{
	json_t *old = old_tree(r);
	int rc = old ? check_preconditions(r, tree, old) : r->err.code;
	if (rc < 0) {
		json_decref(tree);
		return rc;
	}
	if (status_only)
		tree = status_of(r, tree);
	else if (r->kind->subresources & KIND_SUB_STATUS)
		keep_old_member(tree, old, "status");
	carry_over(tree, old);
	if (streq(r->kind->kind, "Pod") && !status_only)
		admit_pod_update(tree);
	schema_default(r->kind->schema, tree);
	if (r->kind->prepare && !status_only)
		r->kind->prepare(tree, old);
	if (!status_only)
		bump_generation(r, tree, old);
	if (streq(r->kind->kind, "Namespace") && !status_only)
		keep_old_member(tree, old, "spec");
	struct service_ip_claim *claim = status_only ? NULL : update_claim(r);
	rc = claim ? service_ip_claim(r, tree, old, claim) : 0;
	if (rc >= 0)
		rc = validate(r, tree, old);
	if (rc >= 0)
		rc = rbac_may_grant(r, tree, old);
	if (rc >= 0)
		rc = node_restriction(r, tree, old);
	if (rc < 0) {
		json_decref(tree);
		return rc;
	}
	r->lazy = is_heartbeat(r, tree, old);
	rc = write_replace(r, tree);
	if (rc == REQUEST_NEXT && !r->deletes && claim) {
		plan_get_else(&r->plan, r->key);
		service_ip_plan(r, claim);
	}
	return rc;
}

int write_refused(struct request *r, const struct store_txn_resp *resp)
{
	if (streq(r->kind->kind, "Service") && r->extra) {
		int rc = service_ip_refused(r, r->extra, resp);
		if (rc < 0)
			return rc;
	}
	const char *rv = json_is_object(r->body) && r->body_format != BODY_PATCH_JSON
				 ? json_get_str(json_object_get(r->body, "metadata"), "resourceVersion", "")
				 : "";
	if (*rv || ++r->attempts >= WRITE_ATTEMPTS)
		return fail_modified(r);
	return REQUEST_LOOK_AGAIN;
}

/* An update says whom it is about in its body too. */
static int update_decode(struct request *r)
{
	int rc = decode_body(r, r->kind, r->kind->schema);
	const json_t *meta = json_object_get(r->body, "metadata");
	const char *ns = json_get_str(meta, "namespace", "");
	if (rc < 0)
		return rc;
	if (!*json_get_str(meta, "name", ""))
		return fail_bad(
			r, "the name of the object (%.253s based on URL) was undeterminable: name must be provided",
			r->route.name);
	if (*ns && r->kind->namespaced && !streq(ns, r->route.ns))
		return fail_bad(r,
				"the namespace of the object (%.253s) does not match the namespace on the request (%s)",
				ns, r->route.ns);
	return decode_check_names(r);
}

static int update_change(struct request *r)
{
	return write_update(r, json_deep_copy(r->body), false);
}

static int update_status_change(struct request *r)
{
	return write_update(r, json_deep_copy(r->body), true);
}

const struct handler handler_update = {update_decode, look_named, update_change, write_refused, write_committed};
const struct handler handler_update_status = {update_decode, look_named, update_status_change, write_refused,
					      write_committed};

/* ---- patch ---- */

int write_apply_patch(struct request *r, const struct schema *s, const json_t *doc, json_t **ret)
{
	int rc;
	switch (r->body_format) {
	case BODY_PATCH_JSON:
		rc = patch_json(doc, r->body, ret, &r->err);
		break;
	case BODY_PATCH_MERGE:
		rc = patch_merge(doc, r->body, ret, &r->err);
		break;
	case BODY_PATCH_STRATEGIC:
		rc = patch_strategic(s, doc, r->body, ret, &r->err);
		break;
	default:
		return err_status(&r->err, ERR_UNSUPPORTED_MEDIA_TYPE,
				  "the body of the request was in an unknown format - accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, "
				  "application/strategic-merge-patch+json");
	}
	return rc;
}

/* A patch may not make another object of it: refused, not ignored. */
static int patch_keeps_identity(struct request *r, const json_t *tree, const json_t *old)
{
	static const char *const fixed[] = {"kind", "apiVersion"};
	const char *ns = json_get_str(json_object_get(tree, "metadata"), "namespace", "");
	if (r->kind->namespaced && !streq(ns, r->route.ns))
		return fail_bad(r,
				"the namespace of the object (%.253s) does not match the namespace on the request (%s)",
				ns, r->route.ns);
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		const char *is = json_get_str(tree, fixed[i], ""), *was = json_get_str(old, fixed[i], "");
		if (streq(is, was))
			continue;
		err_add_cause(&r->err, "FieldValueInvalid", "patch", "Invalid value: \"%.200s\": %s must stay %s", is,
			      fixed[i], was);
		return err_status(&r->err, ERR_INVALID,
				  " \"\" is invalid: patch: Invalid value: \"%.200s\": %s must stay %s", is, fixed[i],
				  was);
	}
	return 0;
}

static int patch(struct request *r, bool status_only)
{
	json_t *old = old_tree(r), *patched = NULL;
	if (!old)
		return r->err.code;
	int rc = write_apply_patch(r, r->kind->schema, old, &patched);
	if (rc < 0)
		return rc;
	/* a patch shares what it leaves alone with the old tree, which must not change */
	json_t *tree = json_deep_copy(patched);
	json_decref(patched);
	const char *name = meta_name(tree);
	rc = decode_tree(r, r->kind, r->kind->schema, tree, NULL);
	if (rc >= 0 && !streq(name, r->route.name))
		rc = fail_bad(r, "the name of the object (%.253s) does not match the name on the URL (%.253s)", name,
			      r->route.name);
	if (rc >= 0)
		rc = patch_keeps_identity(r, tree, old);
	if (rc < 0) {
		json_decref(tree);
		return rc;
	}
	return write_update(r, tree, status_only);
}

static int patch_change(struct request *r)
{
	return patch(r, false);
}

static int patch_status_change(struct request *r)
{
	return patch(r, true);
}

const struct handler handler_patch = {decode_patch, look_named, patch_change, write_refused, write_committed};
const struct handler handler_patch_status = {decode_patch, look_named, patch_status_change, write_refused,
					     write_committed};
