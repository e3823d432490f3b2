/* A work queue with a reconciler behind it: level-triggered, one key at a time per object, failures back off.
 *
 * reconcile(key) looks at the whole present (listers), submits any number of writes with reconcile_do(), and returns.
 * The key is busy until every write has been answered AND the informers given have caught up with the revisions those
 * writes made: so a reconciler never acts twice on a stale copy, and needs no expectations. Then, if any write failed
 * (conflict and not-found included) the key is queued again with backoff; else if it was marked dirty meanwhile, at once.
 *
 *   idle --add--> queued --turn--> running --writes answered--> catching up --caught up--> idle | queued
 *     ^                                                                          |
 *     +------------------------- backing off <---------------failed--------------+
 */
#ifndef MINI_CLIENT_RECONCILER_H
#define MINI_CLIENT_RECONCILER_H

#include "lib/client/informer.h"

struct reconciler;
struct reconcile; /* one run of one key */

struct reconciler_config {
	const char *name;                        /* metrics, logs, field manager */
	unsigned workers;                        /* keys running at once; 0: 16 */
	uint64_t backoff_min_us, backoff_max_us; /* 0: 5 ms, 1000 s as upstream's controllers */
	/* Look, submit writes, return. A negative return (err filled) counts as a failure and backs off. */
	int (*reconcile)(void *arg, struct reconcile *r, const char *key, struct err *err);
	void *arg;
};

struct reconciler *reconciler_new(struct env *env, struct client *client, const struct reconciler_config *config);
void reconciler_free(struct reconciler *q);                                          /* cancels everything in place */
void reconciler_add(struct reconciler *q, const char *key);                          /* "ns/name" or "name" */
void reconciler_add_after(struct reconciler *q, const char *key, uint64_t delay_us); /* the earlier of two wins */
void reconciler_add_object(struct reconciler *q, struct object *obj);
/* Nothing runs until this (informers synced, leadership held); reconciler_pause stops in place: nothing new is begun,
 * running keys get no more writes through. */
void reconciler_run(struct reconciler *q);
void reconciler_pause(struct reconciler *q);
bool reconciler_idle(const struct reconciler *q); /* nothing queued, running or backing off */

/* Inside reconcile(): submit a write. `inf`: the informer that will show it (NULL: none to wait for). cb may be NULL;
 * it sees the response before the framework judges it; returning true means "this failure is fine". It may submit
 * more writes of the same run. */
typedef bool (*reconcile_cb)(void *arg, const struct client_response *resp);
void reconcile_do(struct reconcile *r, const struct client_request *req, struct informer *inf, reconcile_cb cb,
		  void *arg);
/* Queue this key again after delay (for deadlines), besides whatever the writes decide. */
void reconcile_again_after(struct reconcile *r, uint64_t delay_us);
/* Zeroed memory, or a call fn(arg), for the end of the run, however it ends: what callbacks of writes need. */
void *reconcile_alloc(struct reconcile *r, size_t size);
void reconcile_defer(struct reconcile *r, void (*fn)(void *), void *arg);
struct env *reconcile_env(struct reconcile *r);

/* Events about objects, as upstream's recorder makes them: counted together when repeated (same object, reason,
 * message: count + 1 by patch), bounded in rate (25 burst, 1 per 5 min refill per object), fire and forget. */
struct event_recorder;
struct event_recorder *event_recorder_new(struct client *client, const char *component, const char *host);
void event_recorder_free(struct event_recorder *r);
void event_record(struct event_recorder *r, struct object *about, bool warning, const char *reason, const char *fmt,
		  ...) __attribute__((format(printf, 5, 6)));
/* About a part of an object: field path "spec.containers{name}". */
void event_record_field(struct event_recorder *r, struct object *about, const char *field_path, bool warning,
			const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
