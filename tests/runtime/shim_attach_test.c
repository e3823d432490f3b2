/* The shim's socket for who is attached: real sockets and pipes, the loop's turns made by hand. */
#include "tests/support/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lib/core/file.h"
#include "runtime/shim_attach.h"

static char dir[] = "/tmp/mini-attach-test-XXXXXX";

struct shim {
	struct attach a;
	int stdin_fd; /* the container's end */
};

static void open_shim(struct shim *s, bool once)
{
	int p[2];
	struct err err = ERR_INIT;
	attach_init(&s->a);
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	s->stdin_fd = p[0];
	s->a.in_fd = p[1];
	s->a.once = once;
	assert_int_equal(attach_listen(&s->a, dir, "c", &err), 0);
}

static void close_shim(struct shim *s)
{
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		closep(&s->a.clients[i].fd);
		free(s->a.clients[i].packet);
	}
	free(s->a.in);
	closep(&s->a.listen_fd);
	closep(&s->a.in_fd);
	close(s->stdin_fd);
}

/* All that can be done without waiting. */
static void turn(struct shim *s)
{
	struct pollfd p[ATTACH_POLLS];
	for (int i = 0; i < 20; i++) {
		attach_polls(&s->a, p);
		if (poll(p, ATTACH_POLLS, 0) <= 0)
			return;
		attach_handle(&s->a, p);
	}
}

static int client(struct shim *s)
{
	struct err err = ERR_INIT;
	int fd = attach_connect(dir, "c", &err);
	assert_true(fd >= 0);
	turn(s);
	return fd;
}

static void says(int fd, const char *packet, size_t len)
{
	assert_int_equal(send(fd, packet, len, MSG_NOSIGNAL), len);
}

static void hears(int fd, const char *packet)
{
	char got[ATTACH_BYTES + 1];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	assert_int_equal(n, strlen(packet));
	assert_memory_equal(got, packet, strlen(packet));
}

static void reads(struct shim *s, const char *text)
{
	char got[100] = "";
	ssize_t n = read(s->stdin_fd, got, sizeof(got) - 1);
	assert_int_equal(n, text ? (ssize_t)strlen(text) : -1);
	assert_string_equal(got, text ? text : "");
}

static void output_goes_to_all_and_input_to_the_container(void **state)
{
	(void)state;
	struct shim s = {.stdin_fd = -1};
	open_shim(&s, false);
	int a = client(&s), b = client(&s);
	attach_output(&s.a, 1, "out", 3);
	attach_output(&s.a, 2, "err", 3);
	hears(a, "\1out");
	hears(a, "\2err");
	hears(b, "\1out");
	says(a, "i", 1);
	says(a, "ione ", 5);
	turn(&s);
	says(b, "itwo", 4);
	turn(&s);
	reads(&s, "one two");
	/* not once: stdin survives all of them, and what nobody understands */
	says(a, "e", 1);
	says(b, "r\1\2\3", 4);
	says(b, "\377garbage", 8);
	close(a);
	close(b);
	turn(&s);
	reads(&s, NULL);
	a = client(&s);
	says(a, "ithree", 6);
	turn(&s);
	reads(&s, "three");
	close(a);
	close_shim(&s);
}

static void stdin_ends_once(void **state)
{
	(void)state;
	for (int by_hangup = 0; by_hangup < 2; by_hangup++) {
		struct shim s = {.stdin_fd = -1};
		open_shim(&s, true);
		int watcher = client(&s), a = client(&s);
		close(watcher); /* had nothing to say: nothing ends with it */
		says(a, "i", 1);
		says(a, "last", 4); /* nobody understands this */
		says(a, "iwords", 6);
		turn(&s);
		if (by_hangup)
			close(a);
		else
			says(a, "e", 1);
		turn(&s);
		reads(&s, "words");
		reads(&s, "");
		if (!by_hangup)
			close(a);
		close_shim(&s);
	}
}

static void what_the_container_does_not_read_waits(void **state)
{
	(void)state;
	struct shim s = {.stdin_fd = -1};
	char packet[8193], got[65536];
	size_t sent = 0, read_ = 0;
	open_shim(&s, true);
	int a = client(&s);
	packet[0] = 'i';
	memset(packet + 1, 'x', sizeof(packet) - 1);
	while (send(a, packet, sizeof(packet), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
		sent += sizeof(packet) - 1;
		turn(&s);
	}
	assert_int_equal(errno, EAGAIN);
	for (ssize_t n; (n = read(s.stdin_fd, got, sizeof(got))) > 0; read_ += (size_t)n)
		turn(&s);
	assert_int_equal(read_, sent);
	close(a);
	close_shim(&s);
}

static void who_does_not_listen_is_let_go(void **state)
{
	(void)state;
	struct shim s = {.stdin_fd = -1};
	static char much[ATTACH_BYTES];
	int ms;
	open_shim(&s, false);
	int a = client(&s), b = client(&s);
	while (!attach_blocked(&s.a, 60000, &ms)) {
		char drop[ATTACH_BYTES + 1];
		attach_output(&s.a, 1, much, sizeof(much));
		while (recv(b, drop, sizeof(drop), MSG_DONTWAIT) > 0)
			;
	}
	assert_true(ms > 0 && ms <= 60000);
	assert_false(attach_blocked(&s.a, 0, &ms)); /* patience is over */
	assert_int_equal(ms, -1);
	attach_output(&s.a, 1, "on", 2);
	hears(b, "\1on");
	close(a);
	close(b);
	close_shim(&s);
}

static void a_newcomer_sees_the_prompt_and_a_crowd_is_refused(void **state)
{
	(void)state;
	struct shim s = {.stdin_fd = -1};
	static struct shim_stream line = {.line = "$ ", .len = 2};
	int fds[ATTACH_MAX];
	open_shim(&s, false);
	s.a.line = &line;
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		fds[i] = client(&s);
		hears(fds[i], "\1$ ");
	}
	int more = client(&s);
	hears(more, "!too many are attached to the container");
	close(more);
	close(fds[0]);
	turn(&s);
	more = client(&s);
	hears(more, "\1$ ");
	close(more);
	for (unsigned i = 1; i < ATTACH_MAX; i++)
		close(fds[i]);
	close_shim(&s);
	struct err err = ERR_INIT;
	assert_int_equal(attach_connect(dir, "c", &err), -ECONNREFUSED);
	assert_string_equal(err.message, "container c is not running");
}

static int make_dir(void **state)
{
	(void)state;
	char path[64];
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/c", dir);
	return mkdir_p(path, 0700, NULL);
}

static int drop_dir(void **state)
{
	(void)state;
	return rm_rf(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_goes_to_all_and_input_to_the_container),
		cmocka_unit_test(stdin_ends_once),
		cmocka_unit_test(what_the_container_does_not_read_waits),
		cmocka_unit_test(who_does_not_listen_is_let_go),
		cmocka_unit_test(a_newcomer_sees_the_prompt_and_a_crowd_is_refused),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
