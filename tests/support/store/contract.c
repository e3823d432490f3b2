#include "tests/support/store/contract.h"

#include <inttypes.h>
#include <signal.h>

#include "lib/core/file.h"
#include "store/etcd.h"

void ct_init(struct ct *c, bool etcd)
{
	*c = (struct ct){.etcd = etcd};
	signal(SIGPIPE, SIG_IGN);
	if (etcd)
		etcd_server_init(&c->server, true);
	snprintf(c->dir, sizeof(c->dir), "/tmp/mini-contract-XXXXXX");
	MUST(mkdtemp(c->dir));
	uv_loop_init(&c->loop);
	c->env = env_uv_new(&c->loop);
}

void ct_open(struct ct *c)
{
	struct err err = ERR_INIT;
	struct store_config sc = {.dir = c->dir, .read_back = true};
	struct store_etcd_config ec = {.servers = c->server.url,
				       .ca_pem = c->server.ca.cert_pem,
				       .cert_pem = c->server.cert.cert_pem,
				       .key_pem = c->server.cert.key_pem};
	int rc = c->etcd ? store_etcd_open(c->env, &c->loop, &ec, &c->store, &err)
			 : store_open(c->env, &sc, &c->store, &err);
	if (rc)
		fprintf(stderr, "# open: %s\n", err.message);
	MUST(rc == 0);
	snprintf(c->key, sizeof(c->key), "t%u/", ++c->tests);
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

void ct_close(struct ct *c)
{
	bool closed = false;
	if (!c->store)
		return;
	struct store *s = STEAL(c->store);
	s->engine->close(s, set_true, &closed);
	MUST(!closed);
	ct_await(c, &closed);
}

void ct_done(struct ct *c)
{
	ct_close(c);
	env_uv_free(c->env);
	while (uv_loop_close(&c->loop) == UV_EBUSY)
		uv_run(&c->loop, UV_RUN_ONCE);
	if (c->etcd)
		etcd_server_done(&c->server);
	rm_rf(c->dir, NULL);
}

struct limit {
	struct env_timer timer;
	bool over;
};

static void on_limit(struct env_timer *t)
{
	CONTAINER_OF(t, struct limit, timer)->over = true;
}

static void await(struct ct *c, const bool *done, unsigned ms, bool must)
{
	struct limit l = {.timer = {.fn = on_limit}};
	env_timer_start(c->env, &l.timer, (uint64_t)ms * 1000);
	while (!l.over && !(done && *done))
		uv_run(&c->loop, UV_RUN_ONCE);
	env_timer_stop(c->env, &l.timer);
	MUST(!must || (done && *done));
}

void ct_await(struct ct *c, const bool *done)
{
	await(c, done, 60000, true);
}

void ct_run_for(struct ct *c, unsigned ms)
{
	await(c, NULL, ms, false);
}

const char *ct_key(const struct ct *c, const char *name)
{
	static char keys[16][64];
	static unsigned at;
	char *key = keys[at++ % 16];
	snprintf(key, sizeof(keys[0]), "%s%s", c->key, name);
	return key;
}

static void free_kvs(struct ct_kv *kvs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(kvs[i].key);
		free(kvs[i].value);
	}
	free(kvs);
}

void ct_answer_done(struct ct_answer *a)
{
	free_kvs(a->kvs, a->n_kvs);
	free_kvs(a->prev, a->n_prev);
	err_done(&a->err);
	*a = (struct ct_answer){0};
}

static void take(struct ct_answer *a, const struct err *err)
{
	a->calls++;
	a->done = true;
	if (err)
		err_copy(&a->err, err);
}

static struct ct_kv *copy(const struct store_kv *kvs, size_t n)
{
	struct ct_kv *r = NEW_N(struct ct_kv, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct store_kv *kv = &kvs[i];
		r[i] = (struct ct_kv){.key = xstrdup(kv->key),
				      .create_rev = kv->create_rev,
				      .mod_rev = kv->mod_rev,
				      .version = kv->version,
				      .lease = kv->lease};
		if (!kv->value)
			continue;
		r[i].len = kv->value->len;
		r[i].value = xmalloc(r[i].len + 1);
		memcpy(r[i].value, kv->value->data, r[i].len);
		r[i].value[r[i].len] = '\0';
	}
	return r;
}

void ct_on_txn(void *arg, const struct err *err, const struct store_txn_resp *r)
{
	struct ct_answer *a = arg;
	take(a, err);
	if (!r)
		return;
	a->succeeded = r->succeeded;
	a->rev = r->rev;
	a->kvs = copy(r->got, a->n_kvs = r->n_got);
	a->prev = copy(r->prev, a->n_prev = r->n_prev);
}

void ct_on_range(void *arg, const struct err *err, const struct store_range_resp *r)
{
	struct ct_answer *a = arg;
	take(a, err);
	if (!r)
		return;
	a->rev = r->rev;
	a->count = r->count;
	a->more = r->more;
	a->kvs = copy(r->kvs, a->n_kvs = r->n_kvs);
}

void ct_on_number(void *arg, const struct err *err, uint64_t value)
{
	struct ct_answer *a = arg;
	take(a, err);
	a->number = value;
}

void ct_on_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct ct_answer *a = arg;
	take(a, err);
	if (st)
		a->status = *st;
}

static struct ct_answer answer;

static const struct ct_answer *answered(struct ct *c)
{
	MUST(!answer.done); /* never inside the call */
	ct_await(c, &answer.done);
	MUST(answer.calls == 1);
	return &answer;
}

const struct ct_answer *ct_txn(struct ct *c, const struct store_txn_req *req)
{
	ct_answer_done(&answer);
	store_txn(c->store, req, ct_on_txn, &answer);
	return answered(c);
}

const struct ct_answer *ct_put(struct ct *c, const char *key, const char *value)
{
	_cleanup_blob_ struct blob *b = blob_new(value, strlen(value));
	struct store_op op = {.type = STORE_PUT, .key = key, .value = b};
	return ct_txn(c, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
}

const struct ct_answer *ct_delete(struct ct *c, const char *key)
{
	struct store_op op = {.type = STORE_DELETE, .key = key};
	return ct_txn(c, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
}

const struct ct_answer *ct_range(struct ct *c, const struct store_range_req *req)
{
	ct_answer_done(&answer);
	store_range(c->store, req, ct_on_range, &answer);
	return answered(c);
}

const struct ct_answer *ct_get(struct ct *c, const char *key, uint64_t rev)
{
	return ct_range(c, &(struct store_range_req){.key = key, .rev = rev});
}

const struct ct_answer *ct_compact(struct ct *c, uint64_t rev)
{
	return ct_lease(c, c->store->engine->compact, rev);
}

const struct ct_answer *ct_lease(struct ct *c, void (*call)(struct store *, uint64_t, store_rev_cb, void *),
				 uint64_t number)
{
	ct_answer_done(&answer);
	call(c->store, number, ct_on_number, &answer);
	return answered(c);
}

const struct ct_answer *ct_status(struct ct *c)
{
	ct_answer_done(&answer);
	c->store->engine->status(c->store, ct_on_status, &answer);
	return answered(c);
}

uint64_t ct_rev(struct ct *c)
{
	return ct_get(c, "none", 0)->rev;
}

/* ---- watches ---- */

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	struct ct_watch *w = arg;
	size_t skip = strlen(w->c->key);
	MUST(rev > w->last_rev && rev > w->progress && n > 0 && !w->ended && w->watch);
	w->last_rev = rev;
	buf_addf(&w->log, "%" PRId64 ":", (int64_t)(rev - w->base));
	for (size_t i = 0; i < n; i++) {
		const struct store_event *e = &events[i];
		MUST(e->kv.mod_rev == rev && strlen(e->kv.key) >= skip);
		MUST(e->type == STORE_EVENT_PUT ? e->kv.value != NULL : !e->kv.value);
		const char *key = e->kv.key + skip;
		if (e->type == STORE_EVENT_PUT)
			buf_addf(&w->log, "+%s=%.20s", key, e->kv.value->data);
		else
			buf_addf(&w->log, "-%s", key);
		if (e->prev.value)
			buf_addf(&w->log, "(%.20s)", e->prev.value->data);
	}
	buf_addc(&w->log, ' ');
	w->n_events += n;
	w->reached = w->n_events >= w->want;
	if (w->stop_after_first)
		w->c->store->engine->unwatch(w->c->store, STEAL(w->watch));
}

static void on_progress(void *arg, uint64_t rev)
{
	struct ct_watch *w = arg;
	MUST(rev >= w->last_rev && !w->ended);
	w->progress = rev;
	w->reached |= !w->want;
}

static void on_end(void *arg, const struct err *err)
{
	struct ct_watch *w = arg;
	MUST(!w->ended && w->watch);
	w->ended = true;
	w->end_code = err->code;
	w->watch = NULL;
}

void ct_watch(struct ct_watch *w, struct ct *c, const struct store_watch_req *req, uint64_t base)
{
	static const struct store_watch_ops ops = {on_events, on_progress, on_end};
	w->c = c;
	w->base = base;
	w->watch = store_watch(c->store, req, &ops, w);
	MUST(!w->n_events && !w->ended);
}

void ct_watch_await(struct ct_watch *w, size_t events)
{
	w->want = events;
	w->reached = events ? w->n_events >= events : false;
	ct_await(w->c, &w->reached);
}

void ct_watch_done(struct ct_watch *w)
{
	if (w->watch)
		w->c->store->engine->unwatch(w->c->store, STEAL(w->watch));
	buf_done(&w->log);
}
