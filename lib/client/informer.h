/* Informers: a local copy of one kind, kept by list and watch, read by reconcilers without asking the server.
 *
 * list -> watch from its revision -> events; a watch that ends is resumed, one whose revision is gone starts again with
 * a list (the difference arrives as events; nothing is emitted for unchanged objects). Errors back off 0.1 s to 30 s.
 * Objects are held as bytes; handlers and listers get references to immutable objects. One set of informers is shared by
 * all reconcilers of a process (informer_set).
 */
#ifndef MINI_CLIENT_INFORMER_H
#define MINI_CLIENT_INFORMER_H

#include "lib/client/client.h"
#include "lib/core/map.h"

struct informer;
struct informer_set;

struct informer_handler {
	/* old NULL: added; new NULL: deleted. Both borrowed. Called after the store has changed. */
	void (*on_change)(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj);
	void *arg;
};

struct informer_set *informer_set_new(struct client *client);
void informer_set_free(struct informer_set *s);
/* The informer of a kind, made on first use. Selectors NULL: everything; one informer per distinct (kind, selectors).
 * Started by informer_set_start(), or at once if the set has been started. */
struct informer *informer_get(struct informer_set *s, const struct kind *kind, const char *ns,
			      const char *label_selector, const char *field_selector);
void informer_set_start(struct informer_set *s);
/* All have listed once. */
bool informer_set_synced(const struct informer_set *s);
/* Called once, when all are synced (maybe in the next turn). */
void informer_set_on_synced(struct informer_set *s, void (*fn)(void *arg), void *arg);

void informer_add_handler(struct informer *inf,
			  const struct informer_handler *h); /* copied; told of existing objects too */
const struct kind *informer_kind(const struct informer *inf);
bool informer_synced(const struct informer *inf);
/* The newest revision this copy reflects. */
uint64_t informer_rv(const struct informer *inf);
/* fn once the copy has reached rv (next turn if it has already). Idle struct may be freed after informer_wait_cancel. */
struct informer_wait {
	struct list node;
	struct env_post post;
	uint64_t rv;
	void (*fn)(struct informer_wait *);
	struct informer *inf;
};
void informer_wait(struct informer *inf, struct informer_wait *w, uint64_t rv, void (*fn)(struct informer_wait *));
void informer_wait_cancel(struct informer_wait *w);

/* Listers. Borrowed references, valid until the next turn of the loop. Iteration is in name order. */
struct object *informer_find(const struct informer *inf, const char *ns, const char *name); /* NULL when absent */
size_t informer_count(const struct informer *inf);
/* All objects in a namespace (NULL: all), sorted by key: fresh array, caller frees the array only. */
size_t informer_list(const struct informer *inf, const char *ns, struct object ***ret);

/* An index: objects by the keys fn gives them ("a/b" strings; call emit for each). Declared before start. */
typedef void (*informer_index_fn)(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx);
void informer_add_index(struct informer *inf, const char *index, informer_index_fn fn);
size_t informer_by_index(const struct informer *inf, const char *index, const char *key, struct object ***ret);
/* Ready-made index functions: "uid of the controller owner", "spec.nodeName". */
void informer_index_owner(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx);
void informer_index_node(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx);

/* A small struct extracted once per object version and kept with it (reconcilers read these, not trees). `make` gets
 * the tree; `drop` frees. One extractor per informer. */
void informer_set_extract(struct informer *inf, void *(*make)(struct object *obj, const json_t *tree),
			  void (*drop)(void *));
void *informer_extract(const struct informer *inf, struct object *obj);

#endif
