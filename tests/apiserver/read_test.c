/* Lists by pages, watches, and what has been compacted; how long an event lives. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void watch_sees_changes(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	struct api_answer *a = api_get(f, CM);
	_cleanup_free_ char *target = xasprintf(CM "?watch=1&labelSelector=app%%3Dx&resourceVersion=%s",
						api_str(a, "metadata.resourceVersion"));
	api_watch_start(f, &w, f->admin, target);
	api_post(f, CM, "{\"metadata\":{\"name\":\"w\"}}");
	api_post(f, CM, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"app\":\"x\"}}}");
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	/* into the selector, and out again */
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "w");
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"y\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	api_call(f, f->admin, "DELETE", CM "/x", NULL, NULL);
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	api_watch_stop(&w);
	api_call(f, f->admin, "DELETE", CM "/w", NULL, NULL);
}

static void pages(void **state)
{
	struct api *f = *state;
	char body[100];
	api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"pages\"}}");
#define PAGES "/api/v1/namespaces/pages/configmaps"
	for (int i = 0; i < 5; i++) {
		snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"odd\":\"%d\"}}}", i, i % 2);
		assert_int_equal(api_post(f, PAGES, body)->status, 201);
	}
	struct api_answer *a = api_get(f, PAGES "?limit=2");
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 2);
	assert_string_equal(api_str(a, "metadata.remainingItemCount"), "3");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	_cleanup_free_ char *next = xasprintf(PAGES "?limit=2&continue=%s", api_str(a, "metadata.continue"));
	/* what comes later is not in this list */
	api_post(f, PAGES, "{\"metadata\":{\"name\":\"c9\"}}");
	a = api_get(f, next);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c2");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	_cleanup_free_ char *last = xasprintf(PAGES "?limit=2&continue=%s", api_str(a, "metadata.continue"));
	a = api_get(f, last);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c4");
	assert_string_equal(api_str(a, "metadata.continue"), "");
	a = api_get(f, PAGES "?labelSelector=odd%3D1&limit=1");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c1");
	_cleanup_free_ char *odd =
		xasprintf(PAGES "?labelSelector=odd%%3D1&limit=1&continue=%s", api_str(a, "metadata.continue"));
	a = api_get(f, odd);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c3");
	/* tables */
	a = api_call(f, f->admin, "GET", PAGES, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
		     NULL);
	assert_string_equal(api_str(a, "kind"), "Table");
	assert_string_equal(api_str(a, "columnDefinitions.0.name"), "Name");
	assert_string_equal(api_str(a, "rows.5.cells.0"), "c9");
	assert_string_equal(api_str(a, "rows.5.object.kind"), "PartialObjectMetadata");
	a = api_call(f, f->admin, "GET", PAGES "/c1",
		     "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", NULL);
	assert_string_equal(api_str(a, "kind"), "PartialObjectMetadata");
	/* all at once */
	a = api_call(f, f->admin, "DELETE", PAGES "?labelSelector=odd%3D1", NULL, NULL);
	assert_int_equal(a->status, 200);
	a = api_get(f, PAGES);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 4);
	assert_int_equal(api_call(f, f->admin, "DELETE", PAGES, NULL, NULL)->status, 200);
	a = api_get(f, PAGES);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
}

static void on_compacted(void *arg, const struct err *err, uint64_t value)
{
	(void)err;
	(void)value;
	*(bool *)arg = true;
}

static bool flag(void *arg)
{
	return *(bool *)arg;
}

static void old_revisions_are_gone(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	bool done = false;
	api_post(f, CM, "{\"metadata\":{\"name\":\"o1\"}}");
	struct api_answer *a = api_get(f, CM "?limit=1");
	_cleanup_free_ char *old = xasprintf(CM "?watch=1&resourceVersion=%s", api_str(a, "metadata.resourceVersion"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"o2\"}}");
	a = api_get(f, CM "?limit=1");
	_cleanup_free_ char *next = xasprintf(CM "?limit=1&continue=%s", api_str(a, "metadata.continue"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"o3\"}}");
	uint64_t rev = strtoull(api_str(a, "metadata.resourceVersion"), NULL, 10);
	/* the ring of a server that has just started knows nothing older */
	f->store->engine->compact(f->store, rev, on_compacted, &done);
	api_run_until(f, flag, &done);
	a = api_get(f, next);
	assert_int_equal(a->status, 410);
	assert_string_equal(api_str(a, "reason"), "Expired");
	api_restart(f);
	api_watch_start(f, &w, f->admin, old);
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ERROR");
	assert_int_equal(json_get_int(json_object_get(e, "object"), "code", 0), 410);
	assert_null(api_watch_next(f, &w));
	api_watch_stop(&w);
	a = api_get(f, CM "?resourceVersion=99999999");
	assert_int_equal(a->status, 504);
	api_call(f, f->admin, "DELETE", CM, NULL, NULL);
}

static void events_have_a_lease(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, "/api/v1/namespaces/default/events",
		"{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"default\","
		"\"name\":\"p\"},\"reason\":\"R\",\"type\":\"Normal\"}");
	assert_int_equal(a->status, 201);
	uint64_t lease = f->server->event_lease;
	assert_true(lease != 0);
	/* a lease with very many of them would end in one revision that holds everybody up */
	f->server->event_lease_uses = 1000;
	a = api_post(f, "/api/v1/namespaces/default/events",
		     "{\"metadata\":{\"name\":\"f\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"default\"}}");
	assert_int_equal(a->status, 201);
	assert_true(f->server->event_lease != lease);
	assert_int_equal(f->server->event_lease_uses, 1);
	a = api_get(f, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp");
	assert_string_equal(api_str(a, "items.0.reason"), "R");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(watch_sees_changes),
	cmocka_unit_test(pages),
	cmocka_unit_test(events_have_a_lease),
	cmocka_unit_test(old_revisions_are_gone),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
