/* Sending: pieces of one copy, shared by all members that lag, for as long as it holds enough. */
#include <errno.h>

#include "lib/core/failpoint.h"
#include "store/snapshot_internal.h"

static void stream_end(struct stream *s)
{
	list_del(&s->node);
	copy__unref(s->copy);
	free(s->piece);
	free(s);
}

static void refuse(struct engine *e, struct stream *s)
{
	raft_chunk_failed(e->raft, s->wanted.peer);
	stream_end(s);
}

/* The one that is sent lives on while somebody reads from it; nobody new does. */
static void forget(struct engine *e)
{
	struct snapshots *sn = e->snapshots;
	if (sn->sent && sn->sent->phase != COPY_WAITS && sn->sent->phase != COPY_MADE)
		copy__unref(STEAL(sn->sent));
}

static void answer(struct engine *e, struct stream *s)
{
	const struct copy *c = s->copy;
	uint64_t off = s->wanted.offset;
	int rc = s->n < 0 ? (int)s->n
			  : raft_send_chunk(e->raft, s->wanted.peer,
					    &(struct raft_chunk){.id = c->id,
								 .index = c->info.index,
								 .term = c->info.term,
								 .membership = &c->meta.membership,
								 .offset = off,
								 .len = (size_t)s->n,
								 .data = s->piece,
								 .last = off + (uint64_t)s->n >= copy__bytes(c)});
	if (s->n < 0 && e->snapshots->sent == c) /* damaged where it lies: the next try is of another one */
		forget(e);
	if (rc && rc != -EAGAIN)
		raft_chunk_failed(e->raft, s->wanted.peer);
	stream_end(s);
}

static void read_piece(struct env_work *w)
{
	struct stream *s = CONTAINER_OF(w, struct stream, work);
	size_t max = s->n > 0 ? (size_t)s->n : SNAPSHOT_PIECE;
	s->piece = xmalloc(max);
	int rc = failpoint_error(SNAPSHOT_READ);
	if (!rc && s->again)
		rc = copy__verify(s->copy);
	s->n = rc ? rc : copy__read(s->copy, s->piece, max, s->wanted.offset);
}

static void piece_read(struct env_work *w)
{
	struct stream *s = CONTAINER_OF(w, struct stream, work);
	struct engine *e = s->engine;
	MAGIC_CHECK(e, ENGINE_MAGIC);
	e->snapshots->works--;
	e->snapshots->sent_us = env_now_us(e->env);
	if (e->failed)
		stream_end(s);
	else
		answer(e, s);
	env_post(e->env, &e->pump);
}

static void serve(struct engine *e, struct stream *s, struct copy *c)
{
	s->again = s->wanted.id == c->id && !s->wanted.offset;
	if (s->wanted.id != c->id) /* another one, or none yet: from the start */
		s->wanted.offset = 0;
	c->refs++;
	s->copy = c;
	s->n = (int64_t)e->sizes.snapshot_piece;
	s->work = (struct env_work){.work = read_piece, .done = piece_read, .lane = ENV_LANE_POOL};
	e->snapshots->sent_us = env_now_us(e->env);
	e->snapshots->works++;
	failpoint(SNAPSHOT_SEND);
	env_submit(e->env, &s->work);
}

static void copy_done(void *arg, struct copy *c)
{
	struct engine *e = arg;
	LIST_EACH (&e->snapshots->streams, s, struct stream, node) {
		if (s->copy)
			continue;
		/* without a configuration: this member joined lately, and has applied none */
		if (c->result || e->failed || !c->meta.has_membership || !c->meta.membership.n_members)
			refuse(e, s);
		else
			serve(e, s, c);
	}
	if (c->result)
		forget(e);
	env_post(e->env, &e->pump);
}

static void idle(struct env_timer *t)
{
	struct snapshots *sn = CONTAINER_OF(t, struct snapshots, idle);
	struct engine *e = sn->engine;
	uint64_t limit = e->sizes.snapshot_idle_us, since = env_now_us(e->env) - sn->sent_us;
	if (since >= limit && list_empty(&sn->streams)) {
		forget(e);
		env_post(e->env, &e->pump); /* the log need not wait for it any more */
	}
	if (sn->sent)
		env_timer_start(e->env, t, since < limit ? limit - since : limit);
}

void snapshot__wanted(struct engine *e, const struct raft_chunk_wanted *w)
{
	struct snapshots *sn = e->snapshots;
	struct stream *s = NEW(struct stream);
	*s = (struct stream){.engine = e, .wanted = *w};
	list_push(&sn->streams, &s->node);
	struct copy *c = sn->sent;
	if (c && c->phase == COPY_READY && c->info.index >= w->at_least) {
		serve(e, s, c);
		return;
	}
	forget(e);
	if (sn->sent) /* one is being made; if it holds too little this one is told, and asks again */
		return;
	sn->sent_us = env_now_us(e->env);
	sn->sent_floor = MAX(e->state_applied, w->at_least);
	sn->sent = copy__make(e, w->at_least, copy_done, e);
	sn->idle.fn = idle;
	env_timer_start(e->env, &sn->idle, e->sizes.snapshot_idle_us);
}

uint64_t snapshot__keeps(const struct engine *e)
{
	const struct copy *c = e->snapshots->sent;
	if (!c)
		return UINT64_MAX;
	return c->phase == COPY_READY ? c->info.index : e->snapshots->sent_floor;
}

void send__close(struct engine *e)
{
	struct snapshots *sn = e->snapshots;
	env_timer_stop(e->env, &sn->idle);
	LIST_EACH (&sn->streams, s, struct stream, node)
		stream_end(s);
	forget(e);
}
