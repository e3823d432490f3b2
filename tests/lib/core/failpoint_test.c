/* Failpoints: what the environment may say, and what happens at a place that is passed. */
#include "lib/core/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/support/tap.h"

static int try_it(void)
{
	return failpoint_error(LOG_WRITE_BEFORE);
}

static void nothing_armed(void **state)
{
	(void)state;
	unsetenv("MINI_FAILPOINTS");
	assert_int_equal(failpoints_from_env(NULL), 0);
	assert_false(failpoints__armed);
	assert_int_equal(try_it(), 0);
	assert_int_equal(failpoints_parse("log.write.before=off", NULL), 0);
	assert_false(failpoints__armed);
}

static void errors(void **state)
{
	(void)state;
	setenv("MINI_FAILPOINTS", "log.write.before=error:ENOSPC:2,log.sync.before=error:EIO", 1);
	assert_int_equal(failpoints_from_env(NULL), 0);
	assert_int_equal(try_it(), 0);
	assert_int_equal(try_it(), -ENOSPC);
	assert_int_equal(try_it(), 0);
	assert_int_equal(failpoint_passed(FAILPOINT_LOG_WRITE_BEFORE), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(failpoint_error(LOG_SYNC_BEFORE), -EIO);
	assert_int_equal(failpoint_error(LOG_SEGMENT_CREATE), 0);
	assert_int_equal(failpoints_parse("", NULL), 0);
}

static int killed_after(const char *text)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (failpoints_parse(text, NULL))
			_exit(100);
		for (int i = 1; i < 20; i++) {
			failpoint(LOG_SYNC_AFTER);
			if (i == 5)
				_exit(5);
		}
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void kills(void **state)
{
	(void)state;
	assert_int_equal(killed_after("log.sync.after=kill"), -SIGKILL);
	assert_int_equal(killed_after("log.sync.after=kill:5"), -SIGKILL);
	assert_int_equal(killed_after("log.sync.after=kill:6"), 5);
	assert_int_equal(killed_after("log.sync.after=delay:1"), 5);
}

static int asked;
static int handler(void *arg, enum failpoint p)
{
	(void)arg;
	asked++;
	return p == FAILPOINT_LOG_WRITE_BEFORE ? -EROFS : 0;
}

static void asks_a_handler(void **state)
{
	(void)state;
	failpoints_set_handler(handler, NULL);
	assert_int_equal(try_it(), -EROFS);
	failpoint(LOG_SYNC_AFTER);
	assert_int_equal(asked, 2);
	failpoints_set_handler(NULL, NULL);
	assert_int_equal(try_it(), 0);
}

static void says_what_is_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *text, *said;
	} bad[] = {
		{"log.sink.before=kill", "log.sync.before"}, /* all names are listed */
		{"log.sync.after=error:EIO", "nothing can fail there"},
		{"log.sync.before=error:EWHAT", "EIO"},
		{"log.sync.before=error", "EIO"},
		{"log.drop.before=delay:10", "may not wait"},
		{"log.sync.before=delay:ten", "milliseconds"},
		{"log.sync.before=delay", "milliseconds"},
		{"log.sync.before=kill:0", "starts at 1"},
		{"log.sync.before=kill:1:2", "nothing follows"},
		{"log.sync.before", "an action is"},
		{"log.sync.before=explode", "an action is"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(failpoints_parse(bad[i].text, &err), -EINVAL);
		assert_non_null(strstr(err.message, bad[i].said));
	}
	assert_false(failpoints__armed);
}

static void names(void **state)
{
	(void)state;
	for (int i = 0; i < FAILPOINT_COUNT; i++)
		assert_int_equal(failpoint_by_name(failpoint_name((enum failpoint)i)), i);
	assert_int_equal(failpoint_by_name("log"), -ENOENT);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_armed),
					  cmocka_unit_test(errors),
					  cmocka_unit_test(kills),
					  cmocka_unit_test(asks_a_handler),
					  cmocka_unit_test(says_what_is_wrong),
					  cmocka_unit_test(names)};
RUN_TESTS(tests)
