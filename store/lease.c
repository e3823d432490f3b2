/* Leases: granted, renewed and revoked through the log; only their deadlines are local to the leader. One that expires is
 * ended by a log entry too. That entry says in which term it was decided and which renewal had been seen: it does nothing
 * if another leader took it in, or if the lease was renewed before it. A member that is alone renews without the log. */
#include <errno.h>
#include <inttypes.h>

#include "store/engine.h"

#define LEASE_CHECK_US 500000u

static void lease_name(uint64_t id, char *ret)
{
	snprintf(ret, 17, "%" PRIx64, id);
}

static struct lease *find(const struct map *leases, uint64_t id)
{
	char name[17];
	lease_name(id, name);
	return map_get(leases, name);
}

struct lease *lease__get(struct engine *e, uint64_t id)
{
	return find(&e->leases, id);
}

static void lease_free(struct lease *l)
{
	map_done(&l->keys);
	free(l);
}

/* Not into the log: it is to be asked for again. With a fate unknown it may still come. */
static void not_ended(void *arg, const struct err *err, _unused_ uint64_t value)
{
	struct engine *e = arg;
	if (!err || err->code == -ECANCELED || e->closing)
		return;
	MAP_EACH (&e->leases, it)
		((struct lease *)it->value)->expiring = false;
}

static void end(struct engine *e, struct lease *l)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	l->expiring = true;
	struct call *c = call__new(e, CALL_NUMBER, e);
	c->cb.number = not_ended;
	store_cmd_expire(&c->cmd, l->id, rs.term, l->renewed);
	call__submit(e, c);
}

static void tick(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, lease_timer);
	uint64_t now = env_now_us(e->env);
	if (!e->leases.count)
		return;
	env_timer_start(e->env, t, LEASE_CHECK_US);
	if ((!replica__leads(e) && !BUG(BUG_DEPOSED_LEASES)) || !e->recovered || call__admit(e, 1, NULL))
		return;
	MAP_EACH (&e->leases, it) {
		struct lease *l = it->value;
		if (!l->expiring && l->deadline_us <= now)
			end(e, l);
	}
}

static struct lease *load(struct map *leases, const struct store_state_lease *from)
{
	struct lease *l = NEW(struct lease);
	*l = (struct lease){.id = from->id, .ttl_s = from->ttl_s, .renewed = from->renewed};
	char name[17];
	lease_name(l->id, name);
	map_set(leases, name, l);
	return l;
}

void lease__load(struct map *leases, const struct store_state_lease *l)
{
	load(leases, l);
}

static void arm(struct engine *e)
{
	e->lease_timer.fn = tick;
	if (!env_timer_active(&e->lease_timer))
		env_timer_start(e->env, &e->lease_timer, LEASE_CHECK_US);
}

void lease__add(struct engine *e, const struct store_state_lease *from)
{
	struct lease *l = load(&e->leases, from);
	l->deadline_us = env_now_us(e->env) + l->ttl_s * 1000000;
	arm(e);
}

void lease__take(struct engine *e, struct map *leases)
{
	e->leases = *leases;
	*leases = MAP_INIT;
	lease__leading(e);
	arm(e);
}

void lease__renew(struct engine *e, struct lease *l, uint64_t index)
{
	l->renewed = index;
	l->expiring = false;
	writer__lease_changed(e, &(struct store_state_lease){.id = l->id, .ttl_s = l->ttl_s, .renewed = l->renewed});
	if (!BUG(BUG_DEPOSED_LEASES) || replica__leads(e))
		l->deadline_us = env_now_us(e->env) + l->ttl_s * 1000000;
}

void lease__attach(struct engine *e, const struct mvcc_rev *v)
{
	uint64_t old = v->older && v->older->value ? v->older->lease : 0;
	struct lease *l = old && old != v->lease ? lease__get(e, old) : NULL;
	if (l)
		map_del(&l->keys, v->key->name);
	l = v->lease ? lease__get(e, v->lease) : NULL;
	if (l)
		map_set(&l->keys, v->key->name, l);
}

void lease__attach_all(struct map *leases, const struct mvcc *m)
{
	struct btree_iter it;
	for (struct btree_item *i = btree_seek(&m->keys, "", &it); i; i = btree_next(&it)) {
		const struct mvcc_rev *v = CONTAINER_OF(i, struct mvcc_key, item)->latest;
		struct lease *l = v->lease ? find(leases, v->lease) : NULL;
		if (l)
			map_set(&l->keys, v->key->name, l);
	}
}

void lease__revoke(struct engine *e, uint64_t id)
{
	struct lease *l = lease__get(e, id);
	char name[17];
	lease_name(id, name);
	map_del(&e->leases, name);
	struct map_entry **keys = map_sorted(&l->keys);
	for (uint32_t i = 0; i < l->keys.count; i++)
		mvcc_delete(&e->mvcc, keys[i]->key);
	free(keys);
	lease_free(l);
}

bool lease__expire(struct engine *e, const struct store_cmd *cmd, uint64_t term)
{
	struct lease *l = lease__get(e, cmd->number);
	if (!l)
		return false;
	if ((l->renewed == cmd->renewed || BUG(BUG_RENEWED_ENDS)) && term == cmd->term) {
		lease__revoke(e, cmd->number);
		return true;
	}
	l->expiring = false;
	return false;
}

void lease__leading(struct engine *e)
{
	MAP_EACH (&e->leases, it) {
		struct lease *l = it->value;
		l->deadline_us = env_now_us(e->env) + l->ttl_s * 1000000;
		l->expiring = false;
	}
}

bool lease__discard(struct map *leases, size_t max)
{
	MAP_EACH (leases, it) {
		struct lease *l = it->value;
		MAP_EACH (&l->keys, key) {
			if (!max)
				return true;
			max--;
			map_del(&l->keys, key->key);
		}
		if (!max)
			return true;
		max--;
		map_del(leases, it->key);
		lease_free(l);
	}
	map_done(leases);
	return false;
}

void lease__free_all(struct engine *e)
{
	env_timer_stop(e->env, &e->lease_timer);
	lease__discard(&e->leases, SIZE_MAX);
}
