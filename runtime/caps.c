#include "runtime/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int parse_set(json_t *j, const char *set, uint64_t *ret, struct err *err)
{
	size_t i;
	json_t *e;
	uint64_t mask = 0;
	json_array_foreach(json_object_get(j, set), i, e)
	{
		const char *name = json_string_value(e);
		char lower[64] = "";
		for (size_t k = 0; name && name[k] && k < sizeof(lower) - 1; k++)
			lower[k] = (char)(name[k] >= 'A' && name[k] <= 'Z' ? name[k] - 'A' + 'a' : name[k]);
		cap_value_t v;
		if (!name || cap_from_name(lower, &v) < 0 || v < 0 || v > 63)
			return err_set(err, -EINVAL,
				       "config.json: process.capabilities.%s[%zu]: unknown capability %.50s", set, i,
				       name ? name : "(not a string)");
		mask |= 1ull << v;
	}
	*ret = mask;
	return 0;
}

int caps_parse(json_t *j, struct caps *ret, struct err *err)
{
	struct caps c = {0};
	int r;
	if ((r = parse_set(j, "bounding", &c.bounding, err)) < 0 ||
	    (r = parse_set(j, "effective", &c.effective, err)) < 0 ||
	    (r = parse_set(j, "permitted", &c.permitted, err)) < 0 ||
	    (r = parse_set(j, "inheritable", &c.inheritable, err)) < 0 ||
	    (r = parse_set(j, "ambient", &c.ambient, err)) < 0)
		return r;
	*ret = c;
	return 0;
}

int caps_before_setuid(const struct caps *c, struct err *err)
{
	for (int i = 0; i < 64; i++) {
		if (c->bounding & (1ull << i))
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				break; /* past the kernel's last */
			return err_errno(err, "can't drop capability %d from the bounding set", i);
		}
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_errno(err, "prctl(PR_SET_KEEPCAPS)");
	return 0;
}

/* What can be given: names this kernel doesn't know, or that we don't have ourselves, are left out, as runc does. */
static uint64_t own_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

int caps_apply(const struct caps *c, struct err *err)
{
	uint64_t own = own_caps();
	uint64_t perm = c->permitted & own, eff = c->effective & perm, inh = c->inheritable & own;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	for (unsigned i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(eff >> (32 * i)),
			.permitted = (uint32_t)(perm >> (32 * i)),
			.inheritable = (uint32_t)(inh >> (32 * i)),
		};
	if (syscall(SYS_capset, &head, data) < 0)
		return err_errno(err, "can't set capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return err_errno(err, "can't clear ambient capabilities");
	for (int i = 0; i < 64; i++) {
		/* Ambient ones must be inheritable and permitted; runc ignores those that are not. */
		if (!(c->ambient & perm & inh & (1ull << i)))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			return err_errno(err, "can't raise ambient capability %d", i);
	}
	return 0;
}
