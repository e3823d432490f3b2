#include "apiserver/mini_api.h"

#include "apiserver/endpoints.h"

#define BODY_MAX (64u << 10)

static const struct {
	const char *method, *path;
	bool prefix;
	const struct handler *handler;
} rows[] = {
	{"GET", MINI_PATH "ca", false, &mini_handler_ca},
	{"POST", MINI_PATH "join", false, &mini_handler_join},
	{"GET", MINI_PATH "keys", false, &mini_handler_keys},
	{"POST", MINI_PATH "replace", false, &mini_handler_replace},
	{"POST", MINI_PATH "renew", false, &mini_handler_renew},
	{"GET", MINI_PATH "servers", false, &mini_handler_servers},
	{"GET", MINI_PATH "cluster", false, &mini_handler_cluster},
	{"GET", MINI_PATH "status", false, &mini_handler_status},
	{"DELETE", MINI_PATH "members/", true, &mini_handler_member},
	{"POST", MINI_PATH "members/", true, &mini_handler_member},
	{"POST", MINI_PATH "move-leader", false, &mini_handler_move_leader},
	{"GET", MINI_PATH "snapshot", false, &mini_handler_snapshot},
};

const struct handler *mini_handler(struct request *r)
{
	const char *path = r->route.path;
	bool there = false;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].prefix ? !str_starts(path, rows[i].path) : !streq(path, rows[i].path))
			continue;
		there = true;
		if (streq(r->method, rows[i].method))
			return rows[i].handler;
	}
	if (!there)
		err_status(&r->err, ERR_NOT_FOUND, "the server could not find the requested resource");
	return NULL;
}

int mini_body(struct request *r, json_t **ret)
{
	const struct buf *b = r->http ? http_body(r->http) : NULL;
	if (!b || b->len == 0) {
		*ret = json_object();
		return 0;
	}
	if (b->len > BODY_MAX)
		return err_status(&r->err, ERR_TOO_LARGE, "the body is larger than %u bytes", BODY_MAX);
	_cleanup_json_ json_t *tree = NULL;
	if (json_parse(b->data, b->len, &tree, NULL) < 0 || !json_is_object(tree))
		return fail_bad(r, "the body is not a JSON object");
	*ret = STEAL(tree);
	return 0;
}

void mini_id_text(uint64_t id, char ret[17])
{
	snprintf(ret, 17, "%016llx", (unsigned long long)id);
}

bool mini_id_parse(const char *text, uint64_t *ret)
{
	if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*ret = strtoull(text, NULL, 16);
	return true;
}

uint64_t mini_caller(const struct request *r)
{
	uint64_t id = 0;
	if (r->impersonator) /* who it is, not for whom somebody speaks: keys go by this */
		return 0;
	if (!user_in_group(r->user, MINI_SERVERS_GROUP) || !str_starts(r->user->name, MINI_SERVER_PREFIX) ||
	    !mini_id_parse(r->user->name + strlen(MINI_SERVER_PREFIX), &id))
		return 0;
	return id;
}

const struct store_member *mini_member_id(const struct store_members *m, uint64_t id)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->members[i].id == id && m->members[i].wish != STORE_ROLE_NONE)
			return &m->members[i];
	return NULL;
}

const struct store_member *mini_member(const struct store_members *m, const char *id_or_name)
{
	uint64_t id;
	const struct store_member *found = mini_id_parse(id_or_name, &id) ? mini_member_id(m, id) : NULL;
	for (size_t i = 0; i < m->n && !found; i++)
		if (m->members[i].wish != STORE_ROLE_NONE && streq(m->members[i].name, id_or_name))
			found = &m->members[i];
	return found;
}

static const char *const roles[] = {
	[STORE_ROLE_NONE] = "none",
	[STORE_ROLE_VOTER] = "voter",
	[STORE_ROLE_LEARNER] = "learner",
	[STORE_ROLE_WITNESS] = "witness",
};

const char *mini_role_text(enum store_role role)
{
	return (size_t)role < ARRAY_LEN(roles) ? roles[role] : "none";
}

bool mini_role_parse(const char *text, enum store_role *ret)
{
	for (size_t i = STORE_ROLE_VOTER; i < ARRAY_LEN(roles); i++) {
		if (!streq(text, roles[i]))
			continue;
		*ret = (enum store_role)i;
		return true;
	}
	return false;
}

static json_t *member_tree(const struct store_member *m)
{
	char id[17];
	mini_id_text(m->id, id);
	return json_make("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:I}", "id", id, "name", m->name, "peer", m->peer,
			 "api", m->api, "role", mini_role_text(m->role), "wish", mini_role_text(m->wish), "leader",
			 m->leader, "active", m->active, "match", (json_int_t)m->match);
}

json_t *mini_members_tree(const struct store_members *m)
{
	json_t *list = json_array();
	for (size_t i = 0; i < m->n; i++)
		if (m->members[i].role != STORE_ROLE_NONE || m->members[i].wish != STORE_ROLE_NONE)
			json_array_append_new(list, member_tree(&m->members[i]));
	return list;
}

json_t *mini_api_urls(const struct apiserver *a, const struct store_members *m)
{
	if (!m)
		return endpoints_urls(a);
	json_t *list = json_array();
	for (size_t i = 0; i < m->n; i++) {
		const struct store_member *x = &m->members[i];
		if (*x->api && x->wish != STORE_ROLE_NONE && x->role == x->wish)
			json_array_append_new(list, json_string(x->api));
	}
	return list;
}
