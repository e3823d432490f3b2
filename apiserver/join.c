/* Who comes in: servers and nodes with a join token, servers that fetch the cluster's keys, servers that lost their
 * state; and who has new certificates in place of its own before they are over. Keys never travel but the cluster's own, to a member; a certificate says what this server decides, not what
 * the signing request asks for. A server's id is made of its public key, so that whoever asks again with the same key
 * gets the same member.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "apiserver/bootstrap_token.h"
#include "apiserver/mini_api.h"
#include "apiserver/node_authz.h"
#include "apiserver/service_ip.h"
#include "lib/client/join_token.h"
#include "lib/core/log.h"
#include "lib/net/pki.h"

#define CERTS_MAX  3
#define BACK_S     ((int64_t)3600) /* certificates are dated back: clocks differ */
#define NAME_TRIES 20

/* A certificate to be made. Strings are owned. */
struct wanted_cert {
	const char *as; /* under this name in the answer */
	char *csr, *common_name, *organization;
	char *dns[2], *ips[3]; /* NULL-terminated */
	bool server, client;
	char *cert;
};

/*
 * LOOK, a step at a time:
 *
 *   server:  MEMBERS --> SIGN (in the pool) --not one yet--> ADD --> answered
 *                                               `--it is one already---^
 *   node:    MEMBERS (which addresses are taken) --> SIGN --> answered
 *   renewal: MEMBERS (does it still belong?) --> SIGN --> answered
 *
 * Signed first: only there it shows whether whoever asks holds the key. What is signed is handed out last.
 */
enum join_step { JOIN_MEMBERS, JOIN_SIGN, JOIN_ADD, JOIN_DONE };

struct join {
	struct env_work work;
	struct request *r;
	enum join_step step;
	bool agent;
	bool any_name;              /* the name was not chosen by a person: another will do */
	bool add;                   /* it is no member yet */
	struct store_member member; /* of a server that is to be */
	uint64_t replaces, renews;  /* who asks */
	uint64_t cluster;
	char node[254], node_ip[64];
	json_t *members, *servers; /* for the answer: a server's, a node's */
	struct pki_pair ca;
	struct wanted_cert certs[CERTS_MAX];
	size_t n_certs;
	int64_t now_s, life_s;
	struct err err; /* of the pool */
};

static void join_free(void *p)
{
	struct join *j = p;
	for (size_t i = 0; i < j->n_certs; i++) {
		struct wanted_cert *w = &j->certs[i];
		free(w->csr);
		free(w->common_name);
		free(w->organization);
		free(w->cert);
		for (char **s = w->dns; *s; s++)
			free(*s);
		for (char **s = w->ips; *s; s++)
			free(*s);
	}
	json_decref(j->members);
	json_decref(j->servers);
	pki_pair_done(&j->ca);
	err_done(&j->err);
	free(j);
}

static struct join *join_new(struct request *r)
{
	struct join *j = NEW(struct join);
	j->r = r;
	r->extra = j;
	r->extra_free = join_free;
	return j;
}

/* ---- what is asked for ---- */

static bool name_ok(const char *s, size_t max)
{
	size_t n = strlen(s);
	return n > 0 && n <= max && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n && s[0] != '-' &&
	       s[0] != '.' && s[n - 1] != '-' && s[n - 1] != '.';
}

static int take_text(struct request *r, const json_t *body, const char *key, char *ret, size_t size)
{
	const char *text = json_get_str(body, key, "");
	bool good = strlen(text) < size && !strpbrk(text, "\"\\<>");
	for (const char *p = text; *p; p++) /* it is shown on terminals */
		good &= *p > ' ' && *p <= '~';
	if (!good)
		return fail_bad(r, "%s is not an address, or too long", key);
	snprintf(ret, size, "%s", text);
	return 0;
}

static struct wanted_cert *add_cert(struct join *j, const json_t *body, const char *csr_key, const char *as)
{
	struct wanted_cert *w = &j->certs[j->n_certs++];
	w->as = as;
	w->csr = xstrdup(json_get_str(body, csr_key, ""));
	return w;
}

/* What a token says of its bearer (bootstrap_token.c), or NULL. */
static const char *granted(const struct request *r, const char *key)
{
	return json_string_value(json_array_get(json_object_get(r->user->extra, key), 0));
}

static int server_member(struct request *r, struct join *j, const json_t *body)
{
	struct store_member *m = &j->member;
	const char *name = json_get_str(body, "name", ""), *wish = json_get_str(body, "wish", "voter");
	const char *only_name = granted(r, BOOTSTRAP_EXTRA_NAME), *only_wish = granted(r, BOOTSTRAP_EXTRA_WISH);
	j->any_name = json_is_true(json_object_get(body, "anyName"));
	if (only_name && j->any_name)
		name = only_name;
	if (!name_ok(name, STORE_MEMBER_NAME_MAX))
		return fail_bad(r, "a server's name has at most %u lower case letters, digits, dots and dashes",
				STORE_MEMBER_NAME_MAX);
	uint64_t id;
	if (mini_id_parse(name, &id)) /* `member remove` would not know which of the two is meant */
		return fail_bad(r, "\"%s\" would be taken for the id of a server: choose another name", name);
	if (only_name && !streq(name, only_name))
		return err_status(&r->err, ERR_FORBIDDEN,
				  "this token is for the server \"%s\": start it with --name %s", only_name, only_name);
	if (only_name)
		j->any_name = false;
	if (!mini_role_parse(only_wish ? only_wish : wish, &m->wish))
		return fail_bad(r, "a server is to be voter, learner or witness");
	snprintf(m->name, sizeof(m->name), "%s", name);
	int rc = take_text(r, body, "peer", m->peer, sizeof(m->peer));
	return rc < 0 ? rc : take_text(r, body, "api", m->api, sizeof(m->api));
}

/* The first eight bytes of the key's hash name the member, from its first key on. */
static int server_cert(struct request *r, struct join *j, const json_t *body)
{
	uint8_t hash[32];
	struct wanted_cert *w = add_cert(j, body, "csr", "certificate");
	if (pki_csr_key_hash(w->csr, hash, &r->err) < 0)
		return fail_bad(r, "csr is not a signing request");
	for (size_t i = 0; i < 8; i++)
		j->member.id = j->member.id << 8 | hash[i];
	j->member.id &= INT64_MAX; /* the store's ids have 63 bits */
	if (j->member.id == 0)
		j->member.id = 1;
	if (j->renews)
		j->member.id = j->renews;
	w->common_name = xasprintf(MINI_SERVER_PREFIX "%016llx", (unsigned long long)j->member.id);
	w->organization = xstrdup(MINI_SERVERS_GROUP);
	w->server = w->client = true;
	return 0;
}

static int decode_server(struct request *r, struct join *j, const json_t *body)
{
	int rc = server_member(r, j, body);
	return rc < 0 ? rc : server_cert(r, j, body);
}

static int decode_agent(struct request *r, struct join *j, const json_t *body)
{
	const char *name = json_get_str(body, "name", "");
	if (!name_ok(name, 253) || streq(name, "localhost") || streq(name, "kubernetes") ||
	    str_starts(name, "kubernetes."))
		return fail_bad(r, "\"%.100s\" cannot be the name of a node", name);
	const char *only_name = granted(r, BOOTSTRAP_EXTRA_NAME);
	if (only_name && !streq(name, only_name))
		return err_status(&r->err, ERR_FORBIDDEN,
				  "this token is for the node \"%s\": start it with --node-name %s", only_name,
				  only_name);
	snprintf(j->node, sizeof(j->node), "%s", name);
	int rc = take_text(r, body, "nodeIP", j->node_ip, sizeof(j->node_ip));
	if (rc < 0)
		return rc;
	struct wanted_cert *w = add_cert(j, body, "csr", "certificate");
	w->common_name = xasprintf("system:node:%s", name);
	w->organization = xstrdup("system:nodes");
	w->client = true;
	w = add_cert(j, body, "servingCsr", "servingCertificate");
	w->common_name = xasprintf("system:node:%s", name);
	w->organization = xstrdup("system:nodes");
	w->dns[0] = xstrdup(name);
	w->server = true;
	w = add_cert(j, body, "proxyCsr", "proxyCertificate");
	w->common_name = xstrdup("system:kube-proxy");
	w->organization = xstrdup("system:node-proxier");
	w->client = true;
	return 0;
}

static int check_can_sign(struct request *r)
{
	if (!r->server->ca_key_pem)
		return err_status(&r->err, ERR_SERVICE_UNAVAILABLE,
				  "this server does not have the CA's key: ask another one");
	return 0;
}

static int join_decode(struct request *r)
{
	struct join *j = join_new(r);
	_cleanup_json_ json_t *body = NULL;
	int rc = mini_body(r, &body);
	if (rc == 0)
		rc = check_can_sign(r);
	if (rc < 0)
		return rc;
	const char *kind = json_get_str(body, "kind", "");
	j->agent = streq(kind, "agent");
	if (!j->agent && !streq(kind, "server"))
		return fail_bad(r, "kind is \"server\" or \"agent\"");
	if (!j->agent && r->server->alone)
		return err_status(
			&r->err, ERR_FORBIDDEN,
			"this is a cluster of one server (a demo, or its port for peers is taken): `minid server` "
			"starts one that others can join");
	if (!user_in_group(r->user, j->agent ? JOIN_GROUP_AGENTS : JOIN_GROUP_SERVERS) &&
	    !user_in_group(r->user, "system:masters"))
		return err_status(&r->err, ERR_FORBIDDEN,
				  "this token does not let a %s join: make one with `minid token create --role %s`",
				  kind, kind);
	return j->agent ? decode_agent(r, j, body) : decode_server(r, j, body);
}

static int replace_decode(struct request *r)
{
	struct join *j = join_new(r);
	_cleanup_json_ json_t *body = NULL;
	int rc = mini_body(r, &body);
	if (rc == 0)
		rc = check_can_sign(r);
	if (rc < 0)
		return rc;
	j->replaces = mini_caller(r);
	if (!j->replaces)
		return err_status(&r->err, ERR_FORBIDDEN, "only a server of this cluster can be replaced by another");
	rc = decode_server(r, j, body);
	j->any_name = false;
	return rc;
}

/* By the certificate that it has, and for no name but that one's. */
static int renew_decode(struct request *r)
{
	struct join *j = join_new(r);
	_cleanup_json_ json_t *body = NULL;
	const struct http_peer *peer = r->http ? http_peer(r->http) : NULL;
	const char *node = node_of_user(r->user);
	int rc = mini_body(r, &body);
	if (rc == 0)
		rc = check_can_sign(r);
	if (rc < 0)
		return rc;
	j->renews = mini_caller(r);
	bool proven = !r->impersonator && peer && peer->cert_verified && streq(peer->common_name, r->user->name);
	if (!proven || (!node && !j->renews))
		return err_status(&r->err, ERR_FORBIDDEN,
				  "a node or a server renews its certificate by showing the one it has");
	if (j->renews)
		return server_cert(r, j, body);
	if (!streq(json_get_str(body, "name", node), node))
		return err_status(&r->err, ERR_FORBIDDEN, "the node \"%s\" renews its own certificates alone", node);
	json_put_str(body, "name", node);
	j->agent = true;
	return decode_agent(r, j, body);
}

/* ---- the members ---- */

static bool name_taken(const struct store_members *m, const struct join *j, const char *name)
{
	const struct store_member *other = mini_member(m, name);
	return other && streq(other->name, name) && other->id != j->member.id && other->id != j->replaces;
}

static int choose_name(struct request *r, struct join *j, const struct store_members *m)
{
	char name[STORE_MEMBER_NAME_MAX + 1];
	snprintf(name, sizeof(name), "%s", j->member.name);
	for (int i = 2; name_taken(m, j, name); i++) {
		if (!j->any_name || i > NAME_TRIES)
			return err_status(
				&r->err, ERR_ALREADY_EXISTS,
				"a server named \"%s\" is in the cluster already: choose another with --name, or "
				"remove that one first (minictl cluster member remove %s)",
				j->member.name, j->member.name);
		snprintf(name, sizeof(name), "%.*s-%u", (int)STORE_MEMBER_NAME_MAX - 4, j->member.name,
			 (unsigned)i % 100u);
	}
	snprintf(j->member.name, sizeof(j->member.name), "%s", name);
	return 0;
}

static int plan_server(struct request *r, struct join *j, const struct store_members *m)
{
	const struct store_member *have = mini_member_id(m, j->member.id);
	j->cluster = m->cluster;
	j->members = mini_members_tree(m);
	j->step = JOIN_SIGN;
	if (have) { /* it asked before, and did not get the answer, or lost it */
		j->member = *have;
		return 0;
	}
	const struct store_member *old = mini_member_id(m, j->replaces);
	if (j->renews || (j->replaces && !old))
		return err_status(
			&r->err, ERR_FORBIDDEN,
			"this server was removed from the cluster: to come back it needs an empty --dir and a new "
			"token");
	for (size_t i = 0; i < m->n; i++)
		if (m->members[i].id == j->member.id)
			return err_status(
				&r->err, ERR_FORBIDDEN,
				"this server was removed from the cluster: to come back it needs an empty --dir");
	if (old) /* a witness that came back as a voter would have the cluster's keys */
		j->member.wish = old->wish;
	j->add = true;
	return choose_name(r, j, m);
}

/* The host of "HOST:PORT" or "https://HOST:PORT" is that address. */
static bool host_is(const char *where, const char *ip)
{
	const char *s = where ? strstr(where, "://") : NULL, *host = s ? s + 3 : where;
	size_t n = strlen(ip);
	return host && strncmp(host, ip, n) == 0 && (host[n] == ':' || !host[n]);
}

/* May a node's certificate speak for this address? Not for a service's, this host's own, or a server's. */
static bool node_may_have(const struct request *r, const struct store_members *m, const char *ip)
{
	uint8_t a4[4];
	if (inet_pton(AF_INET, ip, a4) != 1 || a4[0] == 127 || a4[0] == 0 || a4[0] >= 224 ||
	    service_ips_contains(r->server->service_ips, ip))
		return false;
	for (size_t i = 0; m && i < m->n; i++)
		if (host_is(m->members[i].api, ip) || host_is(m->members[i].peer, ip))
			return false;
	return true;
}

/* Is a server known by that name? Nobody asks a node by its name, so a certificate can do without. */
static bool is_a_servers(const struct store_members *m, const char *name)
{
	for (size_t i = 0; m && i < m->n; i++)
		if (streq(m->members[i].name, name) || host_is(m->members[i].api, name) ||
		    host_is(m->members[i].peer, name))
			return true;
	return false;
}

/* It asks from an address: that one it has, whoever else may be there. */
static void plan_agent(struct request *r, struct join *j, const struct store_members *m)
{
	struct wanted_cert *w = &j->certs[1];
	const struct http_peer *peer = r->http ? http_peer(r->http) : NULL;
	const char *from = peer ? peer->address : "";
	size_t n = 0;
	uint8_t a4[4];
	if (is_a_servers(m, j->node)) {
		free(w->dns[0]);
		w->dns[0] = NULL;
	}
	if (inet_pton(AF_INET, from, a4) == 1)
		w->ips[n++] = xstrdup(from);
	if (*j->node_ip && !streq(j->node_ip, from) && node_may_have(r, m, j->node_ip))
		w->ips[n++] = xstrdup(j->node_ip);
	j->servers = mini_api_urls(r->server, m);
	j->step = JOIN_SIGN;
}

static void on_members(void *arg, const struct err *err, const struct store_members *m)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct join *j = r->extra;
	bool alone = store_failed(err) && err->code == -ENOTSUP;
	if (store_failed(err) && !(alone && j->agent))
		fail_store(r, err);
	else if (j->agent)
		plan_agent(r, j, alone ? NULL : m);
	else
		plan_server(r, j, m);
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_LOOK);
}

static void answer(struct request *r, struct join *j)
{
	char cluster[17], member[17];
	json_t *tree = json_make("{s:i, s:s, s:I}", "version", MINI_VERSION, "ca", r->server->ca_pem, "time",
				 (json_int_t)j->now_s);
	for (size_t i = 0; i < j->n_certs; i++)
		json_put_str(tree, j->certs[i].as, j->certs[i].cert);
	json_put_str(tree, "serviceCIDR", r->server->service_cidr);
	json_put_str(tree, "clusterCIDR", r->server->cluster_cidr);
	json_put(tree, "servers", json_incref(j->servers));
	if (!j->agent) {
		mini_id_text(j->cluster, cluster);
		mini_id_text(j->member.id, member);
		json_put_str(tree, "cluster", cluster);
		json_put_str(tree, "member", member);
		json_put_str(tree, "name", j->member.name);
		json_put_str(tree, "wish", mini_role_text(j->member.wish));
		json_put(tree, "members", json_incref(j->members));
	}
	result_tree(r, tree, 200);
}

static void on_added(void *arg, const struct err *err, uint64_t id)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct join *j = r->extra;
	if (!store_failed(err)) {
		log_info("cluster", "member added name=%s id=%016llx peer=%s api=%s wish=%s replaces=%016llx",
			 j->member.name, (unsigned long long)id, j->member.peer, j->member.api,
			 mini_role_text(j->member.wish), (unsigned long long)j->replaces);
		j->step = JOIN_DONE;
		answer(r, j);
	} else if (err->code == -EEXIST) {
		err_status(&r->err, ERR_ALREADY_EXISTS, "%s", err->message);
	} else if (err->code == -E2BIG) {
		err_status(&r->err, ERR_FORBIDDEN, "the cluster has %u members, and takes no more", STORE_MEMBERS_MAX);
	} else {
		fail_store(r, err);
	}
	request_resume(r, REQUEST_ANSWER);
}

/* ---- certificates, in the pool ---- */

static void sign_work(struct env_work *work)
{
	struct join *j = CONTAINER_OF(work, struct join, work);
	int64_t life_s = j->life_s;
	for (size_t i = 0; i < j->n_certs; i++) {
		struct wanted_cert *w = &j->certs[i];
		const struct pki_request req = {.common_name = w->common_name,
						.organizations = (const char *const[]){w->organization, NULL},
						.dns_names = (const char *const *)w->dns,
						.ips = (const char *const *)w->ips,
						.server = w->server,
						.client = w->client,
						.not_before_s = j->now_s - MIN(life_s / 24, BACK_S),
						.not_after_s = j->now_s + life_s};
		if (pki_sign_csr(&j->ca, w->csr, &req, &w->cert, &j->err) < 0)
			return;
	}
}

static void sign_done(struct env_work *work)
{
	struct join *j = CONTAINER_OF(work, struct join, work);
	struct request *r = j->r;
	if (!request_arrived(r))
		return;
	j->step = j->add ? JOIN_ADD : JOIN_DONE;
	if (j->err.code)
		err_status(&r->err, ERR_BAD_REQUEST, "%s", j->err.message);
	else if (!j->add)
		answer(r, j);
	request_resume(r, j->err.code || !j->add ? REQUEST_ANSWER : REQUEST_LOOK);
}

static int sign(struct request *r, struct join *j)
{
	j->ca.cert_pem = xstrdup(r->server->ca_pem);
	j->ca.key_pem = xstrdup(r->server->ca_key_pem);
	j->now_s = env_wall_s(r->server->env);
	j->life_s = r->server->cert_life_s;
	j->work = (struct env_work){.work = sign_work, .done = sign_done, .lane = ENV_LANE_POOL};
	request_submitted(r);
	env_submit(r->server->env, &j->work);
	return REQUEST_WAIT;
}

static int join_look(struct request *r)
{
	struct join *j = r->extra;
	switch (j->step) {
	case JOIN_MEMBERS:
		request_submitted(r);
		store_members(r->server->store, j->agent, on_members, r);
		return REQUEST_WAIT;
	case JOIN_ADD:
		request_submitted(r);
		store_member_add(r->server->store, &j->member, j->replaces, on_added, r);
		return REQUEST_WAIT;
	case JOIN_SIGN:
		return sign(r, j);
	case JOIN_DONE:
		break;
	}
	return REQUEST_NEXT;
}

const struct handler mini_handler_join = {.decode = join_decode, .look = join_look};
const struct handler mini_handler_replace = {.decode = replace_decode, .look = join_look};
const struct handler mini_handler_renew = {.decode = renew_decode, .look = join_look};

/* ---- the CA, and the cluster's keys ---- */

static void answer_ca(struct request *r, uint64_t cluster)
{
	json_t *tree = json_make("{s:i, s:s, s:I}", "version", MINI_VERSION, "ca", r->server->ca_pem, "time",
				 (json_int_t)env_wall_s(r->server->env));
	char text[17];
	mini_id_text(cluster, text);
	if (cluster)
		json_put_str(tree, "cluster", text);
	result_tree(r, tree, 200);
}

static void on_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	answer_ca(r, store_failed(err) ? 0 : st->cluster_id);
	request_resume(r, REQUEST_ANSWER);
}

static int ca_look(struct request *r)
{
	if (!r->server->ca_pem)
		return err_status(&r->err, ERR_NOT_FOUND, "this server has no CA");
	request_submitted(r);
	r->server->store->engine->status(r->server->store, on_status, r);
	return REQUEST_WAIT;
}
const struct handler mini_handler_ca = {.look = ca_look};

static void on_keys(void *arg, const struct err *err, const struct store_members *m)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	const struct store_member *caller = store_failed(err) ? NULL : mini_member_id(m, mini_caller(r));
	if (store_failed(err))
		fail_store(r, err);
	else if (!caller)
		err_status(&r->err, ERR_FORBIDDEN, "this server is not, or no longer, a member of the cluster");
	else if (caller->wish == STORE_ROLE_WITNESS)
		err_status(&r->err, ERR_FORBIDDEN, "a witness votes, and holds none of the cluster's keys");
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_CHANGE);
}

static int keys_look(struct request *r)
{
	if (!mini_caller(r))
		return err_status(&r->err, ERR_FORBIDDEN, "the keys are for the servers of the cluster alone");
	int rc = check_can_sign(r);
	if (rc < 0)
		return rc;
	request_submitted(r);
	store_members(r->server->store, false, on_keys, r);
	return REQUEST_WAIT;
}

static int keys_change(struct request *r)
{
	const struct apiserver *a = r->server;
	result_tree(r,
		    json_make("{s:i, s:s, s:s, s:s}", "version", MINI_VERSION, "ca", a->ca_pem, "caKey", a->ca_key_pem,
			      "serviceAccountKey", a->sa_key_pem),
		    200);
	return REQUEST_SKIP_TO_ANSWER;
}
const struct handler mini_handler_keys = {.look = keys_look, .change = keys_change};
