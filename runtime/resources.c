#include "runtime/resources.h"

#include <errno.h>

#include "runtime/spec.h"

struct target {
	const struct cgroup_fs *fs;
	const char *group;
	json_t *res;
};

static int set_number(const struct target *t, const char *controller, const char *file, int64_t v, struct err *err)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)v);
	return cgroup_set(t->fs, controller, t->group, file, text, err);
}

/* Present integer members only. */
static bool number_at(const struct target *t, const char *path, int64_t *ret)
{
	json_t *j = json_at(t->res, path);
	if (!json_is_integer(j))
		return false;
	*ret = json_integer_value(j);
	return true;
}

/* "max" on v2, -1 on v1, for what is below zero. */
static int set_limit_v2(const struct target *t, const char *controller, const char *file, int64_t v, struct err *err)
{
	return v < 0 ? cgroup_set(t->fs, controller, t->group, file, "max", err)
		     : set_number(t, controller, file, v, err);
}

static int memory_v1(const struct target *t, struct err *err)
{
	int64_t limit = 0, swap = 0, v;
	int r;
	bool has_limit = number_at(t, "memory.limit", &limit) && limit;
	bool has_swap = number_at(t, "memory.swap", &swap) && swap;
	if (has_limit && (r = set_number(t, "memory", "memory.limit_in_bytes", limit, err)) < 0)
		return r;
	if (has_swap && (r = set_number(t, "memory", "memory.memsw.limit_in_bytes", swap, err)) < 0)
		return r == -ENOENT ? 0 : r; /* no swap accounting: there is no swap to bound */
	if (number_at(t, "memory.reservation", &v) && v &&
	    (r = set_number(t, "memory", "memory.soft_limit_in_bytes", v, err)) < 0)
		return r;
	if (number_at(t, "memory.swappiness", &v) && (r = set_number(t, "memory", "memory.swappiness", v, err)) < 0)
		return r;
	if (json_bool_at(t->res, "memory.disableOOMKiller"))
		return cgroup_set(t->fs, "memory", t->group, "memory.oom_control", "1", err);
	return 0;
}

static int memory_v2(const struct target *t, struct err *err)
{
	int64_t limit = 0, swap = 0, v;
	int r;
	bool has_limit = number_at(t, "memory.limit", &limit) && limit;
	if (has_limit && (r = set_limit_v2(t, "memory", "memory.max", limit, err)) < 0)
		return r;
	/* OCI's swap is memory and swap together, v2's is swap alone. */
	if (number_at(t, "memory.swap", &swap) && swap) {
		if (swap > 0 && (limit <= 0 || swap < limit))
			return err_set(err, -EINVAL,
				       "config.json: memory.swap is memory and swap: it needs a limit below it");
		r = set_limit_v2(t, "memory", "memory.swap.max", swap < 0 ? -1 : swap - limit, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (number_at(t, "memory.reservation", &v) && v && (r = set_limit_v2(t, "memory", "memory.low", v, err)) < 0)
		return r;
	return 0;
}

static int cpu_v1(const struct target *t, struct err *err)
{
	int64_t v;
	int r;
	if (number_at(t, "cpu.shares", &v) && v && (r = set_number(t, "cpu", "cpu.shares", v, err)) < 0)
		return r;
	if (number_at(t, "cpu.period", &v) && v && (r = set_number(t, "cpu", "cpu.cfs_period_us", v, err)) < 0)
		return r;
	if (number_at(t, "cpu.quota", &v) && v && (r = set_number(t, "cpu", "cpu.cfs_quota_us", v, err)) < 0)
		return r;
	return 0;
}

static int cpu_v2(const struct target *t, struct err *err)
{
	int64_t shares, quota = 0, period = 0;
	int r;
	if (number_at(t, "cpu.shares", &shares) && shares > 0 &&
	    (r = set_number(t, "cpu", "cpu.weight", (int64_t)cgroup_weight_from_shares((uint64_t)shares), err)) < 0)
		return r;
	bool has_quota = number_at(t, "cpu.quota", &quota), has_period = number_at(t, "cpu.period", &period);
	if (!(has_quota || has_period) || (quota == 0 && period == 0))
		return 0;
	char text[64];
	if (quota > 0)
		snprintf(text, sizeof(text), "%lld %lld", (long long)quota, (long long)(period ? period : 100000));
	else
		snprintf(text, sizeof(text), "max %lld", (long long)(period ? period : 100000));
	return cgroup_set(t->fs, "cpu", t->group, "cpu.max", text, err);
}

static int cpuset(const struct target *t, struct err *err)
{
	const char *cpus = json_str_at(t->res, "cpu.cpus"), *mems = json_str_at(t->res, "cpu.mems");
	int r;
	if (!str_empty(cpus) && (r = cgroup_set(t->fs, "cpuset", t->group, "cpuset.cpus", cpus, err)) < 0)
		return r;
	if (!str_empty(mems) && (r = cgroup_set(t->fs, "cpuset", t->group, "cpuset.mems", mems, err)) < 0)
		return r;
	return 0;
}

static int pids(const struct target *t, struct err *err)
{
	int64_t v;
	if (!number_at(t, "pids.limit", &v) || v == 0)
		return 0;
	return v < 0 ? cgroup_set(t->fs, "pids", t->group, "pids.max", "max", err)
		     : set_number(t, "pids", "pids.max", v, err);
}

/* blkio weight and throttles are rare in a cluster; saying no beats pretending. */
static int refuse_unsupported(const struct target *t, struct err *err)
{
	static const char *const names[] = {"network.classID",
					    "network.priorities",
					    "rdma",
					    "blockIO.weight",
					    "blockIO.weightDevice",
					    "blockIO.throttleReadBpsDevice",
					    "blockIO.throttleWriteBpsDevice",
					    "blockIO.throttleReadIOPSDevice",
					    "blockIO.throttleWriteIOPSDevice"};
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		json_t *j = json_at(t->res, names[i]);
		bool empty = !j || json_is_null(j) || (json_is_integer(j) && json_integer_value(j) == 0) ||
			     (json_is_array(j) && json_array_size(j) == 0) ||
			     (json_is_object(j) && json_object_size(j) == 0);
		if (!empty)
			return err_set(err, -ENOTSUP, "config.json: linux.resources.%s is not supported", names[i]);
	}
	return 0;
}

static int hugepages(const struct target *t, struct err *err)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(t->res, "hugepageLimits"), i, e)
	{
		const char *size = json_str_at(e, "pageSize");
		json_t *limit = json_object_get(e, "limit");
		if (!size || strlen(size) > 16 || strchr(size, '/') || !json_is_integer(limit))
			return err_set(err, -EINVAL, "config.json: linux.resources.hugepageLimits[%zu] is not valid",
				       i);
		char file[64];
		snprintf(file, sizeof(file), t->fs->v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size);
		int r = set_number(t, "hugetlb", file, json_integer_value(limit), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v2 files by name: linux.resources.unified. */
static int unified(const struct target *t, struct err *err)
{
	const char *key;
	json_t *v, *all = json_object_get(t->res, "unified");
	if (json_object_size(all) && !t->fs->v2)
		return err_set(err, -EINVAL, "config.json: linux.resources.unified needs control groups v2");
	json_object_foreach(all, key, v)
	{
		const char *value = json_string_value(v);
		if (!value || strchr(key, '/') || !strchr(key, '.') || str_starts(key, "cgroup."))
			return err_set(err, -EINVAL, "config.json: linux.resources.unified: %.60s is not valid", key);
		int r = cgroup_set(t->fs, "", t->group, key, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int resources_apply(const struct cgroup_fs *fs, const char *group, json_t *resources, json_t *devices, struct err *err)
{
	struct target t = {.fs = fs, .group = group, .res = resources};
	int r;
	if ((r = refuse_unsupported(&t, err)) < 0 || (r = (fs->v2 ? memory_v2 : memory_v1)(&t, err)) < 0 ||
	    (r = (fs->v2 ? cpu_v2 : cpu_v1)(&t, err)) < 0 || (r = cpuset(&t, err)) < 0 || (r = pids(&t, err)) < 0 ||
	    (r = hugepages(&t, err)) < 0 || (r = unified(&t, err)) < 0)
		return r;
	if (!json_array_size(json_object_get(resources, "devices")))
		return 0;
	_cleanup_free_ struct device_rule *rules = NULL;
	size_t n = 0;
	if ((r = devices_rules(resources, devices, &rules, &n, err)) < 0)
		return r;
	return (fs->v2 ? devices_apply_v2 : devices_apply_v1)(fs, group, rules, n, err);
}
