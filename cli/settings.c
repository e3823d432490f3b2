#include "cli/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#include "apiserver/mini_api.h"
#include "lib/core/file.h"

#define FILE_MAX (256u << 10)

static char *dup_or_null(const char *s)
{
	return str_empty(s) ? NULL : xstrdup(s);
}

static int read_tree(const char *dir, const char *file, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!file_exists(path))
		return 0;
	int r = file_read(path, FILE_MAX, &b, err);
	if (r < 0)
		return r;
	if (json_parse(b.data, b.len, ret, NULL) < 0 || !json_is_object(*ret))
		return err_set(err, -EBADMSG, "%s cannot be read: it is not what minid writes there", path);
	if (json_get_int(*ret, "version", 0) != MINI_VERSION)
		return err_set(err, -EPROTONOSUPPORT, "%s is of a newer version of minid", path);
	return 0;
}

static int write_tree(const char *dir, const char *file, const json_t *tree, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	_cleanup_buf_ struct buf b = BUF_INIT, old = BUF_INIT;
	json_write_pretty(&b, tree, 2);
	buf_addc(&b, '\n');
	if (file_exists(path) && file_read(path, FILE_MAX, &old, NULL) == 0 && streq(buf_str(&old), buf_str(&b)))
		return 0;
	return file_write_atomic(path, b.data, b.len, 0600, err);
}

struct texts {
	const char *names[5];
	char **to[5];
};

static struct texts etcd_texts(struct settings *s)
{
	return (struct texts){
		{"etcdServers", "etcdCAFile", "etcdCertFile", "etcdKeyFile", "etcdPrefix"},
		{&s->etcd.servers, &s->etcd.cafile, &s->etcd.certfile, &s->etcd.keyfile, &s->etcd.prefix}};
}

int settings_read(const char *dir, struct settings *ret, struct err *err)
{
	_cleanup_json_ json_t *t = NULL;
	int r = read_tree(dir, "server.json", &t, err);
	if (r < 0)
		return r;
	struct settings s = {.name = dup_or_null(json_get_str(t, "name", "")),
			     .listen = dup_or_null(json_get_str(t, "listen", "")),
			     .port = (uint16_t)json_get_int(t, "port", 0),
			     .peer_listen = dup_or_null(json_get_str(t, "peerListen", "")),
			     .peer_port = (uint16_t)json_get_int(t, "peerPort", 0),
			     .advertise = dup_or_null(json_get_str(t, "advertise", "")),
			     .service_cidr = dup_or_null(json_get_str(t, "serviceCIDR", "")),
			     .cluster_cidr = dup_or_null(json_get_str(t, "clusterCIDR", "")),
			     .history_us = (uint64_t)json_get_int(t, "historyMicroseconds", 0),
			     .history_bytes = (uint64_t)json_get_int(t, "historyBytes", 0),
			     .history_disk_bytes = (uint64_t)json_get_int(t, "historySize", 0),
			     .joining = json_is_true(json_object_get(t, "joining"))};
	struct texts e = etcd_texts(&s);
	for (size_t i = 0; i < ARRAY_LEN(e.names); i++)
		*e.to[i] = dup_or_null(json_get_str(t, e.names[i], ""));
	mini_id_parse(json_get_str(t, "cluster", NULL), &s.cluster);
	mini_id_parse(json_get_str(t, "member", NULL), &s.member);
	if (!mini_role_parse(json_get_str(t, "wish", ""), &s.wish))
		s.wish = STORE_ROLE_VOTER;
	*ret = s;
	return 0;
}

int settings_write(const char *dir, const struct settings *s, struct err *err)
{
	char cluster[17], member[17];
	mini_id_text(s->cluster, cluster);
	mini_id_text(s->member, member);
	_cleanup_json_ json_t *t = json_make("{s:i, s:s, s:s, s:i, s:i, s:b, s:s}", "version", MINI_VERSION, "name",
					     s->name ? s->name : "", "wish", mini_role_text(s->wish), "port", s->port,
					     "peerPort", s->peer_port, "joining", s->joining, "cluster", cluster);
	json_put_str(t, "member", s->member ? member : NULL);
	if (s->history_us)
		json_put_int(t, "historyMicroseconds", (int64_t)s->history_us);
	if (s->history_bytes)
		json_put_int(t, "historyBytes", (int64_t)s->history_bytes);
	if (s->history_disk_bytes)
		json_put_int(t, "historySize", (int64_t)s->history_disk_bytes);
	json_put_str(t, "listen", s->listen);
	json_put_str(t, "peerListen", s->peer_listen);
	json_put_str(t, "advertise", s->advertise);
	json_put_str(t, "serviceCIDR", s->service_cidr);
	json_put_str(t, "clusterCIDR", s->cluster_cidr);
	struct settings copy = *s;
	struct texts e = etcd_texts(&copy);
	for (size_t i = 0; i < ARRAY_LEN(e.names); i++)
		json_put_str(t, e.names[i], *e.to[i]);
	return write_tree(dir, "server.json", t, err);
}

void settings_done(struct settings *s)
{
	free(s->name);
	free(s->listen);
	free(s->peer_listen);
	free(s->advertise);
	free(s->service_cidr);
	free(s->cluster_cidr);
	struct texts e = etcd_texts(s);
	for (size_t i = 0; i < ARRAY_LEN(e.names); i++)
		free(*e.to[i]);
	*s = (struct settings){0};
}

static void take(char **to, const char *value)
{
	if (!value)
		return;
	free(*to);
	*to = xstrdup(value);
}

/* Remembered, and so not relative to where minid happened to be started. */
static void take_path(char **to, const char *value)
{
	_cleanup_free_ char *whole = value ? realpath(value, NULL) : NULL;
	take(to, whole ? whole : value);
}

static bool is_any(const char *host)
{
	return !host || streq(host, "0.0.0.0") || streq(host, "::");
}

void settings_apply(struct settings *s, const struct options *o, const char *host_name)
{
	take(&s->name, o->name);
	take(&s->listen, o->listen);
	take(&s->peer_listen, o->peer_listen);
	take(&s->advertise, o->advertise);
	take(&s->etcd.servers, o->etcd_servers);
	take_path(&s->etcd.cafile, o->etcd_cafile);
	take_path(&s->etcd.certfile, o->etcd_certfile);
	take_path(&s->etcd.keyfile, o->etcd_keyfile);
	take(&s->etcd.prefix, o->etcd_prefix);
	if (o->port_given || !s->port)
		s->port = o->port;
	if (o->peer_given || !s->peer_port)
		s->peer_port = o->peer_port;
	if (o->history_us)
		s->history_us = o->history_us;
	if (o->history_bytes)
		s->history_bytes = o->history_bytes;
	if (o->history_disk_bytes)
		s->history_disk_bytes = o->history_disk_bytes;
	if (!s->name)
		s->name = *o->instance ? xasprintf("%.58s-%s", host_name, o->instance) : xasprintf("%.63s", host_name);
	if (s->wish == STORE_ROLE_NONE)
		s->wish = STORE_ROLE_VOTER;
	if (o->learner || o->witness)
		s->wish = o->witness ? STORE_ROLE_WITNESS : STORE_ROLE_LEARNER;
}

/* ---- the others ---- */

void others_done(struct others *o)
{
	free(o->members);
	*o = (struct others){0};
}

void others_from_tree(const json_t *list, struct others *ret)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		struct store_member m = {0};
		if (ret->n >= STORE_MEMBERS_MAX || !mini_id_parse(json_get_str(v, "id", NULL), &m.id))
			continue;
		snprintf(m.name, sizeof(m.name), "%s", json_get_str(v, "name", ""));
		snprintf(m.peer, sizeof(m.peer), "%s", json_get_str(v, "peer", ""));
		snprintf(m.api, sizeof(m.api), "%s", json_get_str(v, "api", ""));
		mini_role_parse(json_get_str(v, "wish", ""), &m.wish);
		ret->members = xrealloc(ret->members, (ret->n + 1) * sizeof(*ret->members));
		ret->members[ret->n++] = m;
	}
}

int others_read(const char *dir, struct others *ret, struct err *err)
{
	_cleanup_json_ json_t *t = NULL;
	int r = read_tree(dir, "members", &t, err);
	if (r == 0)
		others_from_tree(json_object_get(t, "members"), ret);
	return r;
}

int others_write(const char *dir, const struct store_member *members, size_t n, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		const struct store_member *m = &members[i];
		char id[17];
		if (m->wish == STORE_ROLE_NONE)
			continue;
		mini_id_text(m->id, id);
		json_array_append_new(list, json_make("{s:s, s:s, s:s, s:s, s:s}", "id", id, "name", m->name, "peer",
						      m->peer, "api", m->api, "wish", mini_role_text(m->wish)));
	}
	_cleanup_json_ json_t *t = json_make("{s:i, s:O}", "version", MINI_VERSION, "members", list);
	return write_tree(dir, "members", t, err);
}

static struct store_member *find_other(const struct others *o, const char *name, size_t len)
{
	char id[17];
	for (size_t i = 0; i < o->n; i++) {
		struct store_member *m = &o->members[i];
		mini_id_text(m->id, id);
		if ((strncmp(m->name, name, len) == 0 && !m->name[len]) || (len == 16 && strncmp(id, name, 16) == 0))
			return m;
	}
	return NULL;
}

static int no_such(const char *dir, const struct others *others, const char *name, size_t len, struct err *err)
{
	_cleanup_buf_ struct buf known = BUF_INIT;
	for (size_t i = 0; i < others->n; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", others->members[i].name);
	return err_set(err, -ENOENT, "--peer %.*s: %s/members knows no server called so (%s)", (int)len, name, dir,
		       others->n ? buf_str(&known) : "and no other either: has this one joined a cluster?");
}

/* The ports stay, unless another one is said; the API is where it was: at the same host, or else where. */
static int move(struct store_member *m, const char *where, struct err *err)
{
	_cleanup_free_ char *host = NULL, *old = NULL, *api = NULL;
	uint16_t port = 6444, api_port = 0;
	bool with_api = options_address("peer", m->peer, &old, &port, NULL) == 0 && old &&
			str_starts(m->api, "https://") &&
			options_address("api", m->api + 8, &api, &api_port, NULL) == 0 && api && streq(api, old);
	int r = options_address("--peer", where, &host, &port, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *peer = settings_join_address(host, port), *url = settings_join_address(host, api_port);
	snprintf(m->peer, sizeof(m->peer), "%s", peer);
	if (with_api)
		snprintf(m->api, sizeof(m->api), "https://%s", url);
	return 0;
}

int others_move(const char *dir, const struct settings *s, const struct options *o, struct err *err)
{
	struct others others = {0};
	int r = o->n_peers ? others_read(dir, &others, err) : 0;
	for (unsigned i = 0; r == 0 && i < o->n_peers; i++) {
		const char *name = o->peers[i], *eq = strchr(name, '=');
		size_t len = (size_t)(eq - name);
		struct store_member *m = find_other(&others, name, len);
		if (!m)
			r = no_such(dir, &others, name, len, err);
		else if (m->id != s->member)
			r = move(m, eq + 1, err);
	}
	if (r == 0 && o->n_peers)
		r = others_write(dir, others.members, others.n, err);
	others_done(&others);
	return r;
}

/* ---- addresses ---- */

static bool first_of_host(char ret[64])
{
	struct ifaddrs *all = NULL;
	bool found = false;
	if (getifaddrs(&all) < 0)
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) ||
		    !(i->ifa_flags & IFF_UP) || str_starts(i->ifa_name, "mini"))
			continue;
		struct sockaddr_in in;
		memcpy(&in, i->ifa_addr, sizeof(in));
		found = inet_ntop(AF_INET, &in.sin_addr, ret, 64) != NULL;
	}
	freeifaddrs(all);
	return found;
}

void settings_default_address(char ret[64])
{
	/* The address that the default route would use: no packet is sent for this. */
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(0xc0000201)}}, self;
	socklen_t len = sizeof(self);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&self, &len) == 0 && inet_ntop(AF_INET, &self.sin_addr, ret, 64))
		return;
	if (!first_of_host(ret))
		snprintf(ret, 64, "127.0.0.1");
}

void settings_address(const struct settings *s, const struct options *o, const char *listen, char ret[256])
{
	char own[64];
	if (s->advertise)
		snprintf(ret, 256, "%s", s->advertise);
	else if (!is_any(listen))
		snprintf(ret, 256, "%s", listen);
	else if (!is_any(s->listen))
		snprintf(ret, 256, "%s", s->listen);
	else if (o->node_ip)
		snprintf(ret, 256, "%s", o->node_ip);
	else {
		settings_default_address(own);
		snprintf(ret, 256, "%s", own);
	}
}

char *settings_join_address(const char *host, uint16_t port)
{
	return strchr(host, ':') ? xasprintf("[%s]:%u", host, port) : xasprintf("%s:%u", host, port);
}
