/* The Node object: made at start, its status written when it changes and every 5 minutes; its Lease renewed every 10 s.
 * The same 10 s tick looks at the host's memory and disk and at the size of the logs: the agent's only periodic work. */
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "lib/core/file.h"
#include "lib/core/log.h"
#include "lib/core/proc.h"
#include "nodeagent/pod.h"
#include "version.h"

#define TICK_US           (10 * SECOND_US)
#define STATUS_US         (300 * SECOND_US)
#define LEASE_DURATION_S  40
#define LEASE_NS          "kube-node-lease"
#define RETRY_US          SECOND_US
#define MEMORY_RESERVE    (100ll << 20) /* eviction threshold: below it there is pressure */
#define DISK_RESERVE_PART 10            /* a tenth */
#define SMALL_FILE        (64 << 10)

struct node_reg {
	struct nodeagent *n;
	struct env_timer tick, retry;
	struct client_call *node_call, *status_call, *lease_call;
	char *uid;
	json_t *status; /* as last written, without heartbeat times */
	json_t *foreign_conditions;
	json_t *transitions; /* condition type -> {"status","since"} */
	uint64_t written_us;
	bool have_node, lease_made, lease_late;
	char boot_id[37], machine_id[40], os_image[128];
	struct utsname uts;
};

/* ---- what this host is ---- */

void node_read_capacity(struct nodeagent *n)
{
	struct sysinfo si;
	struct statvfs fs;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	n->cpu_milli = MAX(cpus, 1) * 1000;
	if (sysinfo(&si) == 0)
		n->memory_bytes = (int64_t)(si.totalram * si.mem_unit);
	if (statvfs(n->dir, &fs) == 0 || statvfs("/", &fs) == 0)
		n->disk_bytes = (int64_t)(fs.f_blocks * fs.f_frsize);
}

static int64_t memory_available(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	const char *at;
	long long kb = 0;
	if (file_read("/proc/meminfo", SMALL_FILE, &text, NULL) < 0 ||
	    !(at = strstr(buf_str(&text), "MemAvailable:")) || sscanf(at, "MemAvailable: %lld", &kb) != 1)
		return INT64_MAX;
	return kb << 10;
}

static bool disk_full(struct nodeagent *n)
{
	struct statvfs fs;
	return statvfs(n->dir, &fs) == 0 && fs.f_bavail < fs.f_blocks / DISK_RESERVE_PART;
}

static void first_line(const char *path, char *ret, size_t size)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	if (file_read(path, SMALL_FILE, &text, NULL) == 0)
		snprintf(ret, size, "%.*s", (int)strcspn(buf_str(&text), "\n"), buf_str(&text));
}

static void read_os_image(struct node_reg *r)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	snprintf(r->os_image, sizeof(r->os_image), "Linux");
	if (file_read("/etc/os-release", SMALL_FILE, &text, NULL) < 0)
		return;
	const char *at = strstr(buf_str(&text), "PRETTY_NAME=\"");
	if (at)
		snprintf(r->os_image, sizeof(r->os_image), "%.*s", (int)strcspn(at + 13, "\""), at + 13);
}

static const char *arch_name(const char *machine)
{
	if (streq(machine, "x86_64"))
		return "amd64";
	return streq(machine, "aarch64") ? "arm64" : machine;
}

/* ---- status ---- */

static void put_quantity(json_t *obj, const char *key, const char *fmt, long long v)
{
	char text[32];
	snprintf(text, sizeof(text), fmt, v);
	json_put_str(obj, key, text);
}

static json_t *resources(struct nodeagent *n, bool allocatable)
{
	json_t *r = json_object();
	int64_t memory = n->memory_bytes - (allocatable ? MEMORY_RESERVE : 0);
	put_quantity(r, "cpu", "%lld", n->cpu_milli / 1000);
	if (allocatable)
		put_quantity(r, "ephemeral-storage", "%lld", n->disk_bytes - n->disk_bytes / DISK_RESERVE_PART);
	else
		put_quantity(r, "ephemeral-storage", "%lldKi", n->disk_bytes >> 10);
	put_quantity(r, "memory", "%lldKi", MAX(memory, 0) >> 10);
	put_quantity(r, "pods", "%lld", NODE_PODS_MAX);
	return r;
}

static void add_condition(struct node_reg *r, json_t *out, const char *type, bool on, const char *reason,
			  const char *message)
{
	char now[32];
	const char *status = on ? "True" : "False";
	time_format_s(env_wall_s(r->n->env), now);
	json_t *was = json_object_get(r->transitions, type);
	if (!was || !streq(json_get_str(was, "status", ""), status)) {
		json_object_set_new(r->transitions, type, json_make("{s:s, s:s}", "status", status, "since", now));
		was = json_object_get(r->transitions, type);
	}
	json_array_append_new(out, json_make("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status,
					     "lastHeartbeatTime", now, "lastTransitionTime",
					     json_get_str(was, "since", now), "reason", reason, "message", message));
}

static json_t *conditions(struct node_reg *r)
{
	json_t *out = json_array();
	bool memory = memory_available() < MEMORY_RESERVE, disk = disk_full(r->n);
	add_condition(r, out, "MemoryPressure", memory,
		      memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
		      memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available");
	add_condition(r, out, "DiskPressure", disk, disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
		      disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
	add_condition(r, out, "PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
	add_condition(r, out, "Ready", true, "KubeletReady", "kubelet is posting ready status");
	size_t i;
	json_t *c;
	json_array_foreach(r->foreign_conditions, i, c) json_array_append(out, c);
	return out;
}

static json_t *node_info(struct node_reg *r)
{
	return json_make("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "machineID", r->machine_id, "systemUUID",
			 r->machine_id, "bootID", r->boot_id, "kernelVersion", r->uts.release, "osImage", r->os_image,
			 "containerRuntimeVersion", "mini://" MINI_VERSION, "kubeletVersion", KUBELET_VERSION,
			 "kubeProxyVersion", KUBELET_VERSION, "operatingSystem", "linux", "architecture",
			 arch_name(r->uts.machine));
}

static json_t *node_status(struct node_reg *r)
{
	struct nodeagent *n = r->n;
	json_t *s = json_object();
	json_put(s, "capacity", resources(n, false));
	json_put(s, "allocatable", resources(n, true));
	json_put(s, "conditions", conditions(r));
	json_put(s, "addresses",
		 json_make("[{s:s, s:s}, {s:s, s:s}]", "type", "InternalIP", "address", n->node_ip, "type", "Hostname",
			   "address", n->node_name));
	json_put(s, "daemonEndpoints",
		 json_make("{s:{s:i}}", "kubeletEndpoint", "Port",
			   n->config.listen_port ? n->config.listen_port : 10250));
	json_put(s, "nodeInfo", node_info(r));
	return s;
}

/* What it says, without when it was said. */
static json_t *without_times(const json_t *status)
{
	json_t *s = json_deep_copy(status);
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(s, "conditions"), i, c) json_object_del(c, "lastHeartbeatTime");
	return s;
}

static void register_node(struct node_reg *r);

static void retry_soon(struct node_reg *r)
{
	env_timer_start(r->n->env, &r->retry, RETRY_US);
}

static void take_node(struct node_reg *r, struct object *obj)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	json_t *keep = json_array();
	size_t i;
	json_t *c;
	free(r->uid);
	r->uid = xstrdup(obj->uid);
	json_array_foreach(json_path(tree, "status", "conditions", NULL), i, c)
	{
		const char *type = json_get_str(c, "type", ""), *since = json_get_str(c, "lastTransitionTime", "");
		bool ours = streq(type, "Ready") || str_ends(type, "Pressure");
		if (!ours)
			json_array_append(keep, c);
		else if (!json_object_get(r->transitions, type))
			json_object_set_new(
				r->transitions, type,
				json_make("{s:s, s:s}", "status", json_get_str(c, "status", ""), "since", since));
		else /* the node life cycle controller may have turned it to Unknown */
			json_object_set_new(json_object_get(r->transitions, type), "status",
					    json_string(json_get_str(c, "status", "")));
	}
	json_decref(r->foreign_conditions);
	r->foreign_conditions = keep;
}

static void on_status(void *arg, const struct client_response *resp)
{
	struct node_reg *r = arg;
	r->status_call = NULL;
	if (!resp->err->code)
		return;
	json_decref(STEAL(r->status));
	if (resp->err->reason == ERR_NOT_FOUND)
		r->have_node = false;
	retry_soon(r);
}

static void write_status(struct node_reg *r)
{
	struct nodeagent *n = r->n;
	uint64_t now = env_now_us(n->env);
	if (r->status_call || !r->have_node)
		return;
	_cleanup_json_ json_t *status = node_status(r);
	_cleanup_json_ json_t *plain = without_times(status);
	if (r->status && json_equal(plain, r->status) && now < r->written_us + STATUS_US)
		return;
	_cleanup_json_ json_t *body = json_make("{s:O}", "status", status);
	const struct client_request req = {
		.verb = CLIENT_PATCH,
		.patch = CLIENT_PATCH_MERGE,
		.kind = n->kind_node,
		.name = n->node_name,
		.subresource = "status",
		.body = body,
		.grace_period_s = -1,
		.field_manager = "kubelet",
	};
	json_decref(r->status);
	r->status = json_incref(plain);
	r->written_us = now;
	r->status_call = client_do(n->client, &req, on_status, r);
}

/* ---- the object ---- */

static json_t *labels(struct node_reg *r)
{
	const char *arch = arch_name(r->uts.machine);
	return json_make("{s:s, s:s, s:s, s:s, s:s}", "beta.kubernetes.io/arch", arch, "beta.kubernetes.io/os", "linux",
			 "kubernetes.io/arch", arch, "kubernetes.io/hostname", r->n->node_name, "kubernetes.io/os",
			 "linux");
}

static void renew_lease(struct node_reg *r);

static void on_node(void *arg, const struct client_response *resp)
{
	struct node_reg *r = arg;
	r->node_call = NULL;
	if (resp->err->code || !resp->object) {
		if (resp->err->reason != ERR_NOT_FOUND)
			log_warn("node", "cannot register: %s", resp->err->message);
		retry_soon(r);
		return;
	}
	take_node(r, resp->object);
	r->have_node = true;
	write_status(r);
	renew_lease(r);
}

/* It is there: only the labels are ours to set. */
static void patch_node(struct node_reg *r)
{
	_cleanup_json_ json_t *body = json_make("{s:{s:o}}", "metadata", "labels", labels(r));
	const struct client_request req = {
		.verb = CLIENT_PATCH,
		.patch = CLIENT_PATCH_MERGE,
		.kind = r->n->kind_node,
		.name = r->n->node_name,
		.body = body,
		.grace_period_s = -1,
		.field_manager = "kubelet",
	};
	r->node_call = client_do(r->n->client, &req, on_node, r);
}

static void on_created(void *arg, const struct client_response *resp)
{
	struct node_reg *r = arg;
	r->node_call = NULL;
	if (resp->err->reason == ERR_ALREADY_EXISTS && resp->err->code)
		patch_node(r);
	else
		on_node(arg, resp);
}

static void register_node(struct node_reg *r)
{
	if (r->node_call)
		return;
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:{s:s, s:o}, s:{}}", "apiVersion", "v1", "kind", "Node",
						"metadata", "name", r->n->node_name, "labels", labels(r), "spec");
	json_put(body, "status", node_status(r));
	const struct client_request req = {
		.verb = CLIENT_CREATE,
		.kind = r->n->kind_node,
		.body = body,
		.grace_period_s = -1,
		.field_manager = "kubelet",
	};
	r->node_call = client_do(r->n->client, &req, on_created, r);
}

/* ---- the lease ---- */

static json_t *lease_spec(struct node_reg *r)
{
	char now[32];
	time_format_us(env_wall_us(r->n->env), now);
	return json_make("{s:s, s:i, s:s}", "holderIdentity", r->n->node_name, "leaseDurationSeconds", LEASE_DURATION_S,
			 "renewTime", now);
}

static void on_lease(void *arg, const struct client_response *resp)
{
	struct node_reg *r = arg;
	bool was_late = r->lease_late;
	r->lease_call = NULL;
	r->lease_late = resp->err->code != 0;
	if (!r->lease_late) {
		if (was_late && r->lease_made)
			log_info("node", "the node's lease is renewed again");
		r->lease_made = true;
		return;
	}
	if (!was_late && r->lease_made)
		log_warn("node", "the node's lease is not renewed, and tried again: %s", resp->err->message);
	/* Renewed where it was thought missing, made where it was thought there: the other one next time. */
	if (resp->err->reason == ERR_NOT_FOUND || resp->err->reason == ERR_ALREADY_EXISTS)
		r->lease_made = resp->err->reason == ERR_ALREADY_EXISTS;
	retry_soon(r);
}

static void make_lease(struct node_reg *r)
{
	_cleanup_json_ json_t *body =
		json_make("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease",
			  "metadata", "name", r->n->node_name, "namespace", LEASE_NS, "spec", lease_spec(r));
	if (r->uid)
		json_put(json_object_get(body, "metadata"), "ownerReferences",
			 json_make("[{s:s, s:s, s:s, s:s}]", "apiVersion", "v1", "kind", "Node", "name",
				   r->n->node_name, "uid", r->uid));
	const struct client_request req = {
		.verb = CLIENT_CREATE,
		.kind = r->n->kind_lease,
		.ns = LEASE_NS,
		.body = body,
		.grace_period_s = -1,
	};
	r->lease_call = client_do(r->n->client, &req, on_lease, r);
}

static void renew_lease(struct node_reg *r)
{
	if (r->lease_call || !r->have_node)
		return;
	if (!r->lease_made) {
		make_lease(r);
		return;
	}
	_cleanup_json_ json_t *body = json_make("{s:o}", "spec", lease_spec(r));
	const struct client_request req = {
		.verb = CLIENT_PATCH,
		.patch = CLIENT_PATCH_MERGE,
		.kind = r->n->kind_lease,
		.ns = LEASE_NS,
		.name = r->n->node_name,
		.body = body,
		.grace_period_s = -1,
	};
	r->lease_call = client_do(r->n->client, &req, on_lease, r);
}

/* ---- ticks ---- */

static void on_tick(struct env_timer *t)
{
	struct node_reg *r = CONTAINER_OF(t, struct node_reg, tick);
	env_timer_start(r->n->env, &r->tick, TICK_US);
	if (!r->have_node)
		register_node(r);
	renew_lease(r);
	write_status(r);
	logs_rotate_all(r->n);
}

static void on_retry(struct env_timer *t)
{
	struct node_reg *r = CONTAINER_OF(t, struct node_reg, retry);
	if (!r->have_node)
		register_node(r);
	else if (!r->status)
		write_status(r);
	if (!r->lease_made || r->lease_late)
		renew_lease(r);
}

/* Whether the API says what was written: the node life cycle controller turns Ready to Unknown while leases are late. */
static bool says_ready(struct object *obj)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	size_t i;
	json_t *c;
	json_array_foreach(json_path(tree, "status", "conditions", NULL), i, c)
	{
		if (streq(json_get_str(c, "type", ""), "Ready"))
			return streq(json_get_str(c, "status", ""), "True");
	}
	return false;
}

static void on_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct node_reg *r = arg;
	(void)inf;
	(void)old_obj;
	if (!new_obj || !r->have_node)
		return;
	take_node(r, new_obj);
	if (r->status_call || says_ready(new_obj))
		return;
	json_decref(STEAL(r->status));
	write_status(r);
}

void node_reg_watch(struct node_reg *r)
{
	_cleanup_free_ char *me = xasprintf("metadata.name=%s", r->n->node_name);
	struct informer *inf = informer_get(r->n->informers, r->n->kind_node, NULL, NULL, me);
	const struct informer_handler h = {.on_change = on_change, .arg = r};
	informer_add_handler(inf, &h);
}

struct node_reg *node_reg_new(struct nodeagent *n)
{
	struct node_reg *r = NEW(struct node_reg);
	r->n = n;
	r->tick.fn = on_tick;
	r->retry.fn = on_retry;
	r->transitions = json_object();
	r->foreign_conditions = json_array();
	uname(&r->uts);
	proc_boot_id(r->boot_id, NULL);
	first_line("/etc/machine-id", r->machine_id, sizeof(r->machine_id));
	read_os_image(r);
	return r;
}

void node_reg_start(struct node_reg *r)
{
	register_node(r);
	env_timer_start(r->n->env, &r->tick, TICK_US);
}

void node_reg_free(struct node_reg *r)
{
	if (!r)
		return;
	struct client_call *calls[] = {r->node_call, r->status_call, r->lease_call};
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		if (calls[i])
			client_cancel(r->n->client, calls[i]);
	}
	env_timer_stop(r->n->env, &r->tick);
	env_timer_stop(r->n->env, &r->retry);
	json_decref(r->status);
	json_decref(r->foreign_conditions);
	json_decref(r->transitions);
	free(r->uid);
	free(r);
}
