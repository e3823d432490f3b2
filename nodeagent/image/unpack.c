#include "nodeagent/image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "lib/core/buf.h"
#include "lib/core/sha256.h"

/* Two readers in a chain: the outer one only decompresses ("raw"), so that the tar bytes can be hashed on their way to
 * the inner one. */
struct source {
	struct archive *raw;
	struct sha256_ctx *sha;
};

struct dir_time {
	char *path;
	struct timespec mtime;
};

struct unpack {
	int root;
	struct source src;
	uint64_t bytes;
	unsigned entries;
	/* Directories get their times last: making files in them changes them. */
	struct dir_time *dirs;
	unsigned n_dirs, cap_dirs;
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct source *s = arg;
	size_t len;
	la_int64_t offset;
	int r = archive_read_data_block(s->raw, ret, &len, &offset);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r < ARCHIVE_WARN) {
		archive_set_error(a, EIO, "%s", archive_error_string(s->raw));
		return -1;
	}
	sha256_update(s->sha, *ret, len);
	return (la_ssize_t)len;
}

static int open_in(int root, const char *path, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC, .mode = mode, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* The directory that holds `path`, made if missing, and the last component. path is changed. */
static int open_parent(struct unpack *u, char *path, const char **ret_name, struct err *err)
{
	char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return fcntl(u->root, F_DUPFD_CLOEXEC, 0);
	*slash = 0;
	int fd = open_in(u->root, path, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : err_errno(err, "open %s in the layer", path);
	/* A layer may leave out the directories above its files. */
	for (char *p = path; p; p = p ? strchr(p + 1, '/') : NULL) {
		char *next = strchr(p + 1, '/');
		if (next)
			*next = 0;
		_cleanup_free_ char *copy = xstrdup(path);
		char *last = strrchr(copy, '/');
		const char *name = last ? last + 1 : copy;
		if (last)
			*last = 0;
		_cleanup_close_ int parent =
			last ? open_in(u->root, copy, O_PATH | O_DIRECTORY, 0) : fcntl(u->root, F_DUPFD_CLOEXEC, 0);
		if (parent < 0 || (mkdirat(parent, name, 0755) < 0 && errno != EEXIST))
			return err_errno(err, "make directory %s in the layer", path);
		if (next)
			*next = '/';
	}
	fd = open_in(u->root, path, O_PATH | O_DIRECTORY, 0);
	return fd >= 0 ? fd : err_errno(err, "open %s in the layer", path);
}

/* "./a//b/" -> "a/b"; NULL for what climbs out or names nothing; "" for the root itself. Fresh string. */
static char *clean_path(const char *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (strlen(s) >= 4096)
		return NULL;
	while (*s) {
		size_t n = strcspn(s, "/");
		if (n == 2 && memcmp(s, "..", 2) == 0)
			return NULL;
		if (n > 255)
			return NULL;
		if (n && !(n == 1 && *s == '.')) {
			if (b.len)
				buf_addc(&b, '/');
			buf_add(&b, s, n);
		}
		s += n;
		while (*s == '/')
			s++;
	}
	return buf_steal(&b);
}

/* Something of another type, or an older entry of the same name in this layer, gives way; a directory stays. */
static int make_room(int parent, const char *name, bool for_dir, struct err *err)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISDIR(st.st_mode) && for_dir)
		return 0;
	if (unlinkat(parent, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		return err_errno(err, "replace %s in the layer", name);
	return 0;
}

static int write_file(struct unpack *u, struct archive *tar, int parent, const char *name, struct err *err)
{
	_cleanup_close_ int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "create %s in the layer", name);
	const void *block;
	size_t len;
	la_int64_t offset, end = 0;
	int r;
	while ((r = archive_read_data_block(tar, &block, &len, &offset)) == ARCHIVE_OK) {
		u->bytes += len;
		if (u->bytes > UNPACK_MAX_BYTES || (uint64_t)offset > UNPACK_MAX_BYTES)
			return err_set(err, -EFBIG, "the layer unpacks to more than %llu bytes", UNPACK_MAX_BYTES);
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)block + done, len - done, offset + (off_t)done);
			if (n < 0)
				return err_errno(err, "write %s", name);
			done += (size_t)n;
		}
		end = offset + (la_int64_t)len;
	}
	if (r != ARCHIVE_EOF)
		return err_set(err, -EPROTO, "the layer is damaged in %s: %s", name, archive_error_string(tar));
	/* A sparse file may end in a hole. */
	if (ftruncate(fd, end) < 0)
		return err_errno(err, "write %s", name);
	return 0;
}

static int set_xattrs(int parent, const char *name, struct archive_entry *e, struct err *err)
{
	const char *key;
	const void *value;
	size_t len;
	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &key, &value, &len) == ARCHIVE_OK) {
		if (str_starts(key, "trusted.overlay."))
			return err_set(err, -EPROTO,
				       "the layer sets the extended attribute %s, which is overlayfs's own", key);
		if (!streq(key, "security.capability") && !str_starts(key, "user."))
			continue;
		_cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || (fsetxattr(fd, key, value, len, 0) < 0 && errno != ENOTSUP))
			return err_errno(err, "set %s of %s", key, name);
	}
	return 0;
}

static int set_owner(int parent, const char *name, struct archive_entry *e, struct err *err)
{
	mode_t type = archive_entry_filetype(e);
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
	if (fchownat(parent, name, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e), AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, "set the owner of %s", name);
	if (type != AE_IFLNK && fchmodat(parent, name, archive_entry_perm(e), 0) < 0)
		return err_errno(err, "set the mode of %s", name);
	if (type != AE_IFDIR && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, "set the time of %s", name);
	return 0;
}

static int whiteout(struct unpack *u, int parent, const char *parent_path, const char *name, struct err *err)
{
	const char *hidden = name + strlen(".wh.");
	if (streq(name, ".wh..wh..opq")) {
		_cleanup_close_ int dir = open_in(u->root, *parent_path ? parent_path : ".", O_RDONLY | O_DIRECTORY, 0);
		if (dir < 0 || fsetxattr(dir, "trusted.overlay.opaque", "y", 1, 0) < 0)
			return err_errno(err, "mark %s opaque", parent_path);
		return 0;
	}
	/* Other .wh..wh. names are aufs's own notes. */
	if (str_starts(hidden, ".wh."))
		return 0;
	if (!*hidden || streq(hidden, ".") || streq(hidden, ".."))
		return err_set(err, -EPROTO, "the layer has a whiteout of nothing in %s", parent_path);
	if (mknodat(parent, hidden, S_IFCHR | 0600, makedev(0, 0)) < 0 && errno != EEXIST)
		return err_errno(err, "hide %s", hidden);
	return 0;
}

static int make_link(struct unpack *u, int parent, const char *name, const char *target, struct err *err)
{
	_cleanup_free_ char *clean = clean_path(target);
	const char *base;
	if (!clean || !*clean)
		return err_set(err, -EPROTO, "the layer has a hard link %s to \"%.100s\"", name, target);
	_cleanup_close_ int dir = open_parent(u, clean, &base, err);
	if (dir < 0)
		return dir;
	if (linkat(dir, base, parent, name, 0) < 0)
		return err_errno(err, "link %s to %s", name, target);
	return 0;
}

static int make_node(struct unpack *u, struct archive *tar, struct archive_entry *e, int parent, const char *name,
		     struct err *err)
{
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return write_file(u, tar, parent, name, err);
	case AE_IFDIR:
		if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
			return err_errno(err, "make directory %s", name);
		return 0;
	case AE_IFLNK:
		if (symlinkat(archive_entry_symlink(e) ? archive_entry_symlink(e) : "", parent, name) < 0)
			return err_errno(err, "make link %s", name);
		return 0;
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		if (mknodat(parent, name, archive_entry_filetype(e) | 0600, archive_entry_rdev(e)) < 0)
			return err_errno(err, "make %s", name);
		return 0;
	default:
		return err_set(err, -EPROTO, "the layer has %s of an unknown type", name);
	}
}

static void note_dir(struct unpack *u, const char *path, struct archive_entry *e)
{
	GROW(u->dirs, u->cap_dirs, u->n_dirs + 1);
	u->dirs[u->n_dirs++] = (struct dir_time){xstrdup(path), {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
}

static int unpack_entry(struct unpack *u, struct archive *tar, struct archive_entry *e, struct err *err)
{
	const char *given = archive_entry_pathname(e), *name;
	_cleanup_free_ char *path = given ? clean_path(given) : NULL;
	if (!path)
		return err_set(err, -EPROTO, "the layer has an entry outside of it: \"%.100s\"", given ? given : "");
	if (++u->entries > UNPACK_MAX_ENTRIES)
		return err_set(err, -EFBIG, "the layer has more than %u entries", UNPACK_MAX_ENTRIES);
	if (!*path) {
		if (archive_entry_filetype(e) == AE_IFDIR)
			return set_owner(u->root, ".", e, err);
		return err_set(err, -EPROTO, "the layer's root is no directory");
	}
	_cleanup_free_ char *whole = xstrdup(path);
	_cleanup_close_ int parent = open_parent(u, path, &name, err);
	if (parent < 0)
		return parent;
	if (str_starts(name, ".wh."))
		return whiteout(u, parent, name == path ? "" : path, name, err);
	bool is_dir = archive_entry_filetype(e) == AE_IFDIR && !archive_entry_hardlink(e);
	int r = make_room(parent, name, is_dir, err);
	if (r < 0)
		return r;
	if (archive_entry_hardlink(e))
		return make_link(u, parent, name, archive_entry_hardlink(e), err);
	r = make_node(u, tar, e, parent, name, err);
	if (r == 0)
		r = set_owner(parent, name, e, err);
	/* After the owner: chown drops capabilities. */
	if (r == 0)
		r = set_xattrs(parent, name, e, err);
	if (r == 0 && is_dir)
		note_dir(u, whole, e);
	return r;
}

static int unpack_all(struct unpack *u, struct archive *tar, struct err *err)
{
	struct archive_entry *e;
	int r;
	while ((r = archive_read_next_header(tar, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		int er = unpack_entry(u, tar, e, err);
		if (er < 0)
			return er;
	}
	if (r != ARCHIVE_EOF)
		return err_set(err, -EPROTO, "the layer is no readable tar: %s", archive_error_string(tar));
	/* Bytes behind the end mark belong to the digest too. */
	const void *rest;
	la_ssize_t n;
	while ((n = on_read(tar, &u->src, &rest)) > 0)
		;
	if (n < 0)
		return err_set(err, -EPROTO, "the layer is damaged: %s", archive_error_string(tar));
	for (unsigned i = u->n_dirs; i-- > 0;) {
		_cleanup_close_ int fd = open_in(u->root, u->dirs[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, u->dirs[i].mtime};
		if (fd >= 0)
			futimens(fd, times);
	}
	return 0;
}

static int open_readers(struct unpack *u, struct archive *tar, const char *file, struct err *err)
{
	struct archive_entry *e;
	struct archive *raw = u->src.raw;
	archive_read_support_filter_gzip(raw);
	archive_read_support_filter_zstd(raw);
	archive_read_support_format_raw(raw);
	archive_read_support_format_empty(raw);
	if (archive_read_open_filename(raw, file, 65536) != ARCHIVE_OK ||
	    archive_read_next_header(raw, &e) != ARCHIVE_OK)
		return err_set(err, -EPROTO, "the layer cannot be read: %s", archive_error_string(raw));
	archive_read_support_format_tar(tar);
	if (archive_read_open(tar, &u->src, NULL, on_read, NULL) != ARCHIVE_OK)
		return err_set(err, -EPROTO, "the layer is no tar: %s", archive_error_string(tar));
	return 0;
}

int unpack_layer(const char *file, const char *dir, uint8_t ret_diff_id[32], uint64_t *ret_bytes, struct err *err)
{
	struct unpack u = {.root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (u.root < 0)
		return err_errno(err, "open %s", dir);
	u.src.raw = archive_read_new();
	u.src.sha = sha256_new();
	struct archive *tar = archive_read_new();
	int r = open_readers(&u, tar, file, err);
	if (r == 0)
		r = unpack_all(&u, tar, err);
	archive_read_free(tar);
	archive_read_free(u.src.raw);
	uint8_t digest[32];
	sha256_final(u.src.sha, digest);
	for (unsigned i = 0; i < u.n_dirs; i++)
		free(u.dirs[i].path);
	free(u.dirs);
	close(u.root);
	if (r < 0)
		return r;
	memcpy(ret_diff_id, digest, sizeof(digest));
	*ret_bytes = u.bytes;
	return 0;
}
