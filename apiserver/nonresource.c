#include "apiserver/nonresource.h"

#include "apiserver/discovery.h"
#include "apiserver/mini_api.h"
#include "apiserver/stats.h"
#include "apiserver/version_info.h"
#include "lib/core/metrics.h"
#include "lib/core/sha256.h"
#include "lib/net/http.h"

/* asked for as ...v2@v1.0+protobuf, which is no media type: answered, as upstream does, under one that is */
#define PB_V2 "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

static int answer_text(struct request *r, const char *text, int status)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, text);
	result_bytes(r, &b, "text/plain; charset=utf-8", status);
	return REQUEST_SKIP_TO_ANSWER;
}

static int not_found(struct request *r)
{
	return err_status(&r->err, ERR_NOT_FOUND, "the server could not find the requested resource");
}

/* ---- health ---- */

/* store: what is wrong with it, or NULL. */
static void health_answer(struct request *r, const char *store)
{
	bool store_ok = !store;
	const char *path = r->route.path;
	bool boot_ok = r->server->started && !r->server->closing;
	bool ready = store_ok && (boot_ok || !str_starts(path, "/readyz"));
	const char *sub = strchr(path + 1, '/');
	bool verbose = r->http && http_query(r->http, "verbose") != NULL;
	char name[16];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(path + 1, "/"), path + 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (sub) {
		ready = streq(sub, "/etcd") ? store_ok : streq(sub, "/ping") || boot_ok;
		buf_adds(&b, ready ? "ok" : "failed");
	} else if (verbose || !ready) {
		buf_adds(&b, "[+]ping ok\n");
		buf_addf(&b, "[%c]etcd %s%s\n", store_ok ? '+' : '-',
			 store_ok ? "ok" : "failed: ", store_ok ? "" : store);
		buf_addf(&b, "[%c]poststarthook/start-bootstrap %s\n", boot_ok ? '+' : '-', boot_ok ? "ok" : "failed");
		buf_addf(&b, "%s check %s\n", name, ready ? "passed" : "failed");
	} else {
		buf_adds(&b, "ok");
	}
	answer_text(r, buf_str(&b), ready ? 200 : 500);
}

static void on_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	bool answers = !store_failed(err);
	const char *store = answers && st->has_quorum ? NULL : "the store has no quorum";
	if (answers && st->read_only && !str_starts(r->route.path, "/livez")) /* to start it again would not help */
		store = "the disk is full: this server takes no writes until there is room";
	health_answer(r, store);
	request_resume(r, REQUEST_ANSWER);
}

static bool is_health_check(const char *sub)
{
	return !sub || streq(sub, "/ping") || streq(sub, "/etcd") || streq(sub, "/poststarthook/start-bootstrap");
}

static int health_look(struct request *r)
{
	if (!is_health_check(strchr(r->route.path + 1, '/')))
		return not_found(r);
	struct store *s = r->server->store;
	request_submitted(r);
	s->engine->status(s, on_status, r);
	return REQUEST_WAIT;
}
static const struct handler handler_health = {.look = health_look};

/* ---- version, metrics, discovery ---- */

static int answer_version(struct request *r)
{
	result_tree(r, version_info(), 200);
	return REQUEST_SKIP_TO_ANSWER;
}
static const struct handler handler_version = {.change = answer_version};

static void on_metrics_status(void *arg, const struct err *err, const struct store_status *st)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	if (!store_failed(err))
		store_stats(r->server, st);
	request_resume(r, REQUEST_CHANGE);
}

static int metrics_look(struct request *r)
{
	struct store *s = r->server->store;
	request_submitted(r);
	s->engine->status(s, on_metrics_status, r);
	return REQUEST_WAIT;
}

static int answer_metrics(struct request *r)
{
	struct buf b = BUF_INIT;
	metrics_render(&b);
	result_bytes(r, &b, "text/plain; version=0.0.4; charset=utf-8", 200);
	return REQUEST_SKIP_TO_ANSWER;
}
static const struct handler handler_metrics = {.look = metrics_look, .change = answer_metrics};

static int answer_discovery(struct request *r)
{
	return discovery_answer(r) ? REQUEST_SKIP_TO_ANSWER : not_found(r);
}
static const struct handler handler_discovery = {.change = answer_discovery};

static int answer_root(struct request *r)
{
	json_t *paths = json_make("[s,s,s,s,s,s,s,s,s,s]", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics",
				  "/openapi/v2", "/openapi/v3", "/readyz", "/version");
	result_tree(r, json_make("{s:o}", "paths", paths), 200);
	return REQUEST_SKIP_TO_ANSWER;
}
static const struct handler handler_root = {.change = answer_root};

/* ---- OpenAPI ---- */

static char *hash_hex(const struct buf *b)
{
	uint8_t sum[32];
	char hex[65];
	sha256(b->data, b->len, sum);
	hex_encode(sum, sizeof(sum), hex);
	for (char *p = hex; *p; p++)
		if (*p >= 'a' && *p <= 'f')
			*p = (char)(*p - 32);
	return xstrdup(hex);
}

/* A document made from the kinds' tables: rendered once, then bytes with a hash. */
struct document {
	struct blob *bytes;
	char *hash;
	const char *type;
};

void document_free(void *p)
{
	struct document *d = p;
	blob_unref(d->bytes);
	free(d->hash);
	free(d);
}

typedef void (*render_fn)(struct apiserver *a, struct buf *out, const char *group, const char *version);

static const struct document *document(struct apiserver *a, const char *key, const char *type, render_fn render,
				       const char *group, const char *version)
{
	struct document *d = map_get(&a->documents, key);
	if (d)
		return d;
	_cleanup_buf_ struct buf b = BUF_INIT;
	render(a, &b, group, version);
	d = NEW(struct document);
	d->bytes = blob_new(b.data, b.len);
	d->hash = hash_hex(&b);
	d->type = type;
	map_set(&a->documents, key, d);
	return d;
}

static int answer_document(struct request *r, const struct document *d)
{
	struct buf b = BUF_INIT;
	const char *have = r->http ? http_header(r->http, "If-None-Match") : NULL;
	bool same = have && strstr(have, d->hash);
	r->result.etag = xasprintf("\"%s\"", d->hash);
	if (!same)
		buf_add(&b, d->bytes->data, d->bytes->len);
	result_bytes(r, &b, d->type, same ? 304 : 200);
	return REQUEST_SKIP_TO_ANSWER;
}

static void render_v2(struct apiserver *a, struct buf *out, const char *group, const char *version)
{
	(void)a, (void)group, (void)version;
	openapi_v2_write(out);
}

static void render_v2_pb(struct apiserver *a, struct buf *out, const char *group, const char *version)
{
	(void)a, (void)group, (void)version;
	openapi_v2_write_pb(out);
}

static void render_v3(struct apiserver *a, struct buf *out, const char *group, const char *version)
{
	(void)a;
	openapi_v3_write(out, group, version);
}

static const struct document *document_v3(struct apiserver *a, const char *group, const char *version)
{
	_cleanup_free_ char *key = xasprintf("v3/%s/%s", group, version);
	return document(a, key, "application/json", render_v3, group, version);
}

static void render_v3_index(struct apiserver *a, struct buf *out, const char *group, const char *version)
{
	(void)group, (void)version;
	_cleanup_json_ json_t *paths = json_object();
	for (size_t i = 0; kinds_all[i]; i++) {
		const struct kind *k = kinds_all[i];
		_cleanup_free_ char *path =
			*k->group ? xasprintf("apis/%s/%s", k->group, k->version) : xasprintf("api/%s", k->version);
		if (json_object_get(paths, path))
			continue;
		const struct document *d = document_v3(a, k->group, k->version);
		_cleanup_free_ char *url = xasprintf("/openapi/v3/%s?hash=%s", path, d->hash);
		json_put(paths, path, json_make("{s:s}", "serverRelativeURL", url));
	}
	_cleanup_json_ json_t *tree = json_make("{s:O}", "paths", paths);
	json_write(out, tree);
}

static int answer_openapi_v2(struct request *r)
{
	struct apiserver *a = r->server;
	const char *accept = r->http ? http_header(r->http, "Accept") : NULL;
	bool pb = accept && strstr(accept, "proto-openapi.spec.v2");
	return answer_document(r, pb ? document(a, "v2pb", PB_V2, render_v2_pb, "", "")
				     : document(a, "v2", "application/json", render_v2, "", ""));
}
static const struct handler handler_openapi_v2 = {.change = answer_openapi_v2};

static int answer_openapi_v3_index(struct request *r)
{
	return answer_document(r, document(r->server, "v3", "application/json", render_v3_index, "", ""));
}
static const struct handler handler_openapi_v3_index = {.change = answer_openapi_v3_index};

static bool group_version_known(const char *group, const char *version)
{
	for (size_t i = 0; kinds_all[i]; i++)
		if (streq(kinds_all[i]->group, group) && streq(kinds_all[i]->version, version))
			return true;
	return false;
}

static int answer_openapi_v3(struct request *r)
{
	char text[300];
	const char *group = "", *version = NULL;
	snprintf(text, sizeof(text), "%s", r->route.path + strlen("/openapi/v3/"));
	if (str_starts(text, "api/")) {
		version = text + 4;
	} else if (str_starts(text, "apis/")) {
		char *slash = strchr(text + 5, '/');
		if (slash) {
			*slash = 0;
			group = text + 5;
			version = slash + 1;
		}
	}
	if (!version || !group_version_known(group, version))
		return not_found(r);
	const char *accept = r->http ? http_header(r->http, "Accept") : NULL;
	if (accept && strstr(accept, "proto-openapi.spec.v3") && !strstr(accept, "json") && !strstr(accept, "*/*"))
		return err_status(&r->err, ERR_NOT_ACCEPTABLE,
				  "only the following media types are accepted: application/json");
	return answer_document(r, document_v3(r->server, group, version));
}
static const struct handler handler_openapi_v3 = {.change = answer_openapi_v3};

static const struct {
	const char *path;
	bool prefix;
	const struct handler *handler;
} rows[] = {
	{"/", false, &handler_root},
	{"/version", false, &handler_version},
	{"/version/", false, &handler_version},
	{"/healthz", false, &handler_health},
	{"/livez", false, &handler_health},
	{"/readyz", false, &handler_health},
	{"/healthz/", true, &handler_health},
	{"/livez/", true, &handler_health},
	{"/readyz/", true, &handler_health},
	{"/metrics", false, &handler_metrics},
	{"/api", false, &handler_discovery},
	{"/apis", false, &handler_discovery},
	{"/api/", true, &handler_discovery},
	{"/apis/", true, &handler_discovery},
	{"/openapi/v2", false, &handler_openapi_v2},
	{"/openapi/v3", false, &handler_openapi_v3_index},
	{"/openapi/v3/", true, &handler_openapi_v3},
};

const struct handler *nonresource_handler(struct request *r)
{
	const char *path = r->route.path;
	if (str_starts(path, MINI_PATH))
		return mini_handler(r);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].prefix ? !str_starts(path, rows[i].path) : !streq(path, rows[i].path))
			continue;
		return streq(r->method, "GET") || streq(r->method, "HEAD") ? rows[i].handler : NULL;
	}
	not_found(r);
	return NULL;
}
