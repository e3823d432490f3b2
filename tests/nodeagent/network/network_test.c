/* Pod networking for real, in a network namespace of the test's own. Needs root. */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/env_sim.h"
#include "lib/core/file.h"
#include "lib/core/proc.h"
#include "nodeagent/network/cidr.h"
#include "nodeagent/network/netlink.h"
#include "nodeagent/network/network.h"
#include "tests/support/tap.h"

struct fixture {
	char dir[32];
	struct env *env;
	struct journal *journal;
	struct network *net;
	pid_t pod[2];
};

static int start(struct fixture *f, struct err *err)
{
	_cleanup_free_ char *leases = xasprintf("%s/network", f->dir);
	struct network_config c = {.dir = leases,
				   .instance = "t1",
				   .pod_cidr = "10.244.0.0/24",
				   .cluster_cidr = "10.244.0.0/16",
				   .service_cidr = "10.96.0.0/16",
				   .journal = f->journal};
	return network_start(f->env, &c, &f->net, err);
}

/* A server that never accepts. */
static int listen_only(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : listen(fd, 5);
}

/* A process in a network namespace of its own: what a sandbox is to the network. */
static pid_t fake_pod(void)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0 || listen_only() < 0)
			_exit(1);
		close(fds[0]);
		close(fds[1]);
		for (;;)
			pause();
	}
	char c;
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 0); /* closed once it is in its namespace */
	close(fds[0]);
	return pid;
}

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);
	*state = f;
	/* Each test has a host of its own. */
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	strcpy(f->dir, "/tmp/mini-net-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->env = env_sim_new(1, 0);
	_cleanup_free_ char *path = xasprintf("%s/journal", f->dir);
	struct err err = ERR_INIT;
	assert_int_equal(journal_open(path, &f->journal, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 2; i++) {
		if (f->pod[i] > 0) {
			kill(f->pod[i], SIGKILL);
			waitpid(f->pod[i], NULL, 0);
		}
	}
	network_free(f->net);
	journal_close(f->journal);
	env_sim_free(f->env);
	rm_rf(f->dir, NULL);
	free(f);
	return 0;
}

static int shell(const char *command)
{
	const char *const argv[] = {"sh", "-c", command, NULL};
	int status = -1;
	struct err err = ERR_INIT;
	assert_int_equal(proc_run(argv, NULL, NULL, NULL, &status, &err), 0);
	return status;
}

static int in_pod(pid_t pid, const char *command)
{
	_cleanup_free_ char *c = xasprintf("nsenter -t %d -n %s", (int)pid, command);
	return shell(c);
}

static void pods_reach_each_other_and_the_host(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char a[64], b[64];
	if (start(f, &err) < 0)
		fail_msg("%s", err.message);
	for (int i = 0; i < 2; i++)
		f->pod[i] = fake_pod();
	if (network_attach(f->net, "pod-a", f->pod[0], a, &err) < 0 ||
	    network_attach(f->net, "pod-b", f->pod[1], b, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(a, "10.244.0.2");
	assert_string_equal(b, "10.244.0.3");
	assert_string_equal(network_ip(f->net, "pod-b"), b);
	assert_int_equal(in_pod(f->pod[0], "busybox ping -c1 -W20 10.244.0.3"), 0);
	assert_int_equal(in_pod(f->pod[0], "busybox ping -c1 -W20 10.244.0.1"), 0);
	assert_int_equal(shell("busybox ping -c1 -W20 10.244.0.2"), 0);
	/* Again: nothing changes. */
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], a, &err), 0);
	assert_string_equal(a, "10.244.0.2");
	/* Nothing that the ranges hold leaves by another way. */
	assert_int_equal(shell("ip route get 10.96.7.7 | grep -q 'dev mini-t1'"), 0);
	assert_int_equal(shell("ip route get 10.244.9.9 | grep -q 'dev mini-t1'"), 0);
}

/* A bridge left to itself takes the lowest MAC among its ports, and pods that know the old one talk to nobody for as long
 * as they remember it: whatever they sent in that time was lost. */
static void the_gateway_keeps_its_mac(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char ip[64];
	assert_int_equal(start(f, &err), 0);
	assert_int_equal(shell("ip link show mini-t1 | grep -q 'ether 0a:58:0a:f4:00:01'"), 0);
	f->pod[0] = fake_pod();
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], ip, &err), 0);
	assert_int_equal(in_pod(f->pod[0], "busybox ping -c1 -W20 10.244.0.1"), 0);
	assert_int_equal(
		shell("ip link add low type veth peer name low1 && ip link set low address 02:00:00:00:00:01 && "
		      "ip link set low master mini-t1 up"),
		0);
	assert_int_equal(shell("ip link show mini-t1 | grep -q 'ether 0a:58:0a:f4:00:01'"), 0);
	assert_int_equal(in_pod(f->pod[0], "busybox ping -c1 -W20 10.244.0.1"), 0);
	/* one that was made without is mended */
	assert_int_equal(shell("ip link set mini-t1 address 02:00:00:00:00:02"), 0);
	network_free(f->net);
	assert_int_equal(start(f, &err), 0);
	assert_int_equal(shell("ip link show mini-t1 | grep -q 'ether 0a:58:0a:f4:00:01'"), 0);
}

static void a_connection_not_yet_accepted_is_seen(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char ip[64];
	assert_int_equal(start(f, &err), 0);
	f->pod[0] = fake_pod();
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], ip, &err), 0);
	assert_false(network_backlog(f->net, "pod-a"));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8080)};
	inet_pton(AF_INET, ip, &a.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_true(network_backlog(f->net, "pod-a"));
	/* the agent that comes after knows the way, too */
	network_free(f->net);
	assert_int_equal(start(f, &err), 0);
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], ip, &err), 0);
	assert_true(network_backlog(f->net, "pod-a"));
	assert_false(network_backlog(f->net, "no-such-pod"));
	close(fd);
}

static void leases_survive_a_restart_and_are_given_back(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char ip[64];
	assert_int_equal(start(f, &err), 0);
	f->pod[0] = fake_pod();
	f->pod[1] = fake_pod();
	assert_int_equal(network_attach(f->net, "keep", f->pod[0], ip, &err), 0);
	assert_int_equal(network_attach(f->net, "drop", f->pod[1], ip, &err), 0);
	network_free(f->net);
	assert_int_equal(start(f, &err), 0);
	assert_string_equal(network_ip(f->net, "keep"), "10.244.0.2");
	const char *const ids[] = {"keep", NULL};
	network_retain(f->net, ids);
	assert_null(network_ip(f->net, "drop"));
	/* an address just given back is not the next one handed out */
	char fresh[64];
	assert_int_equal(network_attach(f->net, "fresh", f->pod[1], fresh, &err), 0);
	assert_string_equal(fresh, "10.244.0.4");
	assert_int_equal(in_pod(f->pod[0], "busybox ping -c1 -W20 10.244.0.1"), 0);
	/* detaching twice is fine */
	assert_int_equal(network_detach(f->net, "keep", &err), 0);
	assert_int_equal(network_detach(f->net, "keep", &err), 0);
}

static void stop_and_undo_leave_nothing(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char ip[64];
	assert_int_equal(file_write("/proc/sys/net/ipv4/ip_forward", "0", &err), 0);
	assert_int_equal(start(f, &err), 0);
	assert_int_equal(shell("grep -q 1 /proc/sys/net/ipv4/ip_forward"), 0);
	f->pod[0] = fake_pod();
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], ip, &err), 0);
	assert_int_equal(network_stop(f->net, &err), 0);
	if (journal_undo_all(f->journal, network_undo, NULL, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(shell("grep -q 0 /proc/sys/net/ipv4/ip_forward"), 0);
	assert_int_equal(shell("test \"$(ip -o link | wc -l)\" = 1"), 0);
	assert_int_equal(shell("test -z \"$(ip route)\""), 0);
	unsigned pos = 0;
	enum journal_kind kind;
	const char *what, *value;
	assert_false(journal_next(f->journal, &pos, &kind, &what, &value));
}

static void forgetting_ends_the_links_of_pods(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char ip[64];
	_cleanup_free_ char *leases = xasprintf("%s/network", f->dir), *stray = xasprintf("%s/stray", leases);
	assert_int_equal(start(f, &err), 0);
	for (int i = 0; i < 2; i++)
		f->pod[i] = fake_pod();
	assert_int_equal(network_attach(f->net, "pod-a", f->pod[0], ip, &err), 0);
	assert_int_equal(network_attach(f->net, "pod-b", f->pod[1], ip, &err), 0);
	assert_int_equal(file_write_replace(stray, "no lease", 8, 0600, &err), 0);
	assert_int_equal(shell("ip -o link | grep -q veth"), 0);
	/* the pods' namespaces still stand: nobody else ends these links */
	assert_int_equal(network_forget(leases, &err), 0);
	assert_int_equal(shell("ip -o link | grep -q veth"), 1);
	assert_int_equal(network_forget(leases, &err), 0);
	assert_int_equal(network_forget("/nonexistent", &err), 0);
}

static void overlapping_ranges_are_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	assert_int_equal(
		shell("ip link set lo up && ip link add x type bridge && ip link set x up && ip addr add 10.96.3.1/24 dev x"),
		0);
	assert_int_equal(start(f, &err), -EADDRINUSE);
	assert_non_null(strstr(err.message, "10.96.3.0/24"));
	assert_non_null(strstr(err.message, "--service-cidr"));
	assert_int_equal(shell("ip link show mini-t1 2>/dev/null"), 1);
}

static void ranges_are_parsed_strictly(void **state)
{
	(void)state;
	struct cidr c, d;
	struct err err = ERR_INIT;
	assert_int_equal(cidr_parse("10.0.0.0/8", &c, &err), 0);
	assert_int_equal(cidr_parse("10.1.2.0/24", &d, &err), 0);
	assert_true(cidr_overlap(&c, &d));
	assert_true(cidr_overlap(&d, &c));
	assert_int_equal(cidr_size(&d), 256);
	assert_int_equal(cidr_parse("10.0.0.1/8", &c, &err), -EINVAL);
	assert_int_equal(cidr_parse("10.0.0/8", &c, &err), -EINVAL);
	assert_int_equal(cidr_parse("10.0.0.0/33", &c, &err), -EINVAL);
	assert_int_equal(cidr_parse("10.0.0.0", &c, &err), -EINVAL);
	assert_int_equal(cidr_parse("0.0.0.0/0", &c, &err), 0);
	assert_true(cidr_has(&c, 0xffffffff));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pods_reach_each_other_and_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(the_gateway_keeps_its_mac, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connection_not_yet_accepted_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(leases_survive_a_restart_and_are_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_and_undo_leave_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(forgetting_ends_the_links_of_pods, setup, teardown),
		cmocka_unit_test_setup_teardown(overlapping_ranges_are_refused, setup, teardown),
		cmocka_unit_test(ranges_are_parsed_strictly),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
