/* Certificates renewed without the CA's key, file by file: when, what is written, and what a crash leaves. */
#include "tests/support/tap.h"

#include <errno.h>

#include "cli/agent.h"
#include "cli/rotate.h"
#include "lib/core/env_sim.h"
#include "lib/core/file.h"

#define LIFE_S 1000

struct host {
	char dir[64];
	struct pki_pair ca;
	struct pki_pair first;
};

static void put(const struct host *h, const char *file, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/%s", h->dir, file);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static char *get(const struct host *h, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/%s", h->dir, file);
	struct buf b = BUF_INIT;
	return file_read(path, 65536, &b, NULL) < 0 ? NULL : buf_steal(&b);
}

static bool there(const struct host *h, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/%s", h->dir, file);
	return file_exists(path);
}

static struct pki_request request(const char *name, int64_t from_s)
{
	return (struct pki_request){
		.common_name = name, .client = true, .not_before_s = from_s, .not_after_s = from_s + LIFE_S};
}

static int setup(void **state)
{
	struct host *h = NEW(struct host);
	const struct pki_request req = request("mini:server:1", 0);
	snprintf(h->dir, sizeof(h->dir), "/tmp/mini-rotate-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	_cleanup_free_ char *pki = xasprintf("%s/pki", h->dir);
	assert_int_equal(mkdir_p(pki, 0700, NULL), 0);
	assert_int_equal(pki_make_ca("ca", 0, 1000000, &h->ca, NULL), 0);
	assert_int_equal(pki_issue(&h->ca, &req, &h->first, NULL), 0);
	put(h, "server.crt", h->first.cert_pem);
	put(h, "server.key", h->first.key_pem);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;
	rm_rf(h->dir, NULL);
	pki_pair_done(&h->ca);
	pki_pair_done(&h->first);
	free(h);
	return 0;
}

static void when(void **state)
{
	struct host *h = *state;
	assert_false(rotate_due(h->dir, rotate_member, 0));
	assert_false(rotate_due(h->dir, rotate_member, 699));
	assert_true(rotate_due(h->dir, rotate_member, 800));
	assert_true(rotate_due(h->dir, rotate_member, 5000));
	/* not of what is not there; and not where certificates are signed */
	assert_false(rotate_due(h->dir, rotate_node, 5000));
	put(h, "ca.key", h->ca.key_pem);
	assert_false(rotate_due(h->dir, rotate_member, 5000));
	/* not all in one moment */
	int64_t first = 1000, last = 0;
	_cleanup_free_ char *ca_key = xasprintf("%s/pki/ca.key", h->dir);
	unlink(ca_key);
	for (int i = 0; i < 8; i++) {
		struct pki_pair p;
		const struct pki_request req = request("mini:server:1", 0);
		int64_t at = 0;
		assert_int_equal(pki_issue(&h->ca, &req, &p, NULL), 0);
		put(h, "server.crt", p.cert_pem);
		while (!rotate_due(h->dir, rotate_member, at))
			at += 5;
		first = MIN(first, at);
		last = MAX(last, at);
		pki_pair_done(&p);
	}
	assert_true(last - first >= 10);
}

static json_t *signed_as(const struct host *h, const json_t *body, const char *name, int64_t from_s)
{
	_cleanup_free_ char *cert = NULL;
	const struct pki_request req = request(name, from_s);
	assert_int_equal(pki_sign_csr(&h->ca, json_get_str(body, "csr", ""), &req, &cert, NULL), 0);
	return json_make("{s:s}", "certificate", cert);
}

static void a_new_one(void **state)
{
	struct host *h = *state;
	_cleanup_json_ json_t *body = json_object(), *again = json_object();
	assert_int_equal(rotate_make(h->dir, rotate_member, body, NULL), 0);
	_cleanup_free_ char *next = get(h, "server-next.key");
	/* asked once more, with the same key */
	assert_int_equal(rotate_make(h->dir, rotate_member, again, NULL), 0);
	_cleanup_free_ char *same = get(h, "server-next.key");
	assert_string_equal(next, same);
	_cleanup_json_ json_t *answer = signed_as(h, again, "mini:server:1", 700);
	assert_int_equal(rotate_take(h->dir, rotate_member, answer, 750, NULL), 0);
	_cleanup_free_ char *cert = get(h, "server.crt"), *key = get(h, "server.key");
	assert_string_equal(cert, json_get_str(answer, "certificate", ""));
	assert_string_equal(key, next);
	assert_false(there(h, "server-next.key"));
	assert_false(rotate_due(h->dir, rotate_member, 1000));
}

static void what_is_not_taken(void **state)
{
	struct host *h = *state;
	_cleanup_json_ json_t *body = json_object(), *none = json_object();
	assert_int_equal(rotate_make(h->dir, rotate_member, body, NULL), 0);
	_cleanup_json_ json_t *other = signed_as(h, body, "mini:server:2", 700),
			      *late = signed_as(h, body, "mini:server:1", 800);
	_cleanup_json_ json_t *foreign = json_make("{s:s}", "certificate", h->first.cert_pem);
	struct err err = ERR_INIT;
	assert_int_equal(rotate_take(h->dir, rotate_member, other, 750, &err), -EPROTO);
	assert_non_null(strstr(err.message, "not what was asked for"));
	assert_int_equal(rotate_take(h->dir, rotate_member, late, 750, NULL), -EPROTO);
	assert_int_equal(rotate_take(h->dir, rotate_member, foreign, 750, NULL), -EPROTO);
	assert_true(rotate_take(h->dir, rotate_member, none, 750, NULL) < 0);
	_cleanup_free_ char *cert = get(h, "server.crt"), *key = get(h, "server.key");
	assert_string_equal(cert, h->first.cert_pem);
	assert_string_equal(key, h->first.key_pem);
}

static void a_crash_in_the_midst(void **state)
{
	struct host *h = *state;
	_cleanup_json_ json_t *body = json_object();
	assert_int_equal(rotate_make(h->dir, rotate_member, body, NULL), 0);
	/* before the certificate was written: nothing has changed */
	assert_false(rotate_settle(h->dir, "server", h->first.cert_pem));
	_cleanup_json_ json_t *answer = signed_as(h, body, "mini:server:1", 700);
	const char *cert = json_get_str(answer, "certificate", "");
	_cleanup_free_ char *next = get(h, "server-next.key");
	put(h, "server.crt", cert);
	assert_true(rotate_settle(h->dir, "server", cert));
	_cleanup_free_ char *key = get(h, "server.key");
	assert_string_equal(key, next);
	assert_false(there(h, "server-next.key"));
}

/* ---- where a node finds the servers ---- */

static void servers_of_a_node(void **state)
{
	struct host *h = *state;
	struct env *env = env_sim_new(1, 0);
	struct agent_settings s = {0}, again = {0};
	struct servers *servers;
	struct err err = ERR_INIT;
	assert_int_equal(agent_settings_read(h->dir, &s, NULL), 0);
	assert_null(s.joined);
	assert_int_equal(agent_servers(env, &s, NULL, &servers, &err), -EINVAL);
	agent_settings_done(&s);
	_cleanup_json_ json_t *answer =
		json_make("{s:[s,i,s], s:s}", "servers", "https://a:1", 7, "https://b:1", "clusterCIDR", "10.1.0.0/16");
	agent_settings_take(&s, "https://first:1", answer);
	s.node_name = xstrdup("n1");
	assert_int_equal(agent_settings_write(h->dir, &s, NULL), 0);
	agent_settings_done(&s);
	assert_int_equal(agent_settings_read(h->dir, &again, NULL), 0);
	assert_string_equal(again.joined, "https://first:1");
	assert_string_equal(again.cluster_cidr, "10.1.0.0/16");
	assert_string_equal(again.node_name, "n1");
	assert_null(again.node_ip);
	assert_null(again.service_cidr);
	assert_int_equal(agent_servers(env, &again, "https://b:1", &servers, NULL), 0);
	assert_int_equal(servers_count(servers), 3);
	assert_string_equal(servers_at(servers, 0), "https://b:1");
	assert_string_equal(servers_at(servers, 1), "https://a:1");
	assert_string_equal(servers_at(servers, 2), "https://first:1");
	servers_unref(servers);
	agent_settings_done(&again);
	_cleanup_free_ char *path = xasprintf("%s/agent.json", h->dir);
	assert_int_equal(file_write_atomic(path, "[half", 5, 0600, NULL), 0);
	assert_int_equal(agent_settings_read(h->dir, &s, &err), -EBADMSG);
	env_sim_free(env);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(when, setup, teardown),
	cmocka_unit_test_setup_teardown(a_new_one, setup, teardown),
	cmocka_unit_test_setup_teardown(what_is_not_taken, setup, teardown),
	cmocka_unit_test_setup_teardown(a_crash_in_the_midst, setup, teardown),
	cmocka_unit_test_setup_teardown(servers_of_a_node, setup, teardown),
};

RUN_TESTS(tests)
