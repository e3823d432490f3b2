/* Copies for an operator: made on request, read piece by piece, and independent of the store once they are there. */
#include <errno.h>

#include "store/cluster.h"
#include "store/snapshot_internal.h"

#define SAVED_MAGIC 0x73617665u
#define READ_MAX    (1u << 20)
#define SAVED_MAX   4u /* at a time: each takes as much room as the state */

struct saved {
	struct store_snapshot base;
	uint32_t magic;
	struct env *env;
	struct copies_home *home; /* it counts there */
	struct copy *copy;
	store_snapshot_cb cb;
	store_snapshot_read_cb read_cb;
	void *arg;
	struct env_work work;
	char *data;
	uint64_t off;
	int64_t n;
	struct env_post refuse;
	bool ours;
};

static void saved_free(struct saved *s)
{
	if (s->home)
		s->home->saved--;
	copies_home_unref(s->home);
	copy__unref(s->copy);
	free(s->data);
	s->magic = 0;
	free(s);
}

static void made(void *arg, struct copy *c)
{
	struct saved *s = arg;
	MAGIC_CHECK(s, SAVED_MAGIC);
	s->copy = c;
	if (!c->result) {
		s->base = (struct store_snapshot){.cluster = c->info.cluster,
						  .rev = c->info.rev,
						  .index = c->info.index,
						  .term = c->info.term,
						  .keys = c->info.keys,
						  .size = copy__bytes(c)};
		s->cb(s->arg, NULL, &s->base);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	if (c->result == -ECANCELED)
		err_status(&err, ERR_CANCELED, "the store is closing");
	else
		err_set(&err, c->result, "a copy of the state cannot be made: %s", strerror(-c->result));
	s->cb(s->arg, &err, NULL);
	saved_free(s);
}

static void refuse(struct env_post *p)
{
	struct saved *s = CONTAINER_OF(p, struct saved, refuse);
	_cleanup_err_ struct err err = ERR_INIT;
	if (!s->ours) {
		err_set(&err, -ENOTSUP, "the store is an external one: take its snapshot with its own tools");
	} else {
		err_status(&err, ERR_TOO_MANY_REQUESTS, "%u copies of the state are made or read just now: try again",
			   SAVED_MAX);
		err.code = -EBUSY;
		err.retry_after_s = 1;
	}
	s->cb(s->arg, &err, NULL);
	saved_free(s);
}

void store_snapshot_make(struct store *store, store_snapshot_cb cb, void *arg)
{
	struct saved *s = NEW(struct saved);
	*s = (struct saved){.magic = SAVED_MAGIC, .env = store->env, .cb = cb, .arg = arg, .refuse = {.fn = refuse}};
	s->ours = store__is_ours(store);
	struct engine *e = s->ours ? engine_of(store) : NULL;
	if (!e || e->snapshots->home->saved == SAVED_MAX) {
		env_post(store->env, &s->refuse);
		return;
	}
	s->home = e->snapshots->home;
	s->home->refs++;
	s->home->saved++;
	copy__make(e, e->applied, made, s);
}

static void read_work(struct env_work *w)
{
	struct saved *s = CONTAINER_OF(w, struct saved, work);
	s->n = copy__read(s->copy, s->data, (size_t)s->n, s->off);
}

static void read_done(struct env_work *w)
{
	struct saved *s = CONTAINER_OF(w, struct saved, work);
	MAGIC_CHECK(s, SAVED_MAGIC);
	_cleanup_err_ struct err err = ERR_INIT;
	_cleanup_free_ char *data = STEAL(s->data);
	if (s->n < 0) {
		err_set(&err, (int)s->n, "the copy of the state cannot be read: %s", strerror((int)-s->n));
		s->read_cb(s->arg, &err, NULL, 0);
		return;
	}
	s->read_cb(s->arg, NULL, data, (size_t)s->n);
}

void store_snapshot_read(struct store_snapshot *sn, uint64_t off, size_t len, store_snapshot_read_cb cb, void *arg)
{
	struct saved *s = CONTAINER_OF(sn, struct saved, base);
	MAGIC_CHECK(s, SAVED_MAGIC);
	MUST(!s->data);
	s->read_cb = cb;
	s->arg = arg;
	s->off = off;
	s->n = (int64_t)MIN(len, (size_t)READ_MAX);
	s->data = xmalloc((size_t)s->n + 1);
	s->work = (struct env_work){.work = read_work, .done = read_done, .lane = ENV_LANE_POOL};
	env_submit(s->env, &s->work);
}

void store_snapshot_free(struct store_snapshot *sn)
{
	if (!sn)
		return;
	struct saved *s = CONTAINER_OF(sn, struct saved, base);
	MAGIC_CHECK(s, SAVED_MAGIC);
	MUST(!s->data);
	saved_free(s);
}
