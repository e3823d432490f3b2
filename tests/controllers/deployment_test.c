/* Rollouts that would take minutes on the wall, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/controllers/world.h"

static int setup(void **state)
{
	return world_new(state, 1, 1);
}

static void add_web(struct world *w, int replicas, const char *extra)
{
	fake_add(w->f.client,
		 "{'kind':'Deployment','metadata':{'name':'web'},'spec':{'replicas':%d,'selector':{'matchLabels':"
		 "{'app':'web'}},%s'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':["
		 "{'name':'c','image':'web:1'}]}}}}",
		 replicas, extra);
}

static void set_image(struct world *w, const char *image)
{
	fake_patch(w->f.client, "Deployment", "default", "web",
		   "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image);
}

#define STATUS(key) fake_text(&w->f, "Deployment", "default", "web", "status|" key)
#define COND(type)  fake_condition(&w->f, "Deployment", "default", "web", type)

static void test_create(void **state)
{
	struct world *w = *state;
	add_web(w, 3, "");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_ready_pods(&w->f, "default"), 3);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 1);
	assert_string_equal(STATUS("readyReplicas"), "3");
	assert_string_equal(STATUS("availableReplicas"), "3");
	assert_string_equal(STATUS("updatedReplicas"), "3");
	assert_string_equal(STATUS("observedGeneration"), "1");
	assert_string_equal(COND("Available"), "True|MinimumReplicasAvailable");
	assert_string_equal(COND("Progressing"), "True|NewReplicaSetAvailable");
	assert_int_equal(fake_events(&w->f, "ScalingReplicaSet", "from 0 to 3"), 1);
	assert_int_equal(fake_events(&w->f, "SuccessfulCreate", "Created pod: web-"), 3);
	struct object *rs = fake_nth(w->f.client, "ReplicaSet", NULL, 0);
	_cleanup_json_ json_t *tree = object_tree(rs);
	assert_non_null(meta_label(tree, "pod-template-hash"));
	assert_string_equal(meta_annotation(tree, "deployment.kubernetes.io/revision"), "1");
	assert_string_equal(meta_annotation(tree, "deployment.kubernetes.io/desired-replicas"), "3");
	assert_string_equal(meta_annotation(tree, "deployment.kubernetes.io/max-replicas"), "4");
	assert_true(controllers_idle(w->c));
}

/* Never more than replicas + surge pods, never fewer ready than replicas - unavailable. */
static void watch_bounds(struct world *w, uint64_t us, size_t most, size_t fewest)
{
	for (uint64_t t = 0; t < us; t += 100000) {
		fake_run(&w->f, 100000);
		size_t alive = 0;
		struct object *o;
		for (size_t i = 0; (o = fake_nth(w->f.client, "Pod", "default", i)) != NULL; i++) {
			_cleanup_json_ json_t *tree = object_tree(o);
			alive += !meta_deleting(tree);
		}
		assert_in_range(alive, 0, most);
		assert_true(fake_ready_pods(&w->f, "default") >= fewest);
	}
}

static void test_rolling_update(void **state)
{
	struct world *w = *state;
	add_web(w, 4,
		"'minReadySeconds':30,'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable':0}},");
	fake_run(&w->f, MINUTE);
	assert_string_equal(STATUS("availableReplicas"), "4");
	set_image(w, "web:2");
	watch_bounds(w, 4 * MINUTE, 5, 4);
	assert_string_equal(STATUS("availableReplicas"), "4");
	assert_string_equal(STATUS("updatedReplicas"), "4");
	assert_string_equal(STATUS("replicas"), "4");
	assert_string_equal(fake_text(&w->f, "Deployment", "default", "web",
				      "metadata|annotations|deployment.kubernetes.io/revision"),
			    "2");
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 2);
	assert_true(fake_events(&w->f, "ScalingReplicaSet", "Scaled down replica set web-") > 0);
	assert_true(fake_events(&w->f, "SuccessfulDelete", "Deleted pod: web-") > 0);
}

static void test_undo_reuses_the_replicaset(void **state)
{
	struct world *w = *state;
	add_web(w, 2, "");
	fake_run(&w->f, 10 * SECOND);
	set_image(w, "web:2");
	fake_run(&w->f, 30 * SECOND);
	set_image(w, "web:1");
	fake_run(&w->f, 30 * SECOND);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 2);
	assert_string_equal(fake_text(&w->f, "Deployment", "default", "web",
				      "metadata|annotations|deployment.kubernetes.io/revision"),
			    "3");
	size_t with_three = 0;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_json_ json_t *rs = object_tree(fake_nth(w->f.client, "ReplicaSet", NULL, i));
		if (streq(meta_annotation(rs, "deployment.kubernetes.io/revision"), "3")) {
			with_three++;
			assert_string_equal(meta_annotation(rs, "deployment.kubernetes.io/revision-history"), "1");
			assert_int_equal(json_get_int(json_object_get(rs, "spec"), "replicas", -1), 2);
		}
	}
	assert_int_equal(with_three, 1);
}

static void test_deadline(void **state)
{
	struct world *w = *state;
	w->f.broken_image = "web:bad";
	add_web(w, 3, "'progressDeadlineSeconds':120,");
	fake_run(&w->f, 20 * SECOND);
	set_image(w, "web:bad");
	fake_run(&w->f, MINUTE);
	assert_string_equal(COND("Progressing"), "True|ReplicaSetUpdated");
	fake_run(&w->f, 2 * MINUTE);
	assert_string_equal(COND("Progressing"), "False|ProgressDeadlineExceeded");
	assert_string_equal(COND("Available"), "True|MinimumReplicasAvailable");
	assert_true(fake_ready_pods(&w->f, "default") >= 3);
	set_image(w, "web:3");
	fake_run(&w->f, MINUTE);
	assert_string_equal(COND("Progressing"), "True|NewReplicaSetAvailable");
	assert_int_equal(fake_ready_pods(&w->f, "default"), 3);
}

static void test_scale(void **state)
{
	struct world *w = *state;
	add_web(w, 2, "");
	fake_run(&w->f, 10 * SECOND);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'replicas':20}}");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_ready_pods(&w->f, "default"), 20);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'replicas':1}}");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 1);
	assert_int_equal(fake_events(&w->f, "ScalingReplicaSet", "from 20 to 1"), 1);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'replicas':0}}");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 0);
	assert_true(controllers_idle(w->c));
}

/* Upstream's documented example: 10 replicas, surge 3, unavailable 2, stuck halfway, then scaled to 15. */
static void test_proportional_scaling(void **state)
{
	struct world *w = *state;
	w->f.broken_image = "web:bad";
	add_web(w, 10, "'strategy':{'rollingUpdate':{'maxSurge':3,'maxUnavailable':2}},");
	fake_run(&w->f, 20 * SECOND);
	set_image(w, "web:bad");
	fake_run(&w->f, 30 * SECOND);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'replicas':15}}");
	fake_run(&w->f, 5 * SECOND);
	int64_t sizes[2];
	for (size_t i = 0; i < 2; i++) {
		_cleanup_json_ json_t *rs = object_tree(fake_nth(w->f.client, "ReplicaSet", NULL, i));
		sizes[i] = json_get_int(json_object_get(rs, "spec"), "replicas", -1);
	}
	assert_int_equal(MAX(sizes[0], sizes[1]), 11);
	assert_int_equal(MIN(sizes[0], sizes[1]), 7);
}

static void test_pause(void **state)
{
	struct world *w = *state;
	add_web(w, 2, "");
	fake_run(&w->f, 10 * SECOND);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'paused':true}}");
	fake_run(&w->f, 5 * SECOND);
	assert_string_equal(COND("Progressing"), "Unknown|DeploymentPaused");
	set_image(w, "web:2");
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 1);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'paused':false}}");
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 2);
	assert_string_equal(COND("Progressing"), "True|NewReplicaSetAvailable");
}

static void test_recreate(void **state)
{
	struct world *w = *state;
	add_web(w, 3, "'strategy':{'type':'Recreate'},");
	fake_run(&w->f, 10 * SECOND);
	set_image(w, "web:2");
	for (int i = 0; i < 100; i++) {
		fake_run(&w->f, 100000);
		bool old_pod = false, new_pod = false;
		struct object *o;
		for (size_t j = 0; (o = fake_nth(w->f.client, "Pod", "default", j)) != NULL; j++) {
			_cleanup_json_ json_t *tree = object_tree(o);
			const json_t *c = json_array_get(json_path(tree, "spec", "containers", NULL), 0);
			*(streq(json_get_str(c, "image", ""), "web:1") ? &old_pod : &new_pod) = true;
		}
		assert_false(old_pod && new_pod);
	}
	assert_int_equal(fake_ready_pods(&w->f, "default"), 3);
}

static void test_history_limit(void **state)
{
	struct world *w = *state;
	add_web(w, 1, "'revisionHistoryLimit':1,");
	for (int i = 2; i < 6; i++) {
		fake_run(&w->f, 20 * SECOND);
		char image[16];
		snprintf(image, sizeof(image), "web:%d", i);
		set_image(w, image);
	}
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 2);
}

static void test_adopt_and_release(void **state)
{
	struct world *w = *state;
	fake_add(w->f.client, "{'kind':'Pod','metadata':{'name':'orphan','labels':{'app':'x'}},"
			      "'spec':{'containers':[{'name':'c','image':'i'}]}}");
	fake_add(
		w->f.client,
		"{'kind':'ReplicaSet','metadata':{'name':'x'},'spec':{'replicas':2,'selector':{'matchLabels':{'app':'x'}},"
		"'template':{'metadata':{'labels':{'app':'x'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 2);
	_cleanup_json_ json_t *adopted = fake_tree(w->f.client, "Pod", "default", "orphan");
	assert_string_equal(json_get_str(meta_controller(adopted), "name", ""), "x");
	fake_patch(w->f.client, "Pod", "default", "orphan", "{'metadata':{'labels':{'app':'y'}}}");
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 3);
	_cleanup_json_ json_t *released = fake_tree(w->f.client, "Pod", "default", "orphan");
	assert_null(meta_controller(released));
}

static bool refuse_pods(void *arg, const struct client_request *req, struct err *err)
{
	(void)arg;
	if (req->verb != CLIENT_CREATE || strcmp(req->kind->kind, "Pod") != 0)
		return false;
	err_status(err, ERR_FORBIDDEN, "pods \"x\" is forbidden: exceeded quota");
	return true;
}

static void test_slow_start(void **state)
{
	struct world *w = *state;
	fake_react(w->f.client, refuse_pods, NULL);
	add_web(w, 100, "");
	fake_run(&w->f, SECOND / 2);
	assert_in_range(fake_calls(w->f.client, CLIENT_CREATE, "Pod", NULL), 1, 12);
	fake_run(&w->f, SECOND);
	assert_string_equal(COND("ReplicaFailure"), "True|FailedCreate");
	assert_true(fake_events(&w->f, "FailedCreate", "Error creating: pods \"x\" is forbidden") > 0);
	fake_react(w->f.client, NULL, NULL);
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_ready_pods(&w->f, "default"), 100);
	assert_string_equal(COND("ReplicaFailure"), "");
}

/* Answers late, events later still: nothing may be made or deleted twice. */
static void test_late_copy(void **state)
{
	struct world *w = *state;
	fake_latency(w->f.client, 50000, 400000);
	add_web(w, 10, "");
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_count(w->f.client, "Pod", "default"), 10);
	assert_int_equal(fake_calls(w->f.client, CLIENT_CREATE, "Pod", NULL), 10);
	assert_int_equal(fake_calls(w->f.client, CLIENT_CREATE, "ReplicaSet", NULL), 1);
	fake_patch(w->f.client, "Deployment", "default", "web", "{'spec':{'replicas':4}}");
	fake_run(&w->f, MINUTE);
	assert_int_equal(fake_calls(w->f.client, CLIENT_DELETE, "Pod", NULL), 6);
}

/* Another's ReplicaSet has the name ours would get. */
static void test_name_collision(void **state)
{
	struct world *w = *state;
	add_web(w, 1, "");
	fake_run(&w->f, 10 * SECOND);
	char name[128];
	snprintf(name, sizeof(name), "%s", fake_nth(w->f.client, "ReplicaSet", NULL, 0)->name);
	fake_delete(w->f.client, "Deployment", "default", "web", "Background", -1);
	fake_run(&w->f, 10 * SECOND);
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 0);
	fake_add(
		w->f.client,
		"{'kind':'ReplicaSet','metadata':{'name':'%s'},'spec':{'replicas':0,'selector':{'matchLabels':{'app':'z'}},"
		"'template':{'metadata':{'labels':{'app':'z'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}",
		name);
	add_web(w, 1, "");
	fake_run(&w->f, 10 * SECOND);
	assert_string_equal(STATUS("collisionCount"), "1");
	assert_string_equal(STATUS("readyReplicas"), "1");
	assert_int_equal(fake_count(w->f.client, "ReplicaSet", NULL), 2);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_free)
	const struct CMUnitTest tests[] = {
		T(test_create),
		T(test_name_collision),
		T(test_rolling_update),
		T(test_undo_reuses_the_replicaset),
		T(test_deadline),
		T(test_scale),
		T(test_proportional_scaling),
		T(test_pause),
		T(test_recreate),
		T(test_history_limit),
		T(test_slow_start),
		T(test_adopt_and_release),
		T(test_late_copy),
	};
	return cmocka_run_group_tests_name("deployment", tests, NULL, NULL);
}
