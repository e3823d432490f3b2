#include "lib/net/renew.h"

#define FIRST_LOOK_US    1000000u
#define LOOK_MAX_US      (3600ull * 1000000u)
#define LOOK_MIN_US      200000u
#define LOOKS_A_LIFE     24
#define AFTER_FAILURE_US 60000000u /* where no look has gone well yet */

struct renewal {
	struct env *env;
	struct renewal_ops ops;
	void *ctx, *arg;
	unsigned n;
	char *in_use[RENEW_MAX]; /* certificates */
	struct env_timer timer;
	struct env_work work;
	bool working, again, freed;
	/* of the look under way */
	struct pki_pair now[RENEW_MAX];
	uint64_t again_us;
	int rc;
	struct err err;
};

static void destroy(struct renewal *r)
{
	for (unsigned i = 0; i < RENEW_MAX; i++)
		free(r->in_use[i]);
	r->ops.free_ctx(r->ctx);
	free(r);
}

static uint64_t next_look_us(const struct pki_pair *pairs, unsigned n)
{
	uint64_t least = LOOK_MAX_US;
	for (unsigned i = 0; i < n; i++) {
		struct pki_cert_info info = {0};
		if (pki_cert_info(pairs[i].cert_pem, &info, NULL) == 0) {
			int64_t life_s = MAX(info.not_after_s - info.not_before_s, (int64_t)1);
			least = MIN(least, (uint64_t)life_s * 1000000u / LOOKS_A_LIFE);
		}
		pki_cert_info_done(&info);
	}
	return MAX(least, (uint64_t)LOOK_MIN_US);
}

static void look(struct env_work *w)
{
	struct renewal *r = CONTAINER_OF(w, struct renewal, work);
	r->rc = r->ops.load(r->ctx, r->now, &r->err);
	if (r->rc == 0)
		r->again_us = next_look_us(r->now, r->n);
}

static bool take(struct renewal *r)
{
	bool changed = false;
	for (unsigned i = 0; i < r->n; i++) {
		if (streq(r->now[i].cert_pem, r->in_use[i]))
			continue;
		free(r->in_use[i]);
		r->in_use[i] = xstrdup(r->now[i].cert_pem);
		changed = true;
	}
	return changed;
}

static void looked(struct env_work *w)
{
	struct renewal *r = CONTAINER_OF(w, struct renewal, work);
	r->working = false;
	if (!r->freed && r->rc < 0)
		r->ops.failed(r->arg, &r->err);
	if (!r->freed && r->rc == 0 && take(r))
		r->ops.renewed(r->arg, r->now);
	if (!r->freed && r->ops.after)
		r->ops.after(r->arg, r->ctx);
	for (unsigned i = 0; i < RENEW_MAX; i++) {
		pki_pair_done(&r->now[i]);
		r->now[i] = (struct pki_pair){0};
	}
	err_done(&r->err);
	if (r->freed)
		destroy(r);
	else
		env_timer_start(r->env, &r->timer, r->again ? 0 : r->again_us);
}

static void on_timer(struct env_timer *t)
{
	struct renewal *r = CONTAINER_OF(t, struct renewal, timer);
	r->again = false;
	if (r->ops.before)
		r->ops.before(r->arg, r->ctx);
	r->work = (struct env_work){.work = look, .done = looked, .lane = ENV_LANE_POOL};
	r->working = true;
	env_submit(r->env, &r->work);
}

struct renewal *renewal_new(struct env *env, const struct renewal_ops *ops, void *ctx, const struct pki_pair *current,
			    unsigned n, void *arg)
{
	MUST(n <= RENEW_MAX);
	struct renewal *r = NEW(struct renewal);
	*r = (struct renewal){.env = env, .ops = *ops, .ctx = ctx, .arg = arg, .n = n, .again_us = AFTER_FAILURE_US};
	for (unsigned i = 0; i < n; i++)
		r->in_use[i] = xstrdup(current[i].cert_pem);
	r->timer.fn = on_timer;
	env_timer_start(env, &r->timer, FIRST_LOOK_US);
	return r;
}

void renewal_look(struct renewal *r)
{
	r->again = true; /* counts where a look is under way */
	if (!r->working)
		env_timer_start(r->env, &r->timer, 0);
}

void renewal_free(struct renewal *r)
{
	if (!r)
		return;
	env_timer_stop(r->env, &r->timer);
	r->freed = true;
	if (!r->working)
		destroy(r);
}
