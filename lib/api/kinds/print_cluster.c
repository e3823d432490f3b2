/* Columns of nodes, namespaces, configuration, events, leases and roles. */

#include <ctype.h>

#include "lib/api/kinds/duration.h"
#include "lib/api/kinds/print.h"

const struct kind_column plain_columns[] = {
	COLUMN_NAME,
	{.name = "Created At", .type = "date", .doc = "When the object was created."},
	COLUMNS_END,
};

void plain__cells(const json_t *obj, _unused_ int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_str(cells, json_get_str(json_object_get(obj, "metadata"), "creationTimestamp", ""));
}

const struct kind_column namespace_columns[] = {
	COLUMN_NAME,
	COLUMN("Status", "string", "Active, or Terminating while it is emptied."),
	COLUMN_AGE,
	COLUMNS_END,
};

void namespace__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_str(cells, json_get_str(json_object_get(obj, "status"), "phase", ""));
	cell_age(cells, obj, now_s);
}

const struct kind_column node_columns[] = {
	COLUMN_NAME,
	COLUMN("Status", "string", "Whether it is ready, and whether pods may be put there."),
	COLUMN("Roles", "string", "From its labels."),
	COLUMN_AGE,
	COLUMN("Version", "string", "Version of its agent."),
	COLUMN_WIDE("Internal-IP", "string", "Its address inside."),
	COLUMN_WIDE("External-IP", "string", "Its address outside."),
	COLUMN_WIDE("OS-Image", "string", "Its operating system."),
	COLUMN_WIDE("Kernel-Version", "string", "Its kernel."),
	COLUMN_WIDE("Container-Runtime", "string", "What runs its containers."),
	COLUMNS_END,
};

static void cell_node_status(json_t *cells, const json_t *obj)
{
	const char *word = "Unknown";
	size_t i;
	json_t *c;

	json_array_foreach(json_path(obj, "status", "conditions", NULL), i,
			   c) if (streq(json_get_str(c, "type", ""), "Ready")) word =
		streq(json_get_str(c, "status", ""), "True") ? "Ready" : "NotReady";
	bool cordoned = json_get_bool(json_object_get(obj, "spec"), "unschedulable", false);
	_cleanup_free_ char *text = xasprintf("%s%s", word, cordoned ? ",SchedulingDisabled" : "");
	cell_str(cells, text);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void cell_node_roles(json_t *cells, const json_t *obj)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	json_t *labels = json_path(obj, "metadata", "labels", NULL), *v;
	_cleanup_free_ const char **roles = NEW_N(const char *, json_object_size(labels) + 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *key;
	size_t n = 0;

	json_object_foreach(labels, key, v)
	{
		if (str_starts(key, prefix) && key[sizeof(prefix) - 1])
			roles[n++] = key + sizeof(prefix) - 1;
		else if (streq(key, "kubernetes.io/role") && !str_empty(json_string_value(v)))
			roles[n++] = json_string_value(v);
	}
	qsort(roles, n, sizeof(*roles), compare_strings);
	for (size_t i = 0; i < n; i++)
		if (!i || !streq(roles[i], roles[i - 1]))
			buf_addf(&b, "%s%s", b.len ? "," : "", roles[i]);
	cell_or_none(cells, buf_str(&b));
}

static void cell_node_address(json_t *cells, const json_t *status, const char *type)
{
	size_t i;
	json_t *a;

	json_array_foreach(json_object_get(status, "addresses"), i, a)
	{
		if (streq(json_get_str(a, "type", ""), type)) {
			cell_str(cells, json_get_str(a, "address", ""));
			return;
		}
	}
	cell_str(cells, "<none>");
}

static void cell_or_unknown(json_t *cells, const char *s)
{
	cell_str(cells, str_empty(s) ? "<unknown>" : s);
}

void node__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *status = json_object_get(obj, "status"), *info = json_object_get(status, "nodeInfo");

	cell_name(cells, obj);
	cell_node_status(cells, obj);
	cell_node_roles(cells, obj);
	cell_age(cells, obj, now_s);
	cell_str(cells, json_get_str(info, "kubeletVersion", ""));
	cell_node_address(cells, status, "InternalIP");
	cell_node_address(cells, status, "ExternalIP");
	cell_or_unknown(cells, json_get_str(info, "osImage", ""));
	cell_or_unknown(cells, json_get_str(info, "kernelVersion", ""));
	cell_or_unknown(cells, json_get_str(info, "containerRuntimeVersion", ""));
}

const struct kind_column config_map_columns[] = {
	COLUMN_NAME,
	COLUMN("Data", "string", "Number of entries."),
	COLUMN_AGE,
	COLUMNS_END,
};

void config_map__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_int(cells, (int64_t)(json_object_size(json_object_get(obj, "data")) +
				  json_object_size(json_object_get(obj, "binaryData"))));
	cell_age(cells, obj, now_s);
}

const struct kind_column secret_columns[] = {
	COLUMN_NAME,
	COLUMN("Type", "string", "What its data must hold."),
	COLUMN("Data", "string", "Number of entries."),
	COLUMN_AGE,
	COLUMNS_END,
};

void secret__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_str(cells, json_get_str(obj, "type", ""));
	cell_int(cells, (int64_t)json_object_size(json_object_get(obj, "data")));
	cell_age(cells, obj, now_s);
}

const struct kind_column service_account_columns[] = {
	COLUMN_NAME,
	COLUMN("Secrets", "string", "Number of secrets it lists."),
	COLUMN_AGE,
	COLUMNS_END,
};

void service_account__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_int(cells, (int64_t)json_array_size(json_object_get(obj, "secrets")));
	cell_age(cells, obj, now_s);
}

const struct kind_column event_columns[] = {
	COLUMN("Last Seen", "string", "Time since it happened last."),
	COLUMN("Type", "string", "Normal or Warning."),
	COLUMN("Reason", "string", "Why, in one word."),
	COLUMN("Object", "string", "What it is about."),
	COLUMN_WIDE("Subobject", "string", "Which part of the object."),
	COLUMN_WIDE("Source", "string", "Who reports it."),
	COLUMN("Message", "string", "What happened."),
	COLUMN_WIDE("First Seen", "string", "Time since it happened first."),
	COLUMN_WIDE("Count", "string", "How often it happened."),
	{.name = "Name", .type = "string", .format = "name", .doc = "Name of the event.", .priority = 1},
	COLUMNS_END,
};

static void cell_event_object(json_t *cells, const json_t *about)
{
	const char *name = json_get_str(about, "name", "");
	_cleanup_free_ char *text = xstrdup(json_get_str(about, "kind", ""));

	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (*name) {
		char *whole = xasprintf("%s/%s", text, name);
		free(text);
		text = whole;
	}
	cell_str(cells, text);
}

static void cell_event_source(json_t *cells, const json_t *obj)
{
	const json_t *source = json_object_get(obj, "source");
	const char *component = json_get_str(source, "component", ""), *host = json_get_str(source, "host", "");

	if (!*component)
		component = json_get_str(obj, "reportingComponent", "");
	if (!*host)
		host = json_get_str(obj, "reportingInstance", "");
	_cleanup_free_ char *text = xasprintf("%s%s%s", component, *host ? ", " : "", host);
	cell_str(cells, text);
}

static void cell_trimmed(json_t *cells, const char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]);)
		n--;
	_cleanup_free_ char *text = xstrndup(s, n);
	cell_str(cells, text);
}

void event__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *series = json_object_get(obj, "series"), *about = json_object_get(obj, "involvedObject");
	const char *first = json_get_str(obj, "firstTimestamp", json_get_str(obj, "eventTime", ""));
	const char *last = json_get_str(obj, "lastTimestamp", first);
	int64_t count = json_get_int(obj, "count", 0);
	char age[HUMAN_DURATION_MAX];

	if (json_is_object(series)) {
		last = json_get_str(series, "lastObservedTime", "");
		count = json_get_int(series, "count", 0);
	} else if (count == 0) {
		count = 1; /* one that counts nothing happened once */
	}
	cell_str(cells, human_age(last, now_s, age));
	cell_str(cells, json_get_str(obj, "type", ""));
	cell_str(cells, json_get_str(obj, "reason", ""));
	cell_event_object(cells, about);
	cell_str(cells, json_get_str(about, "fieldPath", ""));
	cell_event_source(cells, obj);
	cell_trimmed(cells, json_get_str(obj, "message", ""));
	cell_str(cells, human_age(first, now_s, age));
	cell_int(cells, count);
	cell_name(cells, obj);
}

const struct kind_column lease_columns[] = {
	COLUMN_NAME,
	COLUMN("Holder", "string", "Who holds it."),
	COLUMN_AGE,
	COLUMNS_END,
};

void lease__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	cell_name(cells, obj);
	cell_str(cells, json_get_str(json_object_get(obj, "spec"), "holderIdentity", ""));
	cell_age(cells, obj, now_s);
}

const struct kind_column role_binding_columns[] = {
	COLUMN_NAME,
	COLUMN("Role", "string", "The role that is given."),
	COLUMN_AGE,
	COLUMN_WIDE("Users", "string", "Users who have it."),
	COLUMN_WIDE("Groups", "string", "Groups who have it."),
	COLUMN_WIDE("ServiceAccounts", "string", "Service accounts who have it."),
	COLUMNS_END,
};

static void cell_subjects(json_t *cells, const json_t *subjects, const char *kind)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *s;

	json_array_foreach(subjects, i, s)
	{
		if (!streq(json_get_str(s, "kind", ""), kind))
			continue;
		if (b.len)
			buf_adds(&b, ", ");
		if (streq(kind, "ServiceAccount"))
			buf_addf(&b, "%s/", json_get_str(s, "namespace", ""));
		buf_adds(&b, json_get_str(s, "name", ""));
	}
	cell_str(cells, buf_str(&b));
}

void role_binding__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *ref = json_object_get(obj, "roleRef"), *subjects = json_object_get(obj, "subjects");
	_cleanup_free_ char *role = xasprintf("%s/%s", json_get_str(ref, "kind", ""), json_get_str(ref, "name", ""));

	cell_name(cells, obj);
	cell_str(cells, role);
	cell_age(cells, obj, now_s);
	cell_subjects(cells, subjects, "User");
	cell_subjects(cells, subjects, "Group");
	cell_subjects(cells, subjects, "ServiceAccount");
}
