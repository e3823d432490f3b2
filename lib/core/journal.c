#include "lib/core/journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/core/buf.h"
#include "lib/core/cgroup.h"
#include "lib/core/file.h"
#include "lib/core/proc.h"

#define JOURNAL_MAX_BYTES (4u << 20)

static const char *const kind_names[] = {
	[JOURNAL_LINK] = "link",     [JOURNAL_ROUTE] = "route", [JOURNAL_SYSCTL] = "sysctl", [JOURNAL_MOUNT] = "mount",
	[JOURNAL_CGROUP] = "cgroup", [JOURNAL_FILE] = "file",   [JOURNAL_RULES] = "rules",
};

struct entry {
	enum journal_kind kind;
	char *what, *value; /* value NULL: none */
};

struct journal {
	char *path;
	char boot_id[37];
	struct entry *entries;
	unsigned n, cap;
};

static void escape(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c <= ' ' || c == '%' || c >= 127)
			buf_addf(out, "%%%02x", c);
		else
			buf_addc(out, (char)c);
	}
}

static void unescape(char *s)
{
	char *o = s;
	unsigned v;
	for (; *s; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]) &&
		    sscanf(s + 1, "%2x", &v) == 1) {
			*o++ = (char)v;
			s += 2;
		} else {
			*o++ = *s;
		}
	}
	*o = 0;
}

static void add(struct journal *j, enum journal_kind kind, const char *what, const char *value)
{
	GROW(j->entries, j->cap, j->n + 1);
	j->entries[j->n++] = (struct entry){kind, xstrdup(what), value ? xstrdup(value) : NULL};
}

static int find(const struct journal *j, enum journal_kind kind, const char *what)
{
	for (unsigned i = 0; i < j->n; i++)
		if (j->entries[i].kind == kind && streq(j->entries[i].what, what))
			return (int)i;
	return -1;
}

static int write_out(const struct journal *j, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool durable = false;
	for (unsigned i = 0; i < j->n; i++) {
		const struct entry *e = &j->entries[i];
		buf_addf(&b, "%s %s ", kind_names[e->kind], j->boot_id);
		escape(&b, e->what);
		if (e->value) {
			buf_addc(&b, ' ');
			escape(&b, e->value);
		}
		buf_addc(&b, '\n');
		durable |= e->kind == JOURNAL_FILE;
	}
	/* What is undone by a reboot needs no sync: a machine that loses the entry has lost the change as well. */
	return durable ? file_write_atomic(j->path, buf_str(&b), b.len, 0600, err)
		       : file_write_replace(j->path, buf_str(&b), b.len, 0600, err);
}

static int read_line(struct journal *j, char *line)
{
	char *save, *kind = strtok_r(line, " ", &save), *boot = strtok_r(NULL, " ", &save),
		    *what = strtok_r(NULL, " ", &save), *value = strtok_r(NULL, " ", &save);
	if (!kind || !boot || !what)
		return -EPROTO;
	for (unsigned k = 0; k < ARRAY_LEN(kind_names); k++) {
		if (!streq(kind, kind_names[k]))
			continue;
		/* A reboot undid everything but files. */
		if (k != JOURNAL_FILE && !streq(boot, j->boot_id))
			return 0;
		unescape(what);
		if (value)
			unescape(value);
		add(j, (enum journal_kind)k, what, value);
		return 0;
	}
	return -EPROTO;
}

int journal_open(const char *path, struct journal **ret, struct err *err)
{
	struct journal *j = NEW(struct journal);
	j->path = xstrdup(path);
	int r = proc_boot_id(j->boot_id, err);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (r == 0 && file_exists(path))
		r = file_read(path, JOURNAL_MAX_BYTES, &b, err);
	unsigned number = 0;
	char *save;
	for (char *line = r == 0 && b.data ? strtok_r(b.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		number++;
		if (read_line(j, line) < 0) {
			r = err_set(err, -EPROTO,
				    "%s:%u is no entry of a host journal; move the file away to start without it", path,
				    number);
			break;
		}
	}
	if (r < 0) {
		journal_close(j);
		return r;
	}
	*ret = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	for (unsigned i = 0; i < j->n; i++) {
		free(j->entries[i].what);
		free(j->entries[i].value);
	}
	free(j->entries);
	free(j->path);
	free(j);
}

int journal_add(struct journal *j, enum journal_kind kind, const char *what, const char *value, struct err *err)
{
	/* The first entry knows the oldest value: a sysctl set twice goes back to what the host had. */
	if (find(j, kind, what) >= 0)
		return 0;
	add(j, kind, what, value);
	int r = write_out(j, err);
	if (r < 0) {
		free(j->entries[--j->n].what);
		free(j->entries[j->n].value);
	}
	return r;
}

static void drop(struct journal *j, unsigned i)
{
	free(j->entries[i].what);
	free(j->entries[i].value);
	memmove(&j->entries[i], &j->entries[i + 1], (j->n - i - 1) * sizeof(j->entries[0]));
	j->n--;
}

int journal_remove(struct journal *j, enum journal_kind kind, const char *what, struct err *err)
{
	int i = find(j, kind, what);
	if (i < 0)
		return 0;
	drop(j, (unsigned)i);
	return write_out(j, err);
}

bool journal_has(const struct journal *j, enum journal_kind kind, const char *what)
{
	return find(j, kind, what) >= 0;
}

/* What still dies in a group may take this long. */
#define CGROUP_WAIT_MS 2000

static int undo_cgroup(const char *group, struct err *err)
{
	struct cgroup_fs fs;
	int r = cgroup_fs_open(CGROUP_ROOT, &fs, err);
	return r < 0 ? r : cgroup_remove(&fs, group, CGROUP_WAIT_MS, err);
}

static int undo(const struct entry *e, journal_undo_fn fn, void *arg, struct err *err)
{
	switch (e->kind) {
	case JOURNAL_SYSCTL:
		if (!e->value || !file_exists(e->what))
			return 0;
		return file_write(e->what, e->value, err);
	case JOURNAL_MOUNT:
		if (umount2(e->what, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
			return err_errno(err, "unmount %s", e->what);
		return 0;
	case JOURNAL_CGROUP:
		return undo_cgroup(e->what, err);
	case JOURNAL_FILE:
		return rm_rf(e->what, err);
	case JOURNAL_LINK:
	case JOURNAL_ROUTE:
	case JOURNAL_RULES:
		return fn(arg, e->kind, e->what, e->value, err);
	}
	return 0;
}

int journal_undo_all(struct journal *j, journal_undo_fn fn, void *arg, struct err *err)
{
	int first = 0;
	for (unsigned i = j->n; i-- > 0;) {
		struct err e = ERR_INIT;
		int r = undo(&j->entries[i], fn, arg, &e);
		if (r == 0) {
			drop(j, i);
		} else if (first == 0) {
			first = r;
			err_move(err, &e);
		}
	}
	int r = write_out(j, first == 0 ? err : NULL);
	return first ? first : r;
}

bool journal_next(const struct journal *j, unsigned *pos, enum journal_kind *ret_kind, const char **ret_what,
		  const char **ret_value)
{
	if (*pos >= j->n)
		return false;
	const struct entry *e = &j->entries[(*pos)++];
	*ret_kind = e->kind;
	*ret_what = e->what;
	*ret_value = e->value;
	return true;
}
