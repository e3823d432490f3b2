/* What the files of the API server share: the server itself, the kinds it serves, keys in the store.
 *
 * Everything belongs to the loop's thread. A server lives from apiserver_new() to the `done` of apiserver_close().
 */
#ifndef MINI_APISERVER_SERVER_H
#define MINI_APISERVER_SERVER_H

#include "apiserver/apiserver.h"
#include "lib/core/list.h"
#include "lib/core/map.h"

#define APISERVER_MAGIC 0x61706973u
#define SA_ISSUER       "https://kubernetes.default.svc.cluster.local"

struct hub;
struct rbac;
struct node_graph;
struct request;
struct service_ips;
struct recent;
struct authn_cache;
struct token_tries;

/* A kind as it is served: the row of tables, where it is stored, and the one watch all watchers share. */
struct resource {
	const struct kind *kind;
	char *prefix;      /* "/registry/pods/" */
	char *resource;    /* "deployments.apps" */
	char *api_version; /* "apps/v1" */
	char *head;        /* the bytes every stored object begins with; the resourceVersion goes right behind */
	size_t head_len;
	bool stored;     /* false: reviews, answered and forgotten */
	struct hub *hub; /* NULL when not stored */
};

/* What creates need to know of a namespace: checked against the store in the create's own transaction. */
struct ns_entry {
	uint64_t mod_rev;
	bool terminating;
};

struct apiserver {
	uint32_t magic;
	struct env *env;
	uv_loop_t *loop; /* NULL in simulation */
	struct store *store;

	char *service_cidr, *cluster_cidr, *ca_pem, *ca_key_pem, *name, *sa_key_pem, *kubelet_cert_pem,
		*kubelet_key_pem, *advertise_ip;
	uint16_t advertise_port;
	int64_t cert_life_s;
	unsigned node_port_min, node_port_max;
	unsigned max_reading, max_writing;

	struct resource *resources;
	size_t n_resources;
	struct map by_path;    /* "group/version/plural" -> resource */
	struct map namespaces; /* name -> ns_entry */
	struct rbac *rbac;
	struct node_graph *nodes; /* what their pods refer to */
	struct service_ips *service_ips;
	struct recent *recent;
	struct authn_cache *authn_cache;
	struct token_tries *token_tries;
	struct discovery *discovery;
	struct map documents; /* OpenAPI, rendered once */

	struct http_server *http;
	struct list requests; /* all alive */
	struct list queued;   /* came before the server had started */
	struct list clients;  /* direct ones */
	unsigned n_reading, n_writing, n_snapshots;
	uint64_t made_us;
	uint64_t event_lease, event_lease_us; /* under which events are written, and since when */
	unsigned event_lease_uses;

	bool started, closing, nudging, alone;
	bool vital_gone; /* something was deleted while bootstrap was at work */
	void (*ready_fn)(void *arg, const struct err *err);
	void *ready_arg;
	struct bootstrap *bootstrap;
	struct endpoints *endpoints;
	void (*close_fn)(void *arg);
	void *close_arg;
	struct env_post close_post;
	uint64_t start_rev; /* the store's revision when the server started */
};

struct resource *server_resource(struct apiserver *a, const char *group, const char *version, const char *plural);
struct resource *server_resource_of(struct apiserver *a, const struct kind *k);

/* Keys: PREFIX[ns/]name. Caller frees. ns NULL or "" gives the prefix of all. */
char *resource_key(const struct resource *res, const char *ns, const char *name);
char *resource_range(const struct resource *res, const char *ns);
/* "ns/name" or "name" of a key of this resource; borrowed from key. */
const char *resource_key_rest(const struct resource *res, const char *key);

/* Of a store's answer: engines pass NULL or a zeroed err for success. */
static inline bool store_failed(const struct err *err)
{
	return err && err->code;
}

/* A fresh v4 UUID. */
void server_uuid(struct apiserver *a, char ret[37]);
/* n random characters of upstream's alphabet for generated names. */
void server_random_suffix(struct apiserver *a, char *ret, unsigned n);
/* Now, as RFC 3339 with seconds. */
const char *server_now(struct apiserver *a, char ret[21]);

/* Members of metadata that the server gives a new object. The tree is changed. */
void server_stamp(struct apiserver *a, json_t *tree);

#endif
