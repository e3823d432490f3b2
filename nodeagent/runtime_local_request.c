#include "nodeagent/runtime_local_priv.h"

static void set_str(json_t *j, const char *key, const char *v)
{
	if (v)
		json_object_set_new(j, key, json_string(v));
}

static void set_strv(json_t *j, const char *key, const char *const *v)
{
	if (!v)
		return;
	json_t *a = json_array();
	for (; *v; v++)
		json_array_append_new(a, json_string(*v));
	json_object_set_new(j, key, a);
}

static json_t *pairs(const struct runtime_env_var *v)
{
	json_t *a = json_array();
	for (; v && v->name; v++)
		json_array_append_new(a, json_pack("[s,s]", v->name, v->value ? v->value : ""));
	return a;
}

json_t *local_request_sandbox(const struct runtime_sandbox_config *c)
{
	json_t *j = json_pack("{s:s,s:s,s:b,s:b,s:b,s:b,s:o}", "kind", "sandbox", "id", c->id, "hostNetwork",
			      c->host_network, "hostPid", c->host_pid, "hostIpc", c->host_ipc, "sharePid", c->share_pid,
			      "sysctls", pairs(c->sysctls));
	set_str(j, "podName", c->pod_name);
	set_str(j, "podNamespace", c->pod_ns);
	set_str(j, "podUid", c->pod_uid);
	set_str(j, "hostname", c->hostname);
	set_str(j, "cgroupParent", c->cgroup_parent);
	return j;
}

static json_t *mounts(const struct runtime_container_config *c)
{
	json_t *a = json_array();
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct runtime_mount *m = &c->mounts[i];
		json_t *j =
			json_pack("{s:s,s:b,s:b,s:I,s:b}", "to", m->container_path, "readOnly", m->read_only, "tmpfs",
				  m->tmpfs, "size", (json_int_t)m->size_bytes, "propagate", m->propagate_from_host);
		set_str(j, "from", m->host_path);
		json_array_append_new(a, j);
	}
	return a;
}

static json_t *resources(const struct runtime_resources *r)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:i}", "cpuShares", (json_int_t)r->cpu_shares, "cpuQuota",
			 (json_int_t)r->cpu_quota_us, "cpuPeriod", (json_int_t)r->cpu_period_us, "memoryLimit",
			 (json_int_t)r->memory_limit_bytes, "memoryRequest", (json_int_t)r->memory_request_bytes,
			 "pidsLimit", (json_int_t)r->pids_limit, "oomScoreAdj", r->oom_score_adj);
}

static json_t *security(const struct runtime_security *s)
{
	json_t *groups = json_array();
	for (size_t i = 0; i < s->n_supplemental_groups; i++)
		json_array_append_new(groups, json_integer(s->supplemental_groups[i]));
	json_t *j = json_pack("{s:I,s:I,s:o,s:b,s:b,s:b,s:b}", "user", (json_int_t)s->run_as_user, "group",
			      (json_int_t)s->run_as_group, "groups", groups, "privileged", s->privileged, "readOnly",
			      s->read_only_rootfs, "noNewPrivs", s->no_new_privs, "unconfined", s->seccomp_unconfined);
	set_strv(j, "capAdd", s->cap_add);
	set_strv(j, "capDrop", s->cap_drop);
	return j;
}

json_t *local_request_container(const struct runtime_container_config *c)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:b,s:b,s:b}", "kind", "container", "id", c->id, "sandbox",
			      c->sandbox_id, "env", pairs(c->env), "mounts", mounts(c), "resources",
			      resources(&c->resources), "security", security(&c->security), "stdin", c->stdin_open,
			      "stdinOnce", c->stdin_once, "tty", c->tty);
	set_str(j, "name", c->name);
	set_str(j, "image", c->image_id);
	set_strv(j, "command", c->command);
	set_strv(j, "args", c->args);
	set_str(j, "workingDir", c->working_dir);
	set_str(j, "cgroupParent", c->cgroup_parent);
	set_str(j, "logPath", c->log_path);
	set_str(j, "stopSignal", c->stop_signal);
	return j;
}
