/* A pod's volumes: what they need is collected, asked for, and written; and gone again with the pod. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/api/quantity.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "nodeagent/pod.h"
#include "nodeagent/volume_files.h"

#define RETRY_MIN_US    (SECOND_US / 2)
#define RETRY_MAX_US    (60 * SECOND_US)
#define TOKEN_MAX_AGE_S (24 * 3600)

/* Which members of a volume we know, and the plugin name in paths. */
static const struct plugin {
	const char *key, *dir;
	bool read_only;
} plugins[] = {
	{"configMap", "kubernetes.io~configmap", true}, {"secret", "kubernetes.io~secret", true},
	{"projected", "kubernetes.io~projected", true}, {"downwardAPI", "kubernetes.io~downward-api", true},
	{"emptyDir", "kubernetes.io~empty-dir", false},
};

static const struct plugin *plugin_of(const json_t *volume)
{
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
		if (json_object_get(volume, plugins[i].key))
			return &plugins[i];
	}
	return NULL;
}

static char *volume_dir(const struct pod *p, const struct plugin *pl, const char *name)
{
	return xasprintf("%s/pods/%s/volumes/%s/%s", p->n->dir, p->uid, pl->dir, name);
}

/* ---- what a new pod refers to ---- */

static void add_ref(struct pod *p, const struct kind *kind, const char *name)
{
	if (str_empty(name))
		return;
	for (size_t i = 0; i < p->n_refs; i++) {
		if (p->refs[i]->kind == kind && streq(p->refs[i]->name, name))
			return;
	}
	p->refs = xrealloc(p->refs, (p->n_refs + 1) * sizeof(struct ref *));
	p->refs[p->n_refs++] = ref_get(p->n, kind, p->ns, name);
}

static void add_token(struct pod *p, const char *volume, const json_t *t)
{
	GROW(p->tokens, p->cap_tokens, p->n_tokens + 1);
	p->tokens[p->n_tokens++] = (struct volume_token){
		.volume = xstrdup(volume),
		.path = xstrdup(json_get_str(t, "path", "")),
		.audience = xstrdup(json_get_str(t, "audience", "")),
		.expiration_s = json_get_int(t, "expirationSeconds", 3600),
		.pod = p,
	};
}

static void collect_env(struct pod *p, const json_t *cspec)
{
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(cspec, "envFrom"), i, v)
	{
		add_ref(p, p->n->kind_configmap, json_string_value(json_path(v, "configMapRef", "name", NULL)));
		add_ref(p, p->n->kind_secret, json_string_value(json_path(v, "secretRef", "name", NULL)));
	}
	json_array_foreach(json_object_get(cspec, "env"), i, v)
	{
		const json_t *from = json_object_get(v, "valueFrom");
		add_ref(p, p->n->kind_configmap, json_string_value(json_path(from, "configMapKeyRef", "name", NULL)));
		add_ref(p, p->n->kind_secret, json_string_value(json_path(from, "secretKeyRef", "name", NULL)));
	}
}

static void collect_volume(struct pod *p, const json_t *v)
{
	add_ref(p, p->n->kind_configmap, json_string_value(json_path(v, "configMap", "name", NULL)));
	add_ref(p, p->n->kind_secret, json_string_value(json_path(v, "secret", "secretName", NULL)));
	size_t i;
	json_t *s;
	json_array_foreach(json_path(v, "projected", "sources", NULL), i, s)
	{
		add_ref(p, p->n->kind_configmap, json_string_value(json_path(s, "configMap", "name", NULL)));
		add_ref(p, p->n->kind_secret, json_string_value(json_path(s, "secret", "name", NULL)));
		const json_t *t = json_object_get(s, "serviceAccountToken");
		if (t)
			add_token(p, json_get_str(v, "name", ""), t);
	}
}

void volumes_init(struct pod *p)
{
	static const char *const lists[] = {"containers", "initContainers"};
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	if (p->phase_final)
		return;
	size_t i;
	json_t *v;
	json_array_foreach(json_path(tree, "spec", "volumes", NULL), i, v) collect_volume(p, v);
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_array_foreach(json_path(tree, "spec", lists[l], NULL), i, v) collect_env(p, v);
	}
}

void volumes_pod_changed(struct pod *p)
{
	if (p->volumes_ready)
		p->volumes_dirty = true; /* unchanged files are left alone */
}

/* ---- tokens ---- */

static int64_t refresh_at_s(const struct volume_token *t)
{
	int64_t life = t->expires_at_s - t->issued_at_s;
	return t->issued_at_s + MIN(life * 8 / 10, TOKEN_MAX_AGE_S);
}

static void volumes_failed(struct pod *p, const char *volume, const char *message);

static void on_token(void *arg, const struct client_response *resp)
{
	struct volume_token *t = arg;
	struct pod *p = t->pod;
	MAGIC_CHECK(p, POD_MAGIC);
	t->call = NULL;
	_cleanup_json_ json_t *own = resp->tree || !resp->object ? NULL : object_tree(resp->object);
	const json_t *tree = resp->tree ? resp->tree : own;
	const char *token = json_get_str(json_object_get(tree, "status"), "token", "");
	int64_t now = env_wall_s(p->n->env), expires = 0;
	if (resp->err->code || !*token) {
		_cleanup_free_ char *why =
			xasprintf("failed to fetch token: %s", resp->err->code ? resp->err->message : "empty answer");
		volumes_failed(p, t->volume, why);
		pod_kick(p);
		return;
	}
	const char *until = json_get_str(json_object_get(tree, "status"), "expirationTimestamp", "");
	if (time_parse_us(until, &expires) < 0)
		expires = (now + t->expiration_s) * 1000000;
	free(t->value);
	t->value = xstrdup(token);
	t->issued_at_s = now;
	t->expires_at_s = expires / 1000000;
	p->volumes_dirty = true;
	pod_kick(p);
}

static void ask_token(struct pod *p, struct volume_token *t, const json_t *tree)
{
	const char *sa = json_get_str(json_object_get(tree, "spec"), "serviceAccountName", "default");
	json_t *body =
		json_make("{s:s, s:s, s:{s:I, s:{s:s, s:s, s:s, s:s}}}", "apiVersion", "authentication.k8s.io/v1",
			  "kind", "TokenRequest", "spec", "expirationSeconds", (json_int_t)t->expiration_s,
			  "boundObjectRef", "apiVersion", "v1", "kind", "Pod", "name", p->name, "uid", p->uid);
	json_t *audiences = json_need_array(json_object_get(body, "spec"), "audiences");
	if (*t->audience)
		json_array_append_new(audiences, json_string(t->audience));
	const struct client_request req = {
		.verb = CLIENT_CREATE,
		.kind = p->n->kind_sa,
		.ns = p->ns,
		.name = sa,
		.subresource = "token",
		.body = body,
		.grace_period_s = -1,
	};
	t->call = client_do(p->n->client, &req, on_token, t);
	json_decref(body);
}

/* Asks for what is missing or old. True when every token has a value that is still good. */
static bool tokens_tick(struct pod *p, const json_t *tree)
{
	int64_t now = env_wall_s(p->n->env);
	bool all = true;
	for (size_t i = 0; i < p->n_tokens; i++) {
		struct volume_token *t = &p->tokens[i];
		int64_t due = t->value ? refresh_at_s(t) : 0;
		if (due <= now && !t->call)
			ask_token(p, t, tree);
		else if (due > now)
			pod_wake_at(p, env_now_us(p->n->env) + (uint64_t)(due - now) * SECOND_US);
		all = all && t->value;
	}
	return all;
}

/* ---- payloads ---- */

static struct ref *find_ref(struct pod *p, const struct kind *kind, const char *name)
{
	for (size_t i = 0; i < p->n_refs; i++) {
		if (p->refs[i]->kind == kind && streq(p->refs[i]->name, name))
			return p->refs[i];
	}
	return NULL;
}

static int add_key(struct volume_files *v, const json_t *tree, bool secret, const char *key, const char *path,
		   mode_t mode, bool optional, struct err *err)
{
	const char *plain = json_string_value(json_path(tree, "data", key, NULL));
	const char *binary = secret ? plain : json_string_value(json_path(tree, "binaryData", key, NULL));
	uint8_t *raw = NULL;
	size_t len = 0;
	if (!secret && plain)
		return volume_files_add(v, path, xstrdup(plain), strlen(plain), mode, err);
	if (binary && base64_decode(binary, strlen(binary), &raw, &len) == 0)
		return volume_files_add(v, path, raw, len, mode, err);
	if (optional)
		return 0;
	return err_set(err, -ENOENT, "references non-existent %s key: %s", secret ? "secret" : "config", key);
}

static int add_all_keys(struct volume_files *v, const json_t *tree, bool secret, mode_t mode, struct err *err)
{
	static const char *const maps[] = {"data", "binaryData"};
	for (size_t m = 0; m < (secret ? 1 : ARRAY_LEN(maps)); m++) {
		const char *key;
		json_t *value;
		json_object_foreach(json_object_get(tree, maps[m]), key, value)
		{
			int rc = add_key(v, tree, secret, key, key, mode, false, err);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static mode_t mode_of(const json_t *obj, const char *key, mode_t dflt)
{
	return (mode_t)(json_get_int(obj, key, dflt) & 0777);
}

/* A configMap or secret: the whole, or the items named. */
static int add_object(struct pod *p, struct volume_files *v, const json_t *source, bool secret, const char *name,
		      mode_t dflt, struct err *err)
{
	bool optional = json_get_bool(source, "optional", false);
	struct ref *r = find_ref(p, secret ? p->n->kind_secret : p->n->kind_configmap, name);
	if (!r || r->state == REF_LOADING)
		return -EAGAIN;
	if (r->state == REF_FAILED)
		return err_set(err, -EIO, "%s", r->problem);
	if (r->state == REF_ABSENT)
		return optional ? 0
				: err_set(err, -ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	_cleanup_json_ json_t *tree = object_tree(r->obj);
	const json_t *items = json_object_get(source, "items");
	if (json_array_size(items) == 0)
		return add_all_keys(v, tree, secret, dflt, err);
	size_t i;
	json_t *item;
	json_array_foreach(items, i, item)
	{
		int rc = add_key(v, tree, secret, json_get_str(item, "key", ""), json_get_str(item, "path", ""),
				 mode_of(item, "mode", dflt), optional, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static const json_t *spec_named(const json_t *tree, const char *name)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_path(tree, "spec", "containers", NULL), i, c)
	{
		if (streq(json_get_str(c, "name", ""), name))
			return c;
	}
	return NULL;
}

static int add_downward(struct pod *p, struct volume_files *v, const json_t *tree, const json_t *source, mode_t dflt,
			struct err *err)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(source, "items"), i, item)
	{
		const json_t *field = json_object_get(item, "fieldRef"),
			     *res = json_object_get(item, "resourceFieldRef");
		char *text = NULL;
		if (field)
			text = pod_field(p, tree, json_get_str(field, "fieldPath", ""), err);
		else
			text = pod_resource_field(p->n, spec_named(tree, json_get_str(res, "containerName", "")),
						  json_get_str(res, "resource", ""), json_get_str(res, "divisor", ""),
						  err);
		if (!text)
			return -EINVAL;
		int rc = volume_files_add(v, json_get_str(item, "path", ""), text, strlen(text),
					  mode_of(item, "mode", dflt), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_tokens(struct pod *p, struct volume_files *v, const char *path, mode_t mode, struct err *err)
{
	for (size_t i = 0; i < p->n_tokens; i++) {
		struct volume_token *t = &p->tokens[i];
		if (!streq(t->volume, v->volume) || !streq(t->path, path))
			continue;
		if (!t->value)
			return -EAGAIN;
		return volume_files_add(v, path, xstrdup(t->value), strlen(t->value), mode, err);
	}
	return -EAGAIN;
}

static int add_projected(struct pod *p, struct volume_files *v, const json_t *tree, const json_t *projected,
			 struct err *err)
{
	mode_t dflt = mode_of(projected, "defaultMode", 0644);
	size_t i;
	json_t *s;
	json_array_foreach(json_object_get(projected, "sources"), i, s)
	{
		const json_t *part;
		int rc;
		if ((part = json_object_get(s, "configMap")))
			rc = add_object(p, v, part, false, json_get_str(part, "name", ""), dflt, err);
		else if ((part = json_object_get(s, "secret")))
			rc = add_object(p, v, part, true, json_get_str(part, "name", ""), dflt, err);
		else if ((part = json_object_get(s, "downwardAPI")))
			rc = add_downward(p, v, tree, part, dflt, err);
		else if ((part = json_object_get(s, "serviceAccountToken")))
			rc = add_tokens(p, v, json_get_str(part, "path", ""), dflt, err);
		else
			rc = err_set(err, -ENOTSUP, "this projected source is not supported by this node agent");
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int make_payload(struct pod *p, struct volume_files *v, const json_t *tree, const json_t *vol, struct err *err)
{
	const json_t *part;
	if ((part = json_object_get(vol, "configMap")))
		return add_object(p, v, part, false, json_get_str(part, "name", ""), mode_of(part, "defaultMode", 0644),
				  err);
	if ((part = json_object_get(vol, "secret")))
		return add_object(p, v, part, true, json_get_str(part, "secretName", ""),
				  mode_of(part, "defaultMode", 0644), err);
	if ((part = json_object_get(vol, "downwardAPI")))
		return add_downward(p, v, tree, part, mode_of(part, "defaultMode", 0644), err);
	return add_projected(p, v, tree, json_object_get(vol, "projected"), err);
}

/* ---- volumes without a payload ---- */

static int64_t fs_group_of(const json_t *tree)
{
	return json_get_int(json_path(tree, "spec", "securityContext", NULL), "fsGroup", -1);
}

static int prepare_empty_dir(struct pod *p, const json_t *tree, const char *dir, const json_t *source, struct err *err)
{
	int rc = mkdir_p(dir, 0777, err);
	if (rc < 0)
		return rc;
	if (streq(json_get_str(source, "medium", ""), "Memory")) {
		const char *limit = json_get_str(source, "sizeLimit", "");
		int64_t size = *limit ? quantity_value_of(limit, 0) : 0;
		rc = p->n->host->ops->mount_tmpfs(p->n->host, dir, size > 0 ? (uint64_t)size : 0, err);
		if (rc < 0)
			return rc;
	}
	int64_t group = fs_group_of(tree);
	if (group >= 0 && chown(dir, (uid_t)-1, (gid_t)group) < 0)
		return err_errno(err, "chown %s", dir);
	if (chmod(dir, group >= 0 ? 02777 : 0777) < 0)
		return err_errno(err, "chmod %s", dir);
	return 0;
}

static int host_path_missing(const char *path, const char *type, struct err *err)
{
	if (streq(type, "DirectoryOrCreate"))
		return mkdir_p(path, 0755, err);
	if (streq(type, "FileOrCreate")) {
		_cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		return fd < 0 ? err_errno(err, "create %s", path) : 0;
	}
	if (!*type) /* nothing was promised: as other runtimes do, a directory is made */
		return mkdir_p(path, 0755, err);
	return err_set(err, -ENOENT, "hostPath type check failed: %s is not a %s", path, type);
}

static int check_host_path(const json_t *source, struct err *err)
{
	static const struct {
		const char *type, *word;
		mode_t fmt;
	} types[] = {
		{"Directory", "directory", S_IFDIR},
		{"DirectoryOrCreate", "directory", S_IFDIR},
		{"File", "file", S_IFREG},
		{"FileOrCreate", "file", S_IFREG},
		{"Socket", "socket file", S_IFSOCK},
		{"CharDevice", "character device", S_IFCHR},
		{"BlockDevice", "block device", S_IFBLK},
	};
	const char *path = json_get_str(source, "path", ""), *type = json_get_str(source, "type", "");
	struct stat st;
	if (stat(path, &st) < 0)
		return host_path_missing(path, type, err);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (streq(type, types[i].type) && (st.st_mode & S_IFMT) != types[i].fmt)
			return err_set(err, -EINVAL, "hostPath type check failed: %s is not a %s", path, types[i].word);
	}
	return 0;
}

static int unsupported(const json_t *vol, struct err *err)
{
	const char *key, *type = "of no type";
	json_t *v;
	json_object_foreach((json_t *)vol, key, v)
	{
		if (!streq(key, "name"))
			type = key;
	}
	return err_set(err, -ENOTSUP, "volume type %s is not supported by this node agent", type);
}

/* ---- the job ---- */

struct volume_job {
	struct env_work work;
	struct list node;
	struct nodeagent *n; /* NULL: the agent is gone */
	struct pod *pod;     /* NULL: forgotten, or nobody's */
	struct volume_files *payloads;
	size_t n_payloads;
	char *remove; /* or: remove this tree */
	int failed;   /* index of the payload that failed, or -1 */
	struct err err;
};

static void job_free(struct volume_job *j)
{
	for (size_t i = 0; i < j->n_payloads; i++)
		volume_files_done(&j->payloads[i]);
	free(j->payloads);
	free(j->remove);
	err_done(&j->err);
	free(j);
}

static void job_work(struct env_work *w)
{
	struct volume_job *j = CONTAINER_OF(w, struct volume_job, work);
	j->failed = -1;
	if (j->remove)
		rm_rf(j->remove, &j->err);
	for (size_t i = 0; i < j->n_payloads && j->failed < 0; i++) {
		if (volume_files_write(&j->payloads[i], &j->err) < 0)
			j->failed = (int)i;
	}
}

static void job_done(struct env_work *w)
{
	struct volume_job *j = CONTAINER_OF(w, struct volume_job, work);
	struct pod *p = j->pod;
	if (j->n)
		list_del(&j->node);
	if (p && j->remove) {
		if (j->err.code)
			log_warn("node", "volumes of pod %s/%s: %s", p->ns, p->name, j->err.message);
		p->torn_volumes = true; /* what could not be removed is tried again at the next start */
		p->tearing_volumes = false;
	} else if (p) {
		p->volumes_busy = false;
		if (j->failed >= 0)
			volumes_failed(p, j->payloads[j->failed].volume, j->err.message);
		else if (!p->volumes_dirty || !p->volumes_ready) {
			p->volumes_ready = true;
			p->volumes_backoff_us = 0;
		}
	}
	if (p)
		pod_kick(p);
	job_free(j);
}

static struct volume_job *job_new(struct nodeagent *n, struct pod *p)
{
	struct volume_job *j = NEW(struct volume_job);
	j->n = n;
	j->pod = p;
	j->work = (struct env_work){.work = job_work, .done = job_done, .lane = ENV_LANE_POOL};
	list_push(&n->works, &j->node);
	return j;
}

void volumes_forget_jobs(struct nodeagent *n)
{
	LIST_EACH (&n->works, j, struct volume_job, node) {
		list_del(&j->node);
		j->n = NULL;
		j->pod = NULL;
	}
}

static void volumes_failed(struct pod *p, const char *volume, const char *message)
{
	uint64_t now = env_now_us(p->n->env);
	_cleanup_free_ char *text = xasprintf("MountVolume.SetUp failed for volume \"%s\" : %s", volume, message);
	if (!streq(text, p->volumes_problem)) {
		pod_event(p, true, "FailedMount", "%s", text);
		free(p->volumes_problem);
		p->volumes_problem = STEAL(text);
	}
	p->volumes_backoff_us = p->volumes_backoff_us ? MIN(p->volumes_backoff_us * 2, RETRY_MAX_US) : RETRY_MIN_US;
	p->volumes_retry_at_us = now + p->volumes_backoff_us;
	p->volumes_dirty = true;
}

static void make_stamp(struct pod *p, char ret[64])
{
	char t[32];
	time_format_s(env_wall_s(p->n->env), t);
	for (char *s = t; *s; s++)
		*s = *s == '-' || *s == ':' || *s == 'T' ? '_' : *s == 'Z' ? 0 : *s;
	snprintf(ret, 64, "..%.24s.%010llu", t, (unsigned long long)env_random_below(p->n->env, 10000000000ull));
}

static int prepare_one(struct pod *p, struct volume_job *j, const json_t *tree, const json_t *vol, struct err *err)
{
	const struct plugin *pl = plugin_of(vol);
	const char *name = json_get_str(vol, "name", "");
	if (json_object_get(vol, "hostPath"))
		return check_host_path(json_object_get(vol, "hostPath"), err);
	if (!pl)
		return unsupported(vol, err);
	char *dir = volume_dir(p, pl, name);
	if (streq(pl->key, "emptyDir")) {
		int rc = prepare_empty_dir(p, tree, dir, json_object_get(vol, "emptyDir"), err);
		free(dir);
		return rc;
	}
	struct volume_files *v = &j->payloads[j->n_payloads++];
	*v = (struct volume_files){.volume = xstrdup(name), .dir = dir, .fs_group = fs_group_of(tree)};
	make_stamp(p, v->stamp);
	return make_payload(p, v, tree, vol, err);
}

void volumes_tick(struct pod *p)
{
	_cleanup_err_ struct err err = ERR_INIT;
	uint64_t now = env_now_us(p->n->env);
	if (!p->obj)
		return;
	if (p->volumes_ready && !p->volumes_dirty && p->n_tokens == 0)
		return;
	if (p->volumes_retry_at_us > now) {
		pod_wake_at(p, p->volumes_retry_at_us);
		return;
	}
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	bool tokens = tokens_tick(p, tree);
	if (p->volumes_busy || !tokens || (p->volumes_ready && !p->volumes_dirty))
		return;
	p->volumes_dirty = false;
	const json_t *vols = json_path(tree, "spec", "volumes", NULL);
	struct volume_job *j = job_new(p->n, p);
	j->payloads = NEW_N(struct volume_files, json_array_size(vols) + 1);
	size_t i;
	json_t *vol;
	json_array_foreach(vols, i, vol)
	{
		int rc = prepare_one(p, j, tree, vol, &err);
		if (rc == 0)
			continue;
		if (rc != -EAGAIN)
			volumes_failed(p, json_get_str(vol, "name", ""), err.message);
		list_del(&j->node);
		job_free(j);
		return;
	}
	if (j->n_payloads == 0) {
		p->volumes_ready = true;
		list_del(&j->node);
		job_free(j);
		return;
	}
	p->volumes_busy = true;
	env_submit(p->n->env, &j->work);
}

/* ---- where they are ---- */

char *volume_host_path(struct pod *p, const json_t *tree, const char *volume, bool *ret_ro, struct err *err)
{
	size_t i;
	json_t *vol;
	json_array_foreach(json_path(tree, "spec", "volumes", NULL), i, vol)
	{
		if (!streq(json_get_str(vol, "name", ""), volume))
			continue;
		const json_t *host = json_object_get(vol, "hostPath");
		const struct plugin *pl = plugin_of(vol);
		*ret_ro = pl && pl->read_only;
		if (host)
			return xstrdup(json_get_str(host, "path", ""));
		if (pl)
			return volume_dir(p, pl, volume);
		unsupported(vol, err);
		return NULL;
	}
	err_set(err, -ENOENT, "the pod has no volume \"%s\"", volume);
	return NULL;
}

static int open_below(int base, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
}

/* Makes what is missing of the path, one step at a time, never through a link that leads out. */
static int make_below(int base, const char *sub)
{
	_cleanup_free_ char *path = xstrdup(sub);
	for (char *s = path;; s++) {
		if (*s && *s != '/')
			continue;
		char keep = *s;
		*s = 0;
		_cleanup_close_ int there = open_below(base, path, O_PATH);
		if (there < 0) {
			char *slash = strrchr(path, '/');
			if (slash)
				*slash = 0;
			_cleanup_close_ int parent = slash ? open_below(base, path, O_PATH | O_DIRECTORY) : dup(base);
			if (slash)
				*slash = '/';
			if (parent < 0 || mkdirat(parent, slash ? slash + 1 : path, 0755) < 0)
				return -errno;
		}
		*s = keep;
		if (!keep)
			return 0;
	}
}

int volume_subpath(const char *base, const char *sub, char **ret, struct err *err)
{
	if (*sub == '/')
		return err_set(err, -EINVAL, "subPath \"%s\" must not be an absolute path", sub);
	_cleanup_close_ int root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, "open %s", base);
	int made = make_below(root, sub);
	_cleanup_close_ int fd = made < 0 ? -1 : open_below(root, sub, O_PATH);
	if (fd < 0) {
		errno = made < 0 ? -made : errno;
		return err_errno(err, "subPath \"%s\"", sub);
	}
	char link[64], path[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return err_errno(err, "subPath \"%s\"", sub);
	path[n] = 0;
	*ret = xstrdup(path);
	return 0;
}

/* ---- the end ---- */

static void unmount_all(struct nodeagent *n, const char *pod_dir)
{
	_cleanup_free_ char *dirs = xasprintf("%s/volumes/kubernetes.io~empty-dir", pod_dir);
	DIR *d = opendir(dirs);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		_cleanup_err_ struct err err = ERR_INIT;
		_cleanup_free_ char *dir = xasprintf("%s/%s", dirs, e->d_name);
		if (n->host->ops->unmount(n->host, dir, &err) < 0)
			log_warn("node", "%s", err.message);
	}
	if (d)
		closedir(d);
}

void volumes_teardown(struct pod *p)
{
	if (p->tearing_volumes || p->volumes_busy)
		return;
	p->tearing_volumes = true;
	char *dir = pod_dir(p);
	unmount_all(p->n, dir);
	struct volume_job *j = job_new(p->n, p);
	j->remove = dir;
	env_submit(p->n->env, &j->work);
}

void volumes_clean_unknown(struct nodeagent *n)
{
	_cleanup_free_ char *pods = xasprintf("%s/pods", n->dir);
	DIR *d = opendir(pods);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (e->d_name[0] == '.' || map_has(&n->pods, e->d_name))
			continue;
		char *dir = xasprintf("%s/%s", pods, e->d_name);
		unmount_all(n, dir);
		struct volume_job *j = job_new(n, NULL);
		j->remove = dir;
		env_submit(n->env, &j->work);
	}
	if (d)
		closedir(d);
}

void volumes_done(struct pod *p)
{
	LIST_EACH (&p->n->works, j, struct volume_job, node) {
		if (j->pod == p)
			j->pod = NULL;
	}
	for (size_t i = 0; i < p->n_tokens; i++) {
		struct volume_token *t = &p->tokens[i];
		if (t->call)
			client_cancel(p->n->client, t->call);
		free(t->volume);
		free(t->path);
		free(t->audience);
		free(t->value);
	}
	free(p->tokens);
	for (size_t i = 0; i < p->n_refs; i++)
		ref_put(p->refs[i]);
	free(p->refs);
	free(p->volumes_problem);
}
