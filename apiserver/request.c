/* The life of a request: one struct, one enum of stages, one tick.
 *
 *   QUEUED -> AUTHN -> IMPERSONATE -> AUTHZ -> ROUTE -> DECODE -> LOOK -> CHANGE -> COMMIT -> ANSWER -> DONE
 *     |        ^ |        (401)       (403)  (404, 405) (4xx)      ^        |        | |        ^
 *     +--------+ +- token reviewed     |                            |        |        | |        |
 *   until the server has started       |                            +--------|--------+ |        |
 *                                      |                          compares did not hold |        |
 *                                      |                                     +----------|--------+
 *                                      |                                        nothing to write
 *                                      +-> STREAM (watch, log, exec) -> DONE
 *
 * Any stage may fail: r->err is set and ANSWER follows. Any stage may wait for something submitted. A cancelled request
 * goes no further; its memory goes when the last thing it submitted has come back.
 */
#include "apiserver/request.h"

#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/event_ttl.h"
#include "apiserver/stats.h"

const char *verb_str(enum verb v)
{
	static const char *const names[] = {
		[V_NONE] = "",         [V_GET] = "get",       [V_LIST] = "list",
		[V_WATCH] = "watch",   [V_CREATE] = "create", [V_UPDATE] = "update",
		[V_PATCH] = "patch",   [V_DELETE] = "delete", [V_DELETECOLLECTION] = "deletecollection",
		[V_CONNECT] = "create"};
	return names[v];
}

struct request *request_new(struct apiserver *a, const struct door *door)
{
	struct request *r = NEW(struct request);
	r->magic = REQUEST_MAGIC;
	r->server = a;
	r->door = door;
	r->options.grace_s = -1;
	r->result.remaining = -1;
	r->method = "GET";
	r->started_us = env_now_us(a->env);
	list_init(&r->queue_node);
	list_push(&a->requests, &r->node);
	return r;
}

static void options_done(struct request_options *o)
{
	free(o->label_selector);
	free(o->field_selector);
	free(o->continue_token);
	free(o->rv);
	free(o->rv_match);
	free(o->propagation);
	free(o->pre_uid);
	free(o->pre_rv);
}

static void drop_round(struct request *r)
{
	blob_unref(r->old);
	object_unref(r->old_obj);
	json_decref(r->old_tree);
	json_decref(r->tree);
	object_unref(r->new_obj);
	r->old = NULL;
	r->old_obj = r->new_obj = NULL;
	r->old_tree = r->tree = NULL;
	r->old_rev = 0;
	r->deletes = false;
	plan_clear(&r->plan);
}

static void request_free(struct request *r)
{
	if (r->door->free)
		r->door->free(r);
	if (r->extra_free)
		r->extra_free(r->extra);
	drop_round(r);
	plan_done(&r->plan);
	json_decref(r->body);
	json_decref(r->warnings);
	free(r->key);
	result_done(&r->result);
	options_done(&r->options);
	route_done(&r->route);
	user_unref(r->user);
	user_unref(r->impersonator);
	err_done(&r->err);
	list_del(&r->node);
	list_del(&r->queue_node);
	r->magic = 0;
	free(r);
}

static void release_slot(struct request *r)
{
	if (r->counted_reading)
		r->server->n_reading--;
	if (r->counted_writing)
		r->server->n_writing--;
	r->counted_reading = r->counted_writing = false;
}

static void maybe_free(struct request *r)
{
	if ((r->cancelled || r->finished) && r->pending == 0 && !r->ticking)
		request_free(r);
}

void request_finish(struct request *r)
{
	MUST(!r->finished);
	r->finished = true;
	r->stage = REQUEST_DONE;
	release_slot(r);
	stats_request_done(r);
	maybe_free(r);
}

void request_cancel(struct request *r)
{
	r->cancelled = true;
	r->http = NULL;
	r->stage = REQUEST_DONE;
	release_slot(r);
	list_del(&r->queue_node);
	maybe_free(r);
}

bool request_arrived(struct request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	r->pending--;
	if (!r->cancelled && !r->finished)
		return true;
	maybe_free(r);
	return false;
}

void request_resume(struct request *r, enum request_stage stage)
{
	r->stage = stage;
	request_tick(r);
}

void request_fail(struct request *r, const struct err *err)
{
	err_done(&r->err);
	err_copy(&r->err, err);
	request_resume(r, REQUEST_ANSWER);
}

/* A bound on what is worked on at once; streams and the cluster's own administrators are not counted. */
static int take_slot(struct request *r)
{
	struct apiserver *a = r->server;
	bool writes = r->verb == V_CREATE || r->verb == V_UPDATE || r->verb == V_PATCH || r->verb == V_DELETE ||
		      r->verb == V_DELETECOLLECTION;
	if (r->verb == V_WATCH || r->verb == V_CONNECT || r->counted_reading || r->counted_writing)
		return REQUEST_NEXT;
	if (r->http && (writes ? a->n_writing >= a->max_writing : a->n_reading >= a->max_reading)) {
		err_status(&r->err, ERR_TOO_MANY_REQUESTS, "Too many requests, please try again later.");
		r->err.retry_after_s = 1;
		return r->err.code;
	}
	*(writes ? &a->n_writing : &a->n_reading) += 1;
	*(writes ? &r->counted_writing : &r->counted_reading) = true;
	return REQUEST_NEXT;
}

static int stage_queued(struct request *r)
{
	if (!r->server->started) {
		list_push(&r->server->queued, &r->queue_node);
		return REQUEST_WAIT;
	}
	return take_slot(r);
}

static int stage_route(struct request *r)
{
	if (r->route.is_resource && !r->res)
		return err_status(&r->err, ERR_NOT_FOUND, "the server could not find the requested resource");
	r->handler = handler_find(r);
	if (!r->handler && r->err.code == 0)
		err_status(&r->err, ERR_METHOD_NOT_ALLOWED,
			   "the server does not allow this method on the requested resource");
	return r->handler ? REQUEST_NEXT : r->err.code;
}

static void on_committed(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	int rc;
	if (store_failed(err)) {
		rc = fail_store(r, err);
	} else if (resp->succeeded) {
		r->commit_rev = resp->rev;
		rc = r->handler->committed ? r->handler->committed(r) : REQUEST_NEXT;
	} else {
		rc = r->handler->refused ? r->handler->refused(r, resp) : fail_modified(r);
	}
	enum request_stage next = REQUEST_ANSWER;
	if (rc == REQUEST_LOOK_AGAIN) {
		drop_round(r);
		next = REQUEST_LOOK;
	}
	request_resume(r, next);
}

static int stage_commit(struct request *r)
{
	struct plan *p = &r->plan;
	if (p->n_ops == 0)
		return REQUEST_NEXT;
	if (r->options.dry_run)
		return r->handler->committed ? r->handler->committed(r) : REQUEST_NEXT;
	if (event_ttl(r) == REQUEST_WAIT)
		return REQUEST_WAIT;
	struct store_txn_req req = {.compares = p->compares,
				    .n_compares = p->n_compares,
				    .then_ops = p->ops,
				    .n_then = p->n_ops,
				    .else_ops = p->else_ops,
				    .n_else = p->n_else,
				    .lazy = r->lazy};
	request_submitted(r);
	store_txn(r->server->store, &req, on_committed, r);
	return REQUEST_WAIT;
}

static int run_stage(struct request *r)
{
	const struct handler *h = r->handler;
	switch (r->stage) {
	case REQUEST_QUEUED:
		return stage_queued(r);
	case REQUEST_AUTHN:
		return authn_request(r);
	case REQUEST_IMPERSONATE:
		return authn_impersonate(r);
	case REQUEST_AUTHZ:
		return authz_request(r);
	case REQUEST_ROUTE:
		return stage_route(r);
	case REQUEST_DECODE:
		return h->decode ? h->decode(r) : REQUEST_NEXT;
	case REQUEST_LOOK:
		return h->look ? h->look(r) : REQUEST_NEXT;
	case REQUEST_CHANGE:
		return h->change ? h->change(r) : REQUEST_NEXT;
	case REQUEST_COMMIT:
		return stage_commit(r);
	case REQUEST_ANSWER:
	case REQUEST_STREAM:
	case REQUEST_DONE:
		break;
	}
	return REQUEST_WAIT;
}

/* Move on by what the stage said. False: stop ticking. */
static bool step(struct request *r, bool *ret_answered)
{
	if (r->stage == REQUEST_ANSWER) {
		*ret_answered = r->door->answer(r);
		if (!*ret_answered)
			r->stage = REQUEST_STREAM;
		return false;
	}
	int rc = run_stage(r);
	if (rc == REQUEST_WAIT)
		return false;
	if (rc == REQUEST_STREAMS) {
		if (!r->finished && !r->cancelled)
			r->stage = REQUEST_STREAM;
		release_slot(r);
		return false;
	}
	if (rc == REQUEST_LOOK_AGAIN) {
		drop_round(r);
		r->stage = REQUEST_LOOK;
	} else if (rc == REQUEST_NEXT) {
		r->stage++;
	} else {
		r->stage = REQUEST_ANSWER;
	}
	return true;
}

void request_tick(struct request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	if (r->ticking)
		return;
	bool answered = false;
	r->ticking = true;
	while (!r->cancelled && !r->finished && step(r, &answered))
		;
	r->ticking = false;
	if (answered && !r->cancelled)
		request_finish(r);
	else
		maybe_free(r);
}

void request_start(struct request *r)
{
	r->stage = REQUEST_QUEUED;
	request_tick(r);
}

void request_warn(struct request *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!r->warnings)
		r->warnings = json_array();
	if (json_array_size(r->warnings) < 32)
		json_array_append_new(r->warnings, json_string(text));
}

/* ---- plans ---- */

void plan_expect(struct plan *p, const char *key, enum store_cmp_target target, enum store_cmp_op op, uint64_t number)
{
	GROW(p->compares, p->cap_compares, p->n_compares + 1);
	p->compares[p->n_compares++] = (struct store_cmp){xstrdup(key), target, op, number, NULL};
}

void plan_put(struct plan *p, const char *key, struct blob *value)
{
	GROW(p->ops, p->cap_ops, p->n_ops + 1);
	p->ops[p->n_ops++] = (struct store_op){.type = STORE_PUT, .key = xstrdup(key), .value = blob_ref(value)};
}

void plan_delete(struct plan *p, const char *key)
{
	GROW(p->ops, p->cap_ops, p->n_ops + 1);
	p->ops[p->n_ops++] = (struct store_op){.type = STORE_DELETE, .key = xstrdup(key)};
}

void plan_get_else(struct plan *p, const char *key)
{
	GROW(p->else_ops, p->cap_else, p->n_else + 1);
	p->else_ops[p->n_else++] = (struct store_op){.type = STORE_GET, .key = xstrdup(key)};
}

void plan_clear(struct plan *p)
{
	for (size_t i = 0; i < p->n_compares; i++)
		free((char *)p->compares[i].key);
	for (size_t i = 0; i < p->n_ops; i++) {
		free((char *)p->ops[i].key);
		blob_unref(p->ops[i].value);
	}
	for (size_t i = 0; i < p->n_else; i++)
		free((char *)p->else_ops[i].key);
	p->n_compares = p->n_ops = p->n_else = 0;
}

void plan_done(struct plan *p)
{
	plan_clear(p);
	free(p->compares);
	free(p->ops);
	free(p->else_ops);
	*p = (struct plan){0};
}
