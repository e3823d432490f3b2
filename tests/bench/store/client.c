/* The bench's client: one process, many connections, the same shape for both stores.
 *
 *   store_client certs DIR                              a CA, a server's and three members' certificates
 *   store_client put  PROTO PORTS CERTS CONNS CLIENTS SECONDS KEYS   -> per_s p50_ms p99_ms cpu_percent puts
 *   store_client fill PROTO PORTS CERTS CONNS CLIENTS N KEYS         -> per_s p50_ms p99_ms cpu_percent puts
 *   store_client watch PROTO PORTS CERTS CONNS WATCHERS EVENTS       -> created_ms all_told_ms(median) max_ms
 *   store_client count|compact|await PROTO PORTS CERTS               -> keys | ms | ms until it answers
 *
 * PROTO mini or etcd; PORTS of 127.0.0.1, separated by commas: the leader among them is used. Values have 256 bytes.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/net/pki.h"
#include "lib/net/tls_internal.h"
#include "store/peer_tls.h"
#include "tests/bench/store/link.h"

#define VALUE_BYTES 256u

struct slot {
	uint64_t since_ns;
};

struct client {
	uv_loop_t loop;
	struct env *env;
	struct conn_group group;
	struct tls_context *tls;
	const struct link_proto *proto;
	uint16_t ports[8];
	unsigned n_ports;
	struct link **links;
	unsigned n_links, n_open;
	bool down; /* a connection ended */
	char why[200];

	struct slot *slots;
	unsigned n_slots, running;
	uint64_t until_ns; /* put: when it ends; 0: after `left` */
	uint64_t left, keys, next_key;
	uint32_t seed;
	char value[VALUE_BYTES];
	uint32_t *took_us;
	size_t n_took, cap_took;
	uint64_t failed, number;
	unsigned answers; /* of single calls and watches */

	unsigned told, n_watches;
	uint64_t *told_at;
};

static uint64_t now_ns(void)
{
	return uv_hrtime();
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "store_client: %s: %s\n", what, why);
	exit(1);
}

/* ---- connections ---- */

static void next_put(struct client *c, uint64_t slot);

static void opened(struct link *l)
{
	((struct client *)l->arg)->n_open++;
}

static void answered(struct link *l, uint64_t id, bool failed, uint64_t number)
{
	struct client *c = l->arg;
	c->failed += failed;
	c->number = number;
	if (!c->n_slots) {
		c->answers++;
		return;
	}
	GROW(c->took_us, c->cap_took, c->n_took + 1);
	c->took_us[c->n_took++] = (uint32_t)((now_ns() - c->slots[id].since_ns) / 1000);
	next_put(c, id);
}

static void event(struct link *l, uint64_t id)
{
	struct client *c = l->arg;
	(void)id;
	c->told++;
}

static void ended(struct link *l, const char *why)
{
	struct client *c = l->arg;
	c->down = true;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

static const struct link_ops ops = {.opened = opened, .answered = answered, .event = event, .ended = ended};

static void turn(struct client *c)
{
	uv_run(&c->loop, UV_RUN_ONCE);
}

static struct link *connect_to(struct client *c, uint16_t port)
{
	return link_new(&c->group, c->proto, c->tls, port, &ops, c);
}

/* Its port; 0: none answers, or none leads. */
static uint16_t find_leader(struct client *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		unsigned open = c->n_open, answers = c->answers;
		c->down = false;
		struct link *l = connect_to(c, c->ports[i]);
		while (!c->down && c->n_open == open)
			turn(c);
		if (!c->down)
			c->proto->status(l, 0);
		while (!c->down && c->answers == answers)
			turn(c);
		bool leads = !c->down && !c->failed && (c->number || c->n_ports == 1);
		c->failed = 0;
		link_close(l);
		if (leads)
			return c->ports[i];
	}
	return 0;
}

static void open_links(struct client *c, unsigned n)
{
	uint16_t port = 0;
	for (int tries = 0; !port && tries < 24000; tries++) {
		port = find_leader(c);
		if (!port)
			nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	if (!port)
		die("no leader", c->why);
	c->down = false;
	c->n_open = 0;
	c->links = NEW_N(struct link *, n);
	c->n_links = n;
	for (unsigned i = 0; i < n; i++)
		c->links[i] = connect_to(c, port);
	while (!c->down && c->n_open < n)
		turn(c);
	if (c->down)
		die("connect", c->why);
}

/* One answer to what was asked just now. */
static uint64_t single(struct client *c, const char *what)
{
	while (!c->down && !c->answers)
		turn(c);
	if (c->down || c->failed)
		die(what, c->down ? c->why : "an error");
	c->answers = 0;
	return c->number;
}

/* ---- puts ---- */

static void next_put(struct client *c, uint64_t slot)
{
	char key[32];
	uint64_t now = now_ns();
	if (c->until_ns ? now >= c->until_ns : !c->left) {
		c->running--;
		return;
	}
	if (!c->until_ns)
		c->left--;
	c->seed = c->seed * 1664525 + 1013904223;
	uint64_t n = c->until_ns ? (c->seed >> 8) % c->keys : c->next_key++ % c->keys;
	snprintf(key, sizeof(key), "bench/%012llu", (unsigned long long)n);
	memcpy(c->value, &c->seed, sizeof(c->seed));
	c->slots[slot].since_ns = now;
	c->proto->put(c->links[slot % c->n_links], slot, key, c->value, sizeof(c->value));
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_puts(struct client *c, unsigned clients)
{
	c->answers = 0;
	c->slots = NEW_N(struct slot, clients);
	c->n_slots = c->running = clients;
	double cpu = cpu_s();
	uint64_t start = now_ns();
	if (c->until_ns)
		c->until_ns += start;
	for (unsigned i = 0; i < clients; i++)
		next_put(c, i);
	while (c->running && !c->down)
		turn(c);
	double s = (double)(now_ns() - start) / 1e9;
	if (c->down)
		die("put", c->why);
	if (c->failed)
		fprintf(stderr, "store_client: %llu puts failed\n", (unsigned long long)c->failed);
	qsort(c->took_us, c->n_took, sizeof(uint32_t), by_value);
	printf("%.0f %.3f %.3f %.0f %zu\n", (double)(c->n_took - c->failed) / s, c->took_us[c->n_took / 2] / 1e3,
	       c->took_us[c->n_took * 99 / 100] / 1e3, (cpu_s() - cpu) / s * 100, c->n_took);
}

/* ---- watches ---- */

static void run_watches(struct client *c, unsigned watchers, unsigned events)
{
	uint64_t start = now_ns(), worst = 0;
	uint32_t *took = NEW_N(uint32_t, events);
	c->answers = 0;
	for (unsigned i = 0; i < watchers; i++)
		c->proto->watch(c->links[i % c->n_links], i, "bench/");
	while (c->answers < watchers && !c->down)
		turn(c);
	double created = (double)(now_ns() - start) / 1e6;
	for (unsigned i = 0; i < events && !c->down; i++) {
		c->told = c->answers = 0;
		start = now_ns();
		c->proto->put(c->links[i % c->n_links], 0, "bench/watched", c->value, sizeof(c->value));
		while ((c->told < watchers || !c->answers) && !c->down)
			turn(c);
		took[i] = (uint32_t)((now_ns() - start) / 1000);
		worst = MAX(worst, took[i]);
	}
	if (c->down)
		die("watch", c->why);
	qsort(took, events, sizeof(uint32_t), by_value);
	printf("%.0f %.1f %.1f\n", created, took[events / 2] / 1e3, (double)worst / 1e3);
	/* whoever measures the server's memory does it now */
	fflush(stdout);
	if (getchar() == EOF)
		return;
}

/* ---- certificates ---- */

static void write_pair(const char *dir, const char *name, const struct pki_pair *p)
{
	_cleanup_free_ char *cert = xasprintf("%s/%s.pem", dir, name), *key = xasprintf("%s/%s.key", dir, name);
	struct err err = ERR_INIT;
	if (file_write_atomic(cert, p->cert_pem, strlen(p->cert_pem), 0644, &err) ||
	    file_write_atomic(key, p->key_pem, strlen(p->key_pem), 0600, &err))
		die("certs", err.message);
}

static int make_certs(const char *dir)
{
	static const char *const ips[] = {"127.0.0.1", NULL}, *const peers[] = {PEER_TLS_ORGANIZATION, NULL};
	struct pki_pair ca = {0}, pair = {0};
	int64_t now = time(NULL);
	struct pki_request req = {.common_name = "bench",
				  .ips = ips,
				  .server = true,
				  .client = true,
				  .not_before_s = now - 3600,
				  .not_after_s = now + 7 * 86400};
	if (pki_make_ca("bench", now - 3600, now + 7 * 86400, &ca, NULL) || pki_issue(&ca, &req, &pair, NULL))
		die("certs", "cannot be made");
	write_pair(dir, "ca", &ca);
	write_pair(dir, "server", &pair);
	for (unsigned i = 1; i <= 3; i++) {
		char name[PEER_TLS_NAME_MAX], file[16];
		peer_tls_name(i, name);
		req.common_name = name;
		req.organizations = peers;
		pki_pair_done(&pair);
		if (pki_issue(&ca, &req, &pair, NULL))
			die("certs", "cannot be made");
		snprintf(file, sizeof(file), "member%u", i);
		write_pair(dir, file, &pair);
	}
	pki_pair_done(&pair);
	pki_pair_done(&ca);
	return 0;
}

/* ---- main ---- */

static void client_init(struct client *c, const char *proto, const char *ports, const char *certs)
{
	_cleanup_free_ char *path = xasprintf("%s/ca.pem", certs);
	_cleanup_buf_ struct buf ca = BUF_INIT;
	struct err err = ERR_INIT;
	c->proto = streq(proto, "etcd") ? &link_etcd : &link_mini;
	c->seed = (uint32_t)getpid();
	for (const char *p = ports; *p && c->n_ports < ARRAY_LEN(c->ports);
	     p += strcspn(p, ",") + (strchr(p, ',') != NULL))
		c->ports[c->n_ports++] = (uint16_t)atoi(p);
	memset(c->value, 'v', sizeof(c->value));
	uv_loop_init(&c->loop);
	c->env = env_uv_new(&c->loop);
	conn_group_init(&c->group, c->env, &c->loop, NULL);
	if (file_read(path, 1u << 20, &ca, &err) || tls_client_context(ca.data, NULL, NULL, false, &c->tls, &err))
		die("certificates", err.message);
	if (c->proto->alpn)
		mbedtls_ssl_conf_alpn_protocols(&c->tls->conf, (const char **)(uintptr_t)c->proto->alpn);
}

static unsigned long long arg_number(int argc, char **argv, int i)
{
	if (i >= argc)
		die("usage", "see the head of tests/bench/store/client.c");
	return strtoull(argv[i], NULL, 10);
}

int main(int argc, char **argv)
{
	static struct client c;
	if (argc == 3 && streq(argv[1], "certs"))
		return make_certs(argv[2]);
	if (argc < 5)
		die("usage", "see the head of tests/bench/store/client.c");
	const char *verb = argv[1];
	uint64_t start = now_ns();
	signal(SIGPIPE, SIG_IGN);
	client_init(&c, argv[2], argv[3], argv[4]);
	if (streq(verb, "put") || streq(verb, "fill")) {
		c.keys = arg_number(argc, argv, 8);
		if (streq(verb, "put"))
			c.until_ns = arg_number(argc, argv, 7) * 1000000000ull;
		else
			c.left = arg_number(argc, argv, 7);
		open_links(&c, (unsigned)arg_number(argc, argv, 5));
		run_puts(&c, (unsigned)arg_number(argc, argv, 6));
		return 0;
	}
	if (streq(verb, "watch")) {
		open_links(&c, (unsigned)arg_number(argc, argv, 5));
		run_watches(&c, (unsigned)arg_number(argc, argv, 6), (unsigned)arg_number(argc, argv, 7));
		return 0;
	}
	open_links(&c, 1);
	c.answers = 0;
	c.proto->count(c.links[0], 0);
	uint64_t keys = single(&c, "count");
	if (streq(verb, "count"))
		printf("%llu\n", (unsigned long long)keys);
	if (streq(verb, "compact")) {
		c.proto->put(c.links[0], 0, "bench/000000000000", c.value, sizeof(c.value));
		uint64_t rev = single(&c, "put");
		start = now_ns();
		c.proto->compact(c.links[0], 0, rev);
		single(&c, "compact");
	}
	if (!streq(verb, "count"))
		printf("%.0f\n", (double)(now_ns() - start) / 1e6);
	return 0;
}
