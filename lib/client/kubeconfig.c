/* kubeconfig files. Source: kubernetes.io/docs/reference/config-api/kubeconfig.v1. */
#include <errno.h>

#include "lib/api/json.h"
#include "lib/client/client_http.h"
#include "lib/core/file.h"

#define KUBECONFIG_MAX (1u << 20)
#define PEM_MAX        (1u << 20)

void kubeconfig_done(struct kubeconfig *k)
{
	if (!k)
		return;
	free(k->server);
	free(k->ca_pem);
	free(k->cert_pem);
	if (k->key_pem)
		explicit_bzero(k->key_pem, strlen(k->key_pem));
	free(k->key_pem);
	free(k->token);
	free(k->tls_server_name);
	free(k->ns);
	free(k->context_name);
	free(k->cluster_name);
	free(k->user_name);
	*k = (struct kubeconfig){0};
}

/* The first existing file of $KUBECONFIG, else ~/.kube/config. */
static int default_path(char **ret, struct err *err)
{
	const char *list = getenv("KUBECONFIG");
	if (!str_empty(list)) {
		for (const char *p = list; *p;) {
			const char *end = strchrnul(p, ':');
			_cleanup_free_ char *path = xstrndup(p, (size_t)(end - p));
			if (*path && file_exists(path)) {
				*ret = STEAL(path);
				return 0;
			}
			p = *end ? end + 1 : end;
		}
		return err_set(err, -ENOENT, "none of the files in KUBECONFIG=%s exists", list);
	}
	const char *home = getenv("HOME");
	_cleanup_free_ char *path = xasprintf("%s/.kube/config", str_empty(home) ? "/root" : home);
	if (!file_exists(path))
		return err_set(err, -ENOENT,
			       "no kubeconfig: %s does not exist; give --kubeconfig FILE or set KUBECONFIG", path);
	*ret = STEAL(path);
	return 0;
}

/* The entry called `name` of a list of {name, <member>: {...}}; its <member>. */
static const json_t *named(const json_t *doc, const char *list, const char *name, const char *member)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(doc, list), i, e)
	{
		if (streq(json_get_str(e, "name", NULL), name))
			return json_object_get(e, member);
	}
	return NULL;
}

static int inlined(const char *file, const char *key, const char *base64, char **ret, struct err *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len = 0;
	if (base64_decode(base64, strlen(base64), &data, &len) < 0)
		return err_status(err, ERR_BAD_REQUEST, "%s: %s is not base64", file, key);
	*ret = xstrndup((const char *)data, len);
	return 0;
}

/* A member given as base64 in KEY-data, or as a path (relative to the kubeconfig's folder) in KEY. */
static int data_or_file(const char *file, const json_t *obj, const char *key, char **ret, struct err *err)
{
	_cleanup_free_ char *data_key = xasprintf("%s-data", key);
	const char *base64 = json_get_str(obj, data_key, "");
	if (*base64)
		return inlined(file, data_key, base64, ret, err);
	const char *path = json_get_str(obj, key, "");
	if (!*path)
		return 0;
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *full =
		*path == '/' || !slash ? xstrdup(path) : xasprintf("%.*s/%s", (int)(slash - file), file, path);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (file_read(full, PEM_MAX, &b, err) < 0)
		return err_prefix(err, "%s: %s", file, key);
	*ret = buf_steal(&b);
	return 0;
}

static int read_user(const char *file, const json_t *user, struct kubeconfig *k, struct err *err)
{
	static const char *const unsupported[] = {"exec", "auth-provider", "username", "as"};
	for (size_t i = 0; i < ARRAY_LEN(unsupported); i++)
		if (json_object_get(user, unsupported[i]))
			return err_status(
				err, ERR_BAD_REQUEST,
				"%s: user \"%s\" uses \"%s\", which is not supported: use a certificate or a token",
				file, k->user_name, unsupported[i]);
	int rc = data_or_file(file, user, "client-certificate", &k->cert_pem, err);
	if (rc == 0)
		rc = data_or_file(file, user, "client-key", &k->key_pem, err);
	if (rc < 0)
		return rc;
	const char *token = json_get_str(user, "token", "");
	if (*token) {
		k->token = xstrdup(token);
		return 0;
	}
	const char *token_file = json_get_str(user, "tokenFile", "");
	if (!*token_file)
		return 0;
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (file_read(token_file, 65536, &b, err) < 0)
		return err_prefix(err, "%s: tokenFile", file);
	while (b.len && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == '\r'))
		b.data[--b.len] = '\0';
	k->token = buf_steal(&b);
	return 0;
}

static int read_cluster(const char *file, const json_t *cluster, struct kubeconfig *k, struct err *err)
{
	const char *server = json_get_str(cluster, "server", "");
	if (!*server)
		return err_status(err, ERR_BAD_REQUEST, "%s: cluster \"%s\" has no server", file, k->cluster_name);
	if (json_object_get(cluster, "proxy-url"))
		return err_status(err, ERR_BAD_REQUEST, "%s: cluster \"%s\": proxy-url is not supported", file,
				  k->cluster_name);
	k->server = xstrdup(server);
	k->insecure = json_get_bool(cluster, "insecure-skip-tls-verify", false);
	const char *name = json_get_str(cluster, "tls-server-name", "");
	if (*name)
		k->tls_server_name = xstrdup(name);
	return data_or_file(file, cluster, "certificate-authority", &k->ca_pem, err);
}

static int read_doc(const char *file, const json_t *doc, const char *context, struct kubeconfig *k, struct err *err)
{
	if (!context)
		context = json_get_str(doc, "current-context", "");
	if (!*context)
		return err_status(err, ERR_BAD_REQUEST, "%s: no current-context", file);
	const json_t *ctx = named(doc, "contexts", context, "context");
	if (!ctx)
		return err_status(err, ERR_BAD_REQUEST, "%s: context \"%s\" does not exist", file, context);
	k->context_name = xstrdup(context);
	k->cluster_name = xstrdup(json_get_str(ctx, "cluster", ""));
	k->user_name = xstrdup(json_get_str(ctx, "user", ""));
	const char *ns = json_get_str(ctx, "namespace", "");
	if (*ns)
		k->ns = xstrdup(ns);
	const json_t *cluster = named(doc, "clusters", k->cluster_name, "cluster");
	if (!cluster)
		return err_status(err, ERR_BAD_REQUEST, "%s: cluster \"%s\" does not exist", file, k->cluster_name);
	int rc = read_cluster(file, cluster, k, err);
	if (rc < 0 || !*k->user_name)
		return rc;
	const json_t *user = named(doc, "users", k->user_name, "user");
	if (!user)
		return err_status(err, ERR_BAD_REQUEST, "%s: user \"%s\" does not exist", file, k->user_name);
	return read_user(file, user, k, err);
}

int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret, struct err *err)
{
	_cleanup_free_ char *file = path ? xstrdup(path) : NULL;
	int rc = file ? 0 : default_path(&file, err);
	if (rc < 0 || !file)
		return rc;
	_cleanup_buf_ struct buf text = BUF_INIT;
	rc = file_read(file, KUBECONFIG_MAX, &text, err);
	if (rc < 0)
		return rc;
	_cleanup_json_ json_t *docs = NULL;
	rc = yaml_parse_all(buf_str(&text), text.len, file, &docs, err);
	if (rc < 0)
		return rc;
	if (!json_is_object(json_array_get(docs, 0)))
		return err_status(err, ERR_BAD_REQUEST, "%s: not a kubeconfig", file);
	struct kubeconfig k = {0};
	rc = read_doc(file, json_array_get(docs, 0), context, &k, err);
	if (rc < 0) {
		kubeconfig_done(&k);
		return rc;
	}
	*ret = k;
	return 0;
}

static void put_data(json_t *obj, const char *key, const char *pem)
{
	if (!pem)
		return;
	_cleanup_free_ char *text = base64_encode(pem, strlen(pem));
	json_put_str(obj, key, text);
}

char *kubeconfig_text(const char *cluster, const char *server, const char *ca_pem, const char *user,
		      const char *cert_pem, const char *key_pem, const char *token)
{
	_cleanup_free_ char *context = xasprintf("%s@%s", user, cluster);
	json_t *c = json_make("{s:s}", "server", server);
	put_data(c, "certificate-authority-data", ca_pem);
	json_t *u = json_object();
	put_data(u, "client-certificate-data", cert_pem);
	put_data(u, "client-key-data", key_pem);
	if (token)
		json_put_str(u, "token", token);
	_cleanup_json_ json_t *doc =
		json_make("{s:s, s:s, s:{}, s:s, s:[{s:s, s:o}], s:[{s:s, s:o}], s:[{s:s, s:{s:s, s:s}}]}",
			  "apiVersion", "v1", "kind", "Config", "preferences", "current-context", context, "clusters",
			  "name", cluster, "cluster", c, "users", "name", user, "user", u, "contexts", "name", context,
			  "context", "cluster", cluster, "user", user);
	_cleanup_buf_ struct buf out = BUF_INIT;
	yaml_write(&out, doc);
	return buf_steal(&out);
}
