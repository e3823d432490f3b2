#include "tests/support/nodeagent/pod_world.h"

#include <unistd.h>

#include "lib/core/env_sim.h"
#include "lib/core/file.h"

#define START_US 1767366245000000ll /* 2026-01-02T15:04:05Z */

static void on_endpoint(struct env_timer *t)
{
	struct world *w = CONTAINER_OF(t, struct world, endpoint_timer);
	w->endpoint_gone_at_ms = env_now_ms(w->env);
	w->endpoint_done(w->endpoint_arg);
}

static void ask_endpoint(void *ctx, const char *ns, const char *name, const char *ip, void (*done)(void *), void *arg)
{
	struct world *w = ctx;
	(void)ns;
	(void)name;
	(void)ip;
	w->endpoint_done = done;
	w->endpoint_arg = arg;
	w->endpoint_timer.fn = on_endpoint;
	env_timer_start(w->env, &w->endpoint_timer, w->endpoint_gone_after_us);
}

void agent_up(struct world *w)
{
	struct err err = ERR_INIT;
	const struct nodeagent_config k = {
		.node_name = "n1",
		.node_ip = "192.168.1.1",
		.dir = w->dir,
		.cgroup_root = "/kubepods",
		.client = w->client,
		.runtime = w->runtime,
		.cluster_dns = "10.96.0.10",
		.endpoints_gone = ask_endpoint,
		.endpoints_gone_ctx = w,
	};
	assert_int_equal(nodeagent_new(w->env, NULL, &k, &w->agent, &err), 0);
	nodeagent__set_host(w->agent, w->host);
	nodeagent_start(w->agent);
	env_sim_run_for(w->env, 100 * MS);
}

void on_flag(void *arg)
{
	*(bool *)arg = true;
}

void agent_down(struct world *w)
{
	bool closed = false;
	nodeagent_close(w->agent, on_flag, &closed);
	env_sim_run_for(w->env, 10 * MS);
	assert_true(closed);
	w->agent = NULL;
}

int world_setup(void **state)
{
	struct world *w = NEW(struct world);
	snprintf(w->dir, sizeof(w->dir), "/tmp/mini-pod-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->env = env_sim_new(7, START_US);
	w->client = fake_client_new(w->env);
	w->runtime = fake_runtime_new(w->env);
	w->host = fake_host_new();
	fake_runtime_image(w->runtime, "web");
	fake_add(w->client, "{'kind':'Namespace','apiVersion':'v1','metadata':{'name':'kube-node-lease'}}");
	fake_add(w->client, "{'kind':'Namespace','apiVersion':'v1','metadata':{'name':'default'}}");
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	if (w->agent)
		agent_down(w);
	fake_runtime_free(w->runtime);
	client_free(w->client);
	w->host->ops->free(w->host);
	rm_rf(w->dir, NULL);
	env_sim_free(w->env);
	free(w);
	return 0;
}

void add_pod(struct world *w, const char *spec)
{
	fake_add(
		w->client,
		"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default','uid':'u1','labels':{'a':"
		"'b'}},'spec':{'nodeName':'n1',%s}}",
		spec);
}

const char *uid(struct world *w)
{
	struct object *o = fake_find(w->client, "Pod", "default", "p");
	assert_non_null(o);
	return o->uid;
}

const char *id(struct world *w, const char *name, unsigned attempt)
{
	static char text[4][128];
	static unsigned turn;
	char *s = text[turn++ % 4];
	pod_container_id(s, uid(w), name, attempt);
	return s;
}

json_t *pod_status(struct world *w)
{
	json_t *tree = fake_tree(w->client, "Pod", "default", "p");
	assert_non_null(tree);
	json_t *s = json_incref(json_object_get(tree, "status"));
	json_decref(tree);
	return s;
}

const char *phase(struct world *w)
{
	static char text[32];
	json_t *s = pod_status(w);
	snprintf(text, sizeof(text), "%s", json_get_str(s, "phase", ""));
	json_decref(s);
	return text;
}

json_t *cstatus(struct world *w, unsigned i)
{
	json_t *s = pod_status(w);
	json_t *c = json_incref(json_array_get(json_object_get(s, "containerStatuses"), i));
	json_decref(s);
	return c;
}

const char *condition(struct world *w, const char *type)
{
	static char text[32];
	json_t *s = pod_status(w), *c;
	size_t i;
	text[0] = 0;
	json_array_foreach(json_object_get(s, "conditions"), i, c)
	{
		if (streq(json_get_str(c, "type", ""), type))
			snprintf(text, sizeof(text), "%s", json_get_str(c, "status", ""));
	}
	json_decref(s);
	return text;
}

unsigned events(struct world *w, const char *reason)
{
	unsigned n = 0;
	for (size_t i = 0;; i++) {
		struct object *o = fake_nth(w->client, "Event", NULL, i);
		if (!o)
			return n;
		json_t *t = object_tree(o);
		if (streq(json_get_str(t, "reason", ""), reason))
			n += (unsigned)json_get_int(t, "count", 1);
		json_decref(t);
	}
}

void run(struct world *w, uint64_t ms)
{
	env_sim_run_for(w->env, ms * MS);
}

unsigned asked(struct world *w, const char *verb, const char *what)
{
	char text[256];
	snprintf(text, sizeof(text), "%s %s", verb, what);
	return fake_runtime_asked(w->runtime, text);
}

uint64_t when(struct world *w, const char *verb, const char *what)
{
	char text[256];
	snprintf(text, sizeof(text), "%s %s", verb, what);
	return fake_runtime_when(w->runtime, text, 0);
}
