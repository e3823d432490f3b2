/* Source: OCI runtime-spec features.md. */
#include <seccomp.h>
#include <sys/capability.h>

#include "runtime/cmd.h"

static json_t *strings(const char *const *v)
{
	json_t *a = json_array();
	for (; *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

static json_t *capabilities(void)
{
	json_t *a = json_array();
	for (int i = 0; i <= CAP_LAST_CAP; i++) {
		char *name = cap_to_name(i);
		for (char *p = name; p && *p; p++)
			*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
		if (name)
			json_array_append_new(a, json_string(name));
		cap_free(name);
	}
	return a;
}

int cmd_features(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	(void)g, (void)argc, (void)argv;
	static const char *const hooks[] = {
		"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL};
	static const char *const options[] = {
		"bind",        "rbind",     "ro",         "rw",          "nosuid",      "suid",
		"nodev",       "dev",       "noexec",     "exec",        "noatime",     "atime",
		"nodiratime",  "diratime",  "relatime",   "norelatime",  "strictatime", "nostrictatime",
		"nosymfollow", "symfollow", "private",    "rprivate",    "shared",      "rshared",
		"slave",       "rslave",    "unbindable", "runbindable", "rro",         "rrw",
		"rnosuid",     "rsuid",     "rnodev",     "rdev",        "rnoexec",     "rexec",
		NULL};
	static const char *const namespaces[] = {"cgroup", "ipc", "mount", "network", "pid", "user", "uts", NULL};
	static const char *const actions[] = {"SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO",       "SCMP_ACT_KILL",
					      "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					      "SCMP_ACT_TRACE",        "SCMP_ACT_TRAP",        NULL};
	static const char *const ops[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",        "SCMP_CMP_EQ",
					  "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ", NULL};
	json_t *linux_ = json_pack("{s:o,s:o,s:{s:b,s:b,s:b,s:b},s:{s:b,s:o,s:o},s:{s:b},s:{s:b}}", "namespaces",
				   strings(namespaces), "capabilities", capabilities(), "cgroup", "v1", 1, "v2", 1,
				   "systemd", 0, "systemdUser", 0, "seccomp", "enabled", 1, "actions", strings(actions),
				   "operators", strings(ops), "apparmor", "enabled", 1, "selinux", "enabled", 0);
	json_t *j = json_pack("{s:s,s:s,s:o,s:o,s:o}", "ociVersionMin", "1.0.0", "ociVersionMax", "1.1.0", "hooks",
			      strings(hooks), "mountOptions", strings(options), "linux", linux_);
	if (!j)
		return err_set(err, -1, "features: out of memory");
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
	return 0;
}
