/* exec: `minirun exec` as a child with pipes. The command dies with it, so killing it is cancelling. */
#include <errno.h>
#include <signal.h>

#include "nodeagent/runtime_local_priv.h"

#define EXEC_MAGIC   0x65786563u
#define ARGV_MAX     1024
#define STDIN_QUEUED (1024 * 1024)

struct runtime_exec {
	uint32_t magic;
	struct list node;
	struct runtime_local *rl;
	uv_process_t process;
	uv_pipe_t pipes[3];
	unsigned open_handles;
	struct env_timer timer;
	struct env_post failed;             /* it could not be started: said in the next turn */
	const struct runtime_exec_ops *ops; /* NULL: cancelled */
	void *arg;
	struct err err;
	int64_t status;
	int signal;
	bool exited, output_open[2], stdin_closed, has_process, spawned;
	char buf[16384];
};

struct write_req {
	uv_write_t req;
	char data[];
};

static struct runtime_exec *exec_of(void *data)
{
	struct runtime_exec *x = data;
	MAGIC_CHECK(x, EXEC_MAGIC);
	return x;
}

static void exec_free(struct runtime_exec *x)
{
	struct runtime_local *rl = x->rl;
	list_del(&x->node);
	err_done(&x->err);
	x->magic = 0;
	free(x);
	runtime_local__maybe_closed(rl);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct runtime_exec *x = exec_of(h->data);
	if (--x->open_handles > 0)
		return;
	if (x->ops) {
		int code = x->signal ? 128 + x->signal : (int)x->status;
		x->ops->on_done(x->arg, &x->err, code);
	}
	exec_free(x);
}

static void close_handle(uv_handle_t *h)
{
	if (!uv_is_closing(h))
		uv_close(h, on_handle_closed);
}

/* The end: it has exited and its output has been read. */
static void maybe_end(struct runtime_exec *x)
{
	if (!x->exited || x->output_open[0] || x->output_open[1])
		return;
	env_timer_stop(x->rl->env, &x->timer);
	for (unsigned i = 0; i < 3; i++)
		close_handle((uv_handle_t *)&x->pipes[i]);
	if (x->has_process)
		close_handle((uv_handle_t *)&x->process);
}

static void on_exit_(uv_process_t *p, int64_t status, int signal)
{
	struct runtime_exec *x = exec_of(p->data);
	x->status = status;
	x->signal = signal;
	x->exited = true;
	maybe_end(x);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret)
{
	(void)size;
	struct runtime_exec *x = exec_of(h->data);
	*ret = uv_buf_init(x->buf, sizeof(x->buf));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct runtime_exec *x = exec_of(st->data);
	int fd = st == (uv_stream_t *)&x->pipes[1] ? 1 : 2;
	if (n > 0 && x->ops)
		x->ops->on_output(x->arg, fd, buf->base, (size_t)n);
	if (n >= 0)
		return;
	x->output_open[fd - 1] = false;
	uv_read_stop(st);
	maybe_end(x);
}

static void on_timeout(struct env_timer *t)
{
	struct runtime_exec *x = CONTAINER_OF(t, struct runtime_exec, timer);
	err_set(&x->err, -ETIMEDOUT, "command timed out");
	if (!x->exited)
		uv_process_kill(&x->process, SIGKILL);
	/* a grandchild may hold the pipes open: what it says now is not awaited */
	x->output_open[0] = x->output_open[1] = false;
	uv_read_stop((uv_stream_t *)&x->pipes[1]);
	uv_read_stop((uv_stream_t *)&x->pipes[2]);
	maybe_end(x);
}

static void on_failed(struct env_post *p)
{
	struct runtime_exec *x = CONTAINER_OF(p, struct runtime_exec, failed);
	x->exited = true;
	maybe_end(x);
}

static int spawn(struct runtime_exec *x, const char *id, const char *const *argv)
{
	struct runtime_local *rl = x->rl;
	const char *args[ARGV_MAX] = {rl->minirun, "--root", rl->root, "exec", id};
	size_t n = 5;
	for (; *argv; argv++) {
		if (n == ARGV_MAX - 1)
			return UV_E2BIG;
		args[n++] = *argv;
	}
	uv_stdio_container_t io[3] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&x->pipes[0]},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->pipes[1]},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->pipes[2]}};
	uv_process_options_t o = {.exit_cb = on_exit_,
				  .file = rl->minirun,
				  .args = (char **)(uintptr_t)args,
				  .stdio_count = 3,
				  .stdio = io};
	x->has_process = true; /* its handle, at least: a spawn that fails must be closed too */
	x->open_handles++;
	int e = uv_spawn(rl->loop, &x->process, &o);
	x->process.data = x;
	return e;
}

struct runtime_exec *local_exec(struct runtime *r, const char *id, const char *const *argv, bool stdin_open,
				unsigned timeout_s, const struct runtime_exec_ops *ops, void *arg)
{
	struct runtime_exec *x = NEW(struct runtime_exec);
	x->magic = EXEC_MAGIC;
	x->rl = runtime_local__of(r);
	x->ops = ops;
	x->arg = arg;
	x->timer.fn = on_timeout;
	x->failed.fn = on_failed;
	list_push(&x->rl->execs, &x->node);
	for (unsigned i = 0; i < 3; i++) {
		uv_pipe_init(x->rl->loop, &x->pipes[i], 0);
		x->pipes[i].data = x;
	}
	x->open_handles = 3;
	int e = spawn(x, id, argv);
	if (e != 0) {
		err_set(&x->err, e, "can't run minirun: %s", uv_strerror(e));
		env_post(x->rl->env, &x->failed);
		return x;
	}
	x->spawned = x->output_open[0] = x->output_open[1] = true;
	uv_read_start((uv_stream_t *)&x->pipes[1], on_alloc, on_read);
	uv_read_start((uv_stream_t *)&x->pipes[2], on_alloc, on_read);
	if (!stdin_open)
		local_exec_write(x, NULL, 0);
	if (timeout_s)
		env_timer_start(x->rl->env, &x->timer, (uint64_t)timeout_s * 1000000);
	return x;
}

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a command that doesn't read its input is its own affair */
	free(CONTAINER_OF(req, struct write_req, req));
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	(void)status;
	free(req);
}

void local_exec_write(struct runtime_exec *x, const void *data, size_t len)
{
	if (!x->spawned || x->stdin_closed || uv_is_closing((uv_handle_t *)&x->pipes[0]))
		return;
	if (len == 0) {
		uv_shutdown_t *req = NEW(uv_shutdown_t);
		x->stdin_closed = true;
		if (uv_shutdown(req, (uv_stream_t *)&x->pipes[0], on_shutdown) != 0)
			free(req);
		return;
	}
	if (uv_stream_get_write_queue_size((uv_stream_t *)&x->pipes[0]) + len > STDIN_QUEUED) {
		err_set(&x->err, -ENOBUFS, "the command does not read its input");
		uv_process_kill(&x->process, SIGKILL);
		return;
	}
	struct write_req *w = xmalloc(sizeof(*w) + len);
	memcpy(w->data, data, len);
	uv_buf_t b = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&x->pipes[0], &b, 1, on_written) != 0)
		free(w);
}

void local_exec_cancel(struct runtime_exec *x)
{
	x->ops = NULL;
	env_timer_stop(x->rl->env, &x->timer);
	env_post_cancel(x->rl->env, &x->failed);
	if (x->spawned && !x->exited)
		uv_process_kill(&x->process, SIGKILL);
	if (!x->spawned)
		x->exited = true;
	if (x->output_open[0])
		uv_read_stop((uv_stream_t *)&x->pipes[1]);
	if (x->output_open[1])
		uv_read_stop((uv_stream_t *)&x->pipes[2]);
	x->output_open[0] = x->output_open[1] = false;
	maybe_end(x);
}

void local_exec_cancel_all(struct runtime_local *rl)
{
	LIST_EACH (&rl->execs, x, struct runtime_exec, node)
		local_exec_cancel(x);
}
