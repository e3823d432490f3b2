/* The pod's sandbox: pause, which holds the namespaces, and its address.
 *
 *   NONE --run--> STARTING --> LOOKUP --attached--> READY --pause died--> DEAD
 *    ^                |           |                   |                     |
 *    |                '---failed--'----------> REMOVING <---- stop ---------'
 *    '------------- removed, containers first --------'
 */
#include "nodeagent/pod.h"

#define RETRY_MIN_US (1 * SECOND_US)
#define RETRY_MAX_US (30 * SECOND_US)
#define SYSCTLS_MAX  32

static void sandbox_failed(struct pod *p, const char *message)
{
	pod_event(p, true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", message);
	p->sandbox_backoff_us =
		p->sandbox_backoff_us ? MIN(p->sandbox_backoff_us * 2, RETRY_MAX_US) : (uint64_t)RETRY_MIN_US;
	p->sandbox_retry_at_us = env_now_us(p->n->env) + p->sandbox_backoff_us;
	if (p->sandbox_id[0])
		sandbox_remove(p);
	else
		p->sandbox = SANDBOX_NONE;
}

static void on_lookup(struct pod *p, struct pod_container *c, const struct err *err,
		      const struct runtime_container *list, size_t n)
{
	(void)c;
	if (p->sandbox != SANDBOX_LOOKUP)
		return;
	if (err->code) {
		sandbox_failed(p, err->message);
		return;
	}
	if (n == 0 || list[0].status == RUNTIME_EXITED || list[0].pid <= 0) {
		sandbox_failed(p, "its pause process has ended");
		return;
	}
	_cleanup_err_ struct err e = ERR_INIT;
	if (p->host_network) {
		snprintf(p->ip, sizeof(p->ip), "%s", p->n->node_ip);
	} else if (p->n->host->ops->net_attach(p->n->host, p->sandbox_id, list[0].pid, p->ip, &e) < 0) {
		p->ip[0] = 0;
		_cleanup_free_ char *text = xasprintf("failed to set up the pod network: %s", e.message);
		sandbox_failed(p, text);
		return;
	}
	p->sandbox_backoff_us = 0;
	p->sandbox = SANDBOX_READY;
}

static void on_run(struct pod *p, struct pod_container *c, const struct err *err)
{
	(void)c;
	if (p->sandbox != SANDBOX_STARTING)
		return;
	if (err->code) {
		sandbox_failed(p, err->message);
		return;
	}
	p->sandbox = SANDBOX_LOOKUP;
	rt_list(p, NULL, p->sandbox_id, on_lookup);
}

/* A port of the node for a pod with an address of its own needs a mapping nobody here makes. */
static bool wants_host_port(struct pod *p, const json_t *tree)
{
	size_t i, k;
	json_t *c, *port;
	if (p->host_network)
		return false;
	json_array_foreach(json_path(tree, "spec", "containers", NULL), i, c)
	{
		json_array_foreach(json_object_get(c, "ports"), k, port)
		{
			if (json_get_int(port, "hostPort", 0) > 0)
				return true;
		}
	}
	return false;
}

void sandbox_start(struct pod *p)
{
	uint64_t now = env_now_us(p->n->env);
	if (p->sandbox_retry_at_us > now) {
		pod_wake_at(p, p->sandbox_retry_at_us);
		return;
	}
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	if (wants_host_port(p, tree)) {
		sandbox_failed(p, "hostPort is not supported by this node agent without hostNetwork");
		return;
	}
	struct runtime_env_var sysctls[SYSCTLS_MAX + 1] = {{0}};
	size_t i, n = 0;
	json_t *s;
	json_array_foreach(json_path(tree, "spec", "securityContext", "sysctls", NULL), i, s)
	{
		if (n < SYSCTLS_MAX)
			sysctls[n++] =
				(struct runtime_env_var){json_get_str(s, "name", ""), json_get_str(s, "value", "")};
	}
	_cleanup_free_ char *hostname = p->host_network ? xstrdup(p->n->node_name) : pod_hostname(tree);
	pod_container_id(p->sandbox_id, p->uid, "POD", p->sandbox_attempt);
	const struct runtime_sandbox_config k = {
		.id = p->sandbox_id,
		.pod_name = p->name,
		.pod_ns = p->ns,
		.pod_uid = p->uid,
		.hostname = hostname,
		.cgroup_parent = p->cgroup,
		.host_network = p->host_network,
		.host_pid = p->host_pid,
		.host_ipc = p->host_ipc,
		.share_pid = p->share_pid,
		.sysctls = n ? sysctls : NULL,
	};
	p->sandbox = SANDBOX_STARTING;
	rt_run_sandbox(p, &k, on_run);
}

/* ---- removal: stop, give the address back, remove containers, remove ---- */

static void remove_again_later(struct pod *p, const struct err *err)
{
	pod_event(p, true, "FailedKillPod", "error killing pod: %s", err->message);
	p->sandbox = SANDBOX_DEAD;
	p->sandbox_retry_at_us = env_now_us(p->n->env) + SECOND_US;
}

static void on_removed(struct pod *p, struct pod_container *c, const struct err *err)
{
	(void)c;
	if (err->code) {
		remove_again_later(p, err);
		return;
	}
	p->sandbox = SANDBOX_NONE;
	p->sandbox_id[0] = 0;
	p->sandbox_attempt++;
}

static void on_stopped(struct pod *p, struct pod_container *c, const struct err *err)
{
	(void)c;
	_cleanup_err_ struct err e = ERR_INIT;
	if (err->code) {
		remove_again_later(p, err);
		return;
	}
	if (!p->host_network && p->n->host->ops->net_detach(p->n->host, p->sandbox_id, &e) < 0) {
		remove_again_later(p, &e);
		return;
	}
	p->ip[0] = 0;
	rt_remove_sandbox(p, p->sandbox_id, on_removed);
}

void sandbox_remove(struct pod *p)
{
	if (p->sandbox == SANDBOX_REMOVING || !p->sandbox_id[0])
		return;
	uint64_t now = env_now_us(p->n->env);
	if (p->sandbox == SANDBOX_DEAD && p->sandbox_retry_at_us > now) {
		pod_wake_at(p, p->sandbox_retry_at_us);
		return;
	}
	p->sandbox = SANDBOX_REMOVING;
	rt_stop_sandbox(p, p->sandbox_id, on_stopped);
}
