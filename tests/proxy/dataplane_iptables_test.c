/* The iptables dataplane against the kernel, in a network namespace of the test's own. Needs root. */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/core/env_sim.h"
#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/core/journal.h"
#include "lib/core/proc.h"
#include "proxy/rules.h"
#include "tests/support/tap.h"

struct world {
	char dir[40];
	struct env *env;
	struct journal *journal;
	struct dataplane *dp;
	int done; /* 1: well, -1: not */
};

static char *shell(const char *command, int *ret_status)
{
	const char *const argv[] = {"sh", "-c", command, NULL};
	struct buf out = BUF_INIT, err = BUF_INIT;
	assert_int_equal(proc_run(argv, NULL, &out, &err, ret_status, NULL), 0);
	buf_add(&out, buf_str(&err), err.len);
	buf_done(&err);
	return buf_steal(&out);
}

static void must_shell(const char *command)
{
	int status;
	_cleanup_free_ char *out = shell(command, &status);
	if (status)
		fail_msg("%s: %s", command, out);
}

static unsigned kube_lines(void)
{
	int status;
	_cleanup_free_ char *out = shell("iptables-save | grep -c KUBE-", &status);
	return (unsigned)atoi(out);
}

static bool saved_has(const char *text)
{
	int status;
	_cleanup_free_ char *out = shell("iptables-save", &status);
	return strstr(out, text) != NULL;
}

static struct dataplane *plane(struct world *w, struct env *env)
{
	struct dataplane_config c = {.instance = "t",
				     .cluster_cidr = "10.244.0.0/16",
				     .service_cidr = "10.96.0.0/16",
				     .bridge = "mini-t",
				     .journal = w->journal};
	struct dataplane *dp;
	assert_int_equal(dataplane_iptables_new(env, &c, &dp, NULL), 0);
	return dp;
}

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	strcpy(w->dir, "/tmp/mini-proxy-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	/* A host of its own for each test: rules, sysctls and xtables' lock. */
	assert_int_equal(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("tmpfs", "/run", "tmpfs", 0, NULL), 0);
	must_shell("ip link set lo up");
	_cleanup_free_ char *path = xasprintf("%s/journal", w->dir);
	assert_int_equal(journal_open(path, &w->journal, NULL), 0);
	w->env = env_sim_new(3, 1700000000000000);
	w->dp = plane(w, w->env);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	w->dp->ops->free(w->dp);
	journal_close(w->journal);
	env_sim_free(w->env);
	rm_rf(w->dir, NULL);
	free(w);
	return 0;
}

static const struct proxy_endpoint endpoints[] = {{.ip = "10.244.0.2", .port = 8080, .local = true, .ready = true},
						  {.ip = "10.244.0.3", .port = 8080, .ready = true}};
static const struct proxy_service_port web = {.ns = "default",
					      .name = "web",
					      .port_name = "http",
					      .cluster_ip = "10.96.0.20",
					      .port = 80,
					      .node_port = 30080,
					      .session_affinity = true,
					      .affinity_timeout_s = 600,
					      .endpoints = endpoints,
					      .n_endpoints = 2};

static void on_done(void *arg, const struct err *err)
{
	struct world *w = arg;
	if (err->code)
		print_message("# sync: %s\n", err->message);
	w->done = err->code ? -1 : 1;
}

static int sync_with(struct world *w, const struct proxy_service_port *ports, size_t n)
{
	struct proxy_map map = {.ports = ports, .n_ports = n};
	w->done = 0;
	w->dp->ops->sync(w->dp, &map, on_done, w);
	assert_int_equal(w->done, 0);
	env_sim_run_for(w->env, 1000);
	return w->done;
}

static void start(struct world *w)
{
	struct err err = ERR_INIT;
	if (w->dp->ops->start(w->dp, &err) < 0)
		fail_msg("%s", err.message);
}

/* Every kind of rule we write is one that the kernel takes. */
static void rules_reach_the_kernel(void **state)
{
	struct world *w = *state;
	struct proxy_service_port ports[] = {web, web, web, web};
	static const char *const ips[] = {"203.0.113.7", NULL};
	ports[1].name = "udp";
	ports[1].proto = PROXY_UDP;
	ports[1].cluster_ip = "10.96.0.21";
	ports[1].n_endpoints = 0;
	ports[2].name = "local";
	ports[2].cluster_ip = "10.96.0.22";
	ports[2].external_local = ports[2].internal_local = true;
	ports[2].node_port = 30081;
	ports[2].external_ips = ips;
	ports[3].name = "away";
	ports[3].cluster_ip = "10.96.0.23";
	ports[3].external_local = ports[3].internal_local = true;
	ports[3].node_port = 30082;
	ports[3].endpoints = endpoints + 1;
	ports[3].n_endpoints = 1;
	start(w);
	assert_int_equal(sync_with(w, ports, 4), 1);
	assert_true(saved_has("--to-destination 10.244.0.3:8080"));
	assert_true(saved_has("-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"));
	assert_true(saved_has("default/udp:http has no endpoints"));
	assert_true(saved_has("default/away:http has no local endpoints"));
	/* The same again changes nothing; less is less. */
	unsigned lines = kube_lines();
	assert_int_equal(sync_with(w, ports, 4), 1);
	assert_int_equal(kube_lines(), lines);
	assert_int_equal(sync_with(w, ports, 1), 1);
	assert_false(saved_has("default/udp"));
	assert_false(saved_has("10.96.0.22"));
	assert_true(saved_has("10.96.0.20"));
	assert_int_equal(sync_with(w, NULL, 0), 1);
	assert_false(saved_has("KUBE-SVC-"));
	assert_false(saved_has("KUBE-SEP-"));
}

/* A service without endpoints refuses at once; so does an address that no service has. */
static void refused_at_once(void **state)
{
	struct world *w = *state;
	struct proxy_service_port none = web;
	int status;
	none.n_endpoints = 0;
	start(w);
	assert_int_equal(sync_with(w, &none, 1), 1);
	must_shell("ip link add mini-t type bridge && ip addr add 10.244.0.1/24 dev mini-t && ip link set mini-t up && "
		   "ip route add 10.96.0.0/16 dev mini-t");
	_cleanup_free_ char *out = shell("timeout 20 bash -c 'echo > /dev/tcp/10.96.0.20/80'", &status);
	assert_non_null(strstr(out, "refused"));
	_cleanup_free_ char *nobody = shell("timeout 20 bash -c 'echo > /dev/tcp/10.96.3.3/80'", &status);
	assert_non_null(strstr(nobody, "refused"));
}

static void cleanup_leaves_nothing(void **state)
{
	struct world *w = *state;
	int status;
	must_shell(
		"iptables -A INPUT -s 192.0.2.1 -j DROP && iptables -t nat -A POSTROUTING -s 192.0.2.2 -j MASQUERADE");
	_cleanup_free_ char *before = shell("iptables-save | grep -E '^-A'", &status);
	start(w);
	assert_true(journal_has(w->journal, JOURNAL_RULES, "proxy"));
	assert_int_equal(sync_with(w, &web, 1), 1);
	assert_true(kube_lines() > 20);
	assert_int_equal(w->dp->ops->cleanup(w->dp, NULL), 0);
	assert_int_equal(kube_lines(), 0);
	assert_false(journal_has(w->journal, JOURNAL_RULES, "proxy"));
	_cleanup_free_ char *after = shell("iptables-save | grep -E '^-A'", &status);
	assert_string_equal(after, before);
	assert_int_equal(w->dp->ops->cleanup(w->dp, NULL), 0); /* nothing to do is no mistake */
}

/* A crash leaves rules; the next run with the same journal takes them over and removes what is stale. */
static void stale_rules_of_an_earlier_run(void **state)
{
	struct world *w = *state;
	struct proxy_service_port other = web;
	start(w);
	assert_int_equal(sync_with(w, &web, 1), 1);
	w->dp->ops->free(w->dp);
	w->dp = plane(w, w->env);
	start(w);
	assert_true(saved_has("10.96.0.20"));
	other.name = "other";
	other.cluster_ip = "10.96.0.30";
	assert_int_equal(sync_with(w, &other, 1), 1);
	assert_false(saved_has("10.96.0.20"));
	assert_false(saved_has("default/web"));
	assert_true(saved_has("10.96.0.30"));
	int status;
	_cleanup_free_ char *jumps = shell("iptables-save -t nat | grep -c -- '-A PREROUTING.*KUBE-SERVICES'", &status);
	assert_int_equal(atoi(jumps), 1);
	/* and without a running proxy */
	assert_int_equal(dataplane_iptables_cleanup(NULL), 0);
	assert_int_equal(kube_lines(), 0);
}

static void foreign_chains_are_refused(void **state)
{
	struct world *w = *state;
	struct err err = ERR_INIT;
	must_shell("iptables -t nat -N KUBE-SERVICES && iptables -t nat -A PREROUTING -j KUBE-SERVICES");
	assert_int_equal(w->dp->ops->start(w->dp, &err), -EEXIST);
	assert_non_null(strstr(err.message, "another cluster"));
	assert_true(saved_has("-A PREROUTING -j KUBE-SERVICES")); /* not ours to touch */
}

/* Somebody flushed the tables: a failed difference is followed by the whole. */
static void failure_states_everything_again(void **state)
{
	struct world *w = *state;
	struct proxy_service_port fewer = web;
	start(w);
	assert_int_equal(sync_with(w, &web, 1), 1);
	assert_int_equal(dataplane_iptables_cleanup(NULL), 0);
	fewer.n_endpoints = 1;
	int first = sync_with(w, &fewer, 1); /* removes a chain that is not there */
	assert_int_equal(first, -1);
	assert_int_equal(sync_with(w, &fewer, 1), 1);
	assert_true(saved_has("10.244.0.2:8080"));
	assert_true(saved_has("-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"));
}

/* A sync that was asked for before the end does not bring rules back after it. */
static void cleanup_beats_a_late_sync(void **state)
{
	struct world *w = *state;
	struct proxy_map map = {.ports = &web, .n_ports = 1};
	start(w);
	assert_int_equal(sync_with(w, NULL, 0), 1);
	w->done = 0;
	w->dp->ops->sync(w->dp, &map, on_done, w);
	assert_int_equal(w->dp->ops->cleanup(w->dp, NULL), 0);
	env_sim_run_for(w->env, 1000);
	assert_int_equal(w->done, 1);
	assert_int_equal(kube_lines(), 0);
}

static void on_uv_done(void *arg, const struct err *err)
{
	(void)err;
	++*(int *)arg;
}

/* The same with real threads, at different moments of the sync. */
static void cleanup_during_a_sync(void **state)
{
	struct world *w = *state;
	for (unsigned delay_us = 0; delay_us <= 8000; delay_us += 2000) {
		uv_loop_t loop;
		int done = 0;
		struct proxy_map map = {.ports = &web, .n_ports = 1};
		uv_loop_init(&loop);
		struct env *env = env_uv_new(&loop);
		struct dataplane *dp = plane(w, env);
		struct err err = ERR_INIT;
		if (dp->ops->start(dp, &err) < 0)
			fail_msg("%s", err.message);
		dp->ops->sync(dp, &map, on_uv_done, &done);
		usleep(delay_us);
		if (dp->ops->cleanup(dp, &err) < 0)
			fail_msg("%s", err.message);
		dp->ops->free(dp);
		while (!done)
			uv_run(&loop, UV_RUN_ONCE);
		assert_int_equal(kube_lines(), 0);
		env_uv_free(env);
		uv_loop_close(&loop);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(rules_reach_the_kernel),     T(refused_at_once),
		T(cleanup_leaves_nothing),     T(stale_rules_of_an_earlier_run),
		T(foreign_chains_are_refused), T(failure_states_everything_again),
		T(cleanup_beats_a_late_sync),  T(cleanup_during_a_sync),
	};
	if (geteuid() != 0 || access("/usr/sbin/iptables", X_OK) != 0) {
		puts("ok 1 - the iptables dataplane # SKIP needs root and iptables");
		return 0;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
