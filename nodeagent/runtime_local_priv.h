/* What the files of the local runtime share. */
#ifndef MINI_NODEAGENT_RUNTIME_LOCAL_PRIV_H
#define MINI_NODEAGENT_RUNTIME_LOCAL_PRIV_H

#include <jansson.h>

#include "lib/core/cgroup.h"
#include "lib/core/list.h"
#include "lib/core/oci_state.h"
#include "nodeagent/runtime_local.h"

#define RUNTIME_LOCAL_MAGIC 0x72746c63u

struct runtime_local {
	uint32_t magic;
	struct runtime base;
	struct env *env;
	uv_loop_t *loop;
	char *root;    /* DIR/run/containers */
	char *bundles; /* DIR/containers */
	char *minirun, *pause, *cgroup_shims;
	struct image_store *images;
	struct cgroup_fs fs;
	int oom_floor;       /* the lowest oom_score_adj we may give: our own, without CAP_SYS_RESOURCE */
	struct list ops;     /* verbs under way */
	struct list watches; /* pidfds of shims */
	struct list stops;   /* containers being stopped */
	struct list execs;
	void (*closed)(void *arg); /* NULL: not closing */
	void *closed_arg;
	struct env_post closed_post;
};

/* A verb: `run` in the pool, `answer` on the loop. Owned by the runtime until answered. */
struct local_op {
	struct env_work work;
	struct list node;
	struct runtime_local *rl;
	int (*run)(struct local_op *, struct err *err);
	void (*answer)(struct local_op *); /* calls the callback */
	char id[128];
	json_t *request; /* what was asked for; read only in the pool */
	struct err err;  /* code 0: it went well */
	int watch_fd;    /* out: a pidfd to be watched for the container's end, or -1 */
	runtime_cb cb;
	runtime_list_cb list_cb;
	runtime_image_cb image_cb;
	void *arg;
	void *result; /* of list, image and stop */
	size_t n_result;
};
struct local_op *local_op_new(struct runtime_local *rl, const char *id, int (*run)(struct local_op *, struct err *err));
void local_op_submit(struct local_op *op);
void runtime_local__maybe_closed(struct runtime_local *rl);
struct runtime_local *runtime_local__of(struct runtime *r);

/* ---- runtime_local_request.c: configs as JSON, so that they can cross to the pool and be kept in mini.json ---- */
json_t *local_request_sandbox(const struct runtime_sandbox_config *c);
json_t *local_request_container(const struct runtime_container_config *c);

/* ---- runtime_local_spec.c: config.json. Pool. ---- */
/* image: NULL for a sandbox. sandbox: its request, sandbox_pid: its pause (0 for a sandbox itself). */
int local_spec(const struct runtime_local *rl, const json_t *request, const struct image_info *image,
	       const json_t *sandbox, int sandbox_pid, json_t **ret, struct err *err);

/* ---- runtime_local_user.c: users by the image's own files. Pool. ---- */
struct local_user {
	uint32_t uid, gid;
	uint32_t *groups;
	size_t n_groups;
};
/* spec: "", "user", "uid", "user:group", ... run_as_*: -1 or what the pod wants instead. */
int local_user_resolve(char *const *layers, const char *spec, int64_t run_as_user, int64_t run_as_group,
		       struct local_user *ret, struct err *err);
void local_user_done(struct local_user *u);

/* ---- runtime_local_disk.c: what is on disk. Pool. ---- */
char *local_bundle(const struct runtime_local *rl, const char *id);
int local_request_read(const struct runtime_local *rl, const char *id, json_t **ret, struct err *err);
/* One container as it is. -ENOENT when there is nothing of that id. */
int local_look(const struct runtime_local *rl, const char *id, struct runtime_container *ret, struct err *err);
/* Ids of all bundles, sandbox NULL: all; else those in that sandbox. NULL-terminated; free with local_ids_free. */
char **local_ids(const struct runtime_local *rl, const char *sandbox);
void local_ids_free(char **ids);
/* Run minirun and wait; its message becomes the error. args: after --root, NULL-terminated. */
int local_minirun(const struct runtime_local *rl, const char *const *args, struct err *err);
/* A pidfd that becomes readable when the container has ended: its shim's, or with the shim gone its init's. -ESRCH. */
int local_end_fd(const struct runtime_local *rl, const char *id, int *ret_fd, struct err *err);
/* Both gone and no exit.json: write one that says "unknown" (255). */
void local_note_lost(const struct runtime_local *rl, const char *id);

/* ---- runtime_local_verbs.c ---- */
int local_run_sandbox(struct local_op *op, struct err *err);
int local_create_container(struct local_op *op, struct err *err);
int local_start_container(struct local_op *op, struct err *err);
int local_remove_container(struct local_op *op, struct err *err);
int local_stop_sandbox(struct local_op *op, struct err *err);
int local_remove_sandbox(struct local_op *op, struct err *err);

/* ---- runtime_local_watch.c ---- */
void local_watch(struct runtime_local *rl, const char *id, int pidfd /* taken */);
void local_watch_close_all(struct runtime_local *rl);
void local_stop_container(struct runtime *, const char *id, unsigned grace_s, runtime_cb, void *arg);

/* ---- runtime_local_socket.c ---- */
int local_sandbox_socket(struct runtime *, const char *id, int *ret_fd, struct err *err);

/* ---- runtime_local_exec.c ---- */
struct runtime_exec *local_exec(struct runtime *, const char *id, const char *const *argv, unsigned flags,
				unsigned timeout_s, const struct runtime_exec_ops *, void *arg);
struct runtime_exec *local_attach(struct runtime *, const char *id, unsigned flags, const struct runtime_exec_ops *,
				  void *arg);
bool local_exec_write(struct runtime_exec *, const void *data, size_t len);
void local_exec_resize(struct runtime_exec *, uint16_t columns, uint16_t rows);
void local_exec_pause(struct runtime_exec *, bool pause);
void local_exec_cancel(struct runtime_exec *);
void local_exec_cancel_all(struct runtime_local *rl);

/* ---- runtime_local_image.c ---- */
void local_image_status(struct runtime *, const char *ref, runtime_image_cb, void *arg);
void local_image_pull(struct runtime *, const char *ref, runtime_image_cb, void *arg);
/* The image config's User field ("" when absent) as text to free. */
char *local_image_user(const struct image_info *image);

#endif
