/* An API in memory for tests: the client interface with a real store's semantics, on env, in virtual time.
 *
 * One revision counter; conflicts on resourceVersion; defaults from the schema tables; status and other subresources;
 * watches from a revision with selectors (and 410 once compacted); deletion with preconditions, finalizers, propagation
 * and a pod's grace period; namespaces that terminate. No authorization, validation or admission. Every helper below
 * acts at once; everything through the client interface is answered in a later turn, as in life.
 *
 * Kinds are named by their kind ("Pod"); JSON text may use ' for ". A helper that cannot do its work aborts: tests only.
 */
#ifndef MINI_TESTS_FAKE_CLIENT_H
#define MINI_TESTS_FAKE_CLIENT_H

#include "lib/client/client.h"

struct client *fake_client_new(struct env *env);

/* How long requests take, and how much later watchers hear of a change. Default 0: the next turn. */
void fake_latency(struct client *c, uint64_t answer_us, uint64_t event_us);
/* Asked before each request: return true, with err filled, to fail it. One at a time; NULL removes. */
void fake_react(struct client *c, bool (*fn)(void *arg, const struct client_request *req, struct err *err), void *arg);
/* Requests answered so far with this verb (and subresource, NULL: none) for this kind. */
unsigned fake_calls(struct client *c, enum client_verb verb, const char *kind, const char *subresource);
/* End every watch: code 0 as a server that closes them, else a negative errno. */
void fake_end_watches(struct client *c, int code);
/* Forget history: a watch from an older revision gets -ESTALE. */
void fake_compact(struct client *c);
/* A bookmark to every watcher that wants them. */
void fake_bookmark(struct client *c);
uint64_t fake_rv(struct client *c);

/* Create from JSON text with printf formatting. Borrowed, valid until it changes. */
struct object *fake_add(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* NULL when absent. Borrowed. */
struct object *fake_find(struct client *c, const char *kind, const char *ns, const char *name);
/* The tree (new reference), or NULL. */
json_t *fake_tree(struct client *c, const char *kind, const char *ns, const char *name);
size_t fake_count(struct client *c, const char *kind, const char *ns);
/* The nth in name order (ns NULL: all). Borrowed; NULL beyond the end. */
struct object *fake_nth(struct client *c, const char *kind, const char *ns, size_t n);
/* JSON merge patch on everything, status included. Generation is kept as the API would. */
void fake_patch(struct client *c, const char *kind, const char *ns, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* As DELETE with these options (propagation NULL, grace -1: absent). */
void fake_delete(struct client *c, const char *kind, const char *ns, const char *name, const char *propagation,
		 int64_t grace_s);

#endif
