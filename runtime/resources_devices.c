/* Which devices a group may use: a list on v1, a BPF program on v2. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "runtime/resources.h"
#include "runtime/spec.h"

/* What every container has: null, zero, full, random, urandom, tty, ptys, and making nodes of any kind. */
static const struct device_rule defaults[] = {
	{true, 'c', -1, -1, false, false, true}, {true, 'b', -1, -1, false, false, true},
	{true, 'c', 1, 3, true, true, true},     {true, 'c', 1, 5, true, true, true},
	{true, 'c', 1, 7, true, true, true},     {true, 'c', 1, 8, true, true, true},
	{true, 'c', 1, 9, true, true, true},     {true, 'c', 5, 0, true, true, true},
	{true, 'c', 5, 1, true, true, true},     {true, 'c', 5, 2, true, true, true},
	{true, 'c', 136, -1, true, true, true},
};

static int64_t number_or_any(json_t *j)
{
	return json_is_integer(j) ? json_integer_value(j) : -1;
}

static int parse_rule(json_t *e, size_t i, struct device_rule *ret, struct err *err)
{
	const char *type = json_str_at(e, "type"), *access = json_str_at(e, "access");
	char t = str_empty(type) ? 'a' : type[0];
	if (!strchr("abcu", t) || (access && strspn(access, "rwm") != strlen(access)))
		return err_set(err, -EINVAL, "config.json: linux.resources.devices[%zu] is not valid", i);
	*ret = (struct device_rule){
		.allow = json_bool_at(e, "allow"),
		.type = t == 'u' ? 'c' : t,
		.major = number_or_any(json_object_get(e, "major")),
		.minor = number_or_any(json_object_get(e, "minor")),
		.read = !access || strchr(access, 'r'),
		.write = !access || strchr(access, 'w'),
		.mknod = !access || strchr(access, 'm'),
	};
	return 0;
}

static bool is_wildcard(const struct device_rule *r)
{
	return r->type == 'a' && r->major < 0 && r->minor < 0;
}

int devices_rules(json_t *resources, json_t *devices, struct device_rule **ret, size_t *ret_n, struct err *err)
{
	json_t *listed = json_object_get(resources, "devices"), *e;
	size_t max = json_array_size(listed) + json_array_size(devices) + ARRAY_LEN(defaults), n = 0, i;
	_cleanup_free_ struct device_rule *rules = NEW_N(struct device_rule, max + 1);
	json_array_foreach(listed, i, e)
	{
		int r = parse_rule(e, i, &rules[n], err);
		if (r < 0)
			return r;
		n++;
	}
	bool all = n > 0 && rules[n - 1].allow && is_wildcard(&rules[n - 1]);
	if (!all) {
		memcpy(rules + n, defaults, sizeof(defaults));
		n += ARRAY_LEN(defaults);
		json_array_foreach(devices, i, e)
		{
			const char *type = json_str_at(e, "type");
			if (str_empty(type) || !strchr("bcu", type[0]))
				continue;
			rules[n++] = (struct device_rule){true,
							  type[0] == 'b' ? 'b' : 'c',
							  number_or_any(json_object_get(e, "major")),
							  number_or_any(json_object_get(e, "minor")),
							  true,
							  true,
							  true};
		}
	}
	*ret = STEAL(rules);
	*ret_n = n;
	return 0;
}

static void number_text(int64_t v, char *buf, size_t size)
{
	if (v < 0)
		snprintf(buf, size, "*");
	else
		snprintf(buf, size, "%lld", (long long)v);
}

int devices_apply_v1(const struct cgroup_fs *fs, const char *group, const struct device_rule *rules, size_t n,
		     struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		char text[64], major[24], minor[24];
		number_text(rules[i].major, major, sizeof(major));
		number_text(rules[i].minor, minor, sizeof(minor));
		if (is_wildcard(&rules[i]))
			strcpy(text, "a");
		else
			snprintf(text, sizeof(text), "%c %s:%s %s%s%s", rules[i].type, major, minor,
				 rules[i].read ? "r" : "", rules[i].write ? "w" : "", rules[i].mknod ? "m" : "");
		int r = cgroup_set(fs, "devices", group, rules[i].allow ? "devices.allow" : "devices.deny", text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

#define INSN(c, d, s, o, i)                                                                                            \
	((struct bpf_insn){.code = (__u8)(c), .dst_reg = (d), .src_reg = (s), .off = (__s16)(o), .imm = (i)})

/* The last rule that matches decides, so they are tested from the last. Registers: 2 type, 3 access, 4 major, 5 minor,
 * 1 scratch. Each rule is: not mine? skip; else return its verdict. */
int devices_program(const struct device_rule *rules, size_t n, struct bpf_insn *out, size_t max)
{
	size_t k = 0;
	if (max < 8 + n * 10)
		return -E2BIG;
	/* struct bpf_cgroup_dev_ctx { access_type: (access << 16) | type; major; minor } */
	out[k++] = INSN(BPF_LDX | BPF_W | BPF_MEM, 2, 1, 0, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	out[k++] = INSN(BPF_LDX | BPF_W | BPF_MEM, 3, 1, 0, 0);
	out[k++] = INSN(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	out[k++] = INSN(BPF_LDX | BPF_W | BPF_MEM, 4, 1, 4, 0);
	out[k++] = INSN(BPF_LDX | BPF_W | BPF_MEM, 5, 1, 8, 0);
	for (size_t i = n; i-- > 0;) {
		const struct device_rule *r = &rules[i];
		int access = (r->mknod ? BPF_DEVCG_ACC_MKNOD : 0) | (r->read ? BPF_DEVCG_ACC_READ : 0) |
			     (r->write ? BPF_DEVCG_ACC_WRITE : 0);
		bool any_access = r->read && r->write && r->mknod;
		size_t skips[4], n_skips = 0;
		if (r->type != 'a') {
			skips[n_skips++] = k;
			out[k++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
					r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
		}
		if (!any_access) {
			/* allowed when every wanted bit is in the rule; denied when any is */
			out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
			out[k++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, r->allow ? ~access & 7 : access);
			skips[n_skips++] = k;
			out[k++] = INSN(BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
		}
		if (r->major >= 0) {
			skips[n_skips++] = k;
			out[k++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (__s32)r->major);
		}
		if (r->minor >= 0) {
			skips[n_skips++] = k;
			out[k++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (__s32)r->minor);
		}
		out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, r->allow ? 1 : 0);
		out[k++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		for (size_t s = 0; s < n_skips; s++)
			out[skips[s]].off = (__s16)(k - skips[s] - 1);
		if (n_skips == 0)
			return (int)k; /* matches everything: what came before it has no say, and the verifier
					  refuses dead code */
	}
	out[k++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	out[k++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return (int)k;
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

int devices_apply_v2(const struct cgroup_fs *fs, const char *group, const struct device_rule *rules, size_t n,
		     struct err *err)
{
	char dir[1024];
	size_t max = 8 + n * 10;
	_cleanup_free_ struct bpf_insn *insns = NEW_N(struct bpf_insn, max);
	int k = devices_program(rules, n, insns, max);
	if (k < 0)
		return err_set(err, k, "device rules: too many");
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
			    .insn_cnt = (__u32)k,
			    .insns = (__u64)(uintptr_t)insns,
			    .license = (__u64)(uintptr_t) "Apache-2.0"};
	_cleanup_close_ int prog = bpf(BPF_PROG_LOAD, &a);
	if (prog < 0)
		return err_errno(err, "device rules: the kernel refuses the program");
	cgroup_dir(fs, "", group, dir, sizeof(dir));
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "control group %s", dir);
	union bpf_attr b = {.attach_type = BPF_CGROUP_DEVICE,
			    .target_fd = (__u32)fd,
			    .attach_bpf_fd = (__u32)prog,
			    .attach_flags = BPF_F_ALLOW_MULTI};
	if (bpf(BPF_PROG_ATTACH, &b) < 0)
		return err_errno(err, "device rules on %s", dir);
	return 0;
}
