#include "tests/support/raft/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const msg_names[] = {
	"APPEND",         "APPEND_RESP", "VOTE",        "VOTE_RESP",  "PRE_VOTE",        "PRE_VOTE_RESP", "HEARTBEAT",
	"HEARTBEAT_RESP", "SNAPSHOT",    "TIMEOUT_NOW", "READ_INDEX", "READ_INDEX_RESP", "PROPOSE"};
static const char *const state_names[] = {"follower", "pre-candidate", "candidate", "leader"};

static void say(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct cluster *c, const char *fmt, ...)
{
	if (!c->out)
		return;
	va_list ap;
	va_start(ap, fmt);
	vfprintf(c->out, fmt, ap);
	va_end(ap);
}

static void broken(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void broken(struct cluster *c, const char *fmt, ...)
{
	if (c->broken[0])
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->broken, sizeof(c->broken), fmt, ap);
	va_end(ap);
	say(c, "BROKEN: %s\n", c->broken);
}

uint64_t cluster_random(struct cluster *c, uint64_t below)
{
	c->rng = c->rng * 6364136223846793005ull + 1442695040888963407ull;
	return (c->rng >> 33) % below;
}

static void *grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	*cap = need * 2;
	p = realloc(p, *cap * size);
	if (!p)
		abort();
	return p;
}

static struct entry entry_of(const struct raft_entry *e)
{
	struct entry r = {.term = e->term, .type = e->type};
	if (e->len >= sizeof(r.text))
		abort();
	if (e->len)
		memcpy(r.text, e->data, e->len);
	return r;
}

static struct raft_entry raft_entry_of(const struct entry *e, uint64_t index)
{
	return (struct raft_entry){
		.term = e->term, .index = index, .type = e->type, .len = strlen(e->text), .data = e->text};
}

static int read_entries(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	struct node *n = arg;
	int got = 0;
	for (; lo < hi && (size_t)got < max; lo++, got++) {
		if (lo <= n->base || lo > n->base + n->n_log)
			return -ENOENT;
		ret[got] = raft_entry_of(&n->log[lo - n->base - 1], lo);
	}
	return got;
}

static int read_term(void *arg, uint64_t index, uint64_t *ret)
{
	struct node *n = arg;
	if (index == n->base) {
		*ret = n->base_term;
		return 0;
	}
	if (index < n->base || index > n->base + n->n_log)
		return -ENOENT;
	*ret = n->log[index - n->base - 1].term;
	return 0;
}

void cluster_start(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	struct raft_config config = {
		.id = n->id,
		.members = c->members,
		.n_members = c->n,
		.hard_state = n->hs,
		.first_index = n->base + 1,
		.last_index = n->base + n->n_log,
		.base_term = n->base_term,
		.applied = n->n_applied,
		.election_ticks = 10,
		.heartbeat_ticks = 2,
		.max_inflight_bytes = c->max_inflight ? c->max_inflight : 4096,
		.max_message_bytes = c->max_message ? c->max_message : 256,
		.seed = c->seed * 31 + n->term,
		.pre_vote = c->pre_vote,
		.check_quorum = c->check_quorum,
		.read_entries = read_entries,
		.read_term = read_term,
		.arg = n,
	};
	if (raft_new(&config, &n->raft))
		abort();
	n->up = true;
	n->out = false;
	n->state = RAFT_FOLLOWER;
}

void cluster_init(struct cluster *c, size_t voters, size_t learners, uint64_t seed)
{
	memset(c, 0, sizeof(*c));
	c->n = voters + learners;
	c->n_voters = voters;
	c->seed = c->rng = seed;
	c->pre_vote = c->check_quorum = true;
	for (size_t i = 0; i < c->n; i++) {
		c->nodes[i].id = i + 1;
		c->members[i] = (struct raft_member){.id = i + 1, .role = i < voters ? RAFT_VOTER : RAFT_LEARNER};
	}
	for (size_t i = 0; i < c->n; i++)
		cluster_start(c, i);
}

void cluster_crash(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	raft_free(n->raft);
	n->raft = NULL;
	n->up = n->out = false;
}

void cluster_done(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++) {
		raft_free(c->nodes[i].raft);
		free(c->nodes[i].log);
		free(c->nodes[i].applied);
	}
	for (size_t i = 0; i < c->n_net; i++)
		free(c->net[i]);
	free(c->net);
}

static void describe(struct cluster *c, const struct raft_msg *m)
{
	say(c, "  %" PRIu64 "->%" PRIu64 " %s term %" PRIu64, m->from, m->to, msg_names[m->type], m->term);
	switch (m->type) {
	case RAFT_MSG_APPEND:
		say(c, " after %" PRIu64 "/%" PRIu64 " commit %" PRIu64, m->log_term, m->index, m->commit);
		for (size_t i = 0; i < m->n_entries; i++)
			say(c, " %" PRIu64 "/%" PRIu64 "%s%.*s", m->entries[i].term, m->entries[i].index,
			    m->entries[i].len ? "=" : "", (int)m->entries[i].len,
			    m->entries[i].len ? (const char *)m->entries[i].data : "");
		break;
	case RAFT_MSG_APPEND_RESP:
		say(c, " %" PRIu64, m->index);
		if (m->reject)
			say(c, " refused, try %" PRIu64, m->reject_hint);
		break;
	case RAFT_MSG_VOTE:
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_SNAPSHOT:
		say(c, " last %" PRIu64 "/%" PRIu64, m->log_term, m->index);
		break;
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_PRE_VOTE_RESP:
		say(c, "%s", m->reject ? " refused" : " granted");
		break;
	case RAFT_MSG_HEARTBEAT:
		say(c, " commit %" PRIu64, m->commit);
		break;
	default:
		break;
	}
	if (m->context)
		say(c, " context %" PRIu64, m->context);
	say(c, "\n");
}

static void post(struct cluster *c, const struct raft_msg *m)
{
	if (!c->nodes[m->to - 1].up || c->cut[m->from - 1][m->to - 1])
		return;
	struct packet *p = calloc(1, sizeof(*p));
	if (!p || m->n_entries > 512)
		abort();
	p->msg = *m;
	for (size_t i = 0; i < m->n_entries; i++)
		p->entries[i] = entry_of(&m->entries[i]);
	p->msg.entries = NULL;
	c->net = grow(c->net, &c->cap_net, c->n_net + 1, sizeof(struct packet *));
	c->net[c->n_net++] = p;
}

static void send_messages(struct cluster *c, struct node *n, bool after_sync)
{
	for (size_t i = 0; i < n->rd.n_messages; i++)
		if (n->rd.messages[i].after_sync == after_sync)
			post(c, &n->rd.messages[i]);
}

static void apply(struct cluster *c, struct node *n, const struct raft_entry *e)
{
	struct entry x = entry_of(e);
	if (e->index != n->n_applied + 1)
		broken(c, "%" PRIu64 " applies %" PRIu64 " after %zu", n->id, e->index, n->n_applied);
	if (e->index > n->base + n->n_log)
		broken(c, "%" PRIu64 " applies %" PRIu64 ", which it has not made durable", n->id, e->index);
	n->applied = grow(n->applied, &n->cap_applied, n->n_applied + 1, sizeof(x));
	n->applied[n->n_applied++] = x;
	if (e->index > c->n_committed)
		c->committed[c->n_committed++] = x;
	else if (c->committed[e->index - 1].term != x.term || strcmp(c->committed[e->index - 1].text, x.text) != 0)
		broken(c, "%" PRIu64 " applies another entry %" PRIu64, n->id, e->index);
	say(c, "  %" PRIu64 " applies %" PRIu64 "/%" PRIu64 "%s%s\n", n->id, e->term, e->index, x.text[0] ? "=" : "",
	    x.text);
}

static void write_disk(struct node *n)
{
	n->hs = n->rd.hard_state;
	for (size_t i = 0; i < n->rd.n_entries; i++) {
		const struct raft_entry *e = &n->rd.entries[i];
		n->n_log = (size_t)(e->index - n->base - 1);
		n->log = grow(n->log, &n->cap_log, n->n_log + 1, sizeof(struct entry));
		n->log[n->n_log++] = entry_of(e);
	}
}

void cluster_finish(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	if (!n->up || !n->out)
		return;
	write_disk(n);
	send_messages(c, n, true);
	n->out = false;
	raft_advance(n->raft);
}

static void note_state(struct cluster *c, struct node *n)
{
	struct raft_status st;
	raft_get_status(n->raft, &st);
	if (st.state == n->state && st.term == n->term)
		return;
	if (st.state != n->state || st.state != RAFT_FOLLOWER)
		say(c, "  %" PRIu64 " is %s in term %" PRIu64 "\n", n->id, state_names[st.state], st.term);
	n->state = st.state;
	n->term = st.term;
	if (st.state != RAFT_LEADER || st.term >= 4096)
		return;
	if (c->leader_of[st.term] && c->leader_of[st.term] != n->id)
		broken(c, "two leaders in term %" PRIu64, st.term);
	c->leader_of[st.term] = n->id;
}

void cluster_process(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	while (n->up && !n->out && raft_has_ready(n->raft)) {
		note_state(c, n);
		raft_get_ready(n->raft, &n->rd);
		n->out = true;
		send_messages(c, n, false);
		for (size_t k = 0; k < n->rd.n_committed; k++)
			apply(c, n, &n->rd.committed[k]);
		for (size_t k = 0; k < n->rd.n_reads; k++) {
			say(c, "  %" PRIu64 " may serve read %" PRIu64 " at %" PRIu64 "\n", n->id, n->rd.reads[k].id,
			    n->rd.reads[k].index);
			uint64_t id = n->rd.reads[k].id;
			n->last_read = id;
			if (id <= c->n_reads && n->rd.reads[k].index < c->read_floor[id])
				broken(c, "%" PRIu64 " serves a read that misses what was committed before it", n->id);
		}
		if (n->held && n->rd.must_sync)
			return;
		cluster_finish(c, i);
	}
	if (n->up)
		note_state(c, n);
}

void cluster_deliver(struct cluster *c, size_t i, bool lose)
{
	struct packet *p = c->net[i];
	memmove(c->net + i, c->net + i + 1, (c->n_net - i - 1) * sizeof(*c->net));
	c->n_net--;
	struct raft_msg *m = &p->msg;
	struct node *to = &c->nodes[m->to - 1];
	if (!lose && to->up && !c->cut[m->from - 1][m->to - 1]) {
		struct raft_entry entries[512];
		for (size_t k = 0; k < m->n_entries; k++)
			entries[k] = raft_entry_of(&p->entries[k], m->index + 1 + k);
		m->entries = entries;
		describe(c, m);
		if (raft_step(to->raft, m))
			broken(c, "a message was refused");
		note_state(c, to);
	}
	free(p);
}

void cluster_run(struct cluster *c, unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		for (size_t i = 0; i < c->n; i++)
			cluster_process(c, i);
		size_t n = c->n_net;
		if (!n)
			return;
		for (size_t i = 0; i < n; i++)
			cluster_deliver(c, 0, false);
	}
	for (size_t i = 0; i < c->n; i++)
		cluster_process(c, i);
}

int cluster_propose(struct cluster *c, size_t i, const char *text)
{
	uint64_t index, term;
	if (!c->nodes[i].up)
		return -EAGAIN;
	return raft_propose(c->nodes[i].raft, text, strlen(text), &index, &term);
}

int cluster_read(struct cluster *c, size_t i)
{
	if (!c->nodes[i].up || c->n_reads + 1 >= 65536)
		return -EAGAIN;
	c->read_floor[++c->n_reads] = c->n_committed;
	return raft_read_index(c->nodes[i].raft, c->n_reads);
}
