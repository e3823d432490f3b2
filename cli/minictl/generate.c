/* minictl create KIND NAME ..., and expose: objects made from words. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "cli/minictl/verbs.h"
#include "lib/core/file.h"

struct generate {
	struct ctl *c;
	struct output out;
	struct change change;
	const char *output, *dry_text, *validate;
	bool save_config;
};

#define GENERATE_OPTS(g)                                                                                               \
	{"output", 'o', OPT_STR, &(g)->output, NULL, "print the object: yaml, json, name, ..."},                       \
		{"dry-run", 0, OPT_STR, &(g)->dry_text, "unchanged", "none, client or server: make nothing"},          \
		{"validate", 0, OPT_STR, &(g)->validate, "strict", NULL},                                              \
	{                                                                                                              \
		"save-config", 0, OPT_BOOL, &(g)->save_config, NULL, NULL                                              \
	}

static int parse(struct generate *g, const struct opt *opts, int argc, char **argv, struct args *args, struct err *err)
{
	int rc = args_parse(g->c, opts, argc, argv, args, err);
	if (rc)
		return rc;
	g->change.manager = "kubectl-create";
	rc = output_parse(g->output, &g->out, err);
	if (rc == 0)
		rc = dry_run_parse(g->dry_text, &g->change.dry, err);
	if (rc == 0)
		rc = validate_parse(g->validate, &g->change.validation, err);
	return rc;
}

static int one_name(const struct generate *g, const struct args *args, const char **ret, struct err *err)
{
	if (args->pos.n != 1)
		return ctl_usage(err,
				 "exactly one NAME is required, got %zu\nSee 'minictl %s -h' for help and examples",
				 args->pos.n, g->c->command->name);
	*ret = args->pos.items[0];
	return 0;
}

/* Takes obj. Fills in type and place, sends it, says so. */
static int make(struct generate *g, const struct kind *k, const char *name, json_t *obj, const char *verb,
		struct err *err)
{
	_cleanup_json_ json_t *mine = obj, *made = NULL;
	put_type(k, mine);
	json_put_str(json_need_object(mine, "metadata"), "name", name);
	if (k->namespaced && (g->change.dry != DRY_CLIENT || g->c->ns))
		json_put_str(json_need_object(mine, "metadata"), "namespace", ctl_ns(g->c));
	if (g->change.dry == DRY_CLIENT)
		return output_done(&g->out, k, mine, keepf("%s%s", verb, dry_run_words(g->change.dry)), err);
	int rc = change_create(g->c, &g->change, k, ctl_ns(g->c), mine, &made, err);
	if (rc < 0)
		return create_failed(k, err);
	return output_done(&g->out, k, made, keepf("%s%s", verb, dry_run_words(g->change.dry)), err);
}

static int simple(struct ctl *c, int argc, char **argv, const char *kind, struct err *err)
{
	struct generate g = {.c = c};
	const struct opt opts[] = {GENERATE_OPTS(&g), OPTS_END};
	struct args args = {0};
	const char *name = NULL;
	int rc = parse(&g, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = one_name(&g, &args, &name, err);
	return rc < 0 ? rc : make(&g, kind_by_kind("", "v1", kind), name, json_object(), "created", err);
}

int verb_create_namespace(struct ctl *c, int argc, char **argv, struct err *err)
{
	return simple(c, argc, argv, "Namespace", err);
}

int verb_create_serviceaccount(struct ctl *c, int argc, char **argv, struct err *err)
{
	return simple(c, argc, argv, "ServiceAccount", err);
}

/* ---- data from literals and files ---- */

struct data {
	struct strings literals, files, env_files;
	bool secret;
	json_t *obj;
};

static int put_data(struct data *d, const char *key, const void *bytes, size_t len, struct err *err)
{
	const char *wrong = schema_format_check(FMT_CONFIG_KEY, key);
	if (wrong)
		return ctl_usage(err, "\"%s\" is not a valid key name: %s", key, wrong);
	_cleanup_json_ json_t *text = d->secret ? NULL : json_stringn(bytes, len);
	const char *member = d->secret || text ? "data" : "binaryData";
	if (json_path(d->obj, "data", key, NULL) || json_path(d->obj, "binaryData", key, NULL))
		return ctl_usage(err, "cannot add key \"%s\", another key by that name already exists in Data", key);
	if (text && !memchr(bytes, 0, len)) {
		json_put(json_need_object(d->obj, member), key, STEAL(text));
		return 0;
	}
	_cleanup_free_ char *b64 = base64_encode(bytes, len);
	json_put_str(json_need_object(d->obj, d->secret ? "data" : "binaryData"), key, b64);
	return 0;
}

static int put_file(struct data *d, const char *key, const char *path, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int rc = file_read(path, 1 << 20, &b, err);
	return rc < 0 ? rc : put_data(d, key, buf_str(&b), b.len, err);
}

static int put_folder(struct data *d, const char *path, struct err *err)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, alphasort), rc = 0;
	for (int i = 0; i < n; i++) {
		const char *full = keepf("%s/%s", path, names[i]->d_name);
		struct stat st;
		if (rc == 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode) &&
		    !schema_format_check(FMT_CONFIG_KEY, names[i]->d_name))
			rc = put_file(d, names[i]->d_name, full, err);
		free(names[i]);
	}
	free(names);
	return n < 0 ? err_errno(err, "%s", path) : rc;
}

static int put_path(struct data *d, const char *arg, struct err *err)
{
	const char *eq = strchr(arg, '='), *path = eq ? eq + 1 : arg, *slash = strrchr(path, '/');
	struct stat st;
	if (stat(path, &st) < 0)
		return ctl_usage(err, "error reading %s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode) && eq)
		return ctl_usage(err, "cannot give a key name for a directory path");
	if (S_ISDIR(st.st_mode))
		return put_folder(d, path, err);
	return put_file(d, eq ? keepf("%.*s", (int)(eq - arg), arg) : slash ? slash + 1 : path, path, err);
}

static int put_env_file(struct data *d, const char *path, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int rc = file_read(path, 1 << 20, &b, err);
	for (const char *line = buf_str(&b); rc == 0 && *line;) {
		size_t n = strcspn(line, "\r\n");
		const char *start = line + strspn(line, " \t"), *eq = memchr(line, '=', n);
		if (eq && *start != '#')
			rc = put_data(d, keepf("%.*s", (int)(eq - start), start), eq + 1, (size_t)(line + n - eq - 1),
				      err);
		line += n;
		line += strspn(line, "\r\n");
	}
	return rc;
}

static int collect(struct data *d, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < d->literals.n; i++) {
		const char *l = d->literals.items[i], *eq = strchr(l, '=');
		if (!eq || eq == l)
			return ctl_usage(err, "invalid literal source %s, expected key=value", l);
		rc = put_data(d, keepf("%.*s", (int)(eq - l), l), eq + 1, strlen(eq + 1), err);
	}
	for (size_t i = 0; rc == 0 && i < d->files.n; i++)
		rc = put_path(d, d->files.items[i], err);
	for (size_t i = 0; rc == 0 && i < d->env_files.n; i++)
		rc = put_env_file(d, d->env_files.items[i], err);
	return rc;
}

static int make_data(struct ctl *c, int argc, char **argv, bool secret, struct err *err)
{
	struct generate g = {.c = c};
	struct data d = {.secret = secret, .obj = keep_json(json_object())};
	const char *type = "Opaque", *name = NULL;
	const struct opt opts[] = {
		GENERATE_OPTS(&g),
		{"from-literal", 0, OPT_ARRAY, &d.literals, NULL, "KEY=VALUE"},
		{"from-file", 0, OPT_ARRAY, &d.files, NULL, "[KEY=]FILE, or a directory"},
		{"from-env-file", 0, OPT_ARRAY, &d.env_files, NULL, "a file of KEY=VALUE lines"},
		{"type", 0, OPT_STR, &type, NULL, "the Secret's type"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = parse(&g, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = one_name(&g, &args, &name, err);
	if (rc == 0)
		rc = collect(&d, err);
	if (rc < 0)
		return rc;
	if (secret)
		json_put_str(d.obj, "type", type);
	return make(&g, kind_by_kind("", "v1", secret ? "Secret" : "ConfigMap"), name, json_incref(d.obj), "created",
		    err);
}

int verb_create_configmap(struct ctl *c, int argc, char **argv, struct err *err)
{
	return make_data(c, argc, argv, false, err);
}

int verb_create_secret_generic(struct ctl *c, int argc, char **argv, struct err *err)
{
	return make_data(c, argc, argv, true, err);
}

/* ---- deployment ---- */

static char *container_name(const char *image)
{
	const char *slash = strrchr(image, '/');
	const char *base = slash ? slash + 1 : image;
	return keepf("%.*s", (int)strcspn(base, ":@"), base);
}

int verb_create_deployment(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct generate g = {.c = c};
	struct strings images = {0};
	int64_t replicas = 1, port = -1;
	const char *name = NULL;
	const struct opt opts[] = {
		GENERATE_OPTS(&g),
		{"image", 0, OPT_LIST, &images, NULL, "the image; several make several containers"},
		{"replicas", 'r', OPT_INT, &replicas, NULL, "how many pods"},
		{"port", 0, OPT_INT, &port, NULL, "the port the container listens on"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = parse(&g, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = one_name(&g, &args, &name, err);
	if (rc == 0 && images.n == 0)
		rc = ctl_usage(err, "required flag(s) \"image\" not set");
	if (rc == 0 && images.n > 1 && args.after.n)
		rc = ctl_usage(err, "cannot specify multiple --image options and command");
	if (rc < 0)
		return rc;
	json_t *containers = json_array();
	for (size_t i = 0; i < images.n; i++) {
		json_t *ct = json_make("{s:s, s:s}", "image", images.items[i], "name", container_name(images.items[i]));
		for (size_t k = 0; k < args.after.n; k++)
			json_array_append_new(json_need_array(ct, "command"), json_string(args.after.items[k]));
		if (port >= 0)
			json_array_append_new(json_need_array(ct, "ports"),
					      json_make("{s:I}", "containerPort", (json_int_t)port));
		json_array_append_new(containers, ct);
	}
	json_t *obj = json_make("{s:{s:{s:s}}, s:{s:I, s:{s:{s:s}}, s:{s:{s:{s:s}}, s:{s:o}}}}", "metadata", "labels",
				"app", name, "spec", "replicas", (json_int_t)replicas, "selector", "matchLabels", "app",
				name, "template", "metadata", "labels", "app", name, "spec", "containers", containers);
	return make(&g, kind_by_kind("apps", "v1", "Deployment"), name, obj, "created", err);
}

/* ---- services ---- */

/* "80:8080" or "80". */
static json_t *port_of(const char *text, int64_t node_port, struct err *err)
{
	const char *colon = strchr(text, ':');
	int64_t port, target;
	if (parse_i64(keepf("%.*s", (int)(colon ? colon - text : (ptrdiff_t)strlen(text)), text), &port) < 0) {
		ctl_usage(err, "invalid port \"%s\": PORT or PORT:TARGET is needed", text);
		return NULL;
	}
	const char *to = colon ? colon + 1 : text;
	char port_name[64];
	snprintf(port_name, sizeof(port_name), "%lld-%.40s", (long long)port, to);
	json_t *p = json_make("{s:s, s:I, s:s}", "name", port_name, "port", (json_int_t)port, "protocol", "TCP");
	if (parse_i64(to, &target) == 0)
		json_put_int(p, "targetPort", target);
	else
		json_put_str(p, "targetPort", to);
	if (node_port > 0)
		json_put_int(p, "nodePort", node_port);
	return p;
}

int verb_create_service(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct generate g = {.c = c};
	struct strings tcp = {0};
	const char *cluster_ip = NULL;
	int64_t node_port = 0;
	const struct opt opts[] = {
		GENERATE_OPTS(&g),
		{"tcp", 0, OPT_LIST, &tcp, NULL, "PORT[:TARGET]"},
		{"clusterip", 0, OPT_STR, &cluster_ip, NULL, "this address, or None"},
		{"node-port", 0, OPT_INT, &node_port, NULL, "nodeport: this port of the nodes"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = parse(&g, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	const char *type = args.pos.n ? args.pos.items[0] : "";
	bool node = streq(type, "nodeport");
	if (!node && !streq(type, "clusterip"))
		return ctl_usage(err, "minictl create service makes clusterip and nodeport services: minictl %s",
				 c->command->usage);
	if (args.pos.n != 2)
		return ctl_usage(err, "exactly one NAME is required, got %zu", args.pos.n - 1);
	if (tcp.n == 0 && !streq(cluster_ip, "None"))
		return ctl_usage(err, "at least one tcp port specifier must be provided");
	const char *name = args.pos.items[1];
	_cleanup_json_ json_t *ports = json_array();
	for (size_t i = 0; i < tcp.n; i++) {
		json_t *p = port_of(tcp.items[i], node ? node_port : 0, err);
		if (!p)
			return -EINVAL;
		json_array_append_new(ports, p);
	}
	json_t *obj = json_make("{s:{s:{s:s}}, s:{s:O, s:{s:s}, s:s}}", "metadata", "labels", "app", name, "spec",
				"ports", ports, "selector", "app", name, "type", node ? "NodePort" : "ClusterIP");
	if (cluster_ip)
		json_put_str(json_object_get(obj, "spec"), "clusterIP", cluster_ip);
	return make(&g, kind_by_kind("", "v1", "Service"), name, obj, "created", err);
}

/* The ports of the pods, when none was given. */
static void default_ports(const json_t *obj, json_t *ports)
{
	const json_t *spec = json_path(obj, "spec", "template", "spec", NULL);
	size_t i, k;
	json_t *ct, *p;
	if (!spec)
		spec = json_object_get(obj, "spec");
	json_array_foreach(json_object_get(spec, "containers"), i, ct)
	{
		json_array_foreach(json_object_get(ct, "ports"), k, p) json_array_append_new(
			ports, json_make("{s:I, s:s, s:I}", "port", json_get_int(p, "containerPort", 0), "protocol",
					 json_get_str(p, "protocol", "TCP"), "targetPort",
					 json_get_int(p, "containerPort", 0)));
	}
}

static json_t *exposed_selector(const struct item *it, const json_t *obj)
{
	if (streq(it->kind->kind, "Pod"))
		return json_incref(json_path(obj, "metadata", "labels", NULL));
	if (streq(it->kind->kind, "Service"))
		return json_incref(json_path(obj, "spec", "selector", NULL));
	if (json_array_size(json_path(obj, "spec", "selector", "matchExpressions", NULL)))
		return NULL;
	return json_incref(json_path(obj, "spec", "selector", "matchLabels", NULL));
}

int verb_expose(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct generate g = {.c = c};
	const char *port = NULL, *target = NULL, *type = NULL, *name = NULL, *protocol = NULL, *cluster_ip = NULL,
		   *port_name = NULL;
	const struct opt opts[] = {
		GENERATE_OPTS(&g),
		{"port", 0, OPT_STR, &port, NULL, "the Service's port"},
		{"target-port", 0, OPT_STR, &target, NULL, "the pods' port, or its name"},
		{"type", 0, OPT_STR, &type, NULL, "ClusterIP or NodePort"},
		{"name", 0, OPT_STR, &name, NULL, "the Service's name"},
		{"protocol", 0, OPT_STR, &protocol, NULL, "TCP or UDP"},
		{"cluster-ip", 0, OPT_STR, &cluster_ip, NULL, "this address, or None"},
		{"port-name", 0, OPT_STR, &port_name, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	struct item it;
	size_t used;
	_cleanup_json_ json_t *obj = NULL, *selector = NULL, *ports = json_array();
	int rc = parse(&g, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = input_one(c, &args.pos, &used, &it, err);
	if (rc == 0)
		rc = get_item(c, &it, &obj, err);
	if (rc < 0)
		return rc;
	selector = exposed_selector(&it, obj);
	if (json_object_size(selector) == 0)
		return ctl_usage(
			err,
			"couldn't retrieve selectors via --selector flag or introspection: %s has none that a Service can use",
			item_word(it.kind, it.name));
	if (port) {
		json_t *p = port_of(target ? keepf("%s:%s", port, target) : port, 0, err);
		if (!p)
			return -EINVAL;
		json_put_str(p, "name", port_name);
		json_put_str(p, "protocol", protocol ? protocol : "TCP");
		json_array_append_new(ports, p);
	} else {
		default_ports(obj, ports);
	}
	if (json_array_size(ports) == 0)
		return ctl_usage(err, "couldn't find port via --port flag or introspection");
	json_t *service = json_make("{s:{}, s:{s:O, s:O}}", "metadata", "spec", "ports", ports, "selector", selector);
	json_t *labels = json_path(obj, "metadata", "labels", NULL);
	if (labels)
		json_object_set(json_object_get(service, "metadata"), "labels", labels);
	if (type)
		json_put_str(json_object_get(service, "spec"), "type", type);
	if (cluster_ip)
		json_put_str(json_object_get(service, "spec"), "clusterIP", cluster_ip);
	return make(&g, kind_by_kind("", "v1", "Service"), name ? name : it.name, service, "exposed", err);
}
