/* What fake_client.c (calls, watches, knobs) and fake_store.c (objects and verbs) share. */
#ifndef MINI_TESTS_FAKE_PRIV_H
#define MINI_TESTS_FAKE_PRIV_H

#include <errno.h>

#include "lib/api/selector.h"
#include "tests/support/fake_client.h"

#define FAKE_MAGIC 0xfa4ec11eu

struct fake_table {
	const struct kind *kind;
	struct object **v; /* sorted by namespace, name */
	size_t n, cap;
};

struct fake_event {
	uint64_t rv, at_us;
	struct object *old_obj, *new_obj; /* deletion: both, and deleted */
	bool deleted;
};

struct fake_count {
	enum client_verb verb;
	const struct kind *kind;
	char subresource[32];
	unsigned n;
};

struct fake {
	struct client base;
	struct client_ops ops;
	uint32_t magic;
	uint64_t rv, compacted_rv, uids;
	uint64_t answer_us, event_us;
	struct fake_table *tables;
	size_t n_tables, cap_tables;
	struct fake_event *events;
	size_t n_events, cap_events;
	struct list calls, watches;
	bool (*react)(void *arg, const struct client_request *req, struct err *err);
	void *react_arg;
	struct fake_count *counts;
	size_t n_counts, cap_counts;
};

struct client_call {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	struct client_request req; /* strings owned */
	client_cb cb;
	void *arg;
};

struct client_watch {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	const struct kind *kind;
	char *ns;
	struct selector *labels;
	struct field_selector *fields;
	bool bookmarks, delivering, dead, ending;
	size_t next; /* event */
	struct err end;
	struct client_watch_ops ops;
	void *arg;
};

/* fake_store.c; each verb returns the object with a new reference, or NULL with err set. */
struct fake_table *fake__table(struct fake *f, const struct kind *k);
bool fake__matches(const struct selector *labels, const struct field_selector *fields, struct object *o);
int fake__not_found(const struct kind *k, const char *name, struct err *err);
struct object *fake__create(struct fake *f, const struct client_request *r, struct err *err);
struct object *fake__delete(struct fake *f, struct object *o, const struct client_request *r, struct err *err);
struct object *fake__patch(struct fake *f, struct object *o, const struct client_request *r, struct err *err);
struct object *fake__object(struct fake *f, const struct client_request *r, struct err *err);
struct object *fake__find(struct fake *f, const struct kind *k, const char *ns, const char *name);

#endif
