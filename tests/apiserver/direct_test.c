/* The client inside the process. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

struct call {
	bool done;
	struct err err;
	uint64_t rv;
	struct object *obj;
	size_t n_items;
};

static void on_call(void *arg, const struct client_response *resp)
{
	struct call *c = arg;
	c->done = true;
	c->err = *resp->err;
	c->err.causes = NULL;
	c->rv = resp->rv;
	c->n_items = resp->n_items;
	object_unref(c->obj);
	c->obj = resp->object ? object_ref(resp->object) : NULL;
}

static bool call_done(void *arg)
{
	return ((struct call *)arg)->done;
}

static void do_call(struct api *f, struct client *client, const struct client_request *q, struct call *c)
{
	c->done = false;
	client_do(client, q, on_call, c);
	assert_false(c->done);
	api_run_until(f, call_done, c);
}

struct seen {
	unsigned n;
	enum watch_type types[8];
	struct object *objs[8];
	bool ended;
};

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct seen *s = arg;
	s->types[s->n] = type;
	s->objs[s->n++] = object_ref(obj);
}

static void on_end(void *arg, const struct err *err)
{
	(void)err;
	((struct seen *)arg)->ended = true;
}

static bool seen_three(void *arg)
{
	return ((struct seen *)arg)->n >= 3;
}

static void direct_door(void **state)
{
	struct api *f = *state;
	struct call c = {0};
	struct seen s = {0};
	const struct kind *k = kind_by_kind("", "v1", "ConfigMap");
	static const struct client_watch_ops ops = {on_event, on_end};
	struct client_watch_request wq = {.kind = k, .ns = "default", .label_selector = "direct=1"};
	struct client_watch *w = client_watch(f->direct, &wq, &ops, &s);
	_cleanup_json_ json_t *body = json_make("{s:{s:s, s:{s:s}}, s:{s:s}}", "metadata", "name", "d", "labels",
						"direct", "1", "data", "a", "b");
	struct client_request q = {.verb = CLIENT_CREATE, .kind = k, .ns = "default", .body = body};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	assert_true(c.rv > 0);
	_cleanup_json_ json_t *tree = object_tree(c.obj);
	assert_int_equal(strtoull(json_get_str(json_object_get(tree, "metadata"), "resourceVersion", ""), NULL, 10),
			 c.rv);
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.reason, ERR_ALREADY_EXISTS);
	q = (struct client_request){.verb = CLIENT_LIST, .kind = k, .ns = "default", .label_selector = "direct=1"};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.n_items, 1);
	_cleanup_json_ json_t *patch = json_make("{s:{s:s}}", "data", "a", "c");
	q = (struct client_request){.verb = CLIENT_PATCH,
				    .kind = k,
				    .ns = "default",
				    .name = "d",
				    .body = patch,
				    .patch = CLIENT_PATCH_MERGE};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	q = (struct client_request){
		.verb = CLIENT_DELETE, .kind = k, .ns = "default", .name = "d", .grace_period_s = -1};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	api_run_until(f, seen_three, &s);
	assert_int_equal(s.types[0], WATCH_ADDED);
	assert_int_equal(s.types[1], WATCH_MODIFIED);
	assert_int_equal(s.types[2], WATCH_DELETED);
	assert_true(s.objs[0]->rv < s.objs[1]->rv && s.objs[1]->rv < s.objs[2]->rv);
	assert_int_equal(s.objs[2]->rv, c.rv); /* the deletion's */
	client_unwatch(f->direct, w);
	q.verb = CLIENT_GET;
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.reason, ERR_NOT_FOUND);
	/* the same rules as outside */
	struct client *nobody = apiserver_direct_client(f->server, "nobody", NULL);
	do_call(f, nobody, &q, &c);
	assert_int_equal(c.err.reason, ERR_FORBIDDEN);
	client_free(nobody);
	for (unsigned i = 0; i < s.n; i++)
		object_unref(s.objs[i]);
	object_unref(c.obj);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(direct_door),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
