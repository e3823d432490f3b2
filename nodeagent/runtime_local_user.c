/* Who a container's process is: the image's User, or the pod's wish, with groups by the image's passwd and group files.
 * As CRI runtimes do: a numeric user not in passwd is fine (group 0), a name that is not there is an error. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "nodeagent/runtime_local_priv.h"

#define FILE_BYTES_MAX (1024 * 1024)
#define GROUPS_MAX     1024

/* A file of the image as its topmost layer has it. Links stay inside the layer. NULL: none. */
static FILE *open_in_layers(char *const *layers, const char *dir, const char *path)
{
	size_t n = 0;
	while (layers && layers[n])
		n++;
	while (n-- > 0) {
		struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
		_cleanup_close_ int root = open(layers[n], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root < 0)
			continue;
		int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		struct stat st;
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_BYTES_MAX)
			return fdopen(fd, "r");
		if (fd >= 0) {
			close(fd);
			return NULL; /* a whiteout, or nothing that can be read */
		}
		if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode))
			return NULL; /* a whiteout is a device that can't be opened */
		_cleanup_free_ char *full = xasprintf("%s/%s", layers[n], dir);
		char opaque = 0;
		if (lgetxattr(full, "trusted.overlay.opaque", &opaque, 1) == 1 && opaque == 'y')
			return NULL; /* the folder hides what is below */
	}
	return NULL;
}

/* Splits "a:b:c" in place; returns how many fields, up to max. */
static unsigned split(char *line, char **ret, unsigned max)
{
	unsigned n = 0;
	line[strcspn(line, "\n")] = 0;
	while (n < max && line)
		ret[n++] = strsep(&line, ":");
	return n;
}

static bool id_of(const char *s, uint32_t *ret)
{
	uint64_t v;
	if (str_empty(s) || parse_u64(s, &v) < 0 || v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Finds by name, or (name NULL) by uid. */
static bool passwd_find(char *const *layers, const char *name, uint32_t uid, char **ret_name, struct local_user *u)
{
	_cleanup_fclose_ FILE *f = open_in_layers(layers, "etc", "etc/passwd");
	char line[1024];
	while (f && fgets(line, sizeof(line), f)) {
		char *field[7];
		uint32_t id, gid;
		if (split(line, field, 7) < 4 || !id_of(field[2], &id) || !id_of(field[3], &gid))
			continue;
		if (name ? !streq(field[0], name) : id != uid)
			continue;
		u->uid = id;
		u->gid = gid;
		*ret_name = xstrdup(field[0]);
		return true;
	}
	return false;
}

static bool listed(char *members, const char *user)
{
	for (char *m; members && (m = strsep(&members, ","));)
		if (streq(m, user))
			return true;
	return false;
}

/* group NULL: collect the groups `user` is a member of; else find that group's id. */
static bool group_find(char *const *layers, const char *group, const char *user, struct local_user *u)
{
	_cleanup_fclose_ FILE *f = open_in_layers(layers, "etc", "etc/group");
	char line[8192];
	size_t cap = u->n_groups;
	while (f && fgets(line, sizeof(line), f)) {
		char *field[4] = {0};
		uint32_t id;
		if (split(line, field, 4) < 3 || !id_of(field[2], &id))
			continue;
		if (group && streq(field[0], group)) {
			u->gid = id;
			return true;
		}
		if (!group && id != u->gid && listed(field[3], user) && u->n_groups < GROUPS_MAX) {
			GROW(u->groups, cap, u->n_groups + 1);
			u->groups[u->n_groups++] = id;
		}
	}
	return false;
}

int local_user_resolve(char *const *layers, const char *spec, int64_t run_as_user, int64_t run_as_group,
		       struct local_user *ret, struct err *err)
{
	__attribute__((cleanup(local_user_done))) struct local_user u = {0};
	_cleanup_free_ char *text = xstrdup(run_as_user >= 0 ? "" : spec), *name = NULL;
	char *group = strchr(text, ':');
	if (group)
		*group++ = 0;
	if (run_as_user >= 0 || id_of(text, &u.uid)) {
		if (run_as_user >= UINT32_MAX)
			return err_set(err, -EINVAL, "runAsUser %lld is out of range", (long long)run_as_user);
		u.uid = run_as_user >= 0 ? (uint32_t)run_as_user : u.uid;
		(void)passwd_find(layers, NULL, u.uid, &name, &u);
	} else if (*text && !passwd_find(layers, text, 0, &name, &u)) {
		return err_set(err, -EINVAL, "unable to find user %.100s: no matching entries in passwd file", text);
	} else if (!*text) {
		(void)passwd_find(layers, NULL, 0, &name, &u);
	}
	if (!str_empty(group) && !id_of(group, &u.gid) && !group_find(layers, group, NULL, &u))
		return err_set(err, -EINVAL, "unable to find group %.100s: no matching entries in group file", group);
	if (run_as_group >= 0)
		u.gid = (uint32_t)run_as_group;
	if (name)
		(void)group_find(layers, NULL, name, &u);
	*ret = u;
	u = (struct local_user){0};
	return 0;
}

void local_user_done(struct local_user *u)
{
	free(u->groups);
	*u = (struct local_user){0};
}
