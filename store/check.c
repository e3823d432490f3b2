/* The members compare their states every so often: the leader says at which entry, each hashes its keys as of then in the
 * pool and says what it got, and the leader raises an alarm where they differ. The alarm is replicated; who said what is
 * the leader's alone, and a leader that is lost leaves a check without an end. */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/log.h"
#include "store/snapshot_internal.h"

struct said {
	uint64_t member;
	char hex[2 * SHA256_SIZE + 1];
};

struct check {
	struct engine *engine;
	struct env_timer timer;
	uint64_t index, rev; /* to be hashed once the state has got there */
	bool due, running;
	struct env_work work;
	struct store_disk *disk;
	char *path;
	uint64_t work_index, work_rev;
	uint8_t sum[SHA256_SIZE];
	int result;
	struct said said[RAFT_MEMBERS_MAX]; /* the leader: of check `index` */
	size_t n_said;
	bool told; /* what follows from them */
};

static void submit(struct engine *e, struct store_cmd *cmd)
{
	struct call *c = call__new(e, CALL_NUMBER, NULL);
	c->cmd = *cmd;
	call__submit(e, c);
}

static void hash(struct env_work *w)
{
	struct check *c = CONTAINER_OF(w, struct check, work);
	c->result = store_state_hash(c->disk, c->path, c->work_rev, c->sum);
}

static void hashed(struct env_work *w)
{
	struct check *c = CONTAINER_OF(w, struct check, work);
	struct engine *e = c->engine;
	MAGIC_CHECK(e, ENGINE_MAGIC);
	c->running = false;
	e->snapshots->making--;
	e->snapshots->works--;
	env_post(e->env, &e->pump);
	if (c->result == -EUCLEAN) { /* the others have what it held */
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, -EUCLEAN, "the state's database %s is damaged", c->path);
		store_state_condemn(e->state);
		replica__fatal(e, &err);
	}
	if (c->result || e->failed || call__admit(e, 1, NULL))
		return; /* compacted meanwhile, say: the next one will do */
	struct store_cmd cmd;
	char hex[2 * SHA256_SIZE + 1];
	hex_encode(c->sum, SHA256_SIZE, hex);
	store_cmd_hash(&cmd, c->work_index, e->member, hex);
	submit(e, &cmd);
}

void check__pump(struct engine *e)
{
	struct check *c = e->snapshots->check;
	if (!c->due || c->running || e->failed || e->closing || e->removed || snapshot__installing(e))
		return;
	if (e->state_applied < c->index) {
		e->state_due = true;
		return;
	}
	c->due = false;
	c->running = true;
	c->work_index = c->index;
	c->work_rev = c->rev;
	c->work = (struct env_work){.work = hash, .done = hashed, .lane = ENV_LANE_POOL};
	e->snapshots->making++;
	e->snapshots->works++;
	env_submit(e->env, &c->work);
}

static const char *name_of(const struct engine *e, uint64_t id, char *buf, size_t size)
{
	const struct store_state_member *row = roster__find(e, id);
	if (row && *row->m.name)
		return row->m.name;
	snprintf(buf, size, "%016" PRIx64, id);
	return buf;
}

static void raise_alarm(struct engine *e, const struct check *c, const struct said *own, const struct said *other)
{
	char text[STORE_ALARM_MAX], a[20], b[20];
	struct store_cmd cmd;
	snprintf(text, sizeof(text),
		 "at revision %" PRIu64 " member %s holds other keys or values than member %s: one of them is damaged",
		 c->rev, name_of(e, other->member, a, sizeof(a)), name_of(e, own->member, b, sizeof(b)));
	store_cmd_alarm(&cmd, text);
	submit(e, &cmd);
}

static void compare(struct engine *e, struct check *c)
{
	const struct said *own = NULL;
	for (size_t i = 0; i < c->n_said; i++)
		if (c->said[i].member == e->member)
			own = &c->said[i];
	for (size_t i = 0; own && i < c->n_said; i++)
		if (!streq(c->said[i].hex, own->hex)) {
			if (!*e->alarm && !c->told && !call__admit(e, 1, NULL))
				raise_alarm(e, c, own, &c->said[i]);
			c->told = true;
			return;
		}
	size_t full = 0;
	for (size_t i = 0; i < e->membership.n_members; i++)
		full += e->membership.members[i].role != RAFT_WITNESS;
	if (!own || c->n_said < full || !*e->alarm || call__admit(e, 1, NULL))
		return;
	struct store_cmd cmd;
	store_cmd_alarm(&cmd, "");
	submit(e, &cmd);
}

static void take_hash(struct engine *e, struct check *c, const struct store_cmd *cmd)
{
	if (!replica__leads(e) || cmd->number != c->index || strlen(cmd->text) != 2 * SHA256_SIZE ||
	    c->n_said == ARRAY_LEN(c->said))
		return;
	for (size_t i = 0; i < c->n_said; i++)
		if (c->said[i].member == cmd->member)
			return; /* it has started again since, and hashed anew */
	struct said *s = &c->said[c->n_said++];
	s->member = cmd->member;
	snprintf(s->hex, sizeof(s->hex), "%s", cmd->text);
	compare(e, c);
}

void check__apply(struct engine *e, const struct store_cmd *cmd, uint64_t index)
{
	struct check *c = e->snapshots->check;
	if (cmd->kind == CMD_HASH) {
		take_hash(e, c, cmd);
	} else if (cmd->kind == CMD_CHECK) {
		c->index = index;
		c->rev = e->mvcc.rev;
		c->n_said = 0;
		c->told = false;
		c->due = true;
		writer__changed(e, 1);
		env_post(e->env, &e->pump);
	} else {
		snprintf(e->alarm, sizeof(e->alarm), "%s", cmd->text);
		writer__changed(e, sizeof(e->alarm));
		if (*e->alarm)
			log_error("store",
				  "%s. To have that one's from the others: stop it, move DIR/store away, start it",
				  e->alarm);
		else
			log_info("store", "the members' states are the same again");
	}
}

static void due(struct env_timer *t)
{
	struct check *c = CONTAINER_OF(t, struct check, timer);
	struct engine *e = c->engine;
	env_timer_start(e->env, t, e->hash_us);
	if (!replica__leads(e) || replica__alone(e) || !e->recovered || call__admit(e, 1, NULL))
		return;
	struct store_cmd cmd;
	store_cmd_number(&cmd, CMD_CHECK, 0);
	submit(e, &cmd);
}

void check__open(struct engine *e)
{
	struct check *c = NEW(struct check);
	c->engine = e;
	c->disk = e->disk;
	c->path = xstrdup(state__path(e->state));
	c->timer.fn = due;
	e->snapshots->check = c;
	env_timer_start(e->env, &c->timer, e->hash_us);
}

void check__close(struct engine *e)
{
	struct check *c = e->snapshots ? e->snapshots->check : NULL;
	if (!c)
		return;
	env_timer_stop(e->env, &c->timer);
	free(c->path);
	free(c);
}
