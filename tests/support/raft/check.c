#include "tests/support/raft/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const msg_names[RAFT_MSG_TYPES] = {"APPEND",   "APPEND_RESP",   "VOTE",        "VOTE_RESP",
						      "PRE_VOTE", "PRE_VOTE_RESP", "HEARTBEAT",   "HEARTBEAT_RESP",
						      "SNAPSHOT", "TIMEOUT_NOW",   "READ_INDEX",  "READ_INDEX_RESP",
						      "PROPOSE",  "SNAPSHOT_RESP", "PROPOSE_RESP"};
static const char *const state_names[] = {"follower", "pre-candidate", "candidate", "leader"};

void check_say(struct cluster *c, const char *fmt, ...)
{
	if (!c->out)
		return;
	va_list ap;
	va_start(ap, fmt);
	vfprintf(c->out, fmt, ap);
	va_end(ap);
}

void check_broken(struct cluster *c, const char *fmt, ...)
{
	if (c->broken[0])
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->broken, sizeof(c->broken), fmt, ap);
	va_end(ap);
	check_say(c, "BROKEN: %s\n", c->broken);
}

/* ---- how it is told ---- */

static void say_members(struct cluster *c, const struct raft_member *members, size_t n)
{
	static const char *const roles[] = {"", "?", "w"};
	for (size_t i = 0; i < n; i++)
		check_say(c, "%s%" PRIu64 "%s", i ? " " : "", members[i].id, roles[members[i].role]);
}

static void say_membership(struct cluster *c, const struct raft_membership *m)
{
	check_say(c, "{");
	if (m->n_old) {
		say_members(c, m->old, m->n_old);
		check_say(c, " -> ");
	}
	say_members(c, m->members, m->n_members);
	check_say(c, "}");
}

void check_entry(struct cluster *c, const struct raft_entry *e)
{
	check_say(c, " %" PRIu64 "/%" PRIu64, e->term, e->index);
	struct raft_membership m;
	if (e->type == RAFT_ENTRY_CONFIG && raft_membership_decode(e->data, e->len, &m, NULL, NULL) == 0)
		say_membership(c, &m);
	else if (e->len)
		check_say(c, "=%.*s", (int)e->len, (const char *)e->data);
}

static void describe_snapshot(struct cluster *c, const struct raft_msg *m)
{
	check_say(c, " at %" PRIu64 "/%" PRIu64 " ", m->log_term, m->index);
	say_membership(c, m->membership);
	check_say(c, " bytes %" PRIu64 "..%" PRIu64 "%s", m->offset, m->offset + m->len, m->last ? " end" : "");
}

static void describe_answer(struct cluster *c, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_APPEND_RESP:
		check_say(c, " %" PRIu64, m->index);
		if (m->reject)
			check_say(c, " refused, try %" PRIu64, m->reject_hint);
		break;
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_PRE_VOTE_RESP:
		check_say(c, "%s", m->reject ? " refused" : " granted");
		break;
	case RAFT_MSG_SNAPSHOT_RESP:
		check_say(c, " at %" PRIu64 " has %" PRIu64, m->index, m->offset);
		if (m->reject)
			check_say(c, ", not %" PRIu64, m->reject_hint);
		break;
	case RAFT_MSG_PROPOSE_RESP:
		if (m->reject)
			check_say(c, " refused");
		else
			check_say(c, " is %" PRIu64 "/%" PRIu64, m->log_term, m->index);
		break;
	default:
		break;
	}
}

void check_describe(struct cluster *c, const struct raft_msg *m)
{
	if (!c->out)
		return;
	check_say(c, "  %" PRIu64 "->%" PRIu64 " %s term %" PRIu64, m->from, m->to, msg_names[m->type], m->term);
	switch (m->type) {
	case RAFT_MSG_APPEND:
		check_say(c, " after %" PRIu64 "/%" PRIu64 " commit %" PRIu64, m->log_term, m->index, m->commit);
		for (size_t i = 0; i < m->n_entries; i++)
			check_entry(c, &m->entries[i]);
		break;
	case RAFT_MSG_VOTE:
	case RAFT_MSG_PRE_VOTE:
		check_say(c, " last %" PRIu64 "/%" PRIu64, m->log_term, m->index);
		break;
	case RAFT_MSG_HEARTBEAT:
		check_say(c, " commit %" PRIu64, m->commit);
		break;
	case RAFT_MSG_SNAPSHOT:
		describe_snapshot(c, m);
		break;
	case RAFT_MSG_PROPOSE:
		check_say(c, " %.*s", (int)m->entries[0].len, (const char *)m->entries[0].data);
		break;
	default:
		describe_answer(c, m);
		break;
	}
	if (m->context)
		check_say(c, " context %" PRIu64, m->context);
	check_say(c, "\n");
}

/* ---- what must hold ---- */

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 1099511628211ull;
	return hash;
}

static uint64_t hash_of(const struct raft_entry *e)
{
	uint64_t head[3] = {e->term, e->index, e->type};
	return mix(mix(14695981039346656037ull, head, sizeof(head)), e->data, e->len);
}

/* Witnesses have no data of normal entries. */
static bool has_data(const struct node *n, const struct raft_entry *e)
{
	return !n->witness || e->type != RAFT_ENTRY_NORMAL;
}

void check_state(struct cluster *c, struct node *n)
{
	struct raft_status st;
	raft_get_status(n->raft, &st);
	if (st.state == n->state && st.term == n->term)
		return;
	if (st.state != n->state || st.state != RAFT_FOLLOWER)
		check_say(c, "  %" PRIu64 " is %s in term %" PRIu64 "\n", n->id, state_names[st.state], st.term);
	if (st.term < n->hs.term)
		check_broken(c, "%" PRIu64 " goes back to term %" PRIu64, n->id, st.term);
	n->state = st.state;
	n->term = st.term;
	if (st.state == RAFT_LEADER && n->witness)
		check_broken(c, "a witness leads");
}

void check_leader(struct cluster *c, struct node *n)
{
	struct raft_status st;
	raft_get_status(n->raft, &st);
	if (st.state != RAFT_LEADER || st.term != n->hs.term || st.term >= 4096)
		return;
	if (c->leader_of[st.term] && c->leader_of[st.term] != n->id)
		check_broken(c, "two leaders in term %" PRIu64, st.term);
	c->leader_of[st.term] = n->id;
}

void check_written(struct cluster *c, struct node *n, const struct raft_entry *e, uint64_t prev_term, bool overwrites)
{
	if (overwrites && n->rd.state == RAFT_LEADER && n->led_term == n->rd.hard_state.term)
		check_broken(c, "%" PRIu64 " leads and overwrites its entry %" PRIu64, n->id, e->index);
	if (n->witness && e->type == RAFT_ENTRY_NORMAL && e->len)
		check_broken(c, "a witness gets data");
	size_t at = (size_t)((e->index * 0x9e3779b97f4a7c15ull ^ e->term * 0xd1342543de82ef95ull) >> 40) % SEEN_MAX;
	while (c->seen[at].index && (c->seen[at].index != e->index || c->seen[at].term != e->term))
		at = (at + 1) % SEEN_MAX;
	struct written *w = &c->seen[at];
	uint64_t hash = has_data(n, e) ? hash_of(e) : 0;
	if (!w->index) {
		if (++c->n_seen >= SEEN_MAX)
			abort();
		*w = (struct written){.index = e->index, .term = e->term, .prev_term = prev_term, .hash = hash};
		return;
	}
	if (w->prev_term != prev_term || (hash && w->hash && w->hash != hash))
		check_broken(c, "%" PRIu64 " has another entry %" PRIu64 "/%" PRIu64 " than others", n->id, e->term,
			     e->index);
	if (!w->hash)
		w->hash = hash;
}

static void check_once(struct cluster *c, const struct entry *x)
{
	char text[24] = "";
	if (x->type != RAFT_ENTRY_NORMAL || x->len < 2 || x->len >= sizeof(text) || x->data[0] != 'x')
		return;
	memcpy(text, x->data + 1, x->len - 1);
	uint64_t number = strtoull(text, NULL, 10);
	if (number >= COMMITTED_MAX)
		return;
	if (c->happened[number])
		check_broken(c, "proposal x%" PRIu64 " happens twice", number);
	c->happened[number] = true;
}

static bool is_member(const struct raft_membership *m, uint64_t id)
{
	for (size_t i = 0; i < m->n_members; i++)
		if (m->members[i].id == id)
			return true;
	return false;
}

static void note_committed(struct cluster *c, const struct raft_entry *e)
{
	if (e->index >= COMMITTED_MAX)
		abort();
	struct entry *x = &c->committed[c->n_committed++];
	*x = (struct entry){.term = e->term, .type = e->type, .len = e->len};
	if (e->len)
		memcpy(x->data, e->data, e->len);
	check_once(c, x);
	struct raft_membership m;
	if (e->type != RAFT_ENTRY_CONFIG || raft_membership_decode(e->data, e->len, &m, NULL, NULL) || m.n_old)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (is_member(&c->membership, c->nodes[i].id) && !is_member(&m, c->nodes[i].id))
			c->nodes[i].removed = true;
	c->membership = m;
}

/* A witness may be the first to apply an entry; what was in it is learnt from whoever comes next. */
static void fill_in(struct cluster *c, const struct raft_entry *e)
{
	struct entry *x = &c->committed[e->index - 1];
	x->len = e->len;
	if (e->len)
		memcpy(x->data, e->data, e->len);
	check_once(c, x);
}

void check_applied(struct cluster *c, struct node *n, const struct raft_entry *e)
{
	check_say(c, "  %" PRIu64 " applies", n->id);
	check_entry(c, e);
	check_say(c, "\n");
	if (e->index != n->n_applied + 1)
		check_broken(c, "%" PRIu64 " applies %" PRIu64 " after %" PRIu64, n->id, e->index, n->n_applied);
	if (e->index > n->base + n->n_log)
		check_broken(c, "%" PRIu64 " applies %" PRIu64 ", which it has not made durable", n->id, e->index);
	if (e->index > c->n_committed + 1) {
		check_broken(c, "%" PRIu64 " applies %" PRIu64 " before anybody applied the one before", n->id,
			     e->index);
		return;
	}
	if (e->index > c->n_committed) {
		note_committed(c, e);
	} else {
		const struct entry *x = &c->committed[e->index - 1];
		bool blank = x->type == RAFT_ENTRY_NORMAL && x->len == 0;
		if (x->term != e->term || x->type != e->type)
			check_broken(c, "%" PRIu64 " applies another entry %" PRIu64, n->id, e->index);
		else if (has_data(n, e) && blank && e->len)
			fill_in(c, e);
		else if (has_data(n, e) && (x->len != e->len || (e->len && memcmp(x->data, e->data, e->len) != 0)))
			check_broken(c, "%" PRIu64 " applies another entry %" PRIu64, n->id, e->index);
	}
}

static bool same_members(const struct raft_membership *a, const struct raft_membership *b)
{
	return a->n_members == b->n_members && a->n_old == b->n_old &&
	       memcmp(a->members, b->members, a->n_members * sizeof(a->members[0])) == 0 &&
	       memcmp(a->old, b->old, a->n_old * sizeof(a->old[0])) == 0;
}

void check_install(struct cluster *c, struct node *n, const struct snapshot *s)
{
	check_say(c, "  %" PRIu64 " installs a snapshot at %" PRIu64 "/%" PRIu64 "\n", n->id, s->term, s->index);
	if (s->index <= n->n_applied)
		check_broken(c, "%" PRIu64 " goes back from %" PRIu64 " to a snapshot at %" PRIu64, n->id, n->n_applied,
			     s->index);
	if (s->index > c->n_committed || c->committed[s->index - 1].term != s->term) {
		check_broken(c, "%" PRIu64 " installs a snapshot of what was never committed", n->id);
		return;
	}
	struct raft_membership m = c->first;
	for (uint64_t i = s->index; i > 0; i--)
		if (c->committed[i - 1].type == RAFT_ENTRY_CONFIG) {
			raft_membership_decode(c->committed[i - 1].data, c->committed[i - 1].len, &m, NULL, NULL);
			break;
		}
	if (!same_members(&m, &s->membership))
		check_broken(c, "%" PRIu64 " installs a snapshot with a wrong configuration", n->id);
	if (n->witness)
		return;
	bool good = true;
	for (size_t i = 0; i < s->len; i++)
		good = good && s->bytes[i] == (uint8_t)(s->id * 31 + i);
	if (!good || s->len != 24 + s->id % 5 * 20)
		check_broken(c, "%" PRIu64 " installs a damaged snapshot", n->id);
}

void check_membership(struct cluster *c, struct node *n)
{
	struct raft_status st;
	raft_get_status(n->raft, &st);
	struct raft_membership want = n->membership, have;
	for (uint64_t i = st.last_index; i > n->n_applied && i > n->base; i--) {
		const struct entry *x = &n->log[i - n->base - 1];
		if (x->type != RAFT_ENTRY_CONFIG)
			continue;
		if (raft_membership_decode(x->data, x->len, &want, NULL, NULL))
			check_broken(c, "%" PRIu64 " has a configuration that is none", n->id);
		break;
	}
	raft_get_membership(n->raft, &have);
	if (!same_members(&want, &have))
		check_broken(c, "%" PRIu64 " goes by another configuration than its log says", n->id);
}

void check_read(struct cluster *c, struct node *n, const struct raft_read *read)
{
	check_say(c, "  %" PRIu64 " may serve read %" PRIu64 " at %" PRIu64 "\n", n->id, read->id, read->index);
	n->last_read = read->id;
	c->n_served++;
	if (read->id <= c->n_reads && read->index < c->read_floor[read->id])
		check_broken(c, "%" PRIu64 " serves a read that misses what was committed before it", n->id);
}

void check_fate(struct cluster *c, struct node *n, const struct raft_fate *f)
{
	if (f->refused)
		check_say(c, "  %" PRIu64 " learns that its proposal %" PRIu64 " was refused\n", n->id, f->id);
	else
		check_say(c, "  %" PRIu64 " learns that its proposal %" PRIu64 " is %" PRIu64 "/%" PRIu64 "\n", n->id,
			  f->id, f->term, f->index);
	if (c->n_fates < COMMITTED_MAX)
		c->fates[c->n_fates++] =
			(struct fate){.id = f->id, .index = f->index, .term = f->term, .refused = f->refused};
}

/* Once all is quiet: what was said of forwarded proposals is true. */
void cluster_check_fates(struct cluster *c)
{
	for (size_t i = 0; i < c->n_fates; i++) {
		const struct fate *f = &c->fates[i];
		if (f->refused) {
			if (f->id <= COMMITTED_MAX && c->happened[f->id - 1])
				check_broken(c, "proposal x%" PRIu64 " was refused and happened", f->id - 1);
			continue;
		}
		if (f->index > c->n_committed || c->committed[f->index - 1].term != f->term)
			continue;
		char text[24];
		int len = snprintf(text, sizeof(text), "x%" PRIu64, f->id - 1);
		const struct entry *x = &c->committed[f->index - 1];
		if (x->len != (size_t)len || memcmp(x->data, text, (size_t)len) != 0)
			check_broken(c, "proposal x%" PRIu64 " is not at %" PRIu64, f->id - 1, f->index);
	}
}
