/* The on-disk contract between the node agent and minirun: paths, files and their JSON, nothing else.
 *
 * A container lives under ROOT/ID (default ROOT: /run/minirun; the agent uses DIR/run/containers):
 *
 *   ROOT/ID/state.json   written by `minirun create`, then replaced as the status changes: struct oci_state
 *   ROOT/ID/exit.json    written (atomically) by the shim once PID 1 has been reaped: struct oci_exit
 *   ROOT/ID/attach.sock  the shim's, as long as the container lives: `minirun attach` speaks to it (runtime/shim_attach.h)
 *   ROOT/ID/shim.json    written by `minirun shim` before it starts the container: {"pid","startTime","bootId"}
 *
 * `minirun shim --root ROOT --bundle DIR [--log-path FILE] [--cgroup-self PATH] [--stdin|--stdin-once] ID` detaches itself (own session, a
 * subreaper), runs `create`, answers its caller by exiting 0 (created) or 1 (message on stderr), then owns the
 * container's stdio, writes CRI log lines ("<rfc3339 ns> stdout|stderr F|P <text>") to FILE (rotated: reopened on
 * SIGHUP), reaps it and writes exit.json. Everything above may die meanwhile; the agent finds containers again by
 * listing ROOT, waits with inotify on ROOT/ID (exit.json appears by rename) and tells a dead shim by its proc_id.
 * `minirun start ID`, `kill ID SIG`, `delete [--force] ID` are the plain OCI verbs and touch the same files.
 * `minirun shim` of an exec: `minirun exec` runs in the foreground with the caller's stdio and exits with the code.
 *
 * Formats carry "miniVersion": 1. Readers refuse a higher one, ignore unknown members, and bound files to 64 KiB.
 * Source for the state's members: OCI runtime-spec, runtime.md#state.
 */
#ifndef MINI_CORE_OCI_STATE_H
#define MINI_CORE_OCI_STATE_H

#include "lib/core/err.h"
#include "lib/core/proc.h"

#define OCI_STATE_VERSION 1

enum oci_status { OCI_CREATING, OCI_CREATED, OCI_RUNNING, OCI_STOPPED };

struct oci_state {
	char id[128];
	enum oci_status
		status;      /* as recorded; oci_state_read() turns CREATED/RUNNING into STOPPED when PID 1 is gone */
	struct proc_id init; /* the container's PID 1, as seen from the host */
	char *bundle;        /* absolute */
	char *rootfs;        /* absolute: where the root file system is mounted, "" if none is to be unmounted */
	char *cgroup;        /* path below each hierarchy's mount point, "/kubepods/..."; "" if none */
	int64_t created_us;  /* wall clock */
	int64_t started_us;  /* 0 until started */
};

struct oci_exit {
	int code;        /* exit code, or 128 + signal */
	int signal;      /* 0, or what ended it */
	bool oom_killed; /* told by the kernel: memory.events oom_kill / memory.oom_control */
	int64_t started_us, finished_us;
};

/* 0; -ENOENT when there is no such container (or exit); -EPROTO when the file is not ours to understand. */
int oci_state_read(const char *root, const char *id, struct oci_state *ret, struct err *err);
int oci_state_write(const char *root, const struct oci_state *st, struct err *err);
void oci_state_done(struct oci_state *st);
int oci_exit_read(const char *root, const char *id, struct oci_exit *ret, struct err *err);
int oci_exit_write(const char *root, const char *id, const struct oci_exit *ex, struct err *err);
int oci_shim_read(const char *root, const char *id, struct proc_id *ret, struct err *err);
int oci_shim_write(const char *root, const char *id, const struct proc_id *shim, struct err *err);
const char *oci_status_str(enum oci_status s);
/* Container IDs: [A-Za-z0-9_+.-]{1,100}, not starting with '.', so that a path can be made of them. */
bool oci_id_valid(const char *id);

#endif
