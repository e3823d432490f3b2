/* The iptables dataplane: rules computed whole, applied as the difference by one atomic iptables-restore per table. */
#include <errno.h>
#include <pthread.h>

#include "lib/core/file.h"
#include "lib/core/journal.h"
#include "lib/core/proc.h"
#include "proxy/rules.h"

#define LOCALNET "/proc/sys/net/ipv4/conf/all/route_localnet"

struct iptables {
	struct dataplane base;
	struct env *env;
	struct dataplane_config config;
	char *cluster_cidr, *service_cidr, *bridge;
	struct rules applied; /* what the kernel holds; valid once `full` is false */
	bool full;            /* the next sync states everything: at first, and after a failure */
	unsigned refs;        /* its owner, and syncs under way */
	/* Whoever changes the kernel's rules; once they have been cleaned up, no late sync brings them back. */
	pthread_mutex_t kernel;
	bool cleaned;
};

/* One sync under way. */
struct sync_job {
	struct env_work work;
	struct iptables *dp;
	struct rules rules;
	struct buf text;
	struct err err;
	bool full;
	void (*done)(void *arg, const struct err *err);
	void *arg;
};

/* What iptables-save shows of ours: chains (with a text that no rules equal), and jumps into them from built-in chains,
 * keyed "table chain target". */
struct saved {
	struct rules chains;
	struct map jumps;
};

static void saved_done(struct saved *s)
{
	rules_done(&s->chains);
	s->jumps.free_value = free;
	map_done(&s->jumps);
}

static int run_tool(const char *const argv[], const struct buf *in, struct buf *ret_out, struct err *err)
{
	_cleanup_buf_ struct buf complaint = BUF_INIT;
	int status, r = proc_run(argv, in, ret_out, &complaint, &status, err);
	if (r < 0)
		return r;
	if (status != 0)
		return err_set(err, -EIO, "%s failed: %.300s", argv[0], buf_str(&complaint));
	return 0;
}

static int restore(const struct buf *text, struct err *err)
{
	const char *const argv[] = {"iptables-restore", "-w", "5", "--noflush", NULL};
	return text->len ? run_tool(argv, text, NULL, err) : 0;
}

static void saved_line(struct saved *s, const char *table, const char *line)
{
	char chain[64];
	struct map *chains = streq(table, "nat") ? &s->chains.nat : &s->chains.filter;
	const char *target = strstr(line, "-j KUBE-");
	if (sscanf(line, ":%63s", chain) == 1 && str_starts(chain, "KUBE-")) {
		map_set(chains, chain, xstrdup("?"));
	} else if (target && sscanf(line, "-A %63s", chain) == 1 && !str_starts(chain, "KUBE-")) {
		char key[160];
		snprintf(key, sizeof(key), "%s %s %.60s", table, chain, target + 3);
		map_set(&s->jumps, key, xstrdup(line));
	}
}

static int saved_read(struct saved *ret, struct err *err)
{
	const char *const argv[] = {"iptables-save", NULL};
	_cleanup_buf_ struct buf text = BUF_INIT;
	int r = run_tool(argv, NULL, &text, err);
	if (r < 0)
		return r;
	*ret = (struct saved){.chains = {{.free_value = free}, {.free_value = free}}, .jumps = {.free_value = free}};
	char table[32] = "", *save;
	for (char *line = text.data ? strtok_r(text.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '*')
			snprintf(table, sizeof(table), "%.30s", line + 1);
		else if (streq(table, "nat") || streq(table, "filter"))
			saved_line(ret, table, line);
	}
	return 0;
}

/* The jumps from built-in chains that are missing. They go in front: what a host's firewall drops later must not cut
 * pods off; only the masquerading of what leaves goes last. */
static void add_jumps(const struct saved *s, struct buf *out)
{
	for (size_t i = 0; i < n_rules_jumps; i++) {
		const struct rules_jump *j = &rules_jumps[i];
		char key[160];
		snprintf(key, sizeof(key), "%s %s %s", j->table, j->chain, strstr(j->rule, "-j ") + 3);
		if (!map_has(&s->jumps, key))
			buf_addf(out, "*%s\n-%c %s %s\nCOMMIT\n", j->table, streq(j->chain, "POSTROUTING") ? 'A' : 'I',
				 j->chain, j->rule);
	}
}

static void apply(struct sync_job *job)
{
	if (job->full) {
		struct saved s = {0};
		if (saved_read(&s, &job->err) < 0)
			return;
		rules_diff(&s.chains, &job->rules, &job->text);
		add_jumps(&s, &job->text);
		saved_done(&s);
	}
	restore(&job->text, &job->err);
}

static void sync_work(struct env_work *w)
{
	struct sync_job *job = CONTAINER_OF(w, struct sync_job, work);
	pthread_mutex_lock(&job->dp->kernel);
	if (!job->dp->cleaned)
		apply(job);
	pthread_mutex_unlock(&job->dp->kernel);
}

static void unref(struct iptables *dp)
{
	if (--dp->refs)
		return;
	rules_done(&dp->applied);
	pthread_mutex_destroy(&dp->kernel);
	free(dp->cluster_cidr);
	free(dp->service_cidr);
	free(dp->bridge);
	free(dp);
}

static void sync_done(struct env_work *w)
{
	struct sync_job *job = CONTAINER_OF(w, struct sync_job, work);
	struct iptables *dp = job->dp;
	rules_done(&dp->applied);
	if (job->err.code == 0) {
		dp->applied = job->rules;
		dp->full = false;
	} else {
		/* Nobody knows what the kernel holds now: look and say everything again next time. */
		rules_done(&job->rules);
		dp->full = true;
	}
	buf_done(&job->text);
	job->done(job->arg, &job->err);
	err_done(&job->err);
	free(job);
	unref(dp);
}

static void op_sync(struct dataplane *base, const struct proxy_map *map, void (*done)(void *, const struct err *),
		    void *arg)
{
	struct iptables *dp = CONTAINER_OF(base, struct iptables, base);
	struct sync_job *job = NEW(struct sync_job);
	job->work = (struct env_work){.work = sync_work, .done = sync_done, .lane = ENV_LANE_POOL};
	job->dp = dp;
	dp->refs++;
	job->done = done;
	job->arg = arg;
	job->full = dp->full;
	rules_build(map, &dp->config, &job->rules);
	if (!job->full)
		rules_diff(&dp->applied, &job->rules, &job->text);
	env_submit(dp->env, &job->work);
}

static int op_start(struct dataplane *base, struct err *err)
{
	struct iptables *dp = CONTAINER_OF(base, struct iptables, base);
	_cleanup_buf_ struct buf localnet = BUF_INIT;
	struct saved s;
	int r = saved_read(&s, err);
	if (r < 0)
		return err ? err_prefix(err, "the iptables package is needed") : r;
	unsigned n = s.chains.nat.count + s.chains.filter.count;
	saved_done(&s);
	if (n && !journal_has(dp->config.journal, JOURNAL_RULES, "proxy"))
		return err_set(
			err, -EEXIST,
			"iptables already holds %u KUBE-* chains of another cluster or of kube-proxy: stop that one "
			"(minid demo --reset, kubeadm reset, k3s-killall.sh), or run mini in a network namespace of its own",
			n);
	r = journal_add(dp->config.journal, JOURNAL_RULES, "proxy", NULL, err);
	if (r == 0)
		r = file_read(LOCALNET, 16, &localnet, err);
	if (r == 0 && localnet.data[0] != '1') {
		r = journal_add(dp->config.journal, JOURNAL_SYSCTL, LOCALNET, "0", err);
		if (r == 0)
			r = file_write(LOCALNET, "1", err);
	}
	return r;
}

static void undo_table(const char *table, const struct map *chains, const struct map *jumps, struct buf *out)
{
	if (!chains->count)
		return;
	buf_addf(out, "*%s\n", table);
	MAP_EACH (chains, c) {
		buf_addf(out, ":%s - [0:0]\n", c->key);
	}
	MAP_EACH (jumps, j) {
		if (str_starts(j->key, table))
			buf_addf(out, "-D %s\n", (const char *)j->value + 3);
	}
	MAP_EACH (chains, c) {
		buf_addf(out, "-X %s\n", c->key);
	}
	buf_adds(out, "COMMIT\n");
}

int dataplane_iptables_cleanup(struct err *err)
{
	_cleanup_buf_ struct buf undo = BUF_INIT;
	struct saved s;
	int r = saved_read(&s, err);
	if (r < 0)
		return r;
	undo_table("nat", &s.chains.nat, &s.jumps, &undo);
	undo_table("filter", &s.chains.filter, &s.jumps, &undo);
	saved_done(&s);
	return restore(&undo, err);
}

static int op_cleanup(struct dataplane *base, struct err *err)
{
	struct iptables *dp = CONTAINER_OF(base, struct iptables, base);
	pthread_mutex_lock(&dp->kernel);
	int r = dataplane_iptables_cleanup(err);
	dp->cleaned = true;
	pthread_mutex_unlock(&dp->kernel);
	rules_done(&dp->applied);
	dp->full = true;
	return r < 0 ? r : journal_remove(dp->config.journal, JOURNAL_RULES, "proxy", err);
}

static void op_free(struct dataplane *base)
{
	unref(CONTAINER_OF(base, struct iptables, base));
}

static const struct dataplane_ops ops = {.start = op_start, .sync = op_sync, .cleanup = op_cleanup, .free = op_free};

int dataplane_iptables_new(struct env *env, const struct dataplane_config *config, struct dataplane **ret,
			   struct err *err)
{
	(void)err;
	struct iptables *dp = NEW(struct iptables);
	dp->base.ops = &ops;
	dp->refs = 1;
	pthread_mutex_init(&dp->kernel, NULL);
	dp->env = env;
	dp->config = *config;
	dp->config.cluster_cidr = dp->cluster_cidr = xstrdup(config->cluster_cidr);
	dp->config.service_cidr = dp->service_cidr = xstrdup(config->service_cidr);
	dp->config.bridge = dp->bridge = xstrdup(config->bridge);
	dp->config.instance = NULL;
	dp->full = true;
	*ret = &dp->base;
	return 0;
}
