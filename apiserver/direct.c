#include "apiserver/direct.h"

#include <errno.h>

#include "apiserver/tag.h"

struct direct {
	struct client client;
	struct apiserver *server; /* NULL: it has closed */
	struct user *user;
	struct list node;
	struct list calls;
};

/* One call or watch: hangs at its request's door_data. */
struct direct_call {
	struct direct *direct;
	struct request *r; /* NULL: the server has closed; answered by the post */
	struct list node;
	struct env_post start;
	bool is_watch;
	client_cb cb;
	struct client_watch_ops watch_ops;
	void *arg;
};

static struct direct_call *call_new(struct direct *d, void *arg)
{
	struct direct_call *c = NEW(struct direct_call);
	c->direct = d;
	c->arg = arg;
	list_push(&d->calls, &c->node);
	return c;
}

static void call_free(struct direct_call *c)
{
	env_post_cancel(c->direct->client.env, &c->start);
	list_del(&c->node);
	free(c);
}

/* ---- answers ---- */

static void fill_items(struct request *r, struct client_response *resp)
{
	struct result *res = &r->result;
	resp->items = NEW_N(struct object *, res->n_items + 1);
	for (size_t i = 0; i < res->n_items; i++) {
		struct object *o = recent_object(r->server, r->res, res->items[i].bytes, res->items[i].rv);
		if (o)
			resp->items[resp->n_items++] = o;
	}
	resp->rv = res->list_rv;
	resp->continue_token = res->continue_token ? res->continue_token : "";
	resp->remaining = res->remaining;
}

static const char **fill_warnings(const json_t *warnings)
{
	size_t n = json_array_size(warnings);
	const char **list = n ? NEW_N(const char *, n + 1) : NULL;
	for (size_t i = 0; i < n; i++)
		list[i] = json_string_value(json_array_get(warnings, i));
	return list;
}

static bool direct_answer(struct request *r)
{
	struct direct_call *c = STEAL(r->door_data);
	struct client_response resp = {.err = &r->err, .remaining = -1};
	if (r->err.code == 0 && r->result.type == RESULT_LIST)
		fill_items(r, &resp);
	resp.object = r->result.obj;
	resp.tree = r->result.tree;
	if (resp.object)
		resp.rv = resp.object->rv;
	_cleanup_free_ const char **warnings = fill_warnings(r->warnings);
	resp.warnings = warnings;
	client_cb cb = c->cb;
	struct client_watch_ops ops = c->watch_ops;
	void *arg = c->arg;
	bool is_watch = c->is_watch;
	call_free(c);
	/* a watch that is answered rather than streamed was refused */
	if (is_watch)
		ops.on_end(arg, &r->err);
	else if (cb)
		cb(arg, &resp);
	for (size_t i = 0; i < resp.n_items; i++)
		object_unref(resp.items[i]);
	free(resp.items);
	return true;
}

/* A cancelled request leaves without an answer. */
static void direct_free(struct request *r)
{
	if (r->door_data)
		call_free(STEAL(r->door_data));
}

static const struct door direct_door = {direct_answer, direct_free};

/* ---- watches ---- */

static bool direct_full(struct watch *w)
{
	(void)w;
	return false;
}

static void direct_event(struct watch *w, enum watch_type type, struct hub_event *e)
{
	struct direct_call *c = w->r->door_data;
	struct object *o = hub_event_object(w->r->server, w->r->res, e, type);
	if (!o)
		return;
	object_ref(o);
	c->watch_ops.on_event(c->arg, type, o);
	object_unref(o);
}

static void direct_initial(struct watch *w, const struct item *item)
{
	struct direct_call *c = w->r->door_data;
	_cleanup_object_ struct object *o = recent_object(w->r->server, w->r->res, item->bytes, item->rv);
	if (o)
		c->watch_ops.on_event(c->arg, WATCH_ADDED, o);
}

static void direct_bookmark(struct watch *w, uint64_t rv, bool initial_end)
{
	(void)initial_end;
	struct direct_call *c = w->r->door_data;
	struct object mark = {.refs = 1, .kind = w->r->kind, .rv = rv, .ns = "", .name = "", .uid = ""};
	list_init(&mark.lru);
	c->watch_ops.on_event(c->arg, WATCH_BOOKMARK, &mark);
}

static void direct_end(struct watch *w, const struct err *err)
{
	struct request *r = w->r;
	struct direct_call *c = STEAL(r->door_data);
	struct client_watch_ops ops = c->watch_ops;
	void *arg = c->arg;
	struct err copy = ERR_INIT;
	err_copy(&copy, err);
	if (copy.code)
		copy.code = -ESTALE;
	call_free(c);
	request_finish(r);
	ops.on_end(arg, &copy);
	err_done(&copy);
}

const struct watch_sink watch_sink_direct = {direct_full, direct_event, direct_initial, direct_bookmark, direct_end};

/* ---- requests ---- */

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void segment(struct buf *path, const char *s)
{
	if (str_empty(s))
		return;
	buf_addc(path, '/');
	/* a name with a slash is no name; it must not become two segments */
	for (; *s; s++)
		buf_addc(path, *s == '/' ? '\x01' : *s);
}

static void set_route(struct request *r, const struct kind *k, const char *ns, const char *name, const char *sub)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	buf_adds(&path, *k->group ? "/apis" : "/api");
	segment(&path, k->group);
	segment(&path, k->version);
	if (k->namespaced && !str_empty(ns)) {
		buf_adds(&path, "/namespaces");
		segment(&path, ns);
	}
	segment(&path, k->plural);
	segment(&path, name);
	if (!str_empty(name))
		segment(&path, sub);
	route_parse(buf_str(&path), &r->route);
	r->kind = k;
	r->res = server_resource_of(r->server, k);
}

static struct request *make_request(struct direct *d, struct direct_call *c)
{
	struct request *r = request_new(d->server, &direct_door);
	r->door_data = c;
	r->user = user_ref(d->user);
	c->r = r;
	return r;
}

static void set_body(struct request *r, const struct client_request *q)
{
	static const enum body_format patches[] = {
		[CLIENT_PATCH_JSON] = BODY_PATCH_JSON,
		[CLIENT_PATCH_MERGE] = BODY_PATCH_MERGE,
		[CLIENT_PATCH_STRATEGIC] = BODY_PATCH_STRATEGIC,
		[CLIENT_PATCH_APPLY] = BODY_NONE,
	};
	r->body = q->body ? json_deep_copy(q->body) : NULL;
	r->body_format = q->verb == CLIENT_PATCH ? patches[q->patch] : BODY_JSON;
	r->options.validation = streq(q->field_validation, "Strict")   ? VALIDATE_STRICT
				: streq(q->field_validation, "Ignore") ? VALIDATE_IGNORE
								       : VALIDATE_WARN;
}

static void set_options(struct request *r, const struct client_request *q)
{
	struct request_options *o = &r->options;
	o->label_selector = dup_or_null(q->label_selector);
	o->field_selector = dup_or_null(q->field_selector);
	o->continue_token = dup_or_null(q->continue_token);
	o->rv = dup_or_null(q->resource_version);
	o->propagation = dup_or_null(q->propagation);
	o->pre_uid = dup_or_null(q->precondition_uid);
	o->pre_rv = dup_or_null(q->precondition_rv);
	o->limit = q->limit;
	o->dry_run = q->dry_run;
	o->grace_s = q->verb == CLIENT_DELETE || q->verb == CLIENT_DELETECOLLECTION ? q->grace_period_s : -1;
}

static void on_start(struct env_post *p)
{
	struct direct_call *c = CONTAINER_OF(p, struct direct_call, start);
	if (c->r) {
		request_start(c->r);
		return;
	}
	struct err err = ERR_INIT;
	err_status(&err, ERR_SERVICE_UNAVAILABLE, "the API server is shutting down");
	client_cb cb = c->cb;
	struct client_watch_ops ops = c->watch_ops;
	void *arg = c->arg;
	bool is_watch = c->is_watch;
	call_free(c);
	if (is_watch)
		ops.on_end(arg, &err);
	else if (cb)
		cb(arg, &(struct client_response){.err = &err, .remaining = -1});
}

static struct client_call *direct_do(struct client *client, const struct client_request *q, client_cb cb, void *arg)
{
	static const enum verb verbs[] = {
		[CLIENT_GET] = V_GET,
		[CLIENT_LIST] = V_LIST,
		[CLIENT_CREATE] = V_CREATE,
		[CLIENT_UPDATE] = V_UPDATE,
		[CLIENT_PATCH] = V_PATCH,
		[CLIENT_DELETE] = V_DELETE,
		[CLIENT_DELETECOLLECTION] = V_DELETECOLLECTION,
	};
	struct direct *d = (struct direct *)client;
	struct direct_call *c = call_new(d, arg);
	c->cb = cb;
	c->start.fn = on_start;
	env_post(client->env, &c->start);
	if (!d->server)
		return (struct client_call *)c;
	struct request *r = make_request(d, c);
	r->verb = verbs[q->verb];
	/* a new object's name is in its body; only subresources are created under a name */
	bool named = q->verb != CLIENT_CREATE || !str_empty(q->subresource);
	set_route(r, q->kind, q->ns, named ? q->name : NULL, q->subresource);
	set_body(r, q);
	set_options(r, q);
	return (struct client_call *)c;
}

static void drop(struct direct_call *c)
{
	struct request *r = c->r;
	if (!r) {
		call_free(c);
		return;
	}
	r->door_data = NULL;
	call_free(c);
	request_cancel(r);
}

static void direct_cancel(struct client *client, struct client_call *call)
{
	(void)client;
	drop((struct direct_call *)call);
}

static struct client_watch *direct_watch(struct client *client, const struct client_watch_request *q,
					 const struct client_watch_ops *ops, void *arg)
{
	struct direct *d = (struct direct *)client;
	struct direct_call *c = call_new(d, arg);
	c->is_watch = true;
	c->watch_ops = *ops;
	c->start.fn = on_start;
	env_post(client->env, &c->start);
	if (!d->server)
		return (struct client_watch *)c;
	struct request *r = make_request(d, c);
	r->verb = V_WATCH;
	set_route(r, q->kind, q->ns, NULL, NULL);
	struct request_options *o = &r->options;
	o->label_selector = dup_or_null(q->label_selector);
	o->field_selector = dup_or_null(q->field_selector);
	o->rv = q->rv ? xasprintf("%llu", (unsigned long long)q->rv) : NULL;
	o->bookmarks = q->bookmarks;
	o->timeout_s = q->timeout_s;
	return (struct client_watch *)c;
}

static void direct_unwatch(struct client *client, struct client_watch *watch)
{
	(void)client;
	drop((struct direct_call *)watch);
}

static void direct_client_free(struct client *client)
{
	struct direct *d = (struct direct *)client;
	LIST_EACH (&d->calls, c, struct direct_call, node)
		drop(c);
	list_del(&d->node);
	user_unref(d->user);
	free(d);
}

struct client *apiserver_direct_client(struct apiserver *a, const char *user, const char *const *groups)
{
	static const struct client_ops ops = {direct_do, direct_cancel, direct_watch, direct_unwatch,
					      direct_client_free};
	struct direct *d = NEW(struct direct);
	d->client.ops = &ops;
	d->client.env = a->env;
	d->server = a;
	d->user = user_new(user, NULL, groups);
	user_add_group(d->user, "system:authenticated");
	list_init(&d->calls);
	list_push(&a->clients, &d->node);
	return &d->client;
}

void direct_close_all(struct apiserver *a)
{
	LIST_EACH (&a->clients, d, struct direct, node) {
		d->server = NULL;
		list_del(&d->node);
		LIST_EACH (&d->calls, c, struct direct_call, node) {
			struct request *r = STEAL(c->r);
			if (!r)
				continue;
			r->door_data = NULL;
			request_cancel(r);
			env_post(d->client.env, &c->start);
		}
	}
}
