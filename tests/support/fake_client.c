#include <stdarg.h>

#include "tests/support/fake_priv.h"

static struct fake *fake_of(struct client *c)
{
	struct fake *f = (struct fake *)(void *)c;
	MAGIC_CHECK(f, FAKE_MAGIC);
	return f;
}

/* ---- lists ---- */

static int parse_selectors(const char *labels, const char *fields, struct selector **ret_l,
			   struct field_selector **ret_f, struct err *err)
{
	struct selector *l = NULL;
	if (!str_empty(labels) && selector_parse(labels, &l, err) < 0)
		return err ? err->code : -EINVAL;
	if (!str_empty(fields) && field_selector_parse(fields, ret_f, err) < 0) {
		selector_free(l);
		return err ? err->code : -EINVAL;
	}
	*ret_l = l;
	return 0;
}

static size_t collect(struct fake *f, const struct client_request *r, struct object ***ret, struct err *err)
{
	struct selector *labels = NULL;
	struct field_selector *fields = NULL;
	*ret = NULL;
	if (parse_selectors(r->label_selector, r->field_selector, &labels, &fields, err) < 0)
		return 0;
	struct fake_table *t = fake__table(f, r->kind);
	struct object **v = NEW_N(struct object *, t->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct object *o = t->v[i];
		if (!str_empty(r->ns) && strcmp(o->ns, r->ns) != 0)
			continue;
		if (fake__matches(labels, fields, o))
			v[n++] = object_ref(o);
	}
	selector_free(labels);
	field_selector_free(fields);
	*ret = v;
	return n;
}

static void answer_list(struct fake *f, struct client_call *call, struct client_response *resp)
{
	struct object **v;
	size_t n = collect(f, &call->req, &v, resp->err), from = 0;
	if (!str_empty(call->req.continue_token)) {
		uint64_t u = 0;
		parse_u64(call->req.continue_token, &u);
		from = MIN((size_t)u, n);
	}
	size_t to = n;
	char token[24] = "";
	if (call->req.limit && n - from > call->req.limit) {
		to = from + (size_t)call->req.limit;
		snprintf(token, sizeof(token), "%zu", to);
	}
	resp->items = v ? v + from : NULL;
	resp->n_items = to - from;
	resp->rv = f->rv;
	resp->continue_token = token;
	resp->remaining = *token ? (int64_t)(n - to) : -1;
	call->cb(call->arg, resp);
	for (size_t i = 0; i < n; i++)
		object_unref(v[i]);
	free(v);
}

static void delete_collection(struct fake *f, const struct client_request *r, struct err *err)
{
	struct object **v;
	size_t n = collect(f, r, &v, err);
	for (size_t i = 0; i < n; i++) {
		struct object *o = fake__find(f, r->kind, v[i]->ns, v[i]->name);
		if (o)
			object_unref(fake__delete(f, o, r, err));
		object_unref(v[i]);
	}
	free(v);
}

/* ---- calls ---- */

static void request_done(struct client_request *r)
{
	free((void *)r->ns);
	free((void *)r->name);
	free((void *)r->subresource);
	free((void *)r->label_selector);
	free((void *)r->field_selector);
	free((void *)r->continue_token);
	free((void *)r->resource_version);
	free((void *)r->propagation);
	free((void *)r->precondition_uid);
	free((void *)r->precondition_rv);
	free((void *)r->field_manager);
	json_decref(r->body);
}

static char *dup_str(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static struct client_request request_copy(const struct client_request *r)
{
	struct client_request c = *r;
	c.ns = dup_str(r->ns);
	c.name = dup_str(r->name);
	c.subresource = dup_str(r->subresource);
	c.label_selector = dup_str(r->label_selector);
	c.field_selector = dup_str(r->field_selector);
	c.continue_token = dup_str(r->continue_token);
	c.resource_version = dup_str(r->resource_version);
	c.propagation = dup_str(r->propagation);
	c.precondition_uid = dup_str(r->precondition_uid);
	c.precondition_rv = dup_str(r->precondition_rv);
	c.field_manager = dup_str(r->field_manager);
	c.field_validation = NULL;
	c.body = r->body ? json_deep_copy(r->body) : NULL;
	return c;
}

static struct fake_count *count_of(struct fake *f, enum client_verb verb, const struct kind *k, const char *sub)
{
	for (size_t i = 0; i < f->n_counts; i++)
		if (f->counts[i].verb == verb && f->counts[i].kind == k && streq(f->counts[i].subresource, sub))
			return &f->counts[i];
	GROW(f->counts, f->cap_counts, f->n_counts + 1);
	struct fake_count *n = &f->counts[f->n_counts++];
	*n = (struct fake_count){.verb = verb, .kind = k};
	snprintf(n->subresource, sizeof(n->subresource), "%s", sub);
	return n;
}

static void call__answer(struct env_timer *t)
{
	struct client_call *call = CONTAINER_OF(t, struct client_call, timer);
	struct fake *f = call->f;
	const struct client_request *r = &call->req;
	_cleanup_err_ struct err err = ERR_INIT;
	struct client_response resp = {.err = &err, .continue_token = "", .remaining = -1};
	list_del(&call->node);
	count_of(f, r->verb, r->kind, r->subresource ? r->subresource : "")->n++;
	if (f->react && f->react(f->react_arg, r, &err)) {
		call->cb(call->arg, &resp);
	} else if (r->verb == CLIENT_LIST) {
		answer_list(f, call, &resp);
	} else if (r->verb == CLIENT_DELETECOLLECTION) {
		delete_collection(f, r, &err);
		call->cb(call->arg, &resp);
	} else {
		struct object *o = fake__object(f, r, &err);
		resp.object = o;
		resp.rv = o ? o->rv : 0;
		call->cb(call->arg, &resp);
		object_unref(o);
	}
	request_done(&call->req);
	free(call);
}

static struct client_call *fake__call(struct client *c, const struct client_request *r, client_cb cb, void *arg)
{
	struct fake *f = fake_of(c);
	MUST(r->kind != NULL);
	struct client_call *call = NEW(struct client_call);
	call->f = f;
	call->req = request_copy(r);
	call->cb = cb;
	call->arg = arg;
	call->timer.fn = call__answer;
	list_push(&f->calls, &call->node);
	env_timer_start(c->env, &call->timer, f->answer_us);
	return call;
}

static void fake__cancel(struct client *c, struct client_call *call)
{
	env_timer_stop(c->env, &call->timer);
	list_del(&call->node);
	request_done(&call->req);
	free(call);
}

/* ---- watches ---- */

static void watch_free(struct client_watch *w)
{
	env_timer_stop(w->f->base.env, &w->timer);
	selector_free(w->labels);
	field_selector_free(w->fields);
	err_done(&w->end);
	free(w->ns);
	free(w);
}

static void fake__unwatch(struct client *c, struct client_watch *w)
{
	(void)c;
	list_del(&w->node);
	if (w->delivering)
		w->dead = true;
	else
		watch_free(w);
}

static void watch_event(struct client_watch *w, const struct fake_event *e)
{
	if (e->new_obj->kind != w->kind || (w->ns && strcmp(w->ns, e->new_obj->ns) != 0))
		return;
	bool was = e->old_obj && fake__matches(w->labels, w->fields, e->old_obj);
	bool now = !e->deleted && fake__matches(w->labels, w->fields, e->new_obj);
	if (now)
		w->ops.on_event(w->arg, was ? WATCH_MODIFIED : WATCH_ADDED, e->new_obj);
	else if (was)
		w->ops.on_event(w->arg, WATCH_DELETED, e->new_obj);
}

static void watch__deliver(struct env_timer *t)
{
	struct client_watch *w = CONTAINER_OF(t, struct client_watch, timer);
	struct fake *f = w->f;
	uint64_t now = env_now_us(f->base.env);
	w->delivering = true;
	while (!w->dead && !w->ending && w->next < f->n_events && f->events[w->next].at_us + f->event_us <= now) {
		struct fake_event e = f->events[w->next++];
		object_ref(e.new_obj);
		watch_event(w, &e);
		object_unref(e.new_obj);
	}
	w->delivering = false;
	if (w->dead) {
		watch_free(w);
	} else if (w->ending) {
		list_del(&w->node);
		w->ops.on_end(w->arg, &w->end);
		watch_free(w);
	} else if (w->next < f->n_events) {
		uint64_t due = f->events[w->next].at_us + f->event_us;
		env_timer_start(f->base.env, &w->timer, due > now ? due - now : 0);
	}
}

static struct client_watch *fake__watch(struct client *c, const struct client_watch_request *r,
					const struct client_watch_ops *ops, void *arg)
{
	struct fake *f = fake_of(c);
	struct client_watch *w = NEW(struct client_watch);
	w->f = f;
	w->kind = r->kind;
	w->ns = str_empty(r->ns) ? NULL : xstrdup(r->ns);
	w->bookmarks = r->bookmarks;
	w->ops = *ops;
	w->arg = arg;
	w->timer.fn = watch__deliver;
	w->next = f->n_events;
	list_push(&f->watches, &w->node);
	if (parse_selectors(r->label_selector, r->field_selector, &w->labels, &w->fields, &w->end) < 0) {
		w->ending = true;
	} else if (r->rv < f->compacted_rv) {
		err_status(&w->end, ERR_EXPIRED, "too old resource version: %llu (%llu)", (unsigned long long)r->rv,
			   (unsigned long long)f->compacted_rv);
		w->ending = true;
	} else {
		while (w->next > 0 && f->events[w->next - 1].rv > r->rv)
			w->next--;
	}
	env_timer_start(c->env, &w->timer, f->event_us);
	return w;
}

/* ---- life and knobs ---- */

static void fake__free(struct client *c)
{
	struct fake *f = fake_of(c);
	LIST_EACH (&f->calls, call, struct client_call, node)
		fake__cancel(c, call);
	LIST_EACH (&f->watches, w, struct client_watch, node) {
		list_del(&w->node);
		watch_free(w);
	}
	for (size_t i = 0; i < f->n_events; i++) {
		object_unref(f->events[i].old_obj);
		object_unref(f->events[i].new_obj);
	}
	for (size_t i = 0; i < f->n_tables; i++) {
		for (size_t j = 0; j < f->tables[i].n; j++)
			object_unref(f->tables[i].v[j]);
		free(f->tables[i].v);
	}
	free(f->tables);
	free(f->events);
	free(f->counts);
	free(f);
}

struct client *fake_client_new(struct env *env)
{
	struct fake *f = NEW(struct fake);
	/* Not a static table: this file is linked into tests that have no use for it, and may then be dropped whole. */
	f->ops = (struct client_ops){
		.call = fake__call,
		.cancel = fake__cancel,
		.watch = fake__watch,
		.unwatch = fake__unwatch,
		.free = fake__free,
	};
	f->base.ops = &f->ops;
	f->base.env = env;
	f->magic = FAKE_MAGIC;
	f->rv = 1;
	list_init(&f->calls);
	list_init(&f->watches);
	return &f->base;
}

void fake_latency(struct client *c, uint64_t answer_us, uint64_t event_us)
{
	fake_of(c)->answer_us = answer_us;
	fake_of(c)->event_us = event_us;
}

void fake_react(struct client *c, bool (*fn)(void *arg, const struct client_request *req, struct err *err), void *arg)
{
	fake_of(c)->react = fn;
	fake_of(c)->react_arg = arg;
}

static const struct kind *kind_named(const char *name)
{
	for (size_t i = 0; kinds_all[i]; i++)
		if (!strcmp(kinds_all[i]->kind, name))
			return kinds_all[i];
	fprintf(stderr, "fake: no kind %s\n", name);
	abort();
}

unsigned fake_calls(struct client *c, enum client_verb verb, const char *kind, const char *subresource)
{
	return count_of(fake_of(c), verb, kind_named(kind), subresource ? subresource : "")->n;
}

void fake_end_watches(struct client *c, int code)
{
	LIST_EACH (&fake_of(c)->watches, w, struct client_watch, node) {
		w->ending = true;
		if (code)
			err_set(&w->end, code, "ended by the test");
		env_timer_start(c->env, &w->timer, 0);
	}
}

void fake_compact(struct client *c)
{
	fake_of(c)->compacted_rv = fake_of(c)->rv;
}

void fake_bookmark(struct client *c)
{
	struct fake *f = fake_of(c);
	LIST_EACH (&f->watches, w, struct client_watch, node) {
		if (!w->bookmarks || env_timer_active(&w->timer))
			continue;
		w->next = f->n_events; /* what is left there is of other kinds */
		struct object mark = {.refs = 1, .kind = w->kind, .rv = f->rv, .ns = "", .name = "", .uid = ""};
		w->ops.on_event(w->arg, WATCH_BOOKMARK, &mark);
	}
}

uint64_t fake_rv(struct client *c)
{
	return fake_of(c)->rv;
}

/* ---- helpers of tests ---- */

static json_t *parse(const char *fmt, va_list ap)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	_cleanup_err_ struct err err = ERR_INIT;
	json_t *tree = NULL;
	if (json_parse(text, strlen(text), &tree, &err) < 0) {
		fprintf(stderr, "fake: %s in %s\n", err.message, text);
		abort();
	}
	free(text);
	return tree;
}

static void must_work(const struct object *o, const struct err *err)
{
	if (o)
		return;
	fprintf(stderr, "fake: %s\n", err->message);
	abort();
}

struct object *fake_add(struct client *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_json_ json_t *tree = parse(fmt, ap);
	va_end(ap);
	_cleanup_err_ struct err err = ERR_INIT;
	struct client_request r = {.verb = CLIENT_CREATE, .body = tree, .grace_period_s = -1};
	r.kind = kind_named(json_get_str(tree, "kind", ""));
	if (r.kind->namespaced && !*meta_ns(tree))
		r.ns = "default";
	struct object *o = fake__create(fake_of(c), &r, &err);
	must_work(o, &err);
	object_unref(o); /* the table has it */
	return o;
}

struct object *fake_find(struct client *c, const char *kind, const char *ns, const char *name)
{
	return fake__find(fake_of(c), kind_named(kind), ns, name);
}

json_t *fake_tree(struct client *c, const char *kind, const char *ns, const char *name)
{
	struct object *o = fake_find(c, kind, ns, name);
	return o ? object_tree(o) : NULL;
}

struct object *fake_nth(struct client *c, const char *kind, const char *ns, size_t n)
{
	struct fake_table *t = fake__table(fake_of(c), kind_named(kind));
	for (size_t i = 0; i < t->n; i++)
		if ((!ns || !strcmp(t->v[i]->ns, ns)) && n-- == 0)
			return t->v[i];
	return NULL;
}

size_t fake_count(struct client *c, const char *kind, const char *ns)
{
	struct fake_table *t = fake__table(fake_of(c), kind_named(kind));
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++)
		n += !ns || !strcmp(t->v[i]->ns, ns);
	return n;
}

void fake_patch(struct client *c, const char *kind, const char *ns, const char *name, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_json_ json_t *patch = parse(fmt, ap);
	va_end(ap);
	_cleanup_err_ struct err err = ERR_INIT;
	struct object *o = fake_find(c, kind, ns, name);
	if (!o)
		fake__not_found(kind_named(kind), name, &err);
	must_work(o, &err);
	struct client_request r = {.verb = CLIENT_PATCH,
				   .patch = CLIENT_PATCH_MERGE,
				   .kind = o->kind,
				   .body = patch,
				   .subresource = "*",
				   .grace_period_s = -1};
	struct object *done = fake__patch(fake_of(c), o, &r, &err);
	must_work(done, &err);
	object_unref(done);
}

void fake_delete(struct client *c, const char *kind, const char *ns, const char *name, const char *propagation,
		 int64_t grace_s)
{
	_cleanup_err_ struct err err = ERR_INIT;
	struct object *o = fake_find(c, kind, ns, name);
	if (!o)
		fake__not_found(kind_named(kind), name, &err);
	must_work(o, &err);
	struct client_request r = {
		.verb = CLIENT_DELETE, .kind = o->kind, .propagation = propagation, .grace_period_s = grace_s};
	struct object *done = fake__delete(fake_of(c), o, &r, &err);
	must_work(done, &err);
	object_unref(done);
}
