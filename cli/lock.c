#include "cli/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>

#include "lib/core/file.h"
#include "lib/core/proc.h"

#define TAKE_OVER_PAUSE_US 5000
#define TAKE_OVER_TRIES    1000
#define ALIVE_TRIES        40

static int read_holder(const char *path, struct proc_id *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct proc_id id = {0};
	unsigned long long start;
	int pid;
	if (file_read(path, 256, &b, NULL) < 0 || sscanf(buf_str(&b), "%d %llu %36s", &pid, &start, id.boot_id) != 3)
		return -ENOENT;
	id.pid = pid;
	id.start_time = start;
	*ret = id;
	return 0;
}

/* A minid killed while it started a program leaves a child that still has our file open, until it becomes that program:
 * a lock whose holder is dead comes free in a moment, however busy the machine. And one killed just now may still be
 * on its way out: a holder that lives has to do so for 200 ms. */
static int take_over(struct lock *l, struct proc_id *ret_holder)
{
	for (int i = 0; flock(l->fd, LOCK_EX | LOCK_NB) < 0; i++) {
		*ret_holder = (struct proc_id){0};
		read_holder(l->path, ret_holder);
		if (i >= (proc_alive(ret_holder) ? ALIVE_TRIES : TAKE_OVER_TRIES))
			return -EBUSY;
		usleep(TAKE_OVER_PAUSE_US);
	}
	return 0;
}

int lock_take(struct lock *l, const char *dir, const char *name, struct err *err)
{
	int r = mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	snprintf(l->path, sizeof(l->path), "%s/%s.lock", dir, name);
	l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->fd < 0)
		return err_errno(err, "open %s", l->path);
	struct proc_id id;
	if (take_over(l, &id) == 0)
		return 0;
	close(l->fd);
	l->fd = -1;
	return err_set(err, -EBUSY,
		       "another minid (process %d) runs in %s: `minid stop --dir %s` ends it, --dir chooses another",
		       (int)id.pid, dir, dir);
}

int lock_sign(struct lock *l, struct err *err)
{
	struct proc_id id;
	char line[128];
	int r = proc_identify(getpid(), &id, err);
	if (r < 0)
		return r;
	int n = snprintf(line, sizeof(line), "%d %llu %s\n", (int)id.pid, (unsigned long long)id.start_time,
			 id.boot_id);
	if (ftruncate(l->fd, 0) < 0 || pwrite(l->fd, line, (size_t)n, 0) != n)
		return err_errno(err, "write %s", l->path);
	return 0;
}

void lock_release(struct lock *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* Returns 1 when it ended something. */
static int stop_holder(const char *dir, const char *name, struct err *err)
{
	char path[4200];
	struct proc_id id;
	_cleanup_close_ int pidfd = -1;
	snprintf(path, sizeof(path), "%s/%s.lock", dir, name);
	if (read_holder(path, &id) < 0 || proc_open(&id, &pidfd, NULL) < 0)
		return 0;
	int r = proc_kill(&id, SIGTERM, NULL, err);
	if (r < 0)
		return r;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	while ((r = poll(&p, 1, 90000)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return err_set(err, -ETIMEDOUT, "process %d still runs after 90 s; its log says why", (int)id.pid);
	return 1;
}

int lock_stop(const char *dir, struct err *err)
{
	int agent = stop_holder(dir, "agent", err);
	if (agent < 0)
		return agent;
	int server = stop_holder(dir, "server", err);
	if (server < 0)
		return server;
	if (!agent && !server)
		printf("no minid runs in %s\n", dir);
	return 0;
}
