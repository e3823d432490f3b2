/* The encoding of messages between members: what goes in comes out, and what is cut or bent is refused. */
#include <errno.h>

#include "store/peer.h"
#include "tests/support/tap.h"

static void round_trip(_unused_ void **state)
{
	const struct raft_entry entries[] = {{.term = 3, .index = 8, .len = 5, .data = "hello"},
					     {.term = 4, .index = 9, .type = RAFT_ENTRY_EMPTY}};
	struct raft_membership members = {.n_members = 1, .members = {{.id = 5, .role = RAFT_VOTER}}};
	struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT,
			     .from = 1,
			     .to = 2,
			     .term = 4,
			     .log_term = 3,
			     .index = 7,
			     .commit = 6,
			     .reject = true,
			     .reject_hint = 11,
			     .hint_term = 12,
			     .context = 13,
			     .offset = 14,
			     .last = true,
			     .entries = entries,
			     .n_entries = 2,
			     .len = 3,
			     .data = "abc",
			     .membership = &members};
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(store_peer_encode(&m, &b), 0);
	struct store_peer_msg got;
	assert_int_equal(store_peer_decode(b.data, b.len, &got), 0);
	assert_int_equal(got.msg.type, RAFT_MSG_SNAPSHOT);
	assert_int_equal(got.msg.hint_term, 12);
	assert_int_equal(got.msg.offset, 14);
	assert_true(got.msg.reject && got.msg.last);
	assert_int_equal(got.msg.n_entries, 2);
	assert_int_equal(got.msg.entries[0].len, 5);
	assert_memory_equal(got.msg.entries[0].data, "hello", 5);
	assert_int_equal(got.msg.entries[1].index, 9);
	assert_int_equal(got.msg.len, 3);
	assert_memory_equal(got.msg.data, "abc", 3);
	assert_int_equal(got.msg.membership->members[0].id, 5);
	store_peer_msg_done(&got);
	/* every prefix, and one byte too many, is refused and leaves nothing behind */
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(store_peer_decode(b.data, n, &got), -EBADMSG);
	buf_addc(&b, 0);
	assert_int_equal(store_peer_decode(b.data, b.len, &got), -EBADMSG);
	b.data[0] = 9;
	assert_int_equal(store_peer_decode(b.data, b.len, &got), -EPROTO);
}

static void too_large(_unused_ void **state)
{
	struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .len = STORE_PEER_MESSAGE_MAX, .data = ""};
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(store_peer_encode(&m, &b), -EFBIG);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(too_large)};
RUN_TESTS(tests)
