/* A whole API server for tests: the real store in a directory of its own, TLS on a loopback port, and callers that wait
 * for their answer by running the loop. */
#ifndef MINI_TESTS_SUPPORT_APISERVER_API_H
#define MINI_TESTS_SUPPORT_APISERVER_API_H

#include "apiserver/server.h"
#include "lib/core/env_uv.h"

struct api {
	uv_loop_t loop;
	struct env *env;
	char dir[64];
	struct store *store;
	struct apiserver *server;
	struct tls_context *tls;
	struct pki_pair ca;
	char *sa_key;
	uint16_t port;
	struct http_client *admin, *anonymous; /* CN=admin O=system:masters; no credentials */
	struct client *direct;                 /* admin, in process */
	uv_timer_t watchdog;
	bool ready;
};

/* Makes and starts it; aborts the test on failure. */
void api_init(struct api *f);
void api_done(struct api *f);
/* Close and open again on the same directory, same port not promised. */
void api_restart(struct api *f);
/* One server for a group of tests: cmocka's setup and teardown. */
int api_setup(void **state);
int api_teardown(void **state);
/* The next so many writes of a server that starts happen, and it is told that nobody knows whether they did. */
extern unsigned api_writes_in_doubt;
/* A client with a certificate of this user; group may be NULL. Freed by the caller (http_client_free). */
struct http_client *api_client(struct api *f, const char *user, const char *group);

/* An answer. Valid until the next call on the same fixture; the tree NULL when it was no JSON. */
struct api_answer {
	int status; /* 0: no answer came */
	struct buf body;
	json_t *json;
	char warning[512];
	char content_type[128];
};
/* headers: "Name: value" lines, or NULL. Content-Type is application/json unless given. */
struct api_answer *api_call(struct api *f, struct http_client *c, const char *method, const char *target,
			    const char *headers, const char *body);
/* As admin. */
struct api_answer *api_get(struct api *f, const char *target);
struct api_answer *api_post(struct api *f, const char *target, const char *body);
#define CM   "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
/* Pods want it; it may be there already. */
void api_default_account(struct api *f);

/* A string of the answer at a dotted path ("metadata.name"), or "". Numbers and booleans as text. */
const char *api_str(const struct api_answer *a, const char *path);

/* Run the loop until fn says so; aborts after 20 s. */
void api_run_until(struct api *f, bool (*fn)(void *arg), void *arg);

/* A watch over HTTP: events as they come. */
struct api_watch {
	struct http_call *call;
	struct buf data; /* what is not yet a line */
	char *lines[64];
	json_t *events[64];
	unsigned n, taken;
	bool done;
};
void api_watch_start(struct api *f, struct api_watch *w, struct http_client *c, const char *target);
/* The next event, waited for; NULL when the watch has ended. Borrowed until api_watch_stop. */
json_t *api_watch_next(struct api *f, struct api_watch *w);
void api_watch_stop(struct api_watch *w);

#endif
