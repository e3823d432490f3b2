/* The inside of the node agent: what its files share about the node as a whole. Private to nodeagent/.
 *
 * One struct nodeagent owns everything; pods (pod.h) hang off it by uid. All on the loop's thread.
 */
#ifndef MINI_NODEAGENT_AGENT_H
#define MINI_NODEAGENT_AGENT_H

#include "lib/api/object.h"
#include "lib/client/informer.h"
#include "lib/client/reconciler.h"
#include "lib/core/list.h"
#include "lib/core/map.h"
#include "nodeagent/host.h"
#include "nodeagent/nodeagent.h"

#define NODEAGENT_MAGIC 0x6e6f6465u /* "node" */
#define KUBELET_VERSION "v1.32.4+mini"
#define NODE_PODS_MAX   110

#define SECOND_US 1000000ull

struct pod;
struct pod_container;
struct node_reg;
struct node_server;
struct first_list;

enum agent_phase {
	AGENT_NEW,      /* nothing runs yet */
	AGENT_SYNCING,  /* asked the runtime what is there, and the API what should be */
	AGENT_RUNNING,  /* the normal life */
	AGENT_STOPPING, /* nodeagent_stop_pods: every pod is being stopped, none is started */
	AGENT_CLOSED,   /* let go: answers still to come are dropped */
};

struct nodeagent {
	uint32_t magic;
	enum agent_phase phase;
	struct env *env;
	uv_loop_t *loop; /* NULL in virtual time: no node API, no network probes */
	struct nodeagent_config config;
	char *node_name, *node_ip, *dir, *cgroup_root, *cluster_dns, *ca_pem, *listen_host; /* behind config */

	struct client *client;
	struct runtime *runtime;
	struct host *host;
	bool host_owned;
	struct informer_set *informers;
	struct informer *pods_informer, *services_informer;
	struct event_recorder *events;
	const struct kind *kind_pod, *kind_node, *kind_lease, *kind_configmap, *kind_secret, *kind_service, *kind_sa;

	struct map pods;   /* uid -> struct pod */
	struct map refs;   /* "ConfigMap/ns/name" -> struct ref */
	struct list calls; /* struct rt_call: runtime verbs under way */
	struct list works; /* struct volume_job: pool work under way */

	bool informers_synced, runtime_listed;
	struct rt_found *found; /* what the runtime had at start, until adopted */
	size_t n_found;
	struct first_list *first_list; /* agent.c: under way */
	struct env_timer list_retry;

	struct node_reg *reg;
	struct node_server *server;

	/* capacity, read once */
	int64_t cpu_milli, memory_bytes, disk_bytes;

	struct env_timer stop_timer;
	void (*stop_done)(void *arg);
	void *stop_arg;
	struct env_post stop_post;
	void (*close_done)(void *arg);
	void *close_arg;
	struct env_post close_post;
};

/* A container or sandbox found at start. */
struct rt_found {
	struct runtime_container c;
	char uid[64], name[64]; /* out of the id; uid "" when the id is not one of ours */
	unsigned attempt;
	bool taken;
};

/* For tests: replace the host before nodeagent_start (the agent does not own it). */
void nodeagent__set_host(struct nodeagent *n, struct host *host);
/* Tell everyone who waits for the last pod to go. */
void nodeagent__pod_gone(struct nodeagent *n);

/* ---- node.c: the Node object and its Lease ---- */
struct node_reg *node_reg_new(struct nodeagent *n);
void node_reg_watch(struct node_reg *r); /* before the informers start */
void node_reg_start(struct node_reg *r);
void node_reg_free(struct node_reg *r);
void node_read_capacity(struct nodeagent *n);

/* ---- logs.c: one periodic look at the log sizes ---- */
void logs_rotate_all(struct nodeagent *n);

/* ---- refs.c: ConfigMaps and Secrets that pods refer to ---- */
enum ref_state { REF_LOADING, REF_FOUND, REF_ABSENT, REF_FAILED };
struct ref {
	struct nodeagent *n;
	char *key;
	const struct kind *kind;
	char *ns, *name;
	unsigned users;
	enum ref_state state;
	struct object *obj; /* REF_FOUND */
	uint64_t rv;        /* watched from here; 0: list first */
	char *problem;      /* REF_FAILED: what the server said */
	struct client_call *call;
	struct client_watch *watch;
	struct env_timer retry;
	uint64_t backoff_us;
};
/* One more user of an object: listed and watched from now on; ref_put ends it. Changes reach pod_refs_changed(). */
struct ref *ref_get(struct nodeagent *n, const struct kind *kind, const char *ns, const char *name);
void ref_put(struct ref *r);

/* ---- server.c: the node API ---- */
int node_server_new(struct nodeagent *n, struct node_server **ret, struct err *err);
void node_server_kick(struct node_server *s); /* containers changed: those who follow logs look; accepts NULL */
uint16_t node_server_port(const struct node_server *s);
void node_server_close(struct node_server *s, void (*done)(void *arg), void *arg);

#endif
