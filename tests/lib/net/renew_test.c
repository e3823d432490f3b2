/* Certificates over months of virtual time. */
#include "tests/lib/net/harness.h"

#include "lib/core/env_sim.h"
#include "lib/net/renew.h"

#define DAY_S  86400
#define DAY_US (86400ull * 1000000u)

/* One certificate of nine days, issued again when it is due; all in memory. */
struct issuer {
	struct env *env;
	struct pki_pair ca, leaf;
	unsigned issued, looks, told, failures;
	bool broken, freed;
};

static int64_t now_s(struct issuer *x)
{
	return env_wall_s(x->env);
}

static void issue(struct issuer *x)
{
	struct err err = ERR_INIT;
	struct pki_request req = {
		.common_name = "x", .client = true, .not_before_s = now_s(x), .not_after_s = now_s(x) + 9ll * DAY_S};
	pki_pair_done(&x->leaf);
	assert_int_equal(pki_issue(&x->ca, &req, &x->leaf, &err), 0);
	x->issued++;
}

static int load(void *ctx, struct pki_pair *ret, struct err *err)
{
	struct issuer *x = ctx;
	struct pki_cert_info info;
	x->looks++;
	if (x->broken)
		return err_set(err, -5, "broken");
	assert_int_equal(pki_cert_info(x->leaf.cert_pem, &info, NULL), 0);
	/* never found later than one look after its time */
	assert_true(info.not_after_s - now_s(x) >= 3ll * DAY_S - 3600);
	if (pki_due(&info, now_s(x)))
		issue(x);
	pki_cert_info_done(&info);
	*ret = (struct pki_pair){xstrdup(x->leaf.cert_pem), xstrdup(x->leaf.key_pem)};
	return 0;
}

static void renewed(void *arg, const struct pki_pair *now)
{
	struct issuer *x = arg;
	assert_string_equal(now[0].cert_pem, x->leaf.cert_pem);
	x->told++;
}

static void failed(void *arg, const struct err *err)
{
	assert_string_equal(err->message, "broken");
	((struct issuer *)arg)->failures++;
}

static void free_ctx(void *ctx)
{
	((struct issuer *)ctx)->freed = true;
}

static const struct renewal_ops ops = {.load = load, .renewed = renewed, .failed = failed, .free_ctx = free_ctx};

static void test_due(void **state)
{
	(void)state;
	struct pki_cert_info i = {.not_before_s = 1000, .not_after_s = 1900};
	assert_true(pki_due(&i, 999));
	assert_false(pki_due(&i, 1000));
	assert_false(pki_due(&i, 1599));
	assert_true(pki_due(&i, 1600));
	assert_true(pki_due(&i, 5000));
}

static void test_months(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct issuer x = {.env = env_sim_new(3, 1700000000ll * 1000000)};
	assert_int_equal(pki_make_ca("ca", now_s(&x) - 60, now_s(&x) + 400ll * DAY_S, &x.ca, &err), 0);
	issue(&x);
	struct renewal *r = renewal_new(x.env, &ops, &x, &x.leaf, 1, &x);
	env_sim_run_for(x.env, 2000000);
	assert_int_equal(x.looks, 1);
	assert_int_equal(x.told, 0); /* looked at, and still good */
	env_sim_run_for(x.env, 60 * DAY_US);
	assert_in_range(x.told, 9, 10); /* every six days */
	assert_int_equal(x.issued, x.told + 1);
	assert_in_range(x.looks, 60 * 24, 60 * 24 + 2);
	/* what cannot be renewed now is tried again, and said */
	x.broken = true;
	env_sim_run_for(x.env, DAY_US / 4);
	assert_in_range(x.failures, 5, 7);
	x.broken = false;
	env_sim_run_for(x.env, 12 * DAY_US);
	assert_in_range(x.told, 11, 12);
	renewal_free(r);
	assert_true(x.freed);
	unsigned looks = x.looks;
	env_sim_run_for(x.env, DAY_US);
	assert_int_equal(x.looks, looks);
	pki_pair_done(&x.ca);
	pki_pair_done(&x.leaf);
	env_sim_free(x.env);
}

/* ---- around a look ---- */

static unsigned befores, afters;
static struct renewal *looked_at;

static void before(void *arg, void *ctx)
{
	assert_ptr_equal(arg, ctx);
	assert_int_equal(((struct issuer *)ctx)->looks, befores++);
}

static void after(void *arg, void *ctx)
{
	assert_ptr_equal(arg, ctx);
	assert_int_equal(((struct issuer *)ctx)->looks, ++afters);
	if (afters == 2) /* an answer came while it looked */
		renewal_look(looked_at);
}

static void test_look_now(void **state)
{
	(void)state;
	const struct renewal_ops both = {.load = load,
					 .renewed = renewed,
					 .failed = failed,
					 .free_ctx = free_ctx,
					 .before = before,
					 .after = after};
	struct issuer x = {.env = env_sim_new(4, 1700000000ll * 1000000)};
	assert_int_equal(pki_make_ca("ca", now_s(&x) - 60, now_s(&x) + 400ll * DAY_S, &x.ca, NULL), 0);
	issue(&x);
	looked_at = renewal_new(x.env, &both, &x, &x.leaf, 1, &x);
	env_sim_run_for(x.env, 2000000);
	assert_int_equal(x.looks, 1);
	renewal_look(looked_at);
	env_sim_run_for(x.env, 1000000);
	assert_int_equal(x.looks, 3);
	assert_int_equal(befores, 3);
	env_sim_run_for(x.env, DAY_US / 24 / 2);
	assert_int_equal(x.looks, 3);
	renewal_free(looked_at);
	pki_pair_done(&x.ca);
	pki_pair_done(&x.leaf);
	env_sim_free(x.env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_due), cmocka_unit_test(test_months),
					   cmocka_unit_test(test_look_now)};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
