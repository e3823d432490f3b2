/* minictl image: the images of the node on this host, over its unix socket (lines of JSON, see the node's image API). */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "cli/minictl/table.h"
#include "cli/minictl/verbs.h"

struct node_call {
	struct ctl *c;
	bool done, quiet;
	int status;
	struct buf text; /* what is not a whole line yet */
	json_t *last;    /* the last line that was no progress */
	struct err err;
};

static void on_response(void *arg, int status, const struct http_header *headers)
{
	struct node_call *call = arg;
	(void)headers;
	call->status = status;
}

static void take_line(struct node_call *call, const char *line, size_t len)
{
	_cleanup_json_ json_t *tree = NULL;
	if (len == 0 || json_parse(line, len, &tree, NULL) < 0)
		return;
	const char *progress = json_get_str(tree, "progress", NULL);
	if (progress) {
		if (!call->quiet)
			fprintf(stderr, "%s\n", progress);
		return;
	}
	json_decref(call->last);
	call->last = STEAL(tree);
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct node_call *call = arg;
	buf_add(&call->text, data, len);
	size_t at = 0;
	for (char *nl; (nl = memchr(call->text.data + at, '\n', call->text.len - at));
	     at = (size_t)(nl - call->text.data) + 1)
		take_line(call, call->text.data + at, (size_t)(nl - call->text.data) - at);
	buf_consume(&call->text, at);
}

static void on_done(void *arg, const struct err *err)
{
	struct node_call *call = arg;
	take_line(call, buf_str(&call->text), call->text.len);
	err_copy(&call->err, err);
	call->done = true;
}

static char *socket_path(const struct ctl *c)
{
	return keepf("%s/run/node.sock", c->dir ? c->dir : DEFAULT_DIR);
}

static int reach(struct ctl *c, const char *path, struct err *err)
{
	if (access(path, F_OK) < 0)
		return ctl_usage(
			err,
			"no node answers on this host: %s is not there; start one (minid demo, minid agent), or say with "
			"--dir DIR where it keeps its state",
			path);
	if (access(path, R_OK | W_OK) < 0)
		return ctl_usage(err, "%s: %s; image commands need root", path, strerror(errno));
	ctl_loop(c);
	return 0;
}

/* *ret: the final object; its "error" has become err. */
static int node_call(struct ctl *c, const char *method, const char *target, const json_t *body, bool quiet,
		     json_t **ret, struct err *err)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	struct node_call call = {.c = c, .quiet = quiet};
	_cleanup_buf_ struct buf text = BUF_INIT;
	char *path = socket_path(c);
	int rc = reach(c, path, err);
	if (rc < 0)
		return rc;
	if (body)
		json_write(&text, body);
	struct http_client_config config = {.host = "node", .unix_path = path};
	struct http_client *client = http_client_new(c->env, &c->loop, &config);
	const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	http_call(client, method, target, headers, text.data, text.len, 0, &ops, &call);
	ctl_run(c, &call.done, 0);
	http_client_free(client);
	const char *said = json_get_str(call.last, "error", NULL);
	if (said)
		rc = err_set(err, -EIO, "%s", said);
	else if (call.err.code == -ECONNREFUSED)
		rc = err_set(err, -EIO, "no node answers at %s: it is not running", path);
	else if (call.err.code)
		rc = err_set(err, -EIO, "%s: %s", path, call.err.message);
	else if (call.status >= 300 || !call.last)
		rc = err_set(err, -EIO, "the node answered with status %d", call.status);
	if (rc == 0 && ret)
		*ret = STEAL(call.last);
	json_decref(call.last);
	buf_done(&call.text);
	err_done(&call.err);
	return rc;
}

static int absolute(const char *path, const char **ret, struct err *err)
{
	char *real = realpath(path, NULL);
	if (!real)
		return err_errno(err, "%s", path);
	*ret = keep(real);
	return 0;
}

static void print_names(const char *verb, const json_t *answer)
{
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(answer, "names"), i, name) printf("%s %s\n", verb, json_string_value(name));
}

int verb_image_import(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *tag = NULL;
	bool quiet = false;
	const struct opt opts[] = {
		{"tag", 't', OPT_STR, &tag, NULL, "name the image so"},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "no lines of progress"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n == 0)
		return ctl_usage(err, "no file given: minictl %s", c->command->usage);
	for (size_t i = 0; i < args.pos.n; i++) {
		_cleanup_json_ json_t *answer = NULL;
		const char *path;
		rc = absolute(args.pos.items[i], &path, err);
		if (rc == 0)
			rc = node_call(c, "POST", with_query(with_query("/images/import", "path", path), "tag", tag),
				       NULL, quiet, &answer, err);
		if (rc < 0)
			return rc;
		print_names("imported", answer);
	}
	return 0;
}

static json_t *array_of(const struct strings *s)
{
	json_t *a = json_array();
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(a, json_string(s->items[i]));
	return a;
}

int verb_image_build(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *tag = NULL, *rootfs = NULL, *workdir = NULL, *user = NULL;
	struct strings entrypoint = {0}, cmd = {0}, env = {0};
	bool quiet = false;
	const struct opt opts[] = {
		{"tag", 't', OPT_STR, &tag, NULL, "the image's name"},
		{"rootfs", 0, OPT_STR, &rootfs, NULL, "the directory with its files"},
		{"entrypoint", 0, OPT_ARRAY, &entrypoint, NULL, "the command, once for each of its words"},
		{"cmd", 0, OPT_ARRAY, &cmd, NULL, "the command's default arguments, once for each"},
		{"env", 'e', OPT_ARRAY, &env, NULL, "KEY=VALUE, may be given several times"},
		{"workdir", 'w', OPT_STR, &workdir, NULL, "the working directory"},
		{"user", 0, OPT_STR, &user, NULL, "UID[:GID] or names"},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "no lines of progress"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_json_ json_t *answer = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (!tag || !rootfs)
		return ctl_usage(err, "--tag and --rootfs are needed: minictl %s", c->command->usage);
	rc = absolute(rootfs, &rootfs, err);
	if (rc < 0)
		return rc;
	_cleanup_json_ json_t *spec = json_make("{s:s, s:s, s:o, s:o, s:o}", "rootfs", rootfs, "tag", tag, "entrypoint",
						array_of(&entrypoint), "cmd", array_of(&cmd), "env", array_of(&env));
	if (workdir)
		json_put_str(spec, "workingDir", workdir);
	if (user)
		json_put_str(spec, "user", user);
	rc = node_call(c, "POST", "/images/build", spec, quiet, &answer, err);
	if (rc == 0)
		print_names("built", answer);
	return rc;
}

static void size_text(int64_t bytes, char ret[32])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t u = 0;
	for (; v >= 1000 && u + 1 < ARRAY_LEN(units); u++)
		v /= 1000;
	snprintf(ret, 32, v >= 100 || u == 0 ? "%.0f%s" : "%.3g%s", v, units[u]);
}

static void image_rows(struct table *t, const json_t *image)
{
	const char *id = json_get_str(image, "id", "");
	char size[32];
	id = str_starts(id, "sha256:") ? id + 7 : id;
	size_text(json_get_int(image, "size", 0), size);
	json_t *tags = json_object_get(image, "tags");
	for (size_t i = 0; i < MAX(json_array_size(tags), (size_t)1); i++) {
		const char *tag = json_string_value(json_array_get(tags, i));
		const char *colon = tag ? strrchr(tag, ':') : NULL;
		if (colon && strchr(colon, '/'))
			colon = NULL;
		table_cell(t, tag ? keepf("%.*s", (int)(colon ? colon - tag : (ptrdiff_t)strlen(tag)), tag) : "<none>");
		table_cell(t, colon ? colon + 1 : "<none>");
		table_cell(t, keepf("%.12s", id));
		table_cell(t, size);
	}
}

int verb_image_ls(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *form = NULL;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &form, NULL, "json or name"}, OPTS_END};
	struct args args = {0};
	struct output out = {0};
	_cleanup_json_ json_t *answer = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = node_call(c, "GET", "/images", NULL, true, &answer, err);
	if (rc < 0)
		return rc;
	if (out.form == OUT_JSON || out.form == OUT_YAML || out.form == OUT_JSONPATH)
		return output_print(&out, answer, err);
	struct table t;
	_cleanup_buf_ struct buf text = BUF_INIT;
	static const char *const names[] = {"REPOSITORY", "TAG", "IMAGE ID", "SIZE"};
	table_init(&t, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		table_cell(&t, names[i]);
	size_t i, k;
	json_t *image, *tag;
	json_array_foreach(json_object_get(answer, "images"), i, image)
	{
		image_rows(&t, image);
		json_array_foreach(json_object_get(image, "tags"), k, tag) if (out.form == OUT_NAME)
			puts(json_string_value(tag));
	}
	table_print(&t, &text);
	table_done(&t);
	if (out.form != OUT_NAME)
		fputs(buf_str(&text), stdout);
	return 0;
}

int verb_image_rm(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n == 0)
		return ctl_usage(err, "no image given: minictl %s", c->command->usage);
	for (size_t i = 0; i < args.pos.n; i++) {
		struct err e = ERR_INIT;
		if (node_call(c, "DELETE", with_query("/images", "ref", args.pos.items[i]), NULL, true, NULL, &e) < 0)
			ctl_fail(c, &e, NULL);
		else
			printf("removed %s\n", args.pos.items[i]);
		err_done(&e);
	}
	return c->failures > 0;
}
