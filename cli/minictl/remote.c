#include "cli/minictl/remote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <strings.h>

#include "cli/minictl/terminal.h"
#include "lib/net/pki.h"
#include "lib/net/websocket.h"

#define MESSAGE_MAX (16u << 20)
#define STDIN_CHUNK 32768
#define ENOUGH      (256u << 10) /* on its way to the server: nothing more is read */

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };

struct remote {
	struct ctl *c;
	struct http_call *call;
	struct ws_parser ws;
	struct remote_io io;
	bool upgraded, v5, closed, done;
	int status;         /* of the HTTP answer */
	struct buf refusal; /* its body, when it was no upgrade */
	json_t *result;     /* the Status at the end */
	struct err err;
	/* standard input */
	uv_fs_t read;
	char chunk[STDIN_CHUNK];
	bool reading;
	uv_signal_t resized;
};

static void send_frame(struct remote *x, enum ws_opcode op, const void *data, size_t len)
{
	uint8_t mask[4];
	_cleanup_buf_ struct buf frame = BUF_INIT;
	if (!x->call || x->done)
		return;
	pki_random(mask, sizeof(mask));
	ws_frame(&frame, op, data, len, mask);
	http_call_write(x->call, frame.data, frame.len);
}

static void send_channel(struct remote *x, enum channel ch, const void *data, size_t len)
{
	_cleanup_buf_ struct buf message = BUF_INIT;
	buf_addc(&message, (char)ch);
	buf_add(&message, data, len);
	send_frame(x, WS_BINARY, message.data, message.len);
}

/* ---- standard input and the window ---- */

static void read_more(struct remote *x);

static void on_read(uv_fs_t *req)
{
	static const uint8_t end = CHANNEL_STDIN;
	struct remote *x = req->data;
	ssize_t n = req->result;
	uv_fs_req_cleanup(req);
	x->reading = false;
	if (x->done || !x->call)
		return;
	if (n <= 0) {
		if (x->v5)
			send_channel(x, CHANNEL_CLOSE, &end, 1);
		return;
	}
	send_channel(x, CHANNEL_STDIN, x->chunk, (size_t)n);
	if (http_call_unsent(x->call) < ENOUGH)
		read_more(x);
	else
		http_call_await_drain(x->call);
}

static void read_more(struct remote *x)
{
	uv_buf_t b = uv_buf_init(x->chunk, sizeof(x->chunk));
	x->read.data = x;
	x->reading = uv_fs_read(&x->c->loop, &x->read, 0, &b, 1, -1, on_read) == 0;
}

static void on_drain(void *arg)
{
	struct remote *x = arg;
	if (!x->reading)
		read_more(x);
}

static void send_size(struct remote *x)
{
	uint16_t columns, rows;
	char text[64];
	if (!terminal_size(&columns, &rows))
		return;
	int n = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", columns, rows);
	send_channel(x, CHANNEL_RESIZE, text, (size_t)n);
}

static void on_resized(uv_signal_t *s, int sig)
{
	(void)sig;
	send_size(CONTAINER_OF(s, struct remote, resized));
}

static void lend_terminal(struct remote *x)
{
	terminal_raw();
	uv_signal_start(&x->resized, on_resized, SIGWINCH);
	send_size(x);
}

/* ---- what comes back ---- */

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};
			poll(&p, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* nobody reads: the command's end still counts */
		data += n;
		len -= (size_t)n;
	}
}

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct remote *x = arg;
	const uint8_t *bytes = data;
	if (op == WS_PING) {
		send_frame(x, WS_PONG, data, len);
	} else if (op == WS_CLOSE) {
		x->closed = x->done = true;
	} else if (len > 0 && bytes[0] == CHANNEL_ERROR && len > 1) {
		json_decref(x->result);
		x->result = NULL;
		json_parse((const char *)data + 1, len - 1, &x->result, NULL);
	} else if (len > 1 && (bytes[0] == CHANNEL_STDOUT || bytes[0] == CHANNEL_STDERR)) {
		write_all(bytes[0], (const char *)data + 1, len - 1);
	}
}

static void on_response(void *arg, int status, const struct http_header *headers)
{
	struct remote *x = arg;
	(void)headers;
	x->status = status;
}

static void on_upgrade(void *arg, int status, const struct http_header *headers)
{
	struct remote *x = arg;
	x->status = status;
	x->upgraded = true;
	for (const struct http_header *h = headers; h && h->name; h++) {
		if (!strcasecmp(h->name, "Sec-WebSocket-Protocol"))
			x->v5 = str_starts(h->value, "v5");
	}
	if (x->io.tty)
		lend_terminal(x);
	if (x->io.in)
		read_more(x);
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct remote *x = arg;
	if (!x->upgraded && x->refusal.len < 65536)
		buf_add(&x->refusal, data, len);
	else if (x->upgraded && !x->done && ws_feed(&x->ws, data, len, &x->err) < 0)
		x->done = true;
}

static void on_done(void *arg, const struct err *err)
{
	struct remote *x = arg;
	x->call = NULL;
	x->done = true;
	if (!x->err.code && !x->closed && !x->result)
		err_copy(&x->err, err);
}

/* ---- the end ---- */

static int exit_code(const json_t *status, int *ret)
{
	size_t i;
	json_t *cause;
	json_array_foreach(json_path(status, "details", "causes", NULL), i, cause)
	{
		int64_t n;
		if (streq(json_get_str(cause, "reason", ""), "ExitCode") &&
		    parse_i64(json_get_str(cause, "message", ""), &n) == 0) {
			*ret = (int)n;
			return 0;
		}
	}
	return -ENOENT;
}

int remote_refusal(int status, const struct buf *body, struct err *err)
{
	_cleanup_json_ json_t *tree = NULL;
	json_parse(buf_str(body), body->len, &tree, NULL);
	err_from_status(tree, status, err);
	if (!tree && body->len)
		snprintf(err->message, sizeof(err->message), "%.900s", buf_str(body));
	return err->code ? err->code : -EIO;
}

static int outcome(struct remote *x, struct err *err)
{
	int code;
	if (!x->upgraded && x->status >= 300)
		return remote_refusal(x->status, &x->refusal, err);
	if (x->err.code)
		return err_move(err, &x->err);
	if (!x->result)
		return err_set(err, -EIO, "the connection ended before the command did");
	if (streq(json_get_str(x->result, "status", ""), "Success"))
		return 0;
	if (exit_code(x->result, &code) == 0) {
		fprintf(stderr, "command terminated with exit code %d\n", code);
		return code > 0 ? code : 1;
	}
	return err_set(err, -EIO, "%s", json_get_str(x->result, "message", "the command failed"));
}

static void remote_done(struct remote *x)
{
	if (x->call)
		http_call_cancel(STEAL(x->call));
	terminal_restore();
	uv_close((uv_handle_t *)&x->resized, NULL);
	json_decref(x->result);
	ws_parser_done(&x->ws);
	buf_done(&x->refusal);
	err_done(&x->err);
}

void remote_headers(const char *protocols, struct http_header ret[6], char **ret_key)
{
	uint8_t nonce[16];
	pki_random(nonce, sizeof(nonce));
	*ret_key = base64_encode(nonce, sizeof(nonce));
	ret[0] = (struct http_header){"Connection", "Upgrade"};
	ret[1] = (struct http_header){"Upgrade", "websocket"};
	ret[2] = (struct http_header){"Sec-WebSocket-Version", "13"};
	ret[3] = (struct http_header){"Sec-WebSocket-Key", *ret_key};
	ret[4] = (struct http_header){"Sec-WebSocket-Protocol", protocols};
	ret[5] = (struct http_header){NULL, NULL};
}

struct remote_io remote_io_of(bool in, bool tty)
{
	return (struct remote_io){.in = in, .tty = tty && in && terminal_usable()};
}

int remote_run(struct ctl *c, const char *path, struct remote_io io, bool *ret_reading, struct err *err)
{
	static const struct http_call_ops ops = {.on_response = on_response,
						 .on_body = on_body,
						 .on_done = on_done,
						 .on_upgrade = on_upgrade,
						 .on_drain = on_drain};
	struct http_header headers[6];
	_cleanup_free_ char *key = NULL;
	int rc = ctl_connect(c, err);
	if (rc < 0)
		return rc;
	/* kept: a read may outlive this */
	struct remote *x = keep(NEW(struct remote));
	x->c = c;
	x->io = io;
	x->ws = (struct ws_parser){.max_bytes = MESSAGE_MAX, .on_message = on_message, .arg = x};
	uv_signal_init(&c->loop, &x->resized);
	path = keepf("%s%cstdout=true%s%s", path, strchr(path, '?') ? '&' : '?', io.in ? "&stdin=true" : "",
		     io.tty ? "&tty=true" : "&stderr=true");
	remote_headers("v5.channel.k8s.io, v4.channel.k8s.io", headers, &key);
	fflush(stdout);
	x->call = client_http_call(c->client, "GET", path, headers, NULL, 0, 0, &ops, x);
	ctl_run(c, &x->done, 0);
	terminal_restore();
	rc = outcome(x, err);
	*ret_reading = x->reading;
	remote_done(x);
	return rc;
}

int remote_exit(struct ctl *c, int rc, bool reading, struct err *err)
{
	if (!reading)
		return rc;
	if (rc < 0)
		ctl_fail(c, err, NULL);
	fflush(NULL);
	_exit(rc < 0 ? 1 : rc);
}
