/* Work queues, events and leader election. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "lib/client/leader.h"
#include "lib/client/reconciler.h"
#include "tests/support/fake_cluster.h"

struct world {
	struct fake_cluster f;
	struct informer_set *set;
	struct informer *inf;
	struct reconciler *q;
	unsigned runs, running, most_running;
	int fail;   /* how many runs shall fail */
	bool write; /* each run adds one to data.n */
	uint64_t at_us[64];
};

static bool on_written(void *arg, const struct client_response *resp)
{
	(void)resp;
	((struct world *)arg)->running--;
	return false;
}

static int reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct world *w = arg;
	if (w->runs < ARRAY_LEN(w->at_us))
		w->at_us[w->runs] = env_now_us(w->f.env);
	w->runs++;
	if (w->fail && w->fail--)
		return err_set(err, -EIO, "told to fail");
	if (!w->write)
		return 0;
	struct object *o = informer_find(w->inf, "default", strchr(key, '/') + 1);
	if (!o)
		return 0;
	_cleanup_json_ json_t *tree = object_edit(o);
	json_t *data = json_need_object(tree, "data");
	char n[16];
	int64_t have = 0;
	parse_i64(json_get_str(data, "n", "0"), &have);
	if (have >= 5)
		return 0;
	snprintf(n, sizeof(n), "%d", (int)have + 1);
	json_put_str(data, "n", n);
	struct client_request req = {.verb = CLIENT_UPDATE,
				     .kind = o->kind,
				     .ns = o->ns,
				     .name = o->name,
				     .body = tree,
				     .grace_period_s = -1};
	w->running++;
	w->most_running = MAX(w->most_running, w->running);
	reconcile_do(r, &req, w->inf, on_written, w);
	return 0;
}

static void on_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct world *w = arg;
	(void)inf;
	(void)old_obj;
	if (new_obj)
		reconciler_add_object(w->q, new_obj);
}

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	fake_cluster_init(&w->f, 5);
	w->set = informer_set_new(w->f.client);
	w->inf = informer_get(w->set, kind_by_kind("", "v1", "ConfigMap"), NULL, NULL, NULL);
	w->q = reconciler_new(
		w->f.env, w->f.client,
		&(struct reconciler_config){.name = "test", .workers = 2, .reconcile = reconcile, .arg = w});
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	reconciler_free(w->q);
	informer_set_free(w->set);
	fake_cluster_done(&w->f);
	free(w);
	return 0;
}

static void test_key_at_most_once(void **state)
{
	struct world *w = *state;
	reconciler_add(w->q, "default/a");
	reconciler_add(w->q, "default/a");
	fake_run(&w->f, SECOND);
	assert_int_equal(w->runs, 0); /* not before it runs */
	reconciler_run(w->q);
	fake_run(&w->f, SECOND);
	assert_int_equal(w->runs, 1);
	assert_true(reconciler_idle(w->q));
}

static void test_backoff(void **state)
{
	struct world *w = *state;
	w->fail = 6;
	reconciler_run(w->q);
	reconciler_add(w->q, "default/a");
	fake_run(&w->f, MINUTE);
	assert_int_equal(w->runs, 7);
	uint64_t wait = 5000;
	for (int i = 1; i < 7; i++, wait *= 2)
		assert_int_equal(w->at_us[i] - w->at_us[i - 1], wait);
	assert_true(reconciler_idle(w->q));
}

static void test_add_after(void **state)
{
	struct world *w = *state;
	uint64_t start_us = env_now_us(w->f.env);
	reconciler_run(w->q);
	reconciler_add_after(w->q, "default/a", 10 * SECOND);
	reconciler_add_after(w->q, "default/a", 3 * SECOND);
	reconciler_add_after(w->q, "default/a", 7 * SECOND);
	fake_run(&w->f, MINUTE);
	assert_int_equal(w->runs, 1);
	assert_int_equal(w->at_us[0] - start_us, 3 * SECOND);
}

/* Slow answers, slower events: each run sees what the one before it wrote. */
static void test_barrier(void **state)
{
	struct world *w = *state;
	w->write = true;
	fake_latency(w->f.client, 100000, 500000);
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'a'}}");
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	informer_set_start(w->set);
	reconciler_run(w->q);
	for (int i = 0; i < 100; i++) {
		fake_run(&w->f, 100000);
		reconciler_add(w->q, "default/a"); /* somebody is impatient */
	}
	assert_string_equal(fake_text(&w->f, "ConfigMap", "default", "a", "data|n"), "5");
	assert_int_equal(fake_calls(w->f.client, CLIENT_UPDATE, "ConfigMap", NULL), 5);
}

static void test_conflict_looks_again(void **state)
{
	struct world *w = *state;
	w->write = true;
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'a'}}");
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	informer_set_start(w->set);
	fake_run(&w->f, SECOND);
	fake_latency(w->f.client, 0, 200000);
	fake_patch(w->f.client, "ConfigMap", "default", "a", "{'data':{'other':'x'}}");
	reconciler_run(w->q);
	reconciler_add(w->q, "default/a");
	fake_run(&w->f, MINUTE);
	assert_string_equal(fake_text(&w->f, "ConfigMap", "default", "a", "data|n"), "5");
	assert_string_equal(fake_text(&w->f, "ConfigMap", "default", "a", "data|other"), "x");
}

static void test_workers(void **state)
{
	struct world *w = *state;
	w->write = true;
	for (int i = 0; i < 20; i++)
		fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'c%d'}}", i);
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	informer_set_start(w->set);
	reconciler_run(w->q);
	fake_latency(w->f.client, 10000, 10000);
	fake_run(&w->f, MINUTE);
	assert_int_equal(w->most_running, 2);
	for (int i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "c%d", i);
		assert_string_equal(fake_text(&w->f, "ConfigMap", "default", name, "data|n"), "5");
	}
}

static void test_pause(void **state)
{
	struct world *w = *state;
	w->write = true;
	fake_add(w->f.client, "{'kind':'ConfigMap','metadata':{'name':'a'}}");
	informer_add_handler(w->inf, &(struct informer_handler){on_change, w});
	informer_set_start(w->set);
	fake_latency(w->f.client, 100000, 100000);
	reconciler_run(w->q);
	fake_run(&w->f, SECOND / 2);
	reconciler_pause(w->q);
	fake_run(&w->f, SECOND);
	unsigned updates = fake_calls(w->f.client, CLIENT_UPDATE, "ConfigMap", NULL);
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_calls(w->f.client, CLIENT_UPDATE, "ConfigMap", NULL), updates);
	assert_true(updates < 5);
	reconciler_run(w->q);
	fake_run(&w->f, MINUTE);
	assert_string_equal(fake_text(&w->f, "ConfigMap", "default", "a", "data|n"), "5");
}

/* ---- events ---- */

static void test_events_count(void **state)
{
	struct world *w = *state;
	struct event_recorder *rec = event_recorder_new(w->f.client, "tester", "host-1");
	struct object *pod = fake_add(w->f.client, "{'kind':'Pod','metadata':{'name':'p'}}");
	for (int i = 0; i < 5; i++) {
		event_record(rec, pod, true, "BackOff", "again");
		fake_run(&w->f, SECOND);
	}
	event_record_field(rec, pod, "spec.containers{c}", false, "Pulled", "image %s", "x");
	fake_run(&w->f, SECOND);
	assert_int_equal(fake_count(w->f.client, "Event", NULL), 2);
	_cleanup_json_ json_t *ev = object_tree(fake_nth(w->f.client, "Event", "default", 0));
	assert_int_equal(json_get_int(ev, "count", 0), 5);
	assert_string_equal(json_get_str(ev, "type", ""), "Warning");
	assert_string_equal(json_get_str(json_object_get(ev, "source"), "component", ""), "tester");
	assert_string_equal(json_get_str(json_object_get(ev, "source"), "host", ""), "host-1");
	assert_string_equal(json_get_str(json_object_get(ev, "involvedObject"), "uid", ""), pod->uid);
	assert_string_not_equal(json_get_str(ev, "firstTimestamp", ""), json_get_str(ev, "lastTimestamp", ""));
	_cleanup_json_ json_t *field = object_tree(fake_nth(w->f.client, "Event", "default", 1));
	assert_string_equal(json_get_str(json_object_get(field, "involvedObject"), "fieldPath", ""),
			    "spec.containers{c}");
	event_recorder_free(rec);
}

static void test_events_rate(void **state)
{
	struct world *w = *state;
	struct event_recorder *rec = event_recorder_new(w->f.client, "tester", NULL);
	struct object *pod = fake_add(w->f.client, "{'kind':'Pod','metadata':{'name':'p'}}");
	for (int i = 0; i < 100; i++)
		event_record(rec, pod, false, "Spam", "message %d", i);
	fake_run(&w->f, SECOND);
	assert_int_equal(fake_count(w->f.client, "Event", NULL), 25);
	fake_run(&w->f, 10 * MINUTE);
	for (int i = 0; i < 100; i++)
		event_record(rec, pod, false, "Spam", "later %d", i);
	fake_run(&w->f, SECOND);
	assert_int_equal(fake_count(w->f.client, "Event", NULL), 27);
	event_recorder_free(rec);
}

/* ---- leaders ---- */

struct candidate {
	struct leader *l;
	bool leads;
	unsigned changes;
};

static void on_started(void *arg)
{
	struct candidate *c = arg;
	c->leads = true;
	c->changes++;
}

static void on_stopped(void *arg)
{
	struct candidate *c = arg;
	c->leads = false;
	c->changes++;
}

static void stand(struct world *w, struct candidate *c, const char *name)
{
	struct leader_config config = {
		.lease = "l", .identity = name, .started = on_started, .stopped = on_stopped, .arg = c};
	*c = (struct candidate){.l = leader_new(w->f.client, &config)};
	leader_start(c->l);
}

static void test_leader_takes_over(void **state)
{
	struct world *w = *state;
	struct candidate a, b;
	stand(w, &a, "a");
	fake_run(&w->f, SECOND);
	stand(w, &b, "b");
	fake_run(&w->f, 5 * MINUTE);
	assert_true(a.leads);
	assert_false(b.leads);
	assert_int_equal(a.changes, 1);
	leader_free(a.l);
	fake_run(&w->f, 10 * SECOND);
	assert_false(b.leads);
	fake_run(&w->f, 10 * SECOND);
	assert_true(b.leads);
	assert_string_equal(fake_text(&w->f, "Lease", "kube-system", "l", "spec|leaseTransitions"), "1");
	leader_free(b.l);
}

static void test_leader_restarts_at_once(void **state)
{
	struct world *w = *state;
	struct candidate a;
	stand(w, &a, "a");
	fake_run(&w->f, SECOND);
	leader_free(a.l);
	stand(w, &a, "a");
	fake_run(&w->f, SECOND / 10);
	assert_true(a.leads);
	leader_free(a.l);
}

static bool refuse_all(void *arg, const struct client_request *req, struct err *err)
{
	(void)arg;
	(void)req;
	err_status(err, ERR_SERVICE_UNAVAILABLE, "no quorum");
	return true;
}

static void test_leader_loses(void **state)
{
	struct world *w = *state;
	struct candidate a;
	stand(w, &a, "a");
	fake_run(&w->f, SECOND);
	fake_react(w->f.client, refuse_all, NULL);
	fake_run(&w->f, 8 * SECOND);
	assert_true(a.leads);
	fake_run(&w->f, 4 * SECOND);
	assert_false(a.leads);
	fake_react(w->f.client, NULL, NULL);
	fake_run(&w->f, 3 * SECOND);
	assert_true(a.leads);
	leader_free(a.l);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_key_at_most_once),
		T(test_backoff),
		T(test_add_after),
		T(test_barrier),
		T(test_conflict_looks_again),
		T(test_workers),
		T(test_pause),
		T(test_events_count),
		T(test_events_rate),
		T(test_leader_takes_over),
		T(test_leader_restarts_at_once),
		T(test_leader_loses),
	};
	return cmocka_run_group_tests_name("reconciler", tests, NULL, NULL);
}
