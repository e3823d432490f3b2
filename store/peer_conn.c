/* One connection between two members: the handshake, who the other one is, frames in and out. */
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "lib/core/log.h"
#include "store/peer_tls_internal.h"

enum {
	PEER_CONN_MAGIC = 0x50434f4e,
	FEED_BYTES = 64 * 1024, /* handed to the connection at a time: what is urgent waits behind no more than that */
	URGENT_MAX = 4096,      /* a message up to this may overtake */
	KEEPALIVE_S = 5,
};

/* A frame on its way out. */
struct piece {
	struct list node;
	struct blob *blob;
};

static void piece_free(struct piece *piece)
{
	blob_unref(piece->blob);
	free(piece);
}

/* ---- out ---- */

static struct blob *frame_new(enum peer_frame_type type, size_t len)
{
	struct blob *b = blob_alloc(PEER_FRAME_HEAD + len);
	peer_frame_head((uint8_t *)b->data, type, len);
	return b;
}

static void push(struct list *queue, struct blob *b)
{
	struct piece *piece = NEW(struct piece);
	piece->blob = b;
	list_push(queue, &piece->node);
}

static void push_large(struct peer_conn *c, const char *data, size_t len)
{
	uint32_t total = (uint32_t)len;
	struct blob *b = frame_new(PEER_FRAME_BEGIN, sizeof(total));
	memcpy(b->data + PEER_FRAME_HEAD, &total, sizeof(total));
	push(&c->bulk, b);
	while (len) {
		size_t n = MIN(len, (size_t)PEER_FRAME_MORE_MAX);
		b = frame_new(PEER_FRAME_MORE, n);
		memcpy(b->data + PEER_FRAME_HEAD, data, n);
		push(&c->bulk, b);
		data += n;
		len -= n;
	}
}

bool peer_conn__send(struct peer_conn *c, const void *data, size_t len)
{
	bool urgent = len <= URGENT_MAX && !store_peer_in_order(data, len);
	size_t waits = urgent ? c->urgent_bytes : c->bulk_bytes, most = urgent ? PEER_URGENT_MAX : PEER_TLS_BACKLOG_MAX;
	if (waits && waits + len > most)
		return false;
	if (len > PEER_FRAME_SMALL_MAX) {
		push_large(c, data, len);
	} else {
		struct blob *b = frame_new(PEER_FRAME_MESSAGE, len);
		memcpy(b->data + PEER_FRAME_HEAD, data, len);
		push(urgent ? &c->urgent : &c->bulk, b);
	}
	if (urgent)
		c->urgent_bytes += len;
	else
		c->bulk_bytes += len;
	conn_mark(&c->conn);
	return true;
}

/* The frames that are no messages go at once: there are few and they are small. */
static void send_frame(struct peer_conn *c, enum peer_frame_type type, const void *data, size_t len)
{
	uint8_t head[PEER_FRAME_HEAD];
	peer_frame_head(head, type, len);
	conn_add(&c->conn, head, sizeof(head));
	conn_add(&c->conn, data, len);
}

void peer_conn__send_address(struct peer_conn *c, const struct peer_address *a)
{
	uint8_t bytes[PEER_ADDRESS_SIZE_MAX];
	if (conn_unsent(&c->conn) < 4 * FEED_BYTES) /* one that reads nothing need not know */
		send_frame(c, PEER_FRAME_ADDRESS, bytes, peer_address_encode(a, bytes));
}

static void on_tick(struct conn *conn)
{
	struct peer_conn *c = CONTAINER_OF(conn, struct peer_conn, conn);
	if (c->state != PEER_OPEN)
		return;
	while (conn_unsent(conn) < FEED_BYTES) {
		struct list *n = list_pop(&c->urgent);
		bool urgent = n != NULL;
		if (!n && !(n = list_pop(&c->bulk)))
			return;
		struct piece *piece = LIST_ENTRY(n, struct piece, node);
		/* Heads of pieces are not counted: neither here nor when they were queued. */
		uint8_t type = (uint8_t)piece->blob->data[4];
		size_t len = type == PEER_FRAME_BEGIN ? 0 : piece->blob->len - PEER_FRAME_HEAD;
		if (urgent)
			c->urgent_bytes -= len;
		else
			c->bulk_bytes -= len;
		conn_add_blob(conn, piece->blob);
		piece_free(piece);
	}
	if (!conn->writing)
		conn_mark(conn); /* the socket takes it: on with the rest in the next turn */
}

/* ---- the end ---- */

static void uncount(struct peer_conn *c)
{
	if (c->counted)
		c->p->n_pending--;
	c->counted = false;
}

void peer_conn__close(struct peer_conn *c)
{
	env_timer_stop(c->p->env, &c->timer);
	peer__dial_cancel(c);
	uncount(c);
	c->peer = NULL;
	conn_close(&c->conn);
}

void peer_conn__fail(struct peer_conn *c, const char *why)
{
	struct peer *r = c->peer;
	char text[256];
	snprintf(text, sizeof(text), "%s", why); /* it may lie in the connection */
	if (c->conn.closing)
		return;
	if (!c->dialed && c->state == PEER_SHAKING)
		peer__say(c->p, "a connection from %s was not taken: %s", c->address, text);
	bool refused = c->state == PEER_REFUSED; /* which was said */
	peer_conn__close(c);
	if (r)
		peer__ended(r, c, refused ? NULL : text);
}

static void on_end(struct conn *conn, const struct err *err)
{
	struct peer_conn *c = CONTAINER_OF(conn, struct peer_conn, conn);
	MAGIC_CHECK(c, PEER_CONN_MAGIC);
	peer_conn__fail(c, err->code ? err->message : "the other side ended the connection");
}

static void on_closed(struct conn *conn)
{
	struct peer_conn *c = CONTAINER_OF(conn, struct peer_conn, conn);
	struct peer_tls *p = c->p;
	for (struct list *n; (n = list_pop(&c->urgent)) || (n = list_pop(&c->bulk));)
		piece_free(LIST_ENTRY(n, struct piece, node));
	peer_stream_done(&c->in);
	tls_context_unref(c->tls);
	list_del(&c->node);
	c->magic = 0;
	free(c);
	peer__conn_gone(p);
}

/* ---- who is it ---- */

/* The other side is told why, and nothing more is read but its own end. */
static void refuse(struct peer_conn *c, enum peer_refusal code, const char *why)
{
	char reason[1 + PEER_REASON_MAX];
	size_t n = MIN(strlen(why), (size_t)PEER_REASON_MAX);
	reason[0] = (char)code;
	memcpy(reason + 1, why, n);
	c->state = PEER_REFUSED;
	send_frame(c, PEER_FRAME_REFUSED, reason, 1 + n);
	conn_shutdown(&c->conn);
	env_timer_start(c->p->env, &c->timer, PEER_REFUSED_US);
	if (c->peer)
		c->peer->backoff_us = PEER_BACKOFF_MAX_US;
	peer__say(c->p, "%s %s was refused: %s", c->dialed ? "the server at" : "a connection from", c->address, why);
}

static void was_refused(struct peer_conn *c, const char *data, size_t len)
{
	char why[PEER_REASON_MAX + 1];
	size_t n = len ? MIN(len - 1, (size_t)PEER_REASON_MAX) : 0;
	memcpy(why, data + (len != 0), n);
	why[n] = 0;
	for (char *p = why; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	peer__say(c->p, "the server at %s refused this one: %s", c->address, why);
	c->state = PEER_REFUSED;
	if (c->peer)
		c->peer->backoff_us = PEER_BACKOFF_MAX_US;
	peer_conn__fail(c, "it refused this server");
}

/* Whose certificate is it? 0 with *ret_why when it is no member's. */
static uint64_t who(const struct http_peer *peer, char *ret_why, size_t size)
{
	uint64_t id = peer->cert_given ? peer_tls_name_member(peer->common_name) : 0;
	if (!peer->cert_given)
		snprintf(ret_why, size, "it showed no certificate");
	else if (!peer->cert_verified)
		snprintf(ret_why, size, "its certificate (%.100s) does not verify: %s", peer->common_name,
			 peer->cert_error);
	else if (!id || !peer->organizations[0] || peer->organizations[1] ||
		 !streq(peer->organizations[0], PEER_TLS_ORGANIZATION))
		snprintf(ret_why, size, "its certificate (%.200s) is not that of a server of a cluster",
			 peer->common_name);
	else
		return id;
	return 0;
}

static void say_hello(struct peer_conn *c, uint64_t to)
{
	const struct peer_hello h = {.version_min = PEER_VERSION_MIN,
				     .version_max = PEER_VERSION_MAX,
				     .cluster = c->p->cluster,
				     .from = c->p->member,
				     .to = to};
	uint8_t bytes[PEER_HELLO_SIZE];
	peer_hello_encode(&h, bytes);
	send_frame(c, PEER_FRAME_HELLO, bytes, sizeof(bytes));
}

/* Another one answers where this member was looked for: that is where the other one is, as far as anybody knows. */
static void found_other(const struct peer_conn *c)
{
	const struct peer *other = peer__find(c->p, c->cert_member);
	if (other && other != c->peer && !other->out && !streq(other->heard.text, c->address))
		peer_tls_hint(c->p, other->id, c->address);
}

static void on_open(struct conn *conn)
{
	struct peer_conn *c = CONTAINER_OF(conn, struct peer_conn, conn);
	struct tls_result *t = tls_handshake_result(conn->handshake);
	char why[PEER_REASON_MAX];
	MAGIC_CHECK(c, PEER_CONN_MAGIC);
	c->state = PEER_GREETING;
	c->cert_member = who(&t->peer, why, sizeof(why));
	if (!c->cert_member) {
		refuse(c, PEER_REFUSED_CERT, why);
		return;
	}
	if (!c->dialed)
		return;
	found_other(c);
	if (t->session.len && c->tls == c->p->client) {
		buf_done(&c->peer->session);
		c->peer->session = t->session;
		t->session = BUF_INIT;
	}
	say_hello(c, c->peer->id);
}

/* 0, or why the other side can't be talked to. */
static enum peer_refusal judge(const struct peer_conn *c, const struct peer_hello *h, char *ret_why, size_t size)
{
	const struct peer_tls *p = c->p;
	if (h->version_min > PEER_VERSION_MAX || h->version_max < PEER_VERSION_MIN) {
		snprintf(ret_why, size,
			 "member %016" PRIx64 " speaks versions %u to %u of the peers' protocol, member %016" PRIx64
			 " speaks %u to %u: their programs are too far apart",
			 h->from, h->version_min, h->version_max, p->member, PEER_VERSION_MIN, PEER_VERSION_MAX);
		return PEER_REFUSED_VERSION;
	}
	if (h->cluster != p->cluster) {
		snprintf(ret_why, size,
			 "member %016" PRIx64 " belongs to cluster %016" PRIx64 ", member %016" PRIx64
			 " to cluster %016" PRIx64
			 ": a cluster restored from a copy is a new one, its servers join it with an empty --dir",
			 h->from, h->cluster, p->member, p->cluster);
		return PEER_REFUSED_CLUSTER;
	}
	if (h->to != p->member) {
		snprintf(ret_why, size,
			 "member %016" PRIx64 " looked for member %016" PRIx64 ", but this is member %016" PRIx64
			 ": is its peer address right?",
			 h->from, h->to, p->member);
		return PEER_REFUSED_MEMBER;
	}
	if (h->from != c->cert_member || h->from == p->member) {
		snprintf(ret_why, size,
			 "it says that it is member %016" PRIx64 ", but its certificate is that of member %016" PRIx64
			 "%s",
			 h->from, c->cert_member, h->from == p->member ? ", which is this server itself" : "");
		return PEER_REFUSED_MEMBER;
	}
	if (c->dialed && h->from != c->peer->id) {
		snprintf(ret_why, size,
			 "member %016" PRIx64 " answered where member %016" PRIx64
			 " was expected: is its peer address right?",
			 h->from, c->peer->id);
		return PEER_REFUSED_MEMBER;
	}
	return 0;
}

static bool greeted(struct peer_conn *c, const char *data, size_t len)
{
	struct peer_hello h;
	char why[PEER_REASON_MAX];
	if (peer_hello_decode(data, len, &h)) {
		peer_conn__fail(c, "what it said first is no hello of mini's");
		return false;
	}
	enum peer_refusal code = judge(c, &h, why, sizeof(why));
	struct peer *r = code ? NULL : c->dialed ? c->peer : peer__get(c->p, h.from);
	if (!code && !r) {
		code = PEER_REFUSED_FULL;
		snprintf(why, sizeof(why), "too many servers that are not members are connected");
	}
	if (code) {
		refuse(c, code, why);
		return false;
	}
	if (!c->dialed)
		say_hello(c, h.from);
	uncount(c);
	c->peer = r;
	c->state = PEER_OPEN;
	c->opened_us = c->heard_us = env_now_us(c->p->env);
	env_timer_start(c->p->env, &c->timer, PEER_PING_US);
	peer__opened(r, c);
	return true;
}

/* ---- in ---- */

static void on_pong(struct peer_conn *c, const char *data, size_t len)
{
	uint64_t then, now = env_now_us(c->p->env);
	if (len != sizeof(then))
		return;
	memcpy(&then, data, sizeof(then));
	if (then <= now)
		metric_set(c->peer->m.round_trip, (double)(now - then) / 1e6);
}

static bool on_frame(void *arg, enum peer_frame_type type, const char *data, size_t len)
{
	struct peer_conn *c = arg;
	struct peer_address address;
	switch (type) {
	case PEER_FRAME_HELLO:
		return greeted(c, data, len);
	case PEER_FRAME_REFUSED:
		was_refused(c, data, len);
		return false;
	case PEER_FRAME_PING:
		/* One that only pings and reads nothing gets no answers. */
		if (len <= sizeof(uint64_t) && conn_unsent(&c->conn) < FEED_BYTES)
			send_frame(c, PEER_FRAME_PONG, data, len);
		return true;
	case PEER_FRAME_ADDRESS:
		if (peer_address_decode(data, len, &address) == 0)
			peer__heard(c->p, &address, c);
		return !c->conn.closing;
	default:
		on_pong(c, data, len);
		return true;
	}
}

static bool on_message(void *arg, const void *data, size_t len)
{
	struct peer_conn *c = arg;
	struct store_peer *seam = &c->p->peer;
	metric_inc(c->peer->m.received);
	metric_add(c->peer->m.received_bytes, (double)len);
	if (seam->receive)
		seam->receive(seam->arg, c->peer->id, data, len);
	return c->state == PEER_OPEN && !c->conn.closing;
}

static void on_data(struct conn *conn, const char *data, size_t len)
{
	static const struct peer_stream_ops ops = {.frame = on_frame, .message = on_message};
	struct peer_conn *c = CONTAINER_OF(conn, struct peer_conn, conn);
	const char *why;
	MAGIC_CHECK(c, PEER_CONN_MAGIC);
	if (c->state != PEER_GREETING && c->state != PEER_OPEN)
		return;
	c->heard_us = env_now_us(c->p->env);
	if (peer_stream_feed(&c->in, data, len, &ops, c, &why) && !conn->closing) {
		peer__say(c->p, "the connection to %s is ended: it sent %s", c->address, why);
		peer_conn__fail(c, "what it sent is no message of a server");
	}
}

static const struct conn_ops conn_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_tick = on_tick,
	.on_end = on_end,
	.on_closed = on_closed,
};

/* ---- the beginning, and time ---- */

static void on_timer(struct env_timer *t)
{
	struct peer_conn *c = CONTAINER_OF(t, struct peer_conn, timer);
	MAGIC_CHECK(c, PEER_CONN_MAGIC);
	uint64_t now = env_now_us(c->p->env);
	switch (c->state) {
	case PEER_DIALING:
		peer_conn__fail(c, "no answer");
		return;
	case PEER_SHAKING:
	case PEER_GREETING:
		peer_conn__fail(c, "it did not say in time who it is");
		return;
	case PEER_REFUSED:
		peer_conn__fail(c, "");
		return;
	case PEER_OPEN:
		if (now - c->heard_us > PEER_SILENCE_US) {
			peer_conn__fail(c, "nothing was heard of it for 3 s");
			return;
		}
		if (conn_unsent(&c->conn) < FEED_BYTES)
			send_frame(c, PEER_FRAME_PING, &now, sizeof(now));
		env_timer_start(c->p->env, t, PEER_PING_US);
	}
}

struct peer_conn *peer_conn__new(struct peer_tls *p, bool dialed)
{
	struct peer_conn *c = NEW(struct peer_conn);
	c->magic = PEER_CONN_MAGIC;
	c->p = p;
	c->dialed = dialed;
	c->state = dialed ? PEER_DIALING : PEER_SHAKING;
	c->timer.fn = on_timer;
	list_init(&c->urgent);
	list_init(&c->bulk);
	list_push(&p->conns, &c->node);
	p->n_conns++;
	MUST(conn_init(&c->conn, &p->group, false, &conn_ops) == 0);
	return c;
}

/* Failures of these are no reason to do without the connection. */
static void set_options(struct peer_conn *c)
{
	int fd, timeout_ms = PEER_SILENCE_US / 1000, lowat = FEED_BYTES;
	uv_tcp_keepalive(&c->conn.u.tcp, 1, KEEPALIVE_S);
	if (uv_fileno(&c->conn.u.handle, &fd))
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	/* Megabytes in the socket's own buffer would be in front of every heartbeat. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

void peer_conn__start(struct peer_conn *c)
{
	c->state = PEER_SHAKING;
	set_options(c);
	env_timer_start(c->p->env, &c->timer, PEER_HELLO_US);
	c->tls = tls_context_ref(c->dialed ? c->p->client : c->p->server);
	conn_start(&c->conn, c->tls, NULL, c->dialed ? &c->peer->session : NULL);
}

static void describe_address(struct peer_conn *c)
{
	struct sockaddr_storage addr;
	int len = sizeof(addr);
	snprintf(c->address, sizeof(c->address), "?");
	if (uv_tcp_getpeername(&c->conn.u.tcp, (struct sockaddr *)&addr, &len))
		return;
	if (addr.ss_family == AF_INET6)
		uv_ip6_name((struct sockaddr_in6 *)&addr, c->address, sizeof(c->address));
	else
		uv_ip4_name((struct sockaddr_in *)&addr, c->address, sizeof(c->address));
}

/* A stranger that opens many connections pushes out its own first. */
static void make_room(struct peer_conn *newcomer)
{
	struct peer_conn *oldest = NULL, *oldest_here = NULL;
	unsigned here = 0;
	LIST_EACH (&newcomer->p->conns, c, struct peer_conn, node) {
		if (!c->counted)
			continue;
		oldest = oldest ? oldest : c;
		if (streq(c->address, newcomer->address)) {
			oldest_here = oldest_here ? oldest_here : c;
			here++;
		}
	}
	if (here >= PEER_PENDING_PER_ADDRESS)
		peer_conn__close(oldest_here);
	else if (oldest && newcomer->p->n_pending >= PEER_PENDING_MAX)
		peer_conn__close(oldest);
}

void peer_conn__accept(struct peer_tls *p)
{
	struct peer_conn *c = peer_conn__new(p, false);
	if (uv_accept((uv_stream_t *)&p->listener, &c->conn.u.stream)) {
		peer_conn__close(c);
		return;
	}
	describe_address(c);
	make_room(c);
	c->counted = true;
	p->n_pending++;
	peer_conn__start(c);
}
