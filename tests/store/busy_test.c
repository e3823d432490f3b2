/* What sustained writing costs the disk: keys of a large state overwritten in no order, bytes counted. */
#include <inttypes.h>

#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

#define KEYS      10000u
#define WRITES    60000u /* twice: the second time is measured */
#define AT_ONCE   100u
#define VALUE_LEN 256u

struct writer {
	struct fixture *f;
	unsigned begun, answered, until;
};

static void put_next(struct writer *w);

static void on_put(void *arg, const struct err *err, _unused_ const struct store_txn_resp *r)
{
	struct writer *w = arg;
	assert_null(err);
	w->answered++;
	put_next(w);
}

static void put_next(struct writer *w)
{
	char key[64];
	if (w->begun == w->until)
		return;
	snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", w->begun++ * 7919u % KEYS);
	_cleanup_blob_ struct blob *v = blob_alloc(VALUE_LEN);
	memset(v->data, '.', VALUE_LEN);
	struct store_op op = {.type = STORE_PUT, .key = key, .value = v};
	store_txn(w->f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, on_put, w);
}

static void write_all(struct writer *w)
{
	w->until += WRITES;
	for (unsigned i = 0; i < AT_ONCE; i++)
		put_next(w);
	while (w->answered < w->until)
		env_sim_run_for(w->f->env, 1000);
}

static void the_state_is_written_in_large_pieces(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.disk.no_sync = true;
	struct writer w = {.f = &f};
	write_all(&w);
	uint64_t before = fx_status(&f)->status.bytes_written;
	write_all(&w);
	double each = (double)(fx_status(&f)->status.bytes_written - before) / WRITES;
	print_message("# %.0f bytes written for each of %u\n", each, VALUE_LEN);
	/* the log, and each page twice, in SQLite's own log and in its place: 5.5 times the value, with the index of keys */
	assert_true(each < 8 * VALUE_LEN);
	fixture_done(&f);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(the_state_is_written_in_large_pieces)};
RUN_TESTS(tests)
