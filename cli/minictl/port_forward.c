/* minictl port-forward: local ports that lead into a pod, by its ports or those of a service. */
#include "cli/minictl/tunnel.h"
#include "cli/minictl/verbs.h"

#define PORTS_MAX 64

static const json_t *by_number(const json_t *list, const char *field, int64_t port)
{
	size_t i;
	json_t *e;
	json_array_foreach(list, i, e)
	{
		if (json_get_int(e, field, -1) == port)
			return e;
	}
	return NULL;
}

/* A name of a port: of the service's, or of the pod's containers'. 0: none. */
static int64_t named_port(const json_t *service, const json_t *pod, const char *name)
{
	size_t i, k;
	json_t *e, *p;
	json_array_foreach(json_path(service, "spec", "ports", NULL), i, e)
	{
		if (streq(json_get_str(e, "name", ""), name))
			return json_get_int(e, "port", 0);
	}
	json_array_foreach(service ? NULL : json_path(pod, "spec", "containers", NULL), i, e)
	{
		json_array_foreach(json_object_get(e, "ports"), k, p)
		{
			if (streq(json_get_str(p, "name", ""), name))
				return json_get_int(p, "containerPort", 0);
		}
	}
	return 0;
}

/* The pod's port behind a service's. */
static int target_port(const json_t *service, const json_t *pod, int64_t port, int64_t *ret, struct err *err)
{
	*ret = port;
	if (!service)
		return 0;
	const json_t *e = by_number(json_path(service, "spec", "ports", NULL), "port", port);
	const json_t *target = json_object_get(e, "targetPort");
	if (!e)
		return ctl_usage(err, "Service %s does not have a service port %lld", meta_name(service),
				 (long long)port);
	if (json_is_integer(target))
		*ret = json_integer_value(target);
	else if (json_is_string(target))
		*ret = named_port(NULL, pod, json_string_value(target));
	if (!*ret)
		return ctl_usage(err, "Pod '%s' does not have a named port '%s'", meta_name(pod),
				 json_string_value(target));
	return 0;
}

/* [LOCAL:]REMOTE, REMOTE maybe a name; ":REMOTE" takes any local port. */
static int parse_port(const char *word, const json_t *service, const json_t *pod, struct tunnel_port *ret,
		      struct err *err)
{
	const char *colon = strrchr(word, ':'), *remote = colon ? colon + 1 : word;
	_cleanup_free_ char *text = colon ? xstrndup(word, (size_t)(colon - word)) : NULL;
	int64_t r = 0, l, target;
	if (parse_i64(remote, &r) < 0)
		r = named_port(service, pod, remote);
	if (r < 1 || r > 65535)
		return ctl_usage(err, "error parsing remote port \"%s\": no such port", remote);
	l = r;
	if (colon && !*text)
		l = 0;
	else if (colon && (parse_i64(text, &l) < 0 || l < 0 || l > 65535))
		return ctl_usage(err, "error parsing local port \"%s\": no such port", text);
	int rc = target_port(service, pod, r, &target, err);
	if (rc == 0)
		*ret = (struct tunnel_port){(uint16_t)l, (uint16_t)target};
	return rc;
}

/* The service that a word means, or NULL. */
static int service_of(struct ctl *c, const char *word, json_t **ret, struct err *err)
{
	struct strings one = {0};
	struct item item;
	size_t used;
	if (!strchr(word, '/'))
		return 0;
	strings_add(&one, word);
	int rc = input_one(c, &one, &used, &item, err);
	if (rc < 0 || !streq(item.kind->kind, "Service"))
		return rc;
	rc = get_item(c, &item, ret, err);
	if (rc == 0)
		keep_json(*ret);
	return rc;
}

int verb_port_forward(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *ignored = NULL;
	struct strings addresses = {0};
	const struct opt opts[] = {
		{"address", 0, OPT_LIST, &addresses, NULL, "where to listen: localhost, or IP addresses"},
		{"pod-running-timeout", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	struct item it;
	json_t *pod = NULL, *service = NULL;
	struct tunnel_port ports[PORTS_MAX];
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	size_t n = args.pos.n;
	if (n < 2 || n - 1 > PORTS_MAX)
		return ctl_usage(err, "TYPE/NAME and list of ports are required for port-forward");
	if ((rc = service_of(c, args.pos.items[0], &service, err)) < 0 ||
	    (rc = choose_pod(c, args.pos.items[0], &it, err)) < 0 || (rc = get_item(c, &it, &pod, err)) < 0)
		return rc;
	keep_json(pod);
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	if (!streq(phase, "Running"))
		return ctl_usage(err, "unable to forward port because pod is not running. Current status=%s", phase);
	for (size_t i = 1; i < n; i++)
		if ((rc = parse_port(args.pos.items[i], service, pod, &ports[i - 1], err)) < 0)
			return rc;
	if (!addresses.n)
		strings_add(&addresses, "localhost");
	strings_add(&addresses, NULL);
	return tunnel_run(c, path_of(it.kind, it.ns, it.name, "portforward"), addresses.items, ports, n - 1, err);
}
