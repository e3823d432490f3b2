/* exec and attach: `minirun exec` and `minirun attach` as a child with pipes. An exec's command dies with it, so killing it
 * is cancelling. Terminals are minirun's affair too: what they are resized to goes through one more pipe. */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "nodeagent/runtime_local_priv.h"

#define EXEC_MAGIC   0x65786563u
#define ARGV_MAX     1024
#define STDIN_ENOUGH (128 * 1024) /* waiting for the command to read it: no more is wanted */
#define STDIN_LITTLE (32 * 1024)  /* ... and now there is room again */
#define CONTROL      3            /* its descriptor in minirun */

struct runtime_exec {
	uint32_t magic;
	struct list node;
	struct runtime_local *rl;
	uv_process_t process;
	uv_pipe_t pipes[4];
	unsigned n_pipes; /* CONTROL's only with a terminal */
	unsigned open_handles;
	struct env_timer timer;
	struct env_post failed;             /* it could not be started: said in the next turn */
	const struct runtime_exec_ops *ops; /* NULL: cancelled */
	void *arg;
	struct err err;
	int64_t status;
	int signal;
	bool exited, output_open[2], stdin_closed, has_process, spawned, paused, full;
	char buf[16384];
};

struct write_req {
	uv_write_t req;
	struct runtime_exec *x;
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
	for (unsigned i = 0; i < x->n_pipes; i++)
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

/* args begins with the verb; NULL-terminated. */
static int spawn(struct runtime_exec *x, const char **args)
{
	struct runtime_local *rl = x->rl;
	uv_stdio_container_t io[4];
	for (unsigned i = 0; i < x->n_pipes; i++)
		io[i] = (uv_stdio_container_t){.flags = UV_CREATE_PIPE |
							(i == 1 || i == 2 ? UV_WRITABLE_PIPE : UV_READABLE_PIPE),
					       .data.stream = (uv_stream_t *)&x->pipes[i]};
	uv_process_options_t o = {.exit_cb = on_exit_,
				  .file = rl->minirun,
				  .args = (char **)(uintptr_t)args,
				  .stdio_count = (int)x->n_pipes,
				  .stdio = io};
	x->has_process = true; /* its handle, at least: a spawn that fails must be closed too */
	x->open_handles++;
	int e = uv_spawn(rl->loop, &x->process, &o);
	x->process.data = x;
	return e;
}

static void read_output(struct runtime_exec *x)
{
	for (unsigned i = 1; i <= 2; i++) {
		uv_stream_t *st = (uv_stream_t *)&x->pipes[i];
		if (x->output_open[i - 1] && x->paused)
			uv_read_stop(st);
		else if (x->output_open[i - 1])
			uv_read_start(st, on_alloc, on_read);
	}
}

static struct runtime_exec *start(struct runtime_local *rl, const char **args, unsigned flags,
				  const struct runtime_exec_ops *ops, void *arg)
{
	struct runtime_exec *x = NEW(struct runtime_exec);
	x->magic = EXEC_MAGIC;
	x->rl = rl;
	x->ops = ops;
	x->arg = arg;
	x->timer.fn = on_timeout;
	x->failed.fn = on_failed;
	list_push(&rl->execs, &x->node);
	x->n_pipes = flags & RUNTIME_EXEC_TTY ? 4 : 3;
	for (unsigned i = 0; i < x->n_pipes; i++) {
		uv_pipe_init(rl->loop, &x->pipes[i], 0);
		x->pipes[i].data = x;
	}
	x->open_handles = x->n_pipes;
	int e = args ? spawn(x, args) : UV_E2BIG;
	if (e != 0) {
		err_set(&x->err, e, "can't run minirun: %s", uv_strerror(e));
		env_post(rl->env, &x->failed);
		return x;
	}
	x->spawned = x->output_open[0] = x->output_open[1] = true;
	read_output(x);
	if (!(flags & RUNTIME_EXEC_STDIN))
		local_exec_write(x, NULL, 0);
	return x;
}

struct runtime_exec *local_exec(struct runtime *r, const char *id, const char *const *argv, unsigned flags,
				unsigned timeout_s, const struct runtime_exec_ops *ops, void *arg)
{
	struct runtime_local *rl = runtime_local__of(r);
	const char *args[ARGV_MAX] = {rl->minirun, "--root", rl->root, "exec"};
	size_t n = 4;
	if (flags & RUNTIME_EXEC_TTY) {
		args[n++] = "--tty";
		args[n++] = "--control-fd=3";
	}
	args[n++] = id;
	while (*argv && n < ARGV_MAX - 1)
		args[n++] = *argv++;
	struct runtime_exec *x = start(rl, *argv ? NULL : args, flags, ops, arg);
	if (timeout_s && x->spawned)
		env_timer_start(rl->env, &x->timer, (uint64_t)timeout_s * 1000000);
	return x;
}

struct runtime_exec *local_attach(struct runtime *r, const char *id, unsigned flags, const struct runtime_exec_ops *ops,
				  void *arg)
{
	struct runtime_local *rl = runtime_local__of(r);
	const char *args[8] = {rl->minirun, "--root", rl->root, "attach"};
	size_t n = 4;
	if (flags & RUNTIME_EXEC_STDIN)
		args[n++] = "--stdin";
	if (flags & RUNTIME_EXEC_TTY)
		args[n++] = "--control-fd=3";
	args[n++] = id;
	return start(rl, args, flags, ops, arg);
}

void local_exec_pause(struct runtime_exec *x, bool pause)
{
	x->paused = pause;
	if (x->spawned)
		read_output(x);
}

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = CONTAINER_OF(req, struct write_req, req);
	struct runtime_exec *x = w->x;
	free(w);
	(void)status; /* a command that doesn't read its input is its own affair */
	if (!x->full || uv_stream_get_write_queue_size((uv_stream_t *)&x->pipes[0]) > STDIN_LITTLE)
		return;
	x->full = false;
	if (x->ops && x->ops->on_drain)
		x->ops->on_drain(x->arg);
}

static void write_pipe(struct runtime_exec *x, unsigned i, const void *data, size_t len)
{
	struct write_req *w = xmalloc(sizeof(*w) + len);
	w->x = x;
	memcpy(w->data, data, len);
	uv_buf_t b = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&x->pipes[i], &b, 1, on_written) != 0)
		free(w);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	(void)status;
	free(req);
}

bool local_exec_write(struct runtime_exec *x, const void *data, size_t len)
{
	uv_stream_t *in = (uv_stream_t *)&x->pipes[0];
	if (!x->spawned || x->stdin_closed || uv_is_closing((uv_handle_t *)in))
		return true;
	if (len == 0) {
		uv_shutdown_t *req = NEW(uv_shutdown_t);
		x->stdin_closed = true;
		if (uv_shutdown(req, in, on_shutdown) != 0)
			free(req);
		return true;
	}
	write_pipe(x, 0, data, len);
	x->full = uv_stream_get_write_queue_size(in) > STDIN_ENOUGH;
	return !x->full;
}

void local_exec_resize(struct runtime_exec *x, uint16_t columns, uint16_t rows)
{
	const struct winsize ws = {.ws_row = rows, .ws_col = columns};
	if (x->n_pipes <= CONTROL || !x->spawned || uv_is_closing((uv_handle_t *)&x->pipes[CONTROL]))
		return;
	/* who resizes without end while nothing is taken is left with the size that was */
	if (uv_stream_get_write_queue_size((uv_stream_t *)&x->pipes[CONTROL]) < 4096)
		write_pipe(x, CONTROL, &ws, sizeof(ws));
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
