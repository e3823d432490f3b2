#include "apiserver/bootstrap_token.h"

#include "lib/client/join_token.h"

#define SLOTS     64u
#define WINDOW_US (60ull * 1000000)
#define TRIES_MAX 10u /* false ones an address and window */

/* False tries by address, hashed into slots: two addresses may share one. */
struct token_tries {
	struct {
		uint64_t since_us;
		unsigned failed;
	} slots[SLOTS];
};

struct token_tries *token_tries_new(void)
{
	return NEW(struct token_tries);
}

void token_tries_free(struct token_tries *t)
{
	free(t);
}

static unsigned *tries_of(struct request *r)
{
	const struct http_peer *peer = http_peer(r->http);
	const char *address = peer ? peer->address : "";
	struct token_tries *t = r->server->token_tries;
	size_t i = hash64(address, strlen(address)) % SLOTS;
	uint64_t now = env_now_us(r->server->env);
	if (now - t->slots[i].since_us > WINDOW_US) {
		t->slots[i].since_us = now;
		t->slots[i].failed = 0;
	}
	return &t->slots[i].failed;
}

bool bootstrap_token_looks_so(const char *bearer)
{
	char id[7], secret[17];
	return join_token_is_bearer(bearer, id, secret);
}

/* In a time that does not depend on where they differ. */
static bool same_secret(const char *a, const char *b)
{
	size_t n = strlen(a);
	unsigned char diff = strlen(b) != n;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned char)(a[i] ^ b[diff ? 0 : i]);
	return diff == 0;
}

static bool field_is(const json_t *secret, const char *key, const char *value)
{
	_cleanup_free_ char *text = join_token_field(secret, key);
	return text && same_secret(value, text);
}

/* system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9] */
static bool group_ok(const char *g)
{
	static const char prefix[] = "system:bootstrappers:", alnum[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	if (!str_starts(g, prefix))
		return false;
	const char *rest = g + strlen(prefix);
	size_t n = strlen(rest);
	return n > 0 && n <= 256 && strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789:-") == n &&
	       strchr(alnum, rest[n - 1]);
}

static bool add_groups(struct user *u, const json_t *secret)
{
	_cleanup_free_ char *text = join_token_field(secret, "auth-extra-groups");
	unsigned n = 0;
	for (char *save = NULL, *g = text ? strtok_r(text, ",", &save) : NULL; g; g = strtok_r(NULL, ",", &save)) {
		if (!group_ok(g) || ++n > 16)
			return false;
		user_add_group(u, g);
	}
	return true;
}

static void add_extra(struct user *u, const json_t *secret, const char *field, const char *key)
{
	_cleanup_free_ char *text = join_token_field(secret, field);
	if (!text)
		return;
	if (!u->extra)
		u->extra = json_object();
	json_put(u->extra, key, json_make("[s]", text));
}

struct user *bootstrap_token_user(const json_t *secret, const char *id, const char *given, int64_t now_s)
{
	int64_t expires = join_token_expiry(secret);
	if (!streq(json_get_str(secret, "type", ""), JOIN_TOKEN_TYPE) || meta_deleting(secret) ||
	    !field_is(secret, "token-id", id) || !field_is(secret, "token-secret", given) ||
	    !field_is(secret, "usage-bootstrap-authentication", "true") || (expires != 0 && now_s >= expires))
		return NULL;
	_cleanup_free_ char *name = xasprintf("system:bootstrap:%s", id);
	struct user *u = user_new(name, NULL, (const char *const[]){"system:bootstrappers", NULL});
	if (!add_groups(u, secret)) {
		user_unref(u);
		return NULL;
	}
	user_add_group(u, "system:authenticated");
	add_extra(u, secret, "mini-name", BOOTSTRAP_EXTRA_NAME);
	add_extra(u, secret, "mini-wish", BOOTSTRAP_EXTRA_WISH);
	return u;
}

struct check {
	struct request *r;
	char id[7], secret[17];
};

static json_t *secret_of(struct apiserver *a, const struct store_range_resp *resp)
{
	struct object *o = NULL;
	if (resp->n_kvs == 0 || object_from_bytes(server_resource(a, "", "v1", "secrets")->kind, resp->kvs[0].value,
						  resp->kvs[0].mod_rev, &o, NULL) < 0)
		return NULL;
	json_t *tree = object_tree(o);
	object_unref(o);
	return tree;
}

static void on_secret(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct check *c = arg;
	struct request *r = c->r;
	struct check copy = *c;
	free(c);
	if (!request_arrived(r))
		return;
	if (store_failed(err)) {
		fail_store(r, err);
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	struct apiserver *a = r->server;
	_cleanup_json_ json_t *tree = secret_of(a, resp);
	r->user = tree ? bootstrap_token_user(tree, copy.id, copy.secret, env_wall_s(a->env)) : NULL;
	explicit_bzero(&copy, sizeof(copy));
	if (!r->user) {
		++*tries_of(r);
		err_status(&r->err, ERR_UNAUTHORIZED, "Unauthorized");
	}
	request_resume(r, r->user ? REQUEST_IMPERSONATE : REQUEST_ANSWER);
}

int bootstrap_token_authn(struct request *r, const char *bearer)
{
	if (*tries_of(r) >= TRIES_MAX) {
		err_status(&r->err, ERR_TOO_MANY_REQUESTS, "too many false tokens, try again in a minute");
		r->err.retry_after_s = 60;
		return r->err.code;
	}
	struct check *c = NEW(struct check);
	c->r = r;
	MUST(join_token_is_bearer(bearer, c->id, c->secret));
	_cleanup_free_ char *name = xasprintf(JOIN_TOKEN_PREFIX "%s", c->id);
	_cleanup_free_ char *key = resource_key(server_resource(r->server, "", "v1", "secrets"), JOIN_TOKEN_NS, name);
	/* linearizable: the token may have been made by another server a moment ago */
	struct store_range_req req = {.key = key};
	request_submitted(r);
	store_range(r->server->store, &req, on_secret, c);
	return REQUEST_WAIT;
}
