/* Endpoints, namespaces, garbage, nodes, accounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/controllers/world.h"

static int setup(void **state)
{
	return world_new(state, 7, 2);
}

static void add_web(struct world *w, const char *ns, int replicas)
{
	fake_add(w->f.client,
		 "{'kind':'Deployment','metadata':{'name':'web','namespace':'%s'},'spec':{'replicas':%d,'selector':"
		 "{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{"
		 "'terminationGracePeriodSeconds':5,'containers':[{'name':'c','image':'web:1','ports':[{'name':'http',"
		 "'containerPort':8080}]}]}}}}",
		 ns, replicas);
}

static void add_service(struct world *w)
{
	fake_add(w->f.client, "{'kind':'Service','metadata':{'name':'web','labels':{'a':'b'}},'spec':{'clusterIP':"
			      "'10.96.0.5','selector':{'app':'web'},'ports':[{'name':'http','port':80,"
			      "'targetPort':'http'},{'name':'other','port':81}]}}");
}

static json_t *only_slice(struct world *w)
{
	assert_int_equal(fake_count(w->f.client, "EndpointSlice", "default"), 1);
	return object_tree(fake_nth(w->f.client, "EndpointSlice", "default", 0));
}

static void test_endpoints(void **state)
{
	struct world *w = *state;
	add_service(w);
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *empty = only_slice(w);
	assert_int_equal(json_array_size(json_object_get(empty, "endpoints")), 0);
	add_web(w, "default", 3);
	fake_run(&w->f, 10 * SECOND);
	_cleanup_json_ json_t *slice = NULL;
	struct object *o;
	size_t n = 0;
	for (size_t i = 0; (o = fake_nth(w->f.client, "EndpointSlice", "default", i)) != NULL; i++) {
		json_t *t = object_tree(o);
		size_t k = json_array_size(json_object_get(t, "endpoints"));
		n += k;
		if (k && !slice)
			slice = t;
		else
			json_decref(t);
	}
	assert_int_equal(n, 3);
	assert_string_equal(meta_label(slice, "kubernetes.io/service-name"), "web");
	assert_string_equal(meta_label(slice, "endpointslice.kubernetes.io/managed-by"),
			    "endpointslice-controller.k8s.io");
	assert_string_equal(meta_label(slice, "a"), "b");
	const json_t *ports = json_object_get(slice, "ports");
	assert_int_equal(json_get_int(json_array_get(ports, 0), "port", 0), 8080);
	assert_int_equal(json_get_int(json_array_get(ports, 1), "port", 0), 81);
	const json_t *e = json_array_get(json_object_get(slice, "endpoints"), 0);
	assert_true(json_get_bool(json_object_get(e, "conditions"), "ready", false));
	assert_string_equal(json_get_str(e, "nodeName", ""), "node-0");
	_cleanup_json_ json_t *ep = fake_tree(w->f.client, "Endpoints", "default", "web");
	const json_t *subset = json_array_get(json_object_get(ep, "subsets"), 0);
	assert_int_equal(json_array_size(json_object_get(subset, "addresses")), 3);
	assert_int_equal(json_array_size(json_object_get(subset, "ports")), 2);
}

static void test_terminating_is_not_ready(void **state)
{
	struct world *w = *state;
	add_service(w);
	add_web(w, "default", 1);
	fake_run(&w->f, 10 * SECOND);
	w->f.kubelet = false; /* the pod stays while it terminates */
	struct object *pod = object_ref(fake_nth(w->f.client, "Pod", "default", 0));
	fake_delete(w->f.client, "Pod", "default", pod->name, NULL, -1);
	fake_run(&w->f, SECOND / 10);
	bool seen = false;
	struct object *o;
	for (size_t i = 0; (o = fake_nth(w->f.client, "EndpointSlice", "default", i)) != NULL; i++) {
		_cleanup_json_ json_t *t = object_tree(o);
		size_t j;
		json_t *e;
		json_array_foreach(json_object_get(t, "endpoints"), j, e)
		{
			const json_t *c = json_object_get(e, "conditions");
			if (strcmp(json_get_str(json_object_get(e, "targetRef"), "uid", ""), pod->uid) != 0)
				continue;
			seen = true;
			assert_false(json_get_bool(c, "ready", true));
			assert_true(json_get_bool(c, "serving", false));
			assert_true(json_get_bool(c, "terminating", false));
		}
	}
	assert_true(seen);
	_cleanup_json_ json_t *ep = fake_tree(w->f.client, "Endpoints", "default", "web");
	assert_int_equal(json_array_size(json_object_get(ep, "subsets")), 0);
	object_unref(pod);
}

static void test_many_endpoints(void **state)
{
	struct world *w = *state;
	add_service(w);
	add_web(w, "default", 250);
	fake_run(&w->f, 20 * SECOND);
	size_t slices = 0, total = 0;
	struct object *o;
	for (size_t i = 0; (o = fake_nth(w->f.client, "EndpointSlice", "default", i)) != NULL; i++) {
		_cleanup_json_ json_t *t = object_tree(o);
		size_t n = json_array_size(json_object_get(t, "endpoints"));
		assert_in_range(n, 0, 100);
		total += n;
		slices++;
	}
	assert_int_equal(total, 250);
	assert_in_range(slices, 3, 4);
	fake_delete(w->f.client, "Service", "default", "web", NULL, -1);
	fake_run(&w->f, SECOND);
	assert_int_equal(fake_count(w->f.client, "EndpointSlice", "default"), 0);
	assert_int_equal(fake_count(w->f.client, "Endpoints", "default"), 0);
}

/* Endpoints made by hand for a service without a selector get slices; the service's own controller keeps out. */
static void test_mirrored_endpoints(void **state)
{
	struct world *w = *state;
	fake_add(w->f.client, "{'kind':'Service','metadata':{'name':'db'},'spec':{'clusterIP':'10.96.0.6','ports':[{"
			      "'port':80,'targetPort':5432}]}}");
	fake_add(w->f.client, "{'kind':'Endpoints','metadata':{'name':'db','labels':{'a':'b'}},'subsets':[{'addresses':"
			      "[{'ip':'192.0.2.1'},{'ip':'192.0.2.2','hostname':'h'}],'notReadyAddresses':[{'ip':"
			      "'192.0.2.3'}],'ports':[{'port':5432,'protocol':'TCP'}]}]}");
	fake_add(w->f.client, "{'kind':'Endpoints','metadata':{'name':'alone'},'subsets':[{'addresses':[{'ip':"
			      "'192.0.2.9'}],'ports':[{'port':1}]}]}");
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *slice = only_slice(w);
	assert_string_equal(meta_label(slice, "kubernetes.io/service-name"), "db");
	assert_string_equal(meta_label(slice, "endpointslice.kubernetes.io/managed-by"),
			    "endpointslicemirroring-controller.k8s.io");
	assert_string_equal(meta_label(slice, "a"), "b");
	json_t *list = json_object_get(slice, "endpoints");
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(json_get_str(json_array_get(list, 1), "hostname", ""), "h");
	assert_false(json_get_bool(json_object_get(json_array_get(list, 2), "conditions"), "ready", true));
	fake_patch(w->f.client, "Endpoints", "default", "db",
		   "{'subsets':[{'addresses':[{'ip':'192.0.2.4'}],'ports':[{"
		   "'port':5432,'protocol':'TCP'}]}]}");
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *changed = only_slice(w);
	assert_int_equal(json_array_size(json_object_get(changed, "endpoints")), 1);
	assert_string_equal(json_get_str(json_object_get(changed, "metadata"), "name", ""),
			    json_get_str(json_object_get(slice, "metadata"), "name", "-"));
	/* a service that gets a selector is the other controller's */
	fake_patch(w->f.client, "Service", "default", "db", "{'spec':{'selector':{'app':'db'}}}");
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *own = only_slice(w);
	assert_string_equal(meta_label(own, "endpointslice.kubernetes.io/managed-by"),
			    "endpointslice-controller.k8s.io");
}

/* A ClusterRole that gathers others has their rules, each once, and follows them. */
static void test_aggregated_roles(void **state)
{
	struct world *w = *state;
	fake_add(w->f.client,
		 "{'kind':'ClusterRole','metadata':{'name':'all'},'aggregationRule':{'clusterRoleSelectors':"
		 "[{'matchLabels':{'to':'all'}}]},'rules':[]}");
	fake_add(w->f.client, "{'kind':'ClusterRole','metadata':{'name':'b','labels':{'to':'all'}},'rules':[{'verbs':"
			      "['get'],'apiGroups':[''],'resources':['pods']}]}");
	fake_add(w->f.client, "{'kind':'ClusterRole','metadata':{'name':'a','labels':{'to':'all'}},'rules':[{'verbs':"
			      "['list'],'apiGroups':[''],'resources':['pods']},{'verbs':['get'],'apiGroups':[''],"
			      "'resources':['pods']}]}");
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *all = fake_tree(w->f.client, "ClusterRole", NULL, "all");
	assert_int_equal(json_array_size(json_object_get(all, "rules")), 2);
	assert_string_equal(json_string_value(json_array_get(
				    json_object_get(json_array_get(json_object_get(all, "rules"), 0), "verbs"), 0)),
			    "list");
	fake_delete(w->f.client, "ClusterRole", NULL, "a", NULL, -1);
	fake_run(&w->f, SECOND);
	_cleanup_json_ json_t *less = fake_tree(w->f.client, "ClusterRole", NULL, "all");
	assert_int_equal(json_array_size(json_object_get(less, "rules")), 1);
}

static void test_cascade(void **state)
{
	struct world *w = *state;
	add_web(w, "default", 3);
	fake_run(&w->f, 10 * SECOND);
	fake_delete(w->f.client, "Deployment", "default", "web", "Background", -1);
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 0);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 0);
}

static void test_foreground(void **state)
{
	struct world *w = *state;
	add_web(w, "default", 3);
	fake_run(&w->f, 10 * SECOND);
	w->f.kubelet = false;
	fake_delete(w->f.client, "Deployment", "default", "web", "Foreground", -1);
	fake_run(&w->f, 5 * SECOND);
	assert_non_null(fake_find(w->f.client, "Deployment", "default", "web"));
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 1);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 3);
	w->f.kubelet = true;
	fake_run(&w->f, 5 * SECOND);
	assert_null(fake_find(w->f.client, "Deployment", "default", "web"));
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 0);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 0);
}

static void test_orphan(void **state)
{
	struct world *w = *state;
	add_web(w, "default", 3);
	fake_run(&w->f, 10 * SECOND);
	fake_delete(w->f.client, "Deployment", "default", "web", "Orphan", -1);
	fake_run(&w->f, 10 * SECOND);
	assert_null(fake_find(w->f.client, "Deployment", "default", "web"));
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 1);
	assert_int_equal(fake_ready_pods(&w->f, "default"), 3);
	add_web(w, "default", 3); /* takes its pods in again, without touching one */
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 1);
	assert_int_equal(fake_calls(w->f.client, CLIENT_CREATE, "Pod", NULL), 3);
}

static void test_absent_owner(void **state)
{
	struct world *w = *state;
	fake_run(&w->f, SECOND);
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'left','ownerReferences':[{'apiVersion':'v1',"
			      "'kind':'Pod','name':'never','uid':'no-such-uid'}]}}");
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'kept','ownerReferences':[{'apiVersion':'x/v1',"
			      "'kind':'Unknown','name':'never','uid':'no-such-uid-2'}]}}");
	fake_run(&w->f, SECOND);
	assert_null(fake_find(w->f.client, "ConfigMap", "default", "left"));
	assert_non_null(fake_find(w->f.client, "ConfigMap", "default", "kept"));
}

static void test_namespace(void **state)
{
	struct world *w = *state;
	fake_add(w->f.client, "{'kind':'Namespace','metadata':{'name':'team'}}");
	add_web(w, "team", 2);
	fake_add(w->f.client, "{'kind':'Secret','metadata':{'name':'s','namespace':'team'}}");
	fake_run(&w->f, 10 * SECOND);
	assert_non_null(fake_find(w->f.client, "ServiceAccount", "team", "default"));
	assert_string_equal(fake_text(&w->f, "ConfigMap", "team", "kube-root-ca.crt", "data|ca.crt"), "CA");
	assert_int_equal(fake_ready_pods(&w->f, "team"), 2);
	fake_add(w->f.client,
		 "{'kind':'ConfigMap','metadata':{'name':'held','namespace':'team','finalizers':['a.b/c']}}");
	fake_delete(w->f.client, "Namespace", NULL, "team", NULL, -1);
	fake_run(&w->f, 10 * SECOND);
	_cleanup_json_ json_t *ns = fake_tree(w->f.client, "Namespace", NULL, "team");
	json_t *conditions = json_path(ns, "status", "conditions", NULL);
	assert_int_equal(json_array_size(conditions), 5);
	assert_string_equal(json_get_str(json_array_get(conditions, 3), "message", ""),
			    "Some resources are remaining: configmaps. has 1 resource instances");
	assert_string_equal(json_get_str(json_array_get(conditions, 4), "message", ""),
			    "Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances");
	fake_patch(w->f.client, "ConfigMap", "team", "held", "{'metadata':{'finalizers':null}}");
	fake_run(&w->f, 10 * SECOND);
	assert_null(fake_find(w->f.client, "Namespace", NULL, "team"));
	assert_int_equal(fake_count(w->f.client, "Pod", "team"), 0);
	assert_int_equal(fake_count(w->f.client, "Secret", "team"), 0);
	assert_int_equal(fake_count(w->f.client, "ServiceAccount", "team"), 0);
	assert_true(controllers_idle(w->c));
}

static void test_account_comes_back(void **state)
{
	struct world *w = *state;
	fake_run(&w->f, SECOND);
	fake_delete(w->f.client, "ServiceAccount", "default", "default", NULL, -1);
	fake_patch(w->f.client, "ConfigMap", "default", "kube-root-ca.crt", "{'data':{'ca.crt':'other'}}");
	fake_run(&w->f, SECOND);
	assert_non_null(fake_find(w->f.client, "ServiceAccount", "default", "default"));
	assert_string_equal(fake_text(&w->f, "ConfigMap", "default", "kube-root-ca.crt", "data|ca.crt"), "CA");
}

static void test_pod_cidr(void **state)
{
	struct world *w = *state;
	fake_run(&w->f, SECOND);
	assert_string_equal(fake_text(&w->f, "Node", NULL, "node-0", "spec|podCIDR"), "10.244.0.0/24");
	assert_string_equal(fake_text(&w->f, "Node", NULL, "node-1", "spec|podCIDR"), "10.244.1.0/24");
	fake_delete(w->f.client, "Node", NULL, "node-0", NULL, -1);
	fake_run(&w->f, SECOND);
	fake_cluster_add_nodes(&w->f, 1, "1", "1Gi");
	fake_run(&w->f, SECOND);
	assert_string_equal(fake_text(&w->f, "Node", NULL, "node-2", "spec|podCIDR"), "10.244.0.0/24");
}

static bool tainted(struct world *w, const char *node, const char *key, const char *effect)
{
	_cleanup_json_ json_t *tree = fake_tree(w->f.client, "Node", NULL, node);
	size_t i;
	json_t *t;
	json_array_foreach(json_path(tree, "spec", "taints", NULL), i, t)
	{
		if (streq(json_get_str(t, "key", ""), key) && streq(json_get_str(t, "effect", ""), effect))
			return true;
	}
	return false;
}

static void test_node_lost(void **state)
{
	struct world *w = *state;
	add_web(w, "default", 2);
	fake_run(&w->f, 2 * MINUTE);
	assert_int_equal(fake_ready_pods(&w->f, "default"), 2);
	assert_string_equal(fake_condition(&w->f, "Node", NULL, "node-0", "Ready"), "True|");
	w->f.dead_node = "node-0";
	w->f.bind = false;
	fake_run(&w->f, 30 * SECOND);
	assert_string_equal(fake_condition(&w->f, "Node", NULL, "node-0", "Ready"), "True|");
	fake_run(&w->f, 20 * SECOND);
	assert_string_equal(fake_condition(&w->f, "Node", NULL, "node-0", "Ready"), "Unknown|NodeStatusUnknown");
	assert_string_equal(fake_condition(&w->f, "Node", NULL, "node-1", "Ready"), "True|");
	assert_true(tainted(w, "node-0", "node.kubernetes.io/unreachable", "NoSchedule"));
	assert_true(tainted(w, "node-0", "node.kubernetes.io/unreachable", "NoExecute"));
	assert_int_equal(fake_ready_pods(&w->f, "default"), 0);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 2);
	fake_run(&w->f, 270 * SECOND);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 2);
	fake_run(&w->f, 40 * SECOND);
	assert_int_equal(fake_events(&w->f, "TaintManagerEviction", "Marking for deletion Pod default/web-"), 2);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 4); /* two terminating, two waiting for a node */
	fake_delete(w->f.client, "Node", NULL, "node-0", NULL, -1);
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 2);
}

static void test_node_comes_back(void **state)
{
	struct world *w = *state;
	add_web(w, "default", 1);
	fake_run(&w->f, MINUTE);
	w->f.dead_node = "node-0";
	fake_run(&w->f, 2 * MINUTE);
	assert_true(tainted(w, "node-0", "node.kubernetes.io/unreachable", "NoExecute"));
	w->f.dead_node = NULL;
	fake_patch(w->f.client, "Node", NULL, "node-0",
		   "{'status':{'conditions':[{'type':'Ready','status':'True','lastTransitionTime':"
		   "'2026-01-01T00:03:00Z'}]}}");
	fake_run(&w->f, 10 * MINUTE);
	assert_false(tainted(w, "node-0", "node.kubernetes.io/unreachable", "NoExecute"));
	assert_int_equal(fake_ready_pods(&w->f, "default"), 1);
	assert_int_equal(fake_events(&w->f, "TaintManagerEviction", ""), 0);
}

/* A busy minute; everything the API holds afterwards, as text. */
static char *life_of(uint64_t seed)
{
	struct world w = {0};
	fake_cluster_init(&w.f, seed);
	w.f.kubelet = w.f.bind = true;
	fake_latency(w.f.client, 3000, 7000);
	fake_cluster_add_nodes(&w.f, 2, "8", "16Gi");
	w.c = controllers_new(w.f.client, &(struct controllers_config){
						  .cluster_cidr = "10.244.0.0/16", .ca_pem = "CA", .identity = "test"});
	controllers_start(w.c);
	add_service(&w);
	add_web(&w, "default", 7);
	fake_run(&w.f, 10 * SECOND);
	fake_patch(w.f.client, "Deployment", "default", "web",
		   "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'web:2'}]}}}}");
	fake_run(&w.f, 50 * SECOND);
	struct buf out = BUF_INIT;
	for (size_t k = 0; kinds_all[k]; k++) {
		struct object *o;
		for (size_t i = 0; (o = fake_nth(w.f.client, kinds_all[k]->kind, NULL, i)) != NULL; i++) {
			object_write(&out, o);
			buf_addc(&out, '\n');
		}
	}
	controllers_free(w.c);
	fake_cluster_done(&w.f);
	return buf_steal(&out);
}

static void test_same_seed_same_life(void **state)
{
	(void)state;
	_cleanup_free_ char *a = life_of(42), *b = life_of(42), *c = life_of(43);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_free)
	const struct CMUnitTest tests[] = {
		T(test_endpoints),
		T(test_terminating_is_not_ready),
		T(test_many_endpoints),
		T(test_mirrored_endpoints),
		T(test_aggregated_roles),
		T(test_cascade),
		T(test_foreground),
		T(test_orphan),
		T(test_absent_owner),
		T(test_namespace),
		T(test_account_comes_back),
		T(test_pod_cidr),
		T(test_node_lost),
		T(test_node_comes_back),
		cmocka_unit_test(test_same_seed_same_life),
	};
	return cmocka_run_group_tests_name("lifecycle", tests, NULL, NULL);
}
