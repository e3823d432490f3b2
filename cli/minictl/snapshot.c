/* minictl snapshot: copies of the cluster's state, made while it works, checked, and put in place of a lost one. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#include "cli/minictl/verbs.h"
#include "lib/core/file.h"
#include "lib/core/snapshot_file.h"

#define SNAPSHOT_PATH "/mini/v1/snapshot"
/* cli/member.c takes it in at the next start. */
#define RESTORE_FILE "restore.snapshot"
#define COPY_BYTES   (1u << 20)

static void info_text(const struct snapshot_file_info *i, char hash[65], char time[24], char cluster[17])
{
	hex_encode(i->sha256, sizeof(i->sha256), hash);
	time_format_s(i->time_us / 1000000, time);
	snprintf(cluster, 17, "%016llx", (unsigned long long)i->cluster);
}

static json_t *info_tree(const struct snapshot_file_info *i)
{
	char hash[65], time[24], cluster[17];
	info_text(i, hash, time, cluster);
	return json_make("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "cluster", cluster, "revision",
			 (json_int_t)i->rev, "index", (json_int_t)i->index, "term", (json_int_t)i->term, "keys",
			 (json_int_t)i->keys, "bytes", (json_int_t)snapshot_file_bytes(i), "time", time, "program",
			 i->program, "sha256", hash);
}

static void print_info(const struct snapshot_file_info *i)
{
	char hash[65], time[24], cluster[17];
	info_text(i, hash, time, cluster);
	printf("Cluster:    %s\nRevision:   %llu\nKeys:       %llu\nSize:       %llu bytes\nMade:       %s by minid %s\n"
	       "SHA-256:    %s\n",
	       cluster, (unsigned long long)i->rev, (unsigned long long)i->keys,
	       (unsigned long long)snapshot_file_bytes(i), time, i->program, hash);
}

static int sync_folder(const char *path, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(path);
	const char *dir = dirname(copy);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_errno(err, "sync %s", dir) : 0;
}

/* What was written to tmp becomes path. */
static int put_in_place(int fd, const char *tmp, const char *path, struct err *err)
{
	if (fsync(fd) < 0)
		return err_errno(err, "sync %s", tmp);
	if (rename(tmp, path) < 0)
		return err_errno(err, "rename %s to %s", tmp, path);
	return sync_folder(path, err);
}

static int write_all(int fd, const char *path, const void *data, size_t len, struct err *err)
{
	for (const char *p = data; len;) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "write %s", path);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- save ---- */

struct save {
	int fd;
	const char *tmp;
	struct snapshot_check *check;
	struct err err;
};

static bool on_data(struct stream *s, const char *data, size_t len)
{
	struct save *save = s->arg;
	if (snapshot_check_add(save->check, data, len, &save->err) < 0 ||
	    write_all(save->fd, save->tmp, data, len, &save->err) < 0)
		return true;
	return false;
}

static int fetch(struct ctl *c, struct save *save, struct snapshot_file_info *ret, struct err *err)
{
	_cleanup_(stream_stop) struct stream s = {.on_data = on_data, .arg = save};
	save->check = snapshot_check_new();
	int rc = stream_start(c, &s, SNAPSHOT_PATH, "*/*", err);
	if (rc == 0)
		rc = stream_wait(c, &s, 0, err);
	if (rc == 1)
		rc = err_move(err, &save->err);
	struct err end = ERR_INIT;
	int whole = snapshot_check_end(save->check, ret, &end);
	if (rc == 0 && whole < 0)
		rc = err_move(err, &end);
	err_done(&end);
	err_done(&save->err);
	return rc;
}

int verb_snapshot_save(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	struct snapshot_file_info info = {0};
	int rc = args_words(c, NULL, argc, argv, 1, &args, err);
	if (rc)
		return MIN(rc, 0);
	const char *path = args.pos.items[0], *tmp = keepf("%s.part", path);
	struct save save = {.tmp = tmp, .fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
	if (save.fd < 0)
		return err_errno(err, "open %s", tmp);
	rc = fetch(c, &save, &info, err);
	if (rc == 0)
		rc = put_in_place(save.fd, tmp, path, err);
	close(save.fd);
	if (rc < 0) {
		unlink(tmp);
		return rc;
	}
	printf("snapshot saved to %s: revision %llu, %llu keys, %llu bytes\n", path, (unsigned long long)info.rev,
	       (unsigned long long)info.keys, (unsigned long long)snapshot_file_bytes(&info));
	return 0;
}

/* ---- inspect ---- */

int verb_snapshot_inspect(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *form = NULL;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &form, NULL, "json or yaml"}, OPTS_END};
	struct args args = {0};
	struct output out = {0};
	struct snapshot_file_info info = {0};
	int rc = args_words(c, opts, argc, argv, 1, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = snapshot_file_verify(args.pos.items[0], &info, err);
	if (rc < 0)
		return rc;
	if (out.form == OUT_DEFAULT || out.form == OUT_WIDE) {
		print_info(&info);
		return 0;
	}
	_cleanup_json_ json_t *tree = info_tree(&info);
	return output_print(&out, tree, err);
}

/* ---- restore ---- */

static int copy_file(const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(COPY_BYTES);
	const char *tmp = keepf("%s.part", to);
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return err_errno(err, "open %s", from);
	_cleanup_close_ int out = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return err_errno(err, "open %s", tmp);
	ssize_t n;
	int rc = 0;
	while (rc == 0 && (n = read(in, piece, COPY_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? err_errno(err, "read %s", from) : write_all(out, tmp, piece, (size_t)n, err);
	}
	if (rc == 0)
		rc = put_in_place(out, tmp, to, err);
	if (rc < 0)
		unlink(tmp);
	return rc;
}

int verb_snapshot_restore(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	struct snapshot_file_info info = {0};
	int rc = args_words(c, NULL, argc, argv, 1, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (str_empty(c->dir))
		return ctl_usage(err, "usage: minictl %s", c->command->usage);
	const char *file = args.pos.items[0], *store = keepf("%s/store", c->dir);
	if (file_exists(store))
		return err_set(err, -EEXIST,
			       "%s has a store: stop the server and move %s away first, or choose another directory",
			       c->dir, store);
	rc = snapshot_file_verify(file, &info, err);
	if (rc == 0)
		rc = mkdir_p(c->dir, 0700, err);
	if (rc == 0)
		rc = copy_file(file, keepf("%s/" RESTORE_FILE, c->dir), err);
	if (rc < 0)
		return rc;
	printf("%s is ready to be restored into %s (revision %llu, %llu keys): minid server --dir %s starts with it, as a "
	       "cluster of one server\n",
	       file, c->dir, (unsigned long long)info.rev, (unsigned long long)info.keys, c->dir);
	return 0;
}
