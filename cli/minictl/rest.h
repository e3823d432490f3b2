/* Requests to the API server as plain calls: the loop turns until the answer is there. */
#ifndef MINI_MINICTL_REST_H
#define MINI_MINICTL_REST_H

#include "cli/minictl/ctl.h"

#define ACCEPT_TABLE                                                                                                   \
	"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,"              \
	"application/json"

/* Paths and queries. All results are kept for the run. */
char *path_of(const struct kind *k, const char *ns, const char *name, const char *subresource);
char *with_query(const char *path, const char *key, const char *value); /* unchanged when value is empty */

/* One call. body may be NULL. On success *ret (may be NULL) is a new reference, or NULL for an empty answer. Warnings
 * of the server are printed. Errors are the server's Status. */
int rest(struct ctl *c, const char *method, const char *path, const char *accept, const char *content_type,
	 const json_t *body, json_t **ret, struct err *err);
static inline int rest_get(struct ctl *c, const char *path, json_t **ret, struct err *err)
{
	return rest(c, "GET", path, NULL, NULL, NULL, ret, err);
}
/* The answer as text, whatever it is. */
int rest_text(struct ctl *c, const char *path, const char *accept, struct buf *ret, struct err *err);
/* All pages of a list as one. */
int rest_list(struct ctl *c, const char *path, const char *accept, json_t **ret, struct err *err);

/* Streams: logs and watches. Several may run at once. */
struct stream {
	/* set by the owner */
	bool (*on_data)(struct stream *s, const char *data, size_t len); /* true: enough, stop */
	void *arg;
	/* set by stream_start and what follows */
	struct ctl *c;
	struct http_call *call;
	bool done, stopped;
	int status;
	struct buf text; /* an error's body, or an unfinished line */
	struct err err;
};
int stream_start(struct ctl *c, struct stream *s, const char *path, const char *accept, struct err *err);
void stream_stop(struct stream *s); /* cancels if under way, frees what it holds */
/* Until it ends. deadline_ms 0: none. 0 at the stream's end, 1 when on_data had enough. */
int stream_wait(struct ctl *c, struct stream *s, uint64_t deadline_ms, struct err *err);

/* A watch from revision rv ("" or NULL: with what is there first). event: true to stop. obj is borrowed. Returns 1 when
 * it was stopped so, 0 when the server ended it, -ETIMEDOUT at the deadline. */
typedef bool (*watch_fn)(void *arg, const char *type, json_t *obj);
int rest_watch(struct ctl *c, const char *path, const char *accept, const char *rv, uint64_t deadline_ms,
	       watch_fn event, void *arg, struct err *err);

#endif
