#include "lib/core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/core/file.h"

#define OUTPUT_MAX (1u << 20)

int proc_boot_id(char ret[37], struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read("/proc/sys/kernel/random/boot_id", 64, &b, err);
	if (r < 0)
		return r;
	if (b.len < 36)
		return err_set(err, -EPROTO, "the kernel's boot id is too short");
	memcpy(ret, b.data, 36);
	ret[36] = 0;
	return 0;
}

/* State letter and start time from /proc/PID/stat. The name, in parentheses, may hold anything: start behind the last one. */
static int read_stat(pid_t pid, char *ret_state, uint64_t *ret_start, struct err *err)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	int r = file_read(path, 4096, &b, &e);
	if (r == -ENOENT || r == -ESRCH)
		return err_set(err, -ESRCH, "no process %d", (int)pid);
	if (r < 0)
		return err_move(err, &e), r;
	const char *p = strrchr(buf_str(&b), ')');
	unsigned long long start;
	char state;
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			 &state, &start) != 2)
		return err_set(err, -EPROTO, "%s does not read as expected", path);
	*ret_state = state;
	*ret_start = start;
	return 0;
}

int proc_identify(pid_t pid, struct proc_id *ret, struct err *err)
{
	struct proc_id id = {.pid = pid};
	char state;
	if (pid <= 0)
		return err_set(err, -ESRCH, "no process %d", (int)pid);
	int r = read_stat(pid, &state, &id.start_time, err);
	if (r == 0)
		r = proc_boot_id(id.boot_id, err);
	if (r < 0)
		return r;
	*ret = id;
	return 0;
}

static int same(const struct proc_id *id, char *ret_state)
{
	char boot[37];
	uint64_t start;
	if (id->pid <= 0 || proc_boot_id(boot, NULL) < 0 || strcmp(boot, id->boot_id) != 0)
		return -ESRCH;
	if (read_stat(id->pid, ret_state, &start, NULL) < 0 || start != id->start_time)
		return -ESRCH;
	return 0;
}

int proc_open(const struct proc_id *id, int *ret_pidfd, struct err *err)
{
	char state;
	_cleanup_close_ int fd = id->pid > 0 ? (int)syscall(SYS_pidfd_open, id->pid, 0) : -1;
	/* The pidfd first, the identity after: now they speak of the same process. */
	if (fd < 0 || same(id, &state) < 0)
		return err_set(err, -ESRCH, "process %d is gone", (int)id->pid);
	*ret_pidfd = STEAL_FD(fd);
	return 0;
}

int proc_kill(const struct proc_id *id, int sig, bool *ret_gone, struct err *err)
{
	_cleanup_close_ int fd = -1;
	bool gone = false;
	int r = proc_open(id, &fd, NULL);
	if (r < 0)
		gone = true;
	else if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0) {
		if (errno != ESRCH)
			return err_errno(err, "signal %d to process %d", sig, (int)id->pid);
		gone = true;
	}
	if (ret_gone)
		*ret_gone = gone;
	return 0;
}

bool proc_alive(const struct proc_id *id)
{
	char state;
	return same(id, &state) == 0 && state != 'Z' && state != 'X';
}

static void child_exec(const char *const argv[], int in, int out, int errfd, int report)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(errfd, 2) >= 0)
		execvp(argv[0], (char *const *)argv);
	int e = errno;
	ssize_t r = write(report, &e, sizeof(e));
	(void)r;
	_exit(127);
}

/* Read what is there; false when that end is closed. */
static bool drain(int fd, struct buf *into)
{
	char tmp[16384];
	ssize_t n = read(fd, tmp, sizeof(tmp));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n > 0 && into && into->len < OUTPUT_MAX)
		buf_add(into, tmp, MIN((size_t)n, OUTPUT_MAX - into->len));
	return n > 0;
}

static void pump(int in, const struct buf *input, int out, struct buf *ret_out, int errfd, struct buf *ret_err)
{
	size_t sent = 0;
	struct pollfd p[3] = {
		{.fd = out, .events = POLLIN}, {.fd = errfd, .events = POLLIN}, {.fd = in, .events = POLLOUT}};
	if (!input || !input->len) {
		close(in);
		p[2].fd = -1;
	}
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[0].fd >= 0 && p[0].revents && !drain(out, ret_out))
			p[0].fd = -1;
		if (p[1].fd >= 0 && p[1].revents && !drain(errfd, ret_err))
			p[1].fd = -1;
		if (input && p[2].fd >= 0 && p[2].revents) {
			ssize_t n = write(in, input->data + sent, input->len - sent);
			if (n > 0)
				sent += (size_t)n;
			if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == input->len) {
				close(in);
				p[2].fd = -1;
			}
		}
	}
	if (p[2].fd >= 0)
		close(in);
}

int proc_run(const char *const argv[], const struct buf *in, struct buf *ret_out, struct buf *ret_err, int *ret_status,
	     struct err *err)
{
	int fds[4][2]; /* stdin, stdout, stderr, and the errno of a failed exec */
	for (int i = 0; i < 4; i++) {
		if (pipe2(fds[i], O_CLOEXEC) < 0) {
			int r = err_errno(err, "pipe");
			for (int k = 0; k < i; k++) {
				close(fds[k][0]);
				close(fds[k][1]);
			}
			return r;
		}
	}
	fcntl(fds[0][1], F_SETFL, O_NONBLOCK);
	pid_t pid = fork();
	if (pid == 0)
		child_exec(argv, fds[0][0], fds[1][1], fds[2][1], fds[3][1]);
	int fork_errno = errno;
	close(fds[0][0]);
	close(fds[1][1]);
	close(fds[2][1]);
	close(fds[3][1]);
	int exec_errno = 0, status = 0;
	if (pid > 0) {
		ssize_t n = read(fds[3][0], &exec_errno, sizeof(exec_errno));
		if (n != (ssize_t)sizeof(exec_errno))
			exec_errno = 0;
		/* SIGPIPE from a child that does not read its stdin must not end us. */
		void (*old)(int) = signal(SIGPIPE, SIG_IGN);
		pump(fds[0][1], in, fds[1][0], ret_out, fds[2][0], ret_err);
		signal(SIGPIPE, old);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	} else {
		close(fds[0][1]);
	}
	close(fds[1][0]);
	close(fds[2][0]);
	close(fds[3][0]);
	if (pid < 0 || exec_errno) {
		errno = pid < 0 ? fork_errno : exec_errno;
		return err_errno(err, "run %s", argv[0]);
	}
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}
