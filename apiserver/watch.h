/* Watch requests: the present state if asked for, then the hub's events, through selectors, to HTTP or to a direct client. */
#ifndef MINI_APISERVER_WATCH_H
#define MINI_APISERVER_WATCH_H

#include "apiserver/hub.h"

struct watch;

/* Where the events of one watch go. */
struct watch_sink {
	bool (*full)(struct watch *w); /* its client is behind: it calls watch_pump() when it has caught up */
	void (*event)(struct watch *w, enum watch_type type, struct hub_event *e);
	void (*initial)(struct watch *w, const struct item *item);
	void (*bookmark)(struct watch *w, uint64_t rv, bool initial_end);
	/* err->code 0: a normal end. The request is finished here. */
	void (*end)(struct watch *w, const struct err *err);
};

struct watch {
	struct hub_watcher w;
	struct request *r;
	const struct watch_sink *sink;
	struct hub *own_hub; /* for a revision older than the shared one's ring */
	struct selector *labels;
	struct field_selector *fields;
	char *prefix; /* of keys */
	bool exact;   /* one object */
	uint64_t after, told;
	size_t next_initial;
	bool initial_done, *freed;
	struct env_timer timeout, bookmark;
	struct env_post again;
};

extern const struct handler handler_watch;
extern const struct watch_sink watch_sink_http;
void watch_pump(struct watch *w);
/* End all of them in order (the server is closing). */
void watches_close_all(struct apiserver *a);

#endif
