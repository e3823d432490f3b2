/* Image archives as strangers send them. The first byte decides: a layer, a whole archive, or the parts of an OCI layout
 * (index, manifest, configuration, layer; split at "\n--\n"), in which @M, @C and @L stand for the digests of the parts,
 * so that inputs get past the digests. Everything happens on a tmpfs of its own where that can be had. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "lib/core/sha256.h"
#include "nodeagent/image/image.h"
#include "nodeagent/image/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define PARTS 4

static char top[200];
static struct image_store *store;

static char *in_top(const char *name)
{
	return xasprintf("%s/%s", top, name);
}

static void leave(void)
{
	image_store_close(store);
	umount2(top, MNT_DETACH);
	rm_rf(top, NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	const char *tmp = getenv("TMPDIR");
	snprintf(top, sizeof(top), "%.150s/mini-fuzz-XXXXXX", tmp ? tmp : "/dev/shm");
	MUST(mkdtemp(top));
	/* Device nodes and set-uid files that a layer holds appear for nobody else. */
	if (unshare(CLONE_NEWNS) == 0)
		MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		     mount("tmpfs", top, "tmpfs", 0, "size=256m") == 0);
	_cleanup_free_ char *images = in_top("images"), *victim = in_top("victim");
	MUST(file_write_atomic(victim, "mine", 4, 0600, NULL) == 0);
	MUST(image_store_open(images, &store, NULL) == 0);
	atexit(leave);
	return 0;
}

/* Nothing beside the store has changed. */
static void untouched(void)
{
	_cleanup_free_ char *victim = in_top("victim");
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct stat st;
	MUST(file_read(victim, 16, &b, NULL) == 0 && b.len == 4 && memcmp(b.data, "mine", 4) == 0);
	MUST(lstat(victim, &st) == 0 && st.st_mode == (S_IFREG | 0600) && st.st_uid == geteuid() && st.st_nlink == 1);
}

static void layer(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *file = in_top("in"), *dir = in_top("layer");
	uint8_t digest[32];
	uint64_t bytes;
	MUST(file_write_replace(file, data, size, 0600, NULL) == 0);
	MUST(mkdir_p(dir, 0755, NULL) == 0);
	if (unpack_layer(file, dir, digest, &bytes, NULL) < 0)
		bytes = 0;
	MUST(rm_rf(dir, NULL) == 0);
}

static void import(const char *file)
{
	char **names = NULL;
	struct err err = ERR_INIT;
	int r = image_import(store, file, NULL, NULL, NULL, &names, &err);
	for (char **n = names; r == 0 && n && *n; n++) {
		struct image_info info = {0};
		if (image_find(store, *n, &info, NULL) == 0)
			image_info_done(&info);
		image_remove(store, *n, NULL, NULL);
	}
	if (r == 0)
		image_names_free(names);
	else
		MUST(err.code < 0 && *err.message);
	err_done(&err);
}

static void archive(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *file = in_top("in");
	MUST(file_write_replace(file, data, size, 0600, NULL) == 0);
	import(file);
}

/* Write a part as a blob, with the digests of the parts after it filled in. */
static void write_part(const char *dir, const char *text, size_t len, char hex[PARTS][65], unsigned me)
{
	static const char names[] = "?MCL";
	_cleanup_buf_ struct buf b = BUF_INIT;
	uint8_t digest[32];
	for (size_t i = 0; i < len; i++) {
		const char *name =
			me < PARTS - 1 && text[i] == '@' && i + 1 < len ? strchr(names + me + 1, text[i + 1]) : NULL;
		if (name && *name) {
			buf_add(&b, hex[name - names], 64);
			i++;
		} else {
			buf_addc(&b, text[i]);
		}
	}
	sha256(buf_str(&b), b.len, digest);
	hex_encode(digest, sizeof(digest), hex[me]);
	_cleanup_free_ char *path =
		me ? xasprintf("%s/blobs/sha256/%s", dir, hex[me]) : xasprintf("%s/index.json", dir);
	MUST(file_write_replace(path, buf_str(&b), b.len, 0600, NULL) == 0);
}

static void layout(const char *data, size_t size)
{
	_cleanup_free_ char *dir = in_top("layout"), *blobs = in_top("layout/blobs/sha256");
	const char *part[PARTS];
	size_t len[PARTS];
	char hex[PARTS][65];
	for (unsigned i = 0; i < PARTS; i++) {
		const char *end = i < PARTS - 1 ? memmem(data, size, "\n--\n", 4) : NULL;
		part[i] = data;
		len[i] = end ? (size_t)(end - data) : size;
		size -= end ? len[i] + 4 : len[i];
		data += end ? len[i] + 4 : len[i];
	}
	MUST(mkdir_p(blobs, 0700, NULL) == 0);
	for (unsigned i = PARTS; i-- > 0;)
		write_part(dir, part[i], len[i], hex, i);
	import(dir);
	MUST(rm_rf(dir, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 'L')
		layer(data + 1, size - 1);
	else if (data[0] == 'P')
		layout((const char *)data + 1, size - 1);
	else
		archive(data + 1, size - 1);
	untouched();
	return 0;
}
