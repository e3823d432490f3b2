#include "apiserver/authn.h"

#include <strings.h>

#include "apiserver/authz.h"
#include "apiserver/bootstrap_token.h"
#include "lib/net/pki.h"

#define CACHE_SLOTS 256u

/* A token whose signature has been verified. */
struct authn_claims {
	unsigned refs;
	char *token;
	char *ns, *sa_name, *sa_uid, *pod_name, *pod_uid, *jti;
	json_t *audiences;
	int64_t not_before_s, expires_s;
};

struct authn_cache {
	struct authn_claims *slots[CACHE_SLOTS];
};

static void claims_unref(struct authn_claims *c)
{
	if (!c || --c->refs > 0)
		return;
	free(c->token);
	free(c->ns);
	free(c->sa_name);
	free(c->sa_uid);
	free(c->pod_name);
	free(c->pod_uid);
	free(c->jti);
	json_decref(c->audiences);
	free(c);
}

struct authn_cache *authn_cache_new(void)
{
	return NEW(struct authn_cache);
}

void authn_cache_free(struct authn_cache *c)
{
	for (unsigned i = 0; c && i < CACHE_SLOTS; i++)
		claims_unref(c->slots[i]);
	free(c);
}

static struct authn_claims **cache_slot(struct authn_cache *c, const char *token)
{
	return &c->slots[hash64(token, strlen(token)) % CACHE_SLOTS];
}

/* ---- one token: signature on the pool, then the account and the pod in the store ----
 *
 *   VERIFY --claims--> ACCOUNT --there--> POD (if bound to one) --there--> done
 *     |                   |                |
 *     +-------------------+----------------+--> done without a user
 */
struct token_check {
	struct env_work work; /* first: found again from it */
	struct apiserver *server;
	char *token, *key_pem, *claims_json;
	json_t *audiences;
	struct authn_claims *claims;
	bool fresh; /* look in what a majority has, not only in what is here */
	authn_token_cb done;
	void *arg;
	char why[256];
};

static void check_end(struct token_check *t, struct user *user)
{
	t->done(t->arg, user, user ? NULL : t->why);
	user_unref(user);
	free(t->token);
	free(t->key_pem);
	free(t->claims_json);
	json_decref(t->audiences);
	claims_unref(t->claims);
	free(t);
}

static void check_fail(struct token_check *t, const char *why)
{
	snprintf(t->why, sizeof(t->why), "%s", why);
	check_end(t, NULL);
}

static bool audience_ok(const struct authn_claims *c, const json_t *wanted)
{
	size_t i, j;
	json_t *have, *want;
	json_array_foreach(c->audiences, i, have)
	{
		if (!wanted && streq(json_string_value(have), SA_ISSUER))
			return true;
		json_array_foreach(wanted, j, want)
		{
			if (json_equal(have, want))
				return true;
		}
	}
	return false;
}

static struct user *claims_user(const struct authn_claims *c)
{
	_cleanup_free_ char *name = xasprintf("system:serviceaccount:%s:%s", c->ns, c->sa_name);
	_cleanup_free_ char *group = xasprintf("system:serviceaccounts:%s", c->ns);
	struct user *u = user_new(name, c->sa_uid,
				  (const char *const[]){"system:serviceaccounts", group, "system:authenticated", NULL});
	u->extra = json_object();
	if (c->jti) {
		_cleanup_free_ char *id = xasprintf("JTI=%s", c->jti);
		json_put(u->extra, "authentication.kubernetes.io/credential-id", json_make("[s]", id));
	}
	if (c->pod_name) {
		json_put(u->extra, "authentication.kubernetes.io/pod-name", json_make("[s]", c->pod_name));
		json_put(u->extra, "authentication.kubernetes.io/pod-uid", json_make("[s]", c->pod_uid));
	}
	return u;
}

/* The one object of a range answer, when it is this uid's and is not being deleted. */
static bool same_uid(struct apiserver *a, const char *plural, const struct store_range_resp *resp, const char *uid)
{
	if (resp->n_kvs == 0 || !resp->kvs[0].value)
		return false;
	struct object *o = NULL;
	const struct resource *res = server_resource(a, "", "v1", plural);
	if (object_from_bytes(res->kind, resp->kvs[0].value, resp->kvs[0].mod_rev, &o, NULL) < 0)
		return false;
	bool same = streq(o->uid, uid);
	object_unref(o);
	return same;
}

static void lookup(struct token_check *t, const char *plural, const char *name, store_range_cb cb)
{
	_cleanup_free_ char *key = resource_key(server_resource(t->server, "", "v1", plural), t->claims->ns, name);
	struct store_range_req req = {.key = key, .serializable = !t->fresh};
	store_range(t->server->store, &req, cb, t);
}

/* Without a quorum, what is here decides. What is not (yet) here may be of a moment ago, at another server. */
static bool look_again(struct token_check *t, const char *plural, const char *name, store_range_cb cb)
{
	if (t->fresh)
		return false;
	t->fresh = true;
	lookup(t, plural, name, cb);
	return true;
}

static void on_pod(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct token_check *t = arg;
	bool there = !store_failed(err) && same_uid(t->server, "pods", resp, t->claims->pod_uid);
	if (!there && look_again(t, "pods", t->claims->pod_name, on_pod))
		return;
	if (!there)
		return check_fail(t, "service account token is bound to a pod that no longer exists");
	check_end(t, claims_user(t->claims));
}

static void on_account(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct token_check *t = arg;
	bool there = !store_failed(err) && same_uid(t->server, "serviceaccounts", resp, t->claims->sa_uid);
	if (!there && look_again(t, "serviceaccounts", t->claims->sa_name, on_account))
		return;
	if (!there)
		return check_fail(t, "service account token has been invalidated");
	if (t->claims->pod_name)
		return lookup(t, "pods", t->claims->pod_name, on_pod);
	check_end(t, claims_user(t->claims));
}

static void check_claims(struct token_check *t)
{
	int64_t now = env_wall_s(t->server->env);
	if (now >= t->claims->expires_s)
		return check_fail(t, "service account token has expired");
	if (now + 60 < t->claims->not_before_s)
		return check_fail(t, "service account token is not valid yet");
	if (!audience_ok(t->claims, t->audiences))
		return check_fail(t, "token audiences do not match");
	lookup(t, "serviceaccounts", t->claims->sa_name, on_account);
}

/* Names from a token become part of keys. */
static bool name_ok(const char *s)
{
	return s && *s && !strchr(s, '/') && strlen(s) <= 253;
}

static struct authn_claims *claims_read(const char *json, const char *token)
{
	_cleanup_json_ json_t *j = NULL;
	if (json_parse(json, strlen(json), &j, NULL) < 0 || !streq(json_get_str(j, "iss", ""), SA_ISSUER))
		return NULL;
	json_t *k = json_path(j, "kubernetes.io", NULL);
	json_t *sa = json_path(k, "serviceaccount", NULL), *pod = json_path(k, "pod", NULL);
	const char *ns = json_get_str(k, "namespace", NULL), *name = json_get_str(sa, "name", NULL);
	const char *pod_name = json_get_str(pod, "name", NULL);
	if (!name_ok(ns) || !name_ok(name) || (pod && !name_ok(pod_name)))
		return NULL;
	struct authn_claims *c = NEW(struct authn_claims);
	c->refs = 1;
	c->token = xstrdup(token);
	c->ns = xstrdup(ns);
	c->sa_name = xstrdup(name);
	c->sa_uid = xstrdup(json_get_str(sa, "uid", ""));
	if (pod) {
		c->pod_name = xstrdup(pod_name);
		c->pod_uid = xstrdup(json_get_str(pod, "uid", ""));
	}
	const char *jti = json_get_str(j, "jti", NULL);
	c->jti = jti ? xstrdup(jti) : NULL;
	json_t *aud = json_object_get(j, "aud");
	c->audiences = json_is_string(aud) ? json_make("[O]", aud) : json_incref(aud);
	c->not_before_s = json_get_int(j, "nbf", 0);
	c->expires_s = json_get_int(j, "exp", 0);
	return c;
}

static void verify_work(struct env_work *w)
{
	struct token_check *t = CONTAINER_OF(w, struct token_check, work);
	struct err err = ERR_INIT;
	if (jwt_verify(t->key_pem, t->token, &t->claims_json, &err) < 0)
		snprintf(t->why, sizeof(t->why), "%.200s", err.message);
	err_done(&err);
}

static void verify_done(struct env_work *w)
{
	struct token_check *t = CONTAINER_OF(w, struct token_check, work);
	if (!t->claims_json)
		return check_end(t, NULL);
	t->claims = claims_read(t->claims_json, t->token);
	if (!t->claims)
		return check_fail(t, "not a token of this cluster");
	struct authn_claims **slot = cache_slot(t->server->authn_cache, t->token);
	claims_unref(*slot);
	*slot = t->claims;
	t->claims->refs++;
	check_claims(t);
}

void authn_token(struct apiserver *a, const char *token, json_t *audiences, authn_token_cb done, void *arg)
{
	struct token_check *t = NEW(struct token_check);
	t->server = a;
	t->token = xstrdup(token);
	t->audiences = json_incref(audiences);
	t->done = done;
	t->arg = arg;
	t->work = (struct env_work){.work = verify_work, .done = verify_done, .lane = ENV_LANE_POOL};
	struct authn_claims *known = *cache_slot(a->authn_cache, token);
	int64_t now = env_wall_s(a->env);
	/* only what can't fail here: `done` must not be called inside this call */
	if (known && streq(known->token, token) && now < known->expires_s && now + 60 >= known->not_before_s &&
	    audience_ok(known, audiences)) {
		known->refs++;
		t->claims = known;
		check_claims(t);
		return;
	}
	t->key_pem = xstrdup(a->sa_key_pem ? a->sa_key_pem : "");
	env_submit(a->env, &t->work);
}

/* ---- the stage ---- */

static int unauthorized(struct request *r)
{
	return err_status(&r->err, ERR_UNAUTHORIZED, "Unauthorized");
}

static void on_token(void *arg, struct user *user, const char *why)
{
	(void)why; /* a stranger learns no more than that it was refused */
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	if (!user) {
		unauthorized(r);
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	r->user = user_ref(user);
	request_resume(r, REQUEST_IMPERSONATE);
}

static int authn_cert(struct request *r, const struct http_peer *peer)
{
	if (!peer->cert_verified || !*peer->common_name)
		return unauthorized(r);
	r->user = user_new(peer->common_name, NULL, peer->organizations);
	user_add_group(r->user, "system:authenticated");
	return REQUEST_NEXT;
}

int authn_request(struct request *r)
{
	if (r->user) /* direct clients are who they are */
		return REQUEST_NEXT;
	const struct http_peer *peer = http_peer(r->http);
	if (peer && peer->cert_given)
		return authn_cert(r, peer);
	const char *header = http_header(r->http, "Authorization");
	if (!header) {
		r->user = user_new("system:anonymous", NULL, (const char *const[]){"system:unauthenticated", NULL});
		return REQUEST_NEXT;
	}
	if (strncasecmp(header, "Bearer ", 7) != 0 || strlen(header) > 16384)
		return unauthorized(r);
	const char *token = header + 7;
	while (*token == ' ')
		token++;
	if (bootstrap_token_looks_so(token))
		return bootstrap_token_authn(r, token);
	request_submitted(r);
	authn_token(r->server, token, NULL, on_token, r);
	return REQUEST_WAIT;
}

/* ---- impersonation ---- */

static int may_impersonate(struct request *r, const char *resource, const char *ns, const char *name, const char *sub)
{
	const struct authz_query q = {
		.verb = "impersonate",
		.group = streq(resource, "userextras") || streq(resource, "uids") ? "authentication.k8s.io" : "",
		.resource = resource,
		.subresource = sub,
		.ns = ns,
		.name = name};
	if (authz_allowed(r->server, r->impersonator, &q))
		return 0;
	return authz_forbidden(r->impersonator, &q, &r->err);
}

static int impersonate_user(struct request *r, const char *name)
{
	if (!str_starts(name, "system:serviceaccount:"))
		return may_impersonate(r, "users", "", name, "");
	char ns[256] = "";
	const char *rest = name + strlen("system:serviceaccount:"), *colon = strchr(rest, ':');
	if (!colon || (size_t)(colon - rest) >= sizeof(ns))
		return fail_bad(r, "invalid service account name \"%.200s\"", name);
	memcpy(ns, rest, (size_t)(colon - rest));
	return may_impersonate(r, "serviceaccounts", ns, colon + 1, "");
}

static int impersonate_extra(struct request *r, struct user *as, const char *header, const char *value)
{
	char key[200];
	size_t n = 0;
	for (const char *p = header + strlen("Impersonate-Extra-"); *p && n < sizeof(key) - 1; p++)
		key[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	key[n] = 0;
	int rc = may_impersonate(r, "userextras", "", value, key);
	if (rc < 0)
		return rc;
	if (!as->extra)
		as->extra = json_object();
	json_array_append_new(json_need_array(as->extra, key), json_string(value));
	return 0;
}

int authn_impersonate(struct request *r)
{
	if (!r->http)
		return REQUEST_NEXT;
	const char *name = http_header(r->http, "Impersonate-User");
	if (!name) {
		if (http_header(r->http, "Impersonate-Group") || http_header(r->http, "Impersonate-Uid"))
			return fail_bad(r, "requested impersonation without impersonating a user");
		return REQUEST_NEXT;
	}
	struct user *as = user_new(name, http_header(r->http, "Impersonate-Uid"), NULL);
	r->impersonator = r->user;
	r->user = as;
	int rc = impersonate_user(r, name);
	if (rc >= 0 && *as->uid)
		rc = may_impersonate(r, "uids", "", as->uid, "");
	unsigned pos = 0;
	const char *header, *value;
	while (rc >= 0 && http_header_next(r->http, &pos, &header, &value)) {
		if (strcasecmp(header, "Impersonate-Group") == 0) {
			rc = may_impersonate(r, "groups", "", value, "");
			user_add_group(as, value);
		} else if (strncasecmp(header, "Impersonate-Extra-", 18) == 0) {
			rc = impersonate_extra(r, as, header, value);
		}
	}
	if (str_starts(name, "system:serviceaccount:") && as->n_groups == 0) {
		user_add_group(as, "system:serviceaccounts");
		const char *ns = name + strlen("system:serviceaccount:");
		_cleanup_free_ char *group = xasprintf("system:serviceaccounts:%.*s", (int)strcspn(ns, ":"), ns);
		user_add_group(as, group);
	}
	user_add_group(as, streq(name, "system:anonymous") ? "system:unauthenticated" : "system:authenticated");
	return rc < 0 ? rc : REQUEST_NEXT;
}
