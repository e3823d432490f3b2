/* A watch of etcd over the whole prefix: opened, read, put together again by revision, resumed. */
#include <errno.h>
#include <inttypes.h>

#include "store/etcd_internal.h"

#define REST_US 300000u

static void check_done(struct etcd_call *c, const struct err *err);
static void stream_open(struct etcd_feed *f);

static void drop_events(struct store_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free((char *)events[i].kv.key);
		blob_unref(events[i].kv.value);
		blob_unref(events[i].prev.value);
	}
}

static void drop_held(struct etcd_feed *f)
{
	drop_events(f->held, f->n_held);
	f->n_held = 0;
}

static void on_timer(struct env_timer *t)
{
	struct etcd_feed *f = CONTAINER_OF(t, struct etcd_feed, timer);
	etcd_feed_start(f, f->latest);
}

void etcd_feed_init(struct etcd_feed *f, struct etcd *e)
{
	*f = (struct etcd_feed){.e = e, .timer = {.fn = on_timer}};
	etcd_call_init(&f->check, e, "/v3/kv/range");
	f->check.early = true;
	f->check.done = check_done;
	etcd_msg_init(&f->msg, e->prefix);
}

void etcd_feed_stop(struct etcd_feed *f)
{
	env_timer_stop(f->e->env, &f->timer);
	etcd_call_stop(&f->check);
	http_call_cancel(STEAL(f->http));
	drop_held(f);
	f->state = FEED_IDLE;
}

void etcd_feed_done(struct etcd_feed *f)
{
	etcd_feed_stop(f);
	etcd_call_done(&f->check);
	etcd_msg_done(&f->msg);
	free(f->held);
	f->held = NULL;
}

static void rest(struct etcd_feed *f)
{
	etcd_feed_stop(f);
	f->state = FEED_RESTING;
	env_timer_start(f->e->env, &f->timer, REST_US);
}

/* The revision before the first one wanted must still be there: etcd itself would begin at the one it compacted to, and
 * leave out what was deleted with it. */
void etcd_feed_start(struct etcd_feed *f, bool latest)
{
	struct buf *b = &f->check.body;
	etcd_feed_stop(f);
	f->state = FEED_CHECKING;
	f->latest = latest;
	buf_clear(b);
	buf_addc(b, '{');
	etcd_add_key(b, f->e, "key", "");
	if (!latest)
		etcd_add_number(b, "revision", MAX(f->pos, 1));
	buf_adds(b, "\"count_only\":true}");
	etcd_call_begin(&f->check);
}

static void check_done(struct etcd_call *c, const struct err *err)
{
	struct etcd_feed *f = CONTAINER_OF(c, struct etcd_feed, check);
	struct err ok = ERR_INIT;
	if (!err->code) {
		f->on_checked(f, &ok, c->msg.rev);
		if (f->state == FEED_CHECKING) {
			f->server = f->e->current;
			stream_open(f);
		}
	} else if (err->code == -ESTALE || err->code == -ERANGE) {
		f->state = FEED_IDLE;
		f->on_checked(f, err, 0);
	} else {
		rest(f);
	}
}

/* ---- the stream ---- */

static struct store_event *new_event(struct etcd_feed *f)
{
	GROW(f->held, f->cap_held, f->n_held + 1);
	struct store_event *ev = &f->held[f->n_held++];
	*ev = (struct store_event){0};
	return ev;
}

/* What the message holds moves to `held`, one event for each key with what was there before. */
static void hold(struct etcd_feed *f)
{
	struct etcd_msg *m = &f->msg;
	struct store_event *ev = NULL;
	unsigned n = 0;
	for (size_t i = 0; i < m->n_items; i++) {
		struct etcd_item *it = &m->items[i];
		struct blob *value = STEAL(it->kv.value);
		if (it->role == ETCD_PREV && ev && it->n == n) {
			const char *key = ev->kv.key;
			ev->prev = it->kv;
			ev->prev.key = key;
			ev->prev.value = value ? value : blob_new("", 0);
			continue;
		}
		if (it->role == ETCD_PREV || it->kv.mod_rev <= f->pos) {
			blob_unref(value);
			continue;
		}
		ev = new_event(f);
		n = it->n;
		ev->type = it->deleted ? STORE_EVENT_DELETE : STORE_EVENT_PUT;
		ev->kv = it->kv;
		ev->prev.key = ev->kv.key;
		it->kv.key = NULL;
		if (it->deleted)
			blob_unref(value);
		else
			ev->kv.value = value ? value : blob_new("", 0);
	}
}

/* All whole revisions go to the taker. Of a fragment the last one may not be whole. */
static void hand_over(struct etcd_feed *f, bool fragment)
{
	size_t i = 0;
	while (i < f->n_held) {
		uint64_t rev = f->held[i].kv.mod_rev;
		size_t n = 1;
		while (i + n < f->n_held && f->held[i + n].kv.mod_rev == rev)
			n++;
		if (fragment && i + n == f->n_held)
			break;
		f->pos = rev;
		f->on_rev(f, rev, f->held + i, n);
		i += n;
	}
	memmove(f->held, f->held + i, (f->n_held - i) * sizeof(*f->held));
	f->n_held -= i;
}

/* False: the stream is of no further use. */
static bool take(struct etcd_feed *f)
{
	struct etcd_msg *m = &f->msg;
	f->silent = false;
	if (m->error_code || m->canceled)
		return false;
	if (m->n_items) {
		hold(f);
		hand_over(f, m->fragment);
	} else if (!m->created && !m->fragment && !f->n_held && m->rev > f->pos) {
		f->pos = m->rev; /* progress: etcd says so only of a watch that has seen everything */
		f->on_rev(f, m->rev, NULL, 0);
	}
	return true;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct etcd_feed *f = arg;
	const char *p = data;
	while (len) {
		ssize_t n = etcd_msg_feed(&f->msg, p, len);
		bool good = n >= 0 && (!f->msg.whole || take(f));
		if (f->state != FEED_STREAMING)
			return; /* the taker has stopped it */
		if (!good) {
			rest(f); /* cut off here: no callback follows */
			return;
		}
		if (f->msg.whole)
			etcd_msg_clear(&f->msg);
		p += n;
		len -= (size_t)n;
	}
}

void etcd_feed_broken(struct etcd_feed *f)
{
	struct etcd *e = f->e;
	if (e->current == f->server)
		e->current = (f->server + 1) % e->n_servers;
	rest(f);
}

static void on_done(void *arg, _unused_ const struct err *err)
{
	struct etcd_feed *f = arg;
	f->http = NULL;
	etcd_feed_broken(f);
}

static void stream_open(struct etcd_feed *f)
{
	static const struct http_call_ops ops = {.on_body = on_body, .on_done = on_done};
	static const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_adds(&b, "{\"create_request\":{");
	etcd_add_key(&b, f->e, "key", "");
	etcd_add_end(&b, f->e, "");
	etcd_add_number(&b, "start_revision", f->pos + 1);
	buf_adds(&b, "\"prev_kv\":true,\"fragment\":true,\"progress_notify\":true}}");
	etcd_msg_done(&f->msg);
	etcd_msg_init(&f->msg, f->e->prefix);
	f->state = FEED_STREAMING;
	f->silent = false;
	f->http = http_call(f->e->servers[f->server].streams, "POST", "/v3/watch", headers, b.data, b.len, 0, &ops, f);
}
