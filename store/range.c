/* Ranges: from memory where it reaches back far enough, else from the state in the pool. */
#include <errno.h>

#include "store/engine.h"

struct collect {
	struct engine *e;
	const struct store_range_req *req;
	size_t n;
	uint64_t count;
	bool stop_at_limit, more;
};

static bool collect(void *arg, const struct mvcc_rev *v)
{
	struct collect *c = arg;
	c->count++;
	if (c->req->count_only)
		return true;
	if (c->req->limit && c->n >= c->req->limit) {
		c->more = true;
		return !c->stop_at_limit;
	}
	GROW(c->e->kvs, c->e->cap_kvs, c->n + 1);
	c->e->kvs[c->n++] = mvcc_kv(v, c->req->keys_only);
	return true;
}

static void from_memory(struct engine *e, struct call *call)
{
	const struct store_range_req *q = &call->range;
	struct store_range_resp resp = {.rev = q->rev ? q->rev : e->mvcc.rev};
	bool latest = resp.rev == e->mvcc.rev;
	struct collect c = {.e = e, .req = q, .stop_at_limit = latest};
	if (!(latest && q->count_only))
		mvcc_walk(&e->mvcc, q->key, q->end, resp.rev, collect, &c);
	resp.kvs = e->kvs;
	resp.n_kvs = c.n;
	resp.more = c.more;
	resp.count = latest ? mvcc_count(&e->mvcc, q->key, q->end) : c.count;
	call->cb.range(call->arg, NULL, &resp);
	call__free(call);
}

static void answer_history(struct engine *e, struct history_read *h)
{
	struct call *call = h->call;
	struct store_state_query *q = &h->query;
	_cleanup_err_ struct err err = ERR_INIT;
	if (call->range.rev < e->mvcc.compacted && !BUG(BUG_COMPACTED_READ)) /* it may have gone while we read */
		err_set(&err, -ESTALE, "the required revision has been compacted");
	else if (q->result)
		err_set(&err, q->result, "the state cannot be read: %s", strerror(-q->result));
	if (err.code) {
		call__answer_error(call, &err);
		return;
	}
	GROW(e->kvs, e->cap_kvs, q->n_rows);
	for (size_t i = 0; i < q->n_rows; i++) {
		const struct store_state_row *r = &q->rows[i];
		e->kvs[i] = (struct store_kv){.key = r->key,
					      .value = r->value,
					      .create_rev = r->create_rev,
					      .mod_rev = r->mod_rev,
					      .version = r->version,
					      .lease = r->lease};
	}
	struct store_range_resp resp = {.rev = call->range.rev,
					.kvs = e->kvs,
					.n_kvs = q->n_rows,
					.count = q->count,
					.more = !call->range.count_only && q->count > q->n_rows};
	call->cb.range(call->arg, NULL, &resp);
	call__free(call);
}

static void read_work(struct env_work *w)
{
	store_state_read(&CONTAINER_OF(w, struct history_read, work)->query);
}

static void start_first(struct engine *e);

static void read_done(struct env_work *w)
{
	struct history_read *h = CONTAINER_OF(w, struct history_read, work);
	struct engine *e = h->engine;
	e->history_reading = false;
	list_del(&h->node);
	if (h->call)
		answer_history(e, h);
	else
		watch__history(e, h);
	store_state_query_done(&h->query);
	free(h);
	start_first(e);
	env_post(e->env, &e->pump);
}

static void start_first(struct engine *e)
{
	if (list_empty(&e->history_reads) || e->history_reading || snapshot__installing(e))
		return;
	e->history_reading = true;
	struct history_read *h = LIST_ENTRY(e->history_reads.next, struct history_read, node);
	h->query.reader = e->reader;
	h->work.work = read_work;
	h->work.done = read_done;
	h->work.lane = ENV_LANE_POOL;
	env_submit(e->env, &h->work);
}

/* One at a time: they share one connection, and a burst of them must not take the pool. */
void history__submit(struct engine *e, struct history_read *h)
{
	h->engine = e;
	list_push(&e->history_reads, &h->node);
	start_first(e);
}

void range__resume(struct engine *e)
{
	start_first(e);
}

void range__serve(struct engine *e, struct call *c)
{
	const struct store_range_req *q = &c->range;
	_cleanup_err_ struct err err = ERR_INIT;
	if (q->rev > e->mvcc.rev)
		err_set(&err, -ERANGE, "the required revision is a future one");
	else if (q->rev && q->rev < e->mvcc.compacted && !BUG(BUG_COMPACTED_READ))
		err_set(&err, -ESTALE, "the required revision has been compacted");
	if (err.code) {
		call__answer_error(c, &err);
		return;
	}
	if (!q->rev || mvcc_readable(&e->mvcc, q->rev)) {
		from_memory(e, c);
		return;
	}
	struct history_read *h = NEW(struct history_read);
	h->call = c;
	h->query = (struct store_state_query){.key = xstrdup(q->key),
					      .end = q->end ? xstrdup(q->end) : NULL,
					      .to = q->rev,
					      .limit = q->limit,
					      .keys_only = q->keys_only,
					      .count_only = q->count_only};
	history__submit(e, h);
}
