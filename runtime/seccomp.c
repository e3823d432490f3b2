#include "runtime/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/core/file.h"
#include "runtime/spec.h"

/* Raise when the built-in profile or the translation changes: older cache files are then not looked at. */
#define CACHE_REVISION 1
#define INSNS_MAX      4096 /* BPF_MAXINSNS */

struct cache_head {
	uint32_t magic, flags, n, crc;
};
#define CACHE_MAGIC 0x3142504du /* "MPB1" */

void seccomp_filter_free(struct seccomp_filter *f)
{
	if (!f)
		return;
	free(f->insns);
	free(f);
}

static void filter_freep(struct seccomp_filter **f)
{
	seccomp_filter_free(*f);
}
static void ctx_releasep(scmp_filter_ctx *c)
{
	if (*c)
		seccomp_release(*c);
}

static int parse_action(const char *s, json_t *errno_ret, uint32_t *ret)
{
	uint32_t no = json_is_integer(errno_ret) ? (uint32_t)json_integer_value(errno_ret) & 0xffff : EPERM;
	static const struct {
		const char *name;
		uint32_t action;
	} plain[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
	};
	for (unsigned i = 0; i < ARRAY_LEN(plain); i++)
		if (streq(s, plain[i].name)) {
			*ret = plain[i].action;
			return 0;
		}
	if (streq(s, "SCMP_ACT_ERRNO"))
		*ret = SCMP_ACT_ERRNO(no);
	else if (streq(s, "SCMP_ACT_TRACE"))
		*ret = SCMP_ACT_TRACE(no);
	else
		return -EINVAL;
	return 0;
}

static int parse_op(const char *s, enum scmp_compare *ret)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
		   {"SCMP_CMP_LT", SCMP_CMP_LT},
		   {"SCMP_CMP_LE", SCMP_CMP_LE},
		   {"SCMP_CMP_EQ", SCMP_CMP_EQ},
		   {"SCMP_CMP_GE", SCMP_CMP_GE},
		   {"SCMP_CMP_GT", SCMP_CMP_GT},
		   {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
		if (streq(s, ops[i].name)) {
			*ret = ops[i].op;
			return 0;
		}
	return -EINVAL;
}

/* 64-bit arguments come as integers, or as reals when they are above 2^63. */
static uint64_t arg_value(json_t *j)
{
	return json_is_real(j) ? (uint64_t)json_real_value(j) : (uint64_t)json_integer_value(j);
}

static int add_rule(scmp_filter_ctx ctx, const char *name, uint32_t action, json_t *args, struct err *err)
{
	int nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR)
		return 0; /* unknown to this libseccomp: profiles list what newer kernels have */
	struct scmp_arg_cmp cmp[6];
	unsigned n = 0, seen = 0;
	bool repeats = false;
	size_t i;
	json_t *a;
	json_array_foreach(args, i, a)
	{
		json_int_t index = json_integer_value(json_object_get(a, "index"));
		enum scmp_compare op;
		if (i >= 6 || index < 0 || index > 5 || parse_op(json_str_at(a, "op"), &op) < 0)
			return err_set(err, -EINVAL, "seccomp: argument %zu of %s is not valid", i, name);
		uint64_t v = arg_value(json_object_get(a, "value")), v2 = arg_value(json_object_get(a, "valueTwo"));
		cmp[n++] = (struct scmp_arg_cmp){.arg = (unsigned)index, .op = op, .datum_a = v, .datum_b = v2};
		repeats |= seen & (1u << index);
		seen |= 1u << index;
	}
	int r = 0;
	/* Comparisons of different arguments must all hold; of the same argument, any (as runc reads it). */
	if (!repeats)
		r = seccomp_rule_add_array(ctx, action, nr, n, cmp);
	for (unsigned k = 0; repeats && k < n && r >= 0; k++)
		r = seccomp_rule_add_array(ctx, action, nr, 1, &cmp[k]);
	/* -EACCES: same as the default action; -EEXIST: said twice */
	if (r < 0 && r != -EACCES && r != -EEXIST && r != -EDOM)
		return err_set(err, r, "seccomp: rule for %s: %s", name, strerror(-r));
	return 0;
}

static int add_arches(scmp_filter_ctx ctx, json_t *arches, struct err *err)
{
	size_t i;
	json_t *e;
	json_array_foreach(arches, i, e)
	{
		const char *s = json_string_value(e);
		char lower[32] = "";
		if (!s || !str_starts(s, "SCMP_ARCH_"))
			return err_set(err, -EINVAL, "seccomp: architectures[%zu] is not valid", i);
		for (size_t k = 0; s[10 + k] && k < sizeof(lower) - 1; k++)
			lower[k] = (char)(s[10 + k] | ((s[10 + k] >= 'A' && s[10 + k] <= 'Z') ? 0x20 : 0));
		uint32_t token = seccomp_arch_resolve_name(lower);
		if (token == 0)
			continue; /* an architecture this library does not know can't run here either */
		int r = seccomp_arch_add(ctx, token);
		if (r < 0 && r != -EEXIST)
			return err_set(err, r, "seccomp: architecture %s: %s", s, strerror(-r));
	}
	return 0;
}

static int parse_flags(json_t *flags, unsigned *ret, struct err *err)
{
	size_t i;
	json_t *e;
	json_array_foreach(flags, i, e)
	{
		const char *s = json_string_value(e);
		if (streq(s, "SECCOMP_FILTER_FLAG_LOG"))
			*ret |= SECCOMP_FILTER_FLAG_LOG;
		else if (streq(s, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			*ret |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (!streq(s, "SECCOMP_FILTER_FLAG_TSYNC")) /* one thread: nothing to synchronise */
			return err_set(err, -EINVAL, "seccomp: flag %.60s is not supported", s ? s : "(not a string)");
	}
	return 0;
}

static int export_bpf(scmp_filter_ctx ctx, struct seccomp_filter *f, struct err *err)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "seccomp: memfd");
	int r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_set(err, r, "seccomp: compile: %s", strerror(-r));
	off_t size = lseek(fd, 0, SEEK_END);
	if (size <= 0 || size > (off_t)(INSNS_MAX * sizeof(struct sock_filter)) || size % 8)
		return err_set(err, -EFBIG, "seccomp: the profile compiles to %lld bytes, too many for the kernel",
			       (long long)size);
	f->n = (unsigned)(size / 8);
	f->insns = xmalloc((size_t)size);
	if (pread(fd, f->insns, (size_t)size, 0) != size)
		return err_errno(err, "seccomp: read back");
	return 0;
}

static int compile(json_t *j, struct seccomp_filter *f, struct err *err)
{
	uint32_t def;
	if (json_object_get(j, "listenerPath"))
		return err_set(err, -ENOTSUP, "seccomp: listenerPath (user notification) is not supported");
	if (parse_action(json_str_at(j, "defaultAction"), json_object_get(j, "defaultErrnoRet"), &def) < 0)
		return err_set(err, -EINVAL, "seccomp: defaultAction is missing or not supported");
	int r = parse_flags(json_object_get(j, "flags"), &f->flags, err);
	if (r < 0)
		return r;
	_cleanup_(ctx_releasep) scmp_filter_ctx ctx = seccomp_init(def);
	if (!ctx)
		return err_set(err, -ENOMEM, "seccomp: libseccomp refuses to start");
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list of 400 comparisons */
	if ((r = add_arches(ctx, json_object_get(j, "architectures"), err)) < 0)
		return r;
	size_t i, k;
	json_t *rule, *name;
	json_array_foreach(json_object_get(j, "syscalls"), i, rule)
	{
		uint32_t action;
		if (parse_action(json_str_at(rule, "action"), json_object_get(rule, "errnoRet"), &action) < 0)
			return err_set(err, -EINVAL, "seccomp: syscalls[%zu].action is missing or not supported", i);
		if (action == def)
			continue;
		json_array_foreach(json_object_get(rule, "names"), k, name)
		{
			const char *s = json_string_value(name);
			if (!s)
				return err_set(err, -EINVAL, "seccomp: syscalls[%zu].names[%zu] is not a string", i, k);
			if ((r = add_rule(ctx, s, action, json_object_get(rule, "args"), err)) < 0)
				return r;
		}
	}
	return export_bpf(ctx, f, err);
}

static bool cache_read(const char *path, struct seccomp_filter *f)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct cache_head h;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return false;
	if (read(fd, &h, sizeof(h)) != sizeof(h) || h.magic != CACHE_MAGIC || h.n == 0 || h.n > INSNS_MAX)
		return false;
	size_t size = h.n * sizeof(struct sock_filter);
	_cleanup_free_ struct sock_filter *insns = xmalloc(size);
	if (read(fd, insns, size) != (ssize_t)size || crc32c(0, insns, size) != h.crc)
		return false;
	f->flags = h.flags;
	f->n = h.n;
	f->insns = STEAL(insns);
	return true;
}

/* A cache that can't be written costs time, nothing else. */
static void cache_write(const char *dir, const char *path, const struct seccomp_filter *f)
{
	size_t size = f->n * sizeof(struct sock_filter);
	struct cache_head h = {.magic = CACHE_MAGIC, .flags = f->flags, .n = f->n, .crc = crc32c(0, f->insns, size)};
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_add(&b, &h, sizeof(h));
	buf_add(&b, f->insns, size);
	if (mkdir_p(dir, 0700, NULL) == 0)
		(void)file_write_replace(path, b.data, b.len, 0600, NULL);
}

static int load_cached(uint64_t key, const char *dir, json_t *j, uint64_t bounding, struct seccomp_filter **ret,
		       struct err *err)
{
	const struct scmp_version *v = seccomp_version();
	_cleanup_(filter_freep) struct seccomp_filter *f = NEW(struct seccomp_filter);
	_cleanup_free_ char *path = dir ? xasprintf("%s/%016llx-%u.%u.%u-%d.bpf", dir, (unsigned long long)key,
						    v->major, v->minor, v->micro, CACHE_REVISION)
					: NULL;
	if (path && cache_read(path, f)) {
		*ret = STEAL(f);
		return 0;
	}
	json_t *made = j ? json_incref(j) : seccomp_default_json(bounding);
	int r = compile(made, f, err);
	json_decref(made);
	if (r < 0)
		return r;
	if (path)
		cache_write(dir, path, f);
	*ret = STEAL(f);
	return 0;
}

int seccomp_from_json(json_t *j, const char *cache_dir, struct seccomp_filter **ret, struct err *err)
{
	char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	MUST(text);
	uint64_t key = hash64(text, strlen(text));
	free(text);
	return load_cached(key, cache_dir, j, 0, ret, err);
}

int seccomp_default(uint64_t bounding, const char *cache_dir, struct seccomp_filter **ret, struct err *err)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "default %016llx", (unsigned long long)bounding);
	return load_cached(hash64(text, (size_t)n), cache_dir, NULL, bounding, ret, err);
}

int seccomp_load_filter(const struct seccomp_filter *f, struct err *err)
{
	struct sock_fprog prog = {.len = (unsigned short)f->n, .filter = f->insns};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog) < 0)
		return err_errno(err, "can't load the seccomp filter");
	return 0;
}
