/* describe: deployments, replica sets, services, nodes and smaller kinds. */
#include "cli/minictl/describe.h"
#include "lib/api/kinds/duration.h"
#include "lib/api/quantity.h"

static void put_head(struct describer *d, const json_t *obj, bool namespaced)
{
	put(d, 0, "Name:\t%s", meta_name(obj));
	if (namespaced)
		put(d, 0, "Namespace:\t%s", meta_ns(obj));
}

static void put_marks(struct describer *d, const json_t *obj)
{
	put_map(d, 0, "Labels:", json_path(obj, "metadata", "labels", NULL), "=");
	put_map(d, 0, "Annotations:", json_path(obj, "metadata", "annotations", NULL), ": ");
}

static void put_conditions(struct describer *d, const json_t *conditions)
{
	size_t i;
	json_t *cond;
	if (json_array_size(conditions) == 0)
		return;
	put(d, 0, "Conditions:");
	put(d, 1, "Type\tStatus\tReason");
	put(d, 1, "----\t------\t------");
	json_array_foreach(conditions, i, cond) put(d, 1, "%s\t%s\t%s", json_get_str(cond, "type", ""),
						    json_get_str(cond, "status", ""), json_get_str(cond, "reason", ""));
}

/* ---- deployments, replica sets ---- */

/* Its ReplicaSets, the newest and the others, from the cluster. */
static void put_replica_sets(struct describer *d, const json_t *obj)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_buf_ struct buf old = BUF_INIT, now = BUF_INIT;
	size_t i;
	json_t *rs;
	const char *revision = meta_annotation(obj, "deployment.kubernetes.io/revision");
	char *path = path_of(kind_by_kind("apps", "v1", "ReplicaSet"), meta_ns(obj), NULL, NULL);
	if (rest_list(d->c, with_query(path, "labelSelector", selector_of(obj)), NULL, &list, NULL) < 0)
		return;
	json_array_foreach(json_object_get(list, "items"), i, rs)
	{
		if (!streq(json_get_str(meta_controller(rs), "uid", ""), meta_uid(obj)))
			continue;
		bool newest = streq(meta_annotation(rs, "deployment.kubernetes.io/revision"), revision);
		struct buf *to = newest ? &now : &old;
		buf_addf(to, "%s%s (%lld/%lld replicas created)", to->len ? ", " : "", meta_name(rs),
			 (long long)json_get_int(json_object_get(rs, "status"), "replicas", 0),
			 (long long)json_get_int(json_object_get(rs, "spec"), "replicas", 0));
	}
	put(d, 0, "OldReplicaSets:\t%s", old.len ? buf_str(&old) : "<none>");
	put(d, 0, "NewReplicaSet:\t%s", now.len ? buf_str(&now) : "<none>");
}

void describe_deployment(struct describer *d, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status"),
		     *rolling = json_path(obj, "spec", "strategy", "rollingUpdate", NULL);
	put_head(d, obj, true);
	put(d, 0, "CreationTimestamp:\t%s",
	    time_words(json_get_str(json_object_get(obj, "metadata"), "creationTimestamp", "")));
	put_marks(d, obj);
	put(d, 0, "Selector:\t%s", selector_words(json_object_get(spec, "selector")));
	put(d, 0, "Replicas:\t%lld desired | %lld updated | %lld total | %lld available | %lld unavailable",
	    (long long)json_get_int(spec, "replicas", 1), (long long)json_get_int(status, "updatedReplicas", 0),
	    (long long)json_get_int(status, "replicas", 0), (long long)json_get_int(status, "availableReplicas", 0),
	    (long long)json_get_int(status, "unavailableReplicas", 0));
	put(d, 0, "StrategyType:\t%s", json_get_str(json_object_get(spec, "strategy"), "type", ""));
	put(d, 0, "MinReadySeconds:\t%lld", (long long)json_get_int(spec, "minReadySeconds", 0));
	if (rolling)
		put(d, 0, "RollingUpdateStrategy:\t%s max unavailable, %s max surge",
		    value_words(json_object_get(rolling, "maxUnavailable")),
		    value_words(json_object_get(rolling, "maxSurge")));
	put_pod_template(d, json_object_get(spec, "template"));
	put_conditions(d, json_object_get(status, "conditions"));
	put_replica_sets(d, obj);
}

static void put_pods_status(struct describer *d, const json_t *obj)
{
	static const char *const phases[] = {"Running", "Pending", "Succeeded", "Failed"};
	int counts[ARRAY_LEN(phases)] = {0};
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *pod;
	char *path = path_of(kind_by_kind("", "v1", "Pod"), meta_ns(obj), NULL, NULL);
	if (rest_list(d->c, with_query(path, "labelSelector", selector_of(obj)), NULL, &list, NULL) < 0)
		return;
	json_array_foreach(json_object_get(list, "items"), i, pod)
	{
		for (size_t p = 0; p < ARRAY_LEN(phases); p++)
			counts[p] += streq(json_get_str(meta_controller(pod), "uid", ""), meta_uid(obj)) &&
				     streq(json_get_str(json_object_get(pod, "status"), "phase", ""), phases[p]);
	}
	put(d, 0, "Pods Status:\t%d Running / %d Waiting / %d Succeeded / %d Failed", counts[0], counts[1], counts[2],
	    counts[3]);
}

void describe_replica_set(struct describer *d, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status"),
		     *owner = meta_controller(obj);
	put_head(d, obj, true);
	put(d, 0, "Selector:\t%s", selector_words(json_object_get(spec, "selector")));
	put_marks(d, obj);
	if (owner)
		put(d, 0, "Controlled By:\t%s/%s", json_get_str(owner, "kind", ""), json_get_str(owner, "name", ""));
	put(d, 0, "Replicas:\t%lld current / %lld desired", (long long)json_get_int(status, "replicas", 0),
	    (long long)json_get_int(spec, "replicas", 1));
	put_pods_status(d, obj);
	put_pod_template(d, json_object_get(spec, "template"));
	put_conditions(d, json_object_get(status, "conditions"));
}

/* ---- services ---- */

static const char *slice_endpoints(const json_t *slices, const json_t *port)
{
	struct buf b = BUF_INIT;
	unsigned n = 0;
	size_t s, p, e;
	json_t *slice, *sp, *ep;
	json_array_foreach(slices, s, slice) json_array_foreach(json_object_get(slice, "ports"), p, sp)
	{
		if (!streq(json_get_str(sp, "name", ""), json_get_str(port, "name", "")))
			continue;
		json_array_foreach(json_object_get(slice, "endpoints"), e, ep)
		{
			if (!json_get_bool(json_object_get(ep, "conditions"), "ready", true))
				continue;
			if (n++ < 3)
				buf_addf(&b, "%s%s:%lld", b.len ? "," : "",
					 json_string_value(json_array_get(json_object_get(ep, "addresses"), 0)),
					 (long long)json_get_int(sp, "port", 0));
		}
	}
	if (n > 3)
		buf_addf(&b, " + %u more...", n - 3);
	return keep(buf_steal(&b));
}

static const char *map_words(const json_t *map)
{
	struct buf b = BUF_INIT;
	_cleanup_json_ json_t *sorted = json_is_object(map) ? json_sorted(map) : json_object();
	const char *key;
	json_t *v;
	json_object_foreach(sorted, key, v) buf_addf(&b, "%s%s=%s", b.len ? "," : "", key, value_words(v));
	return b.len ? keep(buf_steal(&b)) : "<none>";
}

void describe_service(struct describer *d, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec");
	_cleanup_json_ json_t *slices = NULL;
	char *path = path_of(kind_by_kind("discovery.k8s.io", "v1", "EndpointSlice"), meta_ns(obj), NULL, NULL);
	rest_list(d->c, with_query(path, "labelSelector", keepf("kubernetes.io/service-name=%s", meta_name(obj))), NULL,
		  &slices, NULL);
	put_head(d, obj, true);
	put_marks(d, obj);
	put(d, 0, "Selector:\t%s", map_words(json_object_get(spec, "selector")));
	put(d, 0, "Type:\t%s", json_get_str(spec, "type", ""));
	put(d, 0, "IP Family Policy:\t%s", json_get_str(spec, "ipFamilyPolicy", ""));
	put(d, 0, "IP Families:\t%s", join_words(json_object_get(spec, "ipFamilies"), ","));
	put(d, 0, "IP:\t%s", json_get_str(spec, "clusterIP", ""));
	put(d, 0, "IPs:\t%s", join_words(json_object_get(spec, "clusterIPs"), ","));
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(spec, "ports"), i, p)
	{
		const char *name = json_get_str(p, "name", ""), *protocol = json_get_str(p, "protocol", "TCP");
		name = *name ? name : "<unset>";
		put(d, 0, "Port:\t%s\t%lld/%s", name, (long long)json_get_int(p, "port", 0), protocol);
		put(d, 0, "TargetPort:\t%s/%s", value_words(json_object_get(p, "targetPort")), protocol);
		if (json_get_int(p, "nodePort", 0))
			put(d, 0, "NodePort:\t%s\t%lld/%s", name, (long long)json_get_int(p, "nodePort", 0), protocol);
		put(d, 0, "Endpoints:\t%s", slice_endpoints(json_object_get(slices, "items"), p));
	}
	put(d, 0, "Session Affinity:\t%s", json_get_str(spec, "sessionAffinity", ""));
	if (*json_get_str(spec, "externalTrafficPolicy", ""))
		put(d, 0, "External Traffic Policy:\t%s", json_get_str(spec, "externalTrafficPolicy", ""));
	put(d, 0, "Internal Traffic Policy:\t%s", json_get_str(spec, "internalTrafficPolicy", ""));
}

/* ---- nodes ---- */

static void put_amounts(struct describer *d, const char *title, const json_t *map)
{
	_cleanup_json_ json_t *sorted = json_is_object(map) ? json_sorted(map) : json_object();
	const char *key;
	json_t *v;
	put(d, 0, "%s:", title);
	json_object_foreach(sorted, key, v) put(d, 1, "%s:\t%s", key, value_words(v));
}

static int64_t sum(const json_t *pod, const char *member, const char *name, bool milli)
{
	int64_t total = 0;
	size_t i;
	json_t *ct;
	json_array_foreach(json_path(pod, "spec", "containers", NULL), i, ct)
	{
		const char *text = json_get_str(json_path(ct, "resources", member, NULL), name, NULL);
		if (text)
			total += milli ? quantity_milli_of(text, 0) : quantity_value_of(text, 0);
	}
	return total;
}

static const char *amount(int64_t v, int64_t of, bool milli)
{
	const char *text = v == 0               ? "0"
			   : milli              ? keepf("%lldm", (long long)v)
			   : v % (1 << 20) == 0 ? keepf("%lldMi", (long long)(v >> 20))
						: keepf("%lld", (long long)v);
	return keepf("%s (%lld%%)", text, of > 0 ? (long long)(v * 100 / of) : 0);
}

static void put_node_pods(struct describer *d, const json_t *node)
{
	_cleanup_json_ json_t *list = NULL;
	const json_t *can = json_path(node, "status", "allocatable", NULL);
	int64_t cpu = quantity_milli_of(json_get_str(can, "cpu", "0"), 0),
		memory = quantity_value_of(json_get_str(can, "memory", "0"), 0);
	int64_t all[4] = {0};
	size_t i, n = 0;
	json_t *pod;
	char *path = path_of(kind_by_kind("", "v1", "Pod"), "", NULL, NULL);
	if (rest_list(d->c, with_query(path, "fieldSelector", keepf("spec.nodeName=%s", meta_name(node))), NULL, &list,
		      NULL) < 0)
		return;
	const json_t *items = json_object_get(list, "items");
	json_array_foreach(items, i, pod)
	{
		const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
		n += !streq(phase, "Succeeded") && !streq(phase, "Failed");
	}
	put(d, 0, "Non-terminated Pods:\t(%zu in total)", n);
	put(d, 1, "Namespace\tName\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
	put(d, 1, "---------\t----\t------------\t----------\t---------------\t-------------\t---");
	json_array_foreach(items, i, pod)
	{
		const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
		if (streq(phase, "Succeeded") || streq(phase, "Failed"))
			continue;
		int64_t v[4] = {sum(pod, "requests", "cpu", true), sum(pod, "limits", "cpu", true),
				sum(pod, "requests", "memory", false), sum(pod, "limits", "memory", false)};
		for (int k = 0; k < 4; k++)
			all[k] += v[k];
		char age[HUMAN_DURATION_MAX];
		human_age(json_get_str(json_object_get(pod, "metadata"), "creationTimestamp", ""), d->now_s, age);
		put(d, 1, "%s\t%s\t%s\t%s\t%s\t%s\t%s", meta_ns(pod), meta_name(pod), amount(v[0], cpu, true),
		    amount(v[1], cpu, true), amount(v[2], memory, false), amount(v[3], memory, false), age);
	}
	put(d, 0, "Allocated resources:");
	put(d, 1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
	put(d, 1, "Resource\tRequests\tLimits");
	put(d, 1, "--------\t--------\t------");
	put(d, 1, "cpu\t%s\t%s", amount(all[0], cpu, true), amount(all[1], cpu, true));
	put(d, 1, "memory\t%s\t%s", amount(all[2], memory, false), amount(all[3], memory, false));
}

static void put_lease(struct describer *d, const json_t *node)
{
	_cleanup_json_ json_t *lease = NULL;
	struct err err = ERR_INIT;
	const struct kind *k = kind_by_kind("coordination.k8s.io", "v1", "Lease");
	if (rest_get(d->c, path_of(k, "kube-node-lease", meta_name(node), NULL), &lease, &err) < 0) {
		put(d, 0, "Lease:\tFailed to get lease: %s", err.message);
		err_done(&err);
		return;
	}
	const json_t *spec = json_object_get(lease, "spec");
	put(d, 0, "Lease:");
	put(d, 1, "HolderIdentity:\t%s", json_get_str(spec, "holderIdentity", "<unset>"));
	put(d, 1, "AcquireTime:\t%s", time_words(json_get_str(spec, "acquireTime", "")));
	put(d, 1, "RenewTime:\t%s", time_words(json_get_str(spec, "renewTime", "")));
}

void describe_node(struct describer *d, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status"),
		     *info = json_object_get(status, "nodeInfo");
	size_t i;
	json_t *v;
	const char *key;
	put_head(d, obj, false);
	_cleanup_buf_ struct buf roles = BUF_INIT;
	json_object_foreach(json_path(obj, "metadata", "labels", NULL), key, v)
	{
		if (str_starts(key, "node-role.kubernetes.io/"))
			buf_addf(&roles, "%s%s", roles.len ? "," : "", key + strlen("node-role.kubernetes.io/"));
	}
	put(d, 0, "Roles:\t%s", roles.len ? buf_str(&roles) : "<none>");
	put_marks(d, obj);
	put(d, 0, "CreationTimestamp:\t%s",
	    time_words(json_get_str(json_object_get(obj, "metadata"), "creationTimestamp", "")));
	json_array_foreach(json_object_get(spec, "taints"), i, v)
	{
		const char *value = json_get_str(v, "value", "");
		put(d, 0, "%s\t%s%s%s:%s", i ? "" : "Taints:", json_get_str(v, "key", ""), *value ? "=" : "", value,
		    json_get_str(v, "effect", ""));
	}
	if (json_array_size(json_object_get(spec, "taints")) == 0)
		put(d, 0, "Taints:\t<none>");
	put(d, 0, "Unschedulable:\t%s", json_get_bool(spec, "unschedulable", false) ? "true" : "false");
	put_lease(d, obj);
	put(d, 0, "Conditions:");
	put(d, 1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
	put(d, 1, "----\t------\t-----------------\t------------------\t------\t-------");
	json_array_foreach(json_object_get(status, "conditions"), i, v)
		put(d, 1, "%s \t%s \t%s \t%s \t%s \t%s", json_get_str(v, "type", ""), json_get_str(v, "status", ""),
		    time_words(json_get_str(v, "lastHeartbeatTime", "")),
		    time_words(json_get_str(v, "lastTransitionTime", "")), json_get_str(v, "reason", ""),
		    json_get_str(v, "message", ""));
	put(d, 0, "Addresses:");
	json_array_foreach(json_object_get(status, "addresses"), i, v)
		put(d, 1, "%s:\t%s", json_get_str(v, "type", ""), json_get_str(v, "address", ""));
	put_amounts(d, "Capacity", json_object_get(status, "capacity"));
	put_amounts(d, "Allocatable", json_object_get(status, "allocatable"));
	put(d, 0, "System Info:");
	static const char *const names[][2] = {{"machineID", "Machine ID"},
					       {"systemUUID", "System UUID"},
					       {"bootID", "Boot ID"},
					       {"kernelVersion", "Kernel Version"},
					       {"osImage", "OS Image"},
					       {"operatingSystem", "Operating System"},
					       {"architecture", "Architecture"},
					       {"containerRuntimeVersion", "Container Runtime Version"},
					       {"kubeletVersion", "Kubelet Version"},
					       {"kubeProxyVersion", "Kube-Proxy Version"}};
	for (i = 0; i < ARRAY_LEN(names); i++)
		put(d, 1, "%s:\t%s", names[i][1], json_get_str(info, names[i][0], ""));
	if (*json_get_str(spec, "podCIDR", "")) {
		put(d, 0, "PodCIDR:\t%s", json_get_str(spec, "podCIDR", ""));
		put(d, 0, "PodCIDRs:\t%s", join_words(json_object_get(spec, "podCIDRs"), ","));
	}
	put_node_pods(d, obj);
}

/* ---- smaller kinds ---- */

void describe_config_map(struct describer *d, const json_t *obj)
{
	const char *key;
	json_t *v;
	put_head(d, obj, true);
	put_marks(d, obj);
	put(d, 0, "\nData\n====");
	_cleanup_json_ json_t *sorted = json_sorted(json_object_get(obj, "data"));
	json_object_foreach(sorted, key, v) put(d, 0, "%s:\n----\n%s\n", key, value_words(v));
	put(d, 0, "\nBinaryData\n====");
	json_object_foreach(json_object_get(obj, "binaryData"), key, v)
	{
		_cleanup_free_ uint8_t *data = NULL;
		size_t len = 0;
		base64_decode(json_string_value(v), json_string_length(v), &data, &len);
		put(d, 0, "%s: %zu bytes", key, len);
	}
	buf_addc(&d->out, '\n');
}

void describe_secret(struct describer *d, const json_t *obj)
{
	const char *key;
	json_t *v;
	put_head(d, obj, true);
	put_marks(d, obj);
	put(d, 0, "\nType:  %s\n\nData\n====", json_get_str(obj, "type", ""));
	_cleanup_json_ json_t *sorted = json_sorted(json_object_get(obj, "data"));
	json_object_foreach(sorted, key, v)
	{
		_cleanup_free_ uint8_t *data = NULL;
		size_t len = 0;
		base64_decode(json_string_value(v), json_string_length(v), &data, &len);
		put(d, 0, "%s:\t%zu bytes", key, len);
	}
}

void describe_namespace(struct describer *d, const json_t *obj)
{
	put_head(d, obj, false);
	put_marks(d, obj);
	put(d, 0, "Status:\t%s", json_get_str(json_object_get(obj, "status"), "phase", ""));
	put_conditions(d, json_path(obj, "status", "conditions", NULL));
}

void describe_service_account(struct describer *d, const json_t *obj)
{
	static const char *const lists[][2] = {{"imagePullSecrets", "Image pull secrets:"},
					       {"secrets", "Mountable secrets:"}};
	put_head(d, obj, true);
	put_marks(d, obj);
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = json_object_get(obj, lists[l][0]);
		size_t i;
		json_t *r;
		json_array_foreach(list, i, r) put(d, 0, "%s\t%s", i ? "" : lists[l][1], json_get_str(r, "name", ""));
		if (json_array_size(list) == 0)
			put(d, 0, "%s\t<none>", lists[l][1]);
	}
	put(d, 0, "Tokens:\t<none>");
}

void describe_role(struct describer *d, const json_t *obj)
{
	size_t i, k;
	json_t *rule, *r;
	put_head(d, obj, false);
	put_marks(d, obj);
	put(d, 0, "PolicyRule:");
	put(d, 1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
	put(d, 1, "---------\t-----------------\t--------------\t-----");
	json_array_foreach(json_object_get(obj, "rules"), i, rule)
	{
		const char *group = json_string_value(json_array_get(json_object_get(rule, "apiGroups"), 0));
		const json_t *names = json_object_get(rule, "resourceNames"),
			     *urls = json_object_get(rule, "nonResourceURLs");
		const char *verbs = join_words(json_object_get(rule, "verbs"), " ");
		json_array_foreach(json_object_get(rule, "resources"), k, r)
			put(d, 1, "%s%s%s\t[]\t[%s]\t[%s]", json_string_value(r), str_empty(group) ? "" : ".",
			    str_empty(group) ? "" : group, json_array_size(names) ? join_words(names, " ") : "", verbs);
		if (json_array_size(urls))
			put(d, 1, "\t[%s]\t[]\t[%s]", join_words(urls, " "), verbs);
	}
}

void describe_binding(struct describer *d, const json_t *obj)
{
	const json_t *role = json_object_get(obj, "roleRef");
	size_t i;
	json_t *s;
	put_head(d, obj, false);
	put_marks(d, obj);
	put(d, 0, "Role:");
	put(d, 1, "Kind:\t%s", json_get_str(role, "kind", ""));
	put(d, 1, "Name:\t%s", json_get_str(role, "name", ""));
	put(d, 0, "Subjects:");
	put(d, 1, "Kind\tName\tNamespace");
	put(d, 1, "----\t----\t---------");
	json_array_foreach(json_object_get(obj, "subjects"), i, s)
		put(d, 1, "%s\t%s\t%s", json_get_str(s, "kind", ""), json_get_str(s, "name", ""),
		    json_get_str(s, "namespace", ""));
}
