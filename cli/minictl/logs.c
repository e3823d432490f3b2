/* minictl logs: one container's log, or those of many at once, as streams from the server. */
#include <errno.h>
#include <time.h>

#include "cli/minictl/verbs.h"

#define STREAMS_MAX 64

struct logs {
	struct ctl *c;
	struct choose choose;
	const char *container, *since, *since_time, *selector;
	int64_t tail, limit_bytes, max_streams;
	bool follow, previous, timestamps, all_containers, prefix, ignore_errors, tail_given, all_pods;
	struct log_stream *streams;
	size_t n, cap;
};

struct log_stream {
	struct stream s;
	const char *path, *prefix;
	struct buf line; /* unfinished, when lines carry a prefix */
};

/* ---- which containers ---- */

static void add(struct logs *l, const json_t *pod, const char *container)
{
	char *path = path_of(kind_by_kind("", "v1", "Pod"), meta_ns(pod), meta_name(pod), "log");
	path = with_query(path, "container", container);
	path = with_query(path, "follow", l->follow ? "true" : NULL);
	path = with_query(path, "previous", l->previous ? "true" : NULL);
	path = with_query(path, "timestamps", l->timestamps ? "true" : NULL);
	path = with_query(path, "tailLines", l->tail >= 0 ? keepf("%lld", (long long)l->tail) : NULL);
	path = with_query(path, "limitBytes", l->limit_bytes > 0 ? keepf("%lld", (long long)l->limit_bytes) : NULL);
	path = with_query(path, "sinceSeconds", l->since);
	path = with_query(path, "sinceTime", l->since_time);
	GROW(l->streams, l->cap, l->n + 1);
	l->streams[l->n++] = (struct log_stream){
		.path = path, .prefix = l->prefix ? keepf("[pod/%s/%s] ", meta_name(pod), container) : NULL};
}

static bool has(const json_t *list, const char *name)
{
	size_t i;
	json_t *e;
	json_array_foreach(list, i, e)
	{
		if (streq(json_get_str(e, "name", ""), name))
			return true;
	}
	return false;
}

static void names_of(const json_t *list, const char *suffix, struct buf *out)
{
	size_t i;
	json_t *e;
	json_array_foreach(list, i, e)
		buf_addf(out, "%s%s%s", out->len ? ", " : "", json_get_str(e, "name", ""), suffix);
}

static int add_pod(struct logs *l, json_t *pod, struct err *err)
{
	const json_t *spec = json_object_get(pod, "spec"), *list = json_object_get(spec, "containers"),
		     *init = json_object_get(spec, "initContainers");
	size_t i;
	json_t *e;
	if (l->all_containers) {
		json_array_foreach(init, i, e) add(l, pod, json_get_str(e, "name", ""));
		json_array_foreach(list, i, e) add(l, pod, json_get_str(e, "name", ""));
		return 0;
	}
	if (l->container) {
		if (!has(list, l->container) && !has(init, l->container))
			return ctl_usage(err, "container %s is not valid for pod %s", l->container, meta_name(pod));
		add(l, pod, l->container);
		return 0;
	}
	const char *name = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
	if (!name || !has(list, name)) {
		name = json_get_str(json_array_get(list, 0), "name", "");
		if (json_array_size(list) + json_array_size(init) > 1) {
			_cleanup_buf_ struct buf names = BUF_INIT;
			names_of(list, "", &names);
			names_of(init, " (init)", &names);
			fprintf(stderr, "Defaulted container \"%s\" out of: %s\n", name, buf_str(&names));
		}
	}
	add(l, pod, keepf("%s", name));
	return 0;
}

static int add_item(struct logs *l, const struct item *it, struct err *err)
{
	json_t *pods = NULL;
	int rc = pods_of(l->c, it, &pods, err);
	if (rc < 0)
		return rc;
	keep_json(pods);
	if (json_array_size(pods) == 0)
		return ctl_usage(err, "timed out waiting for the condition: no pods of %s",
				 item_word(it->kind, it->name));
	json_t *best = pod_best(pods);
	if (json_array_size(pods) > 1 && !l->all_pods)
		fprintf(stderr, "Found %zu pods, using pod/%s\n", json_array_size(pods), meta_name(best));
	if (!l->all_pods)
		return add_pod(l, best, err);
	size_t i;
	json_t *p;
	json_array_foreach(pods, i, p) if (rc == 0) rc = add_pod(l, p, err);
	return rc;
}

static int add_selected(struct logs *l, struct err *err)
{
	json_t *list = NULL;
	const struct kind *pod = kind_by_kind("", "v1", "Pod");
	int rc = rest_list(l->c, with_query(path_of(pod, ctl_ns(l->c), NULL, NULL), "labelSelector", l->selector), NULL,
			   &list, err);
	if (rc < 0)
		return rc;
	keep_json(list);
	size_t i;
	json_t *p;
	if (l->tail < 0 && !l->tail_given)
		l->tail = 10;
	json_array_foreach(json_object_get(list, "items"), i, p)
	{
		rc = add_pod(l, p, err);
		if (rc < 0)
			return rc;
	}
	if (l->n == 0)
		fprintf(stderr, "No resources found in %s namespace.\n", ctl_ns(l->c));
	return 0;
}

/* ---- the streams ---- */

static bool on_data(struct stream *s, const char *data, size_t len)
{
	struct log_stream *ls = CONTAINER_OF(s, struct log_stream, s);
	if (!ls->prefix) {
		fwrite(data, 1, len, stdout);
		fflush(stdout);
		return ferror(stdout);
	}
	buf_add(&ls->line, data, len);
	size_t at = 0;
	for (char *nl; (nl = memchr(ls->line.data + at, '\n', ls->line.len - at));
	     at = (size_t)(nl - ls->line.data) + 1)
		printf("%s%.*s\n", ls->prefix, (int)(nl - ls->line.data - (ptrdiff_t)at), ls->line.data + at);
	buf_consume(&ls->line, at);
	fflush(stdout);
	return ferror(stdout);
}

static void finish(struct log_stream *ls)
{
	if (ls->line.len)
		printf("%s%s\n", ls->prefix, buf_str(&ls->line));
	buf_done(&ls->line);
	stream_stop(&ls->s);
}

/* Following: all at once. Otherwise one after the other, so that they do not mix. */
static int run_streams(struct logs *l, struct err *err)
{
	int rc = 0;
	if (l->follow && (int64_t)l->n > l->max_streams)
		return ctl_usage(
			err,
			"you are attempting to follow %zu log streams, but maximum allowed concurrency is %lld, use "
			"--max-log-requests to increase the limit",
			l->n, (long long)l->max_streams);
	for (size_t i = 0; rc == 0 && l->follow && i < l->n; i++) {
		l->streams[i].s.on_data = on_data;
		rc = stream_start(l->c, &l->streams[i].s, l->streams[i].path, "*/*", err);
	}
	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		struct log_stream *ls = &l->streams[i];
		struct err e = ERR_INIT;
		ls->s.on_data = on_data;
		if (!l->follow)
			rc = stream_start(l->c, &ls->s, ls->path, "*/*", err);
		if (rc == 0 && stream_wait(l->c, &ls->s, 0, &e) < 0) {
			if (l->ignore_errors || l->n > 1)
				ctl_fail(l->c, &e, NULL);
			else
				rc = err_move(err, &e);
		}
		err_done(&e);
	}
	for (size_t i = 0; i < l->n; i++)
		finish(&l->streams[i]);
	return rc;
}

/* ---- the verb ---- */

static int choose(struct logs *l, struct args *args, struct err *err)
{
	if (l->selector && args->pos.n)
		return ctl_usage(err, "only a selector (-l) or a POD name is allowed");
	if (l->selector)
		return add_selected(l, err);
	if (args->pos.n == 0 || args->pos.n > 2)
		return ctl_usage(
			err,
			"expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument "
			"for the logs command\nSee 'minictl logs -h' for help and examples");
	int rc = 0;
	if (args->pos.n == 2)
		l->container = args->pos.items[1];
	struct item it = {.kind = kind_by_kind("", "v1", "Pod"), .ns = ctl_ns(l->c), .name = args->pos.items[0]};
	if (strchr(it.name, '/')) {
		struct strings one = {0};
		size_t used;
		strings_add(&one, it.name);
		rc = input_one(l->c, &one, &used, &it, err);
		if (rc < 0)
			return rc;
	}
	rc = add_item(l, &it, err);
	if (rc < 0 && err->reason == ERR_NOT_FOUND && streq(it.kind->kind, "Pod")) /* upstream's words for it */
		return ctl_usage(err, "error from server (NotFound): pods \"%s\" not found in namespace \"%s\"",
				 it.name, it.ns);
	return rc;
}

static int check_times(struct logs *l, struct err *err)
{
	int64_t ms;
	if (!l->since)
		return 0;
	if (l->since_time)
		return ctl_usage(err, "at most one of `sinceTime` or `sinceSeconds` may be specified");
	if (duration_parse(l->since, &ms) < 0)
		return ctl_usage(err, "invalid argument \"%s\" for \"--since\" flag: time: invalid duration \"%s\"",
				 l->since, l->since);
	l->since = keepf("%lld", (long long)MAX((ms + 999) / 1000, 1));
	return 0;
}

int verb_logs(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct logs l = {.c = c, .tail = -1, .max_streams = STREAMS_MAX};
	const struct opt opts[] = {
		{"follow", 'f', OPT_BOOL, &l.follow, NULL, "go on with what is written from now on"},
		{"previous", 'p', OPT_BOOL, &l.previous, NULL, "of the container before the last restart"},
		{"container", 'c', OPT_STR, &l.container, NULL, "which container"},
		{"all-containers", 0, OPT_BOOL, &l.all_containers, NULL, "of all containers of the pod"},
		{"all-pods", 0, OPT_BOOL, &l.all_pods, NULL, "of all pods of the workload"},
		{"selector", 'l', OPT_STR, &l.selector, NULL, "of all pods that have these labels"},
		{"tail", 0, OPT_INT, &l.tail, NULL, "the last so many lines (with -l: 10)"},
		{"since", 0, OPT_STR, &l.since, NULL, "not older than this (5s, 2m, 3h)"},
		{"since-time", 0, OPT_STR, &l.since_time, NULL, "not older than this time (RFC 3339)"},
		{"timestamps", 0, OPT_BOOL, &l.timestamps, NULL, "with the time of each line"},
		{"prefix", 0, OPT_BOOL, &l.prefix, NULL, "with the pod and container of each line"},
		{"limit-bytes", 0, OPT_INT, &l.limit_bytes, NULL, "no more than so many bytes"},
		{"max-log-requests", 0, OPT_INT, &l.max_streams, NULL, "follow no more than so many logs at once"},
		{"ignore-errors", 0, OPT_BOOL, &l.ignore_errors, NULL, "go on with the others when one fails"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	l.prefix = l.prefix || l.all_pods;
	rc = check_times(&l, err);
	if (rc == 0)
		rc = choose(&l, &args, err);
	if (rc == 0)
		rc = run_streams(&l, err);
	free(l.streams);
	return rc < 0 ? rc : c->failures > 0;
}
