/* One pod on this node: its state, its sandbox, its containers. Private to nodeagent/.
 *
 * pod_tick() is called whenever something it looks at may have changed (an answer, an exit, a new object, a timer) and
 * moves every part as far as it goes. What is asked of the runtime answers through rt_call, which forgets a pod that is
 * gone, so nothing dangles.
 */
#ifndef MINI_NODEAGENT_POD_H
#define MINI_NODEAGENT_POD_H

#include "nodeagent/action.h"
#include "nodeagent/agent.h"

enum pod_state {
	POD_NEW,      /* to be looked at */
	POD_VOLUMES,  /* cgroup made; volumes being prepared */
	POD_SANDBOX,  /* pause starting, network being attached */
	POD_RUNNING,  /* init containers, then containers */
	POD_REBUILD,  /* pause died: containers end, the sandbox goes, then POD_SANDBOX again */
	POD_STOPPING, /* containers end: deleted, finished, past its deadline, or the node stops */
	POD_TEARDOWN, /* sandbox, network, volumes and cgroup go */
	POD_ENDED,    /* nothing left on the host; the object waits to be deleted */
	POD_DELETING, /* final status, then DELETE */
	POD_GONE,     /* to be freed */
};

enum sandbox_state { SANDBOX_NONE, SANDBOX_STARTING, SANDBOX_LOOKUP, SANDBOX_READY, SANDBOX_DEAD, SANDBOX_REMOVING };

enum container_class { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_MAIN };

enum container_state {
	CONTAINER_WAITING,   /* never ran in this sandbox, or its last try failed before it ran */
	CONTAINER_IMAGE,     /* image_status or image_pull under way */
	CONTAINER_CREATE,    /* create_container under way */
	CONTAINER_START,     /* start_container under way */
	CONTAINER_POSTSTART, /* runs; its hook too */
	CONTAINER_RUNNING,
	CONTAINER_PRESTOP,  /* runs; hook under way, or waiting for the proxy to drop the endpoint */
	CONTAINER_STOPPING, /* stop_container under way */
	CONTAINER_EXITED,   /* `cur` says how */
};

/* One attempt of a container. */
struct container_run {
	char id[128]; /* "" : none */
	unsigned attempt;
	int64_t created_us, started_us, finished_us; /* wall clock */
	int exit_code;
	bool ended;
	char reason[64];
	char *message;
};

enum probe_type { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_COUNT };

struct probe {
	enum probe_type type;
	bool set;
	struct action_spec action;
	unsigned initial_delay_s, period_s, timeout_s, success_threshold, failure_threshold;
	int64_t grace_s; /* terminationGracePeriodSeconds of the probe; -1: the pod's */
	/* under way */
	struct pod_container *c;
	struct env_timer timer;
	struct action *running;
	bool on;
	bool ok; /* the present verdict */
	unsigned streak;
	bool streak_ok;
	uint64_t early_us; /* the next delay while it has just started; 0: no longer */
};

struct pod_container {
	struct pod *pod;
	enum container_class class;
	unsigned spec_i; /* in spec.containers or spec.initContainers */
	char *name, *image;
	char pull_policy; /* 'A'lways, 'I'fNotPresent, 'N'ever */
	enum container_state state;
	struct container_run cur, prev; /* prev: the last that ended before cur */
	unsigned next_attempt;
	bool in_sandbox; /* cur ran in the present sandbox */
	bool adopted;    /* runs since before this agent */
	bool half_made;  /* the runtime has something of the next attempt, left by an earlier agent */
	char image_id[80];
	char *image_digest, *image_user_name;
	int64_t image_user;

	bool started, ready;         /* by probes */
	bool was_started, was_ready; /* as an earlier agent said */
	struct probe probes[PROBE_COUNT];

	/* why it waits */
	char waiting_reason[64];
	char *waiting_message;
	/* restarts */
	uint64_t backoff_us, backoff_updated_us, exited_at_us; /* loop clock */
	uint64_t retry_at_us;                                  /* not before; 0: at once */
	bool backoff_told;                                     /* the event for this wait is out */
	/* image */
	uint64_t image_backoff_us, image_failed_at_us, pull_started_us;
	bool image_backing_off;
	/* stopping */
	bool stop_asked;
	bool prestop_done;
	uint64_t stop_at_us; /* SIGKILL no later than this */
	unsigned stop_grace_s;
	struct action_spec poststart, prestop;
	struct action *hook;
	bool removed[2]; /* prev, cur: the runtime has been told to forget them */
};

struct volume_token {
	char *volume, *path, *audience; /* of which projected source */
	int64_t expiration_s;
	char *value;
	int64_t issued_at_s, expires_at_s;
	struct client_call *call;
	struct pod *pod;
	uint64_t backoff_us;
};

enum endpoint_state { ENDPOINT_UNASKED, ENDPOINT_ASKED, ENDPOINT_GONE };

struct endpoint_wait; /* pod_tick.c: outlives its pod if need be */

struct pod {
	uint32_t magic;
	struct nodeagent *n;
	char *ns, *name, *uid;
	struct object *obj; /* the newest version seen; NULL: an orphan (only the runtime knows it) */
	bool gone;          /* the object is gone from the API */
	enum pod_state state;

	struct env_post kick;
	struct env_timer wake; /* the earliest deadline of anything below */
	uint64_t wake_at_us;

	/* admission */
	char reject_reason[64]; /* "" : admitted; else phase Failed with this */
	char *reject_message;
	char qos[16];
	char *cgroup;
	bool cgroup_made;
	bool host_network, host_pid, host_ipc, share_pid;
	char restart_policy; /* 'A', 'O', 'N' */
	int64_t start_time_s;

	/* sandbox */
	enum sandbox_state sandbox;
	char sandbox_id[128];
	unsigned sandbox_attempt;
	uint64_t sandbox_retry_at_us, sandbox_backoff_us;
	char ip[64];

	/* containers: init ones (sidecars among them) first, in order */
	struct pod_container *containers;
	size_t n_containers, n_init;
	bool initialized;

	/* stopping */
	bool delete_seen;    /* deletionTimestamp */
	bool node_stop;      /* the node stops: no status, no DELETE */
	uint64_t stop_by_us; /* end of grace */
	int64_t grace_s;     /* what that was made from; -1: not set */
	enum endpoint_state endpoint;
	struct endpoint_wait *endpoint_wait;
	struct env_timer endpoint_timer;
	uint64_t drain_by_us; /* the proxy has answered; a server's queue is waited for until then */
	uint64_t teardown_retry_at_us;
	bool torn_net, torn_volumes, tearing_volumes;

	/* volumes */
	struct ref **refs;
	size_t n_refs;
	struct volume_token *tokens;
	size_t n_tokens, cap_tokens;
	bool volumes_ready, volumes_dirty, volumes_busy;
	char *volumes_problem; /* the last FailedMount told */
	uint64_t volumes_retry_at_us, volumes_backoff_us;

	/* status */
	struct client_call *status_call, *delete_call;
	json_t *status_sent, *status_result;
	uint64_t status_retry_at_us, status_backoff_us, moving_since_us;
	bool phase_final;  /* Succeeded or Failed already stands in the API: it stays */
	bool status_final; /* the status of the end has been accepted */
	uint64_t delete_retry_at_us;
	bool delete_sent;
};

#define POD_MAGIC 0x706f6430u

/* ---- ids: "<uid>_<container name>_<attempt>"; the sandbox's name is "POD" ---- */
void pod_container_id(char ret[128], const char *uid, const char *name, unsigned attempt);
/* False when the id is not one of ours. */
bool pod_parse_id(const char *id, char ret_uid[64], char ret_name[64], unsigned *ret_attempt);
/* The name as it stands in ids: long ones are cut and hashed. */
void pod_id_name(char ret[64], const char *name);

/* ---- pod.c ---- */
struct pod *pod_new(struct nodeagent *n, struct object *obj);
/* Only the runtime knows it: to be removed. */
struct pod *pod_new_orphan(struct nodeagent *n, const char *uid);
void pod_free(struct pod *p);
/* What the runtime had at start belongs to this pod. */
void pod_adopt(struct pod *p, struct rt_found *found, size_t n_found);
void pod_update(struct pod *p, struct object *obj); /* a newer version */
void pod_removed(struct pod *p);                    /* the object is gone */
void pod_kick(struct pod *p);                       /* pod_tick in the next turn */
void pod_wake_at(struct pod *p, uint64_t at_us);    /* pod_tick no later than then */
void pod_refs_changed(struct pod *p, struct ref *r);
void pod_runtime_event(struct pod *p, const char *id);
/* The node stops: at most grace_max_s for every container. */
void pod_stop_for_node(struct pod *p, unsigned grace_max_s);
json_t *pod_spec(struct pod *p, json_t *tree); /* borrowed from the tree */
/* The container's part of the spec, borrowed from the pod's tree. NULL when the pod has no object. */
json_t *container_spec(const struct pod_container *c, const json_t *pod_tree);
struct pod_container *pod_find_container(struct pod *p, const char *name);
/* Event about the pod, or about a container of it. Nothing for orphans. */
void pod_event(struct pod *p, bool warning, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void container_event(struct pod_container *c, bool warning, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* DIR/pods/<uid> */
char *pod_dir(const struct pod *p);

/* ---- pod_tick.c ---- */
void pod_tick(struct pod *p);
void pod_endpoint_forget(struct pod *p);

/* ---- sandbox.c: none -> starting -> lookup -> ready -> dead -> removing -> none ---- */
void sandbox_start(struct pod *p);
void sandbox_remove(struct pod *p);

/* ---- container.c ---- */
void container_tick(struct pod_container *c);
/* Should it run (again)? False once it has ended for good. */
bool container_wants_run(const struct pod_container *c);
bool container_is_up(const struct pod_container *c);   /* a process of it may exist */
bool container_settled(const struct pod_container *c); /* nothing under way and no process */
/* End it: by `by_us` at the latest it is killed. Again with an earlier time: sooner. reason: the Killing event's text. */
void container_stop(struct pod_container *c, uint64_t by_us, const char *reason);
void container_stop_tick(struct pod_container *c);
/* What the runtime says about its current id; NULL: it knows nothing. */
void container_seen(struct pod_container *c, const struct runtime_container *info);
void container_look(struct pod_container *c); /* ask the runtime, then container_seen */
void container_set_waiting(struct pod_container *c, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void container_forget_try(struct pod_container *c); /* new sandbox: begin anew, without a backoff */
void container_run_done(struct container_run *r);
/* How long the pod's spec gives containers; probe's own grace wins where set. */
int64_t pod_spec_grace(struct pod *p);

/* ---- container_config.c: the spec turned into what the runtime wants ---- */
struct container_config; /* everything runtime_container_config points at */
/* -EAGAIN: something it needs is still loading (no event). Else err is what people should read. */
int container_config_make(struct pod_container *c, struct container_config **ret, struct err *err);
const struct runtime_container_config *container_config_get(const struct container_config *k);
void container_config_free(struct container_config *k);

/* ---- podenv.c ---- */
struct env_list {
	struct runtime_env_var *vars; /* name NULL ends; strings owned */
	size_t n, cap;
};
void env_list_done(struct env_list *l);
int pod_env_make(struct pod_container *c, const json_t *pod_tree, const json_t *cspec, struct env_list *ret,
		 struct err *err);
/* $(NAME) replaced from the list, $$ is $. Caller frees. */
char *pod_env_expand(const char *text, const struct env_list *l);
/* A pod's own field ("metadata.labels['a']", "status.podIP"): caller frees; NULL with err when unsupported. */
char *pod_field(struct pod *p, const json_t *pod_tree, const char *path, struct err *err);
/* A container's resource ("limits.cpu") over a divisor. */
char *pod_resource_field(struct nodeagent *n, const json_t *cspec, const char *resource, const char *divisor,
			 struct err *err);

/* ---- etcfiles.c: /etc/hosts, /etc/resolv.conf, /etc/hostname under the pod's directory ---- */
int pod_etc_write(struct pod *p, struct err *err);
char *pod_hostname(const json_t *pod_tree);

/* ---- volumes.c ---- */
void volumes_init(struct pod *p);        /* collect references and tokens of a new pod */
void volumes_pod_changed(struct pod *p); /* labels and annotations may be in a volume */
void volumes_tick(struct pod *p);        /* prepare or refresh; sets volumes_ready */
void volumes_teardown(struct pod *p);    /* sets torn_volumes when done (pod_kick) */
void volumes_done(struct pod *p);        /* let go: requests and references */
/* Host path of a volume by name; read-only by its nature in *ret_ro. NULL with err when there is none. */
char *volume_host_path(struct pod *p, const json_t *pod_tree, const char *volume, bool *ret_ro, struct err *err);
/* Path of sub below base that does not leave it; a missing one is made as a directory. */
int volume_subpath(const char *base, const char *sub, char **ret, struct err *err);
void volumes_forget_jobs(struct nodeagent *n);   /* pool work still out frees itself */
void volumes_clean_unknown(struct nodeagent *n); /* DIR/pods/<uid> of pods nobody knows any more */

/* ---- resources.c ---- */
/* "cpu" in milli, others in units; -1 when not set. which: "limits" or "requests". */
int64_t container_resource(const json_t *cspec, const char *which, const char *resource);
int64_t pod_request(const json_t *pod_tree, const char *resource); /* as the scheduler counts */
void pod_cgroup_limits(const json_t *pod_tree, struct runtime_resources *ret);
void container_resources(struct nodeagent *n, const json_t *pod_tree, const json_t *cspec, const char *qos,
			 struct runtime_resources *ret);

/* ---- admit.c: -1 and reason + message when the node can't run it ---- */
int pod_admit(struct pod *p, char ret_reason[64], char **ret_message);

/* ---- probes.c ---- */
void probes_init(struct pod_container *c, const json_t *cspec);
void probes_start(struct pod_container *c); /* the container runs */
void probes_stop(struct pod_container *c);
void probes_done(struct pod_container *c);

/* ---- status.c ---- */
void status_tick(struct pod *p);
json_t *status_build(struct pod *p);
void status_done(struct pod *p);
/* Take start time, attempts and last states from what an earlier agent wrote. */
void status_recover(struct pod *p);
const char *status_phase(struct pod *p);

/* ---- logs.c ---- */
char *log_path(const struct pod_container *c, unsigned attempt);
int log_prepare(struct pod_container *c, unsigned attempt, struct err *err); /* directories and the link */
void log_forget(struct pod_container *c, unsigned attempt);
void logs_remove_pod(struct pod *p);
/* The end of a log, without its framing, for termination messages. Caller frees. */
char *log_tail(const char *path, size_t max_bytes, unsigned max_lines);

/* ---- rt.c: runtime verbs that forget those who asked once they are gone ---- */
typedef void (*rt_fn)(struct pod *p, struct pod_container *c, const struct err *err);
typedef void (*rt_list_fn)(struct pod *p, struct pod_container *c, const struct err *err,
			   const struct runtime_container *list, size_t n);
typedef void (*rt_image_fn)(struct pod *p, struct pod_container *c, const struct err *err,
			    const struct runtime_image *image);
void rt_run_sandbox(struct pod *p, const struct runtime_sandbox_config *k, rt_fn fn);
void rt_stop_sandbox(struct pod *p, const char *id, rt_fn fn);
void rt_remove_sandbox(struct pod *p, const char *id, rt_fn fn);
void rt_create(struct pod_container *c, const struct runtime_container_config *k, rt_fn fn);
void rt_start(struct pod_container *c, rt_fn fn);
void rt_stop(struct pod_container *c, unsigned grace_s, rt_fn fn);
void rt_remove(struct pod_container *c, const char *id, rt_fn fn);
void rt_list(struct pod *p, struct pod_container *c, const char *id, rt_list_fn fn);
void rt_image_status(struct pod_container *c, const char *ref, rt_image_fn fn);
void rt_image_pull(struct pod_container *c, const char *ref, rt_image_fn fn);
void rt_forget_pod(struct pod *p);
void rt_forget_all(struct nodeagent *n);

#endif
