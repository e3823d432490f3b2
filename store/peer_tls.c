/* Members by key: who is dialed when, over which connection a message goes, and what is reported. */
#include "store/peer_tls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "lib/core/log.h"
#include "lib/net/pki.h"
#include "store/peer_tls_internal.h"

enum { PEER_TLS_MAGIC = 0x50544c53, BACKLOG = 128 };

static struct metric_family family_sent_bytes = {.name = "mini_peer_sent_bytes_total",
						 .help = "Bytes of messages queued for a member.",
						 .type = METRIC_COUNTER,
						 .label_names = {"member"}};
static struct metric_family family_sent = {.name = "mini_peer_sent_messages_total",
					   .help = "Messages queued for a member.",
					   .type = METRIC_COUNTER,
					   .label_names = {"member"}};
static struct metric_family family_received_bytes = {.name = "mini_peer_received_bytes_total",
						     .help = "Bytes of messages from a member.",
						     .type = METRIC_COUNTER,
						     .label_names = {"member"}};
static struct metric_family family_received = {.name = "mini_peer_received_messages_total",
					       .help = "Messages from a member.",
					       .type = METRIC_COUNTER,
					       .label_names = {"member"}};
static struct metric_family family_dropped = {.name = "mini_peer_dropped_messages_total",
					      .help = "Messages dropped: no connection, or too much waited already.",
					      .type = METRIC_COUNTER,
					      .label_names = {"member"}};
static struct metric_family family_connects = {.name = "mini_peer_connects_total",
					       .help = "Connections to or from a member that came about.",
					       .type = METRIC_COUNTER,
					       .label_names = {"member"}};
static struct metric_family family_connected = {.name = "mini_peer_connected",
						.help = "1 while there is a connection to the member.",
						.type = METRIC_GAUGE,
						.label_names = {"member"}};
static struct metric_family family_round_trip = {.name = "mini_peer_round_trip_seconds",
						 .help = "The last ping's way there and back.",
						 .type = METRIC_GAUGE,
						 .label_names = {"member"}};

void peer_tls_name(uint64_t member, char ret[PEER_TLS_NAME_MAX])
{
	snprintf(ret, PEER_TLS_NAME_MAX, PEER_TLS_NAME_PREFIX "%016" PRIx64, member);
}

uint64_t peer_tls_name_member(const char *common_name)
{
	char again[PEER_TLS_NAME_MAX];
	if (!str_starts(common_name, PEER_TLS_NAME_PREFIX))
		return 0;
	uint64_t id = strtoull(common_name + strlen(PEER_TLS_NAME_PREFIX), NULL, 16);
	peer_tls_name(id, again);
	return streq(again, common_name) ? id : 0;
}

void peer__say(struct peer_tls *p, const char *format, ...)
{
	char text[640];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	uint64_t hash = hash64(text, strlen(text)), now = env_now_us(p->env);
	struct peer_said *room = NULL;
	for (struct peer_said *s = p->said; s < p->said + PEER_SAID_MAX; s++) {
		if (s->until_us > now && s->hash == hash)
			return;
		if (s->until_us <= now)
			room = s;
	}
	if (!room)
		return; /* so many different ones are somebody's doing */
	*room = (struct peer_said){.hash = hash, .until_us = now + PEER_SAID_US};
	log_warn("peer", "%s", text);
}

/* ---- members ---- */

struct peer *peer__find(struct peer_tls *p, uint64_t id)
{
	LIST_EACH (&p->peers, r, struct peer, node)
		if (r->id == id)
			return r;
	return NULL;
}

static void on_retry(struct env_timer *t)
{
	struct peer *r = CONTAINER_OF(t, struct peer, retry);
	if (!r->dialing)
		peer__dial(r);
}

static void on_forget(struct env_timer *t)
{
	struct peer *r = CONTAINER_OF(t, struct peer, forget);
	struct peer_conn *conns[] = {STEAL(r->dialing), STEAL(r->out), STEAL(r->in)};
	for (unsigned i = 0; i < ARRAY_LEN(conns); i++)
		if (conns[i])
			peer_conn__close(conns[i]);
	metric_set(r->m.connected, 0);
	peer__maybe_forget(r);
}

static void init_metrics(struct peer *r)
{
	char id[17];
	snprintf(id, sizeof(id), "%016" PRIx64, r->id);
	r->m = (struct peer_metrics){
		.sent_bytes = metric_get(&family_sent_bytes, id, NULL),
		.sent = metric_get(&family_sent, id, NULL),
		.received_bytes = metric_get(&family_received_bytes, id, NULL),
		.received = metric_get(&family_received, id, NULL),
		.dropped = metric_get(&family_dropped, id, NULL),
		.connects = metric_get(&family_connects, id, NULL),
		.connected = metric_get(&family_connected, id, NULL),
		.round_trip = metric_get(&family_round_trip, id, NULL),
	};
}

static struct peer *peer_new(struct peer_tls *p, uint64_t id)
{
	struct peer *r = NEW(struct peer);
	r->p = p;
	r->id = id;
	r->backoff_us = PEER_BACKOFF_MIN_US;
	r->retry.fn = on_retry;
	r->forget.fn = on_forget;
	init_metrics(r);
	list_push(&p->peers, &r->node);
	return r;
}

struct peer *peer__get(struct peer_tls *p, uint64_t id)
{
	struct peer *r = peer__find(p, id);
	unsigned strangers = 0;
	if (r)
		return r;
	LIST_EACH (&p->peers, at, struct peer, node)
		strangers += !at->member;
	return strangers < PEER_STRANGERS_MAX ? peer_new(p, id) : NULL;
}

static void peer_free(struct peer *r)
{
	env_timer_stop(r->p->env, &r->retry);
	env_timer_stop(r->p->env, &r->forget);
	list_del(&r->node);
	buf_done(&r->session);
	free(r);
}

void peer__maybe_forget(struct peer *r)
{
	if (!r->member && !r->dialing && !r->out && !r->in)
		peer_free(r);
}

static void set_address(struct peer *r, const char *address)
{
	if (streq(r->address, address))
		return;
	snprintf(r->address, sizeof(r->address), "%s", address);
	if (r->dialing && streq(r->dialing->address, address))
		return;
	/* Who moved is looked for where it is now, also while the old connection seems to live. */
	if (r->dialing)
		peer_conn__close(STEAL(r->dialing));
	env_timer_stop(r->p->env, &r->retry);
	r->backoff_us = PEER_BACKOFF_MIN_US;
	r->tries = 0;
	if (*address && r->p->started)
		env_timer_start(r->p->env, &r->retry, 0); /* also while there is a connection */
}

static void drop_absent(struct peer_tls *p, const struct store_member *members, size_t n)
{
	LIST_EACH (&p->peers, r, struct peer, node) {
		bool there = !r->member;
		for (size_t i = 0; i < n && !there; i++)
			there = members[i].id == r->id;
		if (there)
			continue;
		r->member = false;
		set_address(r, "");
		env_timer_start(p->env, &r->forget, PEER_FORGET_US);
		peer__maybe_forget(r);
	}
}

static void op_members(struct store_peer *peer, const struct store_member *members, size_t n)
{
	struct peer_tls *p = CONTAINER_OF(peer, struct peer_tls, peer);
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	if (p->closing)
		return;
	drop_absent(p, members, n);
	for (size_t i = 0; i < n; i++) {
		const struct store_member *m = &members[i];
		if (m->id == p->member || m->id == 0)
			continue;
		struct peer *r = peer__find(p, m->id);
		if (!r)
			r = peer_new(p, m->id);
		r->member = true;
		env_timer_stop(p->env, &r->forget);
		memcpy(r->name, m->name, sizeof(r->name));
		set_address(r, m->peer);
		if (!r->out && !env_timer_active(&r->retry))
			peer__dial_soon(r, true); /* it may have said itself where it is */
	}
}

void peer_tls_hint(struct peer_tls *p, uint64_t member, const char *address)
{
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	struct peer *r = member && member != p->member && *address ? peer__get(p, member) : NULL;
	if (!r || r->heard.version)
		return;
	r->heard.id = member;
	snprintf(r->heard.text, sizeof(r->heard.text), "%s", address);
	peer__dial_soon(r, true);
}

/* ---- connections come and go ---- */

void peer__dial_soon(struct peer *r, bool now)
{
	struct env *env = r->p->env;
	bool known = r->member && (*r->address || *r->heard.text);
	if (!known || r->dialing || r->out || r->p->closing || !r->p->started)
		return;
	if (now) {
		r->backoff_us = PEER_BACKOFF_MIN_US;
		env_timer_start(env, &r->retry, 0);
	} else if (!env_timer_active(&r->retry)) {
		env_timer_start(env, &r->retry, r->backoff_us / 2 + env_random_below(env, r->backoff_us / 2 + 1));
		r->backoff_us = MIN(2 * r->backoff_us, (uint64_t)PEER_BACKOFF_MAX_US);
	}
}

static void on_report(struct env_post *post)
{
	struct peer_tls *p = CONTAINER_OF(post, struct peer_tls, report);
	for (bool again = true; again && !p->closing;) {
		again = false;
		LIST_EACH (&p->peers, r, struct peer, node) {
			if (!r->lost)
				continue;
			r->lost = false;
			if (p->peer.unreachable)
				p->peer.unreachable(p->peer.arg, r->id);
			again = true; /* it may have changed the list */
			break;
		}
	}
}

void peer__lost(struct peer *r)
{
	r->lost = true;
	env_post(r->p->env, &r->p->report);
}

/* ---- who is where ---- */

static void tell_all(struct peer_tls *p, const struct peer_address *a, const struct peer_conn *but)
{
	LIST_EACH (&p->conns, c, struct peer_conn, node)
		if (c->state == PEER_OPEN && c != but && c->peer)
			peer_conn__send_address(c, a);
}

/* Its own, too, as it was heard here: one whose clock went back must know what to surpass. */
static void tell_addresses(struct peer_conn *c)
{
	if (c->p->own.version)
		peer_conn__send_address(c, &c->p->own);
	LIST_EACH (&c->p->peers, r, struct peer, node)
		if (r->heard.version)
			peer_conn__send_address(c, &r->heard);
}

void peer__heard(struct peer_tls *p, const struct peer_address *a, struct peer_conn *from)
{
	if (a->id == p->member) {
		bool wrong = p->own.version && a->version >= p->own.version && !streq(a->text, p->own.text);
		if (!wrong || a->version == UINT64_MAX)
			return;
		p->own.version = a->version + 1;
		tell_all(p, &p->own, NULL);
		return;
	}
	struct peer *r = peer__find(p, a->id);
	if (!r || a->version <= r->heard.version)
		return;
	bool moved = !streq(a->text, r->heard.text);
	r->heard = *a;
	tell_all(p, a, from);
	if (!moved || r->out || (r->dialing && streq(r->dialing->address, a->text)))
		return;
	r->tries = 0;
	if (r->dialing)
		peer_conn__close(STEAL(r->dialing));
	peer__dial_soon(r, true);
}

void peer__opened(struct peer *r, struct peer_conn *c)
{
	struct peer_conn *old;
	bool was_connected = r->out || r->in;
	if (c->dialed) {
		r->dialing = NULL;
		old = r->out;
		r->out = c;
	} else {
		old = r->in;
		r->in = c;
	}
	if (old)
		peer_conn__close(old);
	r->tries = 0;
	metric_inc(r->m.connects);
	if (!was_connected)
		log_info("peer", "member %016" PRIx64 " is connected name=%s address=%s", r->id,
			 *r->name ? r->name : "-", c->address);
	r->told = 0;
	metric_set(r->m.connected, 1);
	tell_addresses(c);
	if (!c->dialed)
		peer__dial_soon(r, true);
}

void peer__ended(struct peer *r, struct peer_conn *c, const char *why)
{
	bool was_open = c == r->out || c == r->in;
	if (c == r->dialing)
		r->dialing = NULL;
	if (c == r->out)
		r->out = NULL;
	if (c == r->in)
		r->in = NULL;
	if (c->dialed && was_open && env_now_us(r->p->env) - c->opened_us > PEER_STABLE_US)
		r->backoff_us = PEER_BACKOFF_MIN_US;
	if (!r->out && !r->in) {
		uint64_t told = why ? hash64(why, strlen(why)) : r->told;
		metric_set(r->m.connected, 0);
		if (told != r->told)
			log_warn("peer", "member %016" PRIx64 " cannot be reached: %s name=%s address=%s", r->id, why,
				 *r->name ? r->name : "-", *r->address ? r->address : c->address);
		r->told = told;
		peer__lost(r);
	}
	if (c->dialed || !r->out)
		peer__dial_soon(r, false);
	peer__maybe_forget(r);
}

/* ---- messages ---- */

/* The own one, unless it has gone quiet while the other has not. */
static struct peer_conn *way_to(const struct peer *r)
{
	if (!r->out || !r->in)
		return r->out ? r->out : r->in;
	bool quiet = env_now_us(r->p->env) - r->out->heard_us > PEER_QUIET_US;
	return quiet && r->in->heard_us > r->out->heard_us ? r->in : r->out;
}

static void op_send(struct store_peer *peer, uint64_t to, const void *data, size_t len)
{
	struct peer_tls *p = CONTAINER_OF(peer, struct peer_tls, peer);
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	struct peer *r = p->closing ? NULL : peer__find(p, to);
	if (!r || len == 0 || len > STORE_PEER_MESSAGE_MAX)
		return;
	struct peer_conn *c = way_to(r);
	if (!c) {
		metric_inc(r->m.dropped); /* that nobody is there was reported when it began */
	} else if (!peer_conn__send(c, data, len)) {
		metric_inc(r->m.dropped);
		peer__lost(r);
	} else {
		metric_inc(r->m.sent);
		metric_add(r->m.sent_bytes, (double)len);
	}
}

static const struct store_peer_ops peer_ops = {.send = op_send, .members = op_members};

bool peer_tls_connected(const struct peer_tls *p, uint64_t member)
{
	LIST_EACH (&p->peers, r, struct peer, node)
		if (r->id == member)
			return r->out || r->in;
	return false;
}

/* ---- start and end ---- */

static void group_closed(struct conn_group *g)
{
	struct peer_tls *p = CONTAINER_OF(g, struct peer_tls, group);
	void (*done)(void *arg) = p->done;
	void *arg = p->done_arg;
	tls_context_unref(p->server);
	tls_context_unref(p->client);
	p->magic = 0;
	free(p);
	if (done)
		done(arg);
}

static void maybe_closed(struct peer_tls *p)
{
	if (!p->closing || p->n_conns || p->listening || p->group_closing)
		return;
	p->group_closing = true;
	LIST_EACH (&p->peers, r, struct peer, node)
		peer_free(r);
	conn_group_close(&p->group);
}

void peer__conn_gone(struct peer_tls *p)
{
	p->n_conns--;
	maybe_closed(p);
}

struct peer_tls *peer_tls_new(struct env *env, uv_loop_t *loop)
{
	struct peer_tls *p = NEW(struct peer_tls);
	p->magic = PEER_TLS_MAGIC;
	p->peer.ops = &peer_ops;
	p->env = env;
	p->report.fn = on_report;
	list_init(&p->report.node);
	list_init(&p->peers);
	list_init(&p->conns);
	conn_group_init(&p->group, env, loop, group_closed);
	return p;
}

struct store_peer *peer_tls_peer(struct peer_tls *p)
{
	return &p->peer;
}

uint16_t peer_tls_port(const struct peer_tls *p)
{
	return p->port;
}

static int check_cert(const char *cert_pem, uint64_t member, struct err *err)
{
	_cleanup_(pki_cert_info_done) struct pki_cert_info info = {0};
	char name[PEER_TLS_NAME_MAX];
	int rc = pki_cert_info(cert_pem, &info, err);
	if (rc)
		return err_prefix(err, "the certificate for peers");
	peer_tls_name(member, name);
	if (!streq(info.common_name, name) || info.n_organizations != 1 ||
	    !streq(info.organizations[0], PEER_TLS_ORGANIZATION))
		return err_set(err, -EINVAL,
			       "the certificate for peers is of \"%s\", but this member's must be of \"%s\" in %s",
			       info.common_name, name, PEER_TLS_ORGANIZATION);
	return 0;
}

static int set_cert(struct peer_tls *p, uint64_t member, const char *cert_pem, const char *key_pem, const char *ca_pem,
		    struct err *err)
{
	struct tls_context *server = NULL, *client = NULL;
	if (!cert_pem || !key_pem || !ca_pem)
		return err_set(err, -EINVAL, "peers need a certificate, its key and the cluster's CA");
	int rc = check_cert(cert_pem, member, err);
	if (!rc)
		rc = tls_server_context(cert_pem, key_pem, ca_pem, &server, err);
	if (!rc)
		rc = tls_client_context(ca_pem, cert_pem, key_pem, false, &client, err);
	if (rc) {
		tls_context_unref(server);
		return rc;
	}
	tls_context_unref(p->server);
	tls_context_unref(p->client);
	p->server = server;
	p->client = client;
	LIST_EACH (&p->peers, r, struct peer, node)
		buf_done(&r->session);
	return 0;
}

int peer_tls_set_cert(struct peer_tls *p, const char *cert_pem, const char *key_pem, const char *ca_pem,
		      struct err *err)
{
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	MUST(p->started && !p->closing);
	return set_cert(p, p->member, cert_pem, key_pem, ca_pem, err);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct peer_tls *p = CONTAINER_OF(stream, struct peer_tls, listener);
	if (status == 0 && !p->closing)
		peer_conn__accept(p);
}

static void listener_closed(uv_handle_t *h)
{
	struct peer_tls *p = CONTAINER_OF(h, struct peer_tls, listener);
	p->listening = false;
	maybe_closed(p);
}

static int start_listening(struct peer_tls *p, const char *listen, struct err *err)
{
	char host[STORE_ADDRESS_MAX + 1];
	struct sockaddr_storage addr = {0};
	uint16_t port;
	int len = sizeof(addr);
	if (peer__split_address(listen, host, &port) || (uv_ip4_addr(host, port, (struct sockaddr_in *)&addr) &&
							 uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr)))
		return err_set(err, -EINVAL, "not an address and port to listen on for peers: %s", listen);
	if (p->listening)
		return err_set(err, -EBUSY, "the last try to listen for peers is not undone yet");
	MUST(uv_tcp_init(p->group.loop, &p->listener) == 0);
	p->listening = true;
	int rc = uv_tcp_bind(&p->listener, (struct sockaddr *)&addr, 0);
	if (!rc)
		rc = uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_connection);
	if (!rc)
		rc = uv_tcp_getsockname(&p->listener, (struct sockaddr *)&addr, &len);
	if (rc) {
		uv_close((uv_handle_t *)&p->listener, listener_closed);
		return err_set(err, rc, "cannot listen on %s for peers: %s", listen, uv_strerror(rc));
	}
	p->port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
						   : ((struct sockaddr_in *)&addr)->sin_port);
	return 0;
}

int peer_tls_start(struct peer_tls *p, const struct peer_tls_config *config, struct err *err)
{
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	MUST(!p->started && !p->closing);
	if (!config->member || !config->cluster)
		return err_set(err, -EINVAL, "peers need the ids of the cluster and of this member");
	int rc = set_cert(p, config->member, config->cert_pem, config->key_pem, config->ca_pem, err);
	if (!rc && config->listen)
		rc = start_listening(p, config->listen, err);
	if (rc)
		return rc;
	p->cluster = config->cluster;
	p->member = config->member;
	p->started = true;
	if (config->advertise) {
		p->own = (struct peer_address){.id = p->member, .version = (uint64_t)env_wall_us(p->env)};
		snprintf(p->own.text, sizeof(p->own.text), "%s", config->advertise);
	}
	struct peer *self = peer__find(p, p->member);
	if (self) /* named before it was known which one this is */
		peer_free(self);
	LIST_EACH (&p->peers, r, struct peer, node)
		peer__dial_soon(r, true);
	return 0;
}

void peer_tls_close(struct peer_tls *p, void (*done)(void *arg), void *arg)
{
	MAGIC_CHECK(p, PEER_TLS_MAGIC);
	MUST(!p->closing);
	p->closing = true;
	p->done = done;
	p->done_arg = arg;
	env_post_cancel(p->env, &p->report);
	LIST_EACH (&p->peers, r, struct peer, node) {
		env_timer_stop(p->env, &r->retry);
		env_timer_stop(p->env, &r->forget);
	}
	LIST_EACH (&p->conns, c, struct peer_conn, node)
		peer_conn__close(c);
	if (p->listening && !uv_is_closing((uv_handle_t *)&p->listener))
		uv_close((uv_handle_t *)&p->listener, listener_closed);
	maybe_closed(p);
}
