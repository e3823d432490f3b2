/* Join tokens (lib/client/join_token.h) go when their time is over; nobody takes an expired one meanwhile. Source:
 * k8s.io/kubernetes/pkg/controller/bootstrap/tokencleaner.go. */
#include "controllers/internal.h"
#include "lib/client/join_token.h"

#define TOKENCLEANER_MAGIC 0xc01770c1u
#define LOOK_AGAIN_S       3600 /* far times are looked at now and then: clocks are set */

struct tokencleaner {
	struct controller base;
	uint32_t magic;
	struct informer *secrets;
};

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static int tokencleaner_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct tokencleaner *c = arg;
	MAGIC_CHECK(c, TOKENCLEANER_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *secret = informer_find(c->secrets, ns, name);
	if (!secret)
		return 0;
	_cleanup_json_ json_t *tree = object_tree(secret);
	int64_t expires = join_token_expiry(tree), left = expires - env_wall_s(c->base.all->env);
	if (expires == 0)
		return 0;
	if (expires > 0 && left > 0) {
		reconcile_again_after(r, (uint64_t)MIN(left, LOOK_AGAIN_S) * 1000000u);
		return 0;
	}
	struct client_request req = request_for(CLIENT_DELETE, secret);
	req.precondition_uid = secret->uid;
	reconcile_do(r, &req, c->secrets, fine_when_gone, NULL);
	return 0;
}

static void tokencleaner_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *tokencleaner_controller_new(struct controllers *all)
{
	struct tokencleaner *c = NEW(struct tokencleaner);
	c->magic = TOKENCLEANER_MAGIC;
	c->base.all = all;
	c->base.free = tokencleaner_free;
	struct reconciler_config config = {.name = "token_cleaner", .reconcile = tokencleaner_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->secrets = informer_get(all->informers, kind_by_kind("", "v1", "Secret"), JOIN_TOKEN_NS, NULL,
				  "type=" JOIN_TOKEN_TYPE);
	informer_add_handler(c->secrets, &(struct informer_handler){controller_enqueue, &c->base});
	return &c->base;
}
