/* The client interface: every component's only way to the API. Seam 2.
 *
 * Two transports: HTTP with TLS (client_http.h), and direct (apiserver/direct.h: a call into the same process's request
 * pipeline; same identity, authorization and admission, no socket, objects shared). Asynchronous: each call is answered
 * by exactly one callback on the loop, never inside the call; client_cancel() means no callback.
 */
#ifndef MINI_CLIENT_CLIENT_H
#define MINI_CLIENT_CLIENT_H

#include "lib/api/object.h"
#include "lib/api/schema.h"
#include "lib/core/env.h"
#include "lib/core/err.h"

enum client_verb {
	CLIENT_GET,
	CLIENT_LIST,
	CLIENT_CREATE,
	CLIENT_UPDATE,
	CLIENT_PATCH,
	CLIENT_DELETE,
	CLIENT_DELETECOLLECTION,
};
enum client_patch { CLIENT_PATCH_JSON, CLIENT_PATCH_MERGE, CLIENT_PATCH_STRATEGIC, CLIENT_PATCH_APPLY };

/* Strings are borrowed for the duration of the call that takes the request. NULL means absent. */
struct client_request {
	enum client_verb verb;
	const struct kind *kind;
	const char *ns; /* NULL or "": cluster-scoped, or all namespaces for LIST */
	const char *name;
	const char *subresource; /* "status", "scale", "binding", "eviction", "token", ... */
	json_t *body; /* CREATE, UPDATE (its resourceVersion is the precondition), PATCH; borrowed, not changed */
	enum client_patch patch;
	const char *label_selector, *field_selector;
	uint64_t limit;
	const char *continue_token;
	const char *resource_version; /* GET, LIST: "0" any, "" latest */
	/* DELETE */
	int64_t grace_period_s;  /* -1: absent */
	const char *propagation; /* "Background", "Foreground", "Orphan" */
	const char *precondition_uid, *precondition_rv;
	bool dry_run;
	const char *field_manager;
	const char *field_validation; /* "Strict", "Warn", "Ignore" */
};

struct client_response {
	struct err *err; /* code 0 on success; else what the server said */
	struct object
		*object; /* GET, CREATE, UPDATE, PATCH, DELETE (the last state, or NULL when answered by Status) */
	struct object **items; /* LIST */
	size_t n_items;
	uint64_t rv;                /* of the list, of the object, or of the deletion when known; 0 otherwise */
	const char *continue_token; /* LIST: "" at the end */
	int64_t remaining;          /* LIST: remainingItemCount, -1 unknown */
	json_t *tree; /* answers that are no kind of ours (TokenRequest status, Status): borrowed; may be NULL */
	const char *const *warnings; /* Warning headers; NULL-terminated; may be NULL */
};

/* Everything in resp is borrowed for the callback; take references to keep. */
typedef void (*client_cb)(void *arg, const struct client_response *resp);

struct client_watch_request {
	const struct kind *kind;
	const char *ns, *label_selector, *field_selector;
	uint64_t rv; /* events after this one; 0: start with the present state as ADDED */
	bool bookmarks;
	unsigned timeout_s; /* 0: the server's choice */
};
enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK };
struct client_watch_ops {
	void (*on_event)(void *arg, enum watch_type type, struct object *obj /* borrowed; a BOOKMARK's has only rv */);
	/* The end: err->code 0 when the server closed it (resume from the last rv), -ESTALE when rv is gone (list again). */
	void (*on_end)(void *arg, const struct err *err);
};

struct client;
struct client_call;
struct client_watch;

struct client_ops {
	struct client_call *(*call)(struct client *, const struct client_request *, client_cb, void *arg);
	void (*cancel)(struct client *, struct client_call *);
	struct client_watch *(*watch)(struct client *, const struct client_watch_request *,
				      const struct client_watch_ops *, void *arg);
	void (*unwatch)(struct client *, struct client_watch *); /* no callback follows */
	void (*free)(struct client *);                           /* cancels everything, no callbacks */
};

/* Transports embed this as their first member. */
struct client {
	const struct client_ops *ops;
	struct env *env;
};

static inline struct client_call *client_do(struct client *c, const struct client_request *r, client_cb cb, void *arg)
{
	return c->ops->call(c, r, cb, arg);
}
static inline void client_cancel(struct client *c, struct client_call *call)
{
	c->ops->cancel(c, call);
}
static inline struct client_watch *client_watch(struct client *c, const struct client_watch_request *r,
						const struct client_watch_ops *ops, void *arg)
{
	return c->ops->watch(c, r, ops, arg);
}
static inline void client_unwatch(struct client *c, struct client_watch *w)
{
	c->ops->unwatch(c, w);
}
static inline void client_free(struct client *c)
{
	if (c)
		c->ops->free(c);
}

#endif
