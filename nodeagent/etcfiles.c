/* The files of /etc that a pod shares: hosts, resolv.conf, hostname; written to DIR/pods/<uid>/etc. */
#include <sys/stat.h>

#include "lib/core/file.h"
#include "nodeagent/pod.h"

#define SEARCH_MAX     32
#define HOST_CONF_MAX  (64 << 10)
#define CLUSTER_DOMAIN "cluster.local"

char *pod_hostname(const json_t *tree)
{
	const char *h = json_get_str(json_object_get(tree, "spec"), "hostname", "");
	char *name = xstrndup(*h ? h : meta_name(tree), 63); /* the kernel's bound */
	for (size_t n = strlen(name); n > 0 && (name[n - 1] == '-' || name[n - 1] == '.'); n--)
		name[n - 1] = 0;
	return name;
}

static void write_hosts(struct pod *p, const json_t *tree, struct buf *out)
{
	const json_t *spec = json_object_get(tree, "spec");
	_cleanup_free_ char *host = pod_hostname(tree);
	const char *subdomain = json_get_str(spec, "subdomain", "");
	if (p->host_network) {
		buf_adds(out, "# Kubernetes-managed hosts file (host network).\n");
		struct buf own = BUF_INIT;
		if (file_read("/etc/hosts", HOST_CONF_MAX, &own, NULL) == 0)
			buf_add(out, buf_str(&own), own.len);
		buf_done(&own);
	} else {
		buf_adds(out, "# Kubernetes-managed hosts file.\n"
			      "127.0.0.1\tlocalhost\n"
			      "::1\tlocalhost ip6-localhost ip6-loopback\n"
			      "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n"
			      "fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
		if (*subdomain)
			buf_addf(out, "%s\t%s.%s.%s.svc." CLUSTER_DOMAIN "\t%s\n", p->ip, host, subdomain, p->ns, host);
		else
			buf_addf(out, "%s\t%s\n", p->ip, host);
	}
	const json_t *aliases = json_object_get(spec, "hostAliases");
	if (json_array_size(aliases) > 0)
		buf_adds(out, "\n# Entries added by HostAliases.\n");
	size_t i, k;
	json_t *a, *name;
	json_array_foreach(aliases, i, a)
	{
		buf_adds(out, json_get_str(a, "ip", ""));
		json_array_foreach(json_object_get(a, "hostnames"), k, name)
			buf_addf(out, "\t%s", json_string_value(name) ? json_string_value(name) : "");
		buf_addc(out, '\n');
	}
}

struct resolv {
	json_t *servers, *searches, *options; /* arrays of strings */
};

static void add_once(json_t *array, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
	{
		if (streq(json_string_value(v), s))
			return;
	}
	if (json_array_size(array) < SEARCH_MAX)
		json_array_append_new(array, json_string(s));
}

/* An option replaces one of the same name ("ndots:2" over "ndots:5"). */
static void add_option(json_t *array, const char *text)
{
	size_t n = strcspn(text, ":"), i;
	json_t *v;
	json_array_foreach(array, i, v)
	{
		const char *have = json_string_value(v);
		if (strcspn(have, ":") == n && strncmp(have, text, n) == 0) {
			json_array_set_new(array, i, json_string(text));
			return;
		}
	}
	add_once(array, text);
}

static void parse_words(char *words, json_t *array, bool replace)
{
	if (replace)
		json_array_clear(array);
	char *save = NULL;
	for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
		add_once(array, w);
}

static void read_host(struct resolv *r)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	/* systemd's stub listens on the host's loopback, which a pod can't reach: its upstream list is next to it */
	static const char stub[] = "/run/systemd/resolve/resolv.conf";
	if (file_read("/etc/resolv.conf", HOST_CONF_MAX, &text, NULL) < 0)
		return;
	if (strstr(buf_str(&text), "127.0.0.53") && file_exists(stub)) {
		buf_clear(&text);
		if (file_read(stub, HOST_CONF_MAX, &text, NULL) < 0)
			return;
	}
	char *save = NULL;
	for (char *line = text.data ? strtok_r(text.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (str_starts(line, "nameserver"))
			parse_words(line + 10, r->servers, false);
		else if (str_starts(line, "search"))
			parse_words(line + 6, r->searches, true);
		else if (str_starts(line, "options"))
			parse_words(line + 7, r->options, false);
	}
}

static void cluster_first(struct pod *p, struct resolv *r)
{
	struct resolv host = {json_array(), json_array(), json_array()};
	read_host(&host);
	add_once(r->servers, p->n->cluster_dns);
	_cleanup_free_ char *own = xasprintf("%s.svc." CLUSTER_DOMAIN, p->ns);
	add_once(r->searches, own);
	add_once(r->searches, "svc." CLUSTER_DOMAIN);
	add_once(r->searches, CLUSTER_DOMAIN);
	size_t i;
	json_t *v;
	json_array_foreach(host.searches, i, v) add_once(r->searches, json_string_value(v));
	add_once(r->options, "ndots:5");
	json_decref(host.servers);
	json_decref(host.searches);
	json_decref(host.options);
}

static void own_config(const json_t *config, struct resolv *r)
{
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(config, "nameservers"), i, v)
	{
		if (json_is_string(v))
			add_once(r->servers, json_string_value(v));
	}
	json_array_foreach(json_object_get(config, "searches"), i, v)
	{
		if (json_is_string(v))
			add_once(r->searches, json_string_value(v));
	}
	json_array_foreach(json_object_get(config, "options"), i, v)
	{
		const char *name = json_get_str(v, "name", ""), *value = json_get_str(v, "value", "");
		_cleanup_free_ char *text = *value ? xasprintf("%s:%s", name, value) : xstrdup(name);
		add_option(r->options, text);
	}
}

static void write_resolv(struct pod *p, const json_t *tree, struct buf *out)
{
	const json_t *spec = json_object_get(tree, "spec");
	const char *policy = json_get_str(spec, "dnsPolicy", "ClusterFirst");
	struct resolv r = {json_array(), json_array(), json_array()};
	bool cluster = streq(policy, "ClusterFirstWithHostNet") || (streq(policy, "ClusterFirst") && !p->host_network);
	if (cluster && p->n->cluster_dns)
		cluster_first(p, &r);
	else if (!streq(policy, "None"))
		read_host(&r);
	own_config(json_object_get(spec, "dnsConfig"), &r);
	size_t i;
	json_t *v;
	if (json_array_size(r.searches) > 0) {
		buf_adds(out, "search");
		json_array_foreach(r.searches, i, v) buf_addf(out, " %s", json_string_value(v));
		buf_addc(out, '\n');
	}
	json_array_foreach(r.servers, i, v) buf_addf(out, "nameserver %s\n", json_string_value(v));
	if (json_array_size(r.options) > 0) {
		buf_adds(out, "options");
		json_array_foreach(r.options, i, v) buf_addf(out, " %s", json_string_value(v));
		buf_addc(out, '\n');
	}
	json_decref(r.servers);
	json_decref(r.searches);
	json_decref(r.options);
}

/* In place, not by rename: running containers have the file itself mounted. */
static int put(const char *dir, const char *name, const struct buf *text, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "we");
	if (!f)
		return err_errno(err, "write %s", path);
	size_t done = fwrite(buf_str(text), 1, text->len, f);
	int rc = done == text->len ? fchmod(fileno(f), 0644) : -1;
	if (fclose(f) != 0 || rc < 0)
		return err_errno(err, "write %s", path);
	return 0;
}

int pod_etc_write(struct pod *p, struct err *err)
{
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	_cleanup_free_ char *base = pod_dir(p);
	_cleanup_free_ char *dir = xasprintf("%s/etc", base);
	_cleanup_buf_ struct buf hosts = BUF_INIT, resolv = BUF_INIT, hostname = BUF_INIT;
	write_hosts(p, tree, &hosts);
	write_resolv(p, tree, &resolv);
	_cleanup_free_ char *name = pod_hostname(tree);
	buf_addf(&hostname, "%s\n", name);
	int rc = mkdir_p(dir, 0755, err);
	if (rc == 0)
		rc = put(dir, "hosts", &hosts, err);
	if (rc == 0)
		rc = put(dir, "resolv.conf", &resolv, err);
	if (rc == 0)
		rc = put(dir, "hostname", &hostname, err);
	return rc;
}
