/* Revisions in memory against a model that keeps everything: the same reads at every revision, whatever was evicted. */
#include <inttypes.h>

#include "store/mvcc.h"
#include "tests/support/tap.h"

#define KEYS       400
#define REVS       6000
#define CHECK_EACH 97

struct model {
	/* what[rev][key]: number of the value, 0: not there */
	uint32_t (*what)[KEYS];
	uint64_t rng;
};

static uint64_t rnd(struct model *md, uint64_t below)
{
	md->rng = md->rng * 6364136223846793005u + 1442695040888963407u;
	return (md->rng >> 33) % below;
}

static void name_of(unsigned k, char *ret)
{
	snprintf(ret, 32, "/registry/%c/%03u", 'a' + (char)(k % 7), k);
}

struct seen {
	struct model *md;
	uint64_t rev, n;
	char last[32];
};

static bool see(void *arg, const struct mvcc_rev *v)
{
	struct seen *s = arg;
	assert_true(strcmp(s->last, v->key->name) < 0);
	snprintf(s->last, sizeof(s->last), "%s", v->key->name);
	unsigned k = (unsigned)atoi(strrchr(v->key->name, '/') + 1);
	assert_int_equal(s->md->what[s->rev][k], atoi(v->value->data));
	assert_true(v->mod_rev <= s->rev);
	s->n++;
	return true;
}

static uint64_t count(struct model *md, uint64_t rev, const char *key, const char *end)
{
	uint64_t n = 0;
	for (unsigned k = 0; k < KEYS; k++) {
		char name[32];
		name_of(k, name);
		n += md->what[rev][k] && mvcc_in_range(name, key, end);
	}
	return n;
}

static void compare(struct mvcc *m, struct model *md)
{
	uint64_t first = MAX(m->floor, m->compacted);
	for (uint64_t rev = first; rev <= m->rev; rev += 1 + (m->rev - first) / 3) {
		struct seen s = {.md = md, .rev = rev};
		mvcc_walk(m, "", "", rev, see, &s);
		assert_int_equal(s.n, count(md, rev, "", ""));
	}
	char a[32], b[32];
	name_of((unsigned)rnd(md, KEYS), a);
	name_of((unsigned)rnd(md, KEYS), b);
	assert_int_equal(mvcc_count(m, a, b), strcmp(a, b) < 0 ? count(md, m->rev, a, b) : 0);
	assert_int_equal(mvcc_count(m, a, NULL), count(md, m->rev, a, NULL));
	assert_int_equal(mvcc_count(m, a, ""), count(md, m->rev, a, ""));
	assert_int_equal(mvcc_count(m, "", ""), count(md, m->rev, "", ""));
	uint64_t last = m->floor;
	for (size_t i = 0; i < m->n; i++) {
		assert_true(mvcc_at(m, i)->mod_rev >= last && mvcc_at(m, i)->mod_rev > m->floor);
		last = mvcc_at(m, i)->mod_rev;
	}
	assert_int_equal(m->n ? last : m->rev, m->rev);
}

static void against_a_model(void **state)
{
	(void)state;
	struct model md = {.what = calloc(REVS + 2, sizeof(*md.what)), .rng = 42};
	struct mvcc m;
	mvcc_init(&m, 20000);
	unsigned value = 0;
	while (m.rev < REVS) {
		uint64_t next = m.rev + 1;
		memcpy(md.what[next], md.what[m.rev], sizeof(md.what[0]));
		/* phases in which the keys become many, and few again */
		bool shrink = m.rev / 1500 % 2;
		unsigned changes = 1 + (unsigned)rnd(&md, 3), made = 0;
		for (unsigned i = 0; i < changes; i++) {
			char name[32], text[16];
			unsigned k = (unsigned)rnd(&md, KEYS / 3) * 3 + i; /* no key twice in a revision */
			if (k >= KEYS)
				continue;
			name_of(k, name);
			if (rnd(&md, 10) < (shrink ? 7u : 2u)) {
				struct mvcc_rev *v = mvcc_delete(&m, name);
				assert_int_equal(v != NULL, md.what[m.rev][k] != 0);
				md.what[next][k] = 0;
				made += v != NULL;
				continue;
			}
			snprintf(text, sizeof(text), "%u", ++value);
			struct blob *b = blob_new(text, strlen(text));
			struct mvcc_rev *v = mvcc_put(&m, name, b, 0);
			blob_unref(b);
			assert_int_equal(v->create_rev == next, md.what[m.rev][k] == 0);
			md.what[next][k] = value;
			made++;
		}
		assert_int_equal(mvcc_end(&m), made > 0);
		if (rnd(&md, 300) == 0)
			mvcc_compact(&m, m.rev - rnd(&md, 50));
		if (rnd(&md, 5) == 0)
			mvcc_evict(&m, m.rev - MIN(m.rev, rnd(&md, 100)), rnd(&md, 30));
		if (m.rev % CHECK_EACH == 0)
			compare(&m, &md);
	}
	while (mvcc_evict(&m, m.rev, 100))
		;
	compare(&m, &md);
	mvcc_compact(&m, m.rev);
	assert_false(mvcc_evict(&m, m.rev, SIZE_MAX));
	assert_int_equal(m.n, 0);
	assert_int_equal(m.keys.n_items, mvcc_count(&m, "", ""));
	compare(&m, &md);
	mvcc_done(&m);
	free(md.what);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(against_a_model)};
RUN_TESTS(tests)
