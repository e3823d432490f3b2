/* linux.resources on a control group: limits, and which devices may be used. v1 and v2.
 *
 * Only what is set is written. A limit whose controller is missing is an error; so is nothing else. Source: OCI
 * config-linux.md#control-groups; conversions between v1's and v2's scales as runc and crun make them.
 */
#ifndef MINI_RUNTIME_RESOURCES_H
#define MINI_RUNTIME_RESOURCES_H

#include <jansson.h>

#include "lib/core/cgroup.h"

int resources_apply(const struct cgroup_fs *fs, const char *group, json_t *resources, json_t *devices, struct err *err);

/* One rule for devices, in order; later ones win. type 'a': all. -1: any number. */
struct device_rule {
	bool allow;
	char type;
	int64_t major, minor;
	bool read, write, mknod;
};
/* linux.resources.devices, linux.devices and the nodes every container has. Caller frees. */
int devices_rules(json_t *resources, json_t *devices, struct device_rule **ret, size_t *ret_n, struct err *err);
int devices_apply_v1(const struct cgroup_fs *fs, const char *group, const struct device_rule *rules, size_t n,
		     struct err *err);
/* A program on the group's folder, replacing earlier ones of ours. */
int devices_apply_v2(const struct cgroup_fs *fs, const char *group, const struct device_rule *rules, size_t n,
		     struct err *err);

struct bpf_insn;
/* The program of a rule set; for tests too. Returns instructions written, or -E2BIG. */
int devices_program(const struct device_rule *rules, size_t n, struct bpf_insn *out, size_t max);

#endif
