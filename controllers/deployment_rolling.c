/* How many pods each ReplicaSet of a Deployment gets: rolling, recreating, resizing in proportion. */
#include <math.h>

#include "controllers/deployment.h"

static bool is_old(const struct rollout *ro, const struct rollout_rs *rs)
{
	return rs != ro->newest;
}

int64_t rollout_new_size(const struct rollout *ro, int64_t have)
{
	if (ro->recreate)
		return ro->replicas;
	int64_t total = rollout_total(ro), most = ro->replicas + ro->max_surge;
	if (total >= most)
		return have;
	return have + MIN(most - total, ro->replicas - have);
}

/* ---- rolling ---- */

static bool size_newest(struct rollout *ro)
{
	struct rollout_rs *rs = ro->newest;
	if (rs->replicas == ro->replicas)
		return false;
	if (rs->replicas > ro->replicas)
		return rollout_scale(ro, rs, ro->replicas);
	return rollout_scale(ro, rs, rollout_new_size(ro, rs->replicas));
}

/* Sizes are planned first and written once each. */
struct plan {
	int64_t size;
};

/* Pods that are not available are no loss: they go first. Returns how many. */
static int64_t plan_unhealthy(const struct rollout *ro, struct plan *plan, int64_t max)
{
	int64_t done = 0;
	for (size_t i = 0; i < ro->n && done < max; i++) {
		const struct rollout_rs *rs = &ro->rs[i];
		if (!is_old(ro, rs) || rs->replicas == 0 || rs->replicas <= rs->available)
			continue;
		int64_t n = MIN(max - done, rs->replicas - rs->available);
		plan[i].size -= n;
		done += n;
	}
	return done;
}

/* Then as many available ones as may be missing. */
static void plan_available(const struct rollout *ro, struct plan *plan)
{
	int64_t available = 0;
	for (size_t i = 0; i < ro->n; i++)
		available += ro->rs[i].available;
	int64_t spare = available - (ro->replicas - ro->max_unavailable);
	for (size_t i = 0; i < ro->n && spare > 0; i++) {
		if (!is_old(ro, &ro->rs[i]) || plan[i].size == 0)
			continue;
		int64_t n = MIN(plan[i].size, spare);
		plan[i].size -= n;
		spare -= n;
	}
}

static bool size_old(struct rollout *ro)
{
	int64_t old_pods = 0;
	_cleanup_free_ struct plan *plan = NEW_N(struct plan, ro->n + 1);
	for (size_t i = 0; i < ro->n; i++) {
		plan[i].size = ro->rs[i].replicas;
		old_pods += is_old(ro, &ro->rs[i]) ? ro->rs[i].replicas : 0;
	}
	if (old_pods == 0)
		return false;
	int64_t min_available = ro->replicas - ro->max_unavailable;
	int64_t new_unavailable = ro->newest->replicas - ro->newest->available;
	int64_t max_down = rollout_total(ro) - min_available - new_unavailable;
	if (max_down <= 0)
		return false;
	plan_unhealthy(ro, plan, max_down);
	plan_available(ro, plan);
	bool any = false;
	for (size_t i = 0; i < ro->n; i++)
		if (is_old(ro, &ro->rs[i]) && plan[i].size != ro->rs[i].replicas)
			any |= rollout_scale(ro, &ro->rs[i], plan[i].size);
	return any;
}

void rollout_rolling(struct rollout *ro)
{
	if (!ro->newest) {
		rollout_create(ro);
		return;
	}
	if (!size_newest(ro) && !size_old(ro) && rollout_complete(ro))
		rollout_cleanup(ro);
	rollout_write_status(ro, true);
}

/* ---- recreating ---- */

static bool old_pods_remain(const struct rollout *ro)
{
	struct controllers *all = ro->c->base.all;
	for (size_t i = 0; i < ro->n; i++) {
		if (!is_old(ro, &ro->rs[i]))
			continue;
		_cleanup_free_ struct object **v = NULL;
		size_t n = informer_by_index(all->pods, PODS_BY_OWNER, ro->rs[i].obj->uid, &v);
		for (size_t j = 0; j < n; j++) {
			struct pod_info *p = pod_info(all, v[j]);
			if (p->phase != POD_SUCCEEDED && p->phase != POD_FAILED)
				return true;
		}
	}
	return false;
}

void rollout_recreate(struct rollout *ro)
{
	bool waiting = false;
	for (size_t i = 0; i < ro->n; i++)
		if (is_old(ro, &ro->rs[i]) && ro->rs[i].replicas)
			waiting |= rollout_scale(ro, &ro->rs[i], 0);
	if (!waiting && !old_pods_remain(ro)) {
		if (!ro->newest) {
			rollout_create(ro);
			return;
		}
		if (ro->newest->replicas != ro->replicas)
			rollout_scale(ro, ro->newest, ro->replicas);
		else if (rollout_complete(ro))
			rollout_cleanup(ro);
	}
	rollout_write_status(ro, true);
}

/* ---- resizing ---- */

bool rollout_is_scaling(const struct rollout *ro)
{
	for (size_t i = 0; i < ro->n; i++) {
		if (ro->rs[i].replicas == 0)
			continue;
		int64_t desired = rs_annotation(&ro->rs[i], ANNOTATION_DESIRED, -1);
		if (desired >= 0 && desired != ro->replicas)
			return true;
	}
	return false;
}

/* The one ReplicaSet that has pods; with none, the newest there is. NULL: several have. */
static struct rollout_rs *only_active(struct rollout *ro)
{
	struct rollout_rs *active = NULL;
	for (size_t i = 0; i < ro->n; i++) {
		if (ro->rs[i].replicas == 0)
			continue;
		if (active)
			return NULL;
		active = &ro->rs[i];
	}
	if (active)
		return active;
	return ro->newest ? ro->newest : ro->n ? &ro->rs[ro->n - 1] : NULL;
}

static bool any_active(const struct rollout *ro)
{
	for (size_t i = 0; i < ro->n; i++)
		if (ro->rs[i].replicas)
			return true;
	return false;
}

static bool saturated(const struct rollout *ro)
{
	const struct rollout_rs *rs = ro->newest;
	return rs && rs_annotation(rs, ANNOTATION_DESIRED, -1) == ro->replicas && rs->replicas == ro->replicas &&
	       rs->available == ro->replicas;
}

struct share {
	struct rollout_rs *rs;
	int64_t size;
};

/* Larger first; of equal ones the newer first when growing, the older first when shrinking. */
static int by_size(const void *a, const void *b, void *growing)
{
	const struct share *x = a, *y = b;
	if (x->rs->replicas != y->rs->replicas)
		return x->rs->replicas > y->rs->replicas ? -1 : 1;
	int older = x->rs < y->rs ? -1 : x->rs > y->rs; /* the array is by creation */
	return *(bool *)growing ? -older : older;
}

/* What this one's part of the new size differs from its present one. */
static int64_t fraction(const struct rollout *ro, const struct rollout_rs *rs)
{
	if (ro->replicas == 0)
		return -rs->replicas;
	int64_t before = rs_annotation(rs, ANNOTATION_MAX, 0);
	if (before <= 0)
		before = json_get_int(ro->status, "replicas", 0);
	if (before <= 0)
		return 0;
	double now = (double)(ro->replicas + ro->max_surge);
	return (int64_t)round((double)rs->replicas * now / (double)before) - rs->replicas;
}

static void resize_in_proportion(struct rollout *ro)
{
	_cleanup_free_ struct share *v = NEW_N(struct share, ro->n + 1);
	size_t n = 0;
	int64_t total = 0;
	for (size_t i = 0; i < ro->n; i++) {
		if (ro->rs[i].replicas == 0)
			continue;
		v[n++] = (struct share){&ro->rs[i], ro->rs[i].replicas};
		total += ro->rs[i].replicas;
	}
	int64_t to_add = (ro->replicas > 0 ? ro->replicas + ro->max_surge : 0) - total, added = 0;
	bool growing = to_add > 0;
	qsort_r(v, n, sizeof(*v), by_size, &growing);
	for (size_t i = 0; i < n && to_add != 0; i++) {
		int64_t part = fraction(ro, v[i].rs), left = to_add - added;
		part = to_add > 0 ? MIN(part, left) : MAX(part, left);
		if (to_add == added)
			part = 0;
		v[i].size += part;
		added += part;
	}
	if (n && to_add != 0)
		v[0].size = MAX(v[0].size + to_add - added, 0);
	for (size_t i = 0; i < n; i++)
		rollout_scale(ro, v[i].rs, MAX(v[i].size, 0));
}

static void empty_old(struct rollout *ro)
{
	for (size_t i = 0; i < ro->n; i++)
		if (is_old(ro, &ro->rs[i]) && ro->rs[i].replicas)
			rollout_scale(ro, &ro->rs[i], 0);
}

static void resize(struct rollout *ro)
{
	struct rollout_rs *only = only_active(ro);
	if (only) {
		/* Paused before anything had pods: nothing to grow but what is there. */
		if (any_active(ro) || only->replicas != ro->replicas)
			rollout_scale(ro, only, ro->replicas);
		return;
	}
	/* Recreate has several only when it was rolling before: end that, the size follows. */
	if (saturated(ro) || (ro->recreate && !ro->paused))
		empty_old(ro);
	else if (!ro->recreate)
		resize_in_proportion(ro);
}

void rollout_resize(struct rollout *ro)
{
	resize(ro);
	if (ro->paused)
		rollout_cleanup(ro);
	rollout_write_status(ro, false);
}
