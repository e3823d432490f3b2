#include "lib/client/servers.h"

#include <errno.h>

#include "lib/client/http_priv.h"
#include "lib/core/log.h"

#define SERVERS_MAGIC   0xc11e4773u
#define REFUSING_MAX_US 3000000u
#define SAID_US         10000000u

struct servers {
	uint32_t magic;
	unsigned refs;
	struct env *env;
	char *urls[SERVERS_MAX];
	size_t n, current;
	uint64_t refusing_us; /* since when the current one says 503 and nothing else; 0: it does not */
	uint64_t quiet_us;    /* until when no word is said of a turn: with all gone they come often */
	bool tls;
	struct list users;
};

/* ---- URLs ---- */

static int parse_port(const char *s, size_t len, uint16_t *ret)
{
	char text[8];
	uint64_t port;
	if (len == 0 || len >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	if (parse_u64(text, &port) < 0 || port == 0 || port > 65535)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

int server_url__parse(const char *url, struct server_url *ret, struct err *err)
{
	struct server_url u = {.tls = true, .port = 443};
	const char *p = url;
	if (str_starts(p, "https://")) {
		p += 8;
	} else if (str_starts(p, "http://")) {
		p += 7;
		u.tls = false;
		u.port = 80;
	} else if (strstr(p, "://")) {
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": not an http or https URL", url);
	}
	const char *end = strchrnul(p, '/'), *host = p, *host_end, *rest;
	if (*p == '[') {
		host = p + 1;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return err_status(err, ERR_BAD_REQUEST, "server \"%s\": no ] after the address", url);
		rest = host_end + 1;
	} else {
		const char *colon = memchr(p, ':', (size_t)(end - p));
		rest = host_end = colon ? colon : end;
	}
	size_t len = (size_t)(host_end - host);
	if (len == 0 || len >= sizeof(u.host))
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": no host", url);
	memcpy(u.host, host, len);
	if (rest < end && (*rest != ':' || parse_port(rest + 1, (size_t)(end - rest - 1), &u.port) < 0))
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": bad port", url);
	u.path = end;
	u.path_len = strlen(end);
	while (u.path_len && end[u.path_len - 1] == '/')
		u.path_len--;
	*ret = u;
	return 0;
}

/* ---- the list ---- */

static void tell(struct servers *s)
{
	LIST_EACH (&s->users, u, struct servers_user, node)
		u->moved(u);
}

static ssize_t find(const struct servers *s, const char *url)
{
	for (size_t i = 0; i < s->n; i++)
		if (streq(s->urls[i], url))
			return (ssize_t)i;
	return -1;
}

static void drop_urls(struct servers *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->urls[i]);
	s->n = 0;
}

static void take(struct servers *s, const char *const *urls, size_t n)
{
	struct server_url u;
	for (size_t i = 0; i < n && s->n < SERVERS_MAX; i++)
		if (server_url__parse(urls[i], &u, NULL) == 0 && u.tls == s->tls && find(s, urls[i]) < 0)
			s->urls[s->n++] = xstrdup(urls[i]);
}

int servers_new(struct env *env, const char *const *urls, size_t n, struct servers **ret, struct err *err)
{
	struct server_url u = {0};
	int rc = n ? 0 : err_set(err, -EINVAL, "no server to speak to");
	bool tls = true;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = server_url__parse(urls[i], &u, err);
		tls = i == 0 ? u.tls : tls;
	}
	if (rc < 0)
		return rc;
	struct servers *s = NEW(struct servers);
	*s = (struct servers){.magic = SERVERS_MAGIC, .refs = 1, .env = env, .tls = tls};
	list_init(&s->users);
	take(s, urls, n);
	*ret = s;
	return 0;
}

struct servers *servers_ref(struct servers *s)
{
	s->refs++;
	return s;
}

void servers_unref(struct servers *s)
{
	if (!s || --s->refs)
		return;
	MAGIC_CHECK(s, SERVERS_MAGIC);
	drop_urls(s);
	s->magic = 0;
	free(s);
}

static bool same_list(const struct servers *a, const struct servers *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = streq(a->urls[i], b->urls[i]);
	return same;
}

bool servers_set(struct servers *s, const char *const *urls, size_t n)
{
	MAGIC_CHECK(s, SERVERS_MAGIC);
	struct servers now = {.tls = s->tls};
	take(&now, urls, n);
	if (!now.n || same_list(s, &now)) {
		drop_urls(&now);
		return false;
	}
	ssize_t at = find(&now, servers_current(s));
	drop_urls(s);
	memcpy(s->urls, now.urls, sizeof(s->urls));
	s->n = now.n;
	s->current = at < 0 ? 0 : (size_t)at;
	if (at < 0)
		s->refusing_us = 0;
	tell(s);
	return true;
}

size_t servers_count(const struct servers *s)
{
	return s->n;
}

const char *servers_at(const struct servers *s, size_t i)
{
	return i < s->n ? s->urls[i] : NULL;
}

const char *servers_current(const struct servers *s)
{
	return s->urls[s->current];
}

/* ---- for clients ---- */

bool servers__tls(const struct servers *s)
{
	return s->tls;
}

void servers__join(struct servers *s, struct servers_user *u)
{
	list_push(&s->users, &u->node);
}

static void move_on(struct servers *s, const char *why)
{
	const char *from = servers_current(s);
	s->current = (s->current + 1) % s->n;
	s->refusing_us = 0;
	if (env_now_us(s->env) >= s->quiet_us) {
		log_warn("client", "turning to another server from=%s to=%s why=\"%s\"", from, servers_current(s), why);
		s->quiet_us = env_now_us(s->env) + SAID_US;
	}
	tell(s);
}

void servers__failed(struct servers *s, const char *url, const struct err *err)
{
	/* the first to notice turns all of them; those that notice later know already */
	if (s->n > 1 && streq(url, servers_current(s)))
		move_on(s, err->message);
}

bool servers__answered(struct servers *s, const char *url, int status, uint64_t asked_us)
{
	bool current = streq(url, servers_current(s));
	if (status != 503) {
		s->refusing_us = current ? 0 : s->refusing_us;
		return false;
	}
	if (!current || s->n < 2)
		return !current;
	if (!s->refusing_us)
		s->refusing_us = MAX(asked_us, (uint64_t)1);
	if (env_now_us(s->env) - s->refusing_us < REFUSING_MAX_US)
		return false;
	move_on(s, "it refuses what it is asked (503)");
	return true;
}
