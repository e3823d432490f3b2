/* GET /mini/v1/snapshot: a copy of the state, streamed while the store works on. Its size is in a header, so that
 * whoever saves it sees when it is not whole; the file's own hashes say the rest (lib/core/snapshot_file.h). */
#include <errno.h>

#include "apiserver/mini_api.h"
#include "lib/core/log.h"

#define PIECE_BYTES (256u << 10)
#define UNSENT_MAX  (1u << 20)
#define AT_ONCE_MAX 2u
#define TYPE        "application/octet-stream"
#define SIZE_HEADER "Mini-Snapshot-Size"
#define REV_HEADER  "Mini-Snapshot-Revision"

/* LOOK makes the copy; STREAM: read a piece -> write it -> (drained) -> read the next, until the end. */
struct snapshot_stream {
	struct request *r;
	struct store_snapshot *snapshot;
	uint64_t off;
};

static void stream_free(void *p)
{
	struct snapshot_stream *s = p;
	s->r->server->n_snapshots--;
	store_snapshot_free(s->snapshot);
	free(s);
}

static void on_made(void *arg, const struct err *err, struct store_snapshot *snapshot)
{
	struct request *r = arg;
	struct snapshot_stream *s = r->extra;
	if (!store_failed(err))
		s->snapshot = snapshot;
	if (!request_arrived(r))
		return;
	if (store_failed(err) && err->code == -ENOTSUP)
		err_status(&r->err, ERR_BAD_REQUEST,
			   "this cluster keeps its state in an external etcd: etcdctl snapshot save copies it");
	else if (store_failed(err))
		fail_store(r, err);
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_CHANGE);
}

static int snapshot_look(struct request *r)
{
	struct apiserver *a = r->server;
	if (!r->http)
		return fail_bad(r, "a snapshot needs an HTTP connection");
	if (a->n_snapshots >= AT_ONCE_MAX) {
		err_status(&r->err, ERR_TOO_MANY_REQUESTS, "%u snapshots are being taken, try again later",
			   AT_ONCE_MAX);
		r->err.retry_after_s = 5;
		return r->err.code;
	}
	struct snapshot_stream *s = NEW(struct snapshot_stream);
	s->r = r;
	r->extra = s;
	r->extra_free = stream_free;
	a->n_snapshots++;
	request_submitted(r);
	store_snapshot_make(a->store, on_made, r);
	return REQUEST_WAIT;
}

static void read_next(struct snapshot_stream *s);

static void on_drained(void *arg, struct http_request *hr)
{
	(void)hr;
	read_next(arg);
}

static void on_read(void *arg, const struct err *err, const void *data, size_t len)
{
	struct snapshot_stream *s = arg;
	struct request *r = s->r;
	if (!request_arrived(r))
		return;
	if (store_failed(err)) {
		log_warn("cluster", "a snapshot could not be sent: %s", err->message);
		http_abort(STEAL(r->http));
		request_finish(r);
		return;
	}
	if (len)
		http_write(r->http, data, len);
	s->off += len;
	if (s->off >= s->snapshot->size || len < PIECE_BYTES) {
		if (s->off == s->snapshot->size)
			http_end(STEAL(r->http));
		else
			http_abort(STEAL(r->http));
		request_finish(r);
	} else if (http_unsent(r->http) > UNSENT_MAX) {
		http_on_drain(r->http, on_drained, s);
	} else {
		read_next(s);
	}
}

static void read_next(struct snapshot_stream *s)
{
	request_submitted(s->r);
	store_snapshot_read(s->snapshot, s->off, PIECE_BYTES, on_read, s);
}

static int snapshot_change(struct request *r)
{
	struct snapshot_stream *s = r->extra;
	char size[24], rev[24];
	snprintf(size, sizeof(size), "%llu", (unsigned long long)s->snapshot->size);
	snprintf(rev, sizeof(rev), "%llu", (unsigned long long)s->snapshot->rev);
	const struct http_header headers[] = {{"Content-Type", TYPE},
					      {"Cache-Control", "no-store"},
					      {SIZE_HEADER, size},
					      {REV_HEADER, rev},
					      {NULL, NULL}};
	http_respond_start(r->http, 200, headers);
	read_next(s);
	return REQUEST_STREAMS;
}
const struct handler mini_handler_snapshot = {.look = snapshot_look, .change = snapshot_change};
