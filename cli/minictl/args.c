#include "cli/minictl/args.h"

#include <errno.h>
#include <math.h>

void strings_add(struct strings *s, const char *item)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		const char **items = keep(NEW_N(const char *, cap));
		if (s->n)
			memcpy(items, s->items, s->n * sizeof(*items));
		s->items = items;
		s->cap = cap;
	}
	s->items[s->n++] = item;
}

void strings_split(struct strings *s, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ",");
		if (n)
			strings_add(s, keepf("%.*s", (int)n, text));
		text += n + (text[n] == ',');
	}
}

int duration_parse(const char *s, int64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"us", 0.001}, {"ns", 0.000001}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
	double total = 0;
	if (!*s)
		return -EINVAL;
	while (*s) {
		char *end;
		double v = strtod(s, &end);
		if (end == s || !isfinite(v) || v < 0)
			return -EINVAL;
		size_t i = 0;
		while (i < ARRAY_LEN(units) && !str_starts(end, units[i].unit))
			i++;
		if (i == ARRAY_LEN(units)) {
			if (*end || total > 0)
				return -EINVAL;
			total = v * 1000;
			break;
		}
		total += v * units[i].ms;
		s = end + strlen(units[i].unit);
	}
	if (total > 1e15)
		return -ERANGE;
	*ret_ms = (int64_t)total;
	return 0;
}

static void global_opts(struct ctl *c, struct opt ret[20])
{
	const struct opt all[] = {
		{"namespace", 'n', OPT_STR, &c->ns, NULL, "the namespace of this request"},
		{"kubeconfig", 0, OPT_STR, &c->kubeconfig, NULL, "path of the kubeconfig file"},
		{"context", 0, OPT_STR, &c->context, NULL, "the kubeconfig context to use"},
		{"cluster", 0, OPT_STR, &c->cluster, NULL, "the kubeconfig cluster to use"},
		{"user", 0, OPT_STR, &c->user, NULL, "the kubeconfig user to use"},
		{"server", 's', OPT_STR, &c->server, NULL, "address of the API server"},
		{"token", 0, OPT_STR, &c->token, NULL, "bearer token"},
		{"certificate-authority", 0, OPT_STR, &c->ca_file, NULL, "file with the server's CA"},
		{"insecure-skip-tls-verify", 0, OPT_BOOL, &c->insecure, NULL, "do not verify the server's certificate"},
		{"request-timeout", 0, OPT_STR, &c->request_timeout, NULL,
		 "how long one request may take (10s, 1m; 0: no limit)"},
		{"dir", 0, OPT_STR, &c->dir, NULL, "mini's directory on this host (default " DEFAULT_DIR ")"},
		{"v", 'v', OPT_INT, &c->verbosity, NULL, "6 and above: print requests"},
		{"as", 0, OPT_REFUSE, NULL, NULL, "the server takes nobody for somebody else"},
		{"as-group", 0, OPT_REFUSE, NULL, NULL, "the server takes nobody for somebody else"},
		{"help", 'h', OPT_BOOL, &c->help, NULL, "help for this command"},
		{NULL, 0, OPT_BOOL, NULL, NULL, NULL},
	};
	_Static_assert(ARRAY_LEN(all) <= 20, "room for the global options");
	memcpy(ret, all, sizeof(all));
}

struct parse {
	struct ctl *c;
	const struct opt *opts;
	struct opt globals[20];
};

static const struct opt *find_in(const struct opt *o, const char *name, size_t len, char letter)
{
	for (; o && o->name; o++) {
		if (letter ? o->letter == letter : strlen(o->name) == len && !strncmp(o->name, name, len))
			return o;
	}
	return NULL;
}

static const struct opt *find(const struct parse *p, const char *name, size_t len, char letter)
{
	const struct opt *o = find_in(p->opts, name, len, letter);
	return o ? o : find_in(p->globals, name, len, letter);
}

static int set_bool(const struct opt *o, const char *value, struct err *err)
{
	bool *to = o->to;
	if (!value || streq(value, "true") || streq(value, "1") || streq(value, "t"))
		*to = true;
	else if (streq(value, "false") || streq(value, "0") || streq(value, "f"))
		*to = false;
	else
		return ctl_usage(
			err,
			"invalid argument \"%s\" for \"--%s\" flag: strconv.ParseBool: parsing \"%s\": invalid syntax",
			value, o->name, value);
	return 0;
}

static int set(const struct opt *o, const char *value, struct err *err)
{
	switch (o->type) {
	case OPT_BOOL:
		return set_bool(o, value, err);
	case OPT_STR:
		*(const char **)o->to = value;
		return 0;
	case OPT_INT:
		if (parse_i64(value, o->to) < 0)
			return ctl_usage(err, "invalid argument \"%s\" for \"--%s\" flag: not a number", value,
					 o->name);
		return 0;
	case OPT_LIST:
		strings_split(o->to, value);
		return 0;
	case OPT_ARRAY:
		strings_add(o->to, value);
		return 0;
	case OPT_REFUSE:
		break;
	}
	return ctl_usage(err, "--%s is not supported by minictl%s%s", o->name, o->doc ? ": " : "",
			 o->doc ? o->doc : "");
}

static bool wants_value(const struct opt *o)
{
	return o->type != OPT_BOOL && o->type != OPT_REFUSE && !o->bare;
}

/* argv[*i] is "--name" or "--name=value". */
static int parse_long(const struct parse *p, int argc, char **argv, int *i, struct err *err)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o = find(p, name, len, 0);
	if (!o)
		return ctl_usage(err, "unknown flag: --%.*s", (int)len, name);
	const char *value = eq ? eq + 1 : o->bare;
	if (!value && wants_value(o)) {
		if (*i + 1 >= argc)
			return ctl_usage(err, "flag needs an argument: --%s", o->name);
		value = argv[++*i];
	}
	return set(o, value, err);
}

static int parse_short(const struct parse *p, int argc, char **argv, int *i, struct err *err)
{
	const char *all = argv[*i] + 1;
	for (const char *s = all; *s; s++) {
		const struct opt *o = find(p, NULL, 0, *s);
		if (!o)
			return ctl_usage(err, "unknown shorthand flag: '%c' in -%s", *s, all);
		const char *rest = s + 1;
		int rc;
		if (*rest == '=') {
			return set(o, rest + 1, err);
		} else if (!wants_value(o)) {
			rc = set(o, o->bare, err);
			if (rc < 0)
				return rc;
			continue;
		} else if (*rest) {
			return set(o, rest, err);
		} else if (*i + 1 >= argc) {
			return ctl_usage(err, "flag needs an argument: '%c' in -%s", *s, all);
		}
		return set(o, argv[++*i], err);
	}
	return 0;
}

static int parse_one(const struct parse *p, int argc, char **argv, int *i, struct err *err)
{
	if (argv[*i][1] == '-')
		return parse_long(p, argc, argv, i, err);
	return parse_short(p, argc, argv, i, err);
}

static void print_opts(const struct opt *o)
{
	for (; o && o->name; o++) {
		if (o->type == OPT_REFUSE || !o->doc)
			continue;
		char left[64];
		snprintf(left, sizeof(left), "%c%c%s --%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			 o->letter ? "," : " ", o->name, wants_value(o) ? " VALUE" : "");
		printf("    %-38s %s\n", left, o->doc);
	}
}

int args_parse(struct ctl *c, const struct opt *opts, int argc, char **argv, struct args *ret, struct err *err)
{
	static const struct opt none[1];
	struct parse p = {.c = c, .opts = opts ? opts : none};
	global_opts(c, p.globals);
	for (int i = 0; i < argc; i++) {
		if (streq(argv[i], "--")) {
			ret->dashes = true;
			while (++i < argc)
				strings_add(&ret->after, argv[i]);
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			strings_add(&ret->pos, argv[i]);
			continue;
		}
		int rc = parse_one(&p, argc, argv, &i, err);
		if (rc < 0)
			return rc;
	}
	if (!c->help)
		return 0;
	help_command(c->command, stdout);
	puts("\nOptions:");
	print_opts(opts);
	puts("\nGlobal options:");
	print_opts(p.globals);
	return 1;
}

int args_words(struct ctl *c, const struct opt *opts, int argc, char **argv, size_t words, struct args *ret,
	       struct err *err)
{
	int rc = args_parse(c, opts, argc, argv, ret, err);
	if (rc == 0 && ret->pos.n != words)
		rc = ctl_usage(err, "usage: minictl %s", c->command->usage);
	return rc;
}

int args_globals(struct ctl *c, int argc, char **argv, int *ret_used, struct err *err)
{
	struct parse p = {.c = c};
	global_opts(c, p.globals);
	int i = 0;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] && !streq(argv[i], "--"); i++) {
		int rc = parse_one(&p, argc, argv, &i, err);
		if (rc < 0)
			return rc;
	}
	*ret_used = i;
	return 0;
}
