#include "cli/options.h"

#include <errno.h>
#include <limits.h>

#include "cli/usage.h"

#define DEFAULT_DIR "/var/lib/mini"

/* The directory as one absolute path, so that the instance id does not depend on where minid was started. */
static char *absolute(const char *dir)
{
	char cwd[PATH_MAX];
	_cleanup_free_ char *joined =
		dir[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? xstrdup(dir) : xasprintf("%s/%s", cwd, dir);
	char *real = realpath(joined, NULL);
	if (real)
		return real;
	for (size_t n = strlen(joined); n > 1 && joined[n - 1] == '/';)
		joined[--n] = 0;
	return STEAL(joined);
}

static int number(const char *flag, const char *value, uint16_t *ret, struct err *err)
{
	int64_t v;
	if (parse_i64(value, &v) < 0 || v < 1 || v > 65535)
		return err_set(err, -EINVAL, "%s wants a port from 1 to 65535, not \"%s\"", flag, value);
	*ret = (uint16_t)v;
	return 0;
}

int options_address(const char *flag, const char *text, char **ret_host, uint16_t *ret_port, struct err *err)
{
	const char *colon = strrchr(text, ':'), *close = *text == '[' ? strchr(text, ']') : NULL;
	bool v6 = !close && colon && strchr(text, ':') != colon; /* bare: no port behind it */
	if (*text == '[' && (!close || (close[1] && close[1] != ':')))
		return err_set(err, -EINVAL, "%s wants HOST:PORT or [V6ADDRESS]:PORT, not \"%s\"", flag, text);
	if (close)
		colon = close[1] ? close + 1 : NULL;
	uint16_t port = *ret_port;
	if (colon && !v6 && number(flag, colon + 1, &port, err) < 0)
		return err_set(err, -EINVAL, "%s wants HOST:PORT with a port from 1 to 65535, not \"%s\"", flag, text);
	size_t len = close ? (size_t)(close - text - 1) : colon && !v6 ? (size_t)(colon - text) : strlen(text);
	if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]%") != strlen(text))
		return err_set(err, -EINVAL, "%s wants HOST:PORT, not \"%.100s\"", flag, text);
	if (len > 253)
		return err_set(err, -EINVAL, "%s wants HOST:PORT; that host is too long", flag);
	*ret_host = len ? xstrndup(close ? text + 1 : text, len) : NULL;
	*ret_port = port;
	return 0;
}

static uint64_t unit_us(const char *unit, size_t len)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = {{"ms", 1000},         {"s", 1000000},        {"m", 60000000ull},
		     {"h", 3600000000ull}, {"d", 86400000000ull}, {"w", 604800000000ull}};
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strlen(units[i].name) == len && strncmp(units[i].name, unit, len) == 0)
			return units[i].us;
	return 0;
}

int options_duration(const char *flag, const char *text, uint64_t *ret_us, struct err *err)
{
	uint64_t sum = 0;
	const char *p = text;
	while (*p && !streq(text, "0")) {
		char *end;
		unsigned long long n = *p >= '0' && *p <= '9' ? strtoull(p, &end, 10) : UINT64_MAX;
		size_t len = n == UINT64_MAX ? 0 : strspn(end, "msdhw");
		uint64_t unit = len ? unit_us(end, len) : 0;
		if (!unit || n > 3660ull * 86400000000ull / unit)
			break;
		sum += n * unit;
		p = end + len;
	}
	if (!*text || (*p && !streq(text, "0")))
		return err_set(err, -EINVAL, "%s wants a time such as 30s, 10m, 24h or 7d, not \"%s\"", flag, text);
	*ret_us = sum;
	return 0;
}

int options_bytes(const char *flag, const char *text, uint64_t *ret, struct err *err)
{
	static const char letters[] = "KMGT";
	char *end;
	unsigned long long n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : UINT64_MAX;
	const char *letter = n < UINT64_MAX && *end ? strchr(letters, *end) : NULL;
	unsigned shift = letter ? (unsigned)(letter - letters + 1) * 10 : 0;
	bool whole = n < UINT64_MAX && (!*end || (letter && (!end[1] || streq(end + 1, "i"))));
	if (!whole || n > (UINT64_MAX >> 1) >> shift)
		return err_set(err, -EINVAL, "%s wants a size such as 64Mi or 1Gi, not \"%s\"", flag, text);
	*ret = n << shift;
	return 0;
}

static int take_address(struct options *o, const char *flag, const char *value, struct err *err)
{
	char *host = NULL;
	bool peer = streq(flag, "--peer-listen");
	uint16_t port = peer ? o->peer_port : 0;
	int r = options_address(flag, value, &host, &port, err);
	if (r < 0)
		return r;
	free((char *)(peer ? o->peer_listen : o->listen));
	if (peer) {
		o->peer_listen = host;
		o->peer_port = port;
		o->peer_given = true;
		return 0;
	}
	o->listen = host;
	if (port)
		o->port = port;
	o->port_given |= port != 0;
	return 0;
}

/* Taken apart where the others are known (cli/settings.c). */
static int take_peer(struct options *o, const char *value, struct err *err)
{
	const char *eq = strchr(value, '=');
	char *host = NULL;
	uint16_t port = 0;
	if (o->n_peers == OPTIONS_PEERS_MAX)
		return err_set(err, -E2BIG, "--peer may be given %u times", OPTIONS_PEERS_MAX);
	if (!eq || eq == value || !eq[1])
		return err_set(err, -EINVAL, "--peer wants NAME=HOST:PORT, not \"%s\"", value);
	int r = options_address("--peer NAME=HOST:PORT", eq + 1, &host, &port, err);
	if (r == 0 && !host)
		r = err_set(err, -EINVAL, "--peer wants NAME=HOST:PORT, not \"%s\"", value);
	free(host);
	if (r == 0)
		o->peers[o->n_peers++] = value;
	return r;
}

static int take_role(struct options *o, const char *value, struct err *err)
{
	if (!streq(value, "server") && !streq(value, "agent"))
		return err_set(err, -EINVAL, "--role is server or agent, not \"%s\"", value);
	o->role = value;
	return 0;
}

static int take(struct options *o, const char *flag, const char *value, struct err *err)
{
	static const struct {
		const char *flag;
		size_t offset;
	} texts[] = {{"--dir", offsetof(struct options, dir)},
		     {"--node-name", offsetof(struct options, node_name)},
		     {"--node-ip", offsetof(struct options, node_ip)},
		     {"--cluster-cidr", offsetof(struct options, cluster_cidr)},
		     {"--service-cidr", offsetof(struct options, service_cidr)},
		     {"--server", offsetof(struct options, server)},
		     {"--name", offsetof(struct options, name)},
		     {"--advertise", offsetof(struct options, advertise)},
		     {"--join", offsetof(struct options, join)},
		     {"--token", offsetof(struct options, token)},
		     {"--etcd-servers", offsetof(struct options, etcd_servers)},
		     {"--etcd-cafile", offsetof(struct options, etcd_cafile)},
		     {"--etcd-certfile", offsetof(struct options, etcd_certfile)},
		     {"--etcd-keyfile", offsetof(struct options, etcd_keyfile)},
		     {"--etcd-prefix", offsetof(struct options, etcd_prefix)}};
	if (!*value)
		return err_set(err, -EINVAL, "%s wants a value", flag);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!streq(flag, texts[i].flag))
			continue;
		*(const char **)(void *)((char *)o + texts[i].offset) = value;
		return 0;
	}
	if (streq(flag, "--port")) {
		o->port_given = true;
		return number(flag, value, &o->port, err);
	}
	if (streq(flag, "--listen") || streq(flag, "--peer-listen"))
		return take_address(o, flag, value, err);
	if (streq(flag, "--peer"))
		return take_peer(o, value, err);
	if (streq(flag, "--node-port"))
		return number(flag, value, &o->node_port, err);
	if (streq(flag, "--history"))
		return options_duration(flag, value, &o->history_us, err);
	if (streq(flag, "--history-bytes"))
		return options_bytes(flag, value, &o->history_bytes, err);
	if (streq(flag, "--history-size"))
		return options_bytes(flag, value, &o->history_disk_bytes, err);
	if (streq(flag, "--ttl"))
		return options_duration(flag, value, &o->ttl_us, err);
	if (streq(flag, "--role"))
		return take_role(o, value, err);
	if (streq(flag, "--log-format")) {
		if (!streq(value, "json") && !streq(value, "text"))
			return err_set(err, -EINVAL, "--log-format is text or json, not \"%s\"", value);
		o->log_json = streq(value, "json");
		return 0;
	}
	return err_set(err, -EINVAL, "unknown flag %s; minid --help lists them", flag);
}

static bool take_switch(struct options *o, const char *arg)
{
	static const struct {
		const char *flag;
		size_t offset;
	} switches[] = {
		{"--reset", offsetof(struct options, reset)},     {"--detach", offsetof(struct options, detach)},
		{"-v", offsetof(struct options, verbose)},        {"--verbose", offsetof(struct options, verbose)},
		{"--learner", offsetof(struct options, learner)}, {"--witness", offsetof(struct options, witness)}};
	for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
		if (!streq(arg, switches[i].flag))
			continue;
		*(bool *)((char *)o + switches[i].offset) = true;
		return true;
	}
	return false;
}

/* A name goes into certificates, paths of the API and tables. */
static bool name_ok(const char *s)
{
	size_t n = strlen(s);
	return n > 0 && n <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n && s[0] != '-' &&
	       s[0] != '.' && s[n - 1] != '-' && s[n - 1] != '.';
}

static int check(const struct options *o, struct err *err)
{
	if (o->name && !name_ok(o->name))
		return err_set(err, -EINVAL,
			       "--name wants at most 63 lower case letters, digits, dots and dashes, not \"%s\"",
			       o->name);
	char *host = NULL;
	uint16_t none = 0;
	bool bad = o->advertise && (options_address("--advertise", o->advertise, &host, &none, err) < 0 || none);
	free(host);
	if (bad)
		return err_set(err, -EINVAL, "--advertise wants an address without a port, not \"%.100s\"",
			       o->advertise);
	if (o->learner && o->witness)
		return err_set(err, -EINVAL, "a server is a learner or a witness, not both");
	if (o->join && !str_starts(o->join, "https://"))
		return err_set(err, -EINVAL, "--join wants https://HOST:PORT, not \"%s\"", o->join);
	if (o->token && !o->join)
		return err_set(err, -EINVAL, "--token goes with --join https://HOST:PORT");
	return 0;
}

static void addresses_done(struct options *o)
{
	free((char *)o->listen);
	free((char *)o->peer_listen);
	o->listen = o->peer_listen = NULL;
}

void options_done(struct options *o)
{
	addresses_done(o);
	free((char *)o->dir);
	o->dir = NULL;
}

/* One that would have no effect is a mistake. */
static int check_verb(const char *verb, const char *flag, struct err *err)
{
	const char *verbs = usage_verbs_of(flag);
	if (!verbs || usage_has(verb, flag))
		return 0;
	return err_set(err, -EINVAL, "%s is a flag of minid %s, not of %s; minid %s --help lists those", flag, verbs,
		       verb, verb);
}

static int parse(const char *verb, int argc, char **argv, unsigned words, struct options *o, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		char *arg = argv[i], *eq = strchr(arg, '=');
		_cleanup_free_ char *flag = eq ? xstrndup(arg, (size_t)(eq - arg)) : xstrdup(arg);
		int r = check_verb(verb, flag, err);
		if (r < 0)
			return r;
		if (take_switch(o, arg))
			continue;
		if (arg[0] != '-' && o->n_words < words) {
			o->words[o->n_words++] = arg;
			continue;
		}
		if (!str_starts(arg, "--"))
			return err_set(err, -EINVAL, "unexpected argument \"%s\"; minid --help shows the usage", arg);
		if (!eq && i + 1 >= argc)
			return err_set(err, -EINVAL, "%s wants a value, or is unknown; minid --help lists the flags",
				       arg);
		r = take(o, flag, eq ? eq + 1 : argv[++i], err);
		if (r < 0)
			return r;
	}
	return check(o, err);
}

int options_parse(const char *verb, int argc, char **argv, unsigned words, struct options *ret, struct err *err)
{
	struct options o = {.dir = DEFAULT_DIR,
			    .port = 6443,
			    .node_port = 10250,
			    .peer_port = 6444,
			    .ttl_us = 24ull * 3600 * 1000000,
			    .role = "server",
			    .cluster_cidr = "10.244.0.0/16",
			    .service_cidr = "10.96.0.0/16"};
	int r = parse(verb, argc, argv, words, &o, err);
	if (r < 0) {
		addresses_done(&o);
		return r;
	}
	o.dir = absolute(o.dir);
	if (!streq(o.dir, DEFAULT_DIR))
		snprintf(o.instance, sizeof(o.instance), "%04x", (unsigned)(hash64(o.dir, strlen(o.dir)) & 0xffff));
	*ret = o;
	return 0;
}
