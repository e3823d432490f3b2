#include "nodeagent/cgroup.h"

#include <errno.h>

#include "lib/core/cgroup.h"

/* A dying process leaves its group within a few ms; the caller tries again when that was too short. */
#define REMOVE_WAIT_MS 4

static int set_number(const struct cgroup_fs *fs, const char *path, const char *controller, const char *file, int64_t v,
		      struct err *err)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)v);
	return cgroup_set(fs, controller, path, file, text, err);
}

static int limit_v1(const struct cgroup_fs *fs, const char *path, const struct runtime_resources *l, struct err *err)
{
	int r = 0;
	if (l->cpu_shares > 0)
		r = set_number(fs, path, "cpu", "cpu.shares", l->cpu_shares, err);
	if (r == 0 && l->cpu_quota_us > 0 &&
	    (r = set_number(fs, path, "cpu", "cpu.cfs_period_us", l->cpu_period_us ? l->cpu_period_us : 100000, err)) ==
		    0)
		r = set_number(fs, path, "cpu", "cpu.cfs_quota_us", l->cpu_quota_us, err);
	if (r == 0 && l->memory_limit_bytes > 0)
		r = set_number(fs, path, "memory", "memory.limit_in_bytes", l->memory_limit_bytes, err);
	if (r == 0 && l->pids_limit > 0)
		r = set_number(fs, path, "pids", "pids.max", l->pids_limit, err);
	return r;
}

static int limit_v2(const struct cgroup_fs *fs, const char *path, const struct runtime_resources *l, struct err *err)
{
	char text[64];
	int r = 0;
	if (l->cpu_shares > 0)
		r = set_number(fs, path, "cpu", "cpu.weight",
			       (int64_t)cgroup_weight_from_shares((uint64_t)l->cpu_shares), err);
	if (r == 0 && l->cpu_quota_us > 0) {
		snprintf(text, sizeof(text), "%lld %lld", (long long)l->cpu_quota_us,
			 (long long)(l->cpu_period_us ? l->cpu_period_us : 100000));
		r = cgroup_set(fs, "cpu", path, "cpu.max", text, err);
	}
	if (r == 0 && l->memory_limit_bytes > 0)
		r = set_number(fs, path, "memory", "memory.max", l->memory_limit_bytes, err);
	if (r == 0 && l->pids_limit > 0)
		r = set_number(fs, path, "pids", "pids.max", l->pids_limit, err);
	return r;
}

int cgroup_pod_create(const char *path, const struct runtime_resources *limits, struct err *err)
{
	struct cgroup_fs fs;
	int r = cgroup_fs_open(CGROUP_ROOT, &fs, err);
	if (r < 0 || (r = cgroup_make(&fs, path, err)) < 0 || !limits)
		return r;
	return (fs.v2 ? limit_v2 : limit_v1)(&fs, path, limits, err);
}

int cgroup_pod_remove(const char *path, struct err *err)
{
	struct cgroup_fs fs;
	int r = cgroup_fs_open(CGROUP_ROOT, &fs, err);
	return r < 0 ? r : cgroup_remove(&fs, path, REMOVE_WAIT_MS, err);
}
