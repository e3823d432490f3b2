/* What informer.c, informer_index.c and informer_set.c share. Private to lib/client. */
#ifndef MINI_CLIENT_INFORMER_PRIV_H
#define MINI_CLIENT_INFORMER_PRIV_H

#include "lib/client/informer.h"

#define INFORMER_MAGIC     0x1f0e3a01u
#define INFORMER_INDEX_MAX 4

/* One object of the copy. Items are kept sorted by namespace, then name. */
struct informer_item {
	struct object *obj;
	void *extract;
	/* The keys each index has this item under, so that it can be taken out without parsing the old version. */
	struct informer_keys {
		char **keys;
		unsigned n, cap;
	} keys[INFORMER_INDEX_MAX];
};

struct informer_items {
	struct informer_item **v;
	size_t n, cap;
};

struct informer_index {
	char *name;
	informer_index_fn fn;
	struct map buckets; /* key -> struct informer_items * */
};

struct informer_listener {
	struct informer_handler handler;
	struct informer *inf;
	struct env_post post; /* tells a late handler of what is there already */
	bool live;
};

/*   idle --start--> listing --all pages--> watching --closed--> watching (from rv)
 *                     ^  |                    |  \--revision gone--> listing
 *                     |  error              error
 *                     |  v                    v
 *                     backing off <-----------+      (back to listing or watching, whichever it was)
 */
enum informer_state {
	INFORMER_IDLE,
	INFORMER_LISTING,
	INFORMER_WATCHING,
	INFORMER_BACKOFF,
};

struct informer {
	uint32_t magic;
	struct informer_set *set;
	const struct kind *kind;
	char *ns, *label_selector, *field_selector;
	enum informer_state state;
	bool synced, need_list;
	uint64_t rv;
	struct informer_items items;
	struct informer_index index[INFORMER_INDEX_MAX];
	unsigned n_index;
	struct informer_listener **listeners;
	unsigned n_listeners, cap_listeners;
	struct list waits;
	void *(*make)(struct object *obj, const json_t *tree);
	void (*drop)(void *);
	/* While handlers run: the version that was replaced, and its extract. */
	struct object *old_obj;
	void *old_extract;

	struct client_call *call;
	struct client_watch *watch;
	struct env_timer retry;
	uint64_t backoff_us, watch_began_us;
	/* pages of a list under way */
	struct object **page;
	size_t n_page, cap_page;
	char *continue_token;
};

struct informer_set {
	struct client *client;
	struct informer **v;
	unsigned n, cap;
	bool started, told;
	struct env_post synced_post;
	struct informer_synced_cb {
		void (*fn)(void *arg);
		void *arg;
	} * synced;
	unsigned n_synced, cap_synced;
};

/* Position of (ns, name) among the items; *ret_found tells whether it is there. */
size_t informer__position(const struct informer_items *items, const char *ns, const char *name, bool *ret_found);
void informer__insert(struct informer_items *items, struct informer_item *item);
void informer__take_out(struct informer_items *items, const struct informer_item *item);

void informer__index_add(struct informer *inf, struct informer_item *item);
void informer__index_remove(struct informer *inf, struct informer_item *item);

struct informer *informer__new(struct informer_set *set, const struct kind *kind, const char *ns,
			       const char *label_selector, const char *field_selector);
void informer__free(struct informer *inf);
void informer__start(struct informer *inf);
/* Called by an informer when it has listed for the first time. */
void informer__set_check(struct informer_set *set);

#endif
