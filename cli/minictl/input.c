#include "cli/minictl/input.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/core/file.h"

#define FILE_MAX   (64u << 20)
#define FILES_MAX  10000
#define FOLDER_MAX 32

void items_add(struct items *s, struct item item)
{
	GROW(s->v, s->cap, s->n + 1);
	s->v[s->n++] = item;
}

void items_done(struct items *s)
{
	free(s->v);
	*s = (struct items){0};
}

const char *kind_word(const struct kind *k)
{
	char *w = keepf("%s%s%s", k->kind, *k->group ? "." : "", k->group);
	for (char *p = w; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return w;
}

const char *item_word(const struct kind *k, const char *name)
{
	return keepf("%s/%s", kind_word(k), name);
}

/* ---- files ---- */

static int fault(struct ctl *c, const char *fmt, ...) _printf_(2, 3);
static int fault(struct ctl *c, const char *fmt, ...)
{
	struct err err = ERR_INIT;
	va_list ap;
	va_start(ap, fmt);
	err_setv(&err, -EINVAL, fmt, ap);
	va_end(ap);
	ctl_fail(c, &err, NULL);
	return -EINVAL;
}

/* -n must not contradict the object. */
static int place(struct ctl *c, const struct kind *k, json_t *obj)
{
	json_t *meta = json_need_object(obj, "metadata");
	if (!k->namespaced) {
		json_object_del(meta, "namespace");
		return 0;
	}
	const char *ns = json_get_str(meta, "namespace", "");
	if (*ns && !str_empty(c->ns) && !streq(c->ns, ns))
		return fault(
			c,
			"the namespace from the provided object \"%s\" does not match the namespace \"%s\". You must pass "
			"'--namespace=%s' to perform this operation.",
			ns, c->ns, ns);
	if (!*ns)
		json_put_str(meta, "namespace", ctl_ns(c));
	return 0;
}

static void add_object(struct ctl *c, const char *source, json_t *obj, struct items *ret)
{
	const char *api = json_get_str(obj, "apiVersion", ""), *kind = json_get_str(obj, "kind", "");
	if (!json_is_object(obj)) {
		fault(c, "unable to decode \"%s\": not an object", source);
		return;
	}
	if (!*api || !*kind) {
		fault(c,
		      "error validating \"%s\": error validating data: %s%s%s%s%s; if you choose to ignore these errors, turn "
		      "validation off with --validate=false",
		      source, !*api && !*kind ? "[" : "", *api ? "" : "apiVersion not set", !*api && !*kind ? ", " : "",
		      *kind ? "" : "kind not set", !*api && !*kind ? "]" : "");
		return;
	}
	json_t *items = json_object_get(obj, "items");
	if (str_ends(kind, "List") && json_is_array(items)) {
		size_t i;
		json_t *o;
		json_array_foreach(items, i, o) add_object(c, source, o, ret);
		return;
	}
	const struct kind *k = kind_by_api_version(api, kind);
	if (!k) {
		fault(c,
		      "resource mapping not found for name: \"%s\" namespace: \"%s\" from \"%s\": no matches for kind \"%s\" in "
		      "version \"%s\"\nensure CRDs are installed first",
		      meta_name(obj), meta_ns(obj), source, kind, api);
		return;
	}
	if (json_object_get(obj, "metadata") && !json_is_object(json_object_get(obj, "metadata"))) {
		fault(c, "unable to decode \"%s\": metadata is not an object", source);
		return;
	}
	if (place(c, k, obj) < 0)
		return;
	items_add(ret,
		  (struct item){.kind = k, .ns = meta_ns(obj), .name = meta_name(obj), .obj = obj, .source = source});
}

static void add_text(struct ctl *c, const char *source, const struct buf *text, struct items *ret)
{
	json_t *docs = NULL;
	struct err err = ERR_INIT;
	if (yaml_parse_all(buf_str(text), text->len, source, &docs, &err) < 0) {
		fault(c, "error parsing %s", err.message);
		err_done(&err);
		return;
	}
	keep_json(docs);
	size_t i;
	json_t *d;
	json_array_foreach(docs, i, d) add_object(c, source, d, ret);
}

static int read_stdin(struct buf *out, struct err *err)
{
	char chunk[65536];
	ssize_t n;
	while ((n = read(0, chunk, sizeof(chunk))) > 0) {
		if (out->len + (size_t)n > FILE_MAX)
			return err_set(err, -EFBIG, "standard input is larger than %u bytes", FILE_MAX);
		buf_add(out, chunk, (size_t)n);
	}
	return n < 0 ? err_errno(err, "reading standard input") : 0;
}

static void add_file(struct ctl *c, const char *path, struct items *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct err err = ERR_INIT;
	bool in = streq(path, "-");
	int rc = in ? read_stdin(&text, &err) : file_read(path, FILE_MAX, &text, &err);
	if (rc < 0)
		fault(c, "%s", err.message);
	else
		add_text(c, in ? "STDIN" : keepf("%s", path), &text, ret);
	err_done(&err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_manifest(const char *name)
{
	return str_ends(name, ".yaml") || str_ends(name, ".yml") || str_ends(name, ".json");
}

static void add_folder(struct ctl *c, const char *path, bool recursive, int depth, size_t *n_files, struct items *ret)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, by_name);
	if (n < 0) {
		fault(c, "%s: %s", path, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		char *full = keepf("%s%s%s", path, str_ends(path, "/") ? "" : "/", name);
		struct stat st;
		if (*name != '.' && stat(full, &st) == 0 && *n_files < FILES_MAX) {
			if (S_ISDIR(st.st_mode) && recursive && depth < FOLDER_MAX) {
				add_folder(c, full, recursive, depth + 1, n_files, ret);
			} else if (!S_ISDIR(st.st_mode) && is_manifest(name)) {
				add_file(c, full, ret);
				++*n_files;
			}
		}
		free(names[i]);
	}
	free(names);
}

int input_read(struct ctl *c, const struct input_opts *o, struct items *ret, struct err *err)
{
	for (size_t i = 0; i < o->files.n; i++) {
		const char *path = o->files.items[i];
		struct stat st;
		int before = c->failures;
		if (str_starts(path, "http://") || str_starts(path, "https://"))
			return ctl_usage(err, "-f %s: minictl reads no URLs; fetch it and give the file", path);
		if (streq(path, "-")) {
			add_file(c, path, ret);
		} else if (stat(path, &st) < 0) {
			fault(c, "the path \"%s\" does not exist", path);
		} else if (S_ISDIR(st.st_mode)) {
			size_t n_files = 0;
			add_folder(c, path, o->recursive, 0, &n_files, ret);
			if (n_files == 0)
				fault(c, "error reading [%s]: recognized file extensions are [.json .yaml .yml]", path);
		} else {
			add_file(c, path, ret);
		}
		(void)before;
	}
	if (ret->n == 0 && c->failures == 0)
		return ctl_usage(err, "no objects passed");
	return 0;
}

/* ---- words ---- */

int input_kind(const char *word, const struct kind **ret, struct err *err)
{
	const struct kind *k = kind_by_word(word);
	if (!k)
		return ctl_usage(err, "the server doesn't have a resource type \"%s\"", word);
	*ret = k;
	return 0;
}

static bool in_category(const struct kind *k, const char *word)
{
	for (const char *const *c = k->categories; c && *c; c++) {
		if (streq(*c, word))
			return true;
	}
	return false;
}

static void add_name(struct ctl *c, const struct kind *k, const char *name, struct items *ret)
{
	items_add(ret, (struct item){.kind = k, .ns = k->namespaced ? ctl_ns(c) : "", .name = name});
}

/* pods,svc or a category such as all, then names or none. */
static int add_kinds(struct ctl *c, const char *list, const struct strings *words, struct items *ret, struct err *err)
{
	struct strings types = {0};
	strings_split(&types, list);
	for (size_t i = 0; i < types.n; i++) {
		size_t before = ret->n;
		for (const struct kind *const *k = kinds_all; *k; k++) {
			if (in_category(*k, types.items[i]))
				add_name(c, *k, NULL, ret);
		}
		if (ret->n > before)
			continue;
		const struct kind *k = NULL;
		int rc = input_kind(types.items[i], &k, err);
		if (rc < 0)
			return rc;
		for (size_t n = 1; n < words->n; n++)
			add_name(c, k, words->items[n], ret);
		if (words->n == 1)
			add_name(c, k, NULL, ret);
	}
	return 0;
}

static int add_slashed(struct ctl *c, const char *word, struct items *ret, struct err *err)
{
	const char *slash = strchr(word, '/');
	if (!slash)
		return ctl_usage(
			err,
			"there is no need to specify a resource type as a separate argument when passing arguments in "
			"resource/name form (e.g. 'minictl get resource/<resource_name>' instead of 'minictl get resource "
			"resource/<resource_name>'");
	if (slash == word || !slash[1] || strchr(slash + 1, '/'))
		return ctl_usage(err, "arguments in resource/name form may not have more than one slash");
	const struct kind *k = NULL;
	int rc = input_kind(keepf("%.*s", (int)(slash - word), word), &k, err);
	if (rc == 0)
		add_name(c, k, slash + 1, ret);
	return rc;
}

int input_words(struct ctl *c, const struct strings *words, struct items *ret, struct err *err)
{
	if (words->n == 0)
		return ctl_usage(err, "You must provide one or more resources by argument or filename.");
	bool slashed = false;
	for (size_t i = 0; i < words->n; i++)
		slashed = slashed || strchr(words->items[i], '/');
	if (!slashed)
		return add_kinds(c, words->items[0], words, ret, err);
	for (size_t i = 0; i < words->n; i++) {
		int rc = add_slashed(c, words->items[i], ret, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int input_one(struct ctl *c, const struct strings *words, size_t *ret_used, struct item *ret, struct err *err)
{
	if (words->n == 0)
		return ctl_usage(err, "resource(s) were provided, but no name was specified");
	bool slashed = strchr(words->items[0], '/') != NULL;
	if (!slashed && words->n < 2) {
		const struct kind *k = NULL;
		int rc = input_kind(words->items[0], &k, err);
		return rc < 0 ? rc : ctl_usage(err, "resource(s) were provided, but no name was specified");
	}
	struct strings first = {0};
	strings_add(&first, words->items[0]);
	if (!slashed)
		strings_add(&first, words->items[1]);
	_cleanup_items_ struct items items = {0};
	int rc = input_words(c, &first, &items, err);
	if (rc < 0)
		return rc;
	if (items.n != 1)
		return ctl_usage(err, "exactly one resource is needed here");
	*ret = items.v[0];
	*ret_used = first.n;
	return 0;
}
