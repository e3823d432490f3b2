/* A container runtime in memory, on env: sandboxes and containers that start, exit and obey as a test says.
 *
 * Every verb is answered after 1 ms. What was asked is kept as text, one line per verb with the time in milliseconds,
 * so that a test can look at order and timing. Ids are as the agent makes them: "<uid>_<name>_<attempt>"; scripts go by
 * the container's name.
 */
#ifndef MINI_TESTS_FAKE_RUNTIME_H
#define MINI_TESTS_FAKE_RUNTIME_H

#include "lib/core/env.h"
#include "nodeagent/host.h"
#include "nodeagent/runtime.h"

struct runtime *fake_runtime_new(struct env *env);
void fake_runtime_free(struct runtime *r);

void fake_runtime_image(struct runtime *r, const char *ref); /* present from now on */
/* image_pull of what is not present: err_code 0 makes it succeed (and present). Default: -ENOENT. */
void fake_runtime_pull(struct runtime *r, int err_code);
/* A container of this name exits by itself this long after its start (0: it runs on), with this code. */
void fake_runtime_script(struct runtime *r, const char *name, uint64_t exit_after_us, int code);
/* How long it takes to end after SIGTERM; UINT64_MAX: only SIGKILL ends it. Default 10 ms, code 143. */
void fake_runtime_term(struct runtime *r, const char *name, uint64_t after_us);
/* What exec in it answers. Default 0. */
void fake_runtime_exec(struct runtime *r, const char *name, int code, const char *output);
/* It ends now. False when there is no running one with this id. */
bool fake_runtime_exit(struct runtime *r, const char *id, int code, bool oom);
/* What is left of it by an agent that was killed in the midst of a verb: nothing tells of the change. */
void fake_runtime_leave(struct runtime *r, const char *id, enum runtime_status status, int pid);
const struct runtime_container *fake_runtime_find(struct runtime *r, const char *id);
unsigned fake_runtime_running(struct runtime *r); /* sandboxes not counted */
unsigned fake_runtime_count(struct runtime *r);   /* everything it still knows */
/* "start u1_web_0" -> how often; the ms of the nth occurrence, UINT64_MAX if there is none. */
unsigned fake_runtime_asked(struct runtime *r, const char *what);
uint64_t fake_runtime_when(struct runtime *r, const char *what, unsigned nth);
const char *fake_runtime_journal(struct runtime *r);
/* Environment, mounts of the last create, as text: "env A=1\nmount /host:/at:ro\n". */
const char *fake_runtime_config(struct runtime *r, const char *name);

/* A host that gives addresses 10.0.0.N and remembers cgroups. */
struct host *fake_host_new(void);
unsigned fake_host_cgroups(struct host *h);
unsigned fake_host_addresses(struct host *h);
void fake_host_backlog(struct host *h, unsigned looks); /* so many looks at a pod's queue find it not empty */

#endif
