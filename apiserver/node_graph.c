#include "apiserver/node_graph.h"

#include "apiserver/tag.h"

#define PORTION 20 /* pods looked at in one turn of the loop: some 50 us each */

/* One pod that is bound. While the first pods are read also one that is deleted or not bound, without a node: what is read
 * may be older than what its event said. */
struct graph_pod {
	char *uid, *node; /* node NULL: see above */
	uint64_t rev;
	char **edges; /* keys of `edges`, one count each */
	size_t n, cap;
};

struct graph_first {
	char *rest;
	struct blob *value;
	uint64_t rev;
};

struct node_graph {
	struct apiserver *server;
	struct map pods;  /* "ns/name" -> graph_pod */
	struct map edges; /* "NODE K ns/name" -> how many pods say so */
	bool loaded, busy;
	struct list waiting;       /* requests, by queue_node */
	struct graph_first *first; /* read at start, not looked at yet */
	size_t n_first, next;
	struct env_post post;
};

static void edge_key(enum node_edge kind, const char *node, const char *ns, const char *name, struct buf *out)
{
	buf_addf(out, "%s %u %s/%s", node, (unsigned)kind, ns, name);
}

/* ---- what a pod refers to ---- */

struct visit {
	struct node_graph *g; /* NULL: only whether there is one */
	struct graph_pod *pod;
	const char *ns;
	bool any[EDGE_COUNT];
};

static void add_edge(struct visit *v, enum node_edge kind, const char *name)
{
	if (!*name)
		return;
	v->any[kind] = true;
	if (!v->g)
		return;
	_cleanup_buf_ struct buf key = BUF_INIT;
	edge_key(kind, v->pod->node, v->ns, name, &key);
	for (size_t i = 0; i < v->pod->n; i++)
		if (streq(v->pod->edges[i], key.data))
			return;
	uintptr_t count = (uintptr_t)map_get(&v->g->edges, key.data);
	map_set(&v->g->edges, key.data, (void *)(count + 1));
	GROW(v->pod->edges, v->pod->cap, v->pod->n + 1);
	v->pod->edges[v->pod->n++] = buf_steal(&key);
}

static void add_ref(struct visit *v, enum node_edge kind, const json_t *holder, const char *member)
{
	add_edge(v, kind, json_get_str(json_object_get(holder, member), "name", ""));
}

static void visit_containers(struct visit *v, const json_t *list)
{
	size_t i, k;
	json_t *c, *e;
	json_array_foreach(list, i, c)
	{
		json_array_foreach(json_object_get(c, "envFrom"), k, e)
		{
			add_ref(v, EDGE_SECRET, e, "secretRef");
			add_ref(v, EDGE_CONFIGMAP, e, "configMapRef");
		}
		json_array_foreach(json_object_get(c, "env"), k, e)
		{
			const json_t *from = json_object_get(e, "valueFrom");
			add_ref(v, EDGE_SECRET, from, "secretKeyRef");
			add_ref(v, EDGE_CONFIGMAP, from, "configMapKeyRef");
		}
	}
}

static void visit_projected(struct visit *v, const json_t *projected)
{
	size_t i;
	json_t *s;
	json_array_foreach(json_object_get(projected, "sources"), i, s)
	{
		add_ref(v, EDGE_SECRET, s, "secret");
		add_ref(v, EDGE_CONFIGMAP, s, "configMap");
	}
}

static void visit_volume(struct visit *v, const json_t *volume)
{
	const char *type;
	json_t *source;
	json_object_foreach((json_t *)(uintptr_t)volume, type, source)
	{
		/* secret, azureFile; then cephfs, flexVolume, iscsi, rbd, scaleIO, storageos; csi */
		add_edge(v, EDGE_SECRET, json_get_str(source, "secretName", ""));
		add_ref(v, EDGE_SECRET, source, "secretRef");
		add_ref(v, EDGE_SECRET, source, "nodePublishSecretRef");
	}
	add_ref(v, EDGE_CONFIGMAP, volume, "configMap");
	visit_projected(v, json_object_get(volume, "projected"));
	add_edge(v, EDGE_CLAIM, json_get_str(json_object_get(volume, "persistentVolumeClaim"), "claimName", ""));
}

static void visit_pod(struct visit *v, const json_t *tree)
{
	static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
	const json_t *spec = json_object_get(tree, "spec");
	size_t i;
	json_t *e;
	add_edge(v, EDGE_ACCOUNT, json_get_str(spec, "serviceAccountName", ""));
	json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, e)
		add_edge(v, EDGE_SECRET, json_get_str(e, "name", ""));
	for (unsigned l = 0; l < ARRAY_LEN(lists); l++)
		visit_containers(v, json_object_get(spec, lists[l]));
	json_array_foreach(json_object_get(spec, "volumes"), i, e) visit_volume(v, e);
}

/* ---- pods come and go ---- */

static void drop_edges(struct node_graph *g, struct graph_pod *p)
{
	for (size_t i = 0; i < p->n; i++) {
		uintptr_t count = (uintptr_t)map_get(&g->edges, p->edges[i]);
		if (count > 1)
			map_set(&g->edges, p->edges[i], (void *)(count - 1));
		else
			map_del(&g->edges, p->edges[i]);
		free(p->edges[i]);
	}
	free(STEAL(p->edges));
	p->n = p->cap = 0;
}

static void pod_free(void *arg)
{
	struct graph_pod *p = arg;
	for (size_t i = 0; i < p->n; i++)
		free(p->edges[i]);
	free(p->edges);
	free(p->uid);
	free(p->node);
	free(p);
}

static void forget(struct node_graph *g, const char *rest)
{
	struct graph_pod *p = map_get(&g->pods, rest);
	if (!p)
		return;
	drop_edges(g, p);
	map_del(&g->pods, rest);
}

static void remember_none(struct node_graph *g, const char *rest, uint64_t rev)
{
	forget(g, rest);
	if (g->loaded)
		return;
	struct graph_pod *p = NEW(struct graph_pod);
	p->rev = rev;
	map_set(&g->pods, rest, p);
}

void node_graph_observe(struct node_graph *g, struct resource *pods, const char *rest, struct blob *cur, uint64_t rev)
{
	struct graph_pod *p = map_get(&g->pods, rest);
	if (p && p->rev >= rev)
		return;
	_cleanup_object_ struct object *o = cur ? recent_object(g->server, pods, cur, rev) : NULL;
	/* What a bound pod refers to does not change. */
	if (o && p && p->node && streq(p->uid, o->uid)) {
		p->rev = rev;
		return;
	}
	_cleanup_json_ json_t *tree = o ? object_tree(o) : NULL;
	const char *node = json_get_str(json_object_get(tree, "spec"), "nodeName", "");
	if (!o || !*node) {
		remember_none(g, rest, rev);
		return;
	}
	forget(g, rest);
	p = NEW(struct graph_pod);
	*p = (struct graph_pod){.uid = xstrdup(o->uid), .node = xstrdup(node), .rev = rev};
	map_set(&g->pods, rest, p);
	/* a mirror pod is of the node's own making: it gives no rights */
	if (!meta_annotation(tree, "kubernetes.io/config.mirror"))
		visit_pod(&(struct visit){.g = g, .pod = p, .ns = o->ns}, tree);
}

const char *node_graph_refers(const json_t *pod)
{
	static const char *const words[EDGE_COUNT] = {"secrets", "configmaps", "a service account",
						      "persistentvolumeclaims"};
	struct visit v = {0};
	visit_pod(&v, pod);
	for (unsigned k = 0; k < EDGE_COUNT; k++)
		if (v.any[k])
			return words[k];
	return NULL;
}

/* ---- questions ---- */

bool node_graph_has(const struct node_graph *g, enum node_edge kind, const char *node, const char *ns, const char *name)
{
	_cleanup_buf_ struct buf key = BUF_INIT;
	edge_key(kind, node, ns, name, &key);
	return map_has(&g->edges, key.data);
}

bool node_graph_has_pod(const struct node_graph *g, const char *node, const char *ns, const char *name)
{
	_cleanup_free_ char *rest = xasprintf("%s/%s", ns, name);
	const struct graph_pod *p = map_get(&g->pods, rest);
	return p && p->node && streq(p->node, node);
}

bool node_graph_wait(struct node_graph *g, struct request *r)
{
	if (g->loaded)
		return true;
	list_push(&g->waiting, &r->queue_node);
	node_graph_start(g); /* in case the first attempt failed */
	return false;
}

/* ---- the first pods ---- */

static void drop_first(struct node_graph *g)
{
	for (size_t i = 0; i < g->n_first; i++) {
		free(g->first[i].rest);
		blob_unref(g->first[i].value);
	}
	free(STEAL(g->first));
	g->n_first = g->next = 0;
}

static void loaded(struct node_graph *g)
{
	struct list *n;
	drop_first(g);
	g->loaded = true;
	MAP_EACH (&g->pods, e) {
		const struct graph_pod *p = e->value;
		if (!p->node)
			map_del(&g->pods, e->key);
	}
	while ((n = list_pop(&g->waiting)))
		request_tick(LIST_ENTRY(n, struct request, queue_node));
}

static void look_on(struct env_post *post)
{
	struct node_graph *g = CONTAINER_OF(post, struct node_graph, post);
	struct resource *pods = server_resource(g->server, "", "v1", "pods");
	g->busy = false;
	if (g->server->closing)
		return;
	for (unsigned i = 0; i < PORTION && g->next < g->n_first; i++) {
		const struct graph_first *f = &g->first[g->next++];
		node_graph_observe(g, pods, f->rest, f->value, f->rev);
	}
	if (g->next == g->n_first) {
		loaded(g);
		return;
	}
	g->busy = true;
	env_post(g->server->env, post);
}

static void on_pods(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct node_graph *g = arg;
	struct resource *pods = server_resource(g->server, "", "v1", "pods");
	bool failed = store_failed(err);
	g->busy = false;
	if (g->server->closing)
		return;
	if (failed) { /* what nodes wait for is asked again when they ask again */
		struct list *n;
		while ((n = list_pop(&g->waiting)))
			request_fail(LIST_ENTRY(n, struct request, queue_node), err);
		return;
	}
	g->first = NEW_N(struct graph_first, resp->n_kvs + 1);
	g->n_first = resp->n_kvs;
	for (size_t i = 0; i < resp->n_kvs; i++)
		g->first[i] = (struct graph_first){xstrdup(resource_key_rest(pods, resp->kvs[i].key)),
						   blob_ref(resp->kvs[i].value), resp->kvs[i].mod_rev};
	look_on(&g->post);
}

void node_graph_start(struct node_graph *g)
{
	struct resource *pods = server_resource(g->server, "", "v1", "pods");
	if (g->busy || g->loaded)
		return;
	_cleanup_free_ char *key = resource_range(pods, ""), *end = store_prefix_end(key);
	struct store_range_req req = {.key = key, .end = end, .serializable = true};
	g->busy = true;
	store_range(g->server->store, &req, on_pods, g);
}

bool node_graph_busy(const struct node_graph *g)
{
	return g->busy;
}

struct node_graph *node_graph_new(struct apiserver *a)
{
	struct node_graph *g = NEW(struct node_graph);
	g->server = a;
	g->pods.free_value = pod_free;
	g->post.fn = look_on;
	list_init(&g->waiting);
	return g;
}

void node_graph_free(struct node_graph *g)
{
	if (!g)
		return;
	drop_first(g);
	map_done(&g->pods);
	map_done(&g->edges);
	free(g);
}
