/* describe: pods, and the pod templates of others. */
#include "cli/minictl/describe.h"

static void put_resources(struct describer *d, int level, const char *title, const json_t *map)
{
	_cleanup_json_ json_t *sorted = json_is_object(map) ? json_sorted(map) : json_object();
	const char *key;
	json_t *v;
	if (json_object_size(sorted) == 0)
		return;
	put(d, level, "%s:", title);
	json_object_foreach(sorted, key, v) put(d, level + 1, "%s:\t%s", key, value_words(v));
}

static void put_state(struct describer *d, int level, const char *title, const json_t *state)
{
	const json_t *s;
	if ((s = json_object_get(state, "running"))) {
		put(d, level, "%s:\tRunning", title);
		put(d, level + 1, "Started:\t%s", time_words(json_get_str(s, "startedAt", "")));
	} else if ((s = json_object_get(state, "terminated"))) {
		put(d, level, "%s:\tTerminated", title);
		if (*json_get_str(s, "reason", ""))
			put(d, level + 1, "Reason:\t%s", json_get_str(s, "reason", ""));
		if (*json_get_str(s, "message", ""))
			put(d, level + 1, "Message:\t%s", json_get_str(s, "message", ""));
		put(d, level + 1, "Exit Code:\t%lld", (long long)json_get_int(s, "exitCode", 0));
		if (json_get_int(s, "signal", 0))
			put(d, level + 1, "Signal:\t%lld", (long long)json_get_int(s, "signal", 0));
		put(d, level + 1, "Started:\t%s", time_words(json_get_str(s, "startedAt", "")));
		put(d, level + 1, "Finished:\t%s", time_words(json_get_str(s, "finishedAt", "")));
	} else if ((s = json_object_get(state, "waiting"))) {
		put(d, level, "%s:\tWaiting", title);
		if (*json_get_str(s, "reason", ""))
			put(d, level + 1, "Reason:\t%s", json_get_str(s, "reason", ""));
		if (*json_get_str(s, "message", ""))
			put(d, level + 1, "Message:\t%s", json_get_str(s, "message", ""));
	} else {
		put(d, level, "%s:\tWaiting", title);
	}
}

static const char *probe_words(const json_t *p)
{
	const json_t *a;
	const char *what = "unknown";
	if ((a = json_object_get(p, "exec")))
		what = keepf("exec [%s]", join_words(json_object_get(a, "command"), " "));
	else if ((a = json_object_get(p, "httpGet")))
		what = keepf("http-get %s://%s:%s%s", streq(json_get_str(a, "scheme", ""), "HTTPS") ? "https" : "http",
			     json_get_str(a, "host", ""), value_words(json_object_get(a, "port")),
			     json_get_str(a, "path", "/"));
	else if ((a = json_object_get(p, "tcpSocket")))
		what = keepf("tcp-socket %s:%s", json_get_str(a, "host", ""), value_words(json_object_get(a, "port")));
	else if ((a = json_object_get(p, "grpc")))
		what = keepf("grpc <pod>:%s %s", value_words(json_object_get(a, "port")),
			     json_get_str(a, "service", ""));
	return keepf("%s delay=%llds timeout=%llds period=%llds #success=%lld #failure=%lld", what,
		     (long long)json_get_int(p, "initialDelaySeconds", 0),
		     (long long)json_get_int(p, "timeoutSeconds", 1), (long long)json_get_int(p, "periodSeconds", 10),
		     (long long)json_get_int(p, "successThreshold", 1),
		     (long long)json_get_int(p, "failureThreshold", 3));
}

static const char *env_words(const json_t *e)
{
	const json_t *from = json_object_get(e, "valueFrom"), *r;
	if (!from)
		return value_words(json_object_get(e, "value"));
	if ((r = json_object_get(from, "fieldRef")))
		return keepf(" (%s:%s)", json_get_str(r, "apiVersion", "v1"), json_get_str(r, "fieldPath", ""));
	if ((r = json_object_get(from, "resourceFieldRef")))
		return keepf("%s (%s)", json_get_str(r, "containerName", ""), json_get_str(r, "resource", ""));
	bool secret = (r = json_object_get(from, "secretKeyRef")) != NULL;
	if (!r)
		r = json_object_get(from, "configMapKeyRef");
	return keepf("<set to the key '%s' %s '%s'>  Optional: %s", json_get_str(r, "key", ""),
		     secret ? "in secret" : "of config map", json_get_str(r, "name", ""),
		     json_get_bool(r, "optional", false) ? "true" : "false");
}

static void put_environment(struct describer *d, int level, const json_t *ct)
{
	const json_t *env = json_object_get(ct, "env"), *from = json_object_get(ct, "envFrom");
	size_t i;
	json_t *e;
	if (json_array_size(from)) {
		put(d, level, "Environment Variables from:");
		json_array_foreach(from, i, e)
		{
			const json_t *r = json_object_get(e, "configMapRef");
			const json_t *s = json_object_get(e, "secretRef");
			put(d, level + 1, "%s\t%s\tOptional: %s", json_get_str(r ? r : s, "name", ""),
			    r ? "ConfigMap" : "Secret", json_get_bool(r ? r : s, "optional", false) ? "true" : "false");
		}
	}
	if (json_array_size(env) == 0) {
		put(d, level, "Environment:\t<none>");
		return;
	}
	put(d, level, "Environment:");
	json_array_foreach(env, i, e) put(d, level + 1, "%s:\t%s", json_get_str(e, "name", ""), env_words(e));
}

static void put_mounts(struct describer *d, int level, const json_t *mounts)
{
	size_t i;
	json_t *m;
	if (json_array_size(mounts) == 0) {
		put(d, level, "Mounts:\t<none>");
		return;
	}
	put(d, level, "Mounts:");
	json_array_foreach(mounts, i, m)
	{
		const char *sub = json_get_str(m, "subPath", "");
		put(d, level + 1, "%s from %s (%s%s%s%s)", json_get_str(m, "mountPath", ""),
		    json_get_str(m, "name", ""), json_get_bool(m, "readOnly", false) ? "ro" : "rw",
		    *sub ? ",path=\"" : "", sub, *sub ? "\"" : "");
	}
}

static const char *ports_words(const json_t *ports, const char *member)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *p;
	json_array_foreach(ports, i, p) buf_addf(&b, "%s%lld/%s", i ? ", " : "", (long long)json_get_int(p, member, 0),
						 json_get_str(p, "protocol", "TCP"));
	return b.len ? keep(buf_steal(&b)) : "<none>";
}

static const json_t *status_named(const json_t *statuses, const char *name)
{
	size_t i;
	json_t *s;
	json_array_foreach(statuses, i, s)
	{
		if (streq(json_get_str(s, "name", ""), name))
			return s;
	}
	return NULL;
}

static void put_words(struct describer *d, int level, const char *title, const json_t *list)
{
	size_t i;
	json_t *v;
	if (json_array_size(list))
		put(d, level, "%s:", title);
	json_array_foreach(list, i, v) put(d, level + 1, "%s", value_words(v));
}

static void put_status(struct describer *d, int level, const json_t *status)
{
	put_state(d, level, "State", json_object_get(status, "state"));
	if (json_object_size(json_object_get(status, "lastState")))
		put_state(d, level, "Last State", json_object_get(status, "lastState"));
	put(d, level, "Ready:\t%s", json_get_bool(status, "ready", false) ? "True" : "False");
	put(d, level, "Restart Count:\t%lld", (long long)json_get_int(status, "restartCount", 0));
}

static void put_container(struct describer *d, int level, const json_t *ct, const json_t *status, bool with_status)
{
	static const char *const probes[][2] = {
		{"livenessProbe", "Liveness"}, {"readinessProbe", "Readiness"}, {"startupProbe", "Startup"}};
	const json_t *ports = json_object_get(ct, "ports"), *resources = json_object_get(ct, "resources");
	if (!with_status)
		level--; /* upstream indents templates so: three spaces, then four */
	put(d, level, "%s%s:", with_status ? "" : " ", json_get_str(ct, "name", ""));
	if (with_status)
		put(d, level + 1, "Container ID:\t%s", json_get_str(status, "containerID", ""));
	put(d, level + 1, "Image:\t%s", json_get_str(ct, "image", ""));
	if (with_status)
		put(d, level + 1, "Image ID:\t%s", json_get_str(status, "imageID", ""));
	put(d, level + 1, "%s:\t%s", json_array_size(ports) > 1 ? "Ports" : "Port",
	    ports_words(ports, "containerPort"));
	put(d, level + 1, "%s:\t%s", json_array_size(ports) > 1 ? "Host Ports" : "Host Port",
	    ports_words(ports, "hostPort"));
	put_words(d, level + 1, "Command", json_object_get(ct, "command"));
	put_words(d, level + 1, "Args", json_object_get(ct, "args"));
	if (with_status)
		put_status(d, level + 1, status);
	put_resources(d, level + 1, "Limits", json_object_get(resources, "limits"));
	put_resources(d, level + 1, "Requests", json_object_get(resources, "requests"));
	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		if (json_object_get(ct, probes[i][0]))
			put(d, level + 1, "%s:\t%s", probes[i][1], probe_words(json_object_get(ct, probes[i][0])));
	}
	put_environment(d, level + 1, ct);
	put_mounts(d, level + 1, json_object_get(ct, "volumeMounts"));
}

void put_containers(struct describer *d, int level, const char *title, const json_t *containers, const json_t *statuses)
{
	size_t i;
	json_t *ct;
	if (json_array_size(containers) == 0)
		return;
	put(d, level, "%s:", title);
	json_array_foreach(containers, i, ct)
		put_container(d, level + 1, ct, status_named(statuses, json_get_str(ct, "name", "")), statuses != NULL);
}

/* ---- volumes ---- */

static const struct {
	const char *member, *words;
} volume_kinds[] = {
	{"emptyDir", "EmptyDir (a temporary directory that shares a pod's lifetime)"},
	{"hostPath", "HostPath (bare host directory volume)"},
	{"configMap", "ConfigMap (a volume populated by a ConfigMap)"},
	{"secret", "Secret (a volume populated by a Secret)"},
	{"projected", "Projected (a volume that contains injected data from multiple sources)"},
	{"downwardAPI", "DownwardAPI (a volume populated by information about the pod)"},
	{"persistentVolumeClaim",
	 "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)"},
};

static void put_projected(struct describer *d, int level, const json_t *sources)
{
	size_t i;
	json_t *s;
	json_array_foreach(sources, i, s)
	{
		const json_t *r;
		if ((r = json_object_get(s, "serviceAccountToken")))
			put(d, level, "TokenExpirationSeconds:\t%lld",
			    (long long)json_get_int(r, "expirationSeconds", 3600));
		else if ((r = json_object_get(s, "configMap"))) {
			put(d, level, "ConfigMapName:\t%s", json_get_str(r, "name", ""));
			put(d, level, "ConfigMapOptional:\t%s",
			    json_object_get(r, "optional") ? value_words(json_object_get(r, "optional")) : "<nil>");
		} else if ((r = json_object_get(s, "secret")))
			put(d, level, "SecretName:\t%s", json_get_str(r, "name", ""));
		else if (json_object_get(s, "downwardAPI"))
			put(d, level, "DownwardAPI:\ttrue");
	}
}

static void put_volume(struct describer *d, int level, const json_t *v)
{
	put(d, level, "%s:", json_get_str(v, "name", ""));
	for (size_t i = 0; i < ARRAY_LEN(volume_kinds); i++) {
		const char *member = volume_kinds[i].member;
		const json_t *s = json_object_get(v, member);
		if (!s)
			continue;
		put(d, level + 1, "Type:\t%s", volume_kinds[i].words);
		if (streq(member, "hostPath")) {
			put(d, level + 1, "Path:\t%s", json_get_str(s, "path", ""));
			put(d, level + 1, "HostPathType:\t%s", json_get_str(s, "type", ""));
		} else if (streq(member, "emptyDir")) {
			put(d, level + 1, "Medium:\t%s", json_get_str(s, "medium", ""));
			put(d, level + 1, "SizeLimit:\t%s", json_get_str(s, "sizeLimit", "<unset>"));
		} else if (streq(member, "configMap") || streq(member, "secret")) {
			bool secret = streq(member, "secret");
			put(d, level + 1, "%s:\t%s", secret ? "SecretName" : "Name",
			    json_get_str(s, secret ? "secretName" : "name", ""));
			put(d, level + 1, "Optional:\t%s", json_get_bool(s, "optional", false) ? "true" : "false");
		} else if (streq(member, "projected")) {
			put_projected(d, level + 1, json_object_get(s, "sources"));
		}
		return;
	}
	put(d, level + 1, "Type:\t<unknown>");
}

void put_volumes(struct describer *d, int level, const json_t *volumes)
{
	size_t i;
	json_t *v;
	if (json_array_size(volumes) == 0) {
		put(d, level, "Volumes:\t<none>");
		return;
	}
	put(d, level, "Volumes:");
	json_array_foreach(volumes, i, v) put_volume(d, level + 1, v);
}

/* ---- pods ---- */

static const char *toleration_words(const json_t *t)
{
	const char *key = json_get_str(t, "key", ""), *value = json_get_str(t, "value", ""),
		   *effect = json_get_str(t, "effect", "");
	bool exists = streq(json_get_str(t, "operator", ""), "Exists");
	const char *seconds = json_object_get(t, "tolerationSeconds")
				      ? keepf(" for %llds", (long long)json_get_int(t, "tolerationSeconds", 0))
				      : "";
	return keepf("%s%s%s%s%s%s%s", key, *value ? "=" : "", value, *effect ? ":" : "", effect,
		     exists ? " op=Exists" : "", seconds);
}

static void put_scheduling(struct describer *d, const json_t *spec)
{
	size_t i;
	json_t *t;
	const json_t *tolerations = json_object_get(spec, "tolerations");
	put_map(d, 0, "Node-Selectors:", json_object_get(spec, "nodeSelector"), "=");
	json_array_foreach(tolerations, i, t) put(d, 0, "%s\t%s", i ? "" : "Tolerations:", toleration_words(t));
	if (json_array_size(tolerations) == 0)
		put(d, 0, "Tolerations:\t<none>");
}

static void put_addresses(struct describer *d, const json_t *status)
{
	const json_t *ips = json_object_get(status, "podIPs");
	size_t i;
	json_t *ip;
	put(d, 0, "IP:\t%s", json_get_str(status, "podIP", ""));
	put(d, 0, json_array_size(ips) ? "IPs:" : "IPs:\t<none>");
	json_array_foreach(ips, i, ip) put(d, 1, "IP:\t%s", json_get_str(ip, "ip", ""));
}

static void put_pod_status(struct describer *d, const json_t *obj)
{
	const json_t *status = json_object_get(obj, "status"), *meta = json_object_get(obj, "metadata");
	if (meta_deleting(obj)) {
		put(d, 0, "Status:\tTerminating (lasts since %s)",
		    time_words(json_get_str(meta, "deletionTimestamp", "")));
		put(d, 0, "Termination Grace Period:\t%llds",
		    (long long)json_get_int(meta, "deletionGracePeriodSeconds", 0));
	} else {
		put(d, 0, "Status:\t%s", json_get_str(status, "phase", ""));
	}
	if (*json_get_str(status, "reason", ""))
		put(d, 0, "Reason:\t%s", json_get_str(status, "reason", ""));
	if (*json_get_str(status, "message", ""))
		put(d, 0, "Message:\t%s", json_get_str(status, "message", ""));
}

void describe_pod(struct describer *d, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status"),
		     *meta = json_object_get(obj, "metadata"), *owner = meta_controller(obj), *list;
	_cleanup_json_ json_t *none = json_array();
	const char *node = json_get_str(spec, "nodeName", ""), *host = json_get_str(status, "hostIP", "");
	put(d, 0, "Name:\t%s", meta_name(obj));
	put(d, 0, "Namespace:\t%s", meta_ns(obj));
	put(d, 0, "Priority:\t%lld", (long long)json_get_int(spec, "priority", 0));
	put(d, 0, "Service Account:\t%s", json_get_str(spec, "serviceAccountName", ""));
	put(d, 0, "Node:\t%s%s%s", *node ? node : "<none>", *node ? "/" : "", *node ? host : "");
	if (*json_get_str(status, "startTime", ""))
		put(d, 0, "Start Time:\t%s", time_words(json_get_str(status, "startTime", "")));
	put_map(d, 0, "Labels:", json_object_get(meta, "labels"), "=");
	put_map(d, 0, "Annotations:", json_object_get(meta, "annotations"), ": ");
	put_pod_status(d, obj);
	put_addresses(d, status);
	if (owner)
		put(d, 0, "Controlled By:\t%s/%s", json_get_str(owner, "kind", ""), json_get_str(owner, "name", ""));
	list = json_object_get(status, "initContainerStatuses");
	put_containers(d, 0, "Init Containers", json_object_get(spec, "initContainers"), list ? list : none);
	list = json_object_get(status, "containerStatuses");
	put_containers(d, 0, "Containers", json_object_get(spec, "containers"), list ? list : none);
	size_t i;
	json_t *cond;
	if (json_array_size(json_object_get(status, "conditions"))) {
		put(d, 0, "Conditions:");
		put(d, 1, "Type\tStatus");
	}
	json_array_foreach(json_object_get(status, "conditions"), i, cond)
		put(d, 1, "%s \t%s ", json_get_str(cond, "type", ""), json_get_str(cond, "status", ""));
	put_volumes(d, 0, json_object_get(spec, "volumes"));
	put(d, 0, "QoS Class:\t%s", json_get_str(status, "qosClass", ""));
	put_scheduling(d, spec);
}

void put_pod_template(struct describer *d, const json_t *t)
{
	const json_t *spec = json_object_get(t, "spec"), *meta = json_object_get(t, "metadata");
	put(d, 0, "Pod Template:");
	put_map(d, 1, "Labels:", json_object_get(meta, "labels"), "=");
	if (json_object_size(json_object_get(meta, "annotations")))
		put_map(d, 1, "Annotations:", json_object_get(meta, "annotations"), ": ");
	if (*json_get_str(spec, "serviceAccountName", ""))
		put(d, 1, "Service Account:\t%s", json_get_str(spec, "serviceAccountName", ""));
	put_containers(d, 1, "Init Containers", json_object_get(spec, "initContainers"), NULL);
	put_containers(d, 1, "Containers", json_object_get(spec, "containers"), NULL);
	put_volumes(d, 1, json_object_get(spec, "volumes"));
	put_map(d, 1, "Node-Selectors:", json_object_get(spec, "nodeSelector"), "=");
	size_t i;
	json_t *tol;
	json_array_foreach(json_object_get(spec, "tolerations"), i, tol)
		put(d, 1, "%s\t%s", i ? "" : "Tolerations:", toleration_words(tol));
	if (json_array_size(json_object_get(spec, "tolerations")) == 0)
		put(d, 1, "Tolerations:\t<none>");
}
