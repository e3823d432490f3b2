/* serviceaccounts/token: a TokenRequest becomes a signed token, bound to the account and, if asked, to a pod. */
#include "apiserver/decode.h"
#include "apiserver/node_authz.h"
#include "apiserver/read.h"
#include "apiserver/subresource.h"
#include "lib/net/pki.h"

#define TOKEN_MIN_S 600
#define TOKEN_MAX_S (1ll << 32)

/* LOOK reads the account, then the pod; CHANGE signs on the pool. */
struct token_work {
	struct env_work work;
	struct request *r;
	char *key_pem, *claims, *token;
	char *pod_uid;
	bool pod_looked;
	int64_t expires_s;
	struct err err;
};

static void token_free(void *p)
{
	struct token_work *t = p;
	free(t->key_pem);
	free(t->claims);
	free(t->token);
	free(t->pod_uid);
	err_done(&t->err);
	free(t);
}

static int token_decode(struct request *r)
{
	struct token_work *t = NEW(struct token_work);
	t->r = r;
	r->extra = t;
	r->extra_free = token_free;
	int rc = decode_body(r, NULL, &schema_token_request);
	if (rc < 0)
		return rc;
	schema_default(&schema_token_request, r->body);
	int64_t s = json_get_int(json_need_object(r->body, "spec"), "expirationSeconds", 3600);
	if (s < TOKEN_MIN_S || s > TOKEN_MAX_S)
		return err_status(
			&r->err, ERR_INVALID,
			"TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: "
			"%lld: may not specify a duration %s",
			(long long)s, s < TOKEN_MIN_S ? "less than 10 minutes" : "larger than 2^32 seconds");
	return REQUEST_NEXT;
}

static const json_t *bound_ref(const struct request *r)
{
	return json_path(r->body, "spec", "boundObjectRef", NULL);
}

/* A node gets tokens for the pods it runs, of their own account, and for nothing else. */
static int check_node(struct request *r, struct object *pod)
{
	const char *node = node_of_user(r->user);
	if (!node)
		return 0;
	_cleanup_json_ json_t *tree = object_tree(pod);
	const json_t *spec = json_object_get(tree, "spec");
	if (streq(json_get_str(spec, "nodeName", ""), node) &&
	    streq(json_get_str(spec, "serviceAccountName", "default"), r->route.name))
		return 0;
	return fail_forbidden(r, "node requested token bound to a pod scheduled on a different node or of another "
				 "service account");
}

static void on_pod(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct token_work *t = r->extra;
	const struct resource *pods = server_resource(r->server, "", "v1", "pods");
	const char *name = json_get_str(bound_ref(r), "name", ""), *uid = json_get_str(bound_ref(r), "uid", "");
	struct object *o = NULL;
	if (store_failed(err)) {
		fail_store(r, err);
	} else if (resp->n_kvs == 0 || object_from_bytes(pods->kind, resp->kvs[0].value, 1, &o, NULL) < 0) {
		fail_not_found_named(r, pods, name);
	} else if (*uid && !streq(uid, o->uid)) {
		err_status(&r->err, ERR_CONFLICT,
			   "Operation cannot be fulfilled on pods \"%s\": the UID in the bound object "
			   "reference (%s) does not match the UID in record. The object might have "
			   "been deleted and then recreated",
			   name, uid);
	} else {
		t->pod_uid = xstrdup(o->uid);
	}
	if (r->err.code == 0)
		check_node(r, o);
	object_unref(o);
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_LOOK);
}

static int token_look(struct request *r)
{
	struct token_work *t = r->extra;
	const json_t *ref = bound_ref(r);
	if (node_of_user(r->user) && !t->pod_looked) {
		if (!ref || !streq(json_get_str(ref, "kind", ""), "Pod") || !*json_get_str(ref, "name", ""))
			return fail_forbidden(r, "node requested token not bound to a pod");
		if (!*json_get_str(ref, "uid", ""))
			return fail_forbidden(r, "node requested token with a pod binding without a uid");
	}
	if (!ref || t->pod_looked)
		return look_named(r);
	const char *kind = json_get_str(ref, "kind", ""), *name = json_get_str(ref, "name", "");
	if (!streq(kind, "Pod") || !*name || strchr(name, '/'))
		return fail_bad(r,
				"cannot bind token for serviceaccount \"%s\" to object of kind \"%.100s\": only pods",
				r->route.name, kind);
	t->pod_looked = true;
	_cleanup_free_ char *key = resource_key(server_resource(r->server, "", "v1", "pods"), r->route.ns, name);
	struct store_range_req req = {.key = key};
	request_submitted(r);
	store_range(r->server->store, &req, on_pod, r);
	return REQUEST_WAIT;
}

static json_t *token_claims(struct request *r, struct token_work *t, json_t *audiences)
{
	int64_t now = env_wall_s(r->server->env);
	char jti[37];
	server_uuid(r->server, jti);
	_cleanup_free_ char *sub = xasprintf("system:serviceaccount:%s:%s", r->route.ns, r->route.name);
	json_t *k = json_make("{s:s, s:{s:s, s:s}}", "namespace", r->route.ns, "serviceaccount", "name", r->route.name,
			      "uid", old_object(r)->uid);
	if (t->pod_uid)
		json_put(k, "pod",
			 json_make("{s:s, s:s}", "name", json_get_str(bound_ref(r), "name", ""), "uid", t->pod_uid));
	return json_make("{s:O, s:I, s:I, s:s, s:s, s:o, s:I, s:s}", "aud", audiences, "exp", (json_int_t)t->expires_s,
			 "iat", (json_int_t)now, "iss", SA_ISSUER, "jti", jti, "kubernetes.io", k, "nbf",
			 (json_int_t)now, "sub", sub);
}

static void sign(struct env_work *w)
{
	struct token_work *t = CONTAINER_OF(w, struct token_work, work);
	jwt_sign(t->key_pem, t->claims, &t->token, &t->err);
}

static void signed_done(struct env_work *w)
{
	struct token_work *t = CONTAINER_OF(w, struct token_work, work);
	struct request *r = t->r;
	if (!request_arrived(r))
		return;
	if (!t->token) {
		err_status(&r->err, ERR_INTERNAL_ERROR, "the token could not be signed: %s", t->err.message);
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	char when[21];
	json_t *tree = json_deep_copy(r->body);
	json_put_str(tree, "kind", "TokenRequest");
	json_put_str(tree, "apiVersion", "authentication.k8s.io/v1");
	json_t *meta = json_need_object(tree, "metadata");
	json_put_str(meta, "name", r->route.name);
	json_put_str(meta, "namespace", r->route.ns);
	json_put(tree, "status",
		 json_make("{s:s, s:s}", "token", t->token, "expirationTimestamp", time_format_s(t->expires_s, when)));
	result_tree(r, tree, 201);
	request_resume(r, REQUEST_ANSWER);
}

static int token_change(struct request *r)
{
	struct token_work *t = r->extra;
	struct apiserver *a = r->server;
	if (!a->sa_key_pem)
		return err_status(&r->err, ERR_SERVICE_UNAVAILABLE, "this server has no key to sign tokens with");
	if (!old_object(r))
		return r->err.code;
	json_t *spec = json_object_get(r->body, "spec");
	if (json_array_size(json_object_get(spec, "audiences")) == 0)
		json_put(spec, "audiences", json_make("[s]", SA_ISSUER));
	t->expires_s = env_wall_s(a->env) + json_get_int(spec, "expirationSeconds", 3600);
	_cleanup_json_ json_t *claims = token_claims(r, t, json_object_get(spec, "audiences"));
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_write(&b, claims);
	t->claims = buf_steal(&b);
	t->key_pem = xstrdup(a->sa_key_pem);
	t->work = (struct env_work){.work = sign, .done = signed_done, .lane = ENV_LANE_POOL};
	request_submitted(r);
	env_submit(a->env, &t->work);
	return REQUEST_WAIT;
}

const struct handler handler_token = {.decode = token_decode, .look = token_look, .change = token_change};
