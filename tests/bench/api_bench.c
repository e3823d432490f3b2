/* Load and stopwatch against a running API server, a process of its own, over TLS with the client certificate of a
 * kubeconfig. Prints one line of figures for tests/bench/run.sh.
 *
 *   api_bench creates KUBECONFIG NAMESPACE CONNECTIONS SECONDS   ConfigMaps of 200 bytes: per second, p50 and p99 in ms
 *   api_bench pods KUBECONFIG NAMESPACE COUNT                    make pods that no node will take
 *   api_bench list KUBECONFIG TARGET CONNECTIONS SECONDS         MB/s, and lists a second
 *   api_bench await KUBECONFIG NAMESPACE COUNT COMMAND...        ms from starting COMMAND to COUNT ready pods, by a watch
 *   api_bench start PORT COMMAND...                              ms from starting COMMAND to 200 from /readyz, and its pid
 *   api_bench sync DIRECTORY                                     ms of an appended 512 bytes and fdatasync, median
 *   api_bench race ROUNDS COMMAND COMMAND...                     ms of each (words without quotes), interleaved, medians
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/client/client_http.h"
#include "lib/core/env_uv.h"
#include "lib/core/map.h"

extern char **environ;

#define LATENCIES_MAX (1u << 20)

struct bench {
	uv_loop_t loop;
	struct env *env;
	struct kubeconfig config;
	struct http_client *client;
	struct tls_context *tls;
	const char *ns, *target;
	unsigned open, want;
	uint64_t seq, done, bytes, failed, limit;
	double end;
	bool pods, stop;
	float *latencies; /* ms */
	int status;
	char last_error[300];
};

/* One connection's worth of load: the next request starts when the last one was answered. */
struct worker {
	struct bench *b;
	double sent;
	int status;
	struct buf answer; /* of what went wrong */
};

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "api_bench: %s: %s\n", what, err->message);
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void open_client(struct bench *b, const char *kubeconfig, unsigned connections)
{
	struct err err = ERR_INIT;
	char host[64];
	unsigned port;
	if (kubeconfig_load(kubeconfig, NULL, &b->config, &err) < 0)
		die(kubeconfig, &err);
	if (sscanf(b->config.server, "https://%63[^:/]:%u", host, &port) != 2) {
		fprintf(stderr, "api_bench: server %s is not https://HOST:PORT\n", b->config.server);
		exit(1);
	}
	if (tls_client_context(b->config.ca_pem, b->config.cert_pem, b->config.key_pem, b->config.insecure, &b->tls,
			       &err) < 0)
		die("TLS", &err);
	struct http_client_config c = {
		.host = host, .port = (uint16_t)port, .tls = b->tls, .max_connections = connections};
	b->client = http_client_new(b->env, &b->loop, &c);
}

static void next(struct worker *w);

static void on_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	((struct worker *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct worker *w = arg;
	w->b->bytes += len;
	if (w->status >= 300 && w->answer.len < 250)
		buf_add(&w->answer, data, MIN(len, 250));
}

static void on_done(void *arg, const struct err *err)
{
	struct worker *w = arg;
	struct bench *b = w->b;
	b->open--;
	if (err->code || w->status >= 300) {
		b->failed++;
		snprintf(b->last_error, sizeof(b->last_error), "%.250s",
			 err->code ? err->message : buf_str(&w->answer));
	} else if (b->done < LATENCIES_MAX) {
		b->latencies[b->done] = (float)(1e3 * (now_s() - w->sent));
	}
	b->done++;
	buf_clear(&w->answer);
	next(w);
}

static void make_body(struct bench *b, struct buf *out)
{
	if (b->pods)
		buf_addf(
			out,
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bench-%08llu\",\"labels\":{\"app\":"
			"\"bench\",\"pod-template-hash\":\"5d4f8c7b9\"}},\"spec\":{\"nodeSelector\":{\"bench\":\"none\"},"
			"\"containers\":[{\"name\":\"web\",\"image\":\"registry.example/bench/web:1.27.3\",\"ports\":[{"
			"\"containerPort\":8080}],\"env\":[{\"name\":\"MODE\",\"value\":\"bench\"}],\"resources\":{\"requests\":{"
			"\"cpu\":\"10m\",\"memory\":\"8Mi\"}}}]}}",
			(unsigned long long)b->seq++);
	else
		buf_addf(
			out,
			"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"bench-%d-%08llu\"},\"data\":{"
			"\"key\":\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901\"}}",
			(int)getpid(), (unsigned long long)b->seq++);
}

static void next(struct worker *w)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	static const struct http_header json[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	struct bench *b = w->b;
	if ((b->limit && b->seq >= b->limit) || (!b->limit && now_s() >= b->end))
		return;
	b->open++;
	w->status = 0;
	w->sent = now_s();
	if (b->target) {
		http_call(b->client, "GET", b->target, NULL, NULL, 0, 0, &ops, w);
		return;
	}
	_cleanup_buf_ struct buf body = BUF_INIT;
	char target[200];
	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/%s", b->ns, b->pods ? "pods" : "configmaps");
	make_body(b, &body);
	http_call(b->client, "POST", target, json, body.data, body.len, 0, &ops, w);
}

/* Run the load until its time is over or `limit` requests were sent; returns the seconds it took. */
static double run(struct bench *b, unsigned connections, double seconds)
{
	struct worker *workers = NEW_N(struct worker, connections);
	double begin = now_s();
	b->done = b->bytes = b->failed = 0;
	b->end = begin + seconds;
	for (unsigned i = 0; i < connections; i++) {
		workers[i].b = b;
		next(&workers[i]);
	}
	while (b->open)
		uv_run(&b->loop, UV_RUN_ONCE);
	double took = now_s() - begin;
	for (unsigned i = 0; i < connections; i++)
		buf_done(&workers[i].answer);
	free(workers);
	return took;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static int report(struct bench *b)
{
	if (b->failed)
		fprintf(stderr, "api_bench: %llu of %llu failed, the last one: %s\n", (unsigned long long)b->failed,
			(unsigned long long)b->done, b->last_error);
	return b->failed || !b->done;
}

static int creates(struct bench *b, unsigned connections, double seconds)
{
	run(b, connections, 0.5); /* handshakes are no part of it */
	double took = run(b, connections, seconds);
	size_t n = MIN(b->done, LATENCIES_MAX);
	qsort(b->latencies, n, sizeof(b->latencies[0]), by_value);
	printf("%.0f %.2f %.2f\n", (double)b->done / took, (double)b->latencies[n / 2],
	       (double)b->latencies[n * 99 / 100]);
	return report(b);
}

static int list(struct bench *b, unsigned connections, double seconds)
{
	run(b, connections, 0.5);
	double took = run(b, connections, seconds);
	printf("%.1f %.1f %.2f\n", (double)b->bytes / took / 1e6, (double)b->done / took,
	       (double)b->bytes / (double)b->done / 1e6);
	return report(b);
}

/* ---- await ---- */

struct await {
	struct map ready;
	unsigned want;
	bool done, synced;
	char failed[300];
};

static bool is_ready(const json_t *pod)
{
	const json_t *conditions = json_path(pod, "status", "conditions", NULL), *c;
	size_t i;
	json_array_foreach(conditions, i, c)
	{
		if (streq(json_get_str(c, "type", ""), "Ready"))
			return streq(json_get_str(c, "status", ""), "True");
	}
	return false;
}

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct await *a = arg;
	if (type == WATCH_BOOKMARK) {
		a->synced = true;
		return;
	}
	json_t *tree = object_tree(obj);
	if (type != WATCH_DELETED && is_ready(tree))
		map_set(&a->ready, obj->name, a);
	else
		map_del(&a->ready, obj->name);
	json_decref(tree);
	a->done = a->ready.count >= a->want;
}

static void on_end(void *arg, const struct err *err)
{
	struct await *a = arg;
	snprintf(a->failed, sizeof(a->failed), "the watch ended: %.200s", err->message);
}

static void on_list(void *arg, const struct client_response *resp)
{
	uint64_t *rv = arg;
	if (resp->err->code)
		die("list", resp->err);
	*rv = resp->rv;
}

static pid_t spawn(char **argv)
{
	pid_t pid;
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	int r = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r) {
		fprintf(stderr, "api_bench: cannot run %s: %s\n", argv[0], strerror(r));
		exit(1);
	}
	return pid;
}

static int await(struct bench *b, const char *kubeconfig, unsigned want, char **command)
{
	struct err err = ERR_INIT;
	struct client *client;
	const struct kind *pods = kind_by_kind("", "v1", "Pod");
	struct await a = {.want = want};
	uint64_t rv = 0;
	if (kubeconfig_load(kubeconfig, NULL, &b->config, &err) < 0 ||
	    client_http_new(b->env, &b->loop, &b->config, "api_bench", &client, &err) < 0)
		die(kubeconfig, &err);
	struct client_request l = {.verb = CLIENT_LIST, .kind = pods, .ns = b->ns, .grace_period_s = -1};
	client_do(client, &l, on_list, &rv);
	while (!rv)
		uv_run(&b->loop, UV_RUN_ONCE);
	struct client_watch_request w = {.kind = pods, .ns = b->ns, .rv = rv};
	static const struct client_watch_ops ops = {.on_event = on_event, .on_end = on_end};
	client_watch(client, &w, &ops, &a);
	/* The watch's handshake is not the command's business. */
	for (double until = now_s() + 0.2; now_s() < until; usleep(1000))
		uv_run(&b->loop, UV_RUN_NOWAIT);
	double begin = now_s();
	pid_t pid = spawn(command);
	while (!a.done && !a.failed[0] && now_s() < begin + 60)
		uv_run(&b->loop, UV_RUN_ONCE);
	double took = now_s() - begin;
	int status = 0;
	waitpid(pid, &status, 0);
	if (a.done && status == 0) {
		printf("%.0f\n", took * 1e3);
		return 0;
	}
	fprintf(stderr, "api_bench: %u of %u pods ready; the command ended with %d; %s\n", a.ready.count, want, status,
		a.failed);
	return 1;
}

/* ---- start ---- */

static void ready_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	((struct bench *)arg)->status = status;
}

static void ready_done(void *arg, const struct err *err)
{
	struct bench *b = arg;
	if (err->code)
		b->status = -1;
	b->open = 0;
}

static int start(struct bench *b, uint16_t port, char **command)
{
	static const struct http_call_ops ops = {.on_response = ready_response, .on_done = ready_done};
	struct err err = ERR_INIT;
	if (tls_client_context(NULL, NULL, NULL, true, &b->tls, &err) < 0)
		die("TLS", &err);
	struct http_client_config c = {.host = "127.0.0.1", .port = port, .tls = b->tls, .max_connections = 1};
	b->client = http_client_new(b->env, &b->loop, &c);
	double begin = now_s();
	pid_t pid = spawn(command);
	while (b->status != 200 && now_s() < begin + 30) {
		b->open = 1;
		http_call(b->client, "GET", "/readyz", NULL, NULL, 0, 1000, &ops, b);
		while (b->open)
			uv_run(&b->loop, UV_RUN_ONCE);
		int status;
		if (waitpid(pid, &status, WNOHANG) == pid && status) {
			fprintf(stderr, "api_bench: %s ended with %d\n", command[0], status);
			return 1;
		}
		if (b->status != 200)
			usleep(500);
	}
	/* The time, and whom to end. */
	printf("%.0f %d\n", (now_s() - begin) * 1e3, (int)pid);
	return b->status != 200;
}

/* ---- sync, race ---- */

static int sync_cost(const char *dir)
{
	enum { ROUNDS = 400 };
	_cleanup_free_ char *path = xasprintf("%s/sync", dir);
	char block[512] = {0};
	float ms[ROUNDS];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	/* Written before, as the store's log is: no block is allotted while the clock runs. */
	for (int i = 0; i < ROUNDS; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			return perror(path), 1;
	fsync(fd);
	lseek(fd, 0, SEEK_SET);
	for (int i = 0; i < ROUNDS; i++) {
		double begin = now_s();
		if (write(fd, block, sizeof(block)) != sizeof(block) || fdatasync(fd) < 0)
			return perror(path), 1;
		ms[i] = (float)((now_s() - begin) * 1e3);
	}
	close(fd);
	unlink(path);
	qsort(ms, ROUNDS, sizeof(ms[0]), by_value);
	printf("%.3f\n", (double)ms[ROUNDS / 2]);
	return 0;
}

/* Milliseconds that the command takes; ends the race when it fails. */
static float lap(const char *command)
{
	_cleanup_free_ char *copy = xstrdup(command);
	char *argv[64], *save;
	unsigned n = 0;
	for (char *word = strtok_r(copy, " ", &save); word && n < 63; word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	argv[n] = NULL;
	double begin = now_s();
	pid_t pid = spawn(argv);
	int status = -1;
	waitpid(pid, &status, 0);
	if (status) {
		fprintf(stderr, "api_bench: \"%s\" ended with %d\n", command, status);
		exit(1);
	}
	return (float)((now_s() - begin) * 1e3);
}

static int race(unsigned rounds, char **commands, unsigned n)
{
	float *ms = NEW_N(float, rounds *n);
	for (unsigned i = 0; i < n; i++)
		lap(commands[i]); /* once to warm up */
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < n; i++)
			ms[i * rounds + r] = lap(commands[i]);
	for (unsigned i = 0; i < n; i++) {
		qsort(ms + i * rounds, rounds, sizeof(ms[0]), by_value);
		printf("%s%.2f", i ? " " : "", (double)ms[i * rounds + rounds / 2]);
	}
	putchar('\n');
	free(ms);
	return 0;
}

static unsigned number(const char *s)
{
	uint64_t v;
	if (parse_u64(s, &v) < 0 || v < 1 || v > 1000000) {
		fprintf(stderr, "api_bench: \"%s\" is no number from 1 to 1000000\n", s);
		exit(2);
	}
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	static struct bench b;
	const char *verb = argc > 2 ? argv[1] : "";
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&b.loop);
	b.env = env_uv_new(&b.loop);
	b.latencies = NEW_N(float, LATENCIES_MAX);
	if (streq(verb, "creates") && argc == 6) {
		b.ns = argv[3];
		open_client(&b, argv[2], number(argv[4]));
		return creates(&b, number(argv[4]), number(argv[5]));
	}
	if (streq(verb, "pods") && argc == 5) {
		b.ns = argv[3];
		b.pods = true;
		b.limit = number(argv[4]);
		open_client(&b, argv[2], 16);
		run(&b, 16, 0);
		return report(&b);
	}
	if (streq(verb, "list") && argc == 6) {
		b.target = argv[3];
		open_client(&b, argv[2], number(argv[4]));
		return list(&b, number(argv[4]), number(argv[5]));
	}
	if (streq(verb, "await") && argc > 5) {
		b.ns = argv[3];
		return await(&b, argv[2], number(argv[4]), argv + 5);
	}
	if (streq(verb, "start") && argc > 3)
		return start(&b, (uint16_t)number(argv[2]), argv + 3);
	if (streq(verb, "sync") && argc == 3)
		return sync_cost(argv[2]);
	if (streq(verb, "race") && argc > 3)
		return race(number(argv[2]), argv + 3, (unsigned)argc - 3);
	fprintf(stderr, "usage: api_bench creates|pods|list|await|start|sync|race ...\n");
	return 2;
}
