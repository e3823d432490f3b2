/* A program in a container at the other end of our standard streams: exec, attach, run. Over a WebSocket, where the first
 * byte of a message is its channel (v5.channel.k8s.io, v4.channel.k8s.io). */
#ifndef MINI_MINICTL_REMOTE_H
#define MINI_MINICTL_REMOTE_H

#include "cli/minictl/rest.h"

struct remote_io {
	bool in;  /* hand standard input on */
	bool tty; /* lend our terminal; needs `in` */
};

/* `-i`, `-t` as given, made what can be had. */
struct remote_io remote_io_of(bool in, bool tty);
/* Calls path, to which the streams are added, and stays until its end: the program's exit code (said on stderr when it is not
 * 0), or an error. *ret_reading: standard input is still being read, which nothing can take back: leave by remote_exit(). */
int remote_run(struct ctl *c, const char *path, struct remote_io io, bool *ret_reading, struct err *err);
/* The program's end in place of a return, when *ret_reading was true. rc is what remote_run returned. */
int remote_exit(struct ctl *c, int rc, bool reading, struct err *err);
/* The headers of a WebSocket's beginning, the end of the list included. *key is kept by the caller for the call. */
void remote_headers(const char *protocols, struct http_header ret[6], char **ret_key);
/* Why a call was not upgraded: the server's Status or words. */
int remote_refusal(int status, const struct buf *body, struct err *err);

#endif
