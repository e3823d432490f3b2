/* Node.spec.podCIDR: each node gets the lowest free /24 of the cluster's range. One worker, so none is given twice. */
#include <arpa/inet.h>

#include "controllers/internal.h"

#define NODEIPAM_MAGIC 0xc01701beu
#define NODE_BITS      24

struct nodeipam_controller {
	struct controller base;
	uint32_t magic;
	uint32_t network; /* host order */
	unsigned n_blocks;
	struct event_recorder *events;
};

static bool parse_cidr(const char *s, uint32_t *ret_network, unsigned *ret_bits)
{
	char addr[32];
	const char *slash = s ? strchr(s, '/') : NULL;
	uint64_t bits;
	struct in_addr in;
	if (!slash || (size_t)(slash - s) >= sizeof(addr) || parse_u64(slash + 1, &bits) < 0 || bits > 32)
		return false;
	memcpy(addr, s, (size_t)(slash - s));
	addr[slash - s] = '\0';
	if (inet_pton(AF_INET, addr, &in) != 1)
		return false;
	*ret_network = ntohl(in.s_addr);
	*ret_bits = (unsigned)bits;
	return true;
}

/* Which blocks the nodes hold. Caller frees. */
static bool *used_blocks(const struct nodeipam_controller *c)
{
	bool *used = NEW_N(bool, c->n_blocks + 1);
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_list(c->base.all->nodes, NULL, &v);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *tree = object_tree(v[i]);
		uint32_t network;
		unsigned bits;
		if (!parse_cidr(json_get_str(json_object_get(tree, "spec"), "podCIDR", NULL), &network, &bits))
			continue;
		uint32_t block = (network - c->network) >> (32 - NODE_BITS);
		if (network >= c->network && block < c->n_blocks)
			used[block] = true;
	}
	return used;
}

static int nodeipam_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct nodeipam_controller *c = arg;
	MAGIC_CHECK(c, NODEIPAM_MAGIC);
	struct object *node = informer_find(c->base.all->nodes, "", key);
	if (!node || !c->n_blocks)
		return 0;
	_cleanup_json_ json_t *tree = object_edit(node);
	json_t *spec = json_need_object(tree, "spec");
	if (*json_get_str(spec, "podCIDR", "") || meta_deleting(tree))
		return 0;
	_cleanup_free_ bool *used = used_blocks(c);
	unsigned block = 0;
	while (block < c->n_blocks && used[block])
		block++;
	if (block == c->n_blocks) {
		event_record(c->events, node, false, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable",
			     key);
		return err_set(err, -ENOSPC, "no /24 of %s is free for node %s", c->base.all->cluster_cidr, key);
	}
	uint32_t network = c->network + (block << (32 - NODE_BITS));
	char cidr[32];
	snprintf(cidr, sizeof(cidr), "%u.%u.%u.0/%u", network >> 24, network >> 16 & 255, network >> 8 & 255,
		 NODE_BITS);
	json_put_str(spec, "podCIDR", cidr);
	json_put(spec, "podCIDRs", json_make("[s]", cidr));
	struct client_request req = request_for(CLIENT_UPDATE, node);
	req.body = tree;
	reconcile_do(r, &req, c->base.all->nodes, NULL, NULL);
	return 0;
}

static void nodeipam_free(struct controller *base)
{
	struct nodeipam_controller *c = (struct nodeipam_controller *)(void *)base;
	reconciler_free(base->queue);
	event_recorder_free(c->events);
	free(c);
}

struct controller *nodeipam_controller_new(struct controllers *all)
{
	struct nodeipam_controller *c = NEW(struct nodeipam_controller);
	c->magic = NODEIPAM_MAGIC;
	c->base.all = all;
	c->base.free = nodeipam_free;
	c->events = event_recorder_new(all->client, "cidrAllocator", NULL);
	unsigned bits;
	if (parse_cidr(all->cluster_cidr, &c->network, &bits) && bits <= NODE_BITS)
		c->n_blocks = 1u << (NODE_BITS - MAX(bits, 8u));
	struct reconciler_config config = {
		.name = "node_ipam", .workers = 1, .reconcile = nodeipam_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	informer_add_handler(all->nodes, &(struct informer_handler){controller_enqueue, &c->base});
	return &c->base;
}
