/* One store watch per kind, shared by all who watch that kind: recent events in a ring, each encoded once per format.
 *
 * A watcher is a position in the ring. It takes events while its client keeps up; one that falls behind the ring is cut.
 * Nothing is queued per watcher. A revision older than the ring is served by a hub of its own, private to that watcher.
 */
#ifndef MINI_APISERVER_HUB_H
#define MINI_APISERVER_HUB_H

#include "apiserver/request.h"
#include "lib/client/client.h"

struct hub;

struct hub_event {
	unsigned refs;
	uint64_t rev;
	char *key;
	struct blob *cur, *prev; /* cur NULL: deleted; prev NULL: created */
	/* Caches: the object at this revision (for a deletion the last state), and encodings by format and type. */
	struct object *cur_obj, *prev_obj;
	struct blob *encoded[FORMAT_COUNT][WATCH_BOOKMARK];
};

/* The one who takes events. */
struct hub_watcher {
	struct list node;
	struct hub *hub;
	uint64_t seq; /* the next event to look at */
	/* Take what there is: called in the loop's own turn after events came. */
	void (*pump)(struct hub_watcher *w);
	/* The hub's watch is over: err says why. The watcher has been removed. */
	void (*ended)(struct hub_watcher *w, const struct err *err);
};

/* Events after `after` will be in the ring. */
struct hub *hub_new(struct apiserver *a, struct resource *res, uint64_t after);
/* For one watcher only, which frees it: the server does not follow it, and its end is the watcher's. */
void hub_set_private(struct hub *h);
void hub_free(struct hub *h); /* accepts NULL; no watcher may be left */

/* Put w behind revision `after`. False: the ring does not go back that far. */
bool hub_join(struct hub *h, struct hub_watcher *w, uint64_t after);
void hub_leave(struct hub_watcher *w);
/* The next event, or NULL when w has seen all. *ret_lost: w fell behind the ring. Borrowed until the next turn. */
struct hub_event *hub_next(struct hub_watcher *w, bool *ret_lost);
/* Nothing at or before this revision is still to come. */
uint64_t hub_rev(const struct hub *h);
size_t hub_watchers(const struct hub *h);

/* The object of an event as a watcher of `type` sees it, its version set. Borrowed from the event. */
struct object *hub_event_object(struct apiserver *a, const struct resource *res, struct hub_event *e,
				enum watch_type type);

/* Told of every event of a kind before watchers are: for what the server itself follows. */
void server_observe(struct apiserver *a, struct resource *res, const struct hub_event *e);

#endif
