#include "store/peer.h"

#include <errno.h>

struct wire_head {
	uint8_t version, type, flags, spare;
	uint32_t n_entries, membership_len, chunk_len;
	uint64_t from, to, term, log_term, index, commit, reject_hint, hint_term, context, offset;
};
_Static_assert(sizeof(struct wire_head) == 96, "message layout");

struct wire_entry {
	uint64_t term, index;
	uint32_t len;
	uint8_t type, spare[3];
};
_Static_assert(sizeof(struct wire_entry) == 24, "entry layout");

#define TYPE_NOTICE 255u

enum { FLAG_REJECT = 1, FLAG_LAST = 2, FLAG_MEMBERSHIP = 4 };

int store_peer_encode(const struct raft_msg *m, struct buf *ret)
{
	uint8_t membership[RAFT_MEMBERSHIP_BYTES_MAX];
	struct wire_head h = {.version = STORE_PEER_VERSION,
			      .type = (uint8_t)m->type,
			      .flags = (uint8_t)((m->reject ? FLAG_REJECT : 0) | (m->last ? FLAG_LAST : 0) |
						 (m->membership ? FLAG_MEMBERSHIP : 0)),
			      .n_entries = (uint32_t)m->n_entries,
			      .chunk_len = (uint32_t)m->len,
			      .from = m->from,
			      .to = m->to,
			      .term = m->term,
			      .log_term = m->log_term,
			      .index = m->index,
			      .commit = m->commit,
			      .reject_hint = m->reject_hint,
			      .hint_term = m->hint_term,
			      .context = m->context,
			      .offset = m->offset};
	size_t size = sizeof(h) + m->len + sizeof(membership);
	for (size_t i = 0; i < m->n_entries; i++)
		size += sizeof(struct wire_entry) + m->entries[i].len;
	if (size > STORE_PEER_MESSAGE_MAX || m->n_entries > STORE_PEER_ENTRIES_MAX)
		return -EFBIG;
	if (m->membership)
		h.membership_len = (uint32_t)raft_membership_encode(m->membership, membership);
	buf_reserve(ret, size);
	buf_add(ret, &h, sizeof(h));
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct raft_entry *e = &m->entries[i];
		struct wire_entry w = {
			.term = e->term, .index = e->index, .len = (uint32_t)e->len, .type = (uint8_t)e->type};
		buf_add(ret, &w, sizeof(w));
		if (e->len)
			buf_add(ret, e->data, e->len);
	}
	buf_add(ret, membership, h.membership_len);
	if (m->len)
		buf_add(ret, m->data, m->len);
	return 0;
}

bool store_peer_in_order(const void *data, size_t len)
{
	struct wire_head h;
	if (len < sizeof(h))
		return true;
	memcpy(&h, data, sizeof(h));
	return h.type == RAFT_MSG_APPEND || h.type == RAFT_MSG_SNAPSHOT || h.type == RAFT_MSG_PROPOSE;
}

static int take_entries(struct store_peer_msg *m, const struct wire_head *h, const char **p, const char *end)
{
	m->entries = NEW_N(struct raft_entry, h->n_entries + 1);
	for (uint32_t i = 0; i < h->n_entries; i++) {
		struct wire_entry w;
		if ((size_t)(end - *p) < sizeof(w))
			return -EBADMSG;
		memcpy(&w, *p, sizeof(w));
		*p += sizeof(w);
		if ((size_t)(end - *p) < w.len || w.type > RAFT_ENTRY_EMPTY)
			return -EBADMSG;
		m->entries[i] = (struct raft_entry){.term = w.term,
						    .index = w.index,
						    .type = (enum raft_entry_type)w.type,
						    .len = w.len,
						    .data = *p};
		*p += w.len;
	}
	m->msg.entries = m->entries;
	m->msg.n_entries = h->n_entries;
	return 0;
}

static int take_rest(struct store_peer_msg *m, const struct wire_head *h, const char *p, const char *end)
{
	if ((size_t)(end - p) != (size_t)h->membership_len + h->chunk_len)
		return -EBADMSG;
	if (h->flags & FLAG_MEMBERSHIP) {
		m->membership = NEW(struct raft_membership);
		if (raft_membership_decode(p, h->membership_len, m->membership, NULL, NULL))
			return -EBADMSG;
		m->msg.membership = m->membership;
	}
	m->msg.len = h->chunk_len;
	m->msg.data = h->chunk_len ? p + h->membership_len : NULL;
	return 0;
}

int store_peer_decode(const void *data, size_t len, struct store_peer_msg *ret)
{
	struct wire_head h;
	const char *p = data, *end = p + len;
	if (len < 1)
		return -EBADMSG;
	if ((uint8_t)*p != STORE_PEER_VERSION)
		return -EPROTO;
	if (len < sizeof(h) || len > STORE_PEER_MESSAGE_MAX)
		return -EBADMSG;
	memcpy(&h, p, sizeof(h));
	p += sizeof(h);
	if (h.type >= RAFT_MSG_TYPES || h.n_entries > STORE_PEER_ENTRIES_MAX)
		return -EBADMSG;
	struct store_peer_msg m = {.msg = {.type = (enum raft_msg_type)h.type,
					   .from = h.from,
					   .to = h.to,
					   .term = h.term,
					   .log_term = h.log_term,
					   .index = h.index,
					   .commit = h.commit,
					   .reject = (h.flags & FLAG_REJECT) != 0,
					   .reject_hint = h.reject_hint,
					   .hint_term = h.hint_term,
					   .context = h.context,
					   .offset = h.offset,
					   .last = (h.flags & FLAG_LAST) != 0}};
	int rc = take_entries(&m, &h, &p, end);
	if (!rc)
		rc = take_rest(&m, &h, p, end);
	if (rc) {
		store_peer_msg_done(&m);
		return rc;
	}
	*ret = m;
	return 0;
}

void store_peer_msg_done(struct store_peer_msg *m)
{
	free(m->entries);
	free(m->membership);
	*m = (struct store_peer_msg){0};
}

void store_peer_encode_notice(enum store_peer_notice what, struct buf *ret)
{
	struct wire_head h = {.version = STORE_PEER_VERSION, .type = TYPE_NOTICE, .flags = (uint8_t)what};
	buf_add(ret, &h, sizeof(h));
}

enum store_peer_notice store_peer_notice(const void *data, size_t len)
{
	struct wire_head h;
	if (len != sizeof(h))
		return STORE_PEER_NO_NOTICE;
	memcpy(&h, data, sizeof(h));
	bool is = h.version == STORE_PEER_VERSION && h.type == TYPE_NOTICE && h.flags <= STORE_PEER_REMOVED;
	return is ? (enum store_peer_notice)h.flags : STORE_PEER_NO_NOTICE;
}
