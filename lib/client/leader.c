#include <errno.h>

#include "lib/client/leader.h"
#include "lib/core/log.h"

#define LEADER_MAGIC    0x1eade401u
#define LEASE_S         15
#define RENEW_WITHIN_US 10000000ull
#define RETRY_US        2000000ull
#define LEASE_NS        "kube-system"

/* One round: get -> create | update, then again after RETRY_US. Holding or not is a flag beside it. */
enum leader_state { LEADER_IDLE, LEADER_GETTING, LEADER_WRITING, LEADER_WAITING };

struct leader {
	uint32_t magic;
	struct client *client;
	struct leader_config config;
	char *lease, *identity;
	enum leader_state state;
	bool holds;
	struct client_call *call;
	struct env_timer timer, deadline;
	/* the Lease as last seen, and when we saw it change */
	uint64_t seen_rv, seen_us;
};

static void leader__round(struct leader *l);

static void leader__set(struct leader *l, bool holds)
{
	struct env *env = l->client->env;
	if (holds)
		env_timer_start(env, &l->deadline, RENEW_WITHIN_US);
	else
		env_timer_stop(env, &l->deadline);
	if (l->holds == holds)
		return;
	l->holds = holds;
	log_info("leader", "%s lease=%s identity=%s", holds ? "holding" : "lost", l->lease, l->identity);
	void (*fn)(void *) = holds ? l->config.started : l->config.stopped;
	if (fn)
		fn(l->config.arg);
}

static void leader__on_deadline(struct env_timer *t)
{
	struct leader *l = CONTAINER_OF(t, struct leader, deadline);
	MAGIC_CHECK(l, LEADER_MAGIC);
	leader__set(l, false);
}

static void leader__wait(struct leader *l)
{
	l->state = LEADER_WAITING;
	env_timer_start(l->client->env, &l->timer, RETRY_US);
}

static void leader__on_written(void *arg, const struct client_response *resp)
{
	struct leader *l = arg;
	MAGIC_CHECK(l, LEADER_MAGIC);
	l->call = NULL;
	/* A failure is no loss yet: the deadline decides. Somebody else's write shows at the next get. */
	if (!resp->err->code) {
		l->seen_rv = resp->object ? resp->object->rv : 0;
		l->seen_us = env_now_us(l->client->env);
	}
	leader__wait(l);
	if (!resp->err->code)
		leader__set(l, true);
}

static void leader__write(struct leader *l, json_t *lease_new, bool create)
{
	_cleanup_json_ json_t *lease = lease_new;
	l->state = LEADER_WRITING;
	struct client_request req = {
		.verb = create ? CLIENT_CREATE : CLIENT_UPDATE,
		.kind = kind_by_kind("coordination.k8s.io", "v1", "Lease"),
		.ns = LEASE_NS,
		.name = l->lease,
		.body = lease,
		.grace_period_s = -1,
	};
	l->call = client_do(l->client, &req, leader__on_written, l);
}

static void leader__create(struct leader *l)
{
	char now[32];
	time_format_us(env_wall_us(l->client->env), now);
	leader__write(l,
		      json_make("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:i, s:s, s:s, s:i}}", "apiVersion",
				"coordination.k8s.io/v1", "kind", "Lease", "metadata", "name", l->lease, "namespace",
				LEASE_NS, "spec", "holderIdentity", l->identity, "leaseDurationSeconds", LEASE_S,
				"acquireTime", now, "renewTime", now, "leaseTransitions", 0),
		      true);
}

static void leader__take(struct leader *l, struct object *obj)
{
	json_t *lease = object_edit(obj);
	json_t *spec = json_need_object(lease, "spec");
	char now[32];
	time_format_us(env_wall_us(l->client->env), now);
	const char *holder = json_get_str(spec, "holderIdentity", "");
	if (strcmp(holder, l->identity) != 0) {
		int64_t transitions = json_get_int(spec, "leaseTransitions", 0);
		json_put_int(spec, "leaseTransitions", transitions + 1);
		json_put_str(spec, "acquireTime", now);
		json_put_str(spec, "holderIdentity", l->identity);
	}
	json_put_int(spec, "leaseDurationSeconds", LEASE_S);
	json_put_str(spec, "renewTime", now);
	leader__write(l, lease, false);
}

static void leader__on_got(void *arg, const struct client_response *resp)
{
	struct leader *l = arg;
	MAGIC_CHECK(l, LEADER_MAGIC);
	l->call = NULL;
	if (resp->err->code == -ENOENT) {
		leader__create(l);
		return;
	}
	if (resp->err->code || !resp->object) {
		leader__wait(l);
		return;
	}
	uint64_t now = env_now_us(l->client->env);
	if (l->seen_rv != resp->object->rv) {
		l->seen_rv = resp->object->rv;
		l->seen_us = now;
	}
	_cleanup_json_ json_t *tree = object_tree(resp->object);
	const json_t *spec = json_path(tree, "spec", NULL);
	const char *holder = json_get_str(spec, "holderIdentity", "");
	int64_t duration_s = json_get_int(spec, "leaseDurationSeconds", LEASE_S);
	uint64_t duration_us = (uint64_t)(duration_s < 1 ? 1 : MIN(duration_s, 3600)) * 1000000u;
	bool others = *holder && strcmp(holder, l->identity) != 0;
	if (others && now - l->seen_us < duration_us) {
		leader__wait(l);
		leader__set(l, false);
		return;
	}
	leader__take(l, resp->object);
}

static void leader__round(struct leader *l)
{
	l->state = LEADER_GETTING;
	struct client_request req = {
		.verb = CLIENT_GET,
		.kind = kind_by_kind("coordination.k8s.io", "v1", "Lease"),
		.ns = LEASE_NS,
		.name = l->lease,
		.grace_period_s = -1,
	};
	l->call = client_do(l->client, &req, leader__on_got, l);
}

static void leader__on_timer(struct env_timer *t)
{
	struct leader *l = CONTAINER_OF(t, struct leader, timer);
	MAGIC_CHECK(l, LEADER_MAGIC);
	leader__round(l);
}

struct leader *leader_new(struct client *client, const struct leader_config *config)
{
	struct leader *l = NEW(struct leader);
	l->magic = LEADER_MAGIC;
	l->client = client;
	l->config = *config;
	l->lease = xstrdup(config->lease);
	l->identity = xstrdup(config->identity);
	l->timer.fn = leader__on_timer;
	l->deadline.fn = leader__on_deadline;
	return l;
}

void leader_start(struct leader *l)
{
	if (l->state == LEADER_IDLE)
		leader__round(l);
}

bool leader_holds(const struct leader *l)
{
	return l->holds;
}

void leader_free(struct leader *l)
{
	if (!l)
		return;
	if (l->call)
		client_cancel(l->client, l->call);
	env_timer_stop(l->client->env, &l->timer);
	env_timer_stop(l->client->env, &l->deadline);
	free(l->lease);
	free(l->identity);
	free(l);
}
