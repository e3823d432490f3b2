/* minictl describe: the verb, its common lines, and the events at the end. */
#include "cli/minictl/describe.h"

#include <ctype.h>
#include <errno.h>
#include <time.h>

#include "cli/minictl/jsonpath.h"
#include "cli/minictl/tabs.h"
#include "lib/api/kinds/duration.h"
#include "lib/api/selector.h"

void put(struct describer *d, int level, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	MUST(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	buf_addf(&d->out, "%*s%s\n", level * 2, "", text);
	free(text);
}

const char *value_words(const json_t *v)
{
	struct buf b = BUF_INIT;
	if (v)
		jsonpath_text(&b, v);
	return keep(buf_steal(&b));
}

void put_map(struct describer *d, int level, const char *title, const json_t *map, const char *sep)
{
	_cleanup_json_ json_t *sorted = json_is_object(map) ? json_sorted(map) : json_object();
	const char *key;
	json_t *v;
	bool first = true;
	json_object_foreach(sorted, key, v)
	{
		const char *value = value_words(v);
		if (streq(key, LAST_APPLIED))
			continue;
		if (strlen(value) > 140 || strchr(value, '\n'))
			value = keepf("%.*s...", (int)MIN(strcspn(value, "\n"), (size_t)140), value);
		put(d, level, "%s\t%s%s%s", first ? title : "", key, sep, value);
		first = false;
	}
	if (first)
		put(d, level, "%s\t<none>", title);
}

const char *selector_words(const json_t *selector)
{
	_cleanup_selector_ struct selector *s = NULL;
	if (!json_is_object(selector) || selector_from_json(selector, &s, NULL) < 0)
		return "<none>";
	char *text = keep(selector_str(s));
	return *text ? text : "<none>";
}

const char *join_words(const json_t *list, const char *sep)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		buf_adds(&b, i ? sep : "");
		jsonpath_text(&b, v);
	}
	return b.len ? keep(buf_steal(&b)) : "<none>";
}

const char *time_words(const char *rfc3339)
{
	int64_t us;
	struct tm tm;
	char text[64];
	if (str_empty(rfc3339) || time_parse_us(rfc3339, &us) < 0)
		return "<unset>";
	time_t t = (time_t)(us / 1000000);
	localtime_r(&t, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S %z", &tm);
	return keepf("%s", text);
}

/* ---- a kind without words of its own: its fields as they are ---- */

/* creationTimestamp -> Creation Timestamp */
static const char *title_of(const char *key)
{
	struct buf b = BUF_INIT;
	for (const char *p = key; *p; p++) {
		bool upper = isupper((unsigned char)*p);
		if (p > key && upper && (islower((unsigned char)p[-1]) || (p[1] && islower((unsigned char)p[1]))))
			buf_addc(&b, ' ');
		buf_addc(&b, p == key ? (char)toupper((unsigned char)*p) : *p);
	}
	return keep(buf_steal(&b));
}

static void put_tree(struct describer *d, int level, const json_t *obj);

static void put_list(struct describer *d, int level, const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		if (json_is_object(v))
			put_tree(d, level, v);
		else
			put(d, level, "%s", value_words(v));
	}
}

static void put_tree(struct describer *d, int level, const json_t *obj)
{
	_cleanup_json_ json_t *sorted = json_sorted(obj);
	const char *key;
	json_t *v;
	json_object_foreach(sorted, key, v)
	{
		if (json_is_object(v)) {
			put(d, level, "%s:", title_of(key));
			put_tree(d, level + 1, v);
		} else if (json_is_array(v)) {
			put(d, level, "%s:", title_of(key));
			put_list(d, level + 1, v);
		} else {
			put(d, level, "%s:\t%s", title_of(key), value_words(v));
		}
	}
}

void describe_any(struct describer *d, const json_t *obj)
{
	const json_t *meta = json_object_get(obj, "metadata");
	static const char *const shown[] = {"name", "namespace", "labels", "annotations", "managedFields"};
	put(d, 0, "Name:\t%s", meta_name(obj));
	put(d, 0, "Namespace:\t%s", meta_ns(obj));
	put_map(d, 0, "Labels:", json_object_get(meta, "labels"), "=");
	put_map(d, 0, "Annotations:", json_object_get(meta, "annotations"), ": ");
	put(d, 0, "API Version:\t%s", json_get_str(obj, "apiVersion", ""));
	put(d, 0, "Kind:\t%s", json_get_str(obj, "kind", ""));
	_cleanup_json_ json_t *rest_of = json_clone(obj);
	json_object_del(rest_of, "apiVersion");
	json_object_del(rest_of, "kind");
	for (size_t i = 0; i < ARRAY_LEN(shown); i++)
		json_object_del(json_object_get(rest_of, "metadata"), shown[i]);
	put_tree(d, 0, rest_of);
}

/* ---- events ---- */

static const char *event_time(const json_t *e)
{
	const char *series = json_get_str(json_object_get(e, "series"), "lastObservedTime", ""),
		   *last = json_get_str(e, "lastTimestamp", "");
	return *series ? series : *last ? last : json_get_str(e, "eventTime", "");
}

static int by_time(const void *a, const void *b)
{
	return strcmp(event_time(*(json_t *const *)a), event_time(*(json_t *const *)b));
}

static void put_event(struct describer *d, const json_t *e)
{
	char last[HUMAN_DURATION_MAX], first[HUMAN_DURATION_MAX];
	int64_t count = MAX(json_get_int(e, "count", 0), json_get_int(json_object_get(e, "series"), "count", 0));
	const char *begin = json_get_str(e, "firstTimestamp", ""),
		   *from = json_get_str(json_object_get(e, "source"), "component", "");
	human_age(event_time(e), d->now_s, last);
	human_age(*begin ? begin : json_get_str(e, "eventTime", ""), d->now_s, first);
	const char *age = count > 1 ? keepf("%s (x%lld over %s)", last, (long long)count, first) : keepf("%s", last);
	const char *message = json_get_str(e, "message", "");
	size_t n = strlen(message);
	while (n && isspace((unsigned char)message[n - 1]))
		n--;
	put(d, 1, "%s\t%s\t%s\t%s\t%.*s", json_get_str(e, "type", ""), json_get_str(e, "reason", ""), age,
	    *from ? from : json_get_str(e, "reportingComponent", ""), (int)n, message);
}

static void put_events(struct describer *d, const struct kind *k, const json_t *obj)
{
	_cleanup_json_ json_t *list = NULL;
	const struct kind *event = kind_by_kind("", "v1", "Event");
	/* events of nodes carry the node's name as its uid */
	const char *uid = streq(k->kind, "Node") ? "" : keepf(",involvedObject.uid=%s", meta_uid(obj));
	const char *fields = keepf("involvedObject.name=%s,involvedObject.kind=%s%s%s%s", meta_name(obj), k->kind,
				   k->namespaced ? ",involvedObject.namespace=" : "", meta_ns(obj), uid);
	struct err err = ERR_INIT;
	if (rest_list(
		    d->c,
		    with_query(path_of(event, k->namespaced ? meta_ns(obj) : "", NULL, NULL), "fieldSelector", fields),
		    NULL, &list, &err) < 0) {
		put(d, 0, "Events:\t<unknown: %s>", err.message);
		err_done(&err);
		return;
	}
	const json_t *items = json_object_get(list, "items");
	size_t n = json_array_size(items);
	if (n == 0) {
		put(d, 0, "Events:\t<none>");
		return;
	}
	_cleanup_free_ json_t **sorted = NEW_N(json_t *, n);
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(items, i);
	qsort(sorted, n, sizeof(json_t *), by_time);
	put(d, 0, "Events:");
	put(d, 1, "Type\tReason\tAge\tFrom\tMessage");
	put(d, 1, "----\t------\t----\t----\t-------");
	for (size_t i = 0; i < n; i++)
		put_event(d, sorted[i]);
}

/* ---- the verb ---- */

static const struct {
	const char *kind;
	void (*fn)(struct describer *d, const json_t *obj);
	bool no_events;
} describers[] = {
	{"Pod", describe_pod, false},
	{"Node", describe_node, false},
	{"Deployment", describe_deployment, false},
	{"ReplicaSet", describe_replica_set, false},
	{"Service", describe_service, false},
	{"ConfigMap", describe_config_map, false},
	{"Secret", describe_secret, true},
	{"Namespace", describe_namespace, true},
	{"ServiceAccount", describe_service_account, false},
	{"Role", describe_role, true},
	{"ClusterRole", describe_role, true},
	{"RoleBinding", describe_binding, true},
	{"ClusterRoleBinding", describe_binding, true},
};

static int describe_one(struct ctl *c, const struct item *it, bool events, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL;
	struct describer d = {.c = c, .now_s = time(NULL)};
	int rc = get_item(c, it, &obj, err);
	if (rc < 0)
		return rc;
	void (*fn)(struct describer *, const json_t *) = describe_any;
	for (size_t i = 0; i < ARRAY_LEN(describers); i++) {
		if (streq(describers[i].kind, it->kind->kind)) {
			fn = describers[i].fn;
			events = events && !describers[i].no_events;
		}
	}
	fn(&d, obj);
	if (events)
		put_events(&d, it->kind, obj);
	_cleanup_buf_ struct buf text = BUF_INIT;
	tabs_align(buf_str(&d.out), 2, &text);
	fwrite(buf_str(&text), 1, text.len, stdout);
	buf_done(&d.out);
	return 0;
}

/* A word that is no name may be the beginning of some. */
static int by_prefix(struct ctl *c, const struct item *it, struct items *ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	int rc = rest_list(c, path_of(it->kind, it->ns, NULL, NULL), NULL, &list, err);
	size_t i;
	json_t *o;
	json_array_foreach(json_object_get(list, "items"), i, o)
	{
		if (str_starts(meta_name(o), it->name))
			items_add(ret,
				  (struct item){.kind = it->kind, .ns = it->ns, .name = keepf("%s", meta_name(o))});
	}
	return rc;
}

static int describe_named(struct ctl *c, const struct item *it, bool events, bool *first, struct err *err)
{
	struct err missing = ERR_INIT;
	_cleanup_items_ struct items some = {0};
	if (!*first)
		puts("\n");
	int rc = describe_one(c, it, events, err);
	*first = *first && rc < 0;
	if (rc == 0 || err->reason != ERR_NOT_FOUND || it->obj)
		return rc;
	err_move(&missing, err);
	rc = by_prefix(c, it, &some, err);
	for (size_t i = 0; rc == 0 && i < some.n; i++) {
		if (!*first)
			puts("\n");
		rc = describe_one(c, &some.v[i], events, err);
		*first = false;
	}
	if (rc == 0 && some.n == 0)
		return err_move(err, &missing);
	err_done(&missing);
	return rc;
}

int verb_describe(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	bool events = true, first = true;
	const char *ignored = NULL;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"show-events", 0, OPT_BOOL, &events, NULL, "with the events (default true)"},
		{"chunk-size", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n == 0 && ch.input.files.n == 0)
		return ctl_usage(
			err,
			"You must specify the type of resource to describe. Use \"minictl api-resources\" for a complete list of "
			"supported resources.");
	bool whole = args.pos.n == 1 && !strchr(args.pos.items[0], '/') && !ch.input.files.n;
	ch.all = ch.all || (whole && !ch.selector && !ch.fields);
	rc = choose_items(c, &ch, &args.pos, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		struct err e = ERR_INIT;
		if (describe_named(c, &items.v[i], events, &first, &e) < 0)
			ctl_fail(c, &e, NULL);
		err_done(&e);
	}
	if (rc == 0 && items.n == 0 && !c->failures)
		fprintf(stderr, ch.all_ns ? "No resources found\n" : "No resources found in %s namespace.\n",
			ctl_ns(c));
	return rc < 0 ? rc : c->failures > 0;
}
