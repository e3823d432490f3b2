/* A container's output as the CRI log file kubectl reads: "<rfc3339 ns> stdout|stderr F|P <text>\n".
 *
 * A line ends at '\n' (tag F) or when LOG_LINE_MAX bytes came without one (tag P, more follows). Bounded memory: one
 * buffer a stream, inside the struct. Source: kubernetes, "CRI container log format" (design proposal kubelet-cri-logging).
 */
#ifndef MINI_RUNTIME_SHIM_LOG_H
#define MINI_RUNTIME_SHIM_LOG_H

#include "lib/core/util.h"

#define LOG_LINE_MAX 16384
#define LOG_READ_MAX 16384 /* bytes of one read */

struct shim_stream {
	const char *name; /* "stdout", "stderr" */
	int fd;           /* -1: ended */
	size_t len;
	char line[LOG_LINE_MAX];
};
struct shim_log {
	const char *path; /* NULL: nobody keeps the output */
	int fd;
	void (*tee)(void *arg, const struct shim_stream *s, const char *data,
		    size_t len); /* hears all of it; may be NULL */
	void *arg;
};

/* (Re)open, made if missing. A path that can't be opened loses output, never the container: -errno for the caller. */
int shim_log_open(struct shim_log *l);
/* Read what is there and write its lines. 1: more may come; 0: the stream has ended (rest flushed). */
int shim_log_drain(struct shim_log *l, struct shim_stream *s);
/* Bytes as if read; for the above and for tests. */
void shim_log_feed(struct shim_log *l, struct shim_stream *s, const char *data, size_t len);
/* An unfinished last line. */
void shim_log_flush(struct shim_log *l, struct shim_stream *s);

#endif
