/* minictl wait: until a condition, a value, or the end of objects. */
#include <errno.h>
#include <strings.h>

#include "cli/minictl/jsonpath.h"
#include "cli/minictl/verbs.h"

enum wanted { FOR_CONDITION, FOR_DELETE, FOR_JSONPATH, FOR_CREATE };
struct want {
	enum wanted what;
	const char *name, *value; /* condition and status; path and value (NULL: any) */
	struct err err;
};

static int parse_for(const char *text, struct want *ret, struct err *err)
{
	if (!text || !*text)
		return ctl_usage(
			err,
			"must specify --for as one of: condition=NAME[=VALUE], delete, create, jsonpath='{PATH}'=VALUE");
	if (streq(text, "delete")) {
		ret->what = FOR_DELETE;
	} else if (streq(text, "create")) {
		ret->what = FOR_CREATE;
	} else if (str_starts(text, "condition=")) {
		const char *eq = strchr(text + 10, '=');
		ret->what = FOR_CONDITION;
		ret->name = eq ? keepf("%.*s", (int)(eq - text - 10), text + 10) : text + 10;
		ret->value = eq ? eq + 1 : "true";
	} else if (str_starts(text, "jsonpath=")) {
		const char *path = text + 9, *end = strrchr(path, '}');
		const char *eq = end ? strchr(end, '=') : strchr(path, '=');
		ret->what = FOR_JSONPATH;
		ret->name = eq ? keepf("%.*s", (int)(eq - path), path) : path;
		ret->value = eq ? eq + 1 : NULL;
	} else {
		return ctl_usage(err, "unrecognized condition: \"%s\"", text);
	}
	return 0;
}

static bool condition_met(const struct want *w, const json_t *obj)
{
	size_t i;
	json_t *cond;
	json_array_foreach(json_path(obj, "status", "conditions", NULL), i, cond)
	{
		if (strcasecmp(json_get_str(cond, "type", ""), w->name) != 0)
			continue;
		int64_t seen = json_get_int(cond, "observedGeneration", meta_generation(obj));
		return seen >= meta_generation(obj) && !strcasecmp(json_get_str(cond, "status", ""), w->value);
	}
	return false;
}

static bool path_met(struct want *w, const json_t *obj)
{
	_cleanup_json_ json_t *values = json_array();
	if (jsonpath_values(w->name, obj, values, &w->err) < 0 || json_array_size(values) == 0)
		return false;
	if (!w->value)
		return true;
	_cleanup_buf_ struct buf text = BUF_INIT;
	jsonpath_text(&text, json_array_get(values, 0));
	return streq(buf_str(&text), w->value);
}

static bool met(struct want *w, const json_t *obj)
{
	return w->what == FOR_CREATE || (w->what == FOR_CONDITION ? condition_met(w, obj) : path_met(w, obj));
}

struct waiting {
	struct want *want;
	bool gone;
};

static bool on_event(void *arg, const char *type, json_t *obj)
{
	struct waiting *w = arg;
	if (streq(type, "DELETED"))
		return w->gone = true;
	return met(w->want, obj) || w->want->err.code;
}

static int wait_one(struct ctl *c, const struct item *it, struct want *want, uint64_t deadline_ms, struct err *err)
{
	const char *path =
		with_query(path_of(it->kind, it->ns, NULL, NULL), "fieldSelector", keepf("metadata.name=%s", it->name));
	struct waiting w = {.want = want};
	for (;;) {
		_cleanup_json_ json_t *list = NULL, *obj = NULL;
		int rc = want->what == FOR_CREATE ? 0 : get_item(c, it, &obj, err);
		if (rc == 0)
			rc = rest_get(c, path, &list, err);
		if (rc < 0)
			return rc;
		const json_t *now = json_array_get(json_object_get(list, "items"), 0);
		if (now && met(want, now))
			return 0;
		if (want->err.code)
			return err_move(err, &want->err);
		rc = rest_watch(c, path, NULL, json_get_str(json_object_get(list, "metadata"), "resourceVersion", ""),
				deadline_ms, on_event, &w, err);
		if (want->err.code)
			return err_move(err, &want->err);
		if (w.gone)
			return err_status(err, ERR_NOT_FOUND, "%s \"%s\" not found", it->kind->plural, it->name);
		if (rc == 1)
			return 0;
		if (rc < 0 && err->reason != ERR_GONE && err->reason != ERR_EXPIRED)
			return rc;
		err_done(err);
	}
}

/* What is gone already has met --for=delete. */
static int wait_deleted(struct ctl *c, const struct item *it, uint64_t deadline_ms, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL;
	int rc = get_item(c, it, &obj, err);
	if (rc < 0 && err->reason == ERR_NOT_FOUND) {
		err_done(err);
		return 0;
	}
	return rc < 0 ? rc : wait_gone(c, it, meta_uid(obj), deadline_ms, err);
}

int verb_wait(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	struct want want = {0};
	const char *text = NULL, *timeout = NULL, *form = NULL;
	uint64_t deadline_ms = 0;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"for", 0, OPT_STR, &text, NULL, "condition=NAME[=VALUE], delete, create, jsonpath='{PATH}'[=VALUE]"},
		{"timeout", 0, OPT_STR, &timeout, NULL,
		 "how long to wait (default 30s; 0: look once, below 0: a week)"},
		{"output", 'o', OPT_STR, &form, NULL, "name"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	bool forever = timeout && timeout[0] == '-';
	rc = parse_for(text, &want, err);
	if (rc == 0)
		rc = deadline_parse(forever ? "168h" : timeout, 30000, &deadline_ms, err);
	if (rc == 0 && !deadline_ms)
		deadline_ms = ctl_now_ms() + 1;
	if (rc == 0)
		rc = choose_items(c, &ch, &args.pos, &items, err);
	if (rc < 0)
		return rc;
	if (items.n == 0 && want.what != FOR_DELETE)
		return c->failures ? 1 : ctl_usage(err, "no matching resources found");
	for (size_t i = 0; i < items.n; i++) {
		const struct item *it = &items.v[i];
		struct err e = ERR_INIT;
		rc = want.what == FOR_DELETE ? wait_deleted(c, it, deadline_ms, &e)
					     : wait_one(c, it, &want, deadline_ms, &e);
		if (rc == -ETIMEDOUT && e.reason == ERR_NONE)
			err_set(&e, -ETIMEDOUT, "timed out waiting for the condition on %s/%s", it->kind->plural,
				it->name);
		if (rc < 0)
			ctl_fail(c, &e, NULL);
		else if (streq(form, "name"))
			printf("%s\n", item_word(it->kind, it->name));
		else
			printf("%s condition met\n", item_word(it->kind, it->name));
		fflush(stdout);
		err_done(&e);
	}
	return c->failures > 0;
}
