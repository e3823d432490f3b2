/* One decision: filter until enough nodes will do, score those, take the best. */
#include "scheduler/cache.h"

#define ENOUGH_MIN     100 /* nodes that will do are looked for at least, if there are so many */
#define ENOUGH_PERCENT 5   /* of a very large cluster; more of a smaller one */

/* In a large cluster a good node is as good as the best one. Source: upstream's percentageOfNodesToScore, adaptive. */
static size_t enough(size_t nodes)
{
	if (nodes <= ENOUGH_MIN)
		return nodes;
	size_t percent = 50 - MIN(nodes / 125, 50);
	percent = MAX(percent, ENOUGH_PERCENT);
	return MAX(nodes * percent / 100, ENOUGH_MIN);
}

/* ---- why not ---- */

struct tally {
	struct reason {
		char *text;
		unsigned n;
	} * v;
	size_t n, cap;
};

static void tally_add(struct tally *t, const struct sched_verdict *v)
{
	for (unsigned i = 0; i < v->n; i++) {
		size_t j = 0;
		while (j < t->n && strcmp(t->v[j].text, v->reasons[i]) != 0)
			j++;
		if (j == t->n) {
			GROW(t->v, t->cap, t->n + 1);
			t->v[t->n++] = (struct reason){xstrdup(v->reasons[i]), 0};
		}
		t->v[j].n++;
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void tally_write(const struct tally *t, size_t nodes, struct buf *out)
{
	if (nodes == 0) {
		buf_adds(out, "no nodes available to schedule pods");
		return;
	}
	_cleanup_free_ char **lines = NEW_N(char *, t->n + 1);
	for (size_t i = 0; i < t->n; i++)
		lines[i] = xasprintf("%u %s", t->v[i].n, t->v[i].text);
	qsort(lines, t->n, sizeof(*lines), by_text);
	buf_addf(out, "0/%zu nodes are available:", nodes);
	for (size_t i = 0; i < t->n; i++) {
		buf_addf(out, "%s %s", i ? "," : "", lines[i]);
		free(lines[i]);
	}
	buf_addc(out, '.');
}

static void tally_done(struct tally *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].text);
	free(t->v);
}

/* ---- filter ---- */

struct states {
	void *v[SCHED_PLUGINS_MAX];
};

static void prepare(struct states *s, const struct cache *c, const struct sched_pod *pod, struct sched_node *const *fit,
		    size_t n)
{
	for (size_t i = 0; sched_plugins[i]; i++) {
		MUST(i < SCHED_PLUGINS_MAX);
		s->v[i] = sched_plugins[i]->prepare ? sched_plugins[i]->prepare(c, pod, fit, n) : NULL;
	}
}

static void release(struct states *s)
{
	for (size_t i = 0; sched_plugins[i]; i++)
		if (s->v[i])
			sched_plugins[i]->release(s->v[i]);
}

static bool has_a_say(const struct states *s, size_t i)
{
	return !sched_plugins[i]->prepare || s->v[i];
}

/* The first plugin that says no ends it, as upstream: its reasons are the node's. */
static bool will_do(const struct states *s, const struct sched_pod *pod, const struct sched_node *node, struct tally *t)
{
	struct sched_verdict v;
	v.n = 0;
	for (size_t i = 0; sched_plugins[i]; i++) {
		if (!sched_plugins[i]->filter || !has_a_say(s, i))
			continue;
		sched_plugins[i]->filter(s->v[i], pod, node, &v);
		if (v.n) {
			tally_add(t, &v);
			return false;
		}
	}
	return true;
}

/* ---- score ---- */

static struct sched_node *best(const struct cache *c, const struct sched_pod *pod, struct sched_node *const *nodes,
			       size_t n, uint64_t (*random)(void *arg, uint64_t n), void *arg)
{
	struct states states = {0};
	if (n == 1)
		return nodes[0];
	prepare(&states, c, pod, nodes, n);
	_cleanup_free_ int64_t *total = NEW_N(int64_t, n), *scores = NEW_N(int64_t, n);
	for (size_t p = 0; sched_plugins[p]; p++) {
		const struct sched_plugin *plugin = sched_plugins[p];
		if (!plugin->score || !has_a_say(&states, p))
			continue;
		for (size_t i = 0; i < n; i++)
			scores[i] = plugin->score(states.v[p], pod, nodes[i]);
		if (plugin->normalize)
			plugin->normalize(scores, n);
		for (size_t i = 0; i < n; i++)
			total[i] += plugin->weight * scores[i];
	}
	release(&states);
	size_t at = 0;
	uint64_t equals = 1;
	for (size_t i = 1; i < n; i++) {
		if (total[i] > total[at]) {
			at = i;
			equals = 1;
		} else if (total[i] == total[at] && random(arg, ++equals) == 0) {
			at = i;
		}
	}
	return nodes[at];
}

struct sched_node *cache_choose(struct cache *c, const struct sched_pod *pod, uint64_t (*random)(void *arg, uint64_t n),
				void *arg, struct buf *ret_why, size_t *ret_looked)
{
	size_t nodes = c->n_sorted, want = enough(nodes), n = 0, looked = 0;
	_cleanup_free_ struct sched_node **fit = NEW_N(struct sched_node *, want + 1);
	struct tally tally = {0};
	struct states states = {0};
	prepare(&states, c, pod, NULL, 0);
	size_t start = nodes ? c->next % nodes : 0;
	while (looked < nodes && n < want) {
		struct sched_node *node = c->sorted[(start + looked) % nodes];
		looked++;
		if (will_do(&states, pod, node, &tally))
			fit[n++] = node;
	}
	c->next = nodes ? (start + looked) % nodes : 0;
	release(&states);
	*ret_looked = looked;
	struct sched_node *chosen = n ? best(c, pod, fit, n, random, arg) : NULL;
	if (!chosen && ret_why)
		tally_write(&tally, nodes, ret_why);
	tally_done(&tally);
	return chosen;
}
