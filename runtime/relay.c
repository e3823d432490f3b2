#include "runtime/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#define AT_ONCE 4096 /* a descriptor that poll calls writable takes as much without blocking */
#define LAST_MS                                                                                                        \
	200 /* somebody else may hold the terminal open when its command has ended: that long it is listened to */
#define IN  0
#define OUT 1

void pump_read(struct pump *p)
{
	ssize_t n = read(p->from, p->data, RELAY_BYTES);
	if (n > 0) {
		p->off = 0;
		p->len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		p->from = -1;
	}
}

void pump_write(struct pump *p)
{
	ssize_t n = write(p->to, p->data + p->off, MIN(p->len, (size_t)AT_ONCE));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	n = n < 0 ? (ssize_t)p->len : n;
	p->off += (size_t)n;
	p->len -= (size_t)n;
}

bool relay_size(int *control_fd, struct winsize *ret)
{
	ssize_t n = read(*control_fd, ret, sizeof(*ret));
	if (n != (ssize_t)sizeof(*ret))
		*control_fd = -1;
	return *control_fd >= 0;
}

struct terminal {
	pid_t pid;
	int signal_fd, control_fd;
	struct pump pumps[2]; /* ours to the terminal, and back */
	int status;
	bool exited;
	int64_t deadline_ms;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_signal(struct terminal *t)
{
	struct signalfd_siginfo si;
	int status;
	pid_t got;
	if (read(t->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo != SIGCHLD) {
		(void)kill(t->pid, (int)si.ssi_signo);
		return;
	}
	while ((got = waitpid(-1, &status, WNOHANG)) > 0)
		if (got == t->pid) {
			t->status = status;
			t->exited = true;
			t->deadline_ms = now_ms() + LAST_MS;
		}
}

static bool goes_on(const struct terminal *t)
{
	const struct pump *out = &t->pumps[OUT];
	if (!t->exited || out->len)
		return true;
	return out->from >= 0 && now_ms() < t->deadline_ms;
}

static int step(struct terminal *t, struct err *err)
{
	struct pump *in = &t->pumps[IN], *out = &t->pumps[OUT];
	struct pollfd p[5] = {
		{.fd = t->signal_fd, .events = POLLIN},
		{.fd = t->control_fd, .events = POLLIN},
		{.fd = pump_reads(in) ? in->from : -1, .events = POLLIN},
		{.fd = pump_reads(out) || pump_writes(in) ? in->to : -1, .events = pump_reads(out) | pump_writes(in)},
		{.fd = pump_writes(out) ? out->to : -1, .events = POLLOUT},
	};
	int wait = t->exited && !out->len ? (int)MAX(t->deadline_ms - now_ms(), 0) : -1;
	struct winsize ws;
	if (poll(p, ARRAY_LEN(p), wait) < 0)
		return errno == EINTR ? 0 : err_errno(err, "poll");
	if (p[0].revents)
		on_signal(t);
	if (p[1].revents && relay_size(&t->control_fd, &ws))
		(void)ioctl(in->to, TIOCSWINSZ, &ws);
	if (p[2].revents)
		pump_read(in);
	if (p[3].revents & POLLOUT)
		pump_write(in);
	if ((p[3].revents & (POLLIN | POLLHUP | POLLERR)) && pump_reads(out))
		pump_read(out);
	if (p[4].revents)
		pump_write(out);
	return 0;
}

int relay_terminal(pid_t pid, int master, int control_fd, struct err *err)
{
	sigset_t all;
	sigfillset(&all);
	sigdelset(&all, SIGPIPE);
	sigprocmask(SIG_BLOCK, &all, NULL);
	_cleanup_close_ int signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0 || fcntl(master, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(err, "terminal");
	struct terminal *t = NEW(struct terminal);
	t->pid = pid;
	t->signal_fd = signal_fd;
	t->control_fd = control_fd;
	t->pumps[IN].to = t->pumps[OUT].from = master;
	t->pumps[OUT].to = STDOUT_FILENO;
	t->pumps[IN].from = STDIN_FILENO;
	(void)kill(getpid(), SIGCHLD); /* it may have ended before the signal could be seen */
	int r = 0;
	while (r == 0 && goes_on(t))
		r = step(t, err);
	int status = t->status;
	free(t);
	return r < 0 ? r : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
