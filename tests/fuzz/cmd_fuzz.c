/* What a log entry says to the store: bytes that another member wrote, maybe with another program. */
#include "store/cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t touched; /* so that nothing is read in vain */

static void touch(const char *s)
{
	touched += s ? strlen(s) : 0;
}

static void touch_ops(const struct store_op *ops, size_t n)
{
	MUST(!n || ops);
	for (size_t i = 0; i < n; i++) {
		MUST(ops[i].key);
		MUST(ops[i].type != STORE_PUT || ops[i].value);
		touch(ops[i].end);
		touched += ops[i].value ? (size_t)(uint8_t)ops[i].value->data[ops[i].value->len] : 0;
	}
}

static void touch_txn(const struct store_txn_req *t)
{
	MUST(!t->n_compares || t->compares);
	for (size_t i = 0; i < t->n_compares; i++) {
		const struct store_cmp *c = &t->compares[i];
		MUST(c->key && c->target <= STORE_CMP_VALUE && c->op <= STORE_GT);
		touched += c->value ? c->value->len : 0;
	}
	touch_ops(t->then_ops, t->n_then);
	touch_ops(t->else_ops, t->n_else);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_cmd c, again;
	struct err err = ERR_INIT;
	char *bytes = xmalloc(size ? size : 1);
	if (size)
		memcpy(bytes, data, size);
	int rc = store_cmd_decode(&c, bytes, size, &err);
	free(bytes); /* nothing may point into what it was made of */
	if (rc) {
		MUST(rc < 0 && err.code == rc && err.message[0]);
		err_done(&err);
		return 0;
	}
	if (c.kind == CMD_TXN)
		touch_txn(&c.txn);
	for (size_t i = 0; i < c.n_members; i++) {
		touch(c.members[i].name);
		touch(c.members[i].peer);
		touch(c.members[i].api);
	}
	/* what is a transaction can be asked for again, and is the same bytes' meaning */
	if (c.kind == CMD_TXN && store_cmd_from_txn(&again, &c.txn, NULL) == 0) {
		struct store_cmd third;
		MUST(store_cmd_decode(&third, again.bytes.data, again.bytes.len, NULL) == 0);
		MUST(third.txn.n_compares == c.txn.n_compares && third.txn.n_then == c.txn.n_then &&
		     third.txn.n_else == c.txn.n_else);
		touch_txn(&third.txn);
		store_cmd_done(&third);
		store_cmd_done(&again);
	}
	store_cmd_done(&c);
	return 0;
}
