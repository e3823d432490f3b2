/* The image store against real archives: our own, skopeo's, and ones made to do harm. Needs root (owners, whiteouts). */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "lib/core/file.h"
#include "lib/core/proc.h"
#include "nodeagent/image/image.h"
#include "nodeagent/image/unpack.h"
#include "tests/support/tap.h"

struct fixture {
	char dir[40];
	struct image_store *store;
};

static char *at(struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->dir, name);
}

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);
	struct err err = ERR_INIT;
	strcpy(f->dir, "/tmp/mini-image-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	_cleanup_free_ char *images = at(f, "images");
	assert_int_equal(image_store_open(images, &f->store, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	image_store_close(f->store);
	rm_rf(f->dir, NULL);
	free(f);
	return 0;
}

static int shell(struct fixture *f, const char *command)
{
	_cleanup_free_ char *c = xasprintf("cd %s && { %s ; } >log 2>&1", f->dir, command);
	const char *const argv[] = {"sh", "-c", c, NULL};
	int status = -1;
	assert_int_equal(proc_run(argv, NULL, NULL, NULL, &status, NULL), 0);
	return status;
}

static void build_demo(struct fixture *f, const char *tag, const char *out)
{
	_cleanup_free_ char *root = at(f, "root"), *path = at(f, out);
	const char *const entry[] = {"/bin/busybox", "httpd", NULL}, *const env[] = {"PATH=/bin", NULL};
	struct image_build b = {.rootfs = root, .entrypoint = entry, .env = env, .tag = tag, .created_s = 1000000000};
	struct err err = ERR_INIT;
	assert_int_equal(
		shell(f, "mkdir -p root/bin root/etc && echo hello > root/etc/motd && ln -sf motd root/etc/link && "
			 "chmod 4755 root/bin && head -c 100000 /dev/urandom > root/bin/busybox"),
		0);
	if (image_build(&b, path, &err) < 0)
		fail_msg("%s", err.message);
}

static void import_ok(struct fixture *f, const char *file, const char *tag, const char *expect)
{
	_cleanup_free_ char *path = at(f, file);
	struct err err = ERR_INIT;
	char **names = NULL;
	if (image_import(f->store, path, tag, NULL, NULL, &names, &err) < 0)
		fail_msg("%s: %s", file, err.message);
	assert_string_equal(names[0], expect);
	image_names_free(names);
}

static void import_bad(struct fixture *f, const char *file, int code, const char *says)
{
	_cleanup_free_ char *path = at(f, file);
	struct err err = ERR_INIT;
	char **names = NULL;
	assert_int_equal(image_import(f->store, path, "x", NULL, NULL, &names, &err), code);
	if (!strstr(err.message, says))
		fail_msg("\"%s\" does not say \"%s\"", err.message, says);
	/* nothing stays behind */
	assert_int_equal(shell(f, "test -z \"$(ls images/layers images/tmp images/blobs/sha256 | grep -v :)\""), 0);
}

static void build_import_find_list_remove(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct image_info i, *list;
	size_t n;
	build_demo(f, "demo:1", "a.tar");
	build_demo(f, "demo:1", "b.tar");
	import_ok(f, "a.tar", NULL, "docker.io/library/demo:1");
	import_ok(f, "a.tar", "other/name:2", "docker.io/other/name:2");
	assert_int_equal(image_find(f->store, "demo:1", &i, &err), 0);
	assert_non_null(strstr(i.config, "httpd"));
	assert_non_null(i.tags[1]);
	assert_null(i.layers[1]);
	_cleanup_free_ char *motd = xasprintf("%s/etc/motd", i.layers[0]);
	assert_true(file_exists(motd));
	const char *const used[] = {i.id, NULL};
	/* one of two names goes; the last one does not while something runs from it */
	assert_int_equal(image_remove(f->store, "demo:1", used, &err), 0);
	assert_int_equal(image_remove(f->store, "other/name:2", used, &err), -EBUSY);
	assert_int_equal(image_find(f->store, "demo:1", &i, &err), -ENOENT);
	assert_int_equal(image_list(f->store, &list, &n, &err), 0);
	assert_int_equal(n, 1);
	image_info_done(&list[0]);
	free(list);
	assert_int_equal(image_remove(f->store, "other/name:2", NULL, &err), 0);
	assert_false(file_exists(motd));
	assert_int_equal(image_remove(f->store, "other/name:2", NULL, &err), -ENOENT);
	image_info_done(&i);
}

static void same_input_same_bytes(void **state)
{
	struct fixture *f = *state;
	build_demo(f, "demo:1", "a.tar");
	_cleanup_free_ char *root = at(f, "root"), *path = at(f, "b.tar");
	const char *const entry[] = {"/bin/busybox", "httpd", NULL}, *const env[] = {"PATH=/bin", NULL};
	struct image_build b = {
		.rootfs = root, .entrypoint = entry, .env = env, .tag = "demo:1", .created_s = 1000000000};
	assert_int_equal(shell(f, "touch root/etc/motd"), 0);
	assert_int_equal(image_build(&b, path, NULL), 0);
	assert_int_equal(shell(f, "cmp a.tar b.tar"), 0);
}

static void store_survives_reopening_and_is_locked(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct image_info i;
	struct image_store *second;
	_cleanup_free_ char *images = at(f, "images");
	build_demo(f, "demo:1", "a.tar");
	import_ok(f, "a.tar", NULL, "docker.io/library/demo:1");
	assert_int_equal(image_store_open(images, &second, &err), -EBUSY);
	image_store_close(f->store);
	f->store = NULL;
	assert_int_equal(image_store_open(images, &f->store, &err), 0);
	assert_int_equal(image_find(f->store, "demo:1", &i, &err), 0);
	image_info_done(&i);
}

/* What skopeo makes of our image, in every form people carry images in. */
static void skopeo_archives(void **state)
{
	struct fixture *f = *state;
	struct image_info a, b;
	if (shell(f, "command -v skopeo") != 0)
		skip();
	build_demo(f, "demo:1", "a.tar");
	import_ok(f, "a.tar", NULL, "docker.io/library/demo:1");
	assert_int_equal(image_find(f->store, "demo:1", &a, NULL), 0);
	assert_int_equal(
		shell(f, "skopeo copy -q oci-archive:a.tar docker-archive:d.tar:docker.io/library/d:1 && "
			 "skopeo copy -q --dest-compress-format zstd --dest-compress oci-archive:a.tar oci:ozstd:z && "
			 "skopeo copy -q --dest-compress oci-archive:a.tar oci-archive:ogz.tar:gz && gzip -k d.tar"),
		0);
	import_ok(f, "d.tar", NULL, "docker.io/library/d:1");
	import_ok(f, "d.tar.gz", "e:1", "docker.io/library/e:1");
	import_ok(f, "ozstd", NULL, "docker.io/library/z:latest");
	import_ok(f, "ogz.tar", "gz:1", "docker.io/library/gz:1");
	assert_int_equal(image_find(f->store, "z", &b, NULL), 0);
	assert_string_equal(a.layers[0], b.layers[0]);
	image_info_done(&a);
	image_info_done(&b);
}

static void damage_is_found(void **state)
{
	struct fixture *f = *state;
	build_demo(f, "demo:1", "a.tar");
	assert_int_equal(
		shell(f,
		      "mkdir l && tar -xf a.tar -C l && cp -a l m && cp -a l n && cp -a l o && "
		      "for b in m/blobs/sha256/*; do if [ $(stat -c %s $b) -gt 50000 ]; then printf X | dd of=$b bs=1 seek=60000 "
		      "conv=notrunc; fi; done && "
		      "for b in n/blobs/sha256/*; do if [ $(stat -c %s $b) -gt 50000 ]; then rm $b; fi; done && "
		      "sed -i 's/sha256:..../sha256:0000/' o/index.json && head -c 3000 a.tar > short.tar && echo hi > text.tar && "
		      "mkdir empty"),
		0);
	import_bad(f, "m", -EPROTO, "digest mismatch");
	import_bad(f, "n", -EPROTO, "lacks blob");
	import_bad(f, "o", -EPROTO, "lacks blob");
	import_bad(f, "short.tar", -EPROTO, "");
	import_bad(f, "text.tar", -EPROTO, "no image archive");
	import_bad(f, "empty", -EPROTO, "neither");
	import_bad(f, "missing", -ENOENT, "missing");
}

/* ---- layers, entry by entry ---- */

struct entry {
	const char *path, *data, *symlink, *hardlink;
	mode_t type;
	const char *xattr;
};

static void write_tar(struct fixture *f, const char *name, const struct entry *list)
{
	_cleanup_free_ char *path = at(f, name);
	struct archive *a = archive_write_new();
	archive_write_set_format_pax(a);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (; list->path; list++) {
		struct archive_entry *e = archive_entry_new();
		archive_entry_set_pathname(e, list->path);
		archive_entry_set_filetype(e, list->type ? list->type : AE_IFREG);
		archive_entry_set_perm(e, 0644);
		archive_entry_set_size(e, list->data ? (la_int64_t)strlen(list->data) : 0);
		if (list->symlink)
			archive_entry_set_symlink(e, list->symlink);
		if (list->hardlink)
			archive_entry_set_hardlink(e, list->hardlink);
		if (list->xattr)
			archive_entry_xattr_add_entry(e, list->xattr, "y", 1);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		if (list->data)
			archive_write_data(a, list->data, strlen(list->data));
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
}

static int unpack(struct fixture *f, const struct entry *list, struct err *err)
{
	_cleanup_free_ char *tar = at(f, "layer.tar"), *out = at(f, "out");
	uint8_t digest[32];
	uint64_t bytes;
	rm_rf(out, NULL);
	mkdir_p(out, 0755, NULL);
	write_tar(f, "layer.tar", list);
	return unpack_layer(tar, out, digest, &bytes, err);
}

static void whiteouts_links_and_missing_parents(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	const struct entry list[] = {{.path = "./a/b/c/file", .data = "x"},
				     {.path = "a/.wh.gone"},
				     {.path = "a/b/.wh..wh..opq"},
				     {.path = "usr/lib/", .type = AE_IFDIR},
				     {.path = "lib", .type = AE_IFLNK, .symlink = "/usr/lib"},
				     {.path = "lib/inside", .data = "in"},
				     {.path = "hard", .hardlink = "a/b/c/file"},
				     {.path = "twice", .data = "first"},
				     {.path = "twice", .data = "second"},
				     {0}};
	struct stat st;
	char opaque[2] = "";
	if (unpack(f, list, &err) < 0)
		fail_msg("%s", err.message);
	_cleanup_free_ char *gone = at(f, "out/a/gone"), *b = at(f, "out/a/b"), *inside = at(f, "out/usr/lib/inside"),
			    *hard = at(f, "out/hard");
	assert_int_equal(lstat(gone, &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
	assert_int_equal(getxattr(b, "trusted.overlay.opaque", opaque, 1), 1);
	assert_string_equal(opaque, "y");
	assert_true(file_exists(inside)); /* the absolute link led to the layer's own /usr/lib */
	assert_int_equal(lstat(hard, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(shell(f, "grep -q second out/twice"), 0);
}

static void escapes_are_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	assert_int_equal(shell(f, "mkdir victim && echo safe > victim/file"), 0);
	_cleanup_free_ char *victim = at(f, "victim");
	const struct entry dotdot[] = {{.path = "../victim/file", .data = "evil"}, {0}};
	const struct entry deep[] = {{.path = "a/../../victim/file", .data = "evil"}, {0}};
	const struct entry hard[] = {{.path = "h", .hardlink = "../victim/file"}, {0}};
	const struct entry xattr[] = {{.path = "x", .data = "x", .xattr = "trusted.overlay.redirect"}, {0}};
	const struct entry root[] = {{.path = "/", .type = AE_IFLNK, .symlink = "/etc"}, {0}};
	const struct entry white[] = {{.path = "a/.wh..."}, {.path = "a/.wh."}, {0}};
	assert_int_equal(unpack(f, dotdot, &err), -EPROTO);
	assert_int_equal(unpack(f, deep, &err), -EPROTO);
	assert_int_equal(unpack(f, hard, &err), -EPROTO);
	assert_int_equal(unpack(f, xattr, &err), -EPROTO);
	assert_int_equal(unpack(f, root, &err), -EPROTO);
	assert_int_equal(unpack(f, white, &err), -EPROTO);
	/* through a link: lands inside the layer, wherever the link points */
	const struct entry through[] = {
		{.path = "esc", .type = AE_IFLNK, .symlink = victim}, {.path = "esc/file", .data = "evil"}, {0}};
	const struct entry up[] = {{.path = "esc", .type = AE_IFLNK, .symlink = "../../../../victim"},
				   {.path = "esc/file", .data = "evil"},
				   {0}};
	const struct entry replace[] = {
		{.path = "f", .type = AE_IFLNK, .symlink = "../victim/file"}, {.path = "f", .data = "evil"}, {0}};
	unpack(f, through, NULL);
	unpack(f, up, NULL);
	assert_int_equal(unpack(f, replace, &err), 0);
	assert_int_equal(shell(f, "grep -q safe victim/file"), 0);
	assert_int_equal(shell(f, "test ! -L out/f && grep -q evil out/f"), 0);
}

static void references_are_normalized(void **state)
{
	(void)state;
	static const char *const good[][2] = {{"busybox", "docker.io/library/busybox:latest"},
					      {"busybox:1.36", "docker.io/library/busybox:1.36"},
					      {"a/b", "docker.io/a/b:latest"},
					      {"localhost/a", "localhost/a:latest"},
					      {"localhost:5000/a/b:c", "localhost:5000/a/b:c"},
					      {"ghcr.io/x/y_z.w--v:Tag-1.2", "ghcr.io/x/y_z.w--v:Tag-1.2"}};
	static const char *const bad[] = {"",    "UPPER",       "a//b", "/a",   "a/", "a:",   "a:b:c",
					  "a b", "a@sha256:12", "-a",   "a:.x", "..", "a/..", "a:-"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_free_ char *s = NULL;
		assert_int_equal(image_normalize(good[i][0], &s, NULL), 0);
		assert_string_equal(s, good[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *s = NULL;
		if (image_normalize(bad[i], &s, NULL) != -EINVAL)
			fail_msg("\"%s\" was taken for a reference", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(build_import_find_list_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(same_input_same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(store_survives_reopening_and_is_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(skopeo_archives, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(whiteouts_links_and_missing_parents, setup, teardown),
		cmocka_unit_test_setup_teardown(escapes_are_refused, setup, teardown),
		cmocka_unit_test(references_are_normalized),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
