/* Terminals: a pty made inside the container, its master handed out over a socket. Source: OCI runtime --console-socket,
 * as conmon and containerd's shims use it. */
#ifndef MINI_RUNTIME_CONSOLE_H
#define MINI_RUNTIME_CONSOLE_H

#include "lib/core/err.h"
#include "lib/core/util.h"

/* Connect to the caller's socket. */
int console_connect(const char *path, struct err *err);
/* Inside the container, after its /dev/pts is there: make the pty (owned by uid), send the master to socket_fd, make the
 * slave our terminal and stdio. */
int console_setup(int socket_fd, uid_t uid, unsigned short rows, unsigned short cols, struct err *err);
/* Receive a descriptor. */
int console_receive(int socket_fd, struct err *err);

#endif
