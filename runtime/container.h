/* One container's life as minirun's verbs drive it. Each verb is a process of its own; what they share is on disk
 * (lib/core/oci_state.h) and one socket, ROOT/ID/start.sock, on which a created container waits to be started.
 *
 *   create: state.json "creating" -> control groups -> clone -> init prepares itself -> state.json "created"
 *   start:  connects to start.sock; init answers with an error, or by closing the socket in exec -> "running"
 *
 * Nothing is made before state.json says where it will be; an init whose creator dies ends itself; so that
 * `delete --force` cleans after a crash at any point. The folder ROOT/ID is locked (flock) while a verb changes things.
 */
#ifndef MINI_RUNTIME_CONTAINER_H
#define MINI_RUNTIME_CONTAINER_H

#include "lib/core/cgroup.h"
#include "lib/core/oci_state.h"
#include "runtime/process.h"
#include "runtime/spec.h"

struct runtime_global {
	const char *root;
	const char *log; /* file for errors, or NULL */
	bool log_json;
	bool systemd_cgroup;
};

struct create_options {
	const char *bundle, *pid_file, *console_socket;
	int console_fd; /* a connected socket instead of a path; -1: none */
	bool no_new_keyring;
	int preserve_fds;
	bool start; /* `run`: start at once, by the caller's own channel */
};

struct container {
	const struct runtime_global *global;
	const struct create_options *options;
	struct spec spec;
	struct process process;
	struct seccomp_filter *filter;
	struct oci_state state;
	struct cgroup_fs fs;
	const char *group; /* state.cgroup, or NULL */
	int dir_fd;        /* ROOT/ID, locked */
	int sync_fd;       /* ours: to init */
	int init_sync_fd;  /* init's */
	int start_fd;      /* listening */
	int console_fd;
};
#define CONTAINER_INIT                                                                                                 \
	((struct container){.dir_fd = -1, .sync_fd = -1, .init_sync_fd = -1, .start_fd = -1, .console_fd = -1})
void container_done(struct container *c);
#define _cleanup_container_ _cleanup_(container_done)

/* On failure nothing is left. With options->start the container runs when this returns. */
int container_create(struct container *c, const struct runtime_global *g, const struct create_options *o,
		     const char *id, struct err *err);
int container_start(const struct runtime_global *g, const char *id, struct err *err);
/* Removes everything; a living one only with force (killed first). force: absent is fine. */
int container_delete(const struct runtime_global *g, const char *id, bool force, struct err *err);
/* The same for the one who made it and has seen it end: nothing is read again. */
int container_finish(struct container *c, struct err *err);
int container_kill(const struct runtime_global *g, const char *id, int sig, bool all, struct err *err);

/* Lock ROOT/ID. -ENOENT when there is none. */
int container_lock(const struct runtime_global *g, const char *id, int *ret_fd, struct err *err);
/* config.json as the bundle has it (for exec, hooks). */
int container_spec(const struct oci_state *st, struct spec *ret, struct err *err);
/* The filter that `spec` wants for a process with these capabilities; *ret NULL when none. */
int container_filter(const struct runtime_global *g, const struct spec *s, uint64_t bounding,
		     struct seccomp_filter **ret, struct err *err);
int64_t wall_us(void);
/* fork, with namespaces and born in a v2 control group (fd, or -1). */
pid_t clone_process(uint64_t flags, int cgroup_fd);

/* What passes between creator and init: one message a packet. */
enum sync_kind {
	SYNC_GO = 'g',
	SYNC_HOOKS = 'h',
	SYNC_READY = 'r',
	SYNC_COMMITTED = 'c',
	SYNC_START = 's',
	SYNC_ERROR = 'e'
};
struct sync_message {
	int32_t kind, code;
	char text[1024];
};
int sync_send(int fd, enum sync_kind kind, const struct err *e);
/* *ret_kind 0: the other side is gone (or has exec'd). SYNC_ERROR: its error is returned in err, as the return code. */
int sync_receive(int fd, int *ret_kind, struct err *err);

/* init.c: the child's side. Never returns. */
void init_main(struct container *c) __attribute__((noreturn));

#endif
