#include "tests/sim/clients.h"

#include <errno.h>
#include <inttypes.h>

#include "tests/sim/ledger.h"
#include "tests/sim/sim.h"

#define PATIENCE_US 700000u
#define FREE_KEYS   (SIM_KEYS - SIM_LEASED)

enum op_kind {
	OP_PUT,
	OP_GET,
	OP_CAS,
	OP_DELETE,
	OP_MULTI,
	OP_RANGE,
	OP_OLD,
	OP_DELETE_RANGE,
	OP_COMPACT,
	OP_GRANT,
	OP_KEEPALIVE,
	OP_REVOKE,
	OP_KINDS
};
static const char *const op_names[] = {"put", "get",          "cas",     "delete", "multi",     "range",
				       "old", "delete-range", "compact", "grant",  "keepalive", "revoke"};

/* One call under way. */
struct op {
	enum op_kind kind;
	struct sim_users *users;
	struct sim_client *client; /* NULL: nobody waits */
	struct sim_server *server;
	unsigned life;
	uint64_t call, call_us;
	unsigned key, lo, hi;
	size_t n;
	unsigned keys[3];
	uint64_t values[3]; /* 0: a deletion */
	uint64_t lease, rev, expected;
	struct sim_client *keeper; /* whose lease it is about */
	bool stale, must;          /* must: an error is a violation */
	bool counted;              /* a client's */
};

static uint64_t next_value;
static uint64_t leases[64];
static size_t n_leases;
static uint64_t known_rev[SIM_KEYS], known_value[SIM_KEYS]; /* what somebody saw last: for compares */

static void key_name(unsigned key, char *ret)
{
	snprintf(ret, 16, "k/%02u", key);
}

static unsigned key_number(const char *name)
{
	unsigned n = (unsigned)strtoul(name + 2, NULL, 10);
	if (!str_starts(name, "k/") || n >= SIM_KEYS)
		sim_violation("a key that nobody wrote: %s", name);
	return n;
}

/* As value_blob() made it, to the last byte. */
uint64_t sim_value(const struct blob *b)
{
	char *end = NULL;
	uint64_t value = b ? strtoull(b->data, &end, 10) : 0;
	size_t rest = b ? b->len - (size_t)(end - b->data) : 0;
	if (b && (!rest || *end != ' ' || (rest > 1 && end[1] != '.') ||
		  (rest > 2 && memcmp(end + 1, end + 2, rest - 2) != 0)))
		sim_violation("a value is not what was written: %.20s", b->data);
	return value;
}

static struct blob *value_blob(uint64_t value)
{
	char head[32];
	int n = snprintf(head, sizeof(head), "%" PRIu64 " ", value);
	size_t len = rand_chance(&sim.rand, 20000) ? 20000 : (size_t)n + rand_below(&sim.rand, 600);
	struct blob *b = blob_alloc(len);
	memset(b->data, '.', len);
	memcpy(b->data, head, MIN((size_t)n, len));
	return b;
}

static struct seen_kv seen_of(const struct store_kv *kv)
{
	return (struct seen_kv){.key = key_number(kv->key),
				.value = sim_value(kv->value),
				.create = kv->create_rev,
				.mod = kv->mod_rev,
				.version = kv->version,
				.lease = kv->lease};
}

static void remember(const struct seen_kv *kv)
{
	if (kv->mod < known_rev[kv->key])
		return;
	known_rev[kv->key] = kv->mod;
	known_value[kv->key] = kv->value;
}

/* ---- answers ---- */

static bool is_write(const struct op *o)
{
	return o->kind == OP_PUT || o->kind == OP_CAS || o->kind == OP_DELETE || o->kind == OP_MULTI ||
	       o->kind == OP_DELETE_RANGE;
}

static void lin_writes(const struct op *o, uint64_t ret)
{
	if (o->kind == OP_DELETE_RANGE) {
		for (unsigned k = o->lo; k < o->hi; k++)
			ledger_lin(k, (struct lin_op){.call = o->call, .ret = ret, .writes = true});
		return;
	}
	for (size_t i = 0; i < o->n; i++)
		ledger_lin(o->keys[i], (struct lin_op){.call = o->call,
						       .ret = ret,
						       .sees = o->kind == OP_CAS,
						       .seen = o->expected,
						       .writes = true,
						       .value = o->values[i]});
}

/* It may have happened, and may still happen. */
static void fate_unknown(const struct op *o)
{
	o->users->unknown++;
	if (o->kind == OP_REVOKE)
		ledger_lease(o->lease)->revoked = true;
	if (!is_write(o))
		return;
	lin_writes(o, LIN_UNKNOWN);
	for (unsigned k = o->lo; o->kind == OP_DELETE_RANGE && k < o->hi; k++)
		ledger_unknown_delete(k);
	for (size_t i = 0; i < o->n; i++) {
		if (!o->values[i])
			ledger_unknown_delete(o->keys[i]);
		else if (o->lease) /* and its lease may take it away */
			ledger_lin(o->keys[i], (struct lin_op){.call = o->call,
							       .ret = LIN_UNKNOWN,
							       .sees = true,
							       .seen = o->values[i],
							       .writes = true});
	}
}

/* The client is free again. False: nobody lives to see this answer. */
static bool take(struct op *o, const struct err *err)
{
	bool alive = sim_server_alive(o->server) && o->server->life == o->life;
	int code = err ? err->code : 0;
	o->users->under_way -= o->counted;
	if (o->client) {
		o->client->busy = false;
		o->client->op = NULL;
		o->client->next_us = sim.now_us + rand_below(&sim.rand, o->users->pace_us + 1);
	}
	if (!alive) {
		fate_unknown(o);
		return false;
	}
	sim_trace("answer %s key %u: %d", op_names[o->kind], o->key, code);
	if (code == -ECANCELED || code == -ETIMEDOUT) {
		fate_unknown(o);
		return false;
	}
	if (code && o->must)
		sim_violation("server %u does not answer when all is quiet: %s", o->server->id, err->message);
	o->users->answered += code == 0;
	o->users->refused += code != 0;
	if (code == -EIO || code == -EUCLEAN)
		sim_trace("refused: %s", err->message);
	return true;
}

static struct seen *begin(const struct op *o, enum seen_kind kind, uint64_t rev, bool latest)
{
	struct seen *s = ledger_add(kind);
	s->rev = rev;
	s->call = o->call;
	s->ret = ledger_moment();
	s->latest = latest;
	return s;
}

static uint64_t prev_value(const struct store_kv *prev)
{
	return sim_value(prev->value);
}

static void wrote(struct op *o, const struct store_txn_resp *r)
{
	struct seen *s = begin(o, SEEN_WRITE, r->rev, true);
	size_t ops = o->kind == OP_DELETE_RANGE ? r->n_prev : o->n;
	if (r->n_prev != ops)
		sim_violation("a transaction of %zu changes told of %zu replaced values", ops, r->n_prev);
	for (size_t i = 0; i < ops; i++) {
		struct seen_kv kv = {.key = key_number(r->prev[i].key),
				     .value = o->kind == OP_DELETE_RANGE ? 0 : o->values[i],
				     .lease = o->kind == OP_PUT ? o->lease : 0,
				     .prev = prev_value(&r->prev[i]),
				     .has_prev = true,
				     .bare = true};
		if (!kv.value && !kv.prev)
			continue; /* nothing to delete: no change */
		s->kvs[s->n++] = kv;
		known_rev[kv.key] = kv.value ? r->rev : 0;
		known_value[kv.key] = kv.value;
	}
	lin_writes(o, s->ret);
	if (s->n == 0) { /* nothing was changed, so this is a read that saw nothing there */
		s->kind = SEEN_VALUES;
		for (unsigned k = o->lo; o->kind == OP_DELETE_RANGE && k < o->hi; k++)
			s->kvs[s->n++] = (struct seen_kv){.key = k, .bare = true};
		for (size_t i = 0; i < o->n; i++)
			s->kvs[s->n++] = (struct seen_kv){.key = o->keys[i], .bare = true};
	}
	if (o->lease && o->kind == OP_PUT)
		ledger_lin(o->key, (struct lin_op){.call = o->call,
						   .ret = LIN_UNKNOWN,
						   .sees = true,
						   .seen = o->values[0],
						   .writes = true});
}

/* Just over its time, when its end may be under way; or too late. */
static void keeper_rests(struct sim_client *c, const struct sim_lease *l)
{
	c->next_us = l->renewed_us + l->ttl_s * 1000000 + rand_below(&sim.rand, 500000);
}

static void keeper_wrote(struct op *o, const struct err *err)
{
	if (o->keeper && err)
		o->keeper->lease = 0; /* it is gone */
	if (!o->keeper || err)
		return;
	o->keeper->put = true;
	keeper_rests(o->keeper, ledger_lease(o->lease));
}

static void on_txn(void *arg, const struct err *err, const struct store_txn_resp *r)
{
	struct op *o = arg;
	if (take(o, err) && r && r->succeeded) {
		wrote(o, r);
		keeper_wrote(o, NULL);
	} else if (r && sim_server_alive(o->server) && o->server->life == o->life) {
		/* the compare failed, and the current value was told */
		struct seen *s = begin(o, SEEN_VALUES, r->rev, true);
		struct seen_kv kv = seen_of(&r->got[0]);
		s->kvs[s->n++] = kv;
		if (kv.mod == o->rev && o->rev)
			sim_violation("a compare with revision %" PRIu64 " of key %u failed, and it is that one",
				      o->rev, o->key);
		remember(&kv);
		ledger_lin(o->key, (struct lin_op){.call = o->call, .ret = s->ret, .sees = true, .seen = kv.value});
	}
	if (err)
		keeper_wrote(o, err);
	free(o);
}

static void on_range(void *arg, const struct err *err, const struct store_range_resp *r)
{
	struct op *o = arg;
	if (!take(o, err) || !r) {
		if (err && err->code == -ERANGE && o->rev && o->rev <= ledger_max_rev() && !o->stale &&
		    sim_server_alive(o->server) && o->users->n_servers == 1)
			sim_violation("revision %" PRIu64 " is called a future one, but was seen", o->rev);
		free(o);
		return;
	}
	bool old = o->rev != 0;
	struct seen *s = begin(o, SEEN_RANGE, r->rev, !old && !o->stale);
	if (old && r->rev != o->rev)
		sim_violation("revision %" PRIu64 " was asked for and %" PRIu64 " answered", o->rev, r->rev);
	s->lo = o->lo;
	s->hi = o->hi;
	if (r->n_kvs > SIM_KEYS || r->count != r->n_kvs || r->more)
		sim_violation("a read of %u keys answered %zu, count %" PRIu64, o->hi - o->lo, r->n_kvs, r->count);
	for (size_t i = 0; i < r->n_kvs; i++) {
		struct seen_kv kv = seen_of(&r->kvs[i]);
		if (kv.key < o->lo || kv.key >= o->hi || (i && kv.key <= s->kvs[i - 1].key) || kv.mod > r->rev)
			sim_violation("a read at revision %" PRIu64 " answered key %u of revision %" PRIu64
				      " out of order or range",
				      r->rev, kv.key, kv.mod);
		s->kvs[s->n++] = kv;
		remember(&kv);
	}
	if (o->lo == 0 && o->hi == SIM_KEYS)
		ledger_state(o->server->id, s);
	if (o->kind == OP_GET)
		ledger_lin(o->lo,
			   (struct lin_op){
				   .call = o->call, .ret = s->ret, .sees = true, .seen = s->n ? s->kvs[0].value : 0});
	free(o);
}

static void lease_answered(struct op *o, const struct err *err, uint64_t value)
{
	struct sim_client *k = o->keeper;
	if (k && err && err->code == -ENOENT)
		k->lease = 0;
	if (err || (o->kind == OP_GRANT && n_leases == ARRAY_LEN(leases) && !k))
		return;
	struct sim_lease *l = ledger_lease(o->kind == OP_GRANT ? value : o->lease);
	l->renewed_us = MAX(l->renewed_us, o->call_us);
	if (o->kind == OP_GRANT)
		l->ttl_s = o->rev;
	if (k && o->kind == OP_GRANT) {
		k->lease = value;
		k->put = false;
	} else if (o->kind == OP_GRANT) {
		leases[n_leases++] = value;
	} else if (k) {
		keeper_rests(k, l);
	}
}

static void on_number(void *arg, const struct err *err, uint64_t value)
{
	struct op *o = arg;
	if (take(o, err)) {
		if (o->kind == OP_GRANT || o->kind == OP_KEEPALIVE)
			lease_answered(o, err, value);
		else if (o->kind == OP_COMPACT && !err)
			o->users->compactions++;
	}
	free(o);
}

/* ---- questions ---- */

static void ask_txn(struct op *o, bool lazy)
{
	char names[3][16];
	struct store_op ops[3];
	for (size_t i = 0; i < o->n; i++) {
		key_name(o->keys[i], names[i]);
		ops[i] = (struct store_op){.type = STORE_DELETE, .key = names[i]};
		if (o->values[i]) {
			ops[i].type = STORE_PUT;
			ops[i].value = value_blob(o->values[i]);
			ops[i].lease = o->lease;
		}
	}
	struct store_op get = {.type = STORE_GET, .key = names[0]};
	struct store_cmp cmp = {.key = names[0], .target = STORE_CMP_MOD_REV, .op = STORE_EQ, .number = o->rev};
	struct store_txn_req req = {.then_ops = ops, .n_then = o->n, .lazy = lazy};
	if (o->kind == OP_CAS) {
		req.compares = &cmp;
		req.n_compares = 1;
		req.else_ops = &get;
		req.n_else = 1;
	}
	store_txn(o->server->store, &req, on_txn, o);
	for (size_t i = 0; i < o->n; i++)
		blob_unref(ops[i].value);
}

static void ask_range(struct op *o)
{
	char lo[16], hi[16];
	key_name(o->lo, lo);
	key_name(o->hi, hi);
	store_range(o->server->store,
		    &(struct store_range_req){.key = lo, .end = hi, .rev = o->rev, .serializable = o->stale}, on_range,
		    o);
}

static void ask_delete_range(struct op *o)
{
	char lo[16], hi[16];
	key_name(o->lo, lo);
	key_name(o->hi, hi);
	struct store_op op = {.type = STORE_DELETE_RANGE, .key = lo, .end = hi};
	store_txn(o->server->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, on_txn, o);
}

static enum op_kind choose(void)
{
	static const unsigned weights[OP_KINDS] = {30, 20, 14, 7, 8, 6, 6, 2, 2, 2, 2, 1};
	uint64_t at = rand_below(&sim.rand, 100);
	for (unsigned k = 0; k < OP_KINDS; k++) {
		if (at < weights[k])
			return (enum op_kind)k;
		at -= weights[k];
	}
	return OP_PUT;
}

static void choose_range(struct op *o, unsigned keys)
{
	o->lo = (unsigned)rand_below(&sim.rand, keys);
	o->hi = (unsigned)rand_between(&sim.rand, o->lo + 1, keys);
}

static void fill_multi(struct op *o)
{
	o->n = (size_t)rand_between(&sim.rand, 2, 3);
	for (size_t i = 0; i < o->n; i++) {
		o->keys[i] = (o->key + (unsigned)i * 5) % FREE_KEYS;
		o->values[i] = rand_chance(&sim.rand, 250000) ? 0 : ++next_value;
	}
}

static uint64_t some_lease(void)
{
	return n_leases ? leases[rand_below(&sim.rand, n_leases)] : 0;
}

static struct op *op_new(struct sim_users *u, struct sim_server *s, enum op_kind kind)
{
	struct op *o = NEW(struct op);
	*o = (struct op){.kind = kind,
			 .users = u,
			 .server = s,
			 .life = s->life,
			 .call = ledger_moment(),
			 .call_us = sim.now_us,
			 .n = 1};
	return o;
}

static void ask_lease(struct op *o)
{
	const struct store_engine *e = o->server->store->engine;
	o->n = 0;
	if (o->kind == OP_GRANT) {
		o->rev = o->keeper ? 1 : rand_between(&sim.rand, 1, 4);
		e->lease_grant(o->server->store, o->rev, on_number, o);
	} else if (o->kind == OP_KEEPALIVE) {
		e->lease_keepalive(o->server->store, o->lease, on_number, o);
	} else {
		ledger_lease(o->lease)->revoked = true;
		e->lease_revoke(o->server->store, o->lease, on_number, o);
	}
}

static struct op *client_op(struct sim_users *u, struct sim_client *c, struct sim_server *s, enum op_kind kind)
{
	struct op *o = op_new(u, s, kind);
	o->client = c;
	o->counted = true;
	u->under_way++;
	c->op = o;
	c->busy = true;
	return o;
}

static void ask_keeper(struct sim_users *u, struct sim_client *c, struct sim_server *s)
{
	struct op *o = client_op(u, c, s, !c->lease ? OP_GRANT : !c->put ? OP_PUT : OP_KEEPALIVE);
	o->keeper = c;
	o->lease = c->lease;
	o->key = o->keys[0] = FREE_KEYS + (unsigned)(c - u->clients);
	sim_trace("keeper asks %u %s key %u", s->id, op_names[o->kind], o->key);
	if (o->kind == OP_PUT) {
		o->values[0] = ++next_value;
		ask_txn(o, false);
	} else {
		ask_lease(o);
	}
}

static void ask(struct sim_users *u, struct sim_client *c, struct sim_server *s)
{
	struct op *o = client_op(u, c, s, choose());
	o->key = (unsigned)rand_below(&sim.rand, o->kind == OP_GET ? SIM_KEYS : FREE_KEYS);
	o->keys[0] = o->key;
	o->lo = o->key;
	o->hi = o->key + 1;
	if ((o->kind == OP_KEEPALIVE || o->kind == OP_REVOKE) && !(o->lease = some_lease()))
		o->kind = OP_GRANT;
	if (o->kind == OP_GRANT && n_leases == ARRAY_LEN(leases))
		o->kind = OP_PUT;
	sim_trace("ask %u %s key %u", s->id, op_names[o->kind], o->key);
	switch (o->kind) {
	case OP_PUT:
		o->values[0] = ++next_value;
		if (rand_chance(&sim.rand, 120000))
			o->lease = some_lease();
		ask_txn(o, rand_chance(&sim.rand, 50000));
		break;
	case OP_CAS:
		o->values[0] = rand_chance(&sim.rand, 100000) ? 0 : ++next_value;
		o->rev = rand_chance(&sim.rand, 150000) ? 0 : known_rev[o->key];
		o->expected = o->rev ? known_value[o->key] : 0;
		ask_txn(o, false);
		break;
	case OP_MULTI:
		fill_multi(o);
		ask_txn(o, false);
		break;
	case OP_DELETE:
		ask_txn(o, false);
		break;
	case OP_OLD:
		choose_range(o, SIM_KEYS);
		o->rev = ledger_max_rev() + 2;
		o->rev -= MIN(o->rev - 1, rand_below(&sim.rand, 60));
		ask_range(o);
		break;
	case OP_RANGE:
		choose_range(o, SIM_KEYS);
		o->stale = rand_chance(&sim.rand, 200000);
		ask_range(o);
		break;
	case OP_GET:
		ask_range(o);
		break;
	case OP_DELETE_RANGE:
		choose_range(o, FREE_KEYS);
		o->n = 0;
		ask_delete_range(o);
		break;
	case OP_COMPACT:
		o->n = 0;
		o->rev = ledger_max_rev() - MIN(ledger_max_rev(), rand_below(&sim.rand, 40));
		s->store->engine->compact(s->store, o->rev, on_number, o);
		break;
	default:
		ask_lease(o);
		break;
	}
}

void users_read_all(struct sim_users *u, struct sim_server *s, bool stale, bool must)
{
	struct op *o = op_new(u, s, OP_RANGE);
	o->lo = 0;
	o->hi = SIM_KEYS;
	o->stale = stale;
	o->must = must;
	ask_range(o);
}

void users_init(struct sim_users *u, struct sim_server *servers, size_t n)
{
	*u = (struct sim_users){.servers = servers, .n_servers = n};
	u->pace_us = 4000ull << rand_below(&sim.rand, 5);
	u->budget = 5000;
	for (size_t i = 0; i < SIM_WATCHERS; i++) {
		struct sim_watcher *w = &u->watchers[i];
		w->lo = i == 0 ? 0 : (unsigned)rand_below(&sim.rand, SIM_KEYS);
		w->hi = i == 0 ? SIM_KEYS : (unsigned)rand_between(&sim.rand, w->lo + 1, SIM_KEYS);
		w->from = i == 0 ? 2 : 0;
	}
}

bool users_idle(const struct sim_users *u)
{
	return u->under_way == 0;
}

/* Who has waited for long enough asks for something else. What it asked for may still happen, and is answered. */
static void give_up(struct sim_client *c)
{
	if (!c->op || sim.now_us < c->op->call_us + PATIENCE_US)
		return;
	c->op->client = NULL;
	c->op = NULL;
	c->busy = false;
}

void users_run(struct sim_users *u)
{
	for (size_t i = 0; i < SIM_CLIENTS && !u->quiet; i++) {
		struct sim_client *c = &u->clients[i];
		struct sim_server *s = &u->servers[rand_below(&sim.rand, u->n_servers)];
		give_up(c);
		if (c->busy || c->next_us > sim.now_us || !sim_server_alive(s) || !u->budget)
			continue;
		u->budget--;
		if (i < SIM_LEASED)
			ask_keeper(u, c, s);
		else
			ask(u, c, s);
	}
	users_watch(u);
}
