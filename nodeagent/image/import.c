/* Import: a docker-archive or an OCI layout, as one tar file (maybe compressed) or as a directory. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "lib/core/file.h"
#include "lib/core/sha256.h"
#include "nodeagent/image/store_priv.h"
#include "nodeagent/image/unpack.h"

#define ARCHIVE_MAX_BYTES   (32ull << 30)
#define ARCHIVE_MAX_ENTRIES 4096u
#define INDEX_DEPTH_MAX     4

struct import {
	struct image_store *store;
	char *work;      /* DIR/images/tmp/<random>: removed at the end */
	const char *dir; /* the layout: the caller's directory, or work/in */
	const char *tag; /* what to call it instead of its own names */
	void (*progress)(void *, const char *);
	void *progress_arg;
	char **names;
	unsigned n_names;
};

static void say(struct import *im, const char *fmt, const char *a, const char *b)
{
	char line[300];
	if (!im->progress)
		return;
	snprintf(line, sizeof(line), fmt, a, b);
	im->progress(im->progress_arg, line);
}

/* A path inside the layout: no way out of it. */
static bool path_safe(const char *p)
{
	if (!*p || *p == '/' || strlen(p) > 255)
		return false;
	for (const char *s = p; *s;) {
		size_t n = strcspn(s, "/");
		if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
		if (*s == '/')
			s++;
	}
	return true;
}

static int copy_entry(struct archive *a, const char *path, uint64_t *total, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "create %s", path);
	const void *block;
	size_t len;
	la_int64_t offset;
	int r;
	while ((r = archive_read_data_block(a, &block, &len, &offset)) == ARCHIVE_OK) {
		*total += len;
		/* A hole costs no disk here, but reading it back would cost time without end. */
		if (*total > ARCHIVE_MAX_BYTES || (uint64_t)offset > ARCHIVE_MAX_BYTES)
			return err_set(err, -EFBIG, "the archive holds more than %llu bytes", ARCHIVE_MAX_BYTES);
		if (pwrite(fd, block, len, offset) != (ssize_t)len)
			return err_errno(err, "write %s", path);
	}
	return r == ARCHIVE_EOF ? 0 : err_set(err, -EPROTO, "the archive is damaged: %s", archive_error_string(a));
}

/* docker save links a layer that appears twice; the target is another file of the archive. */
static int copy_link(struct import *im, const char *name, const char *target, const char *out, struct err *err)
{
	char joined[600];
	const char *slash = strrchr(name, '/');
	while (slash && str_starts(target, "../")) {
		target += 3;
		do
			slash = slash > name ? slash - 1 : NULL;
		while (slash && *slash != '/');
	}
	snprintf(joined, sizeof(joined), "%.*s%s", slash ? (int)(slash - name + 1) : 0, name, target);
	if (!path_safe(joined))
		return err_set(err, -EPROTO, "the archive links %s to \"%.100s\"", name, target);
	_cleanup_free_ char *from = xasprintf("%s/in/%s", im->work, joined);
	if (link(from, out) < 0)
		return err_errno(err, "link %s to %s", name, joined);
	return 0;
}

static int take_entry(struct import *im, struct archive *a, struct archive_entry *e, uint64_t *total, struct err *err)
{
	const char *name = archive_entry_pathname(e);
	if (name && str_starts(name, "./"))
		name += 2;
	if (!name || archive_entry_filetype(e) == AE_IFDIR)
		return 0;
	if (!path_safe(name))
		return err_set(err, -EPROTO, "the archive has an entry outside of it: \"%.100s\"", name);
	_cleanup_free_ char *out = xasprintf("%s/in/%s", im->work, name);
	_cleanup_free_ char *parent = xstrndup(out, (size_t)(strrchr(out, '/') - out));
	int r = mkdir_p(parent, 0700, err);
	if (r < 0)
		return r;
	if (archive_entry_hardlink(e) || archive_entry_filetype(e) == AE_IFLNK)
		return copy_link(im, name,
				 archive_entry_hardlink(e) ? archive_entry_hardlink(e) : archive_entry_symlink(e), out,
				 err);
	if (archive_entry_filetype(e) != AE_IFREG)
		return 0;
	return copy_entry(a, out, total, err);
}

static int spread_archive(struct import *im, const char *file, struct err *err)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	uint64_t total = 0;
	unsigned n = 0;
	int r = 0, ar;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_format_tar(a);
	_cleanup_free_ char *in = xasprintf("%s/in", im->work);
	r = mkdir_p(in, 0700, err);
	if (r == 0 && archive_read_open_filename(a, file, 65536) != ARCHIVE_OK)
		r = err_set(err, -EPROTO, "%s is no image archive: %s", file, archive_error_string(a));
	while (r == 0 && ((ar = archive_read_next_header(a, &e)) == ARCHIVE_OK || ar == ARCHIVE_WARN)) {
		r = ++n > ARCHIVE_MAX_ENTRIES
			    ? err_set(err, -EFBIG, "the archive has more than %u entries", ARCHIVE_MAX_ENTRIES)
			    : take_entry(im, a, e, &total, err);
		if (r < 0)
			break;
	}
	if (r == 0 && ar != ARCHIVE_EOF)
		r = err_set(err, -EPROTO, "%s is no image archive: %s", file, archive_error_string(a));
	archive_read_free(a);
	return r;
}

/* ---- digests ---- */

static int file_sha256(const char *path, char ret[65], struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open %s", path);
	struct sha256_ctx *c = sha256_new();
	_cleanup_free_ char *block = xmalloc(1 << 17);
	uint8_t digest[32];
	ssize_t n;
	while ((n = read(fd, block, 1 << 17)) > 0)
		sha256_update(c, block, (size_t)n);
	sha256_final(c, digest);
	if (n < 0)
		return err_errno(err, "read %s", path);
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

static bool digest_hex(const char *digest, const char **ret)
{
	if (!digest || !str_starts(digest, "sha256:") || strlen(digest) != 71 ||
	    strspn(digest + 7, "0123456789abcdef") != 64)
		return false;
	*ret = digest + 7;
	return true;
}

static int check_blob(const char *path, const char *hex, struct err *err)
{
	char actual[65];
	int r = file_sha256(path, actual, err);
	if (r < 0)
		return r;
	if (!streq(actual, hex))
		return err_set(err, -EPROTO, "digest mismatch: %.12s... holds content with digest %.12s...", hex,
			       actual);
	return 0;
}

static int read_json(const char *path, struct buf *ret_text, json_t **ret, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_error_t je;
	int r = file_read(path, IMAGE_JSON_MAX, &b, err);
	if (r < 0)
		return r;
	json_t *j = json_loadb(buf_str(&b), b.len, 0, &je);
	if (!j)
		return err_set(err, -EPROTO, "%s: line %d: %s", path, je.line, je.text);
	if (ret_text) {
		*ret_text = b;
		b = BUF_INIT;
	}
	*ret = j;
	return 0;
}

int image_record_from_config(const char *config, size_t len, struct image_record *ret, struct err *err)
{
	json_t *j = json_loadb(config, len, 0, NULL), *v;
	const json_t *ids = json_object_get(json_object_get(j, "rootfs"), "diff_ids");
	struct image_record rec = {0};
	uint8_t digest[32];
	size_t i;
	int r = 0;
	if (!j || !json_is_array(ids))
		r = err_set(err, -EPROTO, "the image's configuration has no rootfs.diff_ids");
	else if (json_array_size(ids) > IMAGE_LAYERS_MAX)
		r = err_set(err, -EFBIG, "the image has more than %u layers", IMAGE_LAYERS_MAX);
	rec.layers = xcalloc(IMAGE_LAYERS_MAX + 1, sizeof(*rec.layers));
	json_array_foreach(ids, i, v)
	{
		const char *hex;
		if (r < 0)
			break;
		if (!digest_hex(json_string_value(v), &hex))
			r = err_set(err, -EPROTO, "the image's configuration has a bad diff id");
		else
			memcpy(rec.layers[rec.n_layers++], hex, 65);
	}
	int64_t created;
	const char *when = json_string_value(json_object_get(j, "created"));
	if (when && time_parse_us(when, &created) == 0)
		rec.created_s = created / 1000000;
	json_decref(j);
	if (r < 0) {
		image_record_done(&rec);
		return r;
	}
	sha256(config, len, digest);
	memcpy(rec.id, "sha256:", 7);
	hex_encode(digest, sizeof(digest), rec.id + 7);
	*ret = rec;
	return 0;
}

/* ---- layers ---- */

static uint64_t saved_size(struct image_store *s, const char *hex)
{
	_cleanup_free_ char *path = xasprintf("%s/layers/%s/.size", s->dir, hex);
	_cleanup_buf_ struct buf b = BUF_INIT;
	uint64_t v = 0;
	if (file_read(path, 64, &b, NULL) == 0)
		parse_u64(buf_str(&b), &v);
	return v;
}

/* A layer directory is LAYERS/<diff id>/fs beside its .size; it appears by rename, so it is whole or not there. */
static int take_layer(struct import *im, const char *blob, const char *diff_hex, uint64_t *ret_bytes, struct err *err)
{
	_cleanup_free_ char *final = image_store__layer_path(im->store, diff_hex);
	if (file_exists(final)) {
		*ret_bytes = saved_size(im->store, diff_hex);
		say(im, "layer %.12s: already there%s", diff_hex, "");
		return 0;
	}
	_cleanup_free_ char *tmp = xasprintf("%s/layer", im->work), *fs = xasprintf("%s/fs", tmp),
			    *size = xasprintf("%s/.size", tmp);
	uint8_t digest[32];
	char hex[65], number[32];
	int r = rm_rf(tmp, err);
	if (r == 0)
		r = mkdir_p(fs, 0755, err);
	if (r == 0)
		r = unpack_layer(blob, fs, digest, ret_bytes, err);
	if (r < 0)
		return err ? err_prefix(err, "layer %.12s", diff_hex) : r;
	hex_encode(digest, sizeof(digest), hex);
	if (!streq(hex, diff_hex))
		return err_set(err, -EPROTO, "layer %.12s: digest mismatch: it unpacks to %.12s...", diff_hex, hex);
	int n = snprintf(number, sizeof(number), "%llu\n", (unsigned long long)*ret_bytes);
	r = file_write_replace(size, number, (size_t)n, 0600, err);
	/* Everything in it reaches the disk before the name says that it is there. */
	_cleanup_close_ int fd = r == 0 ? open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (r == 0 && (fd < 0 || syncfs(fd) < 0 || rename(tmp, final) < 0))
		r = err_errno(err, "keep layer %.12s", diff_hex);
	if (r == 0)
		say(im, "layer %.12s: unpacked %s bytes", diff_hex, strtok(number, "\n"));
	return r;
}

static int keep_name(struct import *im, struct image_record *rec, const char *name, struct err *err)
{
	_cleanup_free_ char *tag = NULL;
	int r = image_normalize(name, &tag, err);
	if (r < 0)
		return r;
	rec->tags = xrealloc(rec->tags, sizeof(char *) * (rec->n_tags + 2));
	rec->tags[rec->n_tags++] = xstrdup(tag);
	rec->tags[rec->n_tags] = NULL;
	im->names = xrealloc(im->names, sizeof(char *) * (im->n_names + 2));
	im->names[im->n_names++] = STEAL(tag);
	im->names[im->n_names] = NULL;
	return 0;
}

/* config text + one blob per layer -> an image in the store. names: JSON array of strings (may be NULL). */
static int take_image(struct import *im, const struct buf *config, char *const *blobs, unsigned n_blobs,
		      const json_t *names, struct err *err)
{
	struct image_record rec;
	int r = image_record_from_config(buf_str(config), config->len, &rec, err);
	if (r < 0)
		return r;
	if (rec.n_layers != n_blobs)
		r = err_set(err, -EPROTO, "the image has %u layers and %u diff ids", n_blobs, rec.n_layers);
	rec.size_bytes = config->len;
	for (unsigned i = 0; i < n_blobs && r == 0; i++) {
		uint64_t bytes = 0;
		r = take_layer(im, blobs[i], rec.layers[i], &bytes, err);
		rec.size_bytes += bytes;
	}
	size_t k;
	json_t *name;
	if (r == 0 && im->tag)
		r = keep_name(im, &rec, im->tag, err);
	else
		json_array_foreach(names, k, name) if (r == 0 && json_is_string(name)) r =
			keep_name(im, &rec, json_string_value(name), err);
	if (r == 0 && rec.n_tags == 0)
		r = err_set(err, -EINVAL, "the archive names no image: give it a name with --tag");
	_cleanup_free_ char *path = image_store__blob_path(im->store, rec.id + 7);
	if (r == 0)
		r = file_write_atomic(path, buf_str(config), config->len, 0600, err);
	if (r == 0)
		return image_store__put(im->store, &rec, err);
	image_record_done(&rec);
	return r;
}

/* ---- docker-archive ---- */

static int docker_blob(struct import *im, const char *name, char **ret, struct err *err)
{
	if (!name || !path_safe(name))
		return err_set(err, -EPROTO, "manifest.json names \"%.100s\", which is no file of the archive",
			       name ? name : "");
	_cleanup_free_ char *path = xasprintf("%s/%s", im->dir, name);
	struct stat st;
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EPROTO, "manifest.json names %s, which the archive does not hold", name);
	if (str_starts(name, "blobs/sha256/")) {
		int r = check_blob(path, name + strlen("blobs/sha256/"), err);
		if (r < 0)
			return r;
	}
	*ret = STEAL(path);
	return 0;
}

static int docker_image(struct import *im, const json_t *entry, struct err *err)
{
	const json_t *layers = json_object_get(entry, "Layers"), *v;
	_cleanup_free_ char *config_path = NULL;
	_cleanup_buf_ struct buf config = BUF_INIT;
	char *blobs[IMAGE_LAYERS_MAX] = {0};
	unsigned n = 0;
	size_t i;
	if (!json_is_array(layers) || json_array_size(layers) > IMAGE_LAYERS_MAX)
		return err_set(err, -EPROTO, "manifest.json lists no layers, or more than %u", IMAGE_LAYERS_MAX);
	int r = docker_blob(im, json_string_value(json_object_get(entry, "Config")), &config_path, err);
	if (r == 0)
		r = file_read(config_path, IMAGE_JSON_MAX, &config, err);
	json_array_foreach(layers, i, v)
	{
		if (r == 0 && (r = docker_blob(im, json_string_value(v), &blobs[n], err)) == 0)
			n++;
	}
	if (r == 0)
		r = take_image(im, &config, blobs, n, json_object_get(entry, "RepoTags"), err);
	for (i = 0; i < n; i++)
		free(blobs[i]);
	return r;
}

static int import_docker(struct import *im, const char *manifest, struct err *err)
{
	json_t *list = NULL, *entry;
	size_t i;
	int r = read_json(manifest, NULL, &list, err);
	if (r < 0)
		return r;
	if (!json_is_array(list) || json_array_size(list) == 0)
		r = err_set(err, -EPROTO, "manifest.json lists no image");
	if (r == 0 && im->tag && json_array_size(list) > 1)
		r = err_set(err, -EINVAL, "the archive holds %zu images: import it without --tag",
			    json_array_size(list));
	json_array_foreach(list, i, entry) if (r == 0) r = docker_image(im, entry, err);
	json_decref(list);
	return r;
}

/* ---- OCI layout ---- */

/* The verified blob a descriptor points to. */
static int oci_blob(struct import *im, const json_t *descriptor, char **ret, struct err *err)
{
	const char *digest = json_string_value(json_object_get(descriptor, "digest")), *hex;
	if (!digest_hex(digest, &hex))
		return err_set(err, -EPROTO, "the layout has a descriptor with digest \"%.80s\"; only sha256 is known",
			       digest ? digest : "");
	_cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", im->dir, hex);
	struct stat st;
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EPROTO, "the layout lacks blob sha256:%s", hex);
	const json_t *size = json_object_get(descriptor, "size");
	if (json_is_integer(size) && json_integer_value(size) != st.st_size)
		return err_set(err, -EPROTO, "blob sha256:%.12s has %lld bytes, not %lld as its descriptor says", hex,
			       (long long)st.st_size, (long long)json_integer_value(size));
	int r = check_blob(path, hex, err);
	if (r == 0)
		*ret = STEAL(path);
	return r;
}

static int oci_manifest(struct import *im, const json_t *manifest, const json_t *names, struct err *err)
{
	const json_t *layers = json_object_get(manifest, "layers"), *v;
	_cleanup_free_ char *config_path = NULL;
	_cleanup_buf_ struct buf config = BUF_INIT;
	char *blobs[IMAGE_LAYERS_MAX] = {0};
	unsigned n = 0;
	size_t i;
	if (json_array_size(layers) > IMAGE_LAYERS_MAX)
		return err_set(err, -EFBIG, "the image has more than %u layers", IMAGE_LAYERS_MAX);
	int r = oci_blob(im, json_object_get(manifest, "config"), &config_path, err);
	if (r == 0)
		r = file_read(config_path, IMAGE_JSON_MAX, &config, err);
	json_array_foreach(layers, i, v)
	{
		if (r == 0 && (r = oci_blob(im, v, &blobs[n], err)) == 0)
			n++;
	}
	if (r == 0)
		r = take_image(im, &config, blobs, n, names, err);
	for (i = 0; i < n; i++)
		free(blobs[i]);
	return r;
}

static bool platform_ours(const json_t *descriptor)
{
	const json_t *p = json_object_get(descriptor, "platform");
	const char *arch = json_string_value(json_object_get(p, "architecture")),
		   *os = json_string_value(json_object_get(p, "os"));
	struct utsname u;
	if (!p)
		return true;
	uname(&u);
	const char *mine = streq(u.machine, "x86_64") ? "amd64" : streq(u.machine, "aarch64") ? "arm64" : u.machine;
	return streq(os, "linux") && streq(arch, mine);
}

static json_t *names_of(const json_t *descriptor)
{
	const json_t *a = json_object_get(descriptor, "annotations");
	const char *full = json_string_value(json_object_get(a, "io.containerd.image.name")),
		   *ref = json_string_value(json_object_get(a, "org.opencontainers.image.ref.name"));
	json_t *names = json_array();
	if (full)
		json_array_append_new(names, json_string(full));
	else if (ref)
		json_array_append_new(names, json_string(ref));
	return names;
}

/* What a descriptor points to: an image of this platform, or an index that leads to one. *found counts images taken. */
static int oci_follow(struct import *im, const json_t *descriptor, const json_t *names, int depth, int *found,
		      struct err *err)
{
	_cleanup_free_ char *path = NULL;
	json_t *doc = NULL;
	if (depth > INDEX_DEPTH_MAX)
		return err_set(err, -EPROTO, "the layout's indexes nest more than %d deep", INDEX_DEPTH_MAX);
	int r = oci_blob(im, descriptor, &path, err);
	if (r == 0)
		r = read_json(path, NULL, &doc, err);
	if (r < 0)
		return r;
	json_t *inner = json_object_get(doc, "manifests"), *d;
	size_t i;
	if (json_is_array(inner)) {
		int here = 0;
		json_array_foreach(inner, i, d) if (r == 0 && here == 0 && platform_ours(d)) r =
			oci_follow(im, d, names, depth + 1, &here, err);
		*found += here;
	} else {
		r = oci_manifest(im, doc, names, err);
		*found += r == 0;
	}
	json_decref(doc);
	return r;
}

static int import_oci(struct import *im, const char *index_path, struct err *err)
{
	json_t *index = NULL, *d;
	size_t i;
	int found = 0, r = read_json(index_path, NULL, &index, err);
	if (r < 0)
		return r;
	const json_t *list = json_object_get(index, "manifests");
	if (!json_is_array(list) || json_array_size(list) > 256)
		r = err_set(err, -EPROTO, "index.json lists no manifests, or more than 256");
	json_array_foreach(list, i, d)
	{
		if (r < 0 || !platform_ours(d))
			continue;
		json_t *names = names_of(d);
		r = oci_follow(im, d, names, 0, &found, err);
		json_decref(names);
	}
	if (r == 0 && !found)
		r = err_set(err, -ENOENT, "the layout holds no image for this machine's platform");
	json_decref(index);
	return r;
}

static int import_layout(struct import *im, const char *file, struct err *err)
{
	_cleanup_free_ char *manifest = xasprintf("%s/manifest.json", im->dir),
			    *index = xasprintf("%s/index.json", im->dir);
	if (file_exists(manifest))
		return import_docker(im, manifest, err);
	if (file_exists(index))
		return import_oci(im, index, err);
	return err_set(err, -EPROTO, "%s is neither a docker-archive nor an OCI layout", file);
}

int image_import(struct image_store *s, const char *file, const char *tag, void (*progress)(void *, const char *),
		 void *arg, char ***ret_names, struct err *err)
{
	struct import im = {.store = s, .tag = tag, .progress = progress, .progress_arg = arg};
	struct stat st;
	if (stat(file, &st) < 0)
		return err_errno(err, "open %s", file);
	pthread_mutex_lock(&s->writer);
	im.work = xasprintf("%s/tmp/import", s->dir);
	_cleanup_free_ char *in = xasprintf("%s/in", im.work);
	int r = rm_rf(im.work, err);
	if (r == 0)
		r = mkdir_p(im.work, 0700, err);
	if (r == 0 && !S_ISDIR(st.st_mode))
		r = spread_archive(&im, file, err);
	im.dir = S_ISDIR(st.st_mode) ? file : in;
	if (r == 0)
		r = import_layout(&im, file, err);
	rm_rf(im.work, NULL);
	/* What a failed import unpacked, and what lost its last name to this one. */
	image_store__collect(s, NULL);
	pthread_mutex_unlock(&s->writer);
	free(im.work);
	if (r < 0)
		image_names_free(im.names);
	else
		*ret_names = im.names;
	return r;
}
