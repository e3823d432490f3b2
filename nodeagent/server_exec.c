/* /exec and /attach: a command in a container, or the container's own process, at the other end of a client's streams. The
 * end comes as a Status on the error stream, with the exit code among its causes. */
#include "nodeagent/remote.h"

#define EXEC_MAGIC 0x65786563u
#define ARGS_MAX   1024
#define RESIZE_MAX 1024
#define STREAMS_US (30 * SECOND_US) /* as upstream: for the client to open all its streams */

enum stream { STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR, STREAM_ERROR, STREAM_RESIZE, STREAMS };
static const char *const stream_names[STREAMS] = {"stdin", "stdout", "stderr", "error", "resize"};

struct exec_session {
	uint32_t magic;
	struct node_server *s;
	struct remote *remote;
	struct runtime_exec *exec;
	char *container_id;
	char **argv; /* NULL: attach */
	bool tty, want[STREAMS], have[STREAMS], stdin_closed;
	uint32_t ids[STREAMS];
	struct env_timer timer;
	struct buf resize; /* part of an object */
};

static struct exec_session *session_of(void *arg)
{
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	return x;
}

static void session_free(struct exec_session *x)
{
	env_timer_stop(x->s->n->env, &x->timer);
	if (x->exec)
		x->s->n->runtime->ops->exec_cancel(x->exec);
	for (char **a = x->argv; a && *a; a++)
		free(*a);
	free(x->argv);
	free(x->container_id);
	buf_done(&x->resize);
	x->magic = 0;
	free(x);
}

/* ---- what the container says ---- */

static void on_output(void *arg, int fd, const void *data, size_t len)
{
	struct exec_session *x = session_of(arg);
	enum stream to = fd == 1 || x->tty ? STREAM_STDOUT : STREAM_STDERR;
	if (x->want[to] && !remote_send(x->remote, x->ids[to], data, len))
		x->s->n->runtime->ops->exec_pause(x->exec, true);
}

static void on_remote_drain(void *arg)
{
	struct exec_session *x = session_of(arg);
	if (x->exec)
		x->s->n->runtime->ops->exec_pause(x->exec, false);
}

static json_t *exit_status(const struct err *err, int code)
{
	if (err && err->code)
		return json_make("{s:{}, s:s, s:s, s:s, s:i}", "metadata", "status", "Failure", "message", err->message,
				 "reason", "InternalError", "code", 500);
	if (code == 0)
		return json_make("{s:{}, s:s}", "metadata", "status", "Success");
	char text[16], message[96];
	snprintf(text, sizeof(text), "%d", code);
	snprintf(message, sizeof(message), "command terminated with non-zero exit code: exit status %d", code);
	return json_make("{s:{}, s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "metadata", "status", "Failure", "message",
			 message, "reason", "NonZeroExitCode", "details", "causes", "reason", "ExitCode", "message",
			 text);
}

static void on_done(void *arg, const struct err *err, int code)
{
	struct exec_session *x = session_of(arg);
	x->exec = NULL;
	_cleanup_json_ json_t *status = exit_status(err, code);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, status);
	remote_send(x->remote, x->ids[STREAM_ERROR], text.data, text.len);
	for (unsigned i = STREAM_STDOUT; i <= STREAM_ERROR; i++)
		if (x->have[i])
			remote_end(x->remote, x->ids[i]);
	remote_close(x->remote);
	session_free(x);
}

static void on_exec_drain(void *arg)
{
	remote_pause(session_of(arg)->remote, false);
}

/* ---- what the client says ---- */

static void close_stdin(struct exec_session *x)
{
	if (!x->stdin_closed && x->exec && x->want[STREAM_STDIN])
		x->s->n->runtime->ops->exec_write(x->exec, "", 0);
	x->stdin_closed = true;
}

/* {"Width":80,"Height":24}, one after the other, in whatever pieces they come. */
static void take_resize(struct exec_session *x, const char *data, size_t len)
{
	buf_add(&x->resize, data, MIN(len, (size_t)RESIZE_MAX));
	for (char *close; x->resize.len && (close = memchr(x->resize.data, '}', x->resize.len));) {
		size_t n = (size_t)(close - x->resize.data) + 1;
		_cleanup_json_ json_t *size = NULL;
		json_parse(x->resize.data, n, &size, NULL);
		int64_t w = json_get_int(size, "Width", 0), h = json_get_int(size, "Height", 0);
		if (x->exec && w > 0 && w <= UINT16_MAX && h > 0 && h <= UINT16_MAX)
			x->s->n->runtime->ops->exec_resize(x->exec, (uint16_t)w, (uint16_t)h);
		buf_consume(&x->resize, n);
	}
	if (x->resize.len > RESIZE_MAX)
		buf_clear(&x->resize);
}

static void on_data(void *arg, uint32_t id, const void *data, size_t len)
{
	struct exec_session *x = session_of(arg);
	if (x->have[STREAM_STDIN] && id == x->ids[STREAM_STDIN]) {
		if (x->exec && !x->stdin_closed && !x->s->n->runtime->ops->exec_write(x->exec, data, len))
			remote_pause(x->remote, true);
	} else if (x->have[STREAM_RESIZE] && id == x->ids[STREAM_RESIZE]) {
		take_resize(x, data, len);
	}
}

static void on_end(void *arg, uint32_t id, bool reset)
{
	struct exec_session *x = session_of(arg);
	(void)reset;
	if (x->have[STREAM_STDIN] && id == x->ids[STREAM_STDIN])
		close_stdin(x);
}

static void on_close(void *arg)
{
	session_free(session_of(arg));
}

/* ---- the beginning ---- */

static void start(struct exec_session *x)
{
	static const struct runtime_exec_ops ops = {
		.on_output = on_output, .on_done = on_done, .on_drain = on_exec_drain};
	struct runtime *rt = x->s->n->runtime;
	unsigned flags = (x->want[STREAM_STDIN] ? RUNTIME_EXEC_STDIN : 0) | (x->tty ? RUNTIME_EXEC_TTY : 0);
	env_timer_stop(x->s->n->env, &x->timer);
	x->exec = x->argv ? rt->ops->exec(rt, x->container_id, (const char *const *)x->argv, flags, 0, &ops, x)
			  : rt->ops->attach(rt, x->container_id, flags, &ops, x);
}

/* All streams that were asked for are there: go. */
static bool on_stream(void *arg, uint32_t id, const struct http_header *headers)
{
	struct exec_session *x = session_of(arg);
	const char *type = remote_header(headers, "streamtype");
	bool all = true, known = false;
	for (unsigned i = 0; i < STREAMS; i++) {
		if (x->want[i] && !x->have[i] && streq(type, stream_names[i])) {
			x->have[i] = known = true;
			x->ids[i] = id;
		}
		all = all && x->have[i] == x->want[i];
	}
	if (known && all)
		start(x);
	return known;
}

static void on_timer(struct env_timer *t)
{
	struct exec_session *x = CONTAINER_OF(t, struct exec_session, timer);
	remote_close(x->remote);
	session_free(x);
}

static bool flag(struct http_request *r, const char *name)
{
	const char *v = http_query(r, name);
	return v && http_query_true(v);
}

/* The command, copied: the request ends with the upgrade. NULL when there is none, or too much of it. */
static char **command_of(struct http_request *r)
{
	char **argv = NULL;
	size_t n = 0, cap = 0;
	unsigned pos = 0;
	const char *name, *value;
	while (n < ARGS_MAX && http_query_next(r, &pos, &name, &value)) {
		if (!streq(name, "command"))
			continue;
		GROW(argv, cap, n + 2);
		argv[n++] = xstrdup(value);
		argv[n] = NULL;
	}
	return argv;
}

static struct exec_session *session_new(struct node_server *s, struct http_request *r, struct pod_container *c,
					char **argv)
{
	struct exec_session *x = NEW(struct exec_session);
	*x = (struct exec_session){.magic = EXEC_MAGIC,
				   .s = s,
				   .container_id = xstrdup(c->cur.id),
				   .argv = argv,
				   .tty = flag(r, "tty"),
				   .timer.fn = on_timer};
	x->want[STREAM_STDIN] = flag(r, "stdin");
	x->want[STREAM_STDOUT] = flag(r, "stdout");
	x->want[STREAM_STDERR] = flag(r, "stderr") && !x->tty; /* a terminal has one output */
	x->want[STREAM_ERROR] = true;
	x->want[STREAM_RESIZE] = x->tty;
	return x;
}

static void serve(struct node_server *s, struct http_request *r, struct pod_container *c, char **argv)
{
	static const struct remote_ops ops = {.on_stream = on_stream,
					      .on_data = on_data,
					      .on_end = on_end,
					      .on_drain = on_remote_drain,
					      .on_close = on_close};
	struct exec_session *x = session_new(s, r, c, argv);
	if (!x->want[STREAM_STDIN] && !x->want[STREAM_STDOUT] && !x->want[STREAM_STDERR]) {
		server_text(r, 400, "you must specify at least 1 of stdin, stdout, stderr\n");
		session_free(x);
	} else if (!container_is_up(c) || c->state == CONTAINER_START) {
		server_text(r, 404, "container not found (\"%s\")\n", c->name);
		session_free(x);
	} else if (!(x->remote = remote_accept(s, r, REMOTE_COMMAND, &ops, x))) {
		session_free(x);
	} else {
		env_timer_start(s->n->env, &x->timer, STREAMS_US);
	}
}

void server_exec(struct node_server *s, struct http_request *r, struct pod_container *c)
{
	char **argv = command_of(r);
	if (argv)
		serve(s, r, c, argv);
	else
		server_text(r, 400, "you must specify at least 1 command for the container\n");
}

void server_attach(struct node_server *s, struct http_request *r, struct pod_container *c)
{
	serve(s, r, c, NULL);
}
