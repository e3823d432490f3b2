/* Verbs that change fields of what is there: patch, label, annotate, scale, set image, set env. */
#include <errno.h>

#include "cli/minictl/verbs.h"
#include "lib/core/file.h"

/* ---- patch ---- */

static int patch_text(const char *text, const char *file, json_t **ret, struct err *err)
{
	_cleanup_buf_ struct buf from_file = BUF_INIT;
	_cleanup_json_ json_t *docs = NULL;
	if (file && file_read(file, JSON_MAX_BYTES, &from_file, err) < 0)
		return -EINVAL;
	if (file)
		text = buf_str(&from_file);
	int rc = yaml_parse_all(text, strlen(text), file ? file : "--patch", &docs, err);
	if (rc < 0) {
		err->reason = ERR_NONE;
		return err_prefix(err, "unable to parse \"%.80s\"", text);
	}
	if (json_array_size(docs) != 1)
		return ctl_usage(err, "must specify --patch or --patch-file containing the contents of the patch");
	*ret = json_incref(json_array_get(docs, 0));
	return 0;
}

int verb_patch(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	struct output out = {0};
	const char *text = NULL, *file = NULL, *type = "strategic", *form = NULL, *dry_text = NULL, *sub = NULL;
	struct change change = {.manager = "kubectl-patch"};
	const struct opt opts[] = {
		INPUT_OPTS(&ch.input),
		{"patch", 'p', OPT_STR, &text, NULL, "the patch, JSON or YAML"},
		{"patch-file", 0, OPT_STR, &file, NULL, "a file with the patch"},
		{"type", 0, OPT_STR, &type, NULL, "strategic, merge or json"},
		{"subresource", 0, OPT_STR, &sub, NULL, "status or scale"},
		{"output", 'o', OPT_STR, &form, NULL, "yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &dry_text, "unchanged", "none, client or server"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	_cleanup_json_ json_t *patch = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	const char *content = streq(type, "json") ? JSON_PATCH : streq(type, "merge") ? MERGE_PATCH : STRATEGIC_PATCH;
	if (!text == !file)
		return ctl_usage(err, "must specify --patch or --patch-file containing the contents of the patch");
	if (!streq(type, "json") && !streq(type, "merge") && !streq(type, "strategic"))
		return ctl_usage(err, "--type must be one of [json merge strategic], not \"%s\"", type);
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = dry_run_parse(dry_text, &change.dry, err);
	if (rc == 0)
		rc = patch_text(text, file, &patch, err);
	if (rc == 0)
		rc = choose_items(c, &ch, &args.pos, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		_cleanup_json_ json_t *before = NULL, *after = NULL;
		if (change.dry == DRY_CLIENT)
			return ctl_usage(err,
					 "--dry-run=client is not supported by minictl patch; use --dry-run=server");
		rc = get_item(c, &items.v[i], &before, err);
		if (rc == 0)
			rc = change_patch(c, &change, &items.v[i], sub, content, patch, &after, err);
		if (rc == 0)
			rc = output_done(&out, items.v[i].kind, after,
					 keepf("patched%s%s", json_equal(before, after) ? " (no change)" : "",
					       dry_run_words(change.dry)),
					 err);
	}
	return rc < 0 ? rc : c->failures > 0;
}

/* ---- label, annotate ---- */

struct pairs {
	struct strings keys, values; /* value NULL: remove */
};

static bool is_pair(const char *word)
{
	return strchr(word, '=') || str_ends(word, "-");
}

static int parse_pairs(const struct strings *words, size_t from, struct pairs *ret, struct err *err)
{
	for (size_t i = from; i < words->n; i++) {
		const char *w = words->items[i], *eq = strchr(w, '=');
		if (!eq && !str_ends(w, "-"))
			return ctl_usage(err, "unknown argument \"%s\": KEY=VALUE or KEY- is needed", w);
		strings_add(&ret->keys, keepf("%.*s", (int)(eq ? eq - w : (ptrdiff_t)strlen(w) - 1), w));
		strings_add(&ret->values, eq ? eq + 1 : NULL);
	}
	return ret->keys.n ? 0 : ctl_usage(err, "at least one update is required");
}

struct mark {
	const char *member, *done, *what; /* labels, labeled, label */
	bool overwrite, list;
	struct output out;
	struct change change;
	const char *resource_version;
};

static int mark_one(struct ctl *c, const struct mark *m, const struct item *it, const struct pairs *pairs,
		    struct err *err)
{
	_cleanup_json_ json_t *before = NULL, *after = NULL, *patch = json_object();
	int rc = get_item(c, it, &before, err);
	if (rc < 0)
		return rc;
	const json_t *have = json_path(before, "metadata", m->member, NULL);
	json_t *meta = json_need_object(patch, "metadata"), *want = json_need_object(meta, m->member);
	bool removed = true;
	for (size_t i = 0; i < pairs->keys.n; i++) {
		const char *key = pairs->keys.items[i], *value = pairs->values.items[i],
			   *old = json_get_str(have, key, NULL);
		if (!value && !old)
			printf("%s \"%s\" not found.\n", m->what, key);
		if (value && old && !streq(value, old) && !m->overwrite)
			return ctl_usage(err, "'%s' already has a value (%s), and --overwrite is false", key, old);
		json_object_set_new(want, key, value ? json_string(value) : json_null());
		removed = removed && !value;
	}
	if (m->resource_version)
		json_put_str(meta, "resourceVersion", m->resource_version);
	if (m->change.dry == DRY_CLIENT)
		return output_done(&m->out, it->kind, before, keepf("%s (dry run)", m->done), err);
	rc = change_patch(c, &m->change, it, NULL, MERGE_PATCH, patch, &after, err);
	if (rc < 0)
		return rc;
	bool same = json_equal(have, json_path(after, "metadata", m->member, NULL)) || (!have && removed);
	const char *verb = same ? keepf("not %s", m->done) : removed ? keepf("un%s", m->done) : m->done;
	if (!streq(m->what, "label"))
		verb = m->done;
	return output_done(&m->out, it->kind, after, keepf("%s%s", verb, dry_run_words(m->change.dry)), err);
}

static int print_marks(struct ctl *c, const struct item *it, const char *member, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL;
	const char *key;
	json_t *v;
	int rc = get_item(c, it, &obj, err);
	json_object_foreach(json_path(obj, "metadata", member, NULL), key, v)
		printf("%s=%s\n", key, json_string_value(v));
	return rc;
}

static int mark(struct ctl *c, int argc, char **argv, struct mark *m, struct err *err)
{
	struct choose ch = {0};
	const char *form = NULL, *dry_text = NULL;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"overwrite", 0, OPT_BOOL, &m->overwrite, NULL, "change what is there already"},
		{"list", 0, OPT_BOOL, &m->list, NULL, "print what is there"},
		{"resource-version", 0, OPT_STR, &m->resource_version, NULL, "only if the object is at this version"},
		{"output", 'o', OPT_STR, &form, NULL, "yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &dry_text, "unchanged", "none, client or server"},
		OPTS_END,
	};
	struct args args = {0};
	struct strings words = {0};
	struct pairs pairs = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	size_t at = 0;
	for (; at < args.pos.n && !is_pair(args.pos.items[at]); at++)
		strings_add(&words, args.pos.items[at]);
	rc = output_parse(form, &m->out, err);
	if (rc == 0)
		rc = dry_run_parse(dry_text, &m->change.dry, err);
	if (rc == 0)
		rc = m->list ? 0 : parse_pairs(&args.pos, at, &pairs, err);
	if (rc == 0)
		rc = choose_items(c, &ch, &words, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++)
		rc = m->list ? print_marks(c, &items.v[i], m->member, err) : mark_one(c, m, &items.v[i], &pairs, err);
	return rc < 0 ? rc : c->failures > 0;
}

int verb_label(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct mark m = {.member = "labels", .done = "labeled", .what = "label", .change.manager = "kubectl-label"};
	return mark(c, argc, argv, &m, err);
}

int verb_annotate(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct mark m = {.member = "annotations",
			 .done = "annotated",
			 .what = "annotation",
			 .change.manager = "kubectl-annotate"};
	return mark(c, argc, argv, &m, err);
}

/* ---- scale ---- */

static int scale_one(struct ctl *c, const struct item *it, int64_t replicas, int64_t current, struct err *err)
{
	_cleanup_json_ json_t *scale = NULL, *got = NULL;
	if (!(it->kind->subresources & KIND_SUB_SCALE))
		return err_status(err, ERR_NOT_FOUND, "the server could not find the requested resource");
	const char *path = path_of(it->kind, it->ns, it->name, "scale");
	int rc = rest_get(c, path, &scale, err);
	if (rc < 0)
		return rc;
	json_t *spec = json_need_object(scale, "spec");
	if (current >= 0 && json_get_int(spec, "replicas", 0) != current)
		return ctl_usage(err, "Expected replicas to be %lld, was %lld", (long long)current,
				 (long long)json_get_int(spec, "replicas", 0));
	json_put_int(spec, "replicas", replicas);
	if (current < 0) /* whatever it is now */
		json_object_del(json_object_get(scale, "metadata"), "resourceVersion");
	return rest(c, "PUT", path, NULL, NULL, scale, &got, err);
}

int verb_scale(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	int64_t replicas = -1, current = -1;
	const char *timeout = NULL, *form = NULL;
	struct output out = {0};
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"replicas", 0, OPT_INT, &replicas, NULL, "how many there are to be"},
		{"current-replicas", 0, OPT_INT, &current, NULL, "only if there are so many now"},
		{"timeout", 0, OPT_STR, &timeout, NULL, NULL},
		{"output", 'o', OPT_STR, &form, NULL, "name"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (replicas < 0)
		return ctl_usage(err,
				 "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = choose_items(c, &ch, &args.pos, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = scale_one(c, &items.v[i], replicas, current, err);
		if (rc == 0)
			printf("%s%s\n", item_word(items.v[i].kind, items.v[i].name),
			       out.form == OUT_NAME ? "" : " scaled");
	}
	return rc < 0 ? rc : c->failures > 0;
}

/* ---- set image, set env ---- */

/* Where a kind keeps its containers. */
static json_t *pod_spec_patch(const struct item *it, json_t *patch, const json_t *obj, const json_t **ret_spec)
{
	if (streq(it->kind->kind, "Pod")) {
		*ret_spec = json_object_get(obj, "spec");
		return json_need_object(patch, "spec");
	}
	*ret_spec = json_path(obj, "spec", "template", "spec", NULL);
	return json_need_object(json_need_object(json_need_object(patch, "spec"), "template"), "spec");
}

static bool set_images(const json_t *have, json_t *patch_spec, const char *list, const struct pairs *pairs, bool *used)
{
	size_t i;
	json_t *ct;
	bool changed = false;
	json_array_foreach(json_object_get(have, list), i, ct)
	{
		for (size_t p = 0; p < pairs->keys.n; p++) {
			const char *name = json_get_str(ct, "name", ""), *image = pairs->values.items[p];
			if (!streq(pairs->keys.items[p], "*") && !streq(pairs->keys.items[p], name))
				continue;
			used[p] = true;
			changed = changed || !streq(json_get_str(ct, "image", ""), image);
			json_array_append_new(json_need_array(patch_spec, list),
					      json_make("{s:s, s:s}", "name", name, "image", image));
		}
	}
	return changed;
}

static int set_image_one(struct ctl *c, const struct item *it, const struct pairs *pairs, const struct output *out,
			 enum dry_run dry, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL, *patch = json_object(), *after = NULL;
	_cleanup_free_ bool *used = NEW_N(bool, pairs->keys.n);
	int rc = get_item(c, it, &obj, err);
	if (rc < 0)
		return rc;
	const json_t *have;
	json_t *spec = pod_spec_patch(it, patch, obj, &have);
	bool changed = set_images(have, spec, "containers", pairs, used);
	changed = set_images(have, spec, "initContainers", pairs, used) || changed;
	for (size_t p = 0; p < pairs->keys.n; p++) {
		if (!used[p])
			return ctl_usage(err, "unable to find container named \"%s\"", pairs->keys.items[p]);
	}
	if (!changed)
		return 0;
	struct change ch = {.manager = "kubectl-set", .dry = dry};
	if (dry == DRY_CLIENT)
		return output_done(out, it->kind, obj, "image updated (dry run)", err);
	rc = change_patch(c, &ch, it, NULL, STRATEGIC_PATCH, patch, &after, err);
	return rc < 0 ? rc : output_done(out, it->kind, after, keepf("image updated%s", dry_run_words(dry)), err);
}

static int set_env_one(struct ctl *c, const struct item *it, const struct pairs *pairs, const char *container,
		       const struct output *out, enum dry_run dry, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL, *patch = json_object(), *after = NULL;
	int rc = get_item(c, it, &obj, err);
	if (rc < 0)
		return rc;
	const json_t *have;
	json_t *spec = pod_spec_patch(it, patch, obj, &have), *ct;
	size_t i;
	json_array_foreach(json_object_get(have, "containers"), i, ct)
	{
		if (container && !streq(container, json_get_str(ct, "name", "")))
			continue;
		json_t *mine = json_make("{s:s}", "name", json_get_str(ct, "name", ""));
		for (size_t p = 0; p < pairs->keys.n; p++) {
			const char *value = pairs->values.items[p];
			json_array_append_new(
				json_need_array(mine, "env"),
				value ? json_make("{s:s, s:s, s:n}", "name", pairs->keys.items[p], "value", value,
						  "valueFrom")
				      : json_make("{s:s, s:s}", "name", pairs->keys.items[p], "$patch", "delete"));
		}
		json_array_append_new(json_need_array(spec, "containers"), mine);
	}
	if (!json_object_get(spec, "containers"))
		return ctl_usage(err, "%s does not have any containers matching \"%s\"", item_word(it->kind, it->name),
				 container ? container : "*");
	struct change ch = {.manager = "kubectl-set", .dry = dry};
	rc = change_patch(c, &ch, it, NULL, STRATEGIC_PATCH, patch, &after, err);
	return rc < 0 ? rc : output_done(out, it->kind, after, keepf("env updated%s", dry_run_words(dry)), err);
}

static int set_verb(struct ctl *c, int argc, char **argv, bool image, struct err *err)
{
	struct choose ch = {0};
	struct output out = {0};
	const char *form = NULL, *dry_text = NULL, *container = NULL;
	enum dry_run dry = DRY_NONE;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"output", 'o', OPT_STR, &form, NULL, "yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &dry_text, "unchanged", "none, client or server"},
		{"containers", 'c', OPT_STR, &container, NULL, "set env: only in this container"},
		OPTS_END,
	};
	struct args args = {0};
	struct strings words = {0};
	struct pairs pairs = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	size_t at = 0;
	for (; at < args.pos.n && !is_pair(args.pos.items[at]); at++)
		strings_add(&words, args.pos.items[at]);
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = dry_run_parse(dry_text, &dry, err);
	if (rc == 0)
		rc = parse_pairs(&args.pos, at, &pairs, err);
	if (rc == 0)
		rc = choose_items(c, &ch, &words, &items, err);
	for (size_t p = 0; rc == 0 && image && p < pairs.keys.n; p++) {
		if (!pairs.values.items[p])
			rc = ctl_usage(err, "invalid image: %s-", pairs.keys.items[p]);
	}
	for (size_t i = 0; rc == 0 && i < items.n; i++)
		rc = image ? set_image_one(c, &items.v[i], &pairs, &out, dry, err)
			   : set_env_one(c, &items.v[i], &pairs, container, &out, dry, err);
	return rc < 0 ? rc : c->failures > 0;
}

int verb_set_image(struct ctl *c, int argc, char **argv, struct err *err)
{
	return set_verb(c, argc, argv, true, err);
}

int verb_set_env(struct ctl *c, int argc, char **argv, struct err *err)
{
	return set_verb(c, argc, argv, false, err);
}
