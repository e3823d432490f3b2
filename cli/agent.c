#include "cli/agent.h"

#include <errno.h>

#include "apiserver/mini_api.h"
#include "lib/core/file.h"
#include "lib/core/log.h"

#define FILE_MAX  (256u << 10)
#define FOLLOW_US (30ull * 1000000)

/* ---- what is remembered ---- */

static char *dup_of(const json_t *t, const char *key)
{
	const char *s = json_get_str(t, key, NULL);
	return s ? xstrdup(s) : NULL;
}

static json_t *urls_of(const json_t *t)
{
	json_t *list = json_array(), *v;
	size_t i;
	json_array_foreach(json_object_get(t, "servers"), i, v)
	{
		if (json_is_string(v) && json_array_size(list) < SERVERS_MAX)
			json_array_append(list, v);
	}
	return list;
}

static void take(struct agent_settings *s, const json_t *t)
{
	s->servers = urls_of(t);
	s->cluster_cidr = dup_of(t, "clusterCIDR");
	s->service_cidr = dup_of(t, "serviceCIDR");
}

int agent_settings_read(const char *dir, struct agent_settings *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/agent.json", dir);
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_json_ json_t *t = NULL;
	int r = file_exists(path) ? file_read(path, FILE_MAX, &b, err) : 0;
	if (r == 0 && b.len && (json_parse(b.data, b.len, &t, NULL) < 0 || !json_is_object(t)))
		r = err_set(err, -EBADMSG, "%s cannot be read: it is not what minid writes there", path);
	if (r < 0)
		return r;
	*ret = (struct agent_settings){
		.joined = dup_of(t, "server"), .node_name = dup_of(t, "nodeName"), .node_ip = dup_of(t, "nodeIP")};
	take(ret, t);
	return 0;
}

int agent_settings_write(const char *dir, const struct agent_settings *s, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/agent.json", dir);
	_cleanup_json_ json_t *t = json_make("{s:i}", "version", MINI_VERSION);
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_put_str(t, "server", s->joined);
	json_put(t, "servers", json_incref(s->servers));
	json_put_str(t, "nodeName", s->node_name);
	json_put_str(t, "nodeIP", s->node_ip);
	json_put_str(t, "serviceCIDR", s->service_cidr);
	json_put_str(t, "clusterCIDR", s->cluster_cidr);
	json_write_pretty(&b, t, 2);
	return file_write_atomic(path, b.data, b.len, 0600, err);
}

void agent_settings_take(struct agent_settings *s, const char *joined, const json_t *answer)
{
	s->joined = xstrdup(joined);
	take(s, answer);
}

void agent_settings_done(struct agent_settings *s)
{
	free(s->joined);
	json_decref(s->servers);
	free(s->node_name);
	free(s->node_ip);
	free(s->cluster_cidr);
	free(s->service_cidr);
	*s = (struct agent_settings){0};
}

/* ---- the servers ---- */

static size_t order(const struct agent_settings *s, const char *first, const char *ret[SERVERS_MAX + 2])
{
	size_t n = 0, i;
	json_t *v;
	if (first)
		ret[n++] = first;
	json_array_foreach(s->servers, i, v) ret[n++] = json_string_value(v);
	if (s->joined)
		ret[n++] = s->joined;
	return n;
}

int agent_servers(struct env *env, const struct agent_settings *s, const char *first, struct servers **ret,
		  struct err *err)
{
	const char *urls[SERVERS_MAX + 2];
	size_t n = order(s, first, urls);
	return servers_new(env, urls, n, ret, err);
}

/* ---- following ---- */

struct agent_follow {
	struct env *env;
	struct client *client;
	struct servers *servers;
	struct client_call *call;
	struct env_timer timer;
	char *dir, *first;
};

static void remember(struct agent_follow *f, json_t *heard)
{
	struct agent_settings s = {0};
	const char *urls[SERVERS_MAX + 2];
	struct err err = ERR_INIT;
	int r = agent_settings_read(f->dir, &s, &err);
	if (r == 0 && !json_equal(s.servers, heard)) {
		json_decref(s.servers);
		s.servers = json_incref(heard);
		r = agent_settings_write(f->dir, &s, &err);
	}
	if (r < 0)
		log_error("agent", "the list of servers could not be written: %s", err.message);
	if (r == 0 && servers_set(f->servers, urls, order(&s, f->first, urls)))
		log_info("agent", "servers known=%zu", servers_count(f->servers));
	agent_settings_done(&s);
	err_done(&err);
}

static void on_answer(void *arg, const struct client_response *resp)
{
	struct agent_follow *f = arg;
	f->call = NULL;
	env_timer_start(f->env, &f->timer, FOLLOW_US);
	_cleanup_json_ json_t *heard = resp->err->code ? NULL : urls_of(resp->tree);
	if (json_array_size(heard))
		remember(f, heard);
}

static void on_timer(struct env_timer *t)
{
	struct agent_follow *f = CONTAINER_OF(t, struct agent_follow, timer);
	f->call = client_http_ask(f->client, MINI_PATH "servers", NULL, on_answer, f);
}

struct agent_follow *agent_follow_new(struct env *env, const char *dir, const char *first, struct servers *servers,
				      struct client *as_node)
{
	struct agent_follow *f = NEW(struct agent_follow);
	*f = (struct agent_follow){.env = env,
				   .client = as_node,
				   .servers = servers_ref(servers),
				   .dir = xstrdup(dir),
				   .first = first ? xstrdup(first) : NULL,
				   .timer.fn = on_timer};
	env_timer_start(env, &f->timer, 0);
	return f;
}

void agent_follow_free(struct agent_follow *f)
{
	if (!f)
		return;
	if (f->call)
		client_cancel(f->client, f->call);
	env_timer_stop(f->env, &f->timer);
	servers_unref(f->servers);
	free(f->dir);
	free(f->first);
	free(f);
}
