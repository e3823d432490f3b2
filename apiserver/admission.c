#include "apiserver/admission.h"

#include "apiserver/tag.h"
#include "lib/api/quantity.h"

/* ---- NamespaceLifecycle ---- */

static struct resource *ns_resource(struct apiserver *a)
{
	return server_resource(a, "", "v1", "namespaces");
}

static void remember_namespace(struct apiserver *a, const char *name, struct blob *b, uint64_t mod_rev)
{
	_cleanup_object_ struct object *o = recent_object(a, ns_resource(a), b, mod_rev);
	if (!o)
		return;
	_cleanup_json_ json_t *tree = object_tree(o);
	struct ns_entry *e = NEW(struct ns_entry);
	e->mod_rev = mod_rev;
	e->terminating = meta_deleting(tree);
	map_set(&a->namespaces, name, e);
}

static void on_namespace(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	enum request_stage next = REQUEST_LOOK;
	if (store_failed(err)) {
		fail_store(r, err);
		next = REQUEST_ANSWER;
	} else if (resp->n_kvs == 0) {
		fail_not_found_named(r, ns_resource(r->server), r->route.ns);
		next = REQUEST_ANSWER;
	} else {
		remember_namespace(r->server, r->route.ns, resp->kvs[0].value, resp->kvs[0].mod_rev);
	}
	request_resume(r, next);
}

static int ns_terminating(struct request *r)
{
	const char *ns = r->route.ns;
	err_add_cause(&r->err, "NamespaceTerminating", "metadata.namespace", "namespace %s is being terminated", ns);
	return fail_forbidden(r, "unable to create new content in namespace %s because it is being terminated", ns);
}

int admit_namespace_look(struct request *r)
{
	if (!r->kind->namespaced)
		return REQUEST_NEXT;
	const struct ns_entry *e = map_get(&r->server->namespaces, r->route.ns);
	if (e)
		return e->terminating ? ns_terminating(r) : REQUEST_NEXT;
	_cleanup_free_ char *key = resource_key(ns_resource(r->server), "", r->route.ns);
	struct store_range_req req = {.key = key};
	request_submitted(r);
	store_range(r->server->store, &req, on_namespace, r);
	return REQUEST_WAIT;
}

void admit_namespace_plan(struct request *r)
{
	const struct ns_entry *e = r->kind->namespaced ? map_get(&r->server->namespaces, r->route.ns) : NULL;
	if (!e)
		return;
	_cleanup_free_ char *key = resource_key(ns_resource(r->server), "", r->route.ns);
	plan_expect(&r->plan, key, STORE_CMP_MOD_REV, STORE_EQ, e->mod_rev);
}

void admit_namespace_refused(struct request *r)
{
	if (r->kind->namespaced)
		map_del(&r->server->namespaces, r->route.ns);
}

int admit_namespace_delete(struct request *r)
{
	if (!streq(r->kind->kind, "Namespace") || *r->kind->group)
		return 0;
	const char *name = r->route.name;
	if (streq(name, "default") || streq(name, "kube-system") || streq(name, "kube-public"))
		return fail_forbidden(r, "this namespace may not be deleted");
	return 0;
}

/* ---- ServiceAccount ---- */

static bool is_pod(const struct request *r)
{
	return streq(r->kind->kind, "Pod") && !*r->kind->group;
}

static const char *account_name(const json_t *pod)
{
	const json_t *spec = json_object_get(pod, "spec");
	const char *name = json_get_str(spec, "serviceAccountName", "");
	if (!*name)
		name = json_get_str(spec, "serviceAccount", "");
	return *name ? name : "default";
}

static void on_account(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	const char *name = account_name(r->body);
	if (!store_failed(err) && resp->n_kvs == 0) {
		if (!*r->route.name)
			route_set_name(r, json_get_str(json_object_get(r->body, "metadata"), "generateName", ""));
		fail_forbidden(r, "error looking up service account %s/%s: serviceaccount \"%s\" not found",
			       r->route.ns, name, name);
	} else if (store_failed(err)) {
		fail_store(r, err);
	}
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_LOOK);
}

int admit_account_look(struct request *r, bool *looked)
{
	if (!is_pod(r) || *looked || meta_annotation(r->body, "kubernetes.io/config.mirror"))
		return REQUEST_NEXT;
	const char *name = account_name(r->body);
	*looked = true;
	if (strchr(name, '/') || strlen(name) > 253)
		return REQUEST_NEXT; /* validation will say so */
	_cleanup_free_ char *key =
		resource_key(server_resource(r->server, "", "v1", "serviceaccounts"), r->route.ns, name);
	struct store_range_req req = {.key = key};
	request_submitted(r);
	store_range(r->server->store, &req, on_account, r);
	return REQUEST_WAIT;
}

static const char token_path[] = "/var/run/secrets/kubernetes.io/serviceaccount";

/* The projected volume upstream makes: token, CA, namespace. */
static json_t *token_volume(const char *name)
{
	return json_make("{s:s, s:{s:i, s:[{s:{s:i, s:s}}, {s:{s:s, s:[{s:s, s:s}]}}, {s:{s:[{s:s, s:{s:s, s:s}}]}}]}}",
			 "name", name, "projected", "defaultMode", 0644, "sources", "serviceAccountToken",
			 "expirationSeconds", 3607, "path", "token", "configMap", "name", "kube-root-ca.crt", "items",
			 "key", "ca.crt", "path", "ca.crt", "downwardAPI", "items", "path", "namespace", "fieldRef",
			 "apiVersion", "v1", "fieldPath", "metadata.namespace");
}

static bool mounts_token(const json_t *container)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(container, "volumeMounts"), i, m)
	{
		if (streq(json_get_str(m, "mountPath", ""), token_path))
			return true;
	}
	return false;
}

static bool mount_token(json_t *containers, const char *volume)
{
	size_t i;
	json_t *c;
	bool any = false;
	json_array_foreach(containers, i, c)
	{
		if (!json_is_object(c) || mounts_token(c))
			continue;
		json_array_append_new(
			json_need_array(c, "volumeMounts"),
			json_make("{s:s, s:b, s:s}", "name", volume, "readOnly", 1, "mountPath", token_path));
		any = true;
	}
	return any;
}

static void admit_account(struct request *r, json_t *pod)
{
	json_t *spec = json_need_object(pod, "spec");
	const char *name = account_name(pod);
	/* mirror pods belong to their node's files */
	if (meta_annotation(pod, "kubernetes.io/config.mirror"))
		return;
	json_put_str(spec, "serviceAccountName", name);
	json_put_str(spec, "serviceAccount", json_get_str(spec, "serviceAccountName", ""));
	json_t *automount = json_object_get(spec, "automountServiceAccountToken");
	if (json_is_false(automount))
		return;
	char volume[32] = "kube-api-access-";
	server_random_suffix(r->server, volume + strlen(volume), 5);
	bool any = mount_token(json_object_get(spec, "initContainers"), volume);
	any |= mount_token(json_object_get(spec, "containers"), volume);
	if (any)
		json_array_append_new(json_need_array(spec, "volumes"), token_volume(volume));
}

/* ---- pods ---- */

static const char *const qos_resources[] = {"cpu", "memory"};

/* Guaranteed: every container has equal requests and limits of both; BestEffort: none has any. */
const char *admit_qos(const json_t *spec)
{
	static const char *const lists[] = {"initContainers", "containers"};
	bool any = false, all_equal = true;
	for (unsigned l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_object_get(spec, lists[l]), i, c)
		{
			json_t *res = json_object_get(c, "resources");
			json_t *lim = json_object_get(res, "limits"), *req = json_object_get(res, "requests");
			for (unsigned k = 0; k < ARRAY_LEN(qos_resources); k++) {
				int64_t want = quantity_milli_of(json_get_str(req, qos_resources[k], ""), 0);
				int64_t most = quantity_milli_of(json_get_str(lim, qos_resources[k], ""), 0);
				any |= want > 0 || most > 0;
				all_equal &= most > 0 && (want == most || want == 0);
			}
		}
	}
	return !any ? "BestEffort" : all_equal ? "Guaranteed" : "Burstable";
}

/* The tolerations upstream gives every pod, for 300 s. */
static void tolerate(json_t *spec, const char *key)
{
	json_t *list = json_need_array(spec, "tolerations"), *t;
	size_t i;
	json_array_foreach(list, i, t)
	{
		const char *k = json_get_str(t, "key", ""), *effect = json_get_str(t, "effect", "");
		bool covers = streq(k, key) || (!*k && streq(json_get_str(t, "operator", ""), "Exists"));
		if (covers && (!*effect || streq(effect, "NoExecute")))
			return;
	}
	json_array_append_new(list, json_make("{s:s, s:s, s:s, s:i}", "key", key, "operator", "Exists", "effect",
					      "NoExecute", "tolerationSeconds", 300));
}

void admit_pod_update(json_t *pod)
{
	json_t *spec = json_need_object(pod, "spec");
	tolerate(spec, "node.kubernetes.io/not-ready");
	tolerate(spec, "node.kubernetes.io/unreachable");
}

/* The two classes every cluster has; a pod never says its number itself. -1: no such class. */
static int64_t priority_of(const char *class)
{
	if (streq(class, "system-node-critical"))
		return 2000001000;
	if (streq(class, "system-cluster-critical"))
		return 2000000000;
	return *class ? -1 : 0;
}

/* Kinds a pod may name that this server does not have: naming one is a mistake, never silently without effect. */
int admit_pod_classes(struct request *r)
{
	if (!is_pod(r))
		return 0;
	const json_t *spec = json_object_get(r->body, "spec");
	const char *class = json_get_str(spec, "priorityClassName", "");
	const char *runtime = json_get_str(spec, "runtimeClassName", "");
	int64_t priority = priority_of(class);
	if (priority < 0)
		return fail_forbidden(r, "no PriorityClass with name %.253s was found", class);
	if (json_get_int(spec, "priority", priority) != priority)
		return fail_forbidden(r,
				      "the integer value of priority (%lld) must not be provided in pod spec; priority "
				      "admission controller computed %lld from the given PriorityClass name",
				      (long long)json_get_int(spec, "priority", 0), (long long)priority);
	if (*runtime)
		return fail_forbidden(r, "pod rejected: RuntimeClass \"%.253s\" not found", runtime);
	if (json_object_size(json_object_get(spec, "overhead")) > 0)
		return fail_forbidden(
			r, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
	return 0;
}

static void admit_pod(struct request *r, json_t *pod)
{
	admit_account(r, pod);
	admit_pod_update(pod);
	json_t *spec = json_need_object(pod, "spec");
	json_put_int(spec, "priority", priority_of(json_get_str(spec, "priorityClassName", "")));
	if (!json_object_get(spec, "preemptionPolicy"))
		json_put_str(spec, "preemptionPolicy", "PreemptLowerPriority");
	json_put(pod, "status", json_make("{s:s, s:s}", "phase", "Pending", "qosClass", admit_qos(spec)));
}

static void admit_new_namespace(json_t *ns)
{
	json_t *meta = json_need_object(ns, "metadata");
	json_put_str(json_need_object(meta, "labels"), "kubernetes.io/metadata.name", json_get_str(meta, "name", ""));
	json_put(ns, "spec", json_make("{s:[s]}", "finalizers", "kubernetes"));
	json_put(ns, "status", json_make("{s:s}", "phase", "Active"));
}

/* Nothing is scheduled to a node before somebody has seen that it is ready; the node controller takes this away then. */
static void admit_new_node(json_t *node)
{
	static const char key[] = "node.kubernetes.io/not-ready";
	json_t *taints = json_need_array(json_need_object(node, "spec"), "taints"), *t;
	size_t i;
	json_array_foreach(taints, i, t)
	{
		if (streq(json_get_str(t, "key", ""), key) && streq(json_get_str(t, "effect", ""), "NoSchedule"))
			return;
	}
	json_array_append_new(taints, json_make("{s:s, s:s}", "key", key, "effect", "NoSchedule"));
}

void admit_new(struct request *r, json_t *tree)
{
	/* A node says itself how it is when it registers; of all others the status is for their controllers to say. */
	if ((r->kind->subresources & KIND_SUB_STATUS) && !streq(r->kind->kind, "Node"))
		json_put(tree, "status", json_object());
	if (is_pod(r))
		admit_pod(r, tree);
	else if (streq(r->kind->kind, "Namespace"))
		admit_new_namespace(tree);
	else if (streq(r->kind->kind, "Node"))
		admit_new_node(tree);
	else if (streq(r->kind->kind, "Service"))
		json_put(tree, "status", json_make("{s:{}}", "loadBalancer"));
}
