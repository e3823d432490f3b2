#include "tests/support/fake_cluster.h"

#include "lib/core/env_sim.h"

#define TICK_US 100000u

static const char *pod_node(const json_t *pod)
{
	return json_get_str(json_object_get(pod, "spec"), "nodeName", "");
}

static int64_t age_us(struct fake_cluster *f, const json_t *pod)
{
	int64_t us = 0;
	const char *s = json_get_str(json_object_get(pod, "status"), "startTime", "");
	if (!*s)
		return -1;
	time_parse_us(s, &us);
	return env_wall_us(f->env) - us;
}

static void start_pod(struct fake_cluster *f, struct object *pod)
{
	char now[32];
	f->ips++;
	fake_patch(
		f->client, "Pod", pod->ns, pod->name,
		"{'status':{'phase':'Running','startTime':'%s','podIP':'10.244.%u.%u','conditions':["
		"{'type':'PodScheduled','status':'True'},{'type':'Ready','status':'False','lastTransitionTime':'%s'}]}}",
		time_format_us(env_wall_us(f->env), (char[32]){0}), f->ips / 250 % 250, f->ips % 250 + 1,
		time_format_s(env_wall_s(f->env), now));
}

static void ready_pod(struct fake_cluster *f, struct object *pod)
{
	char now[32];
	fake_patch(f->client, "Pod", pod->ns, pod->name,
		   "{'status':{'conditions':[{'type':'PodScheduled','status':'True'},"
		   "{'type':'Ready','status':'True','lastTransitionTime':'%s'}]}}",
		   time_format_s(env_wall_s(f->env), now));
}

static bool is_ready(const json_t *pod)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_path(pod, "status", "conditions", NULL), i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), "Ready"))
			return !strcmp(json_get_str(c, "status", ""), "True");
	}
	return false;
}

static void tend_pod(struct fake_cluster *f, struct object *pod)
{
	_cleanup_json_ json_t *tree = object_tree(pod);
	const char *node = pod_node(tree);
	if (!*node) {
		if (f->bind && !meta_deleting(tree))
			fake_patch(f->client, "Pod", pod->ns, pod->name, "{'spec':{'nodeName':'node-0'}}");
		return;
	}
	if (f->dead_node && !strcmp(node, f->dead_node))
		return;
	if (meta_deleting(tree)) { /* stops at once, then the agent's final delete */
		fake_delete(f->client, "Pod", pod->ns, pod->name, NULL, 0);
		return;
	}
	const json_t *container = json_array_get(json_path(tree, "spec", "containers", NULL), 0);
	bool broken = f->broken_image && !strcmp(json_get_str(container, "image", ""), f->broken_image);
	int64_t age = age_us(f, tree);
	if (age < 0)
		start_pod(f, pod);
	else if (!is_ready(tree) && !broken && age >= (int64_t)f->ready_after_us)
		ready_pod(f, pod);
}

static void tend_leases(struct fake_cluster *f)
{
	char now[32], name[32];
	time_format_us(env_wall_us(f->env), now);
	for (unsigned i = 0; i < f->nodes; i++) {
		snprintf(name, sizeof(name), "node-%u", i);
		if (f->dead_node && !strcmp(f->dead_node, name))
			continue;
		if (fake_find(f->client, "Lease", "kube-node-lease", name))
			fake_patch(f->client, "Lease", "kube-node-lease", name, "{'spec':{'renewTime':'%s'}}", now);
	}
}

static void on_tick(struct env_timer *t)
{
	struct fake_cluster *f = CONTAINER_OF(t, struct fake_cluster, tick);
	if (f->kubelet) {
		/* Names first: tending changes the table. */
		size_t n = fake_count(f->client, "Pod", NULL);
		struct object **pods = NEW_N(struct object *, n + 1);
		for (size_t i = 0; i < n; i++)
			pods[i] = object_ref(fake_nth(f->client, "Pod", NULL, i));
		for (size_t i = 0; i < n; i++) {
			tend_pod(f, pods[i]);
			object_unref(pods[i]);
		}
		free(pods);
		if (env_now_us(f->env) / TICK_US % 100 == 0)
			tend_leases(f);
	}
	env_timer_start(f->env, t, TICK_US);
}

void fake_cluster_init(struct fake_cluster *f, uint64_t seed)
{
	*f = (struct fake_cluster){.ready_after_us = SECOND};
	f->env = env_sim_new(seed, 1767225600000000); /* 2026-01-01 */
	f->client = fake_client_new(f->env);
	f->tick.fn = on_tick;
	env_timer_start(f->env, &f->tick, TICK_US);
	for (size_t i = 0; i < 4; i++) {
		static const char *const names[] = {"default", "kube-system", "kube-node-lease", "kube-public"};
		fake_add(f->client, "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'%s'}}", names[i]);
	}
}

void fake_cluster_done(struct fake_cluster *f)
{
	env_timer_stop(f->env, &f->tick);
	client_free(f->client);
	env_sim_free(f->env);
}

void fake_cluster_add_nodes(struct fake_cluster *f, unsigned n, const char *cpu, const char *memory)
{
	char now[32];
	time_format_s(env_wall_s(f->env), now);
	for (unsigned i = 0; i < n; i++, f->nodes++) {
		fake_add(f->client,
			 "{'kind':'Node','metadata':{'name':'node-%u','labels':{'kubernetes.io/hostname':'node-%u'}},"
			 "'status':{'allocatable':{'cpu':'%s','memory':'%s','pods':'110'},'conditions':["
			 "{'type':'Ready','status':'True','lastHeartbeatTime':'%s','lastTransitionTime':'%s'}]}}",
			 f->nodes, f->nodes, cpu, memory, now, now);
		fake_add(f->client,
			 "{'kind':'Lease','metadata':{'name':'node-%u','namespace':'kube-node-lease'},'spec':{}}",
			 f->nodes);
	}
}

void fake_run(struct fake_cluster *f, uint64_t us)
{
	env_sim_run_for(f->env, us);
}

size_t fake_ready_pods(struct fake_cluster *f, const char *ns)
{
	size_t ready = 0;
	struct object *o;
	for (size_t i = 0; (o = fake_nth(f->client, "Pod", ns, i)) != NULL; i++) {
		_cleanup_json_ json_t *tree = object_tree(o);
		ready += is_ready(tree) && !meta_deleting(tree);
	}
	return ready;
}

const char *fake_text(struct fake_cluster *f, const char *kind, const char *ns, const char *name, const char *path)
{
	static char out[1024];
	_cleanup_json_ json_t *tree = fake_tree(f->client, kind, ns, name);
	const json_t *v = tree;
	char step[128];
	while (v && *path) {
		size_t n = strcspn(path, "|");
		snprintf(step, sizeof(step), "%.*s", (int)n, path);
		v = json_object_get(v, step);
		path += n + (path[n] != '\0');
	}
	if (json_is_string(v))
		snprintf(out, sizeof(out), "%s", json_string_value(v));
	else if (json_is_integer(v))
		snprintf(out, sizeof(out), "%lld", (long long)json_integer_value(v));
	else
		out[0] = '\0';
	return out;
}

const char *fake_condition(struct fake_cluster *f, const char *kind, const char *ns, const char *name, const char *type)
{
	static char out[256];
	_cleanup_json_ json_t *tree = fake_tree(f->client, kind, ns, name);
	size_t i;
	json_t *c;
	out[0] = '\0';
	json_array_foreach(json_path(tree, "status", "conditions", NULL), i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), type))
			snprintf(out, sizeof(out), "%s|%s", json_get_str(c, "status", ""),
				 json_get_str(c, "reason", ""));
	}
	return out;
}

size_t fake_events(struct fake_cluster *f, const char *reason, const char *text)
{
	size_t n = 0;
	struct object *o;
	for (size_t i = 0; (o = fake_nth(f->client, "Event", NULL, i)) != NULL; i++) {
		_cleanup_json_ json_t *tree = object_tree(o);
		n += !strcmp(json_get_str(tree, "reason", ""), reason) &&
		     strstr(json_get_str(tree, "message", ""), text) != NULL;
	}
	return n;
}
