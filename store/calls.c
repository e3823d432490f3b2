/* Calls: how they are made, refused and answered. */
#include <errno.h>

#include "store/engine.h"

struct call *call__new(struct engine *e, enum call_kind kind, void *arg)
{
	struct call *c = NEW(struct call);
	list_init(&c->node);
	c->kind = kind;
	c->arg = arg;
	c->since_us = env_now_us(e->env);
	return c;
}

void call__free(struct call *c)
{
	store_cmd_done(&c->cmd);
	free((char *)c->range.key);
	free((char *)c->range.end);
	if (c->err)
		err_done(c->err);
	free(c->err);
	free(c);
}

void call__refuse(struct engine *e, struct call *c, const struct err *err)
{
	c->err = NEW(struct err);
	err_copy(c->err, err);
	list_push(&e->answers, &c->node);
	env_post(e->env, &e->pump);
}

void call__answer_error(struct call *c, const struct err *err)
{
	switch (c->kind) {
	case CALL_TXN:
	case CALL_READ_TXN:
		c->cb.txn(c->arg, err, NULL);
		break;
	case CALL_RANGE:
		c->cb.range(c->arg, err, NULL);
		break;
	case CALL_NUMBER:
	case CALL_KEEPALIVE:
		if (c->cb.number)
			c->cb.number(c->arg, err, 0);
		break;
	case CALL_STATUS:
		c->cb.status(c->arg, err, NULL);
		break;
	case CALL_MEMBERS:
		c->cb.members(c->arg, err, NULL);
		break;
	}
	call__free(c);
}

void call__answer_txn(struct call *c, const struct store_txn_resp *resp)
{
	c->cb.txn(c->arg, NULL, resp);
	call__free(c);
}

void call__answer_number(struct call *c, uint64_t value)
{
	if (c->cb.number)
		c->cb.number(c->arg, NULL, value);
	call__free(c);
}

int call__admit(struct engine *e, size_t bytes, struct err *err)
{
	if (e->closing)
		return err_status(err, ERR_CANCELED, "the store is closing");
	if (e->failed)
		return err_set(err, -EIO, "the store has stopped: %s", e->fatal->message);
	if (bytes && e->read_only)
		return err_set(err, -ENOSPC,
			       "the store's disk is full: it only answers reads until there is room again");
	if (bytes && e->queued_bytes + bytes > ENGINE_QUEUE_MAX) {
		err_status(err, ERR_TOO_MANY_REQUESTS, "the store has too many writes waiting");
		if (err)
			err->retry_after_s = 1;
		return -EBUSY;
	}
	return 0;
}

int call__witness_err(struct err *err)
{
	return err_status(err, ERR_SERVICE_UNAVAILABLE,
			  "this member is a witness: it votes, but keeps no data. Ask another one");
}

static int check_role(const struct engine *e, const struct call *c, struct err *err)
{
	if (!e->witness || c->own || c->kind == CALL_MEMBERS)
		return 0;
	return call__witness_err(err);
}

void call__submit_read(struct engine *e, struct call *c)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (check_role(e, c, &err) || call__admit(e, 0, &err)) {
		call__refuse(e, c, &err);
		return;
	}
	list_push(&e->reads, &c->node);
	env_post(e->env, &e->pump);
}

void call__submit(struct engine *e, struct call *c)
{
	_cleanup_err_ struct err err = ERR_INIT;
	size_t bytes = c->cmd.bytes.len + sizeof(*c);
	if (check_role(e, c, &err) || call__admit(e, bytes, &err)) {
		call__refuse(e, c, &err);
		return;
	}
	c->bytes = bytes;
	e->queued_bytes += bytes;
	if (c->lazy) {
		list_push(&e->lazy, &c->node);
		if (!env_timer_active(&e->lazy_timer))
			env_timer_start(e->env, &e->lazy_timer, ENGINE_LAZY_US);
		return;
	}
	list_push(&e->waiting, &c->node);
	env_post(e->env, &e->pump);
}
