#include "tests/support/store/several.h"

#include <inttypes.h>

#include "lib/core/file.h"
#include "store/cluster.h"

struct packet {
	struct list node;
	struct env_timer timer;
	struct several *all;
	uint64_t from, to;
	struct buf data;
};

static void packet_free(struct packet *p)
{
	list_del(&p->node);
	env_timer_stop(p->all->env, &p->timer);
	buf_done(&p->data);
	free(p);
}

static struct several_server *server_of(struct several *s, uint64_t id)
{
	for (size_t i = 0; i < SEVERAL_MAX; i++)
		if (s->servers[i].f.config.member == id)
			return &s->servers[i];
	return NULL;
}

static void deliver(struct env_timer *t)
{
	struct packet *p = CONTAINER_OF(t, struct packet, timer);
	struct several_server *to = server_of(p->all, p->to), *from = server_of(p->all, p->from);
	if (to && to->f.store && !to->cut && from && !from->cut && to->peer.receive)
		to->peer.receive(to->peer.arg, p->from, p->data.data, p->data.len);
	packet_free(p);
}

static void peer_send(struct store_peer *peer, uint64_t to, const void *data, size_t len)
{
	struct several_server *s = CONTAINER_OF(peer, struct several_server, peer);
	struct packet *p = NEW(struct packet);
	*p = (struct packet){.timer = {.fn = deliver}, .all = s->all, .from = s->f.config.member, .to = to};
	buf_add(&p->data, data, len);
	list_push(&s->all->packets, &p->node);
	s->all->sent++;
	bool late = p->from == s->all->late.from && to == s->all->late.to;
	env_timer_start(s->all->env, &p->timer, late ? s->all->late.us : SEVERAL_DELAY_US);
}

static void peer_members(struct store_peer *peer, const struct store_member *members, size_t n)
{
	struct several_server *s = CONTAINER_OF(peer, struct several_server, peer);
	memset(s->told, 0, sizeof(s->told));
	for (size_t i = 0; i < n && i < SEVERAL_MAX; i++)
		s->told[i] = members[i].id;
}

static void on_fatal(void *arg, const struct err *err)
{
	struct fixture *f = arg;
	f->stopped = true;
	err_copy(&f->fatal, err);
}

void several_init(struct several *s)
{
	static const struct store_peer_ops ops = {.send = peer_send, .members = peer_members};
	*s = (struct several){.env = env_sim_new(7, 1700000000000000)};
	list_init(&s->packets);
	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		struct several_server *v = &s->servers[i];
		v->all = s;
		v->peer.ops = &ops;
		v->f.env = s->env;
		snprintf(v->f.dir, sizeof(v->f.dir), "/tmp/mini-several-XXXXXX");
		MUST(mkdtemp(v->f.dir));
		snprintf(v->name, sizeof(v->name), "s%zu", i + 1);
		snprintf(v->peer_address, sizeof(v->peer_address), "10.0.0.%zu:6444", i + 1);
		snprintf(v->api_address, sizeof(v->api_address), "https://10.0.0.%zu:6443", i + 1);
		v->f.config = (struct store_config){.dir = v->f.dir,
						    .read_back = true,
						    .cluster = SEVERAL_CLUSTER,
						    .member = i + 1,
						    .peer = &v->peer,
						    .name = v->name,
						    .peer_address = v->peer_address,
						    .api_address = v->api_address,
						    .on_fatal = on_fatal,
						    .fatal_arg = &v->f};
	}
}

void several_done(struct several *s)
{
	for (size_t i = 0; i < SEVERAL_MAX; i++)
		several_stop(s, i);
	while (!list_empty(&s->packets))
		packet_free(LIST_ENTRY(s->packets.next, struct packet, node));
	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		rm_rf(s->servers[i].f.dir, NULL);
		err_done(&s->servers[i].f.fatal);
	}
	env_sim_free(s->env);
}

int several_setup(void **state)
{
	struct several *s = NEW(struct several);
	several_init(s);
	*state = s;
	return 0;
}

int several_teardown(void **state)
{
	several_done(*state);
	free(*state);
	return 0;
}

int several_start(struct several *s, size_t i, struct err *err)
{
	struct fixture *f = &s->servers[i].f;
	f->stopped = false;
	return fixture_open(f, err);
}

static void must_start(struct several *s, size_t i)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (several_start(s, i, &err)) {
		fprintf(stderr, "# server %zu: %s\n", i + 1, err.message);
		abort();
	}
}

void several_found(struct several *s, size_t n)
{
	struct raft_member members[SEVERAL_MAX];
	for (size_t i = 0; i < n; i++)
		members[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
	for (size_t i = 0; i < n; i++) {
		struct store_config *c = &s->servers[i].f.config;
		c->members = n > 1 ? members : NULL;
		c->n_members = n > 1 ? n : 0;
		must_start(s, i);
		c->members = NULL;
		c->n_members = 0;
	}
}

void several_join(struct several *s, size_t i)
{
	s->servers[i].f.config.join = true;
	must_start(s, i);
	s->servers[i].f.config.join = false;
}

void several_stop(struct several *s, size_t i)
{
	fixture_close(&s->servers[i].f);
}

void several_wipe(struct several *s, size_t i, uint64_t id)
{
	struct fixture *f = &s->servers[i].f;
	MUST(!f->store);
	rm_rf(f->dir, NULL);
	snprintf(f->dir, sizeof(f->dir), "/tmp/mini-several-XXXXXX");
	MUST(mkdtemp(f->dir));
	f->config.member = id;
}

void several_run(struct several *s, uint64_t us)
{
	env_sim_run_for(s->env, us);
}

/* ---- calls ---- */

static struct {
	bool done;
	struct err err;
	char roles[1000];
} answer;

static bool is_done(_unused_ void *arg)
{
	return answer.done;
}

static void on_number(_unused_ void *arg, const struct err *err, _unused_ uint64_t value)
{
	answer.done = true;
	if (err)
		err_copy(&answer.err, err);
}

static void begin(void)
{
	err_done(&answer.err);
	memset(&answer, 0, sizeof(answer));
}

static int await(struct several *s)
{
	MUST(env_sim_run_until(s->env, is_done, NULL, 60000000));
	return answer.err.code;
}

int several_add(struct several *s, size_t at, size_t i, enum store_role wish, uint64_t replaces)
{
	struct several_server *v = &s->servers[i];
	struct store_member m = {.id = v->f.config.member, .wish = wish};
	snprintf(m.name, sizeof(m.name), "%s", v->name);
	snprintf(m.peer, sizeof(m.peer), "%s", v->peer_address);
	snprintf(m.api, sizeof(m.api), "%s", v->api_address);
	begin();
	store_member_add(s->servers[at].f.store, &m, replaces, on_number, NULL);
	return await(s);
}

int several_wish(struct several *s, size_t at, uint64_t id, enum store_role wish)
{
	begin();
	store_member_wish(s->servers[at].f.store, id, wish, on_number, NULL);
	return await(s);
}

int several_move(struct several *s, size_t at, uint64_t id)
{
	begin();
	store_move_leader(s->servers[at].f.store, id, on_number, NULL);
	return await(s);
}

const char *several_error(void)
{
	return answer.err.message;
}

static void on_members(_unused_ void *arg, const struct err *err, const struct store_members *m)
{
	static const char *const names[] = {"none", "voter", "learner", "witness"};
	answer.done = true;
	if (err) {
		err_copy(&answer.err, err);
		return;
	}
	size_t n = 0;
	for (size_t i = 0; i < m->n; i++) {
		const struct store_member *x = &m->members[i];
		n += (size_t)snprintf(answer.roles + n, sizeof(answer.roles) - n, "%s%" PRIu64 ":%s%s%s%s",
				      i ? " " : "", x->id, names[x->role], x->wish != x->role ? ">" : "",
				      x->wish != x->role ? names[x->wish] : "", x->leader ? "*" : "");
	}
}

const char *several_roles(struct several *s, size_t at)
{
	begin();
	store_members(s->servers[at].f.store, true, on_members, NULL);
	return await(s) ? "" : answer.roles;
}

bool several_await(struct several *s, size_t at, const char *roles)
{
	for (int i = 0; i < 1000; i++) {
		if (streq(several_roles(s, at), roles))
			return true;
		several_run(s, 10000);
	}
	fprintf(stderr, "# member %zu says: %s\n", at + 1, answer.roles);
	return false;
}

size_t several_leader(struct several *s)
{
	for (int n = 0; n < 1000; n++) {
		for (size_t i = 0; i < SEVERAL_MAX; i++)
			if (s->servers[i].f.store && !s->servers[i].cut && !s->servers[i].f.stopped &&
			    fx_status(&s->servers[i].f)->status.is_leader &&
			    fx_status(&s->servers[i].f)->status.has_quorum)
				return i;
		several_run(s, 10000);
	}
	fprintf(stderr, "# nobody leads\n");
	return SEVERAL_MAX;
}

bool several_has(struct several *s, size_t at, const char *key, const char *value)
{
	for (int i = 0; i < 500; i++) {
		const struct answer *a =
			fx_range(&s->servers[at].f, &(struct store_range_req){.key = key, .serializable = true});
		if (a->n_kvs == 1 && streq(a->kvs[0].value, value))
			return true;
		several_run(s, 10000);
	}
	return false;
}
