#include "tests/support/apiserver/api.h"

#include <errno.h>
#include <time.h>

#include "apiserver/server.h"
#include "lib/core/file.h"
#include "lib/core/log.h"

static void watchdog(uv_timer_t *t)
{
	bool waited_too_long = t;
	MUST(!waited_too_long);
}

void api_run_until(struct api *f, bool (*fn)(void *arg), void *arg)
{
	uv_timer_start(&f->watchdog, watchdog, 20000, 0);
	while (!fn(arg))
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_timer_stop(&f->watchdog);
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static void on_ready(void *arg, const struct err *err)
{
	if (err->code)
		log_error("test", "start: %s", err->message);
	MUST(err->code == 0);
	((struct api *)arg)->ready = true;
}

static void issue(struct api *f, const char *user, const char *group, bool server, struct pki_pair *ret)
{
	const char *groups[] = {group, NULL}, *dns[] = {"localhost", NULL}, *ips[] = {"127.0.0.1", NULL};
	int64_t now = time(NULL);
	struct pki_request req = {.common_name = user,
				  .organizations = group ? groups : NULL,
				  .dns_names = server ? dns : NULL,
				  .ips = server ? ips : NULL,
				  .server = server,
				  .client = !server,
				  .not_before_s = now - 60,
				  .not_after_s = now + 3600};
	MUST(pki_issue(&f->ca, &req, ret, NULL) == 0);
}

struct http_client *api_client(struct api *f, const char *user, const char *group)
{
	struct pki_pair pair = {0};
	struct tls_context *tls = NULL;
	if (user)
		issue(f, user, group, false, &pair);
	MUST(tls_client_context(f->ca.cert_pem, pair.cert_pem, pair.key_pem, false, &tls, NULL) == 0);
	struct http_client_config config = {.host = "127.0.0.1", .port = f->port, .tls = tls, .max_connections = 64};
	struct http_client *c = http_client_new(f->env, &f->loop, &config);
	tls_context_unref(tls);
	pki_pair_done(&pair);
	return c;
}

unsigned api_writes_in_doubt;
static const struct store_engine *real_engine;

struct doubt {
	store_txn_cb cb;
	void *arg;
};

static void on_doubtful(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct doubt *d = arg;
	_cleanup_err_ struct err unknown = ERR_INIT;
	if (api_writes_in_doubt) {
		api_writes_in_doubt--;
		err_status(&unknown, ERR_TIMEOUT, "whether the write happened is unknown");
		unknown.code = -ECANCELED;
		d->cb(d->arg, &unknown, NULL);
	} else {
		d->cb(d->arg, err, resp);
	}
	free(d);
}

static void doubtful_txn(struct store *s, const struct store_txn_req *req, store_txn_cb cb, void *arg)
{
	struct doubt *d = NEW(struct doubt);
	*d = (struct doubt){cb, arg};
	real_engine->txn(s, req, on_doubtful, d);
}

static void doubt(struct store *s)
{
	static struct store_engine engine;
	real_engine = s->engine;
	engine = *real_engine;
	engine.txn = doubtful_txn;
	s->engine = &engine;
}

static void start(struct api *f)
{
	struct err err = ERR_INIT;
	const struct store_config sc = {.dir = f->dir};
	if (store_open(f->env, &sc, &f->store, &err) < 0)
		log_error("test", "store: %s", err.message);
	MUST(err.code == 0);
	if (api_writes_in_doubt)
		doubt(f->store);
	const struct apiserver_config config = {.store = f->store,
						.service_cidr = "10.96.0.0/16",
						.node_port_min = 30000,
						.node_port_max = 32767,
						.ca_pem = f->ca.cert_pem,
						.sa_key_pem = f->sa_key,
						.kubelet_client_cert_pem = f->ca.cert_pem,
						.kubelet_client_key_pem = f->ca.key_pem,
						.advertise_ip = "127.0.0.1",
						.advertise_port = 6443};
	MUST(apiserver_new(f->env, &f->loop, &config, &f->server, &err) == 0);
	f->ready = false;
	apiserver_start(f->server, on_ready, f);
	MUST(!f->ready); /* never inside the call */
	MUST(apiserver_listen(f->server, f->tls, "127.0.0.1", 0, &err) == 0);
	f->port = http_server_port(f->server->http);
	api_run_until(f, is_set, &f->ready);
	f->admin = api_client(f, "admin", "system:masters");
	f->anonymous = api_client(f, NULL, NULL);
	f->direct = apiserver_direct_client(f->server, "admin", (const char *const[]){"system:masters", NULL});
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

static void stop(struct api *f)
{
	bool closed = false;
	client_free(f->direct);
	http_client_free(f->admin);
	http_client_free(f->anonymous);
	apiserver_close(f->server, on_closed, &closed);
	api_run_until(f, is_set, &closed);
	closed = false;
	f->store->engine->close(f->store, on_closed, &closed);
	api_run_until(f, is_set, &closed);
}

void api_init(struct api *f)
{
	struct pki_pair serving = {0};
	int64_t now = time(NULL);
	*f = (struct api){0};
	log_set_level(LOG_WARN);
	MUST(uv_loop_init(&f->loop) == 0);
	f->env = env_uv_new(&f->loop);
	uv_timer_init(&f->loop, &f->watchdog);
	snprintf(f->dir, sizeof(f->dir), "/tmp/mini-api-test-XXXXXX");
	MUST(mkdtemp(f->dir));
	MUST(pki_make_ca("test-ca", now - 60, now + 3600, &f->ca, NULL) == 0);
	MUST(pki_make_key(&f->sa_key, NULL) == 0);
	issue(f, "kube-apiserver", NULL, true, &serving);
	MUST(tls_server_context(serving.cert_pem, serving.key_pem, f->ca.cert_pem, &f->tls, NULL) == 0);
	pki_pair_done(&serving);
	start(f);
}

void api_restart(struct api *f)
{
	stop(f);
	start(f);
}

int api_setup(void **state)
{
	static struct api f;
	api_init(&f);
	*state = &f;
	return 0;
}

int api_teardown(void **state)
{
	api_done(*state);
	return 0;
}

void api_done(struct api *f)
{
	stop(f);
	uv_close((uv_handle_t *)&f->watchdog, NULL);
	env_uv_free(f->env);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	rm_rf(f->dir, NULL);
	tls_context_unref(f->tls);
	pki_pair_done(&f->ca);
	free(f->sa_key);
}

/* ---- one call ---- */

static struct api_answer answer;
static bool answered;

static void on_response(void *arg, int status, const struct http_header *headers)
{
	(void)arg;
	answer.status = status;
	for (; headers && headers->name; headers++) {
		if (strcasecmp(headers->name, "Warning") == 0)
			snprintf(answer.warning, sizeof(answer.warning), "%s", headers->value);
		if (strcasecmp(headers->name, "Content-Type") == 0)
			snprintf(answer.content_type, sizeof(answer.content_type), "%s", headers->value);
	}
}

static void on_body(void *arg, const void *data, size_t len)
{
	(void)arg;
	buf_add(&answer.body, data, len);
}

static void on_done(void *arg, const struct err *err)
{
	(void)arg;
	if (err->code)
		answer.status = 0;
	answered = true;
}

static size_t read_headers(char *text, struct http_header *list, size_t max)
{
	size_t n = 0;
	bool type = false;
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && n < max - 2;
	     line = strtok_r(NULL, "\n", &save)) {
		char *colon = strchr(line, ':');
		*colon = 0;
		type |= strcasecmp(line, "Content-Type") == 0;
		list[n++] = (struct http_header){line, colon + 2};
	}
	if (!type)
		list[n++] = (struct http_header){"Content-Type", "application/json"};
	return n;
}

struct api_answer *api_call(struct api *f, struct http_client *c, const char *method, const char *target,
			    const char *headers, const char *body)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	struct http_header list[16] = {{NULL, NULL}};
	_cleanup_free_ char *text = xstrdup(headers ? headers : "");
	read_headers(text, list, ARRAY_LEN(list));
	buf_done(&answer.body);
	json_decref(answer.json);
	answer = (struct api_answer){0};
	answered = false;
	http_call(c, method, target, list, body, body ? strlen(body) : 0, 15000, &ops, NULL);
	api_run_until(f, is_set, &answered);
	json_parse(buf_str(&answer.body), answer.body.len, &answer.json, NULL);
	return &answer;
}

struct api_answer *api_get(struct api *f, const char *target)
{
	return api_call(f, f->admin, "GET", target, NULL, NULL);
}

struct api_answer *api_post(struct api *f, const char *target, const char *body)
{
	return api_call(f, f->admin, "POST", target, NULL, body);
}

void api_default_account(struct api *f)
{
	api_post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}");
}

const char *api_str(const struct api_answer *a, const char *path)
{
	static char number[32];
	char text[256];
	snprintf(text, sizeof(text), "%s", path);
	const json_t *j = a->json;
	for (char *save = NULL, *p = strtok_r(text, ".", &save); p; p = strtok_r(NULL, ".", &save))
		j = json_is_array(j) ? json_array_get(j, (size_t)atoi(p)) : json_object_get(j, p);
	if (json_is_integer(j))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(j));
	else if (json_is_boolean(j))
		snprintf(number, sizeof(number), "%s", json_is_true(j) ? "true" : "false");
	else
		return json_is_string(j) ? json_string_value(j) : "";
	return number;
}

/* ---- watches ---- */

static void watch_body(void *arg, const void *data, size_t len)
{
	struct api_watch *w = arg;
	buf_add(&w->data, data, len);
	char *nl;
	while (w->data.len && (nl = memchr(w->data.data, '\n', w->data.len)) && w->n < ARRAY_LEN(w->events)) {
		size_t n = (size_t)(nl - w->data.data);
		json_parse(w->data.data, n, &w->events[w->n], NULL);
		w->n++;
		buf_consume(&w->data, n + 1);
	}
}

static void watch_done(void *arg, const struct err *err)
{
	(void)err;
	struct api_watch *w = arg;
	w->done = true;
	w->call = NULL;
}

void api_watch_start(struct api *f, struct api_watch *w, struct http_client *c, const char *target)
{
	(void)f;
	static const struct http_call_ops ops = {.on_body = watch_body, .on_done = watch_done};
	*w = (struct api_watch){0};
	w->call = http_call(c, "GET", target, NULL, NULL, 0, 0, &ops, w);
}

static bool watch_moved(void *arg)
{
	struct api_watch *w = arg;
	return w->taken < w->n || w->done;
}

json_t *api_watch_next(struct api *f, struct api_watch *w)
{
	api_run_until(f, watch_moved, w);
	return w->taken < w->n ? w->events[w->taken++] : NULL;
}

void api_watch_stop(struct api_watch *w)
{
	if (w->call)
		http_call_cancel(w->call);
	for (unsigned i = 0; i < w->n; i++)
		json_decref(w->events[i]);
	buf_done(&w->data);
	*w = (struct api_watch){.done = true};
}
