/* One API request: a struct that is walked through its stages by request_tick().
 *
 * Two doors make requests: http_front.c and direct.c. Each fills in `route`, `options`, `user` or the credentials and the
 * body, and calls request_start(). Any stage may suspend (REQUEST_WAIT) after it has submitted something; its callback
 * calls request_arrived() first, which says whether the request still has anyone to answer, and then request_resume().
 * The door's `answer` is called exactly once unless the request was cancelled; memory goes when the last submitted
 * thing has come back.
 */
#ifndef MINI_APISERVER_REQUEST_H
#define MINI_APISERVER_REQUEST_H

#include "apiserver/server.h"
#include "lib/api/patch.h"
#include "lib/api/selector.h"

#define REQUEST_MAGIC 0x72657175u

enum verb {
	V_NONE, /* of a non-resource request: its method is the verb */
	V_GET,
	V_LIST,
	V_WATCH,
	V_CREATE,
	V_UPDATE,
	V_PATCH,
	V_DELETE,
	V_DELETECOLLECTION,
	V_CONNECT, /* log, exec: GET and POST on streaming subresources; `get` and `create` for authorization */
};
const char *verb_str(enum verb v);

struct request;

/* What a path means. Strings point into `memory`. */
struct route {
	bool is_resource;
	bool legacy_watch;       /* /api/v1/watch/... */
	const char *path;        /* as sent, without the query */
	const char *group;       /* "" for core */
	const char *version;     /* "v1" */
	const char *plural;      /* "pods"; "" for /api/v1 itself */
	const char *ns;          /* "" when there is none */
	const char *name;        /* "" when there is none */
	const char *subresource; /* "" when there is none */
	char *memory;
};
void route_parse(const char *path, struct route *ret);
void route_done(struct route *r);
/* The name became known later: from the body, or generated. Copied. */
void route_set_name(struct request *r, const char *name);

/* Who asks. Shared by reference: tokens and direct clients keep theirs. */
struct user {
	unsigned refs;
	char *name, *uid;
	char **groups;
	size_t n_groups;
	json_t *extra; /* {"key": ["value"]} or NULL */
};
struct user *user_new(const char *name, const char *uid, const char *const *groups);
void user_add_group(struct user *u, const char *group);
bool user_in_group(const struct user *u, const char *group);
struct user *user_ref(struct user *u);
void user_unref(struct user *u);

enum field_validation { VALIDATE_WARN, VALIDATE_STRICT, VALIDATE_IGNORE };

/* Query parameters and, for deletions, DeleteOptions. */
struct request_options {
	char *label_selector, *field_selector, *continue_token, *rv, *rv_match;
	uint64_t limit;
	bool bookmarks, dry_run;
	bool send_initial;
	bool pretty;
	unsigned timeout_s;
	enum field_validation validation;
	int64_t grace_s; /* -1: absent */
	char *propagation;
	char *pre_uid, *pre_rv;
};

enum body_format {
	BODY_NONE,
	BODY_JSON,
	BODY_YAML,
	BODY_PROTOBUF,
	BODY_PATCH_JSON,
	BODY_PATCH_MERGE,
	BODY_PATCH_STRATEGIC
};

/* How an answer wants to look. */
enum answer_format { FORMAT_JSON, FORMAT_TABLE, FORMAT_PARTIAL, FORMAT_COUNT };

enum request_stage {
	REQUEST_QUEUED, /* the server has not started yet */
	REQUEST_AUTHN,
	REQUEST_IMPERSONATE,
	REQUEST_AUTHZ,
	REQUEST_ROUTE, /* which handler; 404 and 405 from here */
	REQUEST_DECODE,
	REQUEST_LOOK,   /* read what the change is decided on */
	REQUEST_CHANGE, /* decide: default, admit, validate, encode */
	REQUEST_COMMIT,
	REQUEST_ANSWER,
	REQUEST_STREAM, /* watch, log, exec: the handler answers by itself */
	REQUEST_DONE,
};

/* What stage functions return besides a negative code (r->err says why). */
enum { REQUEST_NEXT = 0, REQUEST_WAIT = 1, REQUEST_SKIP_TO_ANSWER = 2, REQUEST_STREAMS = 3, REQUEST_LOOK_AGAIN = 4 };

/* One entry of an answer. Owned references. */
struct item {
	struct blob *bytes;
	uint64_t rv;
	struct object *obj; /* NULL unless there is one at hand */
};

enum result_type { RESULT_NONE, RESULT_OBJECT, RESULT_LIST, RESULT_TREE, RESULT_BYTES };
struct result {
	enum result_type type;
	int http_status;
	struct object *obj; /* OBJECT */
	json_t *tree;       /* TREE */
	struct buf bytes;   /* BYTES */
	const char *content_type;
	char *etag;
	struct item *items; /* LIST */
	size_t n_items, cap_items;
	uint64_t list_rv;
	char *continue_token;
	int64_t remaining; /* -1: not said */
};

/* A transaction being put together. Keys and values are owned. */
struct plan {
	struct store_cmp *compares;
	struct store_op *ops, *else_ops;
	unsigned n_compares, cap_compares, n_ops, cap_ops, n_else, cap_else;
};
void plan_expect(struct plan *p, const char *key, enum store_cmp_target target, enum store_cmp_op op, uint64_t number);
void plan_put(struct plan *p, const char *key, struct blob *value);
void plan_delete(struct plan *p, const char *key);
/* When a compare does not hold: read this key for `refused`, in order. */
void plan_get_else(struct plan *p, const char *key);
void plan_clear(struct plan *p); /* keeps the memory */
void plan_done(struct plan *p);

/* What a verb on a resource or subresource does. Any may be NULL: nothing to do there. */
struct handler {
	int (*decode)(struct request *r);
	int (*look)(struct request *r);
	int (*change)(struct request *r);
	/* The commit's compares did not hold: REQUEST_LOOK_AGAIN, or an error. */
	int (*refused)(struct request *r, const struct store_txn_resp *resp);
	/* It did: set the result. NULL: r->new_obj is answered. */
	int (*committed)(struct request *r);
};

struct door {
	/* r->err or r->result. True: answered; false: still sending, the door calls request_finish() itself. */
	bool (*answer)(struct request *r);
	void (*free)(struct request *r); /* what hangs at door_data */
};

struct request {
	uint32_t magic;
	struct apiserver *server;
	struct list node, queue_node;
	enum request_stage stage;
	unsigned pending; /* submitted and not come back */
	bool ticking, cancelled, finished, counted_reading, counted_writing;
	uint64_t started_us;

	const struct door *door;
	struct http_request *http; /* NULL for direct */
	void *door_data;

	enum verb verb;
	const char *method; /* "GET": of HTTP; static */
	struct route route;
	struct resource *res; /* NULL for non-resource paths */
	const struct kind *kind;
	struct request_options options;
	struct user *user;
	struct user *impersonator;
	enum body_format body_format;
	enum answer_format format;
	enum { INCLUDE_METADATA, INCLUDE_OBJECT, INCLUDE_NONE } table_include;
	bool answer_yaml;

	const struct handler *handler;
	json_t *body;     /* decoded; owned */
	json_t *warnings; /* array of strings, or NULL */
	unsigned attempts;

	char *key;        /* in the store */
	struct blob *old; /* what is stored, or NULL */
	uint64_t old_rev; /* its mod revision */
	struct object *old_obj;
	json_t *old_tree;
	json_t *tree; /* what will be stored */
	struct object *new_obj;
	bool deletes; /* the commit removes the object */
	bool lazy;
	struct plan plan;
	uint64_t commit_rev;
	void *extra; /* of the handler */
	void (*extra_free)(void *);

	struct err err;
	struct result result;
};

struct request *request_new(struct apiserver *a, const struct door *door);
void request_start(struct request *r);
void request_tick(struct request *r);
/* Its client left: nothing more is answered. */
void request_cancel(struct request *r);
/* A stream ended; the door has been told. */
void request_finish(struct request *r);

/* Around anything submitted. */
static inline void request_submitted(struct request *r)
{
	r->pending++;
}
/* False: the request was cancelled meanwhile (and may be gone): return at once. */
bool request_arrived(struct request *r);
/* Go on at this stage. */
void request_resume(struct request *r, enum request_stage stage);
/* Go on with an error (copied into r->err). */
void request_fail(struct request *r, const struct err *err);

void request_warn(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Set the result. References are taken over. */
void result_object(struct request *r, struct object *obj, int http_status);
void result_tree(struct request *r, json_t *tree, int http_status);
void result_bytes(struct request *r, struct buf *bytes, const char *content_type, int http_status);
void result_item(struct result *res, struct blob *bytes, uint64_t rv, struct object *obj);
void result_done(struct result *res);
/* A Status of success with details, as deletions answer. */
json_t *status_success(const struct resource *res, const char *name, const char *uid);

/* Errors in upstream's words; each returns the negative code and fills r->err. */
int fail_not_found(struct request *r);
int fail_not_found_named(struct request *r, const struct resource *res, const char *name);
int fail_exists(struct request *r);
int fail_conflict(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fail_modified(struct request *r);
int fail_forbidden(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fail_bad(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fail_store(struct request *r, const struct err *err);

/* Which handler serves this verb and subresource; NULL: none (r->err says so, or it is a 405). */
const struct handler *handler_find(struct request *r);

#endif
