/* Both engines are asked the same, at random and at length, and have to say the same; etcd is the oracle. The seed is
 * fixed; ALIKE_SEED=n tries another. */
#include <errno.h>
#include <inttypes.h>

#include "tests/support/store/contract.h"
#include "tests/support/tap.h"

enum { STEPS = 2000, KEYS = 16, OPS = 3, LEASES = 4 };

struct side {
	struct ct ct;
	uint64_t base;           /* revisions are told from here */
	uint64_t leases[LEASES]; /* 0: none */
	struct buf said;
};
static struct side sides[2];
static struct buf asked;                 /* for whoever has to find out why they differ */
static uint64_t seed, compacted, latest; /* the last two relative to base */

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((seed >> 33) % n);
}

static const char *some_key(void)
{
	static char keys[32][8];
	static unsigned at;
	char *k = keys[at++ % 32];
	snprintf(k, sizeof(keys[0]), "x/%c", 'a' + (int)below(KEYS));
	return k;
}

static struct blob *some_value(void)
{
	char bytes[40];
	size_t len = below(sizeof(bytes));
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)below(256);
	return blob_new(bytes, len);
}

static int64_t relative(const struct side *s, uint64_t rev)
{
	return rev ? (int64_t)(rev - s->base) : -1;
}

/* Ids are each engine's own: told as a place, 9 for one that was revoked, 0 for none. */
static unsigned place(const struct side *s, uint64_t lease)
{
	for (unsigned i = 0; i < LEASES; i++)
		if (lease && s->leases[i] == lease)
			return i + 1;
	return lease ? 9 : 0;
}

static void say_kvs(struct side *s, const char *name, const struct ct_kv *kvs, size_t n)
{
	buf_addf(&s->said, " %s:", name);
	for (size_t i = 0; i < n; i++) {
		const struct ct_kv *kv = &kvs[i];
		buf_addf(&s->said, " %s@%" PRId64 ",%" PRId64 ",%" PRIu64 ",%u=", kv->key, relative(s, kv->create_rev),
			 relative(s, kv->mod_rev), kv->version, place(s, kv->lease));
		if (kv->value)
			buf_addf(&s->said, "%zu:%08x", kv->len, fnv32a(kv->value, kv->len));
	}
}

static void say(struct side *s, const struct ct_answer *a)
{
	buf_addf(&s->said, "err %d ok %d more %d rev %" PRId64 " count %" PRIu64, a->err.code, a->succeeded, a->more,
		 a->err.code ? 0 : relative(s, a->rev), a->count);
	say_kvs(s, "kvs", a->kvs, a->n_kvs);
	say_kvs(s, "prev", a->prev, a->n_prev);
}

static void make_op(struct store_op *o)
{
	*o = (struct store_op){.key = some_key(), .type = (enum store_op_type)below(4)};
	if (o->type == STORE_PUT) {
		o->value = some_value();
		o->lease = below(3) ? 0 : 1 + below(LEASES); /* its place, plus one */
	}
	if (o->type == STORE_DELETE_RANGE)
		o->end = below(4) ? some_key() : "x0"; /* may be an empty range, too */
}

/* What compares with revisions is told in those of the side. */
static void make_compare(struct store_cmp *c, uint64_t *ret_relative)
{
	*c = (struct store_cmp){
		.key = some_key(), .target = (enum store_cmp_target)below(4), .op = (enum store_cmp_op)below(4)};
	*ret_relative = 0;
	if (c->target == STORE_CMP_VALUE)
		c->value = some_value();
	else if (c->target == STORE_CMP_VERSION)
		c->number = below(4);
	else if (below(3))
		*ret_relative = 1 + below((unsigned)latest + 2);
}

static void take_leases(const struct side *s, struct store_op *to, const struct store_op *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		to[i] = from[i];
		if (from[i].lease) /* one that is not there now is refused */
			to[i].lease = s->leases[from[i].lease - 1] ? s->leases[from[i].lease - 1] : 4711;
	}
}

static void random_txn(void)
{
	struct store_op ops[2][OPS];
	struct store_cmp cmps[3];
	uint64_t at[3];
	size_t n_cmps = below(4), n[2] = {below(OPS + 1), below(OPS + 1)};
	for (size_t i = 0; i < n_cmps; i++)
		make_compare(&cmps[i], &at[i]);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < n[k]; i++)
			make_op(&ops[k][i]);
	for (size_t k = 0; k < 2; k++) {
		struct side *s = &sides[k];
		for (size_t i = 0; i < n_cmps; i++)
			if (cmps[i].target != STORE_CMP_VALUE && cmps[i].target != STORE_CMP_VERSION)
				cmps[i].number = at[i] ? s->base + at[i] : 0;
		struct store_op mine[2][OPS];
		for (size_t i = 0; i < 2; i++)
			take_leases(s, mine[i], ops[i], n[i]);
		struct store_txn_req t = {.compares = cmps,
					  .n_compares = n_cmps,
					  .then_ops = mine[0],
					  .n_then = n[0],
					  .else_ops = mine[1],
					  .n_else = n[1]};
		const struct ct_answer *a = ct_txn(&s->ct, &t);
		if (!k && !a->err.code)
			latest = a->rev - s->base;
		say(s, a);
	}
	for (size_t i = 0; i < n_cmps; i++)
		buf_addf(&asked, " if %s target %d op %d %" PRIu64 " (%u bytes)", cmps[i].key, cmps[i].target,
			 cmps[i].op, cmps[i].target == STORE_CMP_VERSION ? cmps[i].number : at[i],
			 cmps[i].value ? cmps[i].value->len : 0);
	for (size_t i = 0; i < n_cmps; i++)
		blob_unref((struct blob *)cmps[i].value);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < n[k]; i++)
			blob_unref(ops[k][i].value);
}

static void random_range(void)
{
	struct store_range_req q = {.key = some_key(),
				    .limit = below(3) ? 0 : below(6),
				    .keys_only = !below(4),
				    .count_only = !below(6),
				    .serializable = !below(3)};
	unsigned how = below(4);
	if (how)
		q.end = how == 1 ? some_key() : "x0";
	/* from before what is compacted to after the latest */
	uint64_t rev = below(2) && latest > 8 ? compacted + below((unsigned)(latest - compacted) + 3) : 0;
	for (size_t k = 0; k < 2; k++) {
		struct store_range_req mine = q;
		mine.rev = rev ? sides[k].base + rev - 1 : 0;
		say(&sides[k], ct_range(&sides[k].ct, &mine));
	}
}

/* Granted, or what was granted is revoked with all its keys. */
static void random_lease(void)
{
	unsigned at = below(LEASES);
	for (size_t k = 0; k < 2; k++) {
		struct side *s = &sides[k];
		const struct store_engine *g = s->ct.store->engine;
		bool revoke = s->leases[at] != 0;
		const struct ct_answer *a = revoke ? ct_lease(&s->ct, g->lease_revoke, s->leases[at])
						   : ct_lease(&s->ct, g->lease_grant, 5000);
		buf_addf(&s->said, "lease %d %" PRId64, a->err.code, revoke ? relative(s, a->number) : 0);
		if (revoke && !k && !a->err.code)
			latest = a->number - s->base;
		s->leases[at] = revoke ? 0 : a->number;
	}
}

static void random_compaction(void)
{
	if (latest < compacted + 40)
		return;
	uint64_t rev = compacted + below((unsigned)(latest - compacted) + 2);
	for (size_t k = 0; k < 2; k++) {
		const struct ct_answer *a = ct_compact(&sides[k].ct, sides[k].base + rev);
		buf_addf(&sides[k].said, "compact %d", a->err.code);
		if (k && !a->err.code)
			compacted = rev;
	}
}

/* From any revision, until it has seen the latest one or was refused. */
static void random_watch(void)
{
	uint64_t start = compacted + below((unsigned)(latest - compacted) + 1) + 1;
	if (compacted && !below(5))
		start = compacted - below(2);
	for (size_t k = 0; k < 2; k++) {
		struct side *s = &sides[k];
		struct ct_watch w = {0};
		/* a last event, so that there is an end to wait for */
		const struct ct_answer *a = ct_put(&s->ct, "x/~", "");
		uint64_t last = a->rev;
		latest = a->rev - s->base;
		ct_watch(&w, &s->ct,
			 &(struct store_watch_req){.key = "x/", .end = "x0", .start_rev = s->base + MAX(start, 1)},
			 s->base);
		while (w.last_rev < last && !w.ended)
			uv_run(&s->ct.loop, UV_RUN_ONCE);
		if (w.last_rev)
			buf_add(&s->said, w.log.data, w.log.len);
		buf_addf(&s->said, "ended %d %d", w.ended, w.ended ? w.end_code : 0);
		ct_watch_done(&w);
	}
}

static void reopen(void)
{
	for (size_t k = 0; k < 2; k++) {
		ct_close(&sides[k].ct);
		ct_open(&sides[k].ct);
		sides[k].ct.key[0] = '\0';
	}
}

static void both_say_the_same(void **state)
{
	(void)state;
	const char *other = getenv("ALIKE_SEED");
	uint64_t begun = other ? strtoull(other, NULL, 10) : 1;
	if (!etcd_server_installed()) {
		print_message("# etcd-server is not installed\n");
		skip();
	}
	seed = begun;
	for (size_t k = 0; k < 2; k++) {
		ct_init(&sides[k].ct, k == 1);
		ct_open(&sides[k].ct);
		sides[k].ct.key[0] = '\0';
		sides[k].base = ct_rev(&sides[k].ct);
	}
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t before = seed;
		unsigned what = below(100);
		if (what < 60)
			random_txn();
		else if (what < 85)
			random_range();
		else if (what < 90)
			random_watch();
		else if (what < 93)
			random_compaction();
		else if (!below(8))
			reopen();
		else
			random_lease();
		if (sides[0].said.len != sides[1].said.len ||
		    (sides[0].said.len && memcmp(sides[0].said.data, sides[1].said.data, sides[0].said.len)))
			fail_msg("seed %" PRIu64 ", step %u (%u, %" PRIu64 "): asked%s\nours: %s\netcd: %s", begun, i,
				 what, before, buf_str(&asked), buf_str(&sides[0].said), buf_str(&sides[1].said));
		for (size_t k = 0; k < 2; k++)
			buf_clear(&sides[k].said);
		buf_clear(&asked);
	}
	buf_done(&asked);
	assert_true(latest > STEPS / 10);
	assert_true(compacted > 0);
	for (size_t k = 0; k < 2; k++) {
		ct_done(&sides[k].ct);
		buf_done(&sides[k].said);
	}
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(both_say_the_same)};
RUN_TESTS(tests)
