/* One minid in a directory: who holds it is named, and who has just been killed is waited for. */
#include "cli/lock.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/file.h"
#include "tests/support/tap.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/mini-lock-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir, NULL);
}

/* A process that holds the directory until it is killed, or only so long. */
static pid_t holder(unsigned dies_in_us)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct lock l = {.fd = -1};
		struct err err = ERR_INIT;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lock_take(&l, dir, "server", &err) < 0 || lock_sign(&l, &err) < 0 || write(fds[1], "", 1) != 1)
			_exit(1);
		if (!dies_in_us)
			pause();
		usleep(dies_in_us);
		_exit(0);
	}
	char c;
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static void one_that_lives_is_named(void **state)
{
	(void)state;
	struct lock l = {.fd = -1};
	struct err err = ERR_INIT;
	char who[32];
	pid_t pid = holder(0);
	snprintf(who, sizeof(who), "(process %d)", (int)pid);
	assert_int_equal(lock_take(&l, dir, "server", &err), -EBUSY);
	assert_non_null(strstr(err.message, who));
	assert_int_equal(lock_take(&l, dir, "agent", &err), 0);
	lock_release(&l);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(lock_take(&l, dir, "server", &err), 0);
	lock_release(&l);
}

static void one_on_its_way_out_is_waited_for(void **state)
{
	(void)state;
	struct lock l = {.fd = -1};
	struct err err = ERR_INIT;
	pid_t pid = holder(20000);
	if (lock_take(&l, dir, "server", &err) < 0)
		fail_msg("%s", err.message);
	lock_release(&l);
	waitpid(pid, NULL, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(one_that_lives_is_named, setup, teardown),
	cmocka_unit_test_setup_teardown(one_on_its_way_out_is_waited_for, setup, teardown),
};
RUN_TESTS(tests)
