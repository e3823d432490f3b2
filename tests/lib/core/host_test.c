/* Files, processes and the journal, on the real kernel. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/core/file.h"
#include "lib/core/journal.h"
#include "lib/core/proc.h"
#include "tests/support/tap.h"

static char dir[40];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/mini-core-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir, NULL);
}

static void files_are_written_whole(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct stat st;
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_free_ char *path = xasprintf("%s/f", dir), *tmp = xasprintf("%s/f.tmp", dir),
			    *deep = xasprintf("%s/a/b/c", dir);
	assert_int_equal(file_write_atomic(path, "one", 3, 0600, &err), 0);
	/* a link someone left in the way of the temporary file is not followed */
	assert_int_equal(symlink("/dev/full", tmp), 0);
	assert_int_equal(file_write_atomic(path, "two", 3, 0640, &err), 0);
	assert_int_equal(file_read(path, 10, &b, &err), 0);
	assert_string_equal(b.data, "two");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_read(path, 2, &b, &err), -EFBIG);
	assert_string_equal(b.data, "two"); /* untouched on failure */
	assert_int_equal(mkdir_p(deep, 0755, &err), 0);
	assert_int_equal(mkdir_p(deep, 0755, &err), 0);
	assert_int_equal(mkdir_p(path, 0755, &err), -ENOTDIR);
}

static void a_fleeting_file_changes_places(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_free_ char *path = xasprintf("%s/fleeting", dir), *tmp = xasprintf("%s/fleeting.tmp", dir);
	for (unsigned i = 0; i < 3; i++) {
		char text[8];
		snprintf(text, sizeof(text), "n%u", i);
		assert_int_equal(file_write_fleeting(path, text, 2, 0600, &err), 0);
		buf_clear(&b);
		assert_int_equal(file_read(path, 10, &b, &err), 0);
		assert_string_equal(b.data, text);
		assert_int_equal(access(tmp, F_OK), -1);
	}
	/* a folder in its place is not a file */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_true(file_write_fleeting(path, "x", 1, 0600, &err) < 0);
}

static void rm_rf_stays_inside(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_free_ char *tree = xasprintf("%s/t/x/y", dir), *top = xasprintf("%s/t", dir),
			    *link = xasprintf("%s/t/x/out", dir), *victim = xasprintf("%s/victim", dir);
	assert_int_equal(mkdir_p(tree, 0755, &err), 0);
	assert_int_equal(mkdir_p(victim, 0755, &err), 0);
	assert_int_equal(symlink(victim, link), 0);
	assert_int_equal(rm_rf(top, &err), 0);
	assert_false(file_exists(top));
	assert_true(file_exists(victim));
	assert_int_equal(rm_rf(top, &err), 0);
}

static void a_process_is_more_than_its_pid(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct proc_id id, other;
	bool gone = false;
	int fd;
	pid_t pid = fork();
	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_int_equal(proc_identify(pid, &id, &err), 0);
	assert_true(proc_alive(&id));
	other = id;
	other.start_time++;
	assert_false(proc_alive(&other));
	assert_int_equal(proc_open(&other, &fd, &err), -ESRCH);
	assert_int_equal(proc_kill(&other, SIGKILL, &gone, &err), 0);
	assert_true(gone);
	assert_true(proc_alive(&id));
	assert_int_equal(proc_kill(&id, SIGKILL, &gone, &err), 0);
	assert_false(gone);
	/* wait without reaping: a zombie counts as dead */
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(proc_alive(&id));
	waitpid(pid, NULL, 0);
	assert_int_equal(proc_identify(pid, &id, &err), -ESRCH);
}

static void programs_are_run_with_input_and_output(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	int status;
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT, errs = BUF_INIT;
	for (int i = 0; i < 200000; i++)
		buf_adds(&in, "0123456789");
	const char *const cat[] = {"sh", "-c", "cat | wc -c; echo oops >&2; exit 3", NULL};
	assert_int_equal(proc_run(cat, &in, &out, &errs, &status, &err), 0);
	assert_int_equal(status, 3);
	assert_int_equal(atoi(out.data), 2000000);
	assert_string_equal(errs.data, "oops\n");
	/* one that does not read its input does not end us */
	const char *const deaf[] = {"true", NULL};
	assert_int_equal(proc_run(deaf, &in, NULL, NULL, &status, &err), 0);
	assert_int_equal(status, 0);
	const char *const none[] = {"/does/not/exist", NULL};
	assert_int_equal(proc_run(none, NULL, NULL, NULL, &status, &err), -ENOENT);
	const char *const killed[] = {"sh", "-c", "kill -9 $$", NULL};
	assert_int_equal(proc_run(killed, NULL, NULL, NULL, &status, &err), 0);
	assert_int_equal(status, 137);
}

static int undo_fails;
static char undone[200];
static int undo(void *arg, enum journal_kind kind, const char *what, const char *value, struct err *err)
{
	(void)arg;
	(void)kind;
	(void)value;
	if (undo_fails)
		return err_set(err, -EBUSY, "%s is busy", what);
	strcat(undone, what);
	return 0;
}

static void the_journal_survives_and_undoes_newest_first(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct journal *j;
	_cleanup_free_ char *path = xasprintf("%s/journal", dir), *sysctl = xasprintf("%s/sysctl", dir),
			    *file = xasprintf("%s/a file%%", dir);
	_cleanup_buf_ struct buf b = BUF_INIT;
	file_write_replace(sysctl, "0", 1, 0600, NULL);
	file_write_replace(file, "x", 1, 0600, NULL);
	assert_int_equal(journal_open(path, &j, &err), 0);
	assert_int_equal(journal_add(j, JOURNAL_LINK, "one ", NULL, &err), 0);
	assert_int_equal(journal_add(j, JOURNAL_SYSCTL, sysctl, "0", &err), 0);
	assert_int_equal(journal_add(j, JOURNAL_SYSCTL, sysctl, "1", &err), 0); /* the oldest value is the host's */
	assert_int_equal(journal_add(j, JOURNAL_FILE, file, NULL, &err), 0);
	assert_int_equal(journal_add(j, JOURNAL_LINK, "two ", NULL, &err), 0);
	assert_int_equal(journal_add(j, JOURNAL_LINK, "three ", NULL, &err), 0);
	assert_int_equal(journal_remove(j, JOURNAL_LINK, "two ", &err), 0);
	journal_close(j);
	assert_int_equal(journal_open(path, &j, &err), 0);
	assert_true(journal_has(j, JOURNAL_FILE, file));
	assert_false(journal_has(j, JOURNAL_LINK, "two "));
	file_write_replace(sysctl, "1", 1, 0600, NULL);
	undo_fails = 1;
	assert_int_equal(journal_undo_all(j, undo, NULL, &err), -EBUSY);
	assert_false(file_exists(file)); /* the others were undone all the same */
	undo_fails = 0;
	assert_int_equal(journal_undo_all(j, undo, NULL, &err), 0);
	assert_string_equal(undone, "three one ");
	assert_int_equal(file_read(sysctl, 10, &b, &err), 0);
	assert_string_equal(b.data, "0");
	journal_close(j);
	file_write_replace(path, "link not-a-boot\n", 16, 0600, NULL);
	assert_int_equal(journal_open(path, &j, &err), -EPROTO);
	/* of another boot: links are gone with it, files are not */
	const char *old =
		"link 00000000-0000-0000-0000-000000000000 x\nfile 00000000-0000-0000-0000-000000000000 /nope\n";
	file_write_replace(path, old, strlen(old), 0600, NULL);
	assert_int_equal(journal_open(path, &j, &err), 0);
	assert_false(journal_has(j, JOURNAL_LINK, "x"));
	assert_true(journal_has(j, JOURNAL_FILE, "/nope"));
	journal_close(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_written_whole),
		cmocka_unit_test(a_fleeting_file_changes_places),
		cmocka_unit_test(rm_rf_stays_inside),
		cmocka_unit_test(a_process_is_more_than_its_pid),
		cmocka_unit_test(programs_are_run_with_input_and_output),
		cmocka_unit_test(the_journal_survives_and_undoes_newest_first),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
