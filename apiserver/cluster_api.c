/* The cluster of servers, for its operators: who belongs, who leads, how each stands; promote, remove, move the lead. */
#include <errno.h>

#include "apiserver/mini_api.h"
#include "lib/core/log.h"

/* ---- GET cluster: the members, then this server's status ---- */

static void put_id(json_t *tree, const char *key, uint64_t id)
{
	char text[17];
	mini_id_text(id, text);
	json_put_str(tree, key, id ? text : NULL);
}

static json_t *strings_tree(const char *const *texts, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *cluster_tree(const struct store_members *m)
{
	json_t *tree =
		json_make("{s:i, s:I, s:I, s:I, s:i, s:o, s:o}", "version", MINI_VERSION, "term", (json_int_t)m->term,
			  "commit", (json_int_t)m->commit, "applied", (json_int_t)m->applied, "level", (int)m->level,
			  "members", mini_members_tree(m), "alarms", strings_tree(m->alarms, m->n_alarms));
	put_id(tree, "cluster", m->cluster);
	put_id(tree, "self", m->self);
	put_id(tree, "leader", m->leader);
	return tree;
}

static void status_into(json_t *tree, const struct store_status *st)
{
	json_put(tree, "quorum", json_boolean(st->has_quorum));
	json_put_str(tree, "engine", st->engine);
	json_put_str(tree, "engineVersion", *st->version ? st->version : NULL);
}

static void on_cluster_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	if (store_failed(err))
		fail_store(r, err);
	else
		status_into(r->result.tree, st);
	request_resume(r, REQUEST_ANSWER);
}

static void on_cluster(void *arg, const struct err *err, const struct store_members *m)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	if (store_failed(err) && err->code != -ENOTSUP) {
		fail_store(r, err);
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	result_tree(r,
		    store_failed(err) ? json_make("{s:i, s:[], s:[]}", "version", MINI_VERSION, "members", "alarms")
				      : cluster_tree(m),
		    200);
	struct store *s = r->server->store;
	request_submitted(r);
	s->engine->status(s, on_cluster_status, r);
}

/* What this server knows, without asking the others: it has to be told when there is no quorum, too. */
static int cluster_look(struct request *r)
{
	request_submitted(r);
	store_members(r->server->store, true, on_cluster, r);
	return REQUEST_WAIT;
}
const struct handler mini_handler_cluster = {.look = cluster_look};

/* ---- GET servers: who is to be asked when this one is gone ---- */

static void on_servers(void *arg, const struct err *err, const struct store_members *m)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	bool external = store_failed(err) && err->code == -ENOTSUP;
	if (store_failed(err) && !external)
		fail_store(r, err);
	else
		result_tree(r,
			    json_make("{s:i, s:o}", "version", MINI_VERSION, "servers",
				      mini_api_urls(r->server, external ? NULL : m)),
			    200);
	request_resume(r, REQUEST_ANSWER);
}

static int servers_look(struct request *r)
{
	request_submitted(r);
	store_members(r->server->store, true, on_servers, r);
	return REQUEST_WAIT;
}
const struct handler mini_handler_servers = {.look = servers_look};

/* ---- GET status: of this server ---- */

static json_t *status_tree(const struct apiserver *a, const struct store_status *st)
{
	json_t *tree = json_make("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:f}",
				 "version", MINI_VERSION, "revision", (json_int_t)st->rev, "compactedRevision",
				 (json_int_t)st->compacted_rev, "term", (json_int_t)st->raft_term, "index",
				 (json_int_t)st->raft_index, "applied", (json_int_t)st->applied_index, "keys",
				 (json_int_t)st->keys, "memoryBytes", (json_int_t)st->memory_bytes, "logBytes",
				 (json_int_t)st->log_bytes, "stateBytes", (json_int_t)st->state_bytes, "quorum",
				 st->has_quorum, "leads", st->is_leader, "readOnly", st->read_only, "ready",
				 apiserver_ready(a), "uptimeSeconds", (double)(env_now_us(a->env) - a->made_us) / 1e6);
	json_put(tree, "bytesWritten", json_integer((json_int_t)st->bytes_written));
	json_put_str(tree, "engine", st->engine);
	json_put_str(tree, "engineVersion", *st->version ? st->version : NULL);
	json_put_str(tree, "name", a->name);
	put_id(tree, "cluster", st->cluster_id);
	put_id(tree, "member", st->member_id);
	put_id(tree, "leader", st->leader_id);
	json_t *alarms = json_array();
	if (st->read_only)
		json_array_append_new(alarms,
				      json_string("the disk is full: this server takes no writes until there is room"));
	if (!st->has_quorum)
		json_array_append_new(alarms, json_string("no quorum: too few servers can be reached"));
	json_put(tree, "alarms", alarms);
	return tree;
}

static void on_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	if (store_failed(err))
		fail_store(r, err);
	else
		result_tree(r, status_tree(r->server, st), 200);
	request_resume(r, REQUEST_ANSWER);
}

static int status_look(struct request *r)
{
	struct store *s = r->server->store;
	request_submitted(r);
	s->engine->status(s, on_status, r);
	return REQUEST_WAIT;
}
const struct handler mini_handler_status = {.look = status_look};

/* ---- one member: DELETE, promote, demote; and the lead ---- */

/* LOOK twice: which member is meant, then the change. */
struct change {
	char who[STORE_MEMBER_NAME_MAX + 1];
	enum store_role wish;
	bool move; /* the lead goes to it */
	bool found;
	uint64_t id;
};

/* NULL: r->err says why. */
static struct change *change_new(struct request *r, const char *who, size_t len)
{
	struct change *c = NEW(struct change);
	r->extra = c;
	r->extra_free = free;
	if (len > STORE_MEMBER_NAME_MAX) {
		fail_bad(r, "a member is named by its name or its id of 16 hex digits");
		return NULL;
	}
	snprintf(c->who, sizeof(c->who), "%.*s", (int)len, who);
	return c;
}

static int member_decode(struct request *r)
{
	const char *who = r->route.path + strlen(MINI_PATH "members/"), *slash = strchr(who, '/');
	struct change *c = change_new(r, who, slash ? (size_t)(slash - who) : strlen(who));
	if (!c)
		return r->err.code;
	const char *verb = slash ? slash + 1 : "";
	bool deletes = streq(r->method, "DELETE");
	if (deletes ? *verb != 0 : (!streq(verb, "promote") && !streq(verb, "demote")))
		return err_status(&r->err, ERR_NOT_FOUND, "the server could not find the requested resource");
	c->wish = deletes ? STORE_ROLE_NONE : streq(verb, "promote") ? STORE_ROLE_VOTER : STORE_ROLE_LEARNER;
	return REQUEST_NEXT;
}

static int move_decode(struct request *r)
{
	_cleanup_json_ json_t *body = NULL;
	int rc = mini_body(r, &body);
	if (rc < 0)
		return rc;
	const char *to = json_get_str(body, "to", "");
	struct change *c = change_new(r, to, strlen(to));
	if (!c)
		return r->err.code;
	c->move = true;
	c->found = !*c->who;
	return REQUEST_NEXT;
}

static int fail_change(struct request *r, const struct err *err)
{
	switch (err->code) {
	case -ENOTSUP:
		return err_status(&r->err, ERR_BAD_REQUEST,
				  "this cluster keeps its state in an external etcd: its members are etcd's own");
	case -ENOENT:
		return err_status(&r->err, ERR_NOT_FOUND, "%s", err->message);
	case -EINVAL:
		return err_status(&r->err, ERR_BAD_REQUEST, "%s", err->message);
	default:
		return fail_store(r, err);
	}
}

static void on_found(void *arg, const struct err *err, const struct store_members *m)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct change *c = r->extra;
	const struct store_member *member = store_failed(err) ? NULL : mini_member(m, c->who);
	if (store_failed(err)) {
		fail_change(r, err);
	} else if (!member) {
		err_status(&r->err, ERR_NOT_FOUND, "no member of the cluster is named \"%s\"", c->who);
	} else {
		c->id = member->id;
		c->found = true;
	}
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_LOOK);
}

static void on_changed(void *arg, const struct err *err, uint64_t value)
{
	struct request *r = arg;
	(void)value;
	if (!request_arrived(r))
		return;
	struct change *c = r->extra;
	if (store_failed(err)) {
		fail_change(r, err);
	} else {
		json_t *tree = json_make("{s:i}", "version", MINI_VERSION);
		put_id(tree, "member", c->id);
		if (!c->move) {
			json_put_str(tree, "wish", mini_role_text(c->wish));
			log_info("cluster", "member changed id=%016llx wish=%s by=%s", (unsigned long long)c->id,
				 mini_role_text(c->wish), r->user->name);
		}
		result_tree(r, tree, 200);
	}
	request_resume(r, REQUEST_ANSWER);
}

static int change_look(struct request *r)
{
	struct change *c = r->extra;
	struct store *s = r->server->store;
	request_submitted(r);
	if (!c->found)
		store_members(s, false, on_found, r);
	else if (c->move)
		store_move_leader(s, c->id, on_changed, r);
	else
		store_member_wish(s, c->id, c->wish, on_changed, r);
	return REQUEST_WAIT;
}
const struct handler mini_handler_member = {.decode = member_decode, .look = change_look};
const struct handler mini_handler_move_leader = {.decode = move_decode, .look = change_look};
