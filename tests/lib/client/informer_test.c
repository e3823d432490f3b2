#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "lib/client/informer.h"
#include "lib/core/env_sim.h"
#include "tests/support/fake_cluster.h"

struct world {
	struct fake_cluster f;
	struct informer_set *set;
	struct informer *inf;
	unsigned added, changed, deleted;
	char last[64];
	int extracts; /* alive */
};

static void on_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct world *w = arg;
	w->added += !old_obj;
	w->deleted += !new_obj;
	w->changed += old_obj && new_obj;
	snprintf(w->last, sizeof(w->last), "%s", (new_obj ? new_obj : old_obj)->name);
	struct object *now = informer_find(inf, "default", w->last);
	assert_ptr_equal(now, new_obj); /* told after the copy has changed */
}

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	fake_cluster_init(&w->f, 5);
	w->set = informer_set_new(w->f.client);
	w->inf = informer_get(w->set, kind_by_kind("", "v1", "ConfigMap"), NULL, NULL, NULL);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	informer_set_free(w->set);
	assert_int_equal(w->extracts, 0);
	fake_cluster_done(&w->f);
	free(w);
	return 0;
}

static void add(struct world *w, const char *name)
{
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'%s'},'data':{'k':'v'}}", name);
}

static void start(struct world *w)
{
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	informer_set_start(w->set);
	fake_run(&w->f, SECOND);
}

static void test_list_then_watch(void **state)
{
	struct world *w = *state;
	add(w, "b");
	add(w, "a");
	assert_false(informer_synced(w->inf));
	start(w);
	assert_true(informer_set_synced(w->set));
	assert_int_equal(w->added, 2);
	add(w, "c");
	fake_patch(w->f.client, "ConfigMap", "default", "a", "{'data':{'k':'w'}}");
	fake_delete(w->f.client, "ConfigMap", "default", "b", NULL, -1);
	fake_run(&w->f, SECOND);
	assert_int_equal(w->added, 3);
	assert_int_equal(w->changed, 1);
	assert_int_equal(w->deleted, 1);
	_cleanup_free_ struct object **v = NULL;
	assert_int_equal(informer_list(w->inf, "default", &v), 2);
	assert_string_equal(v[0]->name, "a");
	assert_string_equal(v[1]->name, "c");
	assert_int_equal(informer_rv(w->inf), fake_rv(w->f.client));
}

static void test_pages(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 1201; i++) {
		char name[16];
		snprintf(name, sizeof(name), "c%d", i);
		add(w, name);
	}
	start(w);
	assert_int_equal(informer_count(w->inf), 1201);
	assert_int_equal(fake_calls(w->f.client, CLIENT_LIST, "ConfigMap", NULL), 3);
}

static void test_resume(void **state)
{
	struct world *w = *state;
	add(w, "a");
	start(w);
	fake_run(&w->f, 10 * SECOND);
	fake_end_watches(w->f.client, 0);
	add(w, "b");
	fake_run(&w->f, SECOND);
	assert_int_equal(w->added, 2);
	fake_end_watches(w->f.client, -EIO);
	add(w, "c");
	fake_run(&w->f, SECOND);
	assert_int_equal(w->added, 3);
	/* resumed from its revision each time: no second list */
	assert_int_equal(fake_calls(w->f.client, CLIENT_LIST, "ConfigMap", NULL), 1);
}

static void test_gone_means_relist(void **state)
{
	struct world *w = *state;
	add(w, "same");
	add(w, "gone");
	add(w, "changed");
	add(w, "replaced");
	start(w);
	fake_latency(w->f.client, 0, 60 * SECOND); /* events never get here in time */
	fake_delete(w->f.client, "ConfigMap", "default", "gone", NULL, -1);
	fake_patch(w->f.client, "ConfigMap", "default", "changed", "{'data':{'k':'w'}}");
	fake_delete(w->f.client, "ConfigMap", "default", "replaced", NULL, -1);
	add(w, "replaced");
	add(w, "new");
	fake_compact(w->f.client);
	fake_end_watches(w->f.client, -ESTALE);
	fake_latency(w->f.client, 0, 0);
	w->added = w->changed = w->deleted = 0;
	fake_run(&w->f, 5 * SECOND);
	assert_int_equal(fake_calls(w->f.client, CLIENT_LIST, "ConfigMap", NULL), 2);
	assert_int_equal(w->added, 2);   /* new, replaced */
	assert_int_equal(w->deleted, 2); /* gone, replaced */
	assert_int_equal(w->changed, 1);
	assert_int_equal(informer_count(w->inf), 4);
}

static bool refuse_lists(void *arg, const struct client_request *req, struct err *err)
{
	(void)arg;
	return req->verb == CLIENT_LIST && err_status(err, ERR_SERVICE_UNAVAILABLE, "not now");
}

static void test_backoff(void **state)
{
	struct world *w = *state;
	fake_react(w->f.client, refuse_lists, NULL);
	start(w);
	fake_run(&w->f, 10 * MINUTE);
	/* 0.1 s doubling to 30 s: some thirty tries, not thousands */
	assert_in_range(fake_calls(w->f.client, CLIENT_LIST, "ConfigMap", NULL), 15, 40);
	fake_react(w->f.client, NULL, NULL);
	fake_run(&w->f, MINUTE);
	assert_true(informer_synced(w->inf));
}

static void test_selectors(void **state)
{
	struct world *w = *state;
	struct informer *sel = informer_get(w->set, informer_kind(w->inf), NULL, "app=x", NULL);
	assert_ptr_not_equal(sel, w->inf);
	assert_ptr_equal(sel, informer_get(w->set, informer_kind(w->inf), "", "app=x", ""));
	start(w);
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'x','labels':{'app':'x'}}}");
	add(w, "y");
	fake_run(&w->f, SECOND);
	assert_int_equal(informer_count(sel), 1);
	fake_patch(w->f.client, "ConfigMap", "default", "x", "{'metadata':{'labels':{'app':'y'}}}");
	fake_run(&w->f, SECOND);
	assert_int_equal(informer_count(sel), 0);
	assert_int_equal(informer_count(w->inf), 2);
}

static void test_index(void **state)
{
	struct world *w = *state;
	struct informer *pods = informer_get(w->set, kind_by_kind("", "v1", "Pod"), NULL, NULL, NULL);
	informer_add_index(pods, "node", informer_index_node);
	informer_add_index(pods, "owner", informer_index_owner);
	start(w);
	fake_add(w->f.client, "{'kind':'Pod','metadata':{'name':'p','ownerReferences':[{'apiVersion':'v1','kind':'X',"
			      "'name':'o','uid':'u1','controller':true}]},'spec':{'nodeName':'n1'}}");
	fake_run(&w->f, SECOND);
	struct object **v;
	assert_int_equal(informer_by_index(pods, "node", "n1", &v), 1);
	assert_string_equal(v[0]->name, "p");
	free(v);
	assert_int_equal(informer_by_index(pods, "owner", "u1", &v), 1);
	free(v);
	fake_patch(w->f.client, "Pod", "default", "p",
		   "{'spec':{'nodeName':'n2'},'metadata':{'ownerReferences':null}}");
	fake_run(&w->f, SECOND);
	assert_int_equal(informer_by_index(pods, "node", "n1", &v), 0);
	free(v);
	assert_int_equal(informer_by_index(pods, "node", "n2", &v), 1);
	free(v);
	assert_int_equal(informer_by_index(pods, "owner", "u1", &v), 0);
	free(v);
}

struct extract {
	struct world *w;
	char value[16];
};
static struct world *extract_world;

static void *make(struct object *obj, const json_t *tree)
{
	(void)obj;
	struct extract *e = NEW(struct extract);
	e->w = extract_world;
	e->w->extracts++;
	snprintf(e->value, sizeof(e->value), "%s", json_get_str(json_object_get(tree, "data"), "k", ""));
	return e;
}

static void drop(void *p)
{
	((struct extract *)p)->w->extracts--;
	free(p);
}

static void check_extracts(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct world *w = arg;
	(void)w;
	if (!old_obj || !new_obj)
		return;
	assert_string_equal(((struct extract *)informer_extract(inf, old_obj))->value, "v");
	assert_string_equal(((struct extract *)informer_extract(inf, new_obj))->value, "w");
}

static void test_extract(void **state)
{
	struct world *w = *state;
	extract_world = w;
	informer_set_extract(w->inf, make, drop);
	informer_add_handler(w->inf, &(struct informer_handler){check_extracts, w});
	add(w, "a");
	start(w);
	assert_int_equal(w->extracts, 1);
	fake_patch(w->f.client, "ConfigMap", "default", "a", "{'data':{'k':'w'}}");
	fake_run(&w->f, SECOND);
	assert_int_equal(w->changed, 1);
	assert_int_equal(w->extracts, 1);
}

static void test_late_handler(void **state)
{
	struct world *w = *state;
	add(w, "a");
	informer_set_start(w->set);
	fake_run(&w->f, SECOND);
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	assert_int_equal(w->added, 0); /* not inside the call */
	fake_run(&w->f, SECOND);
	assert_int_equal(w->added, 1);
}

struct waiter {
	struct informer_wait wait;
	bool done;
};

static void on_reached(struct informer_wait *wait)
{
	CONTAINER_OF(wait, struct waiter, wait)->done = true;
}

static void test_wait(void **state)
{
	struct world *w = *state;
	add(w, "a");
	start(w);
	struct waiter now = {0}, later = {0}, never = {0};
	informer_wait(w->inf, &now.wait, informer_rv(w->inf), on_reached);
	informer_wait(w->inf, &later.wait, informer_rv(w->inf) + 1, on_reached);
	informer_wait(w->inf, &never.wait, informer_rv(w->inf) + 1, on_reached);
	informer_wait_cancel(&never.wait);
	assert_false(now.done);
	fake_run(&w->f, SECOND);
	assert_true(now.done);
	assert_false(later.done);
	fake_add(w->f.client, "{'kind':'Secret','metadata':{'name':'s'}}"); /* another kind moves the revision */
	fake_bookmark(w->f.client);
	fake_run(&w->f, SECOND);
	assert_true(later.done);
	assert_false(never.done);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_list_then_watch), T(test_pages), T(test_resume),  T(test_gone_means_relist), T(test_backoff),
		T(test_selectors),       T(test_index), T(test_extract), T(test_late_handler),      T(test_wait),
	};
	return cmocka_run_group_tests_name("informer", tests, NULL, NULL);
}
