/* minictl exec: a command in a container, over a WebSocket. The first byte of a message is its channel. */
#include <errno.h>
#include <poll.h>
#include <strings.h>

#include "cli/minictl/verbs.h"
#include "lib/net/pki.h"
#include "lib/net/websocket.h"

#define MESSAGE_MAX (16u << 20)
#define STDIN_CHUNK 32768

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_CLOSE = 255 };

struct exec {
	struct ctl *c;
	struct http_call *call;
	struct ws_parser ws;
	bool upgraded, v5, closed, done;
	int status;         /* of the HTTP answer */
	struct buf refusal; /* its body, when it was no upgrade */
	json_t *result;     /* the Status at the end */
	struct err err;
	/* standard input */
	uv_fs_t read;
	char chunk[STDIN_CHUNK];
	bool reading;
};

static void send_frame(struct exec *x, enum ws_opcode op, const void *data, size_t len)
{
	uint8_t mask[4];
	struct buf frame = BUF_INIT;
	if (!x->call || x->done)
		return;
	pki_random(mask, sizeof(mask));
	ws_frame(&frame, op, data, len, mask);
	http_call_write(x->call, frame.data, frame.len);
	buf_done(&frame);
}

/* ---- standard input ---- */

static void read_more(struct exec *x);

static void on_read(uv_fs_t *req)
{
	struct exec *x = req->data;
	ssize_t n = req->result;
	uv_fs_req_cleanup(req);
	x->reading = false;
	if (x->done)
		return;
	if (n > 0) {
		_cleanup_buf_ struct buf message = BUF_INIT;
		buf_addc(&message, CHANNEL_STDIN);
		buf_add(&message, x->chunk, (size_t)n);
		send_frame(x, WS_BINARY, message.data, message.len);
		read_more(x);
		return;
	}
	static const uint8_t end[2] = {CHANNEL_CLOSE, CHANNEL_STDIN};
	if (x->v5)
		send_frame(x, WS_BINARY, end, sizeof(end));
}

static void read_more(struct exec *x)
{
	uv_buf_t b = uv_buf_init(x->chunk, sizeof(x->chunk));
	x->read.data = x;
	x->reading = uv_fs_read(&x->c->loop, &x->read, 0, &b, 1, -1, on_read) == 0;
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
	struct exec *x = arg;
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
	struct exec *x = arg;
	(void)headers;
	x->status = status;
}

static void on_upgrade(void *arg, int status, const struct http_header *headers)
{
	struct exec *x = arg;
	x->status = status;
	x->upgraded = true;
	for (const struct http_header *h = headers; h && h->name; h++) {
		if (!strcasecmp(h->name, "Sec-WebSocket-Protocol"))
			x->v5 = str_starts(h->value, "v5");
	}
	if (x->reading) /* asked for: -i */
		read_more(x);
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct exec *x = arg;
	if (!x->upgraded && x->refusal.len < 65536)
		buf_add(&x->refusal, data, len);
	else if (x->upgraded && !x->done && ws_feed(&x->ws, data, len, &x->err) < 0)
		x->done = true;
}

static void on_done(void *arg, const struct err *err)
{
	struct exec *x = arg;
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

static int outcome(struct exec *x, struct err *err)
{
	int code;
	if (!x->upgraded && x->status >= 300) {
		_cleanup_json_ json_t *tree = NULL;
		json_parse(buf_str(&x->refusal), x->refusal.len, &tree, NULL);
		err_from_status(tree, x->status, err);
		if (!tree && x->refusal.len)
			snprintf(err->message, sizeof(err->message), "%.900s", buf_str(&x->refusal));
		return err->code ? err->code : -EIO;
	}
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

static int run(struct ctl *c, const char *path, bool with_stdin, struct err *err)
{
	static const struct http_call_ops ops = {
		.on_response = on_response, .on_body = on_body, .on_done = on_done, .on_upgrade = on_upgrade};
	struct exec *x = keep(NEW(struct exec));
	uint8_t nonce[16];
	int rc = ctl_connect(c, err);
	if (rc < 0)
		return rc;
	pki_random(nonce, sizeof(nonce));
	_cleanup_free_ char *key = base64_encode(nonce, sizeof(nonce));
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "websocket"},
					      {"Sec-WebSocket-Version", "13"},
					      {"Sec-WebSocket-Key", key},
					      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io, v4.channel.k8s.io"},
					      {NULL, NULL}};
	x->c = c;
	x->reading = with_stdin;
	x->ws = (struct ws_parser){.max_bytes = MESSAGE_MAX, .on_message = on_message, .arg = x};
	fflush(stdout);
	x->call = client_http_call(c->client, "GET", path, headers, NULL, 0, 0, &ops, x);
	ctl_run(c, &x->done, 0);
	if (x->call)
		http_call_cancel(STEAL(x->call));
	rc = outcome(x, err);
	json_decref(x->result);
	ws_parser_done(&x->ws);
	buf_done(&x->refusal);
	err_done(&x->err);
	/* A read from a terminal or pipe that nobody ends cannot be taken back: leave without waiting for it. */
	if (x->reading && with_stdin) {
		if (rc < 0)
			ctl_fail(c, err, NULL);
		fflush(NULL);
		_exit(rc < 0 ? 1 : rc);
	}
	return rc;
}

static int choose_pod(struct ctl *c, const char *word, struct item *ret, struct err *err)
{
	*ret = (struct item){.kind = kind_by_kind("", "v1", "Pod"), .ns = ctl_ns(c), .name = word};
	if (!strchr(word, '/'))
		return 0;
	struct strings one = {0};
	size_t used;
	json_t *pods = NULL;
	strings_add(&one, word);
	int rc = input_one(c, &one, &used, ret, err);
	if (rc < 0 || streq(ret->kind->kind, "Pod"))
		return rc;
	rc = pods_of(c, ret, &pods, err);
	if (rc < 0)
		return rc;
	keep_json(pods);
	const json_t *pod = pod_best(pods);
	if (!pod)
		return ctl_usage(err, "no pods of %s", word);
	*ret = (struct item){.kind = kind_by_kind("", "v1", "Pod"), .ns = meta_ns(pod), .name = meta_name(pod)};
	return 0;
}

static int default_container(struct ctl *c, const struct item *pod, const char **ret, struct err *err)
{
	json_t *obj = NULL;
	int rc = get_item(c, pod, &obj, err);
	if (rc < 0)
		return rc;
	keep_json(obj);
	const char *named = meta_annotation(obj, "kubectl.kubernetes.io/default-container");
	const json_t *list = json_path(obj, "spec", "containers", NULL);
	*ret = named ? named : json_get_str(json_array_get(list, 0), "name", "");
	if (!named && json_array_size(list) > 1) {
		_cleanup_buf_ struct buf names = BUF_INIT;
		size_t i;
		json_t *e;
		json_array_foreach(list, i, e) buf_addf(&names, "%s%s", i ? ", " : "", json_get_str(e, "name", ""));
		fprintf(stderr, "Defaulted container \"%s\" out of: %s\n", *ret, buf_str(&names));
	}
	return 0;
}

int verb_exec(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *container = NULL, *ignored = NULL;
	bool in = false, tty = false, quiet = false;
	const struct opt opts[] = {
		{"container", 'c', OPT_STR, &container, NULL, "which container"},
		{"stdin", 'i', OPT_BOOL, &in, NULL, "hand standard input on"},
		{"tty", 't', OPT_BOOL, &tty, NULL, NULL},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "print only what the command prints"},
		{"pod-running-timeout", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	struct item pod;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (tty)
		return ctl_usage(err,
				 "-t: this version of minictl has no terminals for exec; run the command without -t");
	if (args.pos.n == 0)
		return ctl_usage(err, "pod, type/name or --filename must be specified");
	if (args.after.n == 0)
		return ctl_usage(
			err, "%s",
			args.pos.n > 1
				? "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"
				: "you must specify at least one command for the container");
	rc = choose_pod(c, args.pos.items[0], &pod, err);
	if (rc == 0 && !container)
		rc = default_container(c, &pod, &container, err);
	if (rc < 0)
		return rc;
	char *path = with_query(path_of(pod.kind, pod.ns, pod.name, "exec"), "container", container);
	for (size_t i = 0; i < args.after.n; i++)
		path = *args.after.items[i] ? with_query(path, "command", args.after.items[i])
					    : keepf("%s&command=", path);
	path = keepf("%s%s&stdout=true&stderr=true", path, in ? "&stdin=true" : "");
	return run(c, path, in, err);
}
