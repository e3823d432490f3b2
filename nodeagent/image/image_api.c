#include "nodeagent/image/image_api.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "lib/core/list.h"
#include "lib/core/log.h"
#include "lib/net/http.h"

/* One import, build or removal: waits its turn, runs on the pool, and tells what happens while it happens. */
struct job {
	struct env_work work;
	struct list node;
	struct image_api *api;
	struct http_request *request; /* NULL once the client has left; the work goes on */
	enum job_kind { JOB_IMPORT, JOB_BUILD, JOB_REMOVE } kind;
	char *path, *tag;
	char **in_use;
	json_t *spec; /* build */
	struct err err;
	char **names;
	/* Progress crosses from the pool to the loop here. */
	pthread_mutex_t mutex;
	struct buf progress;
	uv_async_t async;
	bool finished;
};

struct image_api {
	struct env *env;
	uv_loop_t *loop;
	struct image_api_config config;
	char *socket_path;
	struct http_server *server;
	struct list waiting;
	struct job *running;
	bool closing, server_closed;
	void (*closed)(void *);
	void *closed_arg;
};

static const struct http_header json_headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};

static void next_job(struct image_api *a);

static void respond_json(struct http_request *r, int status, json_t *body)
{
	_cleanup_free_ char *text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	http_respond(r, status, json_headers, text, strlen(text));
}

static void respond_error(struct http_request *r, int status, const char *message)
{
	respond_json(r, status, json_pack("{s:s}", "error", message));
}

/* ---- jobs ---- */

static void on_progress(void *arg, const char *line)
{
	struct job *j = arg;
	json_t *o = json_pack("{s:s%}", "progress", line, strlen(line));
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	pthread_mutex_lock(&j->mutex);
	if (text) {
		buf_adds(&j->progress, text);
		buf_addc(&j->progress, '\n');
	}
	pthread_mutex_unlock(&j->mutex);
	free(text);
	json_decref(o);
	uv_async_send(&j->async);
}

static void flush_progress(struct job *j)
{
	pthread_mutex_lock(&j->mutex);
	struct buf out = j->progress;
	j->progress = BUF_INIT;
	pthread_mutex_unlock(&j->mutex);
	if (j->request && out.len)
		http_write(j->request, out.data, out.len);
	buf_done(&out);
}

static void on_async(uv_async_t *h)
{
	struct job *j = h->data;
	if (!j->finished)
		flush_progress(j);
}

static const char **string_list(const json_t *a)
{
	size_t i, n = 0;
	json_t *v;
	if (!json_is_array(a))
		return NULL;
	const char **list = NEW_N(const char *, json_array_size(a) + 1);
	json_array_foreach(a, i, v) if (json_is_string(v)) list[n++] = json_string_value(v);
	return list;
}

static int build(struct job *j)
{
	const json_t *s = j->spec;
	_cleanup_free_ const char **entrypoint = string_list(json_object_get(s, "entrypoint")),
				  **cmd = string_list(json_object_get(s, "cmd")),
				  **env = string_list(json_object_get(s, "env"));
	struct image_build b = {.rootfs = json_string_value(json_object_get(s, "rootfs")),
				.entrypoint = entrypoint,
				.cmd = cmd,
				.env = env,
				.working_dir = json_string_value(json_object_get(s, "workingDir")),
				.user = json_string_value(json_object_get(s, "user")),
				.tag = json_string_value(json_object_get(s, "tag"))};
	if (!b.rootfs || b.rootfs[0] != '/' || !b.tag)
		return err_set(&j->err, -EINVAL, "a build needs an absolute rootfs and a tag");
	_cleanup_free_ char *out = xasprintf("%s.build.tar", j->api->socket_path);
	int r = image_build(&b, out, &j->err);
	if (r == 0)
		r = image_import(j->api->config.store, out, NULL, on_progress, j, &j->names, &j->err);
	unlink(out);
	return r;
}

static void job_work(struct env_work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	switch (j->kind) {
	case JOB_IMPORT:
		image_import(j->api->config.store, j->path, j->tag, on_progress, j, &j->names, &j->err);
		break;
	case JOB_BUILD:
		build(j);
		break;
	case JOB_REMOVE:
		image_remove(j->api->config.store, j->path, (const char *const *)j->in_use, &j->err);
		break;
	}
}

static void on_job_closed(uv_handle_t *h)
{
	struct job *j = h->data;
	pthread_mutex_destroy(&j->mutex);
	buf_done(&j->progress);
	image_names_free(j->names);
	image_names_free(j->in_use);
	json_decref(j->spec);
	err_done(&j->err);
	free(j->path);
	free(j->tag);
	free(j);
}

static void maybe_closed(struct image_api *a)
{
	if (!a->closing || a->running || !a->server_closed)
		return;
	void (*done)(void *) = a->closed;
	void *arg = a->closed_arg;
	unlink(a->socket_path);
	free(a->socket_path);
	free(a);
	done(arg);
}

static void answer(struct job *j)
{
	json_t *last;
	flush_progress(j);
	if (j->err.code) {
		last = json_pack("{s:s}", "error", j->err.message);
	} else if (j->kind == JOB_REMOVE) {
		last = json_object();
	} else {
		json_t *names = json_array();
		for (char **n = j->names; n && *n; n++)
			json_array_append_new(names, json_string(*n));
		last = json_pack("{s:o}", "names", names);
	}
	_cleanup_free_ char *text = json_dumps(last, JSON_COMPACT);
	json_decref(last);
	http_write(j->request, text, strlen(text));
	http_write(j->request, "\n", 1);
	http_end(j->request);
	j->request = NULL;
}

static void job_done(struct env_work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	struct image_api *a = j->api;
	if (j->err.code)
		log_warn("image", "%s", j->err.message);
	if (j->request)
		answer(j);
	j->finished = true;
	a->running = NULL;
	uv_close((uv_handle_t *)&j->async, on_job_closed);
	next_job(a);
	maybe_closed(a);
}

static void next_job(struct image_api *a)
{
	struct list *n;
	if (a->running || !(n = list_pop(&a->waiting)))
		return;
	struct job *j = LIST_ENTRY(n, struct job, node);
	a->running = j;
	env_submit(a->env, &j->work);
}

static struct job *job_new(struct image_api *a, struct http_request *r, enum job_kind kind)
{
	struct job *j = NEW(struct job);
	j->work = (struct env_work){.work = job_work, .done = job_done, .lane = ENV_LANE_POOL};
	j->api = a;
	j->request = r;
	j->kind = kind;
	pthread_mutex_init(&j->mutex, NULL);
	MUST(uv_async_init(a->loop, &j->async, on_async) == 0);
	j->async.data = j;
	http_request_set_data(r, j);
	return j;
}

static void job_start(struct job *j)
{
	http_respond_start(j->request, 200, json_headers);
	list_push(&j->api->waiting, &j->node);
	next_job(j->api);
}

/* ---- requests ---- */

static void serve_list(struct image_api *a, struct http_request *r)
{
	struct image_info *list;
	size_t n;
	struct err err = ERR_INIT;
	if (image_list(a->config.store, &list, &n, &err) < 0) {
		respond_error(r, 500, err.message);
		return;
	}
	json_t *images = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *tags = json_array();
		for (char **t = list[i].tags; *t; t++)
			json_array_append_new(tags, json_string(*t));
		json_array_append_new(images, json_pack("{s:s, s:o, s:I, s:I}", "id", list[i].id, "tags", tags, "size",
							(json_int_t)list[i].size_bytes, "created",
							(json_int_t)list[i].created_s));
		image_info_done(&list[i]);
	}
	free(list);
	respond_json(r, 200, json_pack("{s:o}", "images", images));
}

static void serve_import(struct image_api *a, struct http_request *r)
{
	const char *path = http_query(r, "path"), *tag = http_query(r, "tag");
	if (!path || path[0] != '/') {
		respond_error(r, 400, "path must be an absolute file name");
		return;
	}
	struct job *j = job_new(a, r, JOB_IMPORT);
	j->path = xstrdup(path);
	j->tag = str_empty(tag) ? NULL : xstrdup(tag);
	job_start(j);
}

static void serve_build(struct image_api *a, struct http_request *r)
{
	const struct buf *body = http_body(r);
	json_t *spec = json_loadb(buf_str(body), body->len, 0, NULL);
	if (!json_is_object(spec)) {
		json_decref(spec);
		respond_error(r, 400, "the body is no JSON object");
		return;
	}
	struct job *j = job_new(a, r, JOB_BUILD);
	j->spec = spec;
	job_start(j);
}

static void serve_remove(struct image_api *a, struct http_request *r)
{
	const char *ref = http_query(r, "ref");
	if (str_empty(ref)) {
		respond_error(r, 400, "ref is missing");
		return;
	}
	struct job *j = job_new(a, r, JOB_REMOVE);
	j->path = xstrdup(ref);
	j->in_use = a->config.in_use ? a->config.in_use(a->config.arg) : NULL;
	job_start(j);
}

static void on_request(void *arg, struct http_request *r)
{
	struct image_api *a = arg;
	static const struct {
		const char *method, *path;
		void (*serve)(struct image_api *, struct http_request *);
	} routes[] = {{"GET", "/images", serve_list},
		      {"DELETE", "/images", serve_remove},
		      {"POST", "/images/import", serve_import},
		      {"POST", "/images/build", serve_build}};
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (streq(routes[i].method, http_method(r)) && streq(routes[i].path, http_path(r))) {
			routes[i].serve(a, r);
			return;
		}
	}
	respond_error(r, 404, "no such path");
}

static void on_close(void *arg, struct http_request *r)
{
	(void)arg;
	struct job *j = http_request_data(r);
	if (j)
		j->request = NULL;
}

int image_api_new(struct env *env, uv_loop_t *loop, const struct image_api_config *config, struct image_api **ret,
		  struct err *err)
{
	static const struct http_server_ops ops = {.on_request = on_request, .on_close = on_close};
	struct image_api *a = NEW(struct image_api);
	a->env = env;
	a->loop = loop;
	a->config = *config;
	a->socket_path = xstrdup(config->socket_path);
	a->config.socket_path = a->socket_path;
	list_init(&a->waiting);
	a->server = http_server_new(env, loop, NULL, NULL, &ops, a);
	unlink(a->socket_path); /* of a process that died; the store's lock says that it is gone */
	int r = http_server_listen_unix(a->server, a->socket_path, 0600, err);
	if (r < 0) {
		http_server_close(a->server, 0, NULL, NULL);
		free(a->socket_path);
		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

static void on_server_closed(void *arg)
{
	struct image_api *a = arg;
	a->server_closed = true;
	maybe_closed(a);
}

void image_api_close(struct image_api *a, void (*done)(void *arg), void *arg)
{
	a->closing = true;
	a->closed = done;
	a->closed_arg = arg;
	for (struct list *n; (n = list_pop(&a->waiting));) {
		struct job *j = LIST_ENTRY(n, struct job, node);
		if (j->request)
			http_abort(j->request);
		j->finished = true;
		uv_close((uv_handle_t *)&j->async, on_job_closed);
	}
	http_server_close(a->server, 0, on_server_closed, a);
}
