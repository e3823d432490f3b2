/* Where container logs lie, in upstream's layout, and their rotation.
 *
 *   DIR/log/pods/<ns>_<pod>_<uid>/<container>/<attempt>.log[.<when>]
 *   DIR/log/containers/<pod>_<ns>_<container>-<id>.log -> the above
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "lib/core/log.h"
#include "lib/core/oci_state.h"
#include "nodeagent/cri_log.h"
#include "nodeagent/pod.h"

#define ROTATE_BYTES (10 << 20)
#define ROTATE_KEEP  4 /* beside the one being written */

static char *pod_log_dir(const struct pod *p)
{
	return xasprintf("%s/log/pods/%s_%s_%s", p->n->dir, p->ns, p->name, p->uid);
}

char *log_path(const struct pod_container *c, unsigned attempt)
{
	_cleanup_free_ char *dir = pod_log_dir(c->pod);
	return xasprintf("%s/%s/%u.log", dir, c->name, attempt);
}

static char *link_path(const struct pod_container *c, unsigned attempt)
{
	const struct pod *p = c->pod;
	char id[128];
	pod_container_id(id, p->uid, c->name, attempt);
	return xasprintf("%s/log/containers/%s_%s_%s-%s.log", p->n->dir, p->name, p->ns, c->name, id);
}

int log_prepare(struct pod_container *c, unsigned attempt, struct err *err)
{
	_cleanup_free_ char *pod = pod_log_dir(c->pod);
	_cleanup_free_ char *dir = xasprintf("%s/%s", pod, c->name);
	_cleanup_free_ char *links = xasprintf("%s/log/containers", c->pod->n->dir);
	_cleanup_free_ char *path = log_path(c, attempt), *link = link_path(c, attempt);
	int rc = mkdir_p(dir, 0755, err);
	if (rc == 0)
		rc = mkdir_p(links, 0755, err);
	if (rc < 0)
		return rc;
	unlink(link);
	if (symlink(path, link) < 0)
		return err_errno(err, "link %s", link);
	return 0;
}

/* Rotated names of one log, oldest first. Returns how many; the caller frees the names and the array. */
static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t rotated_names(const char *path, char ***ret)
{
	_cleanup_free_ char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	*slash = 0;
	_cleanup_free_ char *prefix = xasprintf("%s.", slash + 1);
	char **names = NULL;
	size_t n = 0, cap = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (!str_starts(e->d_name, prefix))
			continue;
		GROW(names, cap, n + 1);
		names[n++] = xasprintf("%s/%s", dir, e->d_name);
	}
	if (d)
		closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	return n;
}

static void drop_rotated(const char *path, size_t keep)
{
	char **names = NULL;
	size_t n = rotated_names(path, &names);
	for (size_t i = 0; i < n; i++) {
		if (i + keep < n)
			unlink(names[i]);
		free(names[i]);
	}
	free(names);
}

void log_forget(struct pod_container *c, unsigned attempt)
{
	_cleanup_free_ char *path = log_path(c, attempt), *link = link_path(c, attempt);
	unlink(link);
	unlink(path);
	drop_rotated(path, 0);
}

void logs_remove_pod(struct pod *p)
{
	if (!p->obj)
		return;
	_cleanup_free_ char *dir = pod_log_dir(p);
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		log_forget(c, c->cur.attempt);
		log_forget(c, c->prev.attempt);
	}
	_cleanup_err_ struct err err = ERR_INIT;
	if (rm_rf(dir, &err) < 0)
		log_warn("node", "logs of a deleted pod stay: %s", err.message);
}

/* The file moves aside and the shim opens a new one when told (SIGHUP). */
static void rotate(struct pod_container *c, const char *path)
{
	struct nodeagent *n = c->pod->n;
	struct proc_id shim;
	char when[32];
	_cleanup_free_ char *root = xasprintf("%s/run/containers", n->dir);
	if (oci_shim_read(root, c->cur.id, &shim, NULL) < 0)
		return;
	time_format_us(env_wall_us(n->env), when);
	_cleanup_free_ char *aside = xasprintf("%s.%s", path, when);
	bool gone = false;
	if (rename(path, aside) < 0 || proc_kill(&shim, SIGHUP, &gone, NULL) < 0)
		return;
	drop_rotated(path, ROTATE_KEEP);
}

void logs_rotate_all(struct nodeagent *n)
{
	MAP_EACH (&n->pods, e) {
		struct pod *p = e->value;
		for (size_t i = 0; p->obj && i < p->n_containers; i++) {
			struct pod_container *c = &p->containers[i];
			struct stat st;
			if (!container_is_up(c))
				continue;
			_cleanup_free_ char *path = log_path(c, c->cur.attempt);
			if (stat(path, &st) == 0 && st.st_size > ROTATE_BYTES)
				rotate(c, path);
		}
	}
}

/* ---- the end of a log ---- */

char *log_tail(const char *path, size_t max_bytes, unsigned max_lines)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return NULL;
	size_t window = max_bytes * 2 + 4096;
	if (fseek(f, 0, SEEK_END) == 0 && ftell(f) > (long)window)
		fseek(f, -(long)window, SEEK_END);
	else
		rewind(f);
	char *raw = xmalloc(window + 1);
	size_t n = fread(raw, 1, window, f);
	raw[n] = 0;
	fclose(f);
	struct buf text = BUF_INIT;
	char *save = NULL;
	for (char *line = strtok_r(raw, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct cri_line l = {.text = line, .text_len = strlen(line)};
		cri_line_parse(line, l.text_len, &l); /* not framed: as it is */
		buf_add(&text, l.text, l.text_len);
		if (!l.partial)
			buf_addc(&text, '\n');
	}
	free(raw);
	size_t start = text.len > max_bytes ? text.len - max_bytes : 0;
	unsigned lines = 0;
	for (size_t i = text.len; i > start; i--) {
		if (text.data[i - 1] == '\n' && i != text.len && ++lines >= max_lines) {
			start = i;
			break;
		}
	}
	char *out = text.len ? xstrdup(text.data + start) : NULL;
	buf_done(&text);
	return out;
}
