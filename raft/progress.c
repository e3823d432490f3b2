#include "raft/internal.h"

#include <string.h>

static void clear_flight(struct raft_progress *p)
{
	p->flight_head = p->flight_n = 0;
	p->flight_bytes = 0;
}

void raft_progress__reset(struct raft_progress *p, uint64_t next)
{
	p->state = RAFT_PROBE;
	p->match = 0;
	p->next = next;
	p->sent_commit = 0;
	p->want_append = true;
	p->paused = false;
	p->recent_active = false;
	p->read_ack = 0;
	p->snap_id = p->snap_index = p->snap_offset = 0;
	p->snap_asked = p->snap_sent = p->snap_last = false;
	memset(p->forwarded, 0, sizeof(p->forwarded));
	clear_flight(p);
}

void raft_progress__become_probe(struct raft_progress *p)
{
	p->state = RAFT_PROBE;
	p->next = p->match + 1;
	p->paused = false;
	p->want_append = true;
	clear_flight(p);
}

void raft_progress__become_replicate(struct raft_progress *p)
{
	p->state = RAFT_REPLICATE;
	p->next = p->match + 1;
	p->paused = false;
	clear_flight(p);
}

bool raft_progress__may_send(const struct raft_progress *p, const struct raft_config *config)
{
	switch (p->state) {
	case RAFT_PROBE:
		return !p->paused;
	case RAFT_REPLICATE:
		return p->flight_n < RAFT_INFLIGHT_MAX && p->flight_bytes < config->max_inflight_bytes;
	case RAFT_SNAPSHOT:
		return false;
	}
	return false;
}

/* Replicating is optimistic: the next message follows before the answer. A probe waits for its answer. */
void raft_progress__sent(struct raft_progress *p, uint64_t last_index, size_t bytes)
{
	p->want_append = false;
	if (p->state == RAFT_PROBE) {
		p->paused = true;
		return;
	}
	if (last_index < p->next)
		return; /* it was empty */
	p->next = last_index + 1;
	unsigned at = (p->flight_head + p->flight_n) % RAFT_INFLIGHT_MAX;
	p->flight[at].index = last_index;
	p->flight[at].bytes = bytes;
	p->flight_n++;
	p->flight_bytes += bytes;
}

bool raft_progress__acked(struct raft_progress *p, uint64_t index)
{
	while (p->flight_n && p->flight[p->flight_head].index <= index) {
		p->flight_bytes -= p->flight[p->flight_head].bytes;
		p->flight_head = (p->flight_head + 1) % RAFT_INFLIGHT_MAX;
		p->flight_n--;
	}
	if (p->next < index + 1)
		p->next = index + 1;
	if (index <= p->match)
		return false;
	p->match = index;
	return true;
}

/* An answer that is older than what is known by now changes nothing. */
void raft_progress__rejected(struct raft_progress *p, uint64_t rejected, uint64_t hint)
{
	if (p->state == RAFT_REPLICATE) {
		if (rejected <= p->match)
			return;
		raft_progress__become_probe(p);
		return;
	}
	if (p->state != RAFT_PROBE || p->next - 1 != rejected)
		return;
	uint64_t next = rejected < hint + 1 ? rejected : hint + 1;
	if (next <= p->match)
		next = p->match + 1;
	p->next = next ? next : 1;
	p->paused = false;
	p->want_append = true;
}
