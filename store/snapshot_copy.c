/* Copies of the state: made in the pool with a connection of their own, read as the bytes of a snapshot's file. */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "store/snapshot_internal.h"
#include "version.h"

#define READ_SIZE 262144u

static char *path_of(struct engine *e, uint64_t id)
{
	const char *state = e->snapshots->state_path;
	return xasprintf("%.*scopy-%016" PRIx64 ".db", (int)(strrchr(state, '/') - state + 1), state, id);
}

/* Bytes of the stream from off on that lie in [at, at + size) of it and are in memory. */
static size_t from_memory(const void *data, uint64_t at, size_t size, void *buf, size_t len, uint64_t off)
{
	if (off < at || off >= at + size)
		return 0;
	size_t n = MIN(len, (size_t)(at + size - off));
	memcpy(buf, (const char *)data + (off - at), n);
	return n;
}

static int64_t from_file(const struct copy *c, void *buf, size_t len, uint64_t off)
{
	uint64_t end = SNAPSHOT_FILE_HEADER + c->info.data_bytes;
	if (off < SNAPSHOT_FILE_HEADER || off >= end)
		return 0;
	size_t n = (size_t)MIN((uint64_t)len, end - off);
	int64_t got = c->disk->ops->pread(c->file, buf, n, off - SNAPSHOT_FILE_HEADER);
	return got < 0 ? got : (size_t)got < n ? -EIO : got;
}

int64_t copy__read(const struct copy *c, void *buf, size_t len, uint64_t off)
{
	size_t done = from_memory(c->header, 0, sizeof(c->header), buf, len, off);
	int64_t n = from_file(c, (char *)buf + done, len - done, off + done);
	if (n < 0)
		return n;
	done += (size_t)n;
	return (int64_t)(done + from_memory(c->info.sha256, SNAPSHOT_FILE_HEADER + c->info.data_bytes, SHA256_SIZE,
					    (char *)buf + done, len - done, off + done));
}

static int sum(const struct copy *c, uint8_t ret[SHA256_SIZE])
{
	_cleanup_free_ char *buf = xmalloc(READ_SIZE);
	struct sha256_ctx *sha = sha256_new();
	uint64_t end = SNAPSHOT_FILE_HEADER + c->info.data_bytes;
	int64_t n = 0;
	for (uint64_t off = 0; off < end && n >= 0; off += (uint64_t)n) {
		n = copy__read(c, buf, (size_t)MIN(end - off, (uint64_t)READ_SIZE), off);
		if (n > 0)
			sha256_update(sha, buf, (size_t)n);
	}
	sha256_final(sha, ret);
	return n < 0 ? (int)n : 0;
}

int copy__verify(const struct copy *c)
{
	uint8_t now[SHA256_SIZE];
	int rc = sum(c, now);
	return rc ? rc : memcmp(now, c->info.sha256, sizeof(now)) == 0 ? 0 : -EUCLEAN;
}

static int make(struct copy *c)
{
	int rc = state__copy(c->disk, c->state_path, c->path, &c->meta, &c->info.keys);
	if (!rc)
		rc = c->disk->ops->open(c->disk, c->path, false, &c->file);
	int64_t size = rc ? rc : c->disk->ops->size(c->file);
	if (size < 0)
		return (int)size;
	c->info.cluster = c->meta.cluster;
	c->info.rev = c->meta.rev;
	c->info.index = c->meta.applied;
	c->info.term = c->meta.applied_term;
	c->info.data_bytes = (uint64_t)size;
	snprintf(c->info.program, sizeof(c->info.program), "%s", MINI_VERSION);
	snapshot_file_put_header(&c->info, c->header);
	return sum(c, c->info.sha256);
}

static void work(struct env_work *w)
{
	struct copy *c = CONTAINER_OF(w, struct copy, work);
	c->result = failpoint_error(SNAPSHOT_COPY);
	if (!c->result)
		c->result = make(c);
	failpoint(SNAPSHOT_COPIED);
}

static void finish(struct copy *c)
{
	list_del(&c->node);
	c->phase = c->result ? COPY_FAILED : COPY_READY;
	c->done(c->arg, c);
}

static void made(struct env_work *w)
{
	struct copy *c = CONTAINER_OF(w, struct copy, work);
	struct engine *e = c->home->engine;
	MAGIC_CHECK(e, ENGINE_MAGIC);
	e->snapshots->making--;
	e->snapshots->works--;
	finish(c);
	env_post(e->env, &e->pump);
}

struct copy *copy__make(struct engine *e, uint64_t need, void (*done)(void *arg, struct copy *c), void *arg)
{
	struct copy *c = NEW(struct copy);
	c->refs = 1;
	c->home = e->snapshots->home;
	c->home->refs++;
	c->env = e->env;
	c->disk = e->disk;
	c->need = need;
	c->done = done;
	c->arg = arg;
	c->id = env_random_u64(e->env) | 1;
	c->path = path_of(e, c->id);
	c->state_path = xstrdup(e->snapshots->state_path);
	c->info.time_us = env_wall_us(e->env);
	c->work = (struct env_work){.work = work, .done = made, .lane = ENV_LANE_POOL};
	list_push(&e->snapshots->copies, &c->node);
	env_post(e->env, &e->pump);
	return c;
}

void copies_home_unref(struct copies_home *h)
{
	if (h && --h->refs == 0)
		free(h);
}

/* A large file takes its time to go. */
static void delete (struct env_work *w)
{
	struct copy *c = CONTAINER_OF(w, struct copy, work);
	c->disk->ops->close(STEAL(c->file));
	c->disk->ops->unlink(c->disk, c->path);
}

static void deleted(struct env_work *w)
{
	struct copy *c = CONTAINER_OF(w, struct copy, work);
	struct engine *e = c->home->engine;
	if (e) {
		e->snapshots->works--;
		env_post(e->env, &e->pump);
	}
	copies_home_unref(c->home);
	free(c->path);
	free(c->state_path);
	free(c);
}

void copy__unref(struct copy *c)
{
	if (!c || --c->refs)
		return;
	MUST(c->phase == COPY_READY || c->phase == COPY_FAILED);
	if (!c->home->engine) { /* nobody would wait for the pool */
		delete (&c->work);
		deleted(&c->work);
		return;
	}
	c->home->engine->snapshots->works++;
	c->work = (struct env_work){.work = delete, .done = deleted, .lane = ENV_LANE_POOL};
	env_submit(c->env, &c->work);
}

static void begin(struct engine *e, struct copy *c)
{
	c->phase = COPY_MADE;
	e->snapshots->making++;
	e->snapshots->works++;
	env_submit(e->env, &c->work);
}

void copies__pump(struct engine *e)
{
	LIST_EACH (&e->snapshots->copies, c, struct copy, node) {
		if (c->phase != COPY_WAITS)
			continue;
		if (e->failed || e->closing)
			c->result = -ECANCELED;
		else if (e->state_full)
			c->result = -ENOSPC;
		if (c->result)
			finish(c);
		else if (snapshot__installing(e))
			return;
		else if (e->state_applied >= c->need)
			begin(e, c);
		else
			e->state_due = true;
	}
}
