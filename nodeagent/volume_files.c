#include "nodeagent/volume_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/core/file.h"

#define FILE_MAX (2u << 20) /* objects are bounded to less */

void volume_files_done(struct volume_files *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free(v->files[i].path);
		free(v->files[i].data);
	}
	free(v->files);
	free(v->volume);
	free(v->dir);
	*v = (struct volume_files){0};
}

static bool path_ok(const char *path)
{
	if (!*path || *path == '/' || strlen(path) > 4000 || str_starts(path, ".."))
		return false;
	for (const char *s = path; s; s = strchr(s, '/')) {
		s += *s == '/';
		size_t n = strcspn(s, "/");
		if (n == 0 || n > 255 || (n == 2 && s[0] == '.' && s[1] == '.') || (n == 1 && s[0] == '.'))
			return false;
	}
	return true;
}

int volume_files_add(struct volume_files *v, const char *path, void *data_owned, size_t len, mode_t mode,
		     struct err *err)
{
	if (!path_ok(path)) {
		free(data_owned);
		return err_set(err, -EINVAL, "invalid path \"%s\" in the volume", path);
	}
	struct volume_file *f = NULL;
	for (size_t i = 0; i < v->n; i++) {
		if (streq(v->files[i].path, path))
			f = &v->files[i];
	}
	if (!f) {
		GROW(v->files, v->cap, v->n + 1);
		f = &v->files[v->n++];
		*f = (struct volume_file){.path = xstrdup(path)};
	}
	free(f->data);
	f->data = data_owned;
	f->len = len;
	f->mode = v->fs_group >= 0 ? mode | 0440 : mode;
	return 0;
}

/* ---- is it as it should be already? ---- */

static unsigned count_files(const char *dir)
{
	unsigned n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		struct stat st;
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		if (lstat(path, &st) < 0)
			continue;
		n += S_ISDIR(st.st_mode) ? count_files(path) : 1;
	}
	if (d)
		closedir(d);
	return n;
}

static bool same_file(const char *path, const struct volume_file *f)
{
	struct stat st;
	_cleanup_buf_ struct buf have = BUF_INIT;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == f->mode &&
	       (size_t)st.st_size == f->len && file_read(path, FILE_MAX, &have, NULL) == 0 && have.len == f->len &&
	       (f->len == 0 || memcmp(have.data, f->data, f->len) == 0);
}

static bool unchanged(const struct volume_files *v)
{
	_cleanup_free_ char *data = xasprintf("%s/..data/", v->dir);
	if (!file_exists(data) || count_files(data) != v->n)
		return false;
	for (size_t i = 0; i < v->n; i++) {
		_cleanup_free_ char *path = xasprintf("%s%s", data, v->files[i].path);
		if (!same_file(path, &v->files[i]))
			return false;
	}
	return true;
}

/* ---- writing ---- */

static int own(const char *path, int64_t group, mode_t mode, struct err *err)
{
	if (group >= 0 && chown(path, (uid_t)-1, (gid_t)group) < 0)
		return err_errno(err, "chown %s", path);
	if (chmod(path, mode) < 0)
		return err_errno(err, "chmod %s", path);
	return 0;
}

static int write_file(const char *base, const struct volume_file *f, int64_t group, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", base, f->path);
	char *slash = strrchr(path, '/');
	*slash = 0;
	int rc = mkdir_p(path, 0755, err);
	*slash = '/';
	if (rc < 0)
		return rc;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, "write %s", path);
	for (size_t done = 0; done < f->len;) {
		ssize_t n = write(fd, (char *)f->data + done, f->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "write %s", path);
		done += (size_t)n;
	}
	return own(path, group, f->mode, err);
}

/* VOLUME/a -> ..data/a for the first part of every path. */
static int link_names(const struct volume_files *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		const char *path = v->files[i].path;
		int n = (int)strcspn(path, "/");
		_cleanup_free_ char *link = xasprintf("%s/%.*s", v->dir, n, path);
		_cleanup_free_ char *target = xasprintf("..data/%.*s", n, path);
		if (symlink(target, link) < 0 && errno != EEXIST)
			return err_errno(err, "link %s", link);
	}
	return 0;
}

static bool wanted(const struct volume_files *v, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < v->n; i++) {
		const char *path = v->files[i].path;
		if (strncmp(path, name, len) == 0 && (path[len] == 0 || path[len] == '/'))
			return true;
	}
	return false;
}

/* Old directories and links to what is no more. */
static void sweep(const struct volume_files *v)
{
	DIR *d = opendir(v->dir);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		const char *name = e->d_name;
		if (streq(name, ".") || streq(name, "..") || streq(name, "..data") || streq(name, v->stamp))
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", v->dir, name);
		if (str_starts(name, ".."))
			rm_rf(path, NULL);
		else if (!wanted(v, name))
			unlink(path);
	}
	if (d)
		closedir(d);
}

int volume_files_write(const struct volume_files *v, struct err *err)
{
	int rc = mkdir_p(v->dir, 0755, err);
	if (rc < 0 || unchanged(v))
		return rc;
	_cleanup_free_ char *fresh = xasprintf("%s/%s", v->dir, v->stamp);
	_cleanup_free_ char *tmp = xasprintf("%s/..data_tmp", v->dir), *data = xasprintf("%s/..data", v->dir);
	rc = mkdir_p(fresh, 0755, err);
	for (size_t i = 0; rc == 0 && i < v->n; i++)
		rc = write_file(fresh, &v->files[i], v->fs_group, err);
	if (rc < 0)
		return rc;
	unlink(tmp);
	if (symlink(v->stamp, tmp) < 0 || rename(tmp, data) < 0)
		return err_errno(err, "replace %s", data);
	rc = link_names(v, err);
	sweep(v);
	return rc;
}
