#include "tests/support/tap.h"

#include <errno.h>
#include <sys/stat.h>

#include "cli/call.h"
#include "cli/join.h"
#include "cli/settings.h"
#include "lib/core/file.h"

static int setup(void **state)
{
	char *dir = xstrdup("/tmp/mini-settings-XXXXXX");
	assert_non_null(mkdtemp(dir));
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	rm_rf(*state, NULL);
	free(*state);
	return 0;
}

static void remembered(void **state)
{
	const char *dir = *state;
	struct options o = {.dir = dir, .port = 6443, .peer_port = 6444, .listen = "10.0.0.1", .instance = "00aa"};
	struct settings s = {0}, again = {0};
	assert_int_equal(settings_read(dir, &s, NULL), 0);
	settings_apply(&s, &o, "host");
	assert_string_equal(s.name, "host-00aa");
	assert_int_equal(s.wish, STORE_ROLE_VOTER);
	s.cluster = 0x1234;
	s.member = 0x5678;
	s.joining = true;
	assert_int_equal(settings_write(dir, &s, NULL), 0);
	/* a start without flags, on a host that is called otherwise now */
	o = (struct options){.dir = dir, .port = 6443, .peer_port = 6444};
	assert_int_equal(settings_read(dir, &again, NULL), 0);
	settings_apply(&again, &o, "other");
	assert_string_equal(again.name, "host-00aa");
	assert_string_equal(again.listen, "10.0.0.1");
	assert_int_equal(again.port, 6443);
	assert_int_equal(again.cluster, 0x1234);
	assert_int_equal(again.member, 0x5678);
	assert_true(again.joining);
	/* a flag given now counts */
	o.port = 7443;
	o.port_given = true;
	o.name = "new";
	settings_apply(&again, &o, "other");
	assert_int_equal(again.port, 7443);
	assert_string_equal(again.name, "new");
	settings_done(&s);
	settings_done(&again);
	_cleanup_free_ char *path = xasprintf("%s/server.json", dir);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_write_atomic(path, "{\"version\":2}", 13, 0600, NULL), 0);
	assert_int_equal(settings_read(dir, &s, NULL), -EPROTONOSUPPORT);
	assert_int_equal(file_write_atomic(path, "half", 4, 0600, NULL), 0);
	assert_int_equal(settings_read(dir, &s, NULL), -EBADMSG);
}

static void the_others(void **state)
{
	const char *dir = *state;
	struct others o = {0};
	const struct store_member list[] = {
		{.id = 1, .name = "a", .peer = "h:1", .api = "https://h:2", .wish = STORE_ROLE_VOTER},
		{.id = 2, .name = "w", .peer = "h:3", .wish = STORE_ROLE_WITNESS},
		{.id = 3, .name = "gone", .api = "https://h:4", .wish = STORE_ROLE_NONE}};
	assert_int_equal(others_read(dir, &o, NULL), 0);
	assert_int_equal(o.n, 0);
	assert_int_equal(others_write(dir, list, 3, NULL), 0);
	assert_int_equal(others_read(dir, &o, NULL), 0);
	assert_int_equal(o.n, 2);
	assert_string_equal(o.members[0].api, "https://h:2");
	assert_int_equal(o.members[1].wish, STORE_ROLE_WITNESS);
	/* somebody to ask: not oneself, and not a witness */
	assert_false(join_has_others(&(struct settings){.member = 1}, &o));
	assert_true(join_has_others(&(struct settings){.member = 2}, &o));
	assert_false(join_has_others(&(struct settings){.member = 0}, &o));
	others_done(&o);
}

static void moved(const struct options *o, const char *dir, const char *peer, const char *api)
{
	struct others others = {0};
	assert_int_equal(others_move(dir, &(struct settings){.member = 9}, o, NULL), 0);
	assert_int_equal(others_read(dir, &others, NULL), 0);
	assert_string_equal(others.members[0].peer, peer);
	assert_string_equal(others.members[0].api, api);
	assert_string_equal(others.members[1].peer, "own:3");
	others_done(&others);
}

static void the_others_have_moved(void **state)
{
	const char *dir = *state;
	struct err err = ERR_INIT;
	const struct store_member list[] = {
		{.id = 1, .name = "a", .peer = "h:1", .api = "https://h:2", .wish = STORE_ROLE_VOTER},
		{.id = 9, .name = "own", .peer = "own:3", .wish = STORE_ROLE_VOTER}};
	assert_int_equal(others_write(dir, list, 2, NULL), 0);
	/* the API moves with it, the ports stay */
	moved(&(struct options){.peers = {"a=new"}, .n_peers = 1}, dir, "new:1", "https://new:2");
	moved(&(struct options){.peers = {"own=x:1", "0000000000000001=[::1]:7"}, .n_peers = 2}, dir, "[::1]:7",
	      "https://[::1]:2");
	/* it was elsewhere, and stays there */
	others_write(dir,
		     (struct store_member[]){{.id = 1, .name = "a", .peer = "p:1", .api = "https://h:2", .wish = 1},
					     list[1]},
		     2, NULL);
	moved(&(struct options){.peers = {"a=q:5"}, .n_peers = 1}, dir, "q:5", "https://h:2");
	struct options none = {.peers = {"aa=h"}, .n_peers = 1};
	assert_int_equal(others_move(dir, &(struct settings){.member = 9}, &none, &err), -ENOENT);
	assert_non_null(strstr(err.message, "no server called so (a, own)"));
	err_done(&err);
}

static void where_others_find_it(void **state)
{
	char host[256];
	char any[] = "0.0.0.0", own[] = "127.0.0.1", told[] = "203.0.113.9";
	struct options o = {.node_ip = "192.0.2.1"};
	(void)state;
	settings_address(&(struct settings){0}, &o, NULL, host);
	assert_string_equal(host, "192.0.2.1");
	settings_address(&(struct settings){.listen = any}, &o, any, host);
	assert_string_equal(host, "192.0.2.1");
	settings_address(&(struct settings){.listen = own}, &o, own, host);
	assert_string_equal(host, "127.0.0.1");
	/* peers on all addresses of a host whose API has one: that one */
	settings_address(&(struct settings){.listen = own}, &o, any, host);
	assert_string_equal(host, "127.0.0.1");
	settings_address(&(struct settings){.listen = own, .advertise = told}, &o, own, host);
	assert_string_equal(host, "203.0.113.9");
	_cleanup_free_ char *v6 = settings_join_address("::1", 80), *v4 = settings_join_address("h", 80);
	assert_string_equal(v6, "[::1]:80");
	assert_string_equal(v4, "h:80");
}

static void urls(void **state)
{
	char host[256] = "before";
	uint16_t port = 1;
	(void)state;
	assert_int_equal(call_split("https://10.0.0.1:6443", host, &port, NULL), 0);
	assert_string_equal(host, "10.0.0.1");
	assert_int_equal(port, 6443);
	assert_int_equal(call_split("https://h/path:1", host, &port, NULL), 0);
	assert_string_equal(host, "h");
	assert_int_equal(port, 443);
	assert_int_equal(call_split("https://[::1]:7", host, &port, NULL), 0);
	assert_string_equal(host, "::1");
	assert_int_equal(port, 7);
	static const char *const bad[] = {"",           "h:1",         "http://h:1",  "https://",
					  "https://:1", "https://h:0", "https://[::1"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(call_split(bad[i], host, &port, NULL), -EINVAL);
	assert_string_equal(host, "::1");
}

static void clocks(void **state)
{
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(join_check_clock(1700000000, 1700000600, &err), 0);
	assert_int_equal(join_check_clock(1700000000, 1700003600, &err), -EINVAL);
	assert_non_null(strstr(err.message, "2023-11-14T22:13:20Z"));
	assert_non_null(strstr(err.message, "set the clock"));
	assert_int_equal(join_check_clock(1700003600, 1700000000, NULL), -EINVAL);
}

static void refusals_say_what_to_do(void **state)
{
	static const struct {
		enum err_reason reason;
		const char *says;
	} cases[] = {{ERR_UNAUTHORIZED, "make another there with `minid token create`"},
		     {ERR_FORBIDDEN, "https://h:1 refuses: why"},
		     {ERR_ALREADY_EXISTS, "https://h:1 refuses: why"},
		     {ERR_SERVICE_UNAVAILABLE, "try again when its cluster is well: why"}};
	struct err err = ERR_INIT;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		err_status(&err, cases[i].reason, "why");
		assert_true(join_explain("https://h:1", &err) < 0);
		assert_non_null(strstr(err.message, cases[i].says));
		err_done(&err);
	}
	err_set(&err, -ECONNREFUSED, "connection refused");
	join_explain("https://h:1", &err);
	assert_non_null(strstr(err.message, "does it run?): connection refused"));
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
static const struct CMUnitTest tests[] = {
	IN_DIR(remembered),
	IN_DIR(the_others),
	IN_DIR(the_others_have_moved),
	cmocka_unit_test(where_others_find_it),
	cmocka_unit_test(urls),
	cmocka_unit_test(clocks),
	cmocka_unit_test(refusals_say_what_to_do),
};
RUN_TESTS(tests)
