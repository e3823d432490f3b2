/* Who is attached to a container: the shim's socket ROOT/ID/attach.sock, as long as the container lives, whatever becomes of
 * the agent. One packet (SOCK_SEQPACKET) is a byte that says what, then bytes:
 *
 *   to the shim    'i' for stdin (none: it means to send some), 'e' the end of stdin, 'r' struct winsize
 *   from the shim  1, 2: output, as the log has it; '!' why it is refused
 *
 * Bounded: ATTACH_MAX clients, one packet each that waits to be taken, one that waits for the container to read it. A client
 * that does not take its output holds the container back, as a terminal does, for ATTACH_PATIENCE_MS (when that has ended: ATTACH_LAST_MS); then it is let go.
 */
#ifndef MINI_RUNTIME_SHIM_ATTACH_H
#define MINI_RUNTIME_SHIM_ATTACH_H

#include <poll.h>

#include "lib/core/err.h"
#include "lib/core/util.h"
#include "runtime/shim_log.h"

#define ATTACH_MAX         8
#define ATTACH_BYTES       16384 /* of a packet, without its first byte */
#define ATTACH_PATIENCE_MS 30000
#define ATTACH_LAST_MS     2000
#define ATTACH_POLLS       (ATTACH_MAX + 2)

struct attach_client {
	int fd;         /* -1: none */
	bool in;        /* has, or will have, something for stdin */
	size_t waiting; /* bytes of `packet`, which it has not taken; mostly 0, and then there is no packet */
	char *packet;
};

struct attach {
	int listen_fd; /* -1: nobody can be served */
	int in_fd;     /* the container's stdin: a pipe's end, or the terminal's master; -1: closed, or it has none */
	int master_fd; /* the terminal, or -1 */
	bool once;     /* stdin ends with the first client that had some */
	const struct shim_stream
		*line;         /* its unfinished line, maybe a prompt, is the first that a newcomer sees; or NULL */
	int64_t blocked_ms;    /* since when the container is held back; 0: it is not */
	size_t in_off, in_len; /* of `in`, which the container has not read */
	char *in; /* ATTACH_BYTES + 1, once there was a client: a shim that nobody ever attached to stays small */
	struct attach_client clients[ATTACH_MAX];
};

void attach_init(struct attach *a);
/* The socket, in the folder of container `id`, which exists. */
int attach_listen(struct attach *a, const char *root, const char *id, struct err *err);
/* Connects to it: -ECONNREFUSED, -ENOENT when the container is not running. */
int attach_connect(const char *root, const char *id, struct err *err);
/* What to poll for, ATTACH_POLLS entries; and what came of it. */
void attach_polls(const struct attach *a, struct pollfd *p);
void attach_handle(struct attach *a, const struct pollfd *p);
/* Output of the container: stream 1 or 2, at most ATTACH_BYTES, and only while nobody blocks. */
void attach_output(struct attach *a, int stream, const char *data, size_t len);
/* True while output must wait for a client. *ret_ms: -1, or when to ask again at the latest. */
bool attach_blocked(struct attach *a, int patience_ms, int *ret_ms);

#endif
