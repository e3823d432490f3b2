#include "controllers/replicaset.h"

/* Ages are compared by their order of magnitude only, so that the choice among pods of about one age is spread. */
static int age_rank(int64_t since_s, int64_t now_s)
{
	int64_t age = now_s - since_s;
	int rank = 0;
	while (age > 1) {
		age >>= 1;
		rank++;
	}
	return rank;
}

static int compare(const struct rs_rank *a, const struct rs_rank *b, int64_t now_s)
{
	const struct pod_info *x = a->info, *y = b->info;
	if (!*x->node != !*y->node)
		return !*x->node ? -1 : 1;
	static const int order[] = {
		[POD_PENDING] = 0, [POD_UNKNOWN] = 1, [POD_RUNNING] = 2, [POD_SUCCEEDED] = 3, [POD_FAILED] = 3};
	if (order[x->phase] != order[y->phase])
		return order[x->phase] - order[y->phase];
	if (x->ready != y->ready)
		return x->ready ? 1 : -1;
	if (x->deletion_cost != y->deletion_cost)
		return x->deletion_cost < y->deletion_cost ? -1 : 1;
	if (a->on_node != b->on_node) /* doubled up: goes first */
		return b->on_node - a->on_node;
	if (x->ready && x->ready_since_s != y->ready_since_s) {
		int d = age_rank(x->ready_since_s, now_s) - age_rank(y->ready_since_s, now_s);
		return d ? d : strcmp(a->pod->uid, b->pod->uid);
	}
	if (x->restarts != y->restarts)
		return y->restarts - x->restarts;
	if (x->created_s != y->created_s) {
		int d = age_rank(x->created_s, now_s) - age_rank(y->created_s, now_s);
		if (d)
			return d;
	}
	return strcmp(a->pod->uid, b->pod->uid);
}

static int compare_r(const void *a, const void *b, void *now_s)
{
	return compare(a, b, *(int64_t *)now_s);
}

void rs_rank_sort(struct rs_rank *v, size_t n, int64_t now_s)
{
	qsort_r(v, n, sizeof(*v), compare_r, &now_s);
}
