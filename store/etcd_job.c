/* What the engine's user asked for, from its arrival to its answer: a range in pages, a transaction, a number. */
#include <errno.h>

#include "store/cmd.h"
#include "store/etcd_internal.h"

#define FIRST_PAGE  32u        /* how large values are shows with it */
#define PAGE_BYTES  (1u << 20) /* of the next ones */
#define PAGE_MAX    10000u
#define RANGE_BYTES (1u << 30)

enum job_kind { JOB_RANGE, JOB_TXN, JOB_REVISION, JOB_GRANT, JOB_KEEPALIVE, JOB_STATUS };

struct etcd_job {
	struct list node;
	struct etcd *e;
	enum job_kind kind;
	struct etcd_call call;
	union {
		store_range_cb range;
		store_txn_cb txn;
		store_rev_cb number;
		store_status_cb status;
	} cb;
	void *arg;
	struct err *err; /* the answer is this error */
	size_t bytes;
	/* RANGE */
	struct store_range_req req; /* strings owned */
	struct store_kv *kvs;       /* owned keys and values */
	size_t n_kvs, cap_kvs, page, range_bytes;
	uint64_t rev, count;
	/* TXN */
	struct store_cmd cmd;
	uint64_t number; /* REVISION: 0: the header's */
	struct store_status status;
};

static struct etcd_job *job_of(struct etcd_call *c)
{
	return CONTAINER_OF(c, struct etcd_job, call);
}

static struct etcd_job *job_new(struct store *s, enum job_kind kind, void *arg, const char *path)
{
	struct etcd_job *j = NEW(struct etcd_job);
	j->e = etcd_of(s);
	j->kind = kind;
	j->arg = arg;
	list_push(&j->e->jobs, &j->node);
	etcd_call_init(&j->call, j->e, path);
	return j;
}

static void drop_kvs(struct etcd_job *j)
{
	for (size_t i = 0; i < j->n_kvs; i++) {
		free((char *)j->kvs[i].key);
		blob_unref(j->kvs[i].value);
	}
	j->n_kvs = 0;
	j->range_bytes = 0;
}

static void job_free(struct etcd_job *j)
{
	list_del(&j->node);
	j->e->queued_bytes -= j->bytes;
	etcd_call_done(&j->call);
	drop_kvs(j);
	free(j->kvs);
	free((char *)j->req.key);
	free((char *)j->req.end);
	store_cmd_done(&j->cmd);
	if (j->err)
		err_done(j->err);
	free(j->err);
	free(j);
}

static void answer_error(struct etcd_job *j, const struct err *err)
{
	switch (j->kind) {
	case JOB_RANGE:
		j->cb.range(j->arg, err, NULL);
		break;
	case JOB_TXN:
		j->cb.txn(j->arg, err, NULL);
		break;
	case JOB_STATUS:
		j->cb.status(j->arg, err, NULL);
		break;
	case JOB_REVISION:
	case JOB_GRANT:
	case JOB_KEEPALIVE:
		if (j->cb.number)
			j->cb.number(j->arg, err, 0);
		break;
	}
	job_free(j);
}

/* Not inside the call that asked. */
static void refuse(struct etcd_job *j, const struct err *err)
{
	j->err = NEW(struct err);
	err_copy(j->err, err);
	list_del(&j->node);
	list_push(&j->e->answers, &j->node);
	env_post(j->e->env, &j->e->pump);
}

void etcd_answers(struct etcd *e)
{
	struct list now, *n;
	list_init(&now);
	while ((n = list_pop(&e->answers))) /* what an answer asks for, and is refused too, is for the next turn */
		list_push(&now, n);
	while ((n = list_pop(&now))) {
		struct etcd_job *j = LIST_ENTRY(n, struct etcd_job, node);
		struct err *err = STEAL(j->err);
		answer_error(j, err);
		err_done(err);
		free(err);
	}
}

void etcd_cancel_jobs(struct etcd *e, const struct err *err)
{
	struct list *n;
	while ((n = list_pop(&e->jobs))) {
		struct etcd_job *j = LIST_ENTRY(n, struct etcd_job, node);
		etcd_call_stop(&j->call);
		answer_error(j, err);
	}
}

static void submit(struct etcd_job *j)
{
	struct etcd *e = j->e;
	_cleanup_err_ struct err err = ERR_INIT;
	size_t bytes = j->call.body.len + sizeof(*j);
	if (e->closing) {
		err_status(&err, ERR_CANCELED, "the store is closing");
	} else if (e->queued_bytes + bytes > ETCD_QUEUE_MAX) {
		err_status(&err, ERR_TOO_MANY_REQUESTS, "too much waits for etcd's answer");
		err.retry_after_s = 1;
	}
	if (err.code) {
		refuse(j, &err);
		return;
	}
	j->bytes = bytes;
	e->queued_bytes += bytes;
	etcd_call_begin(&j->call);
}

/* The body: fields as they are added, then this. */
static void body_end(struct buf *b)
{
	if (b->data[b->len - 1] == ',')
		b->data[--b->len] = '\0';
	buf_addc(b, '}');
}

/* ---- range ---- */

static void ask_page(struct etcd_job *j, bool first)
{
	const struct store_range_req *q = &j->req;
	struct buf *b = &j->call.body;
	buf_clear(b);
	buf_addc(b, '{');
	if (first) {
		etcd_add_key(b, j->e, "key", q->key);
	} else { /* behind the last one: itself and a NUL */
		_cleanup_free_ char *last = xasprintf("%s%s", j->e->prefix, j->kvs[j->n_kvs - 1].key);
		etcd_add_bytes(b, "key", last, strlen(last) + 1);
	}
	if (q->end)
		etcd_add_end(b, j->e, q->end);
	if (j->rev)
		etcd_add_number(b, "revision", j->rev);
	if (q->count_only) {
		buf_adds(b, "\"count_only\":true,");
	} else if (q->end) {
		size_t left = q->limit ? q->limit - j->n_kvs : SIZE_MAX;
		etcd_add_number(b, "limit", MIN(left, j->page));
	}
	if (q->keys_only)
		buf_adds(b, "\"keys_only\":true,");
	if (q->serializable)
		buf_adds(b, "\"serializable\":true,");
	body_end(b);
}

static void take_page(struct etcd_job *j)
{
	struct etcd_msg *m = &j->call.msg;
	GROW(j->kvs, j->cap_kvs, j->n_kvs + m->n_items);
	for (size_t i = 0; i < m->n_items; i++) {
		struct store_kv *kv = &j->kvs[j->n_kvs++];
		*kv = m->items[i].kv;
		m->items[i].kv = (struct store_kv){0};
		if (!kv->value && !j->req.keys_only)
			kv->value = blob_new("", 0);
		j->range_bytes += sizeof(*kv) + strlen(kv->key) + (kv->value ? kv->value->len : 0);
	}
}

static void range_done(struct etcd_call *c, const struct err *err)
{
	struct etcd_job *j = job_of(c);
	const struct store_range_req *q = &j->req;
	bool first = !j->n_kvs;
	if (err->code == -ERANGE && !first) {
		/* a serializable page from a server that lags behind the first one's: all over again */
		drop_kvs(j);
		j->rev = 0;
		ask_page(j, true);
		etcd_call_begin(c);
		return;
	}
	if (err->code) {
		answer_error(j, err);
		return;
	}
	size_t before = j->n_kvs;
	take_page(j);
	if (first) {
		j->rev = q->rev ? q->rev : c->msg.rev;
		j->count = c->msg.count;
	}
	bool more = c->msg.more && j->n_kvs > before && (!q->limit || j->n_kvs < q->limit);
	if (more && j->range_bytes > RANGE_BYTES) {
		_cleanup_err_ struct err large = ERR_INIT;
		err_set(&large, -EFBIG, "the range is larger than %u bytes: ask for it with a limit", RANGE_BYTES);
		answer_error(j, &large);
	} else if (more) {
		size_t fit = PAGE_BYTES / (j->range_bytes / j->n_kvs + 1);
		j->page = MIN(MIN(j->page * 8, PAGE_MAX), MAX(fit, 1));
		ask_page(j, false);
		etcd_call_begin(c);
	} else {
		struct store_range_resp resp = {.rev = j->rev,
						.kvs = j->kvs,
						.n_kvs = j->n_kvs,
						.count = j->count,
						.more = !q->count_only && j->count > j->n_kvs};
		j->cb.range(j->arg, NULL, &resp);
		job_free(j);
	}
}

void etcd_range(struct store *s, const struct store_range_req *req, store_range_cb cb, void *arg)
{
	struct etcd_job *j = job_new(s, JOB_RANGE, arg, "/v3/kv/range");
	j->cb.range = cb;
	j->req = *req;
	j->req.key = xstrdup(req->key);
	j->req.end = req->end ? xstrdup(req->end) : NULL;
	j->rev = req->rev;
	j->page = FIRST_PAGE;
	j->call.done = range_done;
	ask_page(j, true);
	submit(j);
}

/* ---- transaction ---- */

static void add_compare(struct buf *b, const struct etcd *e, const struct store_cmp *c)
{
	static const char *const targets[] = {"MOD", "CREATE", "VERSION", "VALUE"};
	static const char *const fields[] = {"mod_revision", "create_revision", "version"};
	static const char *const ops[] = {"EQUAL", "NOT_EQUAL", "LESS", "GREATER"};
	buf_addf(b, "{\"target\":\"%s\",\"result\":\"%s\",", targets[c->target], ops[c->op]);
	etcd_add_key(b, e, "key", c->key);
	if (c->target != STORE_CMP_VALUE)
		etcd_add_number(b, fields[c->target], c->number);
	else
		etcd_add_bytes(b, "value", c->value ? c->value->data : "", c->value ? c->value->len : 0);
	body_end(b);
	buf_addc(b, ',');
}

static void add_op(struct buf *b, const struct etcd *e, const struct store_op *o)
{
	buf_adds(b, o->type == STORE_PUT   ? "{\"request_put\":{"
		    : o->type == STORE_GET ? "{\"request_range\":{"
					   : "{\"request_delete_range\":{");
	etcd_add_key(b, e, "key", o->key);
	if (o->type == STORE_DELETE_RANGE)
		etcd_add_end(b, e, o->end);
	if (o->type == STORE_PUT) {
		etcd_add_bytes(b, "value", o->value->data, o->value->len);
		if (o->lease)
			etcd_add_number(b, "lease", o->lease);
	}
	if (o->type != STORE_GET)
		buf_adds(b, "\"prev_kv\":true,");
	body_end(b);
	buf_adds(b, "},");
}

static void list_end(struct buf *b)
{
	if (b->data[b->len - 1] == ',')
		b->data[--b->len] = '\0';
	buf_adds(b, "],");
}

static void add_ops(struct buf *b, const struct etcd *e, const char *name, const struct store_op *ops, size_t n)
{
	buf_addf(b, "\"%s\":[", name);
	for (size_t i = 0; i < n; i++)
		add_op(b, e, &ops[i]);
	list_end(b);
}

static void txn_body(struct etcd_job *j)
{
	const struct store_txn_req *t = &j->cmd.txn;
	struct buf *b = &j->call.body;
	buf_adds(b, "{\"compare\":[");
	for (size_t i = 0; i < t->n_compares; i++)
		add_compare(b, j->e, &t->compares[i]);
	list_end(b);
	add_ops(b, j->e, "success", t->then_ops, t->n_then);
	add_ops(b, j->e, "failure", t->else_ops, t->n_else);
	body_end(b);
}

struct results {
	struct store_kv *kvs;
	size_t n, cap;
};

static void add_result(struct results *r, const struct store_kv *kv, const char *key, struct blob *empty)
{
	GROW(r->kvs, r->cap, r->n + 1);
	r->kvs[r->n] = kv ? *kv : (struct store_kv){.key = key};
	if (kv && !kv->value)
		r->kvs[r->n].value = empty;
	r->n++;
}

static void txn_done(struct etcd_call *c, const struct err *err)
{
	struct etcd_job *j = job_of(c);
	const struct etcd_msg *m = &c->msg;
	if (err->code) {
		answer_error(j, err);
		return;
	}
	const struct store_op *ops = m->succeeded ? j->cmd.txn.then_ops : j->cmd.txn.else_ops;
	size_t n = m->succeeded ? j->cmd.txn.n_then : j->cmd.txn.n_else, at = 0;
	struct results got = {0}, prev = {0};
	_cleanup_blob_ struct blob *empty = blob_new("", 0);
	for (size_t i = 0; i < n; i++) {
		struct results *r = ops[i].type == STORE_GET ? &got : &prev;
		size_t before = r->n;
		for (; at < m->n_items && m->items[at].n == i; at++)
			add_result(r, &m->items[at].kv, NULL, empty);
		if (r->n == before && ops[i].type != STORE_DELETE_RANGE)
			add_result(r, NULL, ops[i].key, NULL);
	}
	struct store_txn_resp resp = {.succeeded = m->succeeded,
				      .rev = m->rev,
				      .got = got.kvs,
				      .n_got = got.n,
				      .prev = prev.kvs,
				      .n_prev = prev.n};
	j->cb.txn(j->arg, NULL, &resp);
	free(got.kvs);
	free(prev.kvs);
	job_free(j);
}

static bool only_reads(const struct store_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].type != STORE_GET)
			return false;
	return true;
}

void etcd_txn(struct store *s, const struct store_txn_req *req, store_txn_cb cb, void *arg)
{
	struct etcd_job *j = job_new(s, JOB_TXN, arg, "/v3/kv/txn");
	_cleanup_err_ struct err err = ERR_INIT;
	j->cb.txn = cb;
	j->call.done = txn_done;
	j->call.write = !only_reads(req->then_ops, req->n_then) || !only_reads(req->else_ops, req->n_else);
	if (store_cmd_from_txn(&j->cmd, req, &err)) {
		refuse(j, &err);
		return;
	}
	txn_body(j);
	submit(j);
}

/* ---- compaction and leases ---- */

static void number_done(struct etcd_call *c, const struct err *err)
{
	struct etcd_job *j = job_of(c);
	const struct etcd_msg *m = &c->msg;
	_cleanup_err_ struct err gone = ERR_INIT;
	if (!err->code && j->kind == JOB_KEEPALIVE && !m->ttl)
		err_set(&gone, -ENOENT, "the requested lease was not found");
	if (err->code || gone.code) {
		answer_error(j, err->code ? err : &gone);
		return;
	}
	if (j->kind == JOB_REVISION && j->number)
		j->e->compacted = MAX(j->e->compacted, j->number);
	uint64_t value = j->kind == JOB_KEEPALIVE ? m->ttl
			 : j->kind == JOB_GRANT   ? m->lease
			 : j->number              ? j->number
						  : m->rev;
	if (j->cb.number)
		j->cb.number(j->arg, NULL, value);
	job_free(j);
}

static struct etcd_job *number_new(struct store *s, enum job_kind kind, const char *path, const char *field,
				   uint64_t number, store_rev_cb cb, void *arg)
{
	struct etcd_job *j = job_new(s, kind, arg, path);
	j->cb.number = cb;
	j->call.done = number_done;
	j->call.write = kind != JOB_KEEPALIVE;
	buf_addc(&j->call.body, '{');
	etcd_add_number(&j->call.body, field, number);
	body_end(&j->call.body);
	return j;
}

void etcd_compact(struct store *s, uint64_t rev, store_rev_cb cb, void *arg)
{
	struct etcd_job *j = number_new(s, JOB_REVISION, "/v3/kv/compaction", "revision", rev, cb, arg);
	j->number = rev;
	submit(j);
}

void etcd_lease_grant(struct store *s, uint64_t ttl_s, store_rev_cb cb, void *arg)
{
	struct etcd_job *j = number_new(s, JOB_GRANT, "/v3/lease/grant", "TTL", ttl_s, cb, arg);
	if (ttl_s) {
		submit(j);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -EINVAL, "a lease lives at least one second");
	refuse(j, &err);
}

void etcd_lease_keepalive(struct store *s, uint64_t lease, store_rev_cb cb, void *arg)
{
	submit(number_new(s, JOB_KEEPALIVE, "/v3/lease/keepalive", "ID", lease, cb, arg));
}

void etcd_lease_revoke(struct store *s, uint64_t lease, store_rev_cb cb, void *arg)
{
	submit(number_new(s, JOB_REVISION, "/v3/lease/revoke", "ID", lease, cb, arg));
}

/* ---- status: what etcd says of itself, then a read that needs its quorum ---- */

static void status_counted(struct etcd_call *c, const struct err *err)
{
	struct etcd_job *j = job_of(c);
	j->status.has_quorum = !err->code;
	if (!err->code) {
		j->status.rev = c->msg.rev;
		j->status.keys = c->msg.count;
	}
	j->cb.status(j->arg, NULL, &j->status);
	job_free(j);
}

static void status_done(struct etcd_call *c, const struct err *err)
{
	struct etcd_job *j = job_of(c);
	const struct etcd_msg *m = &c->msg;
	if (err->code) {
		answer_error(j, err);
		return;
	}
	j->status = (struct store_status){.rev = m->rev,
					  .compacted_rev = j->e->compacted,
					  .raft_term = m->term,
					  .raft_index = m->raft_index,
					  .applied_index = m->applied_index,
					  .leader_id = m->leader,
					  .member_id = m->member,
					  .cluster_id = m->cluster,
					  .is_leader = m->leader && m->leader == m->member,
					  .read_only = m->no_space,
					  .state_bytes = m->db_size,
					  .engine = "etcd"};
	snprintf(j->status.version, sizeof(j->status.version), "%s", m->version);
	struct buf *b = &j->call.body;
	buf_clear(b);
	buf_addc(b, '{');
	etcd_add_key(b, j->e, "key", "");
	etcd_add_end(b, j->e, "");
	buf_adds(b, "\"count_only\":true}");
	c->path = "/v3/kv/range";
	c->done = status_counted;
	etcd_call_begin(c);
}

void etcd_status(struct store *s, store_status_cb cb, void *arg)
{
	struct etcd_job *j = job_new(s, JOB_STATUS, arg, "/v3/maintenance/status");
	j->cb.status = cb;
	j->call.done = status_done;
	buf_adds(&j->call.body, "{}");
	submit(j);
}
