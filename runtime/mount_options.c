#include <errno.h>
#include <sys/mount.h>

#include "lib/core/buf.h"
#include "runtime/mounts.h"

static const struct {
	const char *name;
	uint64_t set, clear;
} attrs[] = {
	{"ro", MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, MOUNT_ATTR_RDONLY},
	{"nosuid", MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, MOUNT_ATTR_NOSUID},
	{"nodev", MOUNT_ATTR_NODEV, 0},
	{"dev", 0, MOUNT_ATTR_NODEV},
	{"noexec", MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, MOUNT_ATTR_NOEXEC},
	{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, MOUNT_ATTR_NODIRATIME},
	{"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"norelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
	{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
	{"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
	{"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"nosymfollow", 0x00200000 /* MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14 */, 0},
	{"symfollow", 0, 0x00200000},
};

static const struct {
	const char *name;
	uint64_t type;
} propagations[] = {{"private", MS_PRIVATE}, {"shared", MS_SHARED}, {"slave", MS_SLAVE}, {"unbindable", MS_UNBINDABLE}};

static bool parse_attr(const char *name, struct mount_options *o)
{
	for (unsigned i = 0; i < ARRAY_LEN(attrs); i++) {
		if (streq(name, attrs[i].name)) {
			o->attr_set = (o->attr_set & ~attrs[i].clear) | attrs[i].set;
			o->attr_clear = (o->attr_clear & ~attrs[i].set) | attrs[i].clear;
			return true;
		}
		if (name[0] == 'r' && streq(name + 1, attrs[i].name)) {
			o->rattr_set |= attrs[i].set;
			o->rattr_clear |= attrs[i].clear;
			return true;
		}
	}
	return false;
}

static bool parse_propagation(const char *name, struct mount_options *o)
{
	for (unsigned i = 0; i < ARRAY_LEN(propagations); i++) {
		bool recursive = name[0] == 'r' && streq(name + 1, propagations[i].name);
		if (recursive || streq(name, propagations[i].name)) {
			o->propagation = propagations[i].type;
			o->propagation_recursive = recursive;
			return true;
		}
	}
	return false;
}

int mount_options_parse(json_t *options, struct mount_options *ret, struct err *err)
{
	struct mount_options o = {0};
	_cleanup_buf_ struct buf data = BUF_INIT;
	size_t i;
	json_t *e;
	json_array_foreach(options, i, e)
	{
		const char *name = json_string_value(e);
		if (!name || strchr(name, '\n'))
			return err_set(err, -EINVAL, "config.json: mount option %zu is not valid", i);
		/* propagation first: "rshared" would not clash, but "rslave" must not be looked up as an attribute */
		if (streq(name, "bind"))
			o.bind = true;
		else if (streq(name, "rbind"))
			o.bind = o.rbind = true;
		else if (streq(name, "tmpcopyup"))
			o.tmpcopyup = true;
		else if (streq(name, "defaults") || streq(name, "remount") || streq(name, "newinstance") || !*name)
			continue; /* every devpts is its own instance since Linux 4.7 */
		else if (!parse_propagation(name, &o) && !parse_attr(name, &o))
			buf_addf(&data, "%s\n", name);
	}
	o.data = data.len ? buf_steal(&data) : NULL;
	*ret = o;
	return 0;
}

void mount_options_done(struct mount_options *o)
{
	free(o->data);
	o->data = NULL;
}
