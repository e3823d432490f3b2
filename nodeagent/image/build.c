/* Make an image of one layer from a directory: an OCI layout in a tar. The same input gives the same digest. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "lib/core/file.h"
#include "lib/core/sha256.h"
#include "nodeagent/image/store_priv.h"

/* A tar being written: to a buffer, hashed as it goes. */
struct tar {
	struct archive *a;
	int fd;
	struct sha256_ctx *sha;
	uint64_t bytes;
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *data, size_t len)
{
	struct tar *t = arg;
	ssize_t n = write(t->fd, data, len);
	if (n < 0) {
		archive_set_error(a, errno, "write: %s", strerror(errno));
		return -1;
	}
	sha256_update(t->sha, data, (size_t)n);
	t->bytes += (uint64_t)n;
	return n;
}

static int tar_open(struct tar *t, const char *path, struct err *err)
{
	*t = (struct tar){.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600)};
	if (t->fd < 0)
		return err_errno(err, "create %s", path);
	t->sha = sha256_new();
	t->a = archive_write_new();
	archive_write_set_format_pax_restricted(t->a);
	archive_write_set_bytes_in_last_block(t->a, 512);
	if (archive_write_open(t->a, t, NULL, on_write, NULL) != ARCHIVE_OK)
		return err_set(err, -EIO, "%s: %s", path, archive_error_string(t->a));
	return 0;
}

static int tar_close(struct tar *t, char ret_hex[65], struct err *err)
{
	uint8_t digest[32];
	int r = 0;
	if (t->a && archive_write_close(t->a) != ARCHIVE_OK)
		r = err_set(err, -EIO, "write the archive: %s", archive_error_string(t->a));
	archive_write_free(t->a);
	if (t->sha) {
		sha256_final(t->sha, digest);
		hex_encode(digest, sizeof(digest), ret_hex);
	}
	if (t->fd >= 0)
		close(t->fd);
	return r;
}

static int add_content(struct tar *t, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *block = xmalloc(1 << 16);
	ssize_t n;
	if (fd < 0)
		return err_errno(err, "open %s", path);
	while ((n = read(fd, block, 1 << 16)) > 0)
		if (archive_write_data(t->a, block, (size_t)n) < 0)
			return err_set(err, -EIO, "%s: %s", path, archive_error_string(t->a));
	return n < 0 ? err_errno(err, "read %s", path) : 0;
}

static int add_node(struct tar *t, const char *path, const char *name, const struct stat *st, int64_t mtime_s,
		    struct err *err)
{
	struct archive_entry *e = archive_entry_new();
	char target[4096];
	int r = 0;
	archive_entry_copy_stat(e, st);
	archive_entry_set_pathname(e, name);
	archive_entry_set_mtime(e, mtime_s, 0);
	archive_entry_unset_atime(e);
	archive_entry_unset_ctime(e);
	archive_entry_unset_birthtime(e);
	archive_entry_set_nlink(e, 1);
	archive_entry_set_dev(e, 0);
	archive_entry_set_ino(e, 0);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			r = err_errno(err, "read link %s", path);
		target[MAX(n, 0)] = 0;
		archive_entry_set_symlink(e, target);
	}
	if (!S_ISREG(st->st_mode))
		archive_entry_set_size(e, 0);
	if (r == 0 && archive_write_header(t->a, e) != ARCHIVE_OK)
		r = err_set(err, -EIO, "%s: %s", name, archive_error_string(t->a));
	if (r == 0 && S_ISREG(st->st_mode))
		r = add_content(t, path, err);
	archive_entry_free(e);
	return r;
}

static int add_tree(struct tar *t, const char *dir, const char *prefix, int64_t mtime_s, struct err *err)
{
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort), r = 0;
	if (n < 0)
		return err_errno(err, "read directory %s", dir);
	for (int i = 0; i < n; i++) {
		const char *base = list[i]->d_name;
		struct stat st;
		if (r == 0 && !streq(base, ".") && !streq(base, "..")) {
			_cleanup_free_ char *path = xasprintf("%s/%s", dir, base),
					    *name = xasprintf("%s%s", prefix, base),
					    *below = xasprintf("%s%s/", prefix, base);
			if (lstat(path, &st) < 0)
				r = err_errno(err, "stat %s", path);
			else if (S_ISSOCK(st.st_mode))
				r = 0;
			else
				r = add_node(t, path, S_ISDIR(st.st_mode) ? below : name, &st, mtime_s, err);
			if (r == 0 && S_ISDIR(st.st_mode))
				r = add_tree(t, path, below, mtime_s, err);
		}
		free(list[i]);
	}
	free(list);
	return r;
}

static json_t *strings(const char *const *list)
{
	json_t *a = json_array();
	for (; list && *list; list++)
		json_array_append_new(a, json_string(*list));
	return a;
}

static const char *architecture(void)
{
	static struct utsname u;
	uname(&u);
	return streq(u.machine, "x86_64") ? "amd64" : streq(u.machine, "aarch64") ? "arm64" : u.machine;
}

static char *config_text(const struct image_build *b, const char *diff_hex)
{
	char when[32], diff[80];
	snprintf(diff, sizeof(diff), "sha256:%s", diff_hex);
	json_t *run = json_object();
	if (b->entrypoint)
		json_object_set_new(run, "Entrypoint", strings(b->entrypoint));
	if (b->cmd)
		json_object_set_new(run, "Cmd", strings(b->cmd));
	if (b->env)
		json_object_set_new(run, "Env", strings(b->env));
	if (b->working_dir)
		json_object_set_new(run, "WorkingDir", json_string(b->working_dir));
	if (b->user)
		json_object_set_new(run, "User", json_string(b->user));
	json_t *c = json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:[s]}}", "created", time_format_s(b->created_s, when),
			      "architecture", architecture(), "os", "linux", "config", run, "rootfs", "type", "layers",
			      "diff_ids", diff);
	char *text = c ? json_dumps(c, JSON_COMPACT) : NULL;
	json_decref(c);
	MUST(text != NULL);
	return text;
}

static json_t *descriptor(const char *type, const char *hex, uint64_t size)
{
	char digest[80];
	snprintf(digest, sizeof(digest), "sha256:%s", hex);
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)size);
}

static int add_text(struct tar *t, const char *name, const char *text, struct err *err)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)strlen(text));
	archive_entry_set_mtime(e, 0, 0);
	int r = 0;
	if (archive_write_header(t->a, e) != ARCHIVE_OK || archive_write_data(t->a, text, strlen(text)) < 0)
		r = err_set(err, -EIO, "%s: %s", name, archive_error_string(t->a));
	archive_entry_free(e);
	return r;
}

static char *dump_free(json_t *j)
{
	MUST(j != NULL);
	char *s = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	MUST(s != NULL);
	return s;
}

static int add_blob_text(struct tar *t, const char *text, char ret_hex[65], struct err *err)
{
	uint8_t digest[32];
	char name[100];
	sha256(text, strlen(text), digest);
	hex_encode(digest, sizeof(digest), ret_hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s", ret_hex);
	return add_text(t, name, text, err);
}

static int write_layout(const struct image_build *b, const char *layer_path, const char *layer_hex,
			const char *out_path, struct err *err)
{
	struct tar t;
	struct stat st;
	char config_hex[65], manifest_hex[65], ignored[65], name[100];
	_cleanup_free_ char *config = config_text(b, layer_hex), *manifest = NULL, *index = NULL;
	if (lstat(layer_path, &st) < 0)
		return err_errno(err, "stat %s", layer_path);
	int r = tar_open(&t, out_path, err);
	if (r == 0)
		r = add_text(&t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
	snprintf(name, sizeof(name), "blobs/sha256/%s", layer_hex);
	st.st_mode = S_IFREG | 0644;
	st.st_uid = st.st_gid = 0;
	if (r == 0)
		r = add_node(&t, layer_path, name, &st, 0, err);
	if (r == 0)
		r = add_blob_text(&t, config, config_hex, err);
	if (r == 0) {
		manifest = dump_free(json_pack(
			"{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType",
			"application/vnd.oci.image.manifest.v1+json", "config",
			descriptor("application/vnd.oci.image.config.v1+json", config_hex, strlen(config)), "layers",
			descriptor("application/vnd.oci.image.layer.v1.tar", layer_hex, (uint64_t)st.st_size)));
		r = add_blob_text(&t, manifest, manifest_hex, err);
	}
	if (r == 0) {
		json_t *d = descriptor("application/vnd.oci.image.manifest.v1+json", manifest_hex, strlen(manifest));
		json_object_set_new(d, "annotations", json_pack("{s:s}", "org.opencontainers.image.ref.name", b->tag));
		index = dump_free(json_pack("{s:i, s:s, s:[o]}", "schemaVersion", 2, "mediaType",
					    "application/vnd.oci.image.index.v1+json", "manifests", d));
		r = add_text(&t, "index.json", index, err);
	}
	int closed = tar_close(&t, ignored, r == 0 ? err : NULL);
	return r < 0 ? r : closed;
}

int image_build(const struct image_build *b, const char *out_path, struct err *err)
{
	_cleanup_free_ char *tag = NULL, *layer_path = xasprintf("%s.layer", out_path);
	struct tar layer;
	char hex[65] = "";
	int r = image_normalize(b->tag ? b->tag : "", &tag, err);
	if (r < 0)
		return r;
	struct image_build named = *b;
	named.tag = tag;
	r = tar_open(&layer, layer_path, err);
	if (r == 0)
		r = add_tree(&layer, b->rootfs, "", b->created_s, err);
	int closed = tar_close(&layer, hex, r == 0 ? err : NULL);
	r = r < 0 ? r : closed;
	if (r == 0)
		r = write_layout(&named, layer_path, hex, out_path, err);
	unlink(layer_path);
	if (r < 0)
		unlink(out_path);
	return r;
}
