/* buf, blob, map, list, err: the small things everything stands on. */
#include <errno.h>

#include "lib/core/buf.h"
#include "lib/core/err.h"
#include "lib/core/list.h"
#include "lib/core/map.h"
#include "tests/support/tap.h"

static void buffers_grow_and_stay_terminated(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_string_equal(buf_str(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i);
	assert_int_equal(b.len, strlen(b.data));
	buf_consume(&b, 4);
	assert_memory_equal(b.data, "2,3,", 4);
	_cleanup_free_ char *s = buf_steal(&b);
	assert_int_equal(b.len, 0);
	assert_non_null(strstr(s, "999,"));
	_cleanup_free_ char *empty = buf_steal(&b);
	assert_string_equal(empty, "");
}

static int freed;
static void count_free(void *p)
{
	(void)p;
	freed++;
}

static void blobs_are_shared_and_free_their_tag(void **state)
{
	(void)state;
	struct blob *b = blob_new("abc", 3), *again = blob_ref(b);
	b->tag = &freed;
	b->tag_free = count_free;
	freed = 0;
	blob_unref(b);
	assert_int_equal(freed, 0);
	assert_string_equal(again->data, "abc");
	blob_unref(again);
	assert_int_equal(freed, 1);
	blob_unref(NULL);
}

static void maps_keep_insertion_order(void **state)
{
	(void)state;
	_cleanup_map_ struct map m = MAP_INIT;
	char key[16];
	for (uintptr_t i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%u", (unsigned)(i * 7919 % 1000));
		assert_null(map_set(&m, key, (void *)(i + 1)));
	}
	for (unsigned i = 0; i < 1000; i += 3) {
		snprintf(key, sizeof(key), "k%u", i * 7919 % 1000);
		assert_ptr_equal(map_del(&m, key), (void *)(uintptr_t)(i + 1));
		assert_null(map_get(&m, key));
	}
	uintptr_t last = 0, n = 0;
	MAP_EACH (&m, e) {
		assert_true((uintptr_t)e->value > last);
		last = (uintptr_t)e->value;
		n++;
	}
	assert_int_equal(n, m.count);
	assert_int_equal(n, 666);
	struct map_entry **sorted = map_sorted(&m);
	for (unsigned i = 1; i < m.count; i++)
		assert_true(strcmp(sorted[i - 1]->key, sorted[i]->key) < 0);
	free(sorted);
	/* many deletions and additions do not grow it for ever */
	for (int i = 0; i < 100000; i++) {
		map_set(&m, "again", &m);
		map_del(&m, "again");
	}
	assert_true(m.cap_entries < 20000);
}

static void map_entries_may_go_while_walking(void **state)
{
	(void)state;
	_cleanup_map_ struct map m = {.free_value = free};
	for (int i = 0; i < 50; i++) {
		char key[12];
		snprintf(key, sizeof(key), "%d", i);
		map_set(&m, key, xstrdup(key));
	}
	MAP_EACH (&m, e) {
		_cleanup_free_ char *key = xstrdup(e->key);
		map_del(&m, key);
	}
	assert_int_equal(m.count, 0);
	map_set(&m, "x", xstrdup("1"));
	map_set(&m, "x", xstrdup("2"));
	assert_string_equal(map_get(&m, "x"), "2");
}

struct item {
	int v;
	struct list node;
};

static void lists_allow_removal_while_walking(void **state)
{
	(void)state;
	struct item items[5];
	struct list head;
	int sum = 0;
	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].v = i;
		list_push(&head, &items[i].node);
	}
	LIST_EACH (&head, it, struct item, node) {
		if (it->v % 2)
			list_del(&it->node);
	}
	LIST_EACH (&head, it, struct item, node)
		sum = sum * 10 + it->v;
	assert_int_equal(sum, 24);
	assert_ptr_equal(list_pop(&head), &items[0].node);
}

static void errors_carry_causes_and_map_to_http(void **state)
{
	(void)state;
	_cleanup_err_ struct err e = ERR_INIT, copy = ERR_INIT, moved = ERR_INIT;
	assert_int_equal(err_status(&e, ERR_NOT_FOUND, "pods \"%s\" not found", "x"), -ENOENT);
	assert_int_equal(err_http(&e), 404);
	assert_int_equal(err_prefix(&e, "here"), -ENOENT);
	assert_string_equal(e.message, "here: pods \"x\" not found");
	for (int i = 0; i < 40; i++)
		err_add_cause(&e, "FieldValueInvalid", "spec.a", "bad %d", i);
	assert_int_equal(err_http(&e), 422);
	assert_int_equal(e.n_causes, 40);
	err_copy(&copy, &e);
	assert_string_equal(copy.causes[31].message, "bad 31");
	assert_int_equal(err_move(&moved, &e), -EINVAL);
	assert_int_equal(e.code, 0);
	assert_null(e.causes);
	assert_string_equal(moved.causes[0].field, "spec.a");
	assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(err_reason_from_str("Conflict"), ERR_CONFLICT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_grow_and_stay_terminated),
		cmocka_unit_test(blobs_are_shared_and_free_their_tag),
		cmocka_unit_test(maps_keep_insertion_order),
		cmocka_unit_test(map_entries_may_go_while_walking),
		cmocka_unit_test(lists_allow_removal_while_walking),
		cmocka_unit_test(errors_carry_causes_and_map_to_http),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
