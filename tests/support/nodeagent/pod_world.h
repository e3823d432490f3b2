/* A node for tests of pods, in virtual time: a fake API, a fake runtime, a fake host; the agent is the real one.
 *
 * world_setup() and world_teardown() are a test's; agent_up() and agent_down() come between, as often as it likes: what
 * the runtime holds outlives the agent. The pod is "p" in "default", its containers' image "web".
 */
#ifndef MINI_TESTS_POD_WORLD_H
#define MINI_TESTS_POD_WORLD_H

#include "tests/support/tap.h"

#include "nodeagent/pod.h"
#include "tests/support/fake_client.h"
#include "tests/support/nodeagent/fake_runtime.h"

#define MS            1000ull
#define ONE_CONTAINER "'containers':[{'name':'web','image':'web','imagePullPolicy':'IfNotPresent'}]"

struct world {
	struct env *env;
	struct client *client;
	struct runtime *runtime;
	struct host *host;
	struct nodeagent *agent;
	char dir[64];
	/* the proxy */
	uint64_t endpoint_gone_after_us;
	uint64_t endpoint_gone_at_ms;
	struct env_timer endpoint_timer;
	void (*endpoint_done)(void *);
	void *endpoint_arg;
	struct world *self;
};

int world_setup(void **state);
int world_teardown(void **state);

void agent_up(struct world *w);
void agent_down(struct world *w); /* its containers run on */
void on_flag(void *arg);          /* sets the bool at arg */
void run(struct world *w, uint64_t ms);

/* A pod "p" with uid "u1" on n1; spec members besides nodeName as text. */
void add_pod(struct world *w, const char *spec);
const char *uid(struct world *w);
/* "web", 0 -> the id the agent gives it; the last four answers stay valid. */
const char *id(struct world *w, const char *name, unsigned attempt);

/* What the API has: the status, the nth of its containerStatuses (the caller's, both), and words of it. */
json_t *pod_status(struct world *w);
json_t *cstatus(struct world *w, unsigned i);
const char *phase(struct world *w);
const char *condition(struct world *w, const char *type);
unsigned events(struct world *w, const char *reason);

/* What the runtime was asked: "start", an id -> how often, and the ms of the first time. */
unsigned asked(struct world *w, const char *verb, const char *what);
uint64_t when(struct world *w, const char *verb, const char *what);

#endif
