/* GET /containerLogs: a CRI log file as plain text, from a line or a time on, and on as it grows.
 *
 *   READING --chunk--> READING --too much unsent--> DRAINING --> READING
 *      |  end of file
 *      |--not following, or the container has ended: the response ends
 *      '--> WAITING --inotify, or a container changed--> READING
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "nodeagent/cri_log.h"
#include "nodeagent/server.h"

#define LOG_MAGIC    0x6c6f6773u
#define CHUNK        (64 << 10)
#define LINE_MAX_LEN (256 << 10) /* a CRI line is 16 KiB; whatever is longer is cut here */
#define UNSENT_MAX   (1 << 20)

struct log_stream {
	uint32_t magic;
	struct node_stream base;
	struct http_request *r;
	struct env_post pump;
	char *path, *uid, *container, *id;
	int fd;
	struct buf line; /* read, not yet whole */
	bool follow, timestamps, draining, mid_line;
	int64_t since_us; /* 0: all */
	int64_t left;     /* bytes still allowed; -1: no limit */
	uv_fs_event_t *watch;
};

static void on_watch_closed(uv_handle_t *h)
{
	free(h);
}

static void log_free(struct log_stream *l)
{
	env_post_cancel(l->base.s->n->env, &l->pump);
	list_del(&l->base.node);
	if (l->watch)
		uv_close((uv_handle_t *)l->watch, on_watch_closed);
	if (l->fd >= 0)
		close(l->fd);
	buf_done(&l->line);
	free(l->path);
	free(l->uid);
	free(l->container);
	free(l->id);
	l->magic = 0;
	free(l);
}

static void on_gone(struct node_stream *st)
{
	log_free(CONTAINER_OF(st, struct log_stream, base));
}

static void on_kick(struct node_stream *st)
{
	struct log_stream *l = CONTAINER_OF(st, struct log_stream, base);
	env_post(st->s->n->env, &l->pump);
}

/* ---- lines ---- */

static void send_text(struct log_stream *l, const char *s, size_t n)
{
	if (l->left >= 0)
		n = MIN(n, (size_t)l->left);
	if (n > 0)
		http_write(l->r, s, n);
	if (l->left >= 0)
		l->left -= (int64_t)n;
}

static void send_line(struct log_stream *l, const char *s, size_t n, struct buf *out)
{
	struct cri_line line;
	int64_t at;
	if (!cri_line_parse(s, n, &line)) { /* as it is */
		buf_add(out, s, n);
		buf_addc(out, '\n');
		return;
	}
	if (l->since_us && cri_line_time(&line, &at) && at < l->since_us)
		return;
	if (l->timestamps && !l->mid_line) {
		buf_add(out, line.time, line.time_len);
		buf_addc(out, ' ');
	}
	buf_add(out, line.text, line.text_len);
	if (!line.partial)
		buf_addc(out, '\n');
	l->mid_line = line.partial;
}

static void send_lines(struct log_stream *l)
{
	struct buf out = BUF_INIT;
	size_t done = 0;
	for (char *nl; done < l->line.len && (nl = memchr(l->line.data + done, '\n', l->line.len - done));) {
		send_line(l, l->line.data + done, (size_t)(nl - l->line.data) - done, &out);
		done = (size_t)(nl - l->line.data) + 1;
	}
	buf_consume(&l->line, done);
	if (l->line.len > LINE_MAX_LEN)
		buf_clear(&l->line);
	send_text(l, buf_str(&out), out.len);
	buf_done(&out);
}

/* ---- the file ---- */

/* The container this log is of still runs, or will write to this very file. */
static bool still_written(struct log_stream *l)
{
	struct pod *p = map_get(&l->base.s->n->pods, l->uid);
	struct pod_container *c = p ? pod_find_container(p, l->container) : NULL;
	return c && streq(c->cur.id, l->id) && !c->cur.ended;
}

/* Moved aside by the rotation: go on with the new one. */
static bool reopen_if_rotated(struct log_stream *l)
{
	struct stat a, b;
	if (fstat(l->fd, &a) < 0 || stat(l->path, &b) < 0 || (a.st_ino == b.st_ino && a.st_dev == b.st_dev))
		return false;
	int fd = open(l->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	close(l->fd);
	l->fd = fd;
	return true;
}

static void on_drained(void *arg, struct http_request *r)
{
	(void)r;
	struct log_stream *l = arg;
	MAGIC_CHECK(l, LOG_MAGIC);
	l->draining = false;
	env_post(l->base.s->n->env, &l->pump);
}

static void finish(struct log_stream *l)
{
	struct http_request *r = l->r;
	log_free(l);
	http_request_set_data(r, NULL);
	http_end(r);
}

static void on_pump(struct env_post *post)
{
	struct log_stream *l = CONTAINER_OF(post, struct log_stream, pump);
	MAGIC_CHECK(l, LOG_MAGIC);
	struct env *env = l->base.s->n->env;
	if (l->draining)
		return;
	bool written = still_written(l); /* before the read: what comes after its end is nothing */
	buf_reserve(&l->line, CHUNK);
	ssize_t n = read(l->fd, l->line.data + l->line.len, CHUNK);
	if (n > 0) {
		l->line.len += (size_t)n;
		l->line.data[l->line.len] = 0;
		send_lines(l);
		if (l->left == 0) {
			finish(l);
		} else if (http_unsent(l->r) > UNSENT_MAX) {
			l->draining = true;
			http_on_drain(l->r, on_drained, l);
		} else {
			env_post(env, &l->pump);
		}
		return;
	}
	if (reopen_if_rotated(l))
		env_post(env, &l->pump);
	else if (!l->follow || !written)
		finish(l);
}

static void on_fs_event(uv_fs_event_t *h, const char *name, int events, int status)
{
	(void)name;
	(void)events;
	(void)status;
	struct log_stream *l = h->data;
	MAGIC_CHECK(l, LOG_MAGIC);
	env_post(l->base.s->n->env, &l->pump);
}

/* The directory is watched, so that a rotated file's successor is seen too. */
static void watch(struct log_stream *l)
{
	_cleanup_free_ char *dir = xstrdup(l->path);
	*strrchr(dir, '/') = 0;
	l->watch = NEW(uv_fs_event_t);
	uv_fs_event_init(l->base.s->n->loop, l->watch);
	l->watch->data = l;
	uv_fs_event_start(l->watch, on_fs_event, dir, 0);
}

/* Offset of the last n lines. */
static off_t tail_offset(int fd, int64_t lines)
{
	char chunk[CHUNK];
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	int64_t seen = 0;
	if (lines == 0)
		return end;
	while (at > 0) {
		size_t n = (size_t)MIN((off_t)sizeof(chunk), at);
		if (pread(fd, chunk, n, at - (off_t)n) != (ssize_t)n)
			return 0;
		for (size_t i = n; i > 0; i--) {
			off_t here = at - (off_t)n + (off_t)i;
			if (chunk[i - 1] == '\n' && here != end && ++seen == lines)
				return here;
		}
		at -= (off_t)n;
	}
	return 0;
}

/* ---- the request ---- */

static bool flag(struct http_request *r, const char *name)
{
	const char *v = http_query(r, name);
	return v && http_query_true(v);
}

/* A number that must not be negative; dflt when absent. False: answered with 400. */
static bool number(struct http_request *r, const char *name, int64_t dflt, int64_t *ret)
{
	const char *v = http_query(r, name);
	*ret = dflt;
	if (!v || (parse_i64(v, ret) == 0 && *ret >= 0))
		return true;
	server_text(r, 400, "invalid %s: \"%s\"\n", name, v);
	return false;
}

static bool since(struct http_request *r, struct env *env, int64_t *ret_us)
{
	int64_t s;
	const char *at = http_query(r, "sinceTime");
	if (!number(r, "sinceSeconds", -1, &s))
		return false;
	*ret_us = s >= 0 ? env_wall_us(env) - MIN(s, 1ll << 40) * 1000000 : 0;
	if (!at || time_parse_us(at, ret_us) == 0)
		return true;
	server_text(r, 400, "invalid sinceTime: \"%s\"\n", at);
	return false;
}

static const struct container_run *chosen_run(struct http_request *r, struct pod_container *c)
{
	const struct container_run *run = NULL;
	if (flag(r, "previous")) {
		/* while it waits to be restarted, the run that ended is the previous one already */
		if (c->cur.ended && c->waiting_reason[0])
			run = &c->cur;
		else if (c->prev.id[0])
			run = &c->prev;
		if (!run)
			server_text(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found\n", c->name,
				    c->pod->name);
		return run;
	}
	run = c->cur.id[0] ? &c->cur : c->prev.id[0] ? &c->prev : NULL;
	if (!run)
		server_text(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s\n", c->name, c->pod->name,
			    c->waiting_reason[0] ? c->waiting_reason : "ContainerCreating");
	return run;
}

void server_logs(struct node_server *s, struct http_request *r, struct pod_container *c)
{
	static const struct http_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
	int64_t tail, limit, since_us;
	if (!number(r, "tailLines", -1, &tail) || !number(r, "limitBytes", -1, &limit) ||
	    !since(r, s->n->env, &since_us))
		return;
	const struct container_run *run = chosen_run(r, c);
	if (!run)
		return;
	char *path = log_path(c, run->attempt);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		server_text(r, 500, "failed to try resolving symlinks in path \"%s\": %s\n", path, strerror(errno));
		free(path);
		return;
	}
	struct log_stream *l = NEW(struct log_stream);
	*l = (struct log_stream){
		.magic = LOG_MAGIC, .r = r, .fd = fd, .path = path, .left = limit, .since_us = since_us};
	l->base = (struct node_stream){.s = s, .gone = on_gone, .kick = on_kick};
	l->pump.fn = on_pump;
	l->uid = xstrdup(c->pod->uid);
	l->container = xstrdup(c->name);
	l->id = xstrdup(run->id);
	l->follow = flag(r, "follow");
	l->timestamps = flag(r, "timestamps");
	list_push(&s->streams, &l->base.node);
	if (tail >= 0)
		lseek(fd, tail_offset(fd, tail), SEEK_SET);
	if (l->follow)
		watch(l);
	http_request_set_data(r, &l->base);
	http_respond_start(r, 200, headers);
	env_post(s->n->env, &l->pump);
}
