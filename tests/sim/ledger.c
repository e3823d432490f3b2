#include "tests/sim/ledger.h"

#include <inttypes.h>

#include "lib/core/map.h"
#include "tests/sim/sim.h"

/* What a revision is known to have changed. */
struct truth {
	bool known, by_client;
	size_t n;
	struct seen_kv kvs[SIM_KEYS];
	uint64_t us;
};

static struct {
	struct seen **seen;
	size_t n, cap;
	struct session **sessions;
	size_t n_sessions, cap_sessions;
	struct {
		struct lin_op *ops;
		size_t n, cap;
	} lin[SIM_KEYS];
	struct map leases; /* struct sim_lease, by id */
	bool unknown_delete[SIM_KEYS];
	uint64_t moment, max_rev;
	struct truth *truth; /* by revision */
	uint64_t top;
} led;

struct seen *ledger_add(enum seen_kind kind)
{
	struct seen *s = NEW(struct seen);
	s->kind = kind;
	s->us = sim.now_us;
	s->hi = SIM_KEYS;
	GROW(led.seen, led.cap, led.n + 1);
	led.seen[led.n++] = s;
	return s;
}

void ledger_state(unsigned server, const struct seen *s)
{
	static struct {
		uint64_t hash;
		unsigned server;
	} states[400000];
	uint64_t hash = 1;
	for (size_t i = 0; i < s->n; i++) {
		const struct seen_kv *kv = &s->kvs[i];
		const uint64_t all[] = {hash, kv->key, kv->value, kv->create, kv->mod, kv->version, kv->lease};
		hash = hash64(all, sizeof(all)) | 1;
	}
	if (s->rev >= ARRAY_LEN(states))
		return;
	__typeof__(&states[0]) have = &states[s->rev];
	if (have->hash && have->hash != hash)
		sim_violation("servers %u and %u hold different things at revision %" PRIu64, have->server, server,
			      s->rev);
	have->hash = hash;
	have->server = server;
}

struct session *ledger_session(unsigned lo, unsigned hi, uint64_t from)
{
	struct session *s = NEW(struct session);
	*s = (struct session){.lo = lo, .hi = hi, .from = from, .upto = from - 1};
	GROW(led.sessions, led.cap_sessions, led.n_sessions + 1);
	led.sessions[led.n_sessions++] = s;
	return s;
}

void ledger_lin(unsigned key, struct lin_op op)
{
	__typeof__(&led.lin[0]) l = &led.lin[key];
	GROW(l->ops, l->cap, l->n + 1);
	l->ops[l->n++] = op;
}

struct sim_lease *ledger_lease(uint64_t id)
{
	char name[20];
	snprintf(name, sizeof(name), "%" PRIx64, id);
	struct sim_lease *l = map_get(&led.leases, name);
	if (l)
		return l;
	l = NEW(struct sim_lease);
	l->id = id;
	map_set(&led.leases, name, l);
	return l;
}

void ledger_clock_jumped(void)
{
	MAP_EACH (&led.leases, it)
		((struct sim_lease *)it->value)->revoked = true;
}

void ledger_unknown_delete(unsigned key)
{
	led.unknown_delete[key] = true;
}

uint64_t ledger_moment(void)
{
	return ++led.moment;
}

uint64_t ledger_max_rev(void)
{
	for (size_t i = led.n; i && i + 64 > led.n; i--)
		led.max_rev = MAX(led.max_rev, led.seen[i - 1]->rev);
	return led.max_rev;
}

static const char *const kind_names[] = {"write", "watch", "range", "read"};

/* ---- real time: what was asked for after an answer knows at least what that answer knew ---- */

static int by_call(const void *a, const void *b)
{
	const struct seen *x = *(struct seen *const *)a, *y = *(struct seen *const *)b;
	return x->call < y->call ? -1 : x->call > y->call;
}
static int by_ret(const void *a, const void *b)
{
	const struct seen *x = *(struct seen *const *)a, *y = *(struct seen *const *)b;
	return x->ret < y->ret ? -1 : x->ret > y->ret;
}
static int by_rev(const void *a, const void *b)
{
	const struct seen *x = *(struct seen *const *)a, *y = *(struct seen *const *)b;
	return x->rev != y->rev ? (x->rev < y->rev ? -1 : 1) : by_ret(a, b);
}

static void check_real_time(void)
{
	struct seen **calls = NEW_N(struct seen *, led.n + 1), **rets = NEW_N(struct seen *, led.n + 1);
	memcpy(calls, led.seen, led.n * sizeof(*calls));
	memcpy(rets, led.seen, led.n * sizeof(*rets));
	qsort(calls, led.n, sizeof(*calls), by_call);
	qsort(rets, led.n, sizeof(*rets), by_ret);
	const struct seen *high = NULL;
	for (size_t i = 0, k = 0; i < led.n; i++) {
		const struct seen *s = calls[i];
		for (; k < led.n && rets[k]->ret < s->call; k++)
			if (!high || rets[k]->rev > high->rev)
				high = rets[k];
		if (!high || !s->latest)
			continue;
		if (s->rev < high->rev || (s->kind == SEEN_WRITE && s->rev == high->rev))
			sim_violation("revision %" PRIu64 " (%s, asked at moment %" PRIu64 ") after revision %" PRIu64
				      " was seen (%s, at %" PRIu64 "): revisions went back",
				      s->rev, kind_names[s->kind], s->call, high->rev, kind_names[high->kind],
				      high->ret);
	}
	free(calls);
	free(rets);
}

/* ---- what each revision held ---- */

static const struct seen_kv *find(const struct seen_kv *kvs, size_t n, unsigned key)
{
	for (size_t i = 0; i < n; i++)
		if (kvs[i].key == key)
			return &kvs[i];
	return NULL;
}

static void agree(const struct truth *t, const struct seen *s)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct seen_kv *have = find(s->kvs, s->n, t->kvs[i].key);
		if (t->kvs[i].key < s->lo || t->kvs[i].key >= s->hi)
			continue;
		if (!have)
			sim_violation("revision %" PRIu64 ": a %s misses the change of key %u", s->rev,
				      kind_names[s->kind], t->kvs[i].key);
		if (have->value != t->kvs[i].value)
			sim_violation("revision %" PRIu64 ": key %u is %" PRIu64 " to one and %" PRIu64 " to a %s",
				      s->rev, have->key, t->kvs[i].value, have->value, kind_names[s->kind]);
	}
	for (size_t i = 0; i < s->n; i++)
		if (!find(t->kvs, t->n, s->kvs[i].key))
			sim_violation("revision %" PRIu64 ": a %s changed key %u, which others did not see", s->rev,
				      kind_names[s->kind], s->kvs[i].key);
}

static void collect_truth(void)
{
	for (size_t i = 0; i < led.n; i++)
		led.top = MAX(led.top, led.seen[i]->rev);
	led.truth = NEW_N(struct truth, led.top + 2);
	for (size_t i = 0; i < led.n; i++) {
		const struct seen *s = led.seen[i];
		struct truth *t = &led.truth[s->rev];
		if (s->kind != SEEN_WRITE && !(s->kind == SEEN_EVENTS && s->lo == 0 && s->hi == SIM_KEYS))
			continue;
		if (s->kind == SEEN_WRITE && t->by_client)
			sim_violation("revision %" PRIu64 " was given to two transactions", s->rev);
		if (t->known)
			agree(t, s);
		if (!t->known || s->kind == SEEN_EVENTS) {
			t->n = s->n;
			memcpy(t->kvs, s->kvs, sizeof(s->kvs));
		}
		if (!t->known || s->us < t->us)
			t->us = s->us;
		t->known = true;
		t->by_client |= s->kind == SEEN_WRITE;
	}
	for (size_t i = 0; i < led.n; i++) {
		const struct seen *s = led.seen[i];
		if (s->kind == SEEN_EVENTS && led.truth[s->rev].known)
			agree(&led.truth[s->rev], s);
	}
}

/* ---- the state at each revision, and what was seen of it ---- */

struct world {
	bool known;
	struct seen_kv keys[SIM_KEYS]; /* value 0: not there */
};

static void expect(const struct seen *s, const struct seen_kv *kv, const struct seen_kv *want)
{
	bool same = kv->value == want->value;
	if (same && !kv->bare && kv->value)
		same = kv->create == want->create && kv->mod == want->mod && kv->version == want->version &&
		       kv->lease == want->lease;
	if (!same)
		sim_violation("revision %" PRIu64 ", a %s at moment %" PRIu64 ": key %u is %" PRIu64 " (create %" PRIu64
			      " mod %" PRIu64 " version %" PRIu64 " lease %" PRIu64 "), should be %" PRIu64
			      " (create %" PRIu64 " mod %" PRIu64 " version %" PRIu64 " lease %" PRIu64 ")",
			      s->rev, kind_names[s->kind], s->ret, kv->key, kv->value, kv->create, kv->mod, kv->version,
			      kv->lease, want->value, want->create, want->mod, want->version, want->lease);
}

static void check_before(const struct world *w, const struct seen *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct seen_kv *kv = &s->kvs[i];
		if (kv->has_prev && kv->prev != w->keys[kv->key].value)
			sim_violation("revision %" PRIu64 ": a %s says that key %u was %" PRIu64
				      " before, it was %" PRIu64,
				      s->rev, kind_names[s->kind], kv->key, kv->prev, w->keys[kv->key].value);
	}
}

static void check_after(const struct world *w, const struct seen *s)
{
	static const struct seen_kv none;
	for (size_t i = 0; i < s->n; i++)
		expect(s, &s->kvs[i], &w->keys[s->kvs[i].key]);
	if (s->kind != SEEN_RANGE)
		return;
	for (unsigned k = s->lo; k < s->hi; k++)
		if (w->keys[k].value && !find(s->kvs, s->n, k)) {
			struct seen_kv gone = none;
			gone.key = k;
			expect(s, &gone, &w->keys[k]);
		}
}

static void step(struct world *w, const struct truth *t, uint64_t rev)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct seen_kv *kv = &t->kvs[i];
		struct seen_kv *to = &w->keys[kv->key];
		if (!kv->value)
			*to = (struct seen_kv){.key = kv->key};
		else
			*to = (struct seen_kv){.key = kv->key,
					       .value = kv->value,
					       .create = to->value ? to->create : rev,
					       .version = to->value ? to->version + 1 : 1,
					       .mod = rev,
					       .lease = kv->lease};
	}
}

/* A deletion that no client made: a lease's end, which must not come early. */
static void check_expiry(const struct world *w, const struct truth *t, uint64_t rev)
{
	for (size_t i = 0; i < t->n && !t->by_client; i++) {
		unsigned key = t->kvs[i].key;
		uint64_t lease = w->keys[key].lease;
		if (t->kvs[i].value || led.unknown_delete[key])
			continue;
		if (!lease)
			sim_violation("revision %" PRIu64 ": nobody deleted key %u, and it had no lease", rev, key);
		struct sim_lease *l = ledger_lease(lease);
		if (!l->revoked && l->ttl_s && t->us < l->renewed_us + l->ttl_s * 900000)
			sim_violation("revision %" PRIu64 ": lease %" PRIu64 " of %" PRIu64 " s ended %" PRIu64
				      " us after its renewal",
				      rev, lease, l->ttl_s, t->us - l->renewed_us);
	}
}

static void resync(struct world *w, const struct seen *s)
{
	if (s->kind != SEEN_RANGE || s->lo || s->hi != SIM_KEYS)
		return;
	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < s->n; i++)
		w->keys[s->kvs[i].key] = s->kvs[i];
	w->known = true;
}

static void replay(struct ledger_stats *st)
{
	struct world w = {.known = true};
	qsort(led.seen, led.n, sizeof(*led.seen), by_rev);
	size_t i = 0;
	while (i < led.n && led.seen[i]->rev < 2)
		i++;
	for (uint64_t rev = 2; rev <= led.top; rev++) {
		const struct truth *t = &led.truth[rev];
		size_t end = i;
		while (end < led.n && led.seen[end]->rev == rev)
			end++;
		st->gaps += !t->known;
		if (!t->known)
			w.known = false;
		for (size_t k = i; k < end && w.known; k++)
			if (led.seen[k]->kind == SEEN_WRITE || led.seen[k]->kind == SEEN_EVENTS)
				check_before(&w, led.seen[k]);
		if (w.known)
			check_expiry(&w, t, rev);
		if (t->known)
			step(&w, t, rev);
		for (size_t k = i; k < end; k++) {
			if (!w.known)
				resync(&w, led.seen[k]);
			if (w.known)
				check_after(&w, led.seen[k]);
		}
		i = end;
	}
}

/* ---- watches: complete ---- */

static void check_session(const struct session *s)
{
	size_t i = 0;
	for (uint64_t rev = MAX(s->from, (uint64_t)2); rev <= s->upto && rev <= led.top; rev++) {
		const struct truth *t = &led.truth[rev];
		bool wanted = false;
		for (size_t k = 0; k < t->n && !wanted; k++)
			wanted = t->known && t->kvs[k].key >= s->lo && t->kvs[k].key < s->hi;
		while (i < s->n && s->revs[i] < rev)
			i++;
		if (wanted && !(i < s->n && s->revs[i] == rev))
			sim_violation("a watch of keys %u to %u from revision %" PRIu64 " to %" PRIu64
				      " was not told of revision %" PRIu64,
				      s->lo, s->hi, s->from, s->upto, rev);
	}
}

static void check_linear(struct ledger_stats *st)
{
	for (unsigned k = 0; k < SIM_KEYS; k++) {
		enum lin_result r = lin_check(led.lin[k].ops, led.lin[k].n);
		if (r == LIN_BAD)
			sim_violation("the history of key %u is not linearizable (%zu operations)", k, led.lin[k].n);
		st->undecided += r == LIN_UNDECIDED;
	}
}

void ledger_check(struct ledger_stats *ret)
{
	struct ledger_stats st = {.sessions = led.n_sessions};
	for (size_t i = 0; i < led.n; i++) {
		st.writes += led.seen[i]->kind == SEEN_WRITE;
		st.events += led.seen[i]->kind == SEEN_EVENTS;
		st.reads += led.seen[i]->kind >= SEEN_RANGE;
	}
	check_real_time();
	collect_truth();
	replay(&st);
	for (size_t i = 0; i < led.n_sessions; i++)
		check_session(led.sessions[i]);
	check_linear(&st);
	st.revisions = led.top;
	*ret = st;
}
