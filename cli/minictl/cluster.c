/* minictl cluster: the servers of a cluster; who they are, how each stands, who comes and who goes. */
#include <errno.h>
#include <time.h>

#include "cli/minictl/table.h"
#include "cli/minictl/verbs.h"
#include "lib/client/join_token.h"

#define CLUSTER_PATH  "/mini/v1/cluster"
#define STATUS_PATH   "/mini/v1/status"
#define MEMBERS_PATH  "/mini/v1/members/"
#define ASK_MS        3000u
#define FOLLOW_MS     15000u
#define FOLLOW_STEP   100u
#define TOKEN_HOURS   24
#define MEMBERS_LIMIT 64u
#define ANSWER_MAX    (1u << 20)
#define DAY_S         86400.0
#define DAY_FROM_S    600.0 /* what a start writes says nothing of a day */

static const char *str(const json_t *t, const char *key)
{
	return json_get_str(t, key, "");
}

static bool yes(const json_t *t, const char *key)
{
	return json_is_true(json_object_get(t, key));
}

/* "5.2Mi" */
static const char *size_text(double n)
{
	static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti"};
	unsigned u = 0;
	while (n >= 1024 && u + 1 < ARRAY_LEN(units)) {
		n /= 1024;
		u++;
	}
	return u && n < 10 ? keepf("%.1f%s", n, units[u]) : keepf("%.0f%s", n, units[u]);
}

/* voter; "voter (joining)" on the way there; "voter (leaving)". */
static const char *role_text(const json_t *m)
{
	const char *role = str(m, "role"), *wish = str(m, "wish");
	if (streq(wish, "none"))
		return keepf("%s (leaving)", role);
	return streq(role, wish) ? keepf("%s", role) : keepf("%s (joining)", wish);
}

static json_t *member_of(const json_t *cluster, const char *id_or_name)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(cluster, "members"), i, m)
	{
		if (streq(str(m, "name"), id_or_name) || streq(str(m, "id"), id_or_name))
			return m;
	}
	return NULL;
}

static int get_cluster(struct ctl *c, json_t **ret, struct err *err)
{
	int rc = rest_get(c, CLUSTER_PATH, ret, err);
	if (rc < 0 && err->reason == ERR_NOT_FOUND)
		return ctl_usage(err, "this is no cluster of mini: it does not know %s", CLUSTER_PATH);
	return rc;
}

static void say_external(const json_t *cluster)
{
	if (json_array_size(json_object_get(cluster, "members")) == 0)
		fprintf(stderr, "This cluster keeps its state in an external %s, which has members of its own.\n",
			str(cluster, "engine"));
}

static int print_tree(const struct output *out, const json_t *tree, struct err *err)
{
	_cleanup_json_ json_t *sorted = json_sorted(tree);
	return output_print(out, sorted, err);
}

static int print_table(struct table *t)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	table_print(t, &b);
	table_done(t);
	fputs(buf_str(&b), stdout);
	return 0;
}

static int parse_output(const char *form, struct output *out, struct err *err)
{
	int rc = output_parse(form, out, err);
	if (rc == 0 && (out->form == OUT_NAME || out->form == OUT_COLUMNS))
		rc = ctl_usage(err, "-o is json, yaml, wide or jsonpath=... here");
	return rc;
}

static bool wants_tree(const struct output *out)
{
	return out->form == OUT_YAML || out->form == OUT_JSON || out->form == OUT_JSONPATH;
}

/* ---- list ---- */

static void list_row(struct table *t, const json_t *m)
{
	table_cell(t, str(m, "name"));
	table_cell(t, str(m, "peer"));
	table_cell(t, *str(m, "api") ? str(m, "api") : "<none>");
	table_cell(t, role_text(m));
	table_cell(t, yes(m, "leader") ? "leader" : "-");
	table_cell(t, str(m, "id"));
}

int verb_cluster_list(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *form = NULL;
	bool no_headers = false;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &form, NULL, "json, yaml or jsonpath=..."},
				   {"no-headers", 0, OPT_BOOL, &no_headers, NULL, "rows alone"},
				   OPTS_END};
	static const char *const head[] = {"NAME", "ADDRESS", "API", "ROLE", "LEADER", "ID"};
	struct args args = {0};
	struct output out = {0};
	_cleanup_json_ json_t *cluster = NULL;
	int rc = args_words(c, opts, argc, argv, 0, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = parse_output(form, &out, err);
	if (rc == 0)
		rc = get_cluster(c, &cluster, err);
	if (rc < 0)
		return rc;
	if (wants_tree(&out))
		return print_tree(&out, cluster, err);
	struct table t;
	size_t i;
	json_t *m;
	say_external(cluster);
	table_init(&t, ARRAY_LEN(head));
	for (size_t k = 0; k < ARRAY_LEN(head) && !no_headers; k++)
		table_cell(&t, head[k]);
	json_array_foreach(json_object_get(cluster, "members"), i, m) list_row(&t, m);
	return print_table(&t);
}

/* ---- status: every member's own word ---- */

struct asked {
	json_t *member; /* borrowed */
	struct client *client;
	bool done, *all_done;
	unsigned *left;
	int status;
	struct buf text;
	char why[300];
	json_t *answer;
};

static void on_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	((struct asked *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct asked *a = arg;
	if (a->text.len + len <= ANSWER_MAX)
		buf_add(&a->text, data, len);
}

static void on_done(void *arg, const struct err *err)
{
	struct asked *a = arg;
	_cleanup_json_ json_t *tree = NULL;
	if (err->code)
		snprintf(a->why, sizeof(a->why), "%.250s", err->message);
	else if (json_parse(buf_str(&a->text), a->text.len, &tree, NULL) < 0 || a->status >= 300)
		snprintf(a->why, sizeof(a->why), "%.250s", tree ? str(tree, "message") : "its answer cannot be read");
	else
		a->answer = STEAL(tree);
	if (--*a->left == 0)
		*a->all_done = true;
}

/* With the same credentials, at another address. */
static int ask(struct ctl *c, struct asked *a, struct err *err)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	struct kubeconfig k = c->config;
	char *api = keepf("%s", str(a->member, "api"));
	k.server = api;
	int rc = client_http_new(c->env, &c->loop, &k, "minictl", &a->client, err);
	if (rc == 0)
		client_http_call(a->client, "GET", STATUS_PATH, NULL, NULL, 0, ASK_MS, &ops, a);
	return rc;
}

static int ask_all(struct ctl *c, struct asked *asked, size_t n, struct err *err)
{
	bool done = false;
	unsigned left = 1;
	for (size_t i = 0; i < n; i++) {
		if (!*str(asked[i].member, "api"))
			continue;
		asked[i].left = &left;
		asked[i].all_done = &done;
		left++;
		int rc = ask(c, &asked[i], err);
		if (rc < 0)
			return rc;
	}
	if (--left > 0)
		ctl_run(c, &done, 0);
	return 0;
}

static const char *number(const json_t *t, const char *key)
{
	return keepf("%lld", (long long)json_get_int(t, key, 0));
}

static const char *state_text(const struct asked *a)
{
	if (!*str(a->member, "api"))
		return "-";
	if (!a->answer)
		return "unreachable";
	if (yes(a->answer, "readOnly"))
		return "read-only";
	if (!yes(a->answer, "quorum"))
		return "no quorum";
	return yes(a->answer, "ready") ? "ready" : "starting";
}

static void status_row(struct table *t, const struct asked *a)
{
	static const char *const numbers[] = {"term", "applied", "revision", "keys"};
	const json_t *s = a->answer;
	table_cell(t, str(a->member, "name"));
	table_cell(t, *str(a->member, "api") ? str(a->member, "api") : str(a->member, "peer"));
	table_cell(t, role_text(a->member));
	table_cell(t, yes(a->member, "leader") ? "leader" : "-");
	table_cell(t, state_text(a));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		table_cell(t, s ? number(s, numbers[i]) : "-");
	double written = (double)json_get_int(s, "bytesWritten", 0);
	double up = s ? json_number_value(json_object_get(s, "uptimeSeconds")) : 0;
	table_cell(t, s ? size_text((double)json_get_int(s, "logBytes", 0)) : "-");
	table_cell(t, s ? size_text((double)json_get_int(s, "stateBytes", 0)) : "-");
	table_cell(t, s ? size_text(written) : "-");
	table_cell(t, s && up >= DAY_FROM_S ? size_text(written * DAY_S / up) : "-");
}

static void print_alarms(const json_t *cluster, const struct asked *asked, size_t n)
{
	size_t i;
	json_t *v;
	if (!yes(cluster, "quorum"))
		printf("Alarm: no quorum: too few servers can be reached; nothing can be written\n");
	json_array_foreach(json_object_get(cluster, "alarms"), i, v) printf("Alarm: %s\n", json_string_value(v));
	for (size_t k = 0; k < n; k++) {
		const char *name = str(asked[k].member, "name");
		if (*asked[k].why)
			printf("Alarm: %s: cannot be asked: %s\n", name, asked[k].why);
		json_array_foreach(json_object_get(asked[k].answer, "alarms"), i, v)
			printf("Alarm: %s: %s\n", name, json_string_value(v));
	}
}

/* The members with their own status in each. */
static int status_tree(const struct output *out, json_t *cluster, const struct asked *asked, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (asked[i].answer)
			json_object_set(asked[i].member, "status", asked[i].answer);
		else if (*asked[i].why)
			json_put_str(asked[i].member, "unreachable", asked[i].why);
	}
	return print_tree(out, cluster, err);
}

static int status_table(const json_t *cluster, const struct asked *asked, size_t n)
{
	static const char *const head[] = {"NAME",     "ADDRESS", "ROLE", "LEADER", "STATE",   "TERM", "APPLIED",
					   "REVISION", "KEYS",    "LOG",  "DB",     "WRITTEN", "A DAY"};
	struct table t;
	say_external(cluster);
	table_init(&t, ARRAY_LEN(head));
	for (size_t k = 0; k < ARRAY_LEN(head); k++)
		table_cell(&t, head[k]);
	for (size_t k = 0; k < n; k++)
		status_row(&t, &asked[k]);
	print_table(&t);
	print_alarms(cluster, asked, n);
	return 0;
}

static void asked_done(struct asked *asked, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		client_free(asked[i].client);
		buf_done(&asked[i].text);
		json_decref(asked[i].answer);
	}
}

int verb_cluster_status(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *form = NULL;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &form, NULL, "json, yaml or jsonpath=..."}, OPTS_END};
	struct args args = {0};
	struct output out = {0};
	struct asked asked[MEMBERS_LIMIT] = {{0}};
	_cleanup_json_ json_t *cluster = NULL;
	int rc = args_words(c, opts, argc, argv, 0, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = parse_output(form, &out, err);
	if (rc == 0)
		rc = get_cluster(c, &cluster, err);
	if (rc < 0)
		return rc;
	json_t *members = json_object_get(cluster, "members");
	size_t n = MIN(json_array_size(members), MEMBERS_LIMIT);
	for (size_t i = 0; i < n; i++)
		asked[i].member = json_array_get(members, i);
	rc = ask_all(c, asked, n, err);
	if (rc == 0)
		rc = wants_tree(&out) ? status_tree(&out, cluster, asked, n, err) : status_table(cluster, asked, n);
	asked_done(asked, n);
	return rc;
}

/* ---- changes ---- */

static void on_step(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

static void pause_ms(struct ctl *c, unsigned ms)
{
	uv_timer_t t;
	bool done = false;
	uv_timer_init(&c->loop, &t);
	t.data = &done;
	uv_timer_start(&t, on_step, ms, 0);
	ctl_run(c, &done, 0);
	done = false;
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(&c->loop, UV_RUN_NOWAIT);
}

/* Until the cluster is as it was asked to be: true when `reached` says so. */
typedef bool (*reached_fn)(const json_t *cluster, const char *id);
static bool follow(struct ctl *c, const char *id, reached_fn reached)
{
	uint64_t end = ctl_now_ms() + FOLLOW_MS;
	do {
		_cleanup_json_ json_t *cluster = NULL;
		struct err err = ERR_INIT;
		bool there = get_cluster(c, &cluster, &err) == 0 && reached(cluster, id);
		err_done(&err);
		if (there)
			return true;
		pause_ms(c, FOLLOW_STEP);
	} while (ctl_now_ms() < end);
	return false;
}

static bool is_out(const json_t *cluster, const char *id)
{
	return member_of(cluster, id) == NULL;
}

static bool is_as_wished(const json_t *cluster, const char *id)
{
	const json_t *m = member_of(cluster, id);
	return m && streq(str(m, "role"), str(m, "wish"));
}

static bool leads(const json_t *cluster, const char *id)
{
	return *id ? streq(str(cluster, "leader"), id) : *str(cluster, "leader") != 0;
}

struct change_verb {
	const char *method, *verb; /* of the path, behind the member */
	reached_fn reached;
	const char *done, *slow;
};

static int change_member(struct ctl *c, int argc, char **argv, const struct change_verb *v, struct err *err)
{
	struct args args = {0};
	_cleanup_json_ json_t *answer = NULL;
	int rc = args_words(c, NULL, argc, argv, 1, &args, err);
	if (rc)
		return MIN(rc, 0);
	const char *who = args.pos.items[0];
	struct buf path = BUF_INIT;
	buf_adds(&path, MEMBERS_PATH);
	http_escape(&path, who);
	buf_adds(&path, v->verb);
	rc = rest(c, v->method, keep(buf_steal(&path)), NULL, NULL, NULL, &answer, err);
	if (rc < 0)
		return rc;
	const char *id = keepf("%s", str(answer, "member"));
	if (follow(c, id, v->reached))
		printf("member %s %s\n", who, v->done);
	else
		printf("member %s %s; minictl cluster status shows how far it is\n", who, v->slow);
	return 0;
}

int verb_cluster_remove(struct ctl *c, int argc, char **argv, struct err *err)
{
	static const struct change_verb v = {"DELETE", "", is_out, "removed", "is being removed"};
	return change_member(c, argc, argv, &v, err);
}

int verb_cluster_promote(struct ctl *c, int argc, char **argv, struct err *err)
{
	static const struct change_verb v = {"POST", "/promote", is_as_wished, "is a voter", "is to be a voter"};
	return change_member(c, argc, argv, &v, err);
}

int verb_cluster_demote(struct ctl *c, int argc, char **argv, struct err *err)
{
	static const struct change_verb v = {"POST", "/demote", is_as_wished, "is a learner", "is to be a learner"};
	return change_member(c, argc, argv, &v, err);
}

int verb_cluster_move_leader(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	_cleanup_json_ json_t *body = json_object(), *answer = NULL, *after = NULL;
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n > 1)
		return ctl_usage(err, "usage: minictl %s", c->command->usage);
	if (args.pos.n)
		json_put_str(body, "to", args.pos.items[0]);
	rc = rest(c, "POST", "/mini/v1/move-leader", NULL, NULL, body, &answer, err);
	if (rc < 0)
		return rc;
	if (!follow(c, str(answer, "member"), leads))
		return err_set(err, -ETIMEDOUT,
			       "the lead was asked to move, and has not in %u s: minictl cluster status",
			       FOLLOW_MS / 1000);
	rc = get_cluster(c, &after, err);
	if (rc < 0)
		return rc;
	const json_t *m = member_of(after, str(after, "leader"));
	printf("member %s leads\n", m ? str(m, "name") : str(after, "leader"));
	return 0;
}

/* ---- add: a token that is for this one server, and the command that uses it ---- */

static bool is_loopback(const char *url)
{
	return strstr(url, "//127.") || strstr(url, "//localhost") || strstr(url, "//[::1]");
}

/* What the new server is to ask: the leader's own address, which others can reach. */
static const char *join_url(struct ctl *c, const json_t *cluster)
{
	const json_t *leader = member_of(cluster, str(cluster, "leader"));
	const char *api = leader ? str(leader, "api") : "";
	return *api && (is_loopback(c->config.server) || !is_loopback(api)) ? keepf("%s", api)
									    : keepf("%s", c->config.server);
}

static int make_token(struct ctl *c, const char *name, const char *wish, char ret[JOIN_TOKEN_TEXT_MAX], struct err *err)
{
	struct join_token t;
	const struct join_token_grant grant = {
		.role = "server", .name = name, .wish = wish, .expires_s = time(NULL) + TOKEN_HOURS * 3600};
	if (!c->config.ca_pem)
		return ctl_usage(err, "this kubeconfig has no CA certificate: take the server's DIR/admin.kubeconfig");
	int rc = join_token_make(c->config.ca_pem, &t, err);
	if (rc < 0)
		return rc;
	_cleanup_json_ json_t *secret = join_token_object(&t, &grant);
	rc = rest(c, "POST", "/api/v1/namespaces/" JOIN_TOKEN_NS "/secrets", NULL, NULL, secret, NULL, err);
	if (rc == 0)
		join_token_text(&t, ret);
	return rc;
}

int verb_cluster_add(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool learner = false, witness = false;
	const struct opt opts[] = {{"learner", 0, OPT_BOOL, &learner, NULL, "it has all data and does not vote"},
				   {"witness", 0, OPT_BOOL, &witness, NULL, "it votes and has no data"},
				   OPTS_END};
	struct args args = {0};
	char token[JOIN_TOKEN_TEXT_MAX];
	_cleanup_json_ json_t *cluster = NULL;
	int rc = args_words(c, opts, argc, argv, 1, &args, err);
	if (rc)
		return MIN(rc, 0);
	const char *name = args.pos.items[0], *wish = witness ? "witness" : learner ? "learner" : "voter";
	if (learner && witness)
		return ctl_usage(err, "a server is a learner or a witness, not both");
	if (strlen(name) > 63 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(name))
		return ctl_usage(err, "a server's name has at most 63 lower case letters, digits, dots and dashes");
	rc = get_cluster(c, &cluster, err);
	if (rc < 0)
		return rc;
	if (member_of(cluster, name))
		return err_set(err, -EEXIST, "a server named \"%s\" is in the cluster already", name);
	rc = make_token(c, name, wish, token, err);
	if (rc < 0)
		return rc;
	printf("On the new server, within %d hours:\n\n  minid server --name %s --join %s --token %s\n\n", TOKEN_HOURS,
	       name, join_url(c, cluster), token);
	return 0;
}
