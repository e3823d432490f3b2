/* What members tell each other, judged as it leaves them: one vote a term, terms that no crash takes back, one leader a
 * term, and entries of the same index and term that are the same everywhere. */
#include <inttypes.h>

#include "tests/sim/net.h"
#include "tests/sim/sim.h"

#define TERMS_MAX   20000u
#define INDEXES_MAX 60000u
#define VERSIONS    4

static struct {
	uint64_t term;        /* the highest told */
	uint64_t term_before; /* in earlier lives */
	unsigned life;
} told[SIM_DISKS];
static uint8_t vote_of[SIM_DISKS][TERMS_MAX], leader_of[TERMS_MAX];
static struct {
	uint64_t term, hash;
} entries[INDEXES_MAX][VERSIONS];

static void check_entry(unsigned from, const struct raft_entry *e)
{
	bool light = e->type == RAFT_ENTRY_NORMAL && !e->len; /* for a witness */
	if (e->index >= INDEXES_MAX || light)
		return;
	uint64_t hash = hash64(e->data ? e->data : "", e->len) ^ (uint64_t)e->type;
	for (size_t i = 0; i < VERSIONS; i++) {
		__typeof__(&entries[0][0]) v = &entries[e->index][i];
		if (v->term == 0) {
			v->term = e->term;
			v->hash = hash;
			return;
		}
		if (v->term != e->term)
			continue;
		if (v->hash != hash)
			sim_violation("server %u sends another entry %" PRIu64 " of term %" PRIu64
				      " than was sent before",
				      from, e->index, e->term);
		return;
	}
}

/* A leader never takes back an entry of its own log. */
static void check_append_only(unsigned from, uint64_t term, const struct raft_entry *e)
{
	static struct {
		uint64_t leader_term, entry_term;
	} sent[INDEXES_MAX];
	if (e->index >= INDEXES_MAX)
		return;
	__typeof__(&sent[0]) s = &sent[e->index];
	if (s->leader_term == term && s->entry_term != e->term)
		sim_violation("server %u, leader of term %" PRIu64 ", sends entry %" PRIu64 " of term %" PRIu64
			      ", and sent one of term %" PRIu64 " before",
			      from, term, e->index, e->term, s->entry_term);
	if (term >= s->leader_term) {
		s->leader_term = term;
		s->entry_term = e->term;
	}
}

static void check_term(const struct sim_server *s, const struct raft_msg *m)
{
	__typeof__(&told[0]) t = &told[s->id];
	if (t->life != s->life) {
		t->life = s->life;
		t->term_before = t->term;
	}
	if (m->term < t->term_before)
		sim_violation("server %u speaks in term %" PRIu64 ", before its restart it was in %" PRIu64, s->id,
			      m->term, t->term_before);
	t->term = MAX(t->term, m->term);
}

void wire_check(const struct sim_server *s, const void *data, size_t len)
{
	struct store_peer_msg p;
	if (store_peer_notice(data, len))
		return;
	if (store_peer_decode(data, len, &p))
		sim_violation("server %u sends what is no message", s->id);
	const struct raft_msg *m = &p.msg;
	unsigned to = (unsigned)m->to;
	if (m->type != RAFT_MSG_PRE_VOTE && m->type != RAFT_MSG_PRE_VOTE_RESP)
		check_term(s, m);
	if (m->term < TERMS_MAX && ((m->type == RAFT_MSG_VOTE_RESP && !m->reject) || m->type == RAFT_MSG_VOTE)) {
		uint8_t vote = (uint8_t)(m->type == RAFT_MSG_VOTE ? s->id + 1 : to); /* who asks votes for itself */
		uint8_t *have = &vote_of[s->id][m->term];
		if (*have && *have != vote)
			sim_violation("server %u votes for %u and for %u in term %" PRIu64, s->id, *have - 1u,
				      vote - 1u, m->term);
		*have = vote;
	}
	if (m->term < TERMS_MAX && (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT)) {
		if (leader_of[m->term] && leader_of[m->term] != s->id + 1)
			sim_violation("servers %u and %u both lead in term %" PRIu64, s->id, leader_of[m->term] - 1u,
				      m->term);
		leader_of[m->term] = (uint8_t)(s->id + 1);
	}
	for (size_t i = 0; m->type == RAFT_MSG_APPEND && i < m->n_entries; i++) {
		check_entry(s->id, &m->entries[i]);
		check_append_only(s->id, m->term, &m->entries[i]);
	}
	store_peer_msg_done(&p);
}

bool wire_cut(struct sim_packet *p)
{
	struct store_peer_msg m;
	size_t len = rand_below(&sim.disk, p->len);
	if (!len)
		return false;
	/* of its own, so that reading beyond it is noticed */
	char *half = xmalloc(len);
	memcpy(half, p->data, len);
	free(p->data);
	p->data = half;
	p->len = len;
	if (store_peer_notice(half, len) || store_peer_decode(half, len, &m) == 0)
		sim_violation("the first %zu bytes of a message are taken for a whole one", len);
	return true;
}
