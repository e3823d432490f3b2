#include "nodeagent/remote.h"

#include <strings.h>

#include "lib/net/spdy.h"
#include "lib/net/websocket.h"

#define REMOTE_MAGIC 0x72656d6fu
#define MESSAGE_MAX  (1 << 20)
#define ENOUGH       (256 * 1024) /* unsent: no more is wanted */
/* A peer that vanished is noticed when something is sent to it, also while nothing is read from it. */
#define PING_US (15 * SECOND_US)
#define TUNNEL  "SPDY/3.1+"

struct remote {
	uint32_t magic;
	struct list node;
	struct node_server *s;
	struct http_stream *stream;
	const struct remote_ops *ops;
	void *arg;
	bool web, channels, v5; /* inside a WebSocket; its messages are channels', not SPDY's */
	struct ws_parser ws;
	struct spdy spdy;
	struct env_post begin; /* channels are there at once */
	struct env_timer ping;
	uint32_t pings;
	unsigned busy; /* inside callbacks: memory stays */
	bool begun, closed;
};

static struct remote *remote_of(void *arg)
{
	struct remote *m = arg;
	MAGIC_CHECK(m, REMOTE_MAGIC);
	return m;
}

/* ---- life ---- */

/* Who entered may look at it until it leaves. The analyzer does not see that `busy` says so. */
static void enter(struct remote *m)
{
	m->busy++;
}

static void leave(struct remote *m)
{
	if (--m->busy || !m->closed) /* NOLINT(clang-analyzer-unix.Malloc) */
		return;
	ws_parser_done(&m->ws);
	spdy_done(&m->spdy);
	m->magic = 0;
	free(m);
}

/* From here on nobody is called. */
static void end(struct remote *m)
{
	m->closed = m->spdy.stop = true;
	env_timer_stop(m->s->n->env, &m->ping);
	env_post_cancel(m->s->n->env, &m->begin);
	list_del(&m->node);
}

static void send_frame(struct remote *m, enum ws_opcode op, const void *data, size_t len)
{
	_cleanup_buf_ struct buf frame = BUF_INIT;
	ws_frame(&frame, op, data, len, NULL);
	http_stream_write(m->stream, frame.data, frame.len);
}

void remote_close(struct remote *m)
{
	static const uint8_t normal[2] = {0x03, 0xe8};
	MAGIC_CHECK(m, REMOTE_MAGIC);
	if (m->closed)
		return;
	enter(m);
	end(m);
	if (m->web)
		send_frame(m, WS_CLOSE, normal, sizeof(normal));
	http_stream_close(STEAL(m->stream));
	leave(m);
}

static void fail(struct remote *m)
{
	if (m->closed)
		return;
	enter(m);
	m->ops->on_close(m->arg);
	remote_close(m);
	leave(m); /* NOLINT(clang-analyzer-unix.Malloc) */
}

void remote_close_all(struct node_server *s)
{
	LIST_EACH (&s->remotes, m, struct remote, node)
		fail(m);
}

static void on_stream_close(void *arg)
{
	struct remote *m = remote_of(arg);
	enter(m);
	m->stream = NULL;
	end(m);
	m->ops->on_close(m->arg);
	leave(m);
}

/* ---- out ---- */

static void send_spdy(struct remote *m, const struct buf *frames)
{
	if (m->web)
		send_frame(m, WS_BINARY, frames->data, frames->len);
	else
		http_stream_write(m->stream, frames->data, frames->len);
}

bool remote_send(struct remote *m, uint32_t id, const void *data, size_t len)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (m->closed || len == 0)
		return true;
	if (m->channels) {
		buf_addc(&out, (char)id);
		buf_add(&out, data, len);
		send_frame(m, WS_BINARY, out.data, out.len);
	} else {
		spdy_data(&out, id, data, len, false);
		send_spdy(m, &out);
	}
	if (http_stream_unsent(m->stream) < ENOUGH)
		return true;
	http_stream_await_drain(m->stream);
	return false;
}

void remote_end(struct remote *m, uint32_t id)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (m->closed || m->channels)
		return;
	spdy_data(&out, id, "", 0, true);
	send_spdy(m, &out);
}

static void reset(struct remote *m, uint32_t id, enum spdy_status status)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (m->closed || m->channels)
		return;
	spdy_reset(&out, id, status);
	send_spdy(m, &out);
}

void remote_pause(struct remote *m, bool pause)
{
	if (!m->closed)
		http_stream_pause(m->stream, pause);
}

static void on_stream_drain(void *arg)
{
	struct remote *m = remote_of(arg);
	enter(m);
	m->ops->on_drain(m->arg);
	leave(m);
}

static void on_ping_timer(struct env_timer *t)
{
	struct remote *m = CONTAINER_OF(t, struct remote, ping);
	_cleanup_buf_ struct buf out = BUF_INIT;
	env_timer_start(m->s->n->env, t, PING_US);
	if (m->web) {
		send_frame(m, WS_PING, "", 0);
		return;
	}
	spdy_ping(&out, m->pings += 2); /* a server's numbers are even */
	send_spdy(m, &out);
}

/* ---- in: channels ---- */

enum { CHANNELS = 5, CHANNEL_CLOSE = 255 };

/* As upstream: an empty message on the first channel that can be written says that all is set up. */
static void begin(struct remote *m)
{
	static const char *const types[CHANNELS] = {"stdin", "stdout", "stderr", "error", "resize"};
	bool told = false;
	if (m->begun || !m->channels)
		return;
	m->begun = true;
	for (uint32_t i = 0; i < CHANNELS && !m->closed; i++) {
		const struct http_header headers[] = {{"streamtype", types[i]}, {NULL, NULL}};
		const uint8_t id = (uint8_t)i;
		if (!m->ops->on_stream(m->arg, i, headers) || m->closed || told || i == 0)
			continue;
		send_frame(m, WS_BINARY, &id, 1);
		told = true;
	}
}

static void on_begin(struct env_post *p)
{
	struct remote *m = CONTAINER_OF(p, struct remote, begin);
	enter(m);
	begin(m);
	leave(m);
}

static void take_channel(struct remote *m, const uint8_t *bytes, size_t len)
{
	if (len > 1 && bytes[0] == CHANNEL_CLOSE && m->v5)
		m->ops->on_end(m->arg, bytes[1], false);
	else if (len > 1 && bytes[0] < CHANNELS)
		m->ops->on_data(m->arg, bytes[0], bytes + 1, len - 1);
}

/* ---- in: SPDY ---- */

static void on_spdy_stream(void *arg, uint32_t id, const struct http_header *headers, bool fin)
{
	struct remote *m = remote_of(arg);
	if (!m->ops->on_stream(m->arg, id, headers)) {
		reset(m, id, SPDY_REFUSED_STREAM);
		return;
	}
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (m->closed)
		return;
	spdy_reply(&m->spdy, &out, id);
	send_spdy(m, &out);
	if (fin)
		m->ops->on_end(m->arg, id, false);
}

static void on_spdy_data(void *arg, uint32_t id, const void *data, size_t len, bool fin)
{
	struct remote *m = remote_of(arg);
	if (len)
		m->ops->on_data(m->arg, id, data, len);
	if (fin && !m->closed)
		m->ops->on_end(m->arg, id, false);
}

static void on_spdy_reset(void *arg, uint32_t id, uint32_t status)
{
	struct remote *m = remote_of(arg);
	(void)status;
	m->ops->on_end(m->arg, id, true);
}

static void on_spdy_ping(void *arg, uint32_t id)
{
	struct remote *m = remote_of(arg);
	_cleanup_buf_ struct buf out = BUF_INIT;
	if (id % 2 == 0 || m->closed)
		return; /* ours, come back */
	spdy_ping(&out, id);
	send_spdy(m, &out);
}

static const struct spdy_ops spdy_ops = {
	.on_stream = on_spdy_stream, .on_data = on_spdy_data, .on_reset = on_spdy_reset, .on_ping = on_spdy_ping};

/* ---- in ---- */

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct remote *m = remote_of(arg);
	if (m->closed)
		return;
	if (op == WS_PING)
		send_frame(m, WS_PONG, data, len);
	else if (op == WS_CLOSE)
		fail(m);
	else if (op != WS_BINARY && op != WS_TEXT)
		return;
	else if (m->channels)
		take_channel(m, data, len);
	else if (spdy_feed(&m->spdy, data, len, NULL) < 0)
		fail(m);
}

static void on_stream_data(void *arg, const void *data, size_t len)
{
	struct remote *m = remote_of(arg);
	enter(m);
	begin(m);
	int rc = m->closed ? 0 : m->web ? ws_feed(&m->ws, data, len, NULL) : spdy_feed(&m->spdy, data, len, NULL);
	if (rc < 0)
		fail(m);
	leave(m); /* NOLINT(clang-analyzer-unix.Malloc) */
}

const char *remote_header(const struct http_header *headers, const char *name)
{
	for (; headers->name; headers++)
		if (strcasecmp(headers->name, name) == 0)
			return headers->value;
	return "";
}

/* ---- the handshake ---- */

struct offer {
	const char *protocol; /* what is answered, as a name; NULL: nothing we speak */
	bool web, channels;
};

/* Whether a list of words between commas has this one. */
static bool lists(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; p && *p; p += strcspn(p, ",")) {
		p += strspn(p, ", \t");
		if (strncasecmp(p, word, n) == 0 && strchr(", \t", p[n]))
			return true;
	}
	return false;
}

static const char *choose_web(struct http_request *r, enum remote_use use)
{
	const char *offered = http_header(r, "Sec-WebSocket-Protocol");
	if (use == REMOTE_PORTS)
		return lists(offered, TUNNEL "portforward.k8s.io") ? TUNNEL "portforward.k8s.io" : NULL;
	return lists(offered, "v5.channel.k8s.io")   ? "v5.channel.k8s.io"
	       : lists(offered, "v4.channel.k8s.io") ? "v4.channel.k8s.io"
						     : NULL;
}

static const char *choose_spdy(struct http_request *r, enum remote_use use)
{
	const char *ours = use == REMOTE_PORTS ? "portforward.k8s.io" : "v4.channel.k8s.io", *name, *value;
	unsigned pos = 0;
	while (http_header_next(r, &pos, &name, &value))
		if (strcasecmp(name, "X-Stream-Protocol-Version") == 0 && lists(value, ours))
			return ours;
	return NULL;
}

/* False: answered. */
static bool negotiate(struct http_request *r, enum remote_use use, struct offer *ret)
{
	const char *upgrade = http_header(r, "Upgrade");
	if (upgrade && strcasecmp(upgrade, "websocket") == 0 && http_header(r, "Sec-WebSocket-Key"))
		*ret = (struct offer){choose_web(r, use), true, use == REMOTE_COMMAND};
	else if (upgrade && strcasecmp(upgrade, "SPDY/3.1") == 0)
		*ret = (struct offer){choose_spdy(r, use), false, false};
	else
		*ret = (struct offer){NULL, false, false};
	if (ret->protocol)
		return true;
	server_text(r, 400,
		    use == REMOTE_PORTS
			    ? "unable to upgrade: portforward.k8s.io over SPDY/3.1 is needed, in a WebSocket "
			      "or without one\n"
			    : "unable to upgrade: v5.channel.k8s.io or v4.channel.k8s.io is needed, over a "
			      "WebSocket or SPDY/3.1\n");
	return false;
}

static struct http_stream *upgrade(struct remote *m, struct http_request *r, const struct offer *offer)
{
	static const struct http_stream_ops ops = {
		.on_data = on_stream_data, .on_close = on_stream_close, .on_drain = on_stream_drain};
	const char *key = http_header(r, "Sec-WebSocket-Key");
	_cleanup_free_ char *accept = offer->web ? ws_accept_key(key) : NULL;
	const struct http_header web[] = {{"Upgrade", "websocket"},
					  {"Connection", "Upgrade"},
					  {"Sec-WebSocket-Accept", accept},
					  {"Sec-WebSocket-Protocol", offer->protocol},
					  {NULL, NULL}};
	const struct http_header spdy[] = {{"Upgrade", "SPDY/3.1"},
					   {"Connection", "Upgrade"},
					   {"X-Stream-Protocol-Version", offer->protocol},
					   {NULL, NULL}};
	return http_upgrade(r, offer->web ? web : spdy, &ops, m);
}

struct remote *remote_accept(struct node_server *s, struct http_request *r, enum remote_use use,
			     const struct remote_ops *ops, void *arg)
{
	struct offer offer;
	if (!negotiate(r, use, &offer))
		return NULL;
	struct remote *m = NEW(struct remote);
	*m = (struct remote){.magic = REMOTE_MAGIC,
			     .s = s,
			     .ops = ops,
			     .arg = arg,
			     .web = offer.web,
			     .channels = offer.channels,
			     .v5 = str_starts(offer.protocol, "v5"),
			     .ws = {.server = true, .max_bytes = MESSAGE_MAX, .on_message = on_message, .arg = m},
			     .begin.fn = on_begin,
			     .ping.fn = on_ping_timer};
	if (!m->channels)
		spdy_init(&m->spdy, &spdy_ops, m);
	m->stream = upgrade(m, r, &offer);
	list_push(&s->remotes, &m->node);
	env_post(s->n->env, &m->begin);
	env_timer_start(s->n->env, &m->ping, PING_US);
	return m;
}
