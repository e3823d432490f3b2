/* Keeps writing to and reading from API servers over HTTPS, notes when each call began and how it was answered, and in
 * the end judges whether the whole history is what one register a key could have given (tests/sim/linear.h).
 *
 *   history KUBECONFIG WORK CLIENTS PAUSE_MS HOST:PORT...
 *
 * CLIENTS clients for each server, each with one connection and one call at a time, PAUSE_MS between two: create, replace, replace what was
 * read, and read ConfigMaps in the namespace default. A write that was answered "no" (409, 404, 429, 503) must not have
 * happened, one that was not answered may have. WORK/acks gets a line for each acknowledged write, at once: the server's
 * number, when the call began and when it was answered (wall clock, ms).
 *
 * SIGUSR1: no call is begun any more, until SIGUSR2. SIGTERM: nor then; every key ever used is read (any server), the history is
 * judged and a summary printed; the exit code is 0 when all is well. The servers must be able to answer then.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>

#include "lib/client/client_http.h"
#include "lib/core/env_uv.h"
#include "tests/sim/linear.h"

enum {
	ACTIVE_KEYS = 12,
	KEY_OPS = 1500, /* then another key takes its place: judging costs the square of it */
	CALL_TIMEOUT_MS = 3000,
	PAUSE_US = 20000, /* after a call that was not answered, or refused */
	READ_ALL_US = 60 * 1000 * 1000,
};

struct key {
	unsigned number;
	struct lin_op *ops;
	size_t n, cap;
	size_t pending; /* calls under way */
	bool exists;    /* as far as is known: a create that is refused costs a call, and no more */
	bool read;      /* at the end */
};

enum verb { CREATE, REPLACE, COMPARE_AND_REPLACE, READ };

struct caller {
	struct history *h;
	unsigned server;
	struct http_client *http;
	struct env_timer pause;
	struct key *key;
	enum verb verb;
	uint64_t value, call, began_ms;
	/* what was read last: of which key, what, at which revision */
	struct key *seen_key;
	uint64_t seen_value;
	char seen_revision[24];
	int status;
	bool busy;
	struct buf answer;
};

struct history {
	uv_loop_t loop;
	struct env *env;
	uv_signal_t term, hold, free_again;
	struct caller *clients;
	unsigned n_clients, n_servers;
	struct key **keys, *active[ACTIVE_KEYS];
	size_t n_keys, cap_keys;
	uint64_t clock; /* moments of the history: each only once */
	uint64_t last_value;
	uint64_t pause_us;
	uint64_t acked, reads, refused, unknown;
	int acks;
	bool held, ending;
	struct env_timer give_up;
	char run[24];
};

static uint64_t wall_ms(void)
{
	struct timeval tv;
	gettimeofday(&tv, NULL);
	return (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "history: %s: %s\n", what, why);
	exit(2);
}

static struct key *new_key(struct history *h)
{
	struct key *k = NEW(struct key);
	k->number = (unsigned)h->n_keys;
	GROW(h->keys, h->cap_keys, h->n_keys + 1);
	h->keys[h->n_keys++] = k;
	return k;
}

static struct key *pick_key(struct history *h)
{
	struct key **at = &h->active[env_random_below(h->env, ACTIVE_KEYS)];
	if (!*at || (*at)->n + (*at)->pending >= KEY_OPS)
		*at = new_key(h);
	return *at;
}

/* ---- one call ---- */

static void next(struct caller *c);

static void note(struct caller *c, bool answered, bool sees, uint64_t seen, bool writes)
{
	struct key *k = c->key;
	GROW(k->ops, k->cap, k->n + 1);
	k->ops[k->n++] = (struct lin_op){.call = c->call,
					 .ret = answered ? ++c->h->clock : LIN_UNKNOWN,
					 .sees = sees,
					 .seen = seen,
					 .writes = writes,
					 .value = writes ? c->value : 0};
}

static void note_acked(struct caller *c)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "%u %llu %llu\n", c->server, (unsigned long long)c->began_ms,
			 (unsigned long long)wall_ms());
	c->h->acked++;
	if (write(c->h->acks, line, (size_t)n) != n)
		die("acks", strerror(errno));
}

/* data.v and metadata.resourceVersion of the ConfigMap in the answer. */
static bool parse(struct caller *c, uint64_t *ret_value, char ret_revision[24])
{
	json_t *o = NULL;
	if (json_parse(buf_str(&c->answer), c->answer.len, &o, NULL))
		return false;
	const char *v = json_string_value(json_object_get(json_object_get(o, "data"), "v"));
	const char *rv = json_string_value(json_object_get(json_object_get(o, "metadata"), "resourceVersion"));
	bool good = v && rv && parse_u64(v, ret_value) == 0;
	if (good)
		snprintf(ret_revision, 24, "%s", rv);
	json_decref(o);
	return good;
}

static void take_read(struct caller *c)
{
	uint64_t value;
	if (c->status == 404) {
		note(c, true, true, 0, false);
		c->h->reads++;
		c->key->read = true;
	} else if (c->status == 200 && parse(c, &value, c->seen_revision)) {
		c->seen_key = c->key;
		c->seen_value = value;
		c->key->exists = true;
		note(c, true, true, value, false);
		c->h->reads++;
		c->key->read = true;
	} else if (c->status == 200) {
		die("an answer that is no ConfigMap of ours", buf_str(&c->answer));
	} else {
		c->h->refused++;
	}
}

static void take_write(struct caller *c)
{
	bool compare = c->verb == COMPARE_AND_REPLACE;
	switch (c->status) {
	case 200:
	case 201:
		note(c, true, compare || c->verb == CREATE, compare ? c->seen_value : 0, true);
		note_acked(c);
		c->key->exists = true;
		return;
	case 404: /* nothing to replace: as good as a read */
		note(c, true, true, 0, false);
		return;
	case 409:
		c->key->exists |= c->verb == CREATE;
		c->h->refused++;
		return;
	case 429:
	case 503:
		c->h->refused++;
		return;
	case 500:
	case 504:
		note(c, false, compare || c->verb == CREATE, compare ? c->seen_value : 0, true);
		c->h->unknown++;
		return;
	default:
		fprintf(stderr, "history: status %d: %s\n", c->status, buf_str(&c->answer));
		die("an answer that makes no sense here", c->h->run);
	}
}

/* Nobody was there to be sent anything. */
static bool not_sent(const struct err *err)
{
	return err->code == -ECONNREFUSED || err->code == -EHOSTUNREACH || err->code == -ENETUNREACH;
}

static void on_done(void *arg, const struct err *err)
{
	struct caller *c = arg;
	struct history *h = c->h;
	bool write = c->verb != READ, bad = err->code || c->status >= 429;
	c->busy = false;
	c->key->pending--;
	if (!err->code && write)
		take_write(c);
	else if (!err->code)
		take_read(c);
	else if (not_sent(err) || !write)
		h->refused++;
	else {
		c->status = 504;
		take_write(c);
	}
	buf_clear(&c->answer);
	if (bad || (h->pause_us && !h->ending))
		env_timer_start(h->env, &c->pause, bad ? PAUSE_US : h->pause_us);
	else
		next(c);
}

static void on_response(void *arg, int status, _unused_ const struct http_header *headers)
{
	((struct caller *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct caller *c = arg;
	if (c->answer.len < 65536)
		buf_add(&c->answer, data, len);
}

static void call(struct caller *c, struct key *k, enum verb verb)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	static const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	static const char path[] = "/api/v1/namespaces/default/configmaps";
	struct history *h = c->h;
	char target[160], body[320], revision[64] = "";
	c->key = k;
	c->verb = verb;
	c->busy = true;
	c->status = 0;
	c->call = ++h->clock;
	c->began_ms = wall_ms();
	c->value = verb == READ ? 0 : ++h->last_value;
	k->pending++;
	snprintf(target, sizeof(target), verb == CREATE ? "%s" : "%s/h%s-%u", path, h->run, k->number);
	if (verb == COMPARE_AND_REPLACE)
		snprintf(revision, sizeof(revision), ",\"resourceVersion\":\"%s\"", c->seen_revision);
	snprintf(
		body, sizeof(body),
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"h%s-%u\"%s},\"data\":{\"v\":\"%llu\"}}",
		h->run, k->number, revision, (unsigned long long)c->value);
	http_call(c->http,
		  verb == READ     ? "GET"
		  : verb == CREATE ? "POST"
				   : "PUT",
		  target, headers, verb == READ ? NULL : body, verb == READ ? 0 : strlen(body), CALL_TIMEOUT_MS, &ops,
		  c);
}

/* ---- what is called ---- */

static void judge(struct history *h);

static struct key *unread(struct history *h)
{
	for (size_t i = 0; i < h->n_keys; i++)
		if (!h->keys[i]->read && !h->keys[i]->pending)
			return h->keys[i];
	return NULL;
}

static void read_rest(struct caller *c)
{
	struct history *h = c->h;
	struct key *k = unread(h);
	if (k) {
		call(c, k, READ);
		return;
	}
	for (unsigned i = 0; i < h->n_clients; i++)
		if (h->clients[i].busy)
			return;
	for (size_t i = 0; i < h->n_keys; i++)
		if (!h->keys[i]->read)
			return; /* asked again after a pause */
	judge(h);
}

static void next(struct caller *c)
{
	struct history *h = c->h;
	if (h->ending) {
		read_rest(c);
		return;
	}
	if (h->held)
		return;
	struct key *k = pick_key(h);
	uint64_t dice = env_random_below(h->env, 10);
	if (!k->exists && dice < 8)
		call(c, k, CREATE);
	else if (c->seen_key && c->seen_key->n < KEY_OPS && dice < 3) {
		k = c->seen_key;
		c->seen_key = NULL;
		call(c, k, COMPARE_AND_REPLACE);
	} else {
		call(c, k, dice < 6 ? REPLACE : READ);
	}
}

static void on_pause(struct env_timer *t)
{
	next(CONTAINER_OF(t, struct caller, pause));
}

/* ---- the end ---- */

static void judge(struct history *h)
{
	size_t bad = 0, undecided = 0, ops = 0;
	for (size_t i = 0; i < h->n_keys; i++) {
		struct key *k = h->keys[i];
		enum lin_result r = lin_check(k->ops, k->n);
		ops += k->n;
		bad += r == LIN_BAD;
		undecided += r == LIN_UNDECIDED;
		if (r == LIN_BAD)
			printf("history: h%s-%u is not linearizable: %zu operations\n", h->run, k->number, k->n);
	}
	printf("history: %llu writes acknowledged, %llu reads, %llu refused, %llu of unknown fate; %zu operations on %zu "
	       "keys: %s\n",
	       (unsigned long long)h->acked, (unsigned long long)h->reads, (unsigned long long)h->refused,
	       (unsigned long long)h->unknown, ops, h->n_keys,
	       bad         ? "NOT LINEARIZABLE"
	       : undecided ? "undecided"
			   : "linearizable");
	fflush(stdout);
	_exit(bad || undecided || !h->acked);
}

static void on_give_up(_unused_ struct env_timer *t)
{
	die("the end", "not every key could be read");
}

static void on_term(uv_signal_t *s, _unused_ int number)
{
	struct history *h = s->data;
	if (h->ending)
		return;
	h->ending = true;
	for (size_t i = 0; i < h->n_keys; i++)
		h->keys[i]->read = false;
	h->give_up.fn = on_give_up;
	env_timer_start(h->env, &h->give_up, READ_ALL_US);
	for (unsigned i = 0; i < h->n_clients; i++)
		if (!h->clients[i].busy && !env_timer_active(&h->clients[i].pause))
			env_timer_start(h->env, &h->clients[i].pause, 0);
}

static void on_hold(uv_signal_t *s, int number)
{
	struct history *h = s->data;
	h->held = number == SIGUSR1;
	for (unsigned i = 0; i < h->n_clients && !h->held; i++)
		if (!h->clients[i].busy && !env_timer_active(&h->clients[i].pause))
			env_timer_start(h->env, &h->clients[i].pause, 0);
}

/* ---- the beginning ---- */

static void watch_signal(struct history *h, uv_signal_t *s, int number, uv_signal_cb fn)
{
	s->data = h;
	uv_signal_init(&h->loop, s);
	uv_signal_start(s, fn, number);
}

static void open_client(struct caller *c, struct history *h, unsigned server, const char *address,
			struct tls_context *tls)
{
	char host[64];
	unsigned port;
	if (sscanf(address, "%63[^:]:%u", host, &port) != 2)
		die(address, "not HOST:PORT");
	c->h = h;
	c->server = server;
	c->pause.fn = on_pause;
	c->http = http_client_new(h->env, &h->loop,
				  &(struct http_client_config){.host = host,
							       .port = (uint16_t)port,
							       .tls = tls,
							       .server_name = "kubernetes",
							       .connect_timeout_ms = 1000,
							       .max_connections = 1});
	env_timer_start(h->env, &c->pause, 0);
}

int main(int argc, char **argv)
{
	static struct history h;
	struct kubeconfig config;
	struct tls_context *tls;
	struct err err = ERR_INIT;
	char path[4096];
	if (argc < 6 || atoi(argv[3]) < 1 || atoi(argv[4]) < 0)
		die("usage", "history KUBECONFIG WORK CLIENTS PAUSE_MS HOST:PORT...");
	uv_loop_init(&h.loop);
	h.env = env_uv_new(&h.loop);
	if (kubeconfig_load(argv[1], NULL, &config, &err) ||
	    tls_client_context(config.ca_pem, config.cert_pem, config.key_pem, false, &tls, &err))
		die(argv[1], err.message);
	snprintf(path, sizeof(path), "%s/acks", argv[2]);
	h.acks = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (h.acks < 0)
		die(path, strerror(errno));
	snprintf(h.run, sizeof(h.run), "%llx", (unsigned long long)wall_ms());
	h.pause_us = (uint64_t)atoi(argv[4]) * 1000;
	h.n_servers = (unsigned)argc - 5;
	h.n_clients = h.n_servers * (unsigned)atoi(argv[3]);
	h.clients = NEW_N(struct caller, h.n_clients);
	for (unsigned i = 0; i < h.n_clients; i++)
		open_client(&h.clients[i], &h, i % h.n_servers + 1, argv[5 + i % h.n_servers], tls);
	watch_signal(&h, &h.term, SIGTERM, on_term);
	watch_signal(&h, &h.hold, SIGUSR1, on_hold);
	watch_signal(&h, &h.free_again, SIGUSR2, on_hold);
	uv_run(&h.loop, UV_RUN_DEFAULT);
	return 2;
}
