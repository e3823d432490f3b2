/* One simulated server: the real store on a virtual disk, with a clock of its own and lanes that take time. */
#ifndef MINI_TESTS_SIM_SERVER_H
#define MINI_TESTS_SIM_SERVER_H

#include "lib/core/env_sim.h"
#include "store/peer.h"
#include "store/store.h"
#include "tests/sim/disk.h"

struct sim_server {
	unsigned id;
	struct sim_disk disk;
	struct env *env;
	struct env_ops env_ops; /* env_sim's, but for the lanes */
	struct sim_lane {
		struct list queue;
		struct env_timer timer;
		bool ran;
		struct sim_server *server;
	} lanes[ENV_LANE_COUNT];
	uint64_t lane_us; /* a piece of work takes up to this long */
	struct store *store;
	struct store_peer peer;
	struct store_config config;
	char dir[8];
	unsigned life;          /* counts starts: what belongs to an earlier one is of no account */
	unsigned drift_percent; /* its clock's speed, 100: true */
	bool wall_jumps;        /* its wall clock is another one at each start */
	bool fatal;             /* it has stopped by itself in this life */
	int point;              /* the failpoint it is to meet its end at, or an error */
	uint64_t point_in;      /* the how-manieth time from now; 0: not armed */
	int died_at;            /* the failpoint of this crash; -1: another reason */
	bool point_failed;      /* a failpoint gave an error in this life */
	uint64_t restart_at;
	unsigned crashes, fatals;
	/* as a member */
	bool waits;      /* not started yet: to be added */
	bool asked;      /* it was asked to be added, */
	bool added;      /* and that was acknowledged */
	bool wished_out; /* somebody asked for its removal */
	bool out;        /* it was removed, and has stopped for good */
	bool knows_nobody;
	bool leads;    /* it said so last */
	bool settled;  /* it is a member that can be asked */
	unsigned wish; /* added as this (enum store_role); 0: from the first day on */
};

void sim_server_init(struct sim_server *s, unsigned id);
void sim_server_done(struct sim_server *s);
/* 0, or what store_open() says. */
int sim_server_start(struct sim_server *s, struct err *err);
/* Its process is gone, at once; with power lost what it did not sync may be too. */
void sim_server_crash(struct sim_server *s, bool power);
void sim_server_close(struct sim_server *s);   /* orderly */
void sim_server_removed(struct sim_server *s); /* it says so */
void sim_server_run(struct sim_server *s, uint64_t us);
bool sim_server_takes(struct sim_server *s); /* a copy of the state lies there, not whole yet */
/* Whose code runs just now; NULL: nobody's. */
extern struct sim_server *sim_server_current;
/* Up, and nothing has happened that its users would not live to see. */
static inline bool sim_server_alive(const struct sim_server *s)
{
	return s->store && !s->disk.dead;
}

#endif
