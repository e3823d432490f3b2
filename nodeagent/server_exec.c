/* /exec over a WebSocket: v5.channel.k8s.io and v4.channel.k8s.io. The first byte of a message is its channel; the end
 * comes as a Status on the error channel, with the exit code among its causes. */
#include "lib/net/websocket.h"
#include "nodeagent/server.h"

#define EXEC_MAGIC  0x65786563u
#define ARGS_MAX    1024
#define UNSENT_MAX  (16 << 20)
#define MESSAGE_MAX (1 << 20)

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };

struct exec_session {
	uint32_t magic;
	struct list node;
	struct node_server *s;
	struct http_stream *stream;
	struct ws_parser ws;
	struct runtime_exec *exec;
	bool v5, want_stdin, want_stdout, want_stderr, stdin_closed, dead;
};

static void session_free(struct exec_session *x)
{
	list_del(&x->node);
	if (x->exec)
		x->s->n->runtime->ops->exec_cancel(x->exec);
	ws_parser_done(&x->ws);
	x->magic = 0;
	free(x);
}

static void send_channel(struct exec_session *x, enum channel ch, const void *data, size_t len)
{
	struct buf message = BUF_INIT, frame = BUF_INIT;
	buf_addc(&message, (char)ch);
	buf_add(&message, data, len);
	ws_frame(&frame, WS_BINARY, message.data, message.len, NULL);
	http_stream_write(x->stream, frame.data, frame.len);
	buf_done(&message);
	buf_done(&frame);
}

static void close_session(struct exec_session *x)
{
	static const uint8_t normal[2] = {0x03, 0xe8};
	struct buf frame = BUF_INIT;
	ws_frame(&frame, WS_CLOSE, normal, sizeof(normal), NULL);
	http_stream_write(x->stream, frame.data, frame.len);
	buf_done(&frame);
	http_stream_close(x->stream);
	session_free(x);
}

/* ---- what the container says ---- */

static void on_output(void *arg, int fd, const void *data, size_t len)
{
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	if (len == 0 || (fd == 1 ? !x->want_stdout : !x->want_stderr))
		return;
	if (http_stream_unsent(x->stream) > UNSENT_MAX) /* a client that does not read is left behind */
		return;
	send_channel(x, fd == 1 ? CHANNEL_STDOUT : CHANNEL_STDERR, data, len);
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
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	x->exec = NULL;
	_cleanup_json_ json_t *status = exit_status(err, code);
	struct buf text = BUF_INIT;
	json_write(&text, status);
	send_channel(x, CHANNEL_ERROR, text.data, text.len);
	buf_done(&text);
	close_session(x);
}

/* ---- what the client says ---- */

static void close_stdin(struct exec_session *x)
{
	if (!x->stdin_closed && x->exec && x->want_stdin)
		x->s->n->runtime->ops->exec_write(x->exec, "", 0);
	x->stdin_closed = true;
}

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	const uint8_t *bytes = data;
	if (op == WS_PING) {
		struct buf frame = BUF_INIT;
		ws_frame(&frame, WS_PONG, data, len, NULL);
		http_stream_write(x->stream, frame.data, frame.len);
		buf_done(&frame);
		return;
	}
	if (op == WS_CLOSE) {
		x->dead = true;
		return;
	}
	if ((op != WS_BINARY && op != WS_TEXT) || len == 0)
		return;
	if (bytes[0] == CHANNEL_STDIN && len > 1 && x->want_stdin && !x->stdin_closed && x->exec)
		x->s->n->runtime->ops->exec_write(x->exec, bytes + 1, len - 1);
	else if (bytes[0] == CHANNEL_CLOSE && x->v5 && len > 1 && bytes[1] == CHANNEL_STDIN)
		close_stdin(x);
}

static void on_data(void *arg, const void *data, size_t len)
{
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	_cleanup_err_ struct err err = ERR_INIT;
	if (ws_feed(&x->ws, data, len, &err) < 0 || x->dead)
		close_session(x);
}

static void on_stream_close(void *arg)
{
	struct exec_session *x = arg;
	MAGIC_CHECK(x, EXEC_MAGIC);
	session_free(x);
}

void server_exec_close_all(struct node_server *s)
{
	LIST_EACH (&s->execs, x, struct exec_session, node)
		close_session(x);
}

/* ---- the handshake ---- */

static const char *choose_protocol(const char *offered)
{
	static const char *const known[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (offered && strstr(offered, known[i]))
			return known[i];
	}
	return NULL;
}

static bool flag(struct http_request *r, const char *name)
{
	const char *v = http_query(r, name);
	return v && http_query_true(v);
}

static size_t command_of(struct http_request *r, const char *argv[ARGS_MAX + 1])
{
	unsigned pos = 0;
	size_t n = 0;
	const char *name, *value;
	while (n < ARGS_MAX && http_query_next(r, &pos, &name, &value)) {
		if (streq(name, "command"))
			argv[n++] = value;
	}
	argv[n] = NULL;
	return n;
}

/* NULL, or what is wrong with the request. */
static const char *refusal(struct http_request *r, size_t n_args, const char *protocol, const char *key)
{
	if (n_args == 0)
		return "you must specify at least 1 command for the container";
	if (flag(r, "tty"))
		return "a terminal (tty) is not supported by this node agent: run the command without one";
	if (!flag(r, "stdin") && !flag(r, "stdout") && !flag(r, "stderr"))
		return "you must specify at least 1 of stdin, stdout, stderr";
	if (!key || !protocol)
		return "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io is needed";
	return NULL;
}

void server_exec(struct node_server *s, struct http_request *r, struct pod_container *c)
{
	static const struct runtime_exec_ops exec_ops = {.on_output = on_output, .on_done = on_done};
	static const struct http_stream_ops stream_ops = {.on_data = on_data, .on_close = on_stream_close};
	const char *argv[ARGS_MAX + 1];
	const char *protocol = choose_protocol(http_header(r, "Sec-WebSocket-Protocol"));
	const char *key = http_header(r, "Sec-WebSocket-Key");
	const char *wrong = refusal(r, command_of(r, argv), protocol, key);
	if (wrong) {
		server_text(r, 400, "%s\n", wrong);
		return;
	}
	if (!container_is_up(c) || c->state == CONTAINER_START) {
		server_text(r, 404, "container not found (\"%s\")\n", c->name);
		return;
	}
	struct exec_session *x = NEW(struct exec_session);
	*x = (struct exec_session){.magic = EXEC_MAGIC, .s = s, .v5 = protocol[1] == '5'};
	x->want_stdin = flag(r, "stdin");
	x->want_stdout = flag(r, "stdout");
	x->want_stderr = flag(r, "stderr");
	x->ws = (struct ws_parser){.server = true, .max_bytes = MESSAGE_MAX, .on_message = on_message, .arg = x};
	list_push(&s->execs, &x->node);
	/* argv is borrowed from the request, which ends with the upgrade */
	x->exec = s->n->runtime->ops->exec(s->n->runtime, c->cur.id, argv, x->want_stdin, 0, &exec_ops, x);
	_cleanup_free_ char *accept = ws_accept_key(key);
	const struct http_header headers[] = {{"Upgrade", "websocket"},
					      {"Connection", "Upgrade"},
					      {"Sec-WebSocket-Accept", accept},
					      {"Sec-WebSocket-Protocol", protocol},
					      {NULL, NULL}};
	x->stream = http_upgrade(r, headers, &stream_ops, x);
	send_channel(x, x->want_stdout ? CHANNEL_STDOUT : CHANNEL_ERROR, "", 0);
	if (!x->exec) {
		struct err err = ERR_INIT;
		err_set(&err, -EIO, "the command could not be started");
		on_done(x, &err, 0);
	}
}
