/* Ends of containers: a pidfd of each shim in the loop, and stopping, which is a signal and the wait for that. */
#include <errno.h>
#include <signal.h>

#include "nodeagent/runtime_local_priv.h"

#define KILL_WAIT_US (30 * 1000000ull) /* after SIGKILL: only a process stuck in the kernel takes longer */

/* ---- watching ---- */

struct watch {
	struct list node;
	struct runtime_local *rl;
	uv_poll_t poll;
	int fd;
	bool closing;
	char id[128];
};

static void on_watch_closed(uv_handle_t *h)
{
	struct watch *w = CONTAINER_OF((uv_poll_t *)h, struct watch, poll);
	struct runtime_local *rl = w->rl;
	list_del(&w->node);
	close(w->fd);
	free(w);
	runtime_local__maybe_closed(rl);
}

static void watch_close(struct watch *w)
{
	if (w->closing)
		return;
	w->closing = true;
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* Pool: the shim has ended. Has its container, or was it only the shim? */
static int look_after_end(struct local_op *op, struct err *err)
{
	if (local_end_fd(op->rl, op->id, &op->watch_fd, NULL) == 0)
		return 0; /* goes on without a shim: watch its init now */
	local_note_lost(op->rl, op->id);
	(void)err;
	return 0;
}

static void answer_end(struct local_op *op)
{
	struct runtime *r = &op->rl->base;
	bool goes_on = op->watch_fd >= 0;
	local_watch(op->rl, op->id, STEAL_FD(op->watch_fd));
	if (!goes_on && r->on_event)
		r->on_event(r->on_event_arg, op->id);
}

static void on_end(uv_poll_t *p, int status, int events)
{
	(void)status, (void)events;
	struct watch *w = CONTAINER_OF(p, struct watch, poll);
	uv_poll_stop(p);
	if (!w->rl->closed) {
		struct local_op *op = local_op_new(w->rl, w->id, look_after_end);
		op->answer = answer_end;
		local_op_submit(op);
	}
	watch_close(w);
}

void local_watch(struct runtime_local *rl, const char *id, int pidfd)
{
	if (pidfd < 0)
		return;
	LIST_EACH (&rl->watches, w, struct watch, node) {
		if (streq(w->id, id) && !w->closing) {
			close(pidfd);
			return;
		}
	}
	struct watch *w = NEW(struct watch);
	w->rl = rl;
	w->fd = pidfd;
	snprintf(w->id, sizeof(w->id), "%s", id);
	if (rl->closed || uv_poll_init(rl->loop, &w->poll, pidfd) != 0) {
		close(pidfd);
		free(w);
		return;
	}
	list_push(&rl->watches, &w->node);
	uv_poll_start(&w->poll, UV_READABLE, on_end);
}

/* ---- stopping ---- */

struct stop {
	struct list node;
	struct runtime_local *rl;
	char id[128];
	unsigned grace_s;
	bool killed, closing;
	struct env_timer timer;
	uv_poll_t poll;
	int fd;
	runtime_cb cb;
	void *arg;
	struct err err;
};

static int stop_signal_of(const struct runtime_local *rl, const char *id)
{
	json_t *request = NULL;
	int sig = SIGTERM;
	if (local_request_read(rl, id, &request, NULL) < 0)
		return sig;
	const char *s = json_string_value(json_object_get(request, "stopSignal"));
	uint64_t n;
	if (s && parse_u64(s, &n) == 0 && n > 0 && n <= (uint64_t)SIGRTMAX) {
		sig = (int)n;
	} else if (s) {
		const char *name = strncasecmp(s, "SIG", 3) == 0 ? s + 3 : s;
		for (int i = 1; i < SIGRTMIN; i++)
			if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), name) == 0)
				sig = i;
		if (strncasecmp(name, "RTMIN+", 6) == 0 && parse_u64(name + 6, &n) == 0 &&
		    n <= (uint64_t)(SIGRTMAX - SIGRTMIN))
			sig = SIGRTMIN + (int)n;
	}
	json_decref(request);
	return sig;
}

/* Pool: the signal. The pidfd comes first: what ends in between still makes it readable. */
static int send_stop(struct local_op *op, struct err *err)
{
	const struct stop *s = op->result;
	struct oci_state st = {0};
	if (s->fd < 0 && local_end_fd(op->rl, op->id, &op->watch_fd, NULL) < 0)
		return 0; /* has ended, or never was */
	int r = oci_state_read(op->rl->root, op->id, &st, err);
	if (r == 0 && st.init.pid > 0 && st.status != OCI_STOPPED) {
		/* One that was never started has no handler for anything. */
		int sig = s->killed || st.status != OCI_RUNNING ? SIGKILL : stop_signal_of(op->rl, op->id);
		r = proc_kill(&st.init, sig, NULL, err);
	}
	oci_state_done(&st);
	return r == -ENOENT ? 0 : r;
}

/* Pool: it has ended. Others in its group (a shared pid namespace) must too. */
static int finish_stop(struct local_op *op, struct err *err)
{
	struct oci_state st = {0};
	(void)err;
	if (oci_state_read(op->rl->root, op->id, &st, NULL) == 0 && !str_empty(st.cgroup))
		(void)cgroup_kill(&op->rl->fs, st.cgroup, SIGKILL, NULL);
	oci_state_done(&st);
	local_note_lost(op->rl, op->id);
	return 0;
}

static void stop_free(struct stop *s)
{
	struct runtime_local *rl = s->rl;
	list_del(&s->node);
	closep(&s->fd);
	s->cb(s->arg, &s->err);
	err_done(&s->err);
	free(s);
	runtime_local__maybe_closed(rl);
}

static void answer_finish(struct local_op *op)
{
	stop_free(op->result);
}

static void stop_done(struct stop *s)
{
	env_timer_stop(s->rl->env, &s->timer);
	struct local_op *op = local_op_new(s->rl, s->id, finish_stop);
	op->answer = answer_finish;
	op->result = s;
	local_op_submit(op);
}

static void on_stop_poll_closed(uv_handle_t *h)
{
	stop_done(CONTAINER_OF((uv_poll_t *)h, struct stop, poll));
}

static void stop_end(struct stop *s)
{
	if (s->closing)
		return;
	s->closing = true;
	env_timer_stop(s->rl->env, &s->timer);
	if (s->fd < 0)
		stop_done(s);
	else
		uv_close((uv_handle_t *)&s->poll, on_stop_poll_closed);
}

static void on_stop_ended(uv_poll_t *p, int status, int events)
{
	(void)status, (void)events;
	stop_end(CONTAINER_OF(p, struct stop, poll));
}

static void answer_signal(struct local_op *op);

static void submit_signal(struct stop *s)
{
	struct local_op *op = local_op_new(s->rl, s->id, send_stop);
	op->answer = answer_signal;
	op->result = s;
	local_op_submit(op);
}

static void on_stop_timer(struct env_timer *t)
{
	struct stop *s = CONTAINER_OF(t, struct stop, timer);
	if (s->killed) {
		err_set(&s->err, -ETIMEDOUT, "container %s does not end, not even by SIGKILL", s->id);
		stop_end(s);
		return;
	}
	s->killed = true;
	submit_signal(s);
}

static void answer_signal(struct local_op *op)
{
	struct stop *s = op->result;
	if (s->closing)
		return;
	if (op->err.code) {
		err_copy(&s->err, &op->err);
		stop_end(s);
		return;
	}
	if (s->fd < 0) {
		s->fd = STEAL_FD(op->watch_fd);
		if (s->fd < 0 || uv_poll_init(s->rl->loop, &s->poll, s->fd) != 0) {
			closep(&s->fd);
			s->fd = -1;
			stop_end(s);
			return;
		}
		uv_poll_start(&s->poll, UV_READABLE, on_stop_ended);
	}
	env_timer_start(s->rl->env, &s->timer, s->killed ? KILL_WAIT_US : (uint64_t)s->grace_s * 1000000);
}

void local_stop_container(struct runtime *r, const char *id, unsigned grace_s, runtime_cb cb, void *arg)
{
	struct stop *s = NEW(struct stop);
	s->rl = runtime_local__of(r);
	snprintf(s->id, sizeof(s->id), "%s", id);
	s->grace_s = grace_s;
	s->killed = grace_s == 0;
	s->timer.fn = on_stop_timer;
	s->fd = -1;
	s->cb = cb;
	s->arg = arg;
	list_push(&s->rl->stops, &s->node);
	submit_signal(s);
}

void local_watch_close_all(struct runtime_local *rl)
{
	LIST_EACH (&rl->watches, w, struct watch, node)
		watch_close(w);
	/* who waits for a stop is told that nobody waits any more; the container goes on dying */
	LIST_EACH (&rl->stops, s, struct stop, node) {
		if (!s->closing && s->fd >= 0) {
			err_set(&s->err, -ECANCELED, "the runtime is closing");
			stop_end(s);
		}
	}
}
