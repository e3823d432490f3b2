/* The container runtime as the node agent sees it: the verbs of CRI. Seam 4.
 *
 * Asynchronous: each verb is answered by one callback on the loop. IDs are chosen by the caller (oci_id_valid), so that
 * a retry after a crash finds its own. Every verb is idempotent: stopping what is stopped, removing what is gone, and
 * creating what exists with the same id succeed. Implementations: local (runtime_local.c: bundles, overlayfs, minirun),
 * a fake for tests; CRI gRPC later. Source: k8s.io/cri-api v1.
 */
#ifndef MINI_NODEAGENT_RUNTIME_H
#define MINI_NODEAGENT_RUNTIME_H

#include "lib/core/env.h"
#include "lib/core/err.h"

struct runtime;

struct runtime_env_var {
	const char *name, *value;
};
struct runtime_mount {
	const char *host_path, *container_path;
	bool read_only;
	bool tmpfs; /* no host path: a tmpfs of size_bytes (0: half of memory) */
	uint64_t size_bytes;
	bool propagate_from_host; /* HostToContainer (rslave) */
};
struct runtime_resources {
	int64_t cpu_shares;                  /* v1 scale; turned into cpu.weight on v2; 0: unset */
	int64_t cpu_quota_us, cpu_period_us; /* quota 0: none */
	int64_t memory_limit_bytes;          /* 0: none */
	int64_t memory_request_bytes;        /* for memory.min/high where used; 0: none */
	int64_t pids_limit;                  /* 0: none */
	int oom_score_adj;
};
struct runtime_security {
	int64_t run_as_user, run_as_group; /* -1: the image's */
	const int64_t *supplemental_groups;
	size_t n_supplemental_groups;
	bool privileged, read_only_rootfs, no_new_privs;
	const char *const *cap_add, *const *cap_drop; /* without "CAP_"; "ALL" allowed; NULL-terminated */
	bool seccomp_unconfined;
};

struct runtime_sandbox_config {
	const char *id, *pod_name, *pod_ns, *pod_uid;
	const char *hostname;
	const char *cgroup_parent; /* "/kubepods/burstable/pod<uid>", made by the agent */
	bool host_network, host_pid, host_ipc, share_pid;
	const struct runtime_env_var *sysctls; /* name NULL ends; may be NULL */
};
struct runtime_container_config {
	const char *id, *sandbox_id, *name;
	const char *image_id;                     /* sha256:...: of runtime_pull/image_status */
	const char *const *command, *const *args; /* NULL: the image's entrypoint/cmd; NULL-terminated */
	const char *working_dir;                  /* NULL: the image's */
	const struct runtime_env_var *env;        /* name NULL ends */
	const struct runtime_mount *mounts;
	size_t n_mounts;
	struct runtime_resources resources;
	struct runtime_security security;
	const char *cgroup_parent;
	const char *log_path;             /* CRI log file */
	bool stdin_open, stdin_once, tty; /* once: stdin ends with the first who was attached to it */
	const char *stop_signal;          /* NULL: the image's, else SIGTERM */
};

enum runtime_status { RUNTIME_CREATED, RUNTIME_RUNNING, RUNTIME_EXITED, RUNTIME_UNKNOWN };
struct runtime_container {
	char id[128];
	bool is_sandbox;
	enum runtime_status status;
	int exit_code, signal;
	bool oom_killed;
	int64_t created_us, started_us, finished_us; /* wall clock */
	int pid;                                     /* PID 1 on the host; 0 when not running */
};
struct runtime_image {
	char id[80];             /* sha256:<hex> of the config */
	const char *const *tags; /* NULL-terminated */
	const char *digest;      /* repo digest or "" */
	uint64_t size_bytes;
	int64_t user;
	const char *user_name; /* of the config: uid, or -1 and a name */
};

typedef void (*runtime_cb)(void *arg, const struct err *err);
typedef void (*runtime_list_cb)(void *arg, const struct err *err, const struct runtime_container *list, size_t n);
/* image NULL when there is none */
typedef void (*runtime_image_cb)(void *arg, const struct err *err, const struct runtime_image *image);

enum runtime_exec_flags { RUNTIME_EXEC_STDIN = 1, RUNTIME_EXEC_TTY = 2 };
struct runtime_exec_ops {
	/* With a terminal all output is fd 1, but what minirun itself has to say. */
	void (*on_output)(void *arg, int fd /* 1 or 2 */, const void *data, size_t len);
	/* code: exit code or 128+signal; err set when it could not be run (or timed out: -ETIMEDOUT) */
	void (*on_done)(void *arg, const struct err *err, int code);
	void (*on_drain)(void *arg); /* exec_write takes more again; may be NULL */
};
struct runtime_exec; /* one under way, of exec or attach */
struct runtime_stats {
	uint64_t cpu_ns, memory_working_set_bytes, memory_usage_bytes, memory_rss_bytes;
};

struct runtime_ops {
	/* Pause is up; its network namespace exists but has only lo: /proc/PID/ns/net of the sandbox is for the network. */
	void (*run_sandbox)(struct runtime *, const struct runtime_sandbox_config *, runtime_cb, void *arg);
	void (*stop_sandbox)(struct runtime *, const char *id, runtime_cb, void *arg); /* kills everything in it */
	void (*remove_sandbox)(struct runtime *, const char *id, runtime_cb, void *arg);
	void (*create_container)(struct runtime *, const struct runtime_container_config *, runtime_cb, void *arg);
	void (*start_container)(struct runtime *, const char *id, runtime_cb, void *arg);
	/* Stop signal, wait at most grace_s, SIGKILL. Answered when it has exited. */
	void (*stop_container)(struct runtime *, const char *id, unsigned grace_s, runtime_cb, void *arg);
	void (*remove_container)(struct runtime *, const char *id, runtime_cb, void *arg);
	/* Sandboxes and containers, whoever made them; id NULL: all. */
	void (*list)(struct runtime *, const char *id, runtime_list_cb, void *arg);
	struct runtime_exec *(*exec)(struct runtime *, const char *id, const char *const *argv, unsigned flags,
				     unsigned timeout_s, const struct runtime_exec_ops *, void *arg);
	/* Stdin and output of the container itself, from now on; done (code 0) when it ends. Cancelling leaves it. */
	struct runtime_exec *(*attach)(struct runtime *, const char *id, unsigned flags,
				       const struct runtime_exec_ops *, void *arg);
	/* Stdin; len 0 closes it. False: taken, but enough waits now; on_drain follows. */
	bool (*exec_write)(struct runtime_exec *, const void *data, size_t len);
	void (*exec_resize)(struct runtime_exec *, uint16_t columns, uint16_t rows); /* of its terminal */
	void (*exec_pause)(struct runtime_exec *, bool pause);                       /* no output for now */
	void (*exec_cancel)(struct runtime_exec *);                                  /* kills it; no callback follows */
	/* A TCP socket of the sandbox's network, not blocking; connecting it is the caller's affair. Quick. */
	int (*sandbox_socket)(struct runtime *, const char *id, int *ret_fd, struct err *err);
	int (*stats)(struct runtime *, const char *id, struct runtime_stats *ret); /* from the cgroup files: quick */
	void (*image_status)(struct runtime *, const char *ref, runtime_image_cb, void *arg);
	/* Fetch from a registry: not in the local runtime yet (-ENOTSUP with a message that says `minictl image import`). */
	void (*image_pull)(struct runtime *, const char *ref, runtime_image_cb, void *arg);
	void (*close)(struct runtime *, void (*done)(void *arg), void *arg); /* containers live on */
};

/* Called whenever a container or sandbox changed by itself (exited). */
typedef void (*runtime_event_fn)(void *arg, const char *id);

struct runtime {
	const struct runtime_ops *ops;
	runtime_event_fn on_event;
	void *on_event_arg;
};

#endif
