/* Applying commands: the same on every member at the same index, so nothing here may look at anything but the
 * revisions, leases and rows of members. */
#include <errno.h>

#include "store/engine.h"

static int compare_number(uint64_t have, enum store_cmp_op op, uint64_t want)
{
	switch (op) {
	case STORE_EQ:
		return have == want;
	case STORE_NE:
		return have != want;
	case STORE_LT:
		return have < want;
	case STORE_GT:
		return have > want;
	}
	return false;
}

static bool holds(const struct mvcc *m, const struct store_cmp *c)
{
	const struct mvcc_rev *v = mvcc_get(m, c->key, UINT64_MAX);
	switch (c->target) {
	case STORE_CMP_MOD_REV:
		return compare_number(v ? v->mod_rev : 0, c->op, c->number);
	case STORE_CMP_CREATE_REV:
		return compare_number(v ? v->create_rev : 0, c->op, c->number);
	case STORE_CMP_VERSION:
		return compare_number(v ? v->version : 0, c->op, c->number);
	case STORE_CMP_VALUE:
		break;
	}
	if (!v || !c->value) /* as etcd: what isn't there compares with no value */
		return false;
	size_t n = MIN(v->value->len, c->value->len);
	int d = memcmp(v->value->data, c->value->data, n);
	if (!d)
		d = v->value->len < c->value->len ? -1 : v->value->len > c->value->len;
	return compare_number(d < 0 ? 0 : d > 0 ? 2 : 1, c->op, 1); /* memcmp says more than -1, 0, 1 */
}

static bool all_hold(const struct mvcc *m, const struct store_txn_req *t)
{
	for (size_t i = 0; i < t->n_compares; i++)
		if (!holds(m, &t->compares[i]))
			return false;
	return true;
}

struct outcome {
	size_t n_got, n_prev;
};

static void add_prev(struct engine *e, struct outcome *o, const char *key, const struct mvcc_rev *old)
{
	GROW(e->prevs, e->cap_prevs, o->n_prev + 1);
	e->prevs[o->n_prev++] = old && old->value ? mvcc_kv(old, false) : (struct store_kv){.key = key};
}

static void add_got(struct engine *e, struct outcome *o, const char *key)
{
	const struct mvcc_rev *v = mvcc_get(&e->mvcc, key, UINT64_MAX);
	GROW(e->kvs, e->cap_kvs, o->n_got + 1);
	e->kvs[o->n_got++] = v ? mvcc_kv(v, false) : (struct store_kv){.key = key};
}

struct names {
	const char **names;
	size_t n, cap;
};

static bool add_name(void *arg, const struct mvcc_rev *v)
{
	struct names *l = arg;
	GROW(l->names, l->cap, l->n + 1);
	l->names[l->n++] = v->key->name;
	return true;
}

static void delete_range(struct engine *e, const struct store_op *op, struct outcome *o)
{
	struct names l = {0};
	mvcc_walk(&e->mvcc, op->key, op->end, UINT64_MAX, add_name, &l);
	for (size_t i = 0; i < l.n; i++) {
		const struct mvcc_rev *v = mvcc_delete(&e->mvcc, l.names[i]);
		lease__attach(e, v);
		add_prev(e, o, v->key->name, v->older);
	}
	free(l.names);
}

static void do_op(struct engine *e, const struct store_op *op, struct outcome *o)
{
	const struct mvcc_rev *v = NULL;
	switch (op->type) {
	case STORE_PUT:
		v = mvcc_put(&e->mvcc, op->key, op->value, op->lease);
		lease__attach(e, v);
		add_prev(e, o, op->key, v->older);
		break;
	case STORE_DELETE:
		v = mvcc_delete(&e->mvcc, op->key);
		if (v)
			lease__attach(e, v);
		add_prev(e, o, op->key, v ? v->older : NULL);
		break;
	case STORE_DELETE_RANGE:
		delete_range(e, op, o);
		break;
	case STORE_GET:
		add_got(e, o, op->key);
		break;
	}
}

/* Refused as a whole, on every member alike: a lease that isn't there, a range too large for one revision. */
static int check(struct engine *e, const struct store_op *ops, size_t n, struct err *err)
{
	uint64_t changes = n;
	for (size_t i = 0; i < n; i++) {
		if (ops[i].type == STORE_PUT && ops[i].lease && !lease__get(e, ops[i].lease))
			return err_set(err, -ENOENT, "the requested lease was not found");
		if (ops[i].type == STORE_DELETE_RANGE)
			changes += mvcc_count(&e->mvcc, ops[i].key, ops[i].end);
	}
	return changes > STORE_SUB_MAX ? err_set(err, -EFBIG, "the transaction changes too many keys") : 0;
}

static struct store_txn_resp run_txn(struct engine *e, const struct store_txn_req *t, bool succeeded)
{
	struct outcome o = {0};
	const struct store_op *ops = succeeded ? t->then_ops : t->else_ops;
	size_t n = succeeded ? t->n_then : t->n_else;
	for (size_t i = 0; i < n; i++)
		do_op(e, &ops[i], &o);
	return (struct store_txn_resp){
		.succeeded = succeeded, .got = e->kvs, .n_got = o.n_got, .prev = e->prevs, .n_prev = o.n_prev};
}

static void end_revision(struct engine *e)
{
	size_t bytes = 0, n = e->mvcc.sub;
	if (!mvcc_end(&e->mvcc))
		return;
	for (size_t i = e->mvcc.n - n; i < e->mvcc.n; i++) {
		const struct mvcc_rev *v = mvcc_at(&e->mvcc, i);
		bytes += sizeof(*v) + (v->value ? v->value->len : 0);
	}
	writer__changed(e, bytes);
	retention__grew(e, bytes);
	watch__dispatch(e, e->mvcc.rev);
}

static void apply_txn(struct engine *e, const struct store_txn_req *t, struct call *call)
{
	_cleanup_err_ struct err err = ERR_INIT;
	bool succeeded = all_hold(&e->mvcc, t);
	int rc = succeeded ? check(e, t->then_ops, t->n_then, &err) : check(e, t->else_ops, t->n_else, &err);
	if (rc) {
		if (call)
			call__answer_error(call, &err);
		return;
	}
	struct store_txn_resp resp = run_txn(e, t, succeeded);
	end_revision(e);
	resp.rev = e->mvcc.rev;
	if (call)
		call__answer_txn(call, &resp);
}

void apply__read_txn(struct engine *e, struct call *call)
{
	struct store_txn_resp resp = run_txn(e, &call->cmd.txn, all_hold(&e->mvcc, &call->cmd.txn));
	resp.rev = e->mvcc.rev;
	call__answer_txn(call, &resp);
}

static void apply_compact(struct engine *e, uint64_t rev, struct call *call)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (rev > e->mvcc.rev)
		err_set(&err, -ERANGE, "cannot compact: the revision is a future one");
	else if (rev <= e->mvcc.compacted)
		err_set(&err, -ESTALE, "the revision has been compacted already");
	if (err.code) {
		if (call)
			call__answer_error(call, &err);
		return;
	}
	mvcc_compact(&e->mvcc, rev);
	writer__changed(e, 1);
	if (call)
		call__answer_number(call, rev);
}

static void apply_renew(struct engine *e, uint64_t id, uint64_t index, struct call *call)
{
	struct lease *l = lease__get(e, id);
	_cleanup_err_ struct err gone = ERR_INIT;
	if (!l)
		err_set(&gone, -ENOENT, "the requested lease was not found");
	else
		lease__renew(e, l, index);
	if (call && l)
		call__answer_number(call, l->ttl_s);
	else if (call)
		call__answer_error(call, &gone);
}

static void apply_grant(struct engine *e, uint64_t ttl_s, uint64_t index, struct call *call)
{
	struct store_state_lease l = {.id = index, .ttl_s = ttl_s}; /* an id nobody else can have */
	lease__add(e, &l);
	writer__lease_changed(e, &l);
	if (call)
		call__answer_number(call, index);
}

static void ended(struct engine *e, uint64_t id)
{
	writer__lease_changed(e, &(struct store_state_lease){.id = id});
	end_revision(e);
}

static void apply_revoke(struct engine *e, uint64_t id, struct call *call)
{
	if (!lease__get(e, id)) {
		_cleanup_err_ struct err gone = ERR_INIT;
		err_set(&gone, -ENOENT, "the requested lease was not found");
		if (call)
			call__answer_error(call, &gone);
		return;
	}
	lease__revoke(e, id);
	ended(e, id);
	if (call)
		call__answer_number(call, e->mvcc.rev);
}

int apply__cmd(struct engine *e, const struct store_cmd *cmd, const struct raft_entry *entry, struct call *call,
	       struct err *err)
{
	switch (cmd->kind) {
	case CMD_TXN:
		apply_txn(e, &cmd->txn, call);
		return 0;
	case CMD_COMPACT:
		apply_compact(e, cmd->number, call);
		return 0;
	case CMD_LEASE_GRANT:
		apply_grant(e, cmd->number, entry->index, call);
		return 0;
	case CMD_LEASE_REVOKE:
		apply_revoke(e, cmd->number, call);
		return 0;
	case CMD_LEASE_RENEW:
		apply_renew(e, cmd->number, entry->index, call);
		return 0;
	case CMD_LEASE_EXPIRE:
		if (lease__expire(e, cmd, entry->term))
			ended(e, cmd->number);
		if (call)
			call__answer_number(call, 0);
		return 0;
	case CMD_CHECK:
	case CMD_HASH:
	case CMD_ALARM:
		check__apply(e, cmd, entry->index);
		if (call)
			call__answer_number(call, 0);
		return 0;
	case CMD_MEMBER_SET:
	case CMD_MEMBER_WISH:
	case CMD_MOVE_LEADER:
	case CMD_ROSTER:
	case CMD_LEVEL:
		roster__apply(e, cmd, entry->term, call);
		return 0;
	}
	return err_set(err, -EPROTO, "a log entry is of no known kind");
}
