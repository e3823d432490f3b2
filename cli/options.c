#include "cli/options.h"

#include <errno.h>
#include <limits.h>

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

static int take(struct options *o, const char *flag, const char *value, struct err *err)
{
	static const struct {
		const char *flag;
		size_t offset;
	} texts[] = {{"--dir", offsetof(struct options, dir)},
		     {"--listen", offsetof(struct options, listen)},
		     {"--node-name", offsetof(struct options, node_name)},
		     {"--node-ip", offsetof(struct options, node_ip)},
		     {"--cluster-cidr", offsetof(struct options, cluster_cidr)},
		     {"--service-cidr", offsetof(struct options, service_cidr)},
		     {"--server", offsetof(struct options, server)}};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!streq(flag, texts[i].flag))
			continue;
		if (!*value)
			return err_set(err, -EINVAL, "%s wants a value", flag);
		*(const char **)(void *)((char *)o + texts[i].offset) = value;
		return 0;
	}
	if (streq(flag, "--port"))
		return number(flag, value, &o->port, err);
	if (streq(flag, "--node-port"))
		return number(flag, value, &o->node_port, err);
	if (streq(flag, "--log-format")) {
		if (!streq(value, "json") && !streq(value, "text"))
			return err_set(err, -EINVAL, "--log-format is text or json, not \"%s\"", value);
		o->log_json = streq(value, "json");
		return 0;
	}
	return err_set(err, -EINVAL, "unknown flag %s; minid --help lists them", flag);
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = {.dir = DEFAULT_DIR,
			    .port = 6443,
			    .node_port = 10250,
			    .cluster_cidr = "10.244.0.0/16",
			    .service_cidr = "10.96.0.0/16"};
	for (int i = 0; i < argc; i++) {
		char *arg = argv[i], *eq = strchr(arg, '=');
		if (streq(arg, "--reset")) {
			o.reset = true;
			continue;
		}
		if (streq(arg, "--detach")) {
			o.detach = true;
			continue;
		}
		if (streq(arg, "-v") || streq(arg, "--verbose")) {
			o.verbose = true;
			continue;
		}
		if (!str_starts(arg, "--"))
			return err_set(err, -EINVAL, "unexpected argument \"%s\"; minid --help shows the usage", arg);
		if (!eq && i + 1 >= argc)
			return err_set(err, -EINVAL, "%s wants a value, or is unknown; minid --help lists the flags",
				       arg);
		_cleanup_free_ char *flag = eq ? xstrndup(arg, (size_t)(eq - arg)) : xstrdup(arg);
		int r = take(&o, flag, eq ? eq + 1 : argv[++i], err);
		if (r < 0)
			return r;
	}
	o.dir = absolute(o.dir);
	if (!streq(o.dir, DEFAULT_DIR))
		snprintf(o.instance, sizeof(o.instance), "%04x", (unsigned)(hash64(o.dir, strlen(o.dir)) & 0xffff));
	*ret = o;
	return 0;
}
