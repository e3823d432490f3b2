/* Joining, as the wire sees it: who may, what a certificate says whatever was asked for, and that a second try is the
 * same member. */
#include <errno.h>

#include "apiserver/bootstrap_token.h"
#include "apiserver/mini_api.h"
#include "lib/client/join_token.h"
#include "lib/net/pki.h"
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static int setup(void **state)
{
	struct api *f = NEW(struct api);
	api_init(f);
	f->server->ca_key_pem = xstrdup(f->ca.key_pem);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	api_done(*state);
	free(*state);
	return 0;
}

/* A token's Secret, made as minid does; its bearer as a header. */
static const char *token(struct api *f, const struct join_token_grant *g)
{
	static char header[64];
	struct join_token t;
	assert_int_equal(join_token_make(f->ca.cert_pem, &t, NULL), 0);
	_cleanup_json_ json_t *secret = join_token_object(&t, g);
	_cleanup_buf_ struct buf body = BUF_INIT;
	json_write(&body, secret);
	assert_int_equal(api_post(f, "/api/v1/namespaces/kube-system/secrets", buf_str(&body))->status, 201);
	snprintf(header, sizeof(header), "Authorization: Bearer %s.%s", t.id, t.secret);
	return header;
}

static const char *server_token(struct api *f)
{
	return token(f, &(struct join_token_grant){.role = "server"});
}

static char *csr_for(const char *key)
{
	static const char *const masters[] = {"system:masters", NULL};
	const struct pki_request req = {.common_name = "admin",
					.organizations = masters,
					.dns_names = (const char *const[]){"kubernetes", NULL}};
	char *csr = NULL;
	assert_int_equal(pki_make_csr(key, &req, &csr, NULL), 0);
	return csr;
}

static struct api_answer *ask(struct api *f, const char *header, const json_t *body)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, body);
	return api_call(f, f->anonymous, "POST", "/mini/v1/join", header, buf_str(&text));
}

static struct api_answer *join(struct api *f, const char *header, const char *name, const char *key)
{
	_cleanup_free_ char *csr = csr_for(key);
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s, s:s, s:s}", "kind", "server", "name", name, "peer",
						"10.0.0.2:6444", "api", "https://10.0.0.2:6443", "csr", csr);
	return ask(f, header, body);
}

static char *new_key(void)
{
	char *key = NULL;
	assert_int_equal(pki_make_key(&key, NULL), 0);
	return key;
}

static void the_ca_is_for_all(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_call(f, f->anonymous, "GET", "/mini/v1/ca", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "ca"), f->ca.cert_pem);
	assert_int_equal(api_call(f, f->anonymous, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, f->anonymous, "POST", "/mini/v1/join", NULL, "{}")->status, 403);
	assert_int_equal(api_call(f, f->admin, "POST", "/mini/v1/ca", NULL, "{}")->status, 405);
	assert_int_equal(api_get(f, "/mini/v1/nothing")->status, 404);
}

static void a_server_joins(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key();
	const char *header = server_token(f);
	struct api_answer *a = join(f, header, "b", key);
	assert_int_equal(a->status, 200);
	_cleanup_free_ char *id = xstrdup(api_str(a, "member")), *cn = xasprintf("mini:server:%s", id);
	/* what it asked for does not count */
	struct pki_cert_info info;
	assert_int_equal(pki_cert_info(api_str(a, "certificate"), &info, NULL), 0);
	assert_string_equal(info.common_name, cn);
	assert_int_equal(info.n_organizations, 1);
	assert_string_equal(info.organizations[0], "mini:servers");
	assert_int_equal(info.n_names, 0);
	assert_false(info.is_ca);
	pki_cert_info_done(&info);
	/* the answer was lost: the same key is the same member */
	a = join(f, header, "b", key);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "member"), id);
	/* another key is another, and wants another name */
	_cleanup_free_ char *other = new_key();
	a = join(f, header, "b", other);
	assert_int_equal(a->status, 409);
	assert_non_null(strstr(api_str(a, "message"), "choose another with --name"));
	/* the cluster's keys are for it, and for no other name of that form */
	struct http_client *member = api_client(f, cn, "mini:servers"),
			   *stranger = api_client(f, "mini:server:0000000000000007", "mini:servers"),
			   *nameless = api_client(f, cn, NULL);
	a = api_call(f, member, "GET", "/mini/v1/keys", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "caKey"), f->ca.key_pem);
	assert_string_equal(api_str(a, "serviceAccountKey"), f->sa_key);
	assert_int_equal(api_call(f, stranger, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, nameless, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	assert_int_equal(api_get(f, "/mini/v1/keys")->status, 403);
	_cleanup_free_ char *as = xasprintf("Impersonate-User: %s\nImpersonate-Group: mini:servers", cn);
	a = api_call(f, f->admin, "GET", "/mini/v1/keys", as, NULL);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "for the servers of the cluster alone"));
	http_client_free(member);
	http_client_free(stranger);
	http_client_free(nameless);
}

static void tokens_that_do_not_count(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key();
	const struct join_token_grant expired = {.role = "server", .expires_s = env_wall_s(f->env) - 1};
	assert_int_equal(join(f, token(f, &expired), "b", key)->status, 401);
	assert_int_equal(join(f, token(f, &(struct join_token_grant){.role = "agent"}), "b", key)->status, 403);
	assert_int_equal(join(f, "Authorization: Bearer aaaaaa.0000000000000000", "b", key)->status, 401);
	struct api_answer *a =
		join(f, token(f, &(struct join_token_grant){.role = "server", .name = "only"}), "b", key);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "this token is for the server \"only\""));
	/* a bearer is that and nothing more */
	a = api_call(f, f->anonymous, "GET", "/api/v1/namespaces/kube-system/secrets", server_token(f), NULL);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "system:bootstrap:"));
	/* whoever guesses is slowed down, also when he then guesses right */
	for (int i = 0; i < 10; i++)
		join(f, "Authorization: Bearer aaaaaa.0000000000000000", "b", key);
	a = join(f, server_token(f), "b", key);
	assert_int_equal(a->status, 429);
}

static void bad_requests(void **state)
{
	struct api *f = *state;
	const char *header = server_token(f);
	static const char *const bodies[] = {
		"{}",
		"[]",
		"nonsense",
		"{\"kind\":\"server\"}",
		"{\"kind\":\"server\",\"name\":\"../x\",\"csr\":\"\"}",
		"{\"kind\":\"server\",\"name\":\"b\",\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\\n-----END\"}",
		"{\"kind\":\"server\",\"name\":\"b\",\"peer\":\"a b\",\"csr\":\"x\"}",
		"{\"kind\":\"server\",\"name\":\"b\",\"wish\":\"king\",\"csr\":\"x\"}",
	};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		assert_int_equal(api_call(f, f->anonymous, "POST", "/mini/v1/join", header, bodies[i])->status, 400);
	/* whoever asks must hold the key: the last bytes of a request are its signature */
	_cleanup_free_ char *key = new_key(), *csr = csr_for(key);
	char *at = strstr(csr, "\n-----END") - 12;
	*at = *at == 'A' ? 'B' : 'A';
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s}", "kind", "server", "name", "b", "csr", csr);
	assert_int_equal(ask(f, header, body)->status, 400);
	/* and leaves nobody behind */
	assert_int_equal(json_array_size(json_object_get(api_get(f, "/mini/v1/cluster")->json, "members")), 1);
	/* what is shown on terminals is text */
	_cleanup_free_ char *good = csr_for(key);
	json_put_str(body, "csr", good);
	json_put_str(body, "api", "https://b\033[2J");
	assert_int_equal(ask(f, header, body)->status, 400);
	/* a name that is another one's id would be removed in its place */
	struct api_answer *a = join(f, header, "0123456789abcdef", key);
	assert_int_equal(a->status, 400);
	assert_non_null(strstr(api_str(a, "message"), "the id of a server"));
}

static void a_node_joins(void **state)
{
	struct api *f = *state;
	const char *header = token(f, &(struct join_token_grant){.role = "agent"});
	_cleanup_free_ char *key = new_key(), *csr = csr_for(key);
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s, s:s, s:s, s:s}", "kind", "agent", "name", "n1",
						"nodeIP", "10.96.0.1", "csr", csr, "servingCsr", csr, "proxyCsr", csr);
	struct api_answer *a = ask(f, header, body);
	struct pki_cert_info info;
	assert_int_equal(a->status, 200);
	assert_int_equal(pki_cert_info(api_str(a, "certificate"), &info, NULL), 0);
	assert_string_equal(info.common_name, "system:node:n1");
	assert_string_equal(info.organizations[0], "system:nodes");
	pki_cert_info_done(&info);
	/* its name and where it asked from: not the address of a service */
	assert_int_equal(pki_cert_info(api_str(a, "servingCertificate"), &info, NULL), 0);
	assert_int_equal(info.n_names, 2);
	assert_string_equal(info.names[0], "n1");
	assert_string_equal(info.names[1], "127.0.0.1");
	pki_cert_info_done(&info);
	assert_int_equal(pki_cert_info(api_str(a, "proxyCertificate"), &info, NULL), 0);
	assert_string_equal(info.common_name, "system:kube-proxy");
	pki_cert_info_done(&info);
	json_put_str(body, "name", "kubernetes");
	assert_int_equal(ask(f, header, body)->status, 400);
	/* a node that is called like a server cannot answer for it; it may be that server's own host */
	_cleanup_free_ char *server_csr = csr_for(key);
	_cleanup_json_ json_t *server = json_make("{s:s, s:s, s:s, s:s}", "kind", "server", "name", "b", "api",
						  "https://b.example:6443", "csr", server_csr);
	assert_int_equal(ask(f, server_token(f), server)->status, 200);
	header = token(f, &(struct join_token_grant){.role = "agent"});
	json_put_str(body, "name", "b.example");
	a = ask(f, header, body);
	assert_int_equal(a->status, 200);
	assert_int_equal(pki_cert_info(api_str(a, "servingCertificate"), &info, NULL), 0);
	assert_int_equal(info.n_names, 1);
	assert_string_equal(info.names[0], "127.0.0.1");
	pki_cert_info_done(&info);
	/* a token for one node is for no other */
	header = token(f, &(struct join_token_grant){.role = "agent", .name = "n2"});
	json_put_str(body, "name", "n1");
	a = ask(f, header, body);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "this token is for the node \"n2\""));
	json_put_str(body, "name", "n2");
	assert_int_equal(ask(f, header, body)->status, 200);
}

static void a_server_is_replaced(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key(), *next = new_key(), *csr = csr_for(next);
	struct api_answer *a = join(f, server_token(f), "b", key);
	_cleanup_free_ char *cn = xasprintf("mini:server:%s", api_str(a, "member"));
	struct http_client *member = api_client(f, cn, "mini:servers");
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s}", "kind", "server", "name", "b", "csr", csr);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, body);
	assert_int_equal(api_call(f, f->admin, "POST", "/mini/v1/replace", NULL, buf_str(&text))->status, 403);
	a = api_call(f, member, "POST", "/mini/v1/replace", NULL, buf_str(&text));
	assert_int_equal(a->status, 200);
	_cleanup_free_ char *id = xstrdup(api_str(a, "member"));
	assert_string_not_equal(id, cn + strlen("mini:server:"));
	/* the answer was lost */
	a = api_call(f, member, "POST", "/mini/v1/replace", NULL, buf_str(&text));
	assert_string_equal(api_str(a, "member"), id);
	/* the one it was is out, and gets nothing any more */
	assert_int_equal(api_call(f, member, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	http_client_free(member);
}

/* Who holds no keys does not come by them by coming back. */
static void a_witness_stays_one(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key(), *next = new_key(), *csr = csr_for(next);
	struct api_answer *a =
		join(f, token(f, &(struct join_token_grant){.role = "server", .wish = "witness"}), "w", key);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "wish"), "witness");
	_cleanup_free_ char *cn = xasprintf("mini:server:%s", api_str(a, "member"));
	struct http_client *member = api_client(f, cn, "mini:servers");
	assert_int_equal(api_call(f, member, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	_cleanup_json_ json_t *body =
		json_make("{s:s, s:s, s:s, s:s}", "kind", "server", "name", "w", "wish", "voter", "csr", csr);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, body);
	a = api_call(f, member, "POST", "/mini/v1/replace", NULL, buf_str(&text));
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "wish"), "witness");
	_cleanup_free_ char *cn2 = xasprintf("mini:server:%s", api_str(a, "member"));
	struct http_client *again = api_client(f, cn2, "mini:servers");
	assert_int_equal(api_call(f, again, "GET", "/mini/v1/keys", NULL, NULL)->status, 403);
	http_client_free(member);
	http_client_free(again);
}

static int64_t life_of(const char *pem, const char *common_name)
{
	struct pki_cert_info info;
	assert_int_equal(pki_cert_info(pem, &info, NULL), 0);
	assert_string_equal(info.common_name, common_name);
	int64_t life_s = info.not_after_s - info.not_before_s;
	pki_cert_info_done(&info);
	return life_s;
}

static struct api_answer *renew(struct api *f, struct http_client *as, const char *header, const char *name)
{
	_cleanup_free_ char *key = new_key(), *csr = csr_for(key);
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s}", "csr", csr, "servingCsr", csr, "proxyCsr", csr);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_put_str(body, "name", name);
	json_write(&text, body);
	return api_call(f, as, "POST", "/mini/v1/renew", header, buf_str(&text));
}

static void a_node_renews_its_own(void **state)
{
	struct api *f = *state;
	f->server->cert_life_s = 24 * 60;
	struct http_client *node = api_client(f, "system:node:n1", "system:nodes"),
			   *proxy = api_client(f, "system:kube-proxy", "system:node-proxier"),
			   *ungrouped = api_client(f, "system:node:n1", NULL);
	struct api_answer *a = renew(f, node, NULL, "n1");
	assert_int_equal(a->status, 200);
	assert_int_equal(life_of(api_str(a, "certificate"), "system:node:n1"), 25 * 60);
	assert_int_equal(life_of(api_str(a, "servingCertificate"), "system:node:n1"), 25 * 60);
	assert_int_equal(life_of(api_str(a, "proxyCertificate"), "system:kube-proxy"), 25 * 60);
	assert_int_equal(renew(f, node, NULL, NULL)->status, 200);
	a = renew(f, node, NULL, "n2");
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "the node \"n1\" renews its own certificates alone"));
	assert_int_equal(renew(f, proxy, NULL, "n1")->status, 403);
	assert_int_equal(renew(f, ungrouped, NULL, "n1")->status, 403);
	assert_int_equal(renew(f, f->anonymous, NULL, "n1")->status, 403);
	/* who may do everything has no certificate of a node's; who speaks for one has not, either */
	assert_int_equal(renew(f, f->admin, NULL, "n1")->status, 403);
	a = renew(f, f->admin, "Impersonate-User: system:node:n1\nImpersonate-Group: system:nodes", "n1");
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "by showing the one it has"));
	/* and it is told where the servers are */
	a = api_call(f, node, "GET", "/mini/v1/servers", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_true(json_is_array(json_object_get(a->json, "servers")));
	assert_int_equal(api_call(f, proxy, "GET", "/mini/v1/servers", NULL, NULL)->status, 403);
	http_client_free(node);
	http_client_free(proxy);
	http_client_free(ungrouped);
}

static void a_witness_renews_its_own(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key();
	struct api_answer *a =
		join(f, token(f, &(struct join_token_grant){.role = "server", .wish = "witness"}), "w", key);
	_cleanup_free_ char *cn = xasprintf("mini:server:%s", api_str(a, "member"));
	struct http_client *member = api_client(f, cn, "mini:servers"),
			   *stranger = api_client(f, "mini:server:0000000000000007", "mini:servers");
	/* with another key, it is the same member */
	a = renew(f, member, NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "wish"), "witness");
	assert_int_equal(life_of(api_str(a, "certificate"), cn), 365 * 86400 + 3600);
	assert_int_equal(json_array_size(json_object_get(api_get(f, "/mini/v1/cluster")->json, "members")), 2);
	assert_int_equal(renew(f, stranger, NULL, NULL)->status, 403);
	/* once it is out, its certificate is over when it is over */
	assert_int_equal(api_call(f, f->admin, "DELETE", "/mini/v1/members/w", NULL, NULL)->status, 200);
	a = renew(f, member, NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "was removed from the cluster"));
	http_client_free(member);
	http_client_free(stranger);
}

static void operators(void **state)
{
	struct api *f = *state;
	_cleanup_free_ char *key = new_key();
	assert_int_equal(join(f, server_token(f), "b", key)->status, 200);
	struct api_answer *a = api_get(f, "/mini/v1/cluster");
	assert_int_equal(a->status, 200);
	assert_int_equal(json_array_size(json_object_get(a->json, "members")), 2);
	assert_string_equal(api_str(a, "quorum"), "true");
	a = api_get(f, "/mini/v1/status");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "leads"), "true");
	assert_int_equal(api_post(f, "/mini/v1/members/nobody/promote", "{}")->status, 404);
	assert_int_equal(api_post(f, "/mini/v1/members/b/crown", "{}")->status, 404);
	assert_int_equal(api_post(f, "/mini/v1/members/b/promote", "{}")->status, 200);
	assert_int_equal(api_post(f, "/mini/v1/move-leader", "{\"to\":\"b\"}")->status, 400);
	assert_int_equal(api_call(f, f->admin, "DELETE", "/mini/v1/members/b", NULL, NULL)->status, 200);
	a = api_call(f, f->admin, "DELETE", "/mini/v1/members/b", NULL, NULL);
	assert_int_equal(a->status, 404);
	struct http_client *user = api_client(f, "ann", NULL);
	assert_int_equal(api_call(f, user, "GET", "/mini/v1/cluster", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, user, "GET", "/mini/v1/snapshot", NULL, NULL)->status, 403);
	http_client_free(user);
}

/* ---- what a Secret makes of its bearer ---- */

static struct user *user_of(const char *part, const char *value, const char *given)
{
	struct join_token t = {.id = "abcdef", .secret = "0123456789abcdef"};
	_cleanup_json_ json_t *s =
		join_token_object(&t, &(struct join_token_grant){.role = "server", .expires_s = 1000});
	_cleanup_free_ char *text = value ? base64_encode(value, strlen(value)) : NULL;
	if (part)
		json_put_str(streq(part, "type") ? s : json_object_get(s, "data"), part,
			     streq(part, "type") ? value : text);
	return bootstrap_token_user(s, "abcdef", given, 999);
}

static void what_a_secret_says(void **state)
{
	static const char secret[] = "0123456789abcdef";
	static const struct {
		const char *part, *value;
	} wrong[] = {
		{"type", "Opaque"},
		{"token-id", "abcdeg"},
		{"token-id", NULL},
		{"token-secret", "0123456789abcdee"},
		{"token-secret", ""},
		{"usage-bootstrap-authentication", "false"},
		{"usage-bootstrap-authentication", NULL},
		{"expiration", "1970-01-01T00:16:39Z"},
		{"expiration", "soon"},
		{"auth-extra-groups", "system:masters"},
		{"auth-extra-groups", "system:bootstrappers:"},
		{"auth-extra-groups", "system:bootstrappers:a-"},
	};
	(void)state;
	struct user *u = user_of(NULL, NULL, secret);
	assert_non_null(u);
	assert_string_equal(u->name, "system:bootstrap:abcdef");
	assert_true(user_in_group(u, "system:bootstrappers"));
	assert_true(user_in_group(u, JOIN_GROUP_SERVERS));
	assert_false(user_in_group(u, "system:masters"));
	user_unref(u);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_null(user_of(wrong[i].part, wrong[i].value, secret));
	assert_null(user_of(NULL, NULL, "0123456789abcdee"));
	assert_null(user_of(NULL, NULL, "0123456789abcde"));
	assert_null(user_of(NULL, NULL, "0123456789abcdeff"));
	assert_null(user_of(NULL, NULL, ""));
}

#define WITH_API(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
static const struct CMUnitTest tests[] = {
	WITH_API(the_ca_is_for_all),
	WITH_API(a_server_joins),
	WITH_API(tokens_that_do_not_count),
	WITH_API(bad_requests),
	WITH_API(a_node_joins),
	WITH_API(a_server_is_replaced),
	WITH_API(a_witness_stays_one),
	WITH_API(a_node_renews_its_own),
	WITH_API(a_witness_renews_its_own),
	WITH_API(operators),
	cmocka_unit_test(what_a_secret_says),
};
RUN_TESTS(tests)
