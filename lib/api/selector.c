#include "lib/api/selector.h"

#include "lib/api/api_internal.h"
#include <errno.h>

#define REQUIREMENTS_MAX 64
#define VALUES_MAX       1000

enum op { OP_IN, OP_NOT_IN, OP_EQUALS, OP_NOT_EQUALS, OP_EXISTS, OP_NOT_EXISTS, OP_GT, OP_LT };

struct requirement {
	char *key;
	enum op op;
	char **values; /* sorted */
	size_t n_values, cap_values;
	int64_t bound; /* GT, LT */
};

struct selector {
	bool nothing;
	struct requirement reqs[REQUIREMENTS_MAX];
	size_t n;
};

void selector_free(struct selector *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		struct requirement *r = &s->reqs[i];
		for (size_t v = 0; v < r->n_values; v++)
			free(r->values[v]);
		free(r->values);
		free(r->key);
	}
	free(s);
}

/* ---- building ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct requirement *)a)->key, ((const struct requirement *)b)->key);
}

/* In order of keys; requirements of one key stay as they came. */
static void sort_requirements(struct selector *s)
{
	for (size_t i = 1; i < s->n; i++) {
		for (size_t j = i; j > 0 && by_key(&s->reqs[j - 1], &s->reqs[j]) > 0; j--) {
			struct requirement tmp = s->reqs[j];
			s->reqs[j] = s->reqs[j - 1];
			s->reqs[j - 1] = tmp;
		}
	}
}

static struct requirement *add_requirement(struct selector *s, const char *key, size_t key_len, enum op op,
					   struct err *err)
{
	if (s->n >= REQUIREMENTS_MAX) {
		err_status(err, ERR_BAD_REQUEST, "a selector may have at most %d requirements", REQUIREMENTS_MAX);
		return NULL;
	}
	struct requirement *r = &s->reqs[s->n++];
	*r = (struct requirement){.key = xstrndup(key, key_len), .op = op};
	return r;
}

static int add_value(struct requirement *r, const char *v, size_t len, struct err *err)
{
	if (r->n_values >= VALUES_MAX)
		return err_status(err, ERR_BAD_REQUEST, "a selector may have at most %d values for a key", VALUES_MAX);
	GROW(r->values, r->cap_values, r->n_values + 1);
	r->values[r->n_values++] = xstrndup(v, len);
	return 0;
}

static int check_values(const struct requirement *r, struct err *err)
{
	switch (r->op) {
	case OP_IN:
	case OP_NOT_IN:
		if (!r->n_values)
			return err_status(
				err, ERR_BAD_REQUEST,
				"values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
		return 0;
	case OP_EXISTS:
	case OP_NOT_EXISTS:
		if (r->n_values)
			return err_status(
				err, ERR_BAD_REQUEST,
				"values: Invalid value: \"%s\": values set must be empty for exists and does not exist",
				r->values[0]);
		return 0;
	default:
		if (r->n_values != 1)
			return err_status(err, ERR_BAD_REQUEST,
					  "values: Invalid value: exact-match compatibility requires one single value");
		return 0;
	}
}

static int finish_requirement(struct requirement *r, struct err *err)
{
	const char *why = schema_format_check(FMT_QUALIFIED_NAME, r->key);
	if (why)
		return err_status(err, ERR_BAD_REQUEST, "key: Invalid value: \"%s\": %s", r->key, why);
	int rc = check_values(r, err);
	if (rc)
		return rc;
	if (r->op == OP_GT || r->op == OP_LT) {
		if (parse_i64(r->values[0], &r->bound))
			return err_status(
				err, ERR_BAD_REQUEST,
				"values[0]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value must be an integer",
				r->values[0]);
		return 0;
	}
	for (size_t i = 0; i < r->n_values; i++) {
		why = schema_format_check(FMT_LABEL_VALUE, r->values[i]);
		if (why)
			return err_status(err, ERR_BAD_REQUEST, "values[%zu][%s]: Invalid value: \"%s\": %s", i, r->key,
					  r->values[i], why);
	}
	if (r->n_values > 1)
		qsort(r->values, r->n_values, sizeof(*r->values), by_text);
	return 0;
}

/* ---- text ---- */

struct word {
	const char *s;
	size_t len;
};

static void skip_space(const char **p)
{
	*p += strspn(*p, " \t\r\n");
}

static struct word next_word(const char **p)
{
	skip_space(p);
	struct word w = {*p, strcspn(*p, " \t\r\n,()!=<>")};
	*p += w.len;
	return w;
}

static bool word_is(struct word w, const char *s)
{
	return strlen(s) == w.len && memcmp(w.s, s, w.len) == 0;
}

/* What the grammar sees at p: one of its symbols, or all up to the next. */
static struct word token_at(const char *p)
{
	static const char *const symbols[] = {"==", "!=", "=", "!", "(", ")", ",", "<", ">"};
	skip_space(&p);
	for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
		if (str_starts(p, symbols[i]))
			return (struct word){p, strlen(symbols[i])};
	return next_word(&p);
}

static int unexpected(const char *p, const char *expected, struct err *err)
{
	struct word w = token_at(p);
	return err_status(err, ERR_BAD_REQUEST, "found '%.*s'%s", (int)MIN(w.len, 100u), w.s, expected);
}

static int parse_set(const char **p, struct requirement *r, struct err *err)
{
	skip_space(p);
	if (**p != '(')
		return unexpected(*p, " expected: '('", err);
	(*p)++;
	for (;;) {
		struct word w = next_word(p);
		int rc = add_value(r, w.s, w.len, err);
		if (rc)
			return rc;
		skip_space(p);
		if (**p == ')')
			break;
		if (**p != ',')
			return unexpected(*p, ", expected: ',' or ')'", err);
		(*p)++;
	}
	(*p)++;
	return 0;
}

static int parse_operator(const char **p, enum op *ret, struct err *err)
{
	static const struct {
		const char *text;
		enum op op;
	} ops[] = {{"==", OP_EQUALS}, {"=", OP_EQUALS}, {"!=", OP_NOT_EQUALS}, {">", OP_GT}, {"<", OP_LT}};

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (str_starts(*p, ops[i].text)) {
			*p += strlen(ops[i].text);
			*ret = ops[i].op;
			return 0;
		}
	}
	return unexpected(*p, ", expected: in, notin, =, ==, !=, gt, lt", err);
}

static int parse_requirement(const char **p, struct selector *s, struct err *err)
{
	skip_space(p);
	bool negated = **p == '!';
	*p += negated;
	struct word key = next_word(p);
	if (!key.len)
		return unexpected(*p, ", expected: identifier", err);
	_cleanup_free_ char *key_text = xstrndup(key.s, key.len);
	const char *why = schema_format_check(FMT_QUALIFIED_NAME, key_text);
	if (why) /* upstream's words: there is no path to this key */
		return err_status(err, ERR_BAD_REQUEST, "<nil>: Invalid value: \"%s\": %s", key_text, why);
	skip_space(p);
	enum op op = negated ? OP_NOT_EXISTS : OP_EXISTS;
	bool set = false;
	if (!negated && **p && **p != ',') {
		const char *at = *p;
		struct word w = next_word(p);
		set = word_is(w, "in") || word_is(w, "notin");
		if (set) {
			op = w.len == 2 ? OP_IN : OP_NOT_IN;
		} else {
			*p = at;
			int rc = parse_operator(p, &op, err);
			if (rc)
				return rc;
		}
	}
	struct requirement *r = add_requirement(s, key.s, key.len, op, err);
	if (!r)
		return -EINVAL;
	int rc = 0;
	if (set) {
		rc = parse_set(p, r, err);
	} else if (op != OP_EXISTS && op != OP_NOT_EXISTS) {
		struct word v = next_word(p);
		if (!v.len && **p && **p != ',')
			return unexpected(*p, ", expected: identifier", err);
		rc = add_value(r, v.s, v.len, err);
	}
	return rc ? rc : finish_requirement(r, err);
}

int selector_parse(const char *text, struct selector **ret, struct err *err)
{
	_cleanup_selector_ struct selector *s = NEW(struct selector);
	const char *p = text;

	skip_space(&p);
	if (*p && strchr("=<>(),", *p))
		return unexpected(p, ", expected: !, identifier, or 'end of string'", err);
	while (*p) {
		if (parse_requirement(&p, s, err) < 0)
			return err_prefix(err, "unable to parse requirement");
		skip_space(&p);
		if (!*p)
			break;
		if (*p != ',')
			return unexpected(p, ", expected: ',' or 'end of string'", err);
		p++;
		skip_space(&p);
		if (!*p || strchr("=<>(),", *p))
			return unexpected(p, ", expected: identifier after ','", err);
	}
	sort_requirements(s);
	*ret = STEAL(s);
	return 0;
}

/* ---- LabelSelector objects ---- */

static int add_expression(struct selector *s, const json_t *e, struct err *err)
{
	static const char *const names[] = {"In", "NotIn", "Exists", "DoesNotExist"};
	static const enum op ops[] = {OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS};
	const char *name = json_get_str(e, "operator", ""), *key = json_get_str(e, "key", "");

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!streq(name, names[i]))
			continue;
		struct requirement *r = add_requirement(s, key, strlen(key), ops[i], err);
		if (!r)
			return -EINVAL;
		size_t n;
		json_t *v;
		json_array_foreach(json_object_get(e, "values"), n, v)
		{
			const char *text = json_string_value(v);
			int rc = add_value(r, text ? text : "", text ? strlen(text) : 0, err);
			if (rc)
				return rc;
		}
		return finish_requirement(r, err);
	}
	return err_status(err, ERR_BAD_REQUEST, "\"%s\" is not a valid label selector operator", name);
}

static int add_labels(struct selector *s, const json_t *map, bool check, struct err *err)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v)
	{
		struct requirement *r = add_requirement(s, key, strlen(key), OP_EQUALS, err);
		if (!r)
			return -EINVAL;
		const char *text = json_string_value(v);
		int rc = add_value(r, text ? text : "", text ? strlen(text) : 0, err);
		if (!rc && check)
			rc = finish_requirement(r, err);
		if (rc)
			return rc;
	}
	return 0;
}

int selector_from_json(const json_t *label_selector, struct selector **ret, struct err *err)
{
	_cleanup_selector_ struct selector *s = NEW(struct selector);
	size_t i;
	json_t *e;

	s->nothing = !json_is_object(label_selector);
	int rc = add_labels(s, json_object_get(label_selector, "matchLabels"), true, err);
	if (rc)
		return rc;
	json_array_foreach(json_object_get(label_selector, "matchExpressions"), i, e)
	{
		rc = add_expression(s, e, err);
		if (rc)
			return rc;
	}
	sort_requirements(s);
	*ret = STEAL(s);
	return 0;
}

struct selector *selector_from_map(const json_t *map)
{
	struct selector *s = NEW(struct selector);

	/* more labels than an object is likely to have: it matches nothing, rather than too much */
	s->nothing = json_object_size(map) == 0 || add_labels(s, map, false, NULL) != 0;
	sort_requirements(s);
	return s;
}

/* ---- matching ---- */

static bool has_value(const struct requirement *r, const char *v)
{
	for (size_t i = 0; i < r->n_values; i++) {
		if (strcmp(r->values[i], v) == 0)
			return true;
	}
	return false;
}

static bool requirement_matches(const struct requirement *r, const json_t *labels)
{
	const char *v = json_string_value(json_object_get(labels, r->key));
	int64_t n;

	switch (r->op) {
	case OP_IN:
	case OP_EQUALS:
		return v && has_value(r, v);
	case OP_NOT_IN:
	case OP_NOT_EQUALS:
		return !v || !has_value(r, v);
	case OP_EXISTS:
		return v != NULL;
	case OP_NOT_EXISTS:
		return v == NULL;
	case OP_GT:
		return v && parse_i64(v, &n) == 0 && n > r->bound;
	default:
		return v && parse_i64(v, &n) == 0 && n < r->bound;
	}
}

bool selector_matches(const struct selector *s, const json_t *labels)
{
	if (!s)
		return true;
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (!requirement_matches(&s->reqs[i], labels))
			return false;
	}
	return true;
}

static void add_text(struct buf *b, const struct requirement *r)
{
	static const char *const words[] = {" in ", " notin ", "=", "!=", "", "", ">", "<"};
	bool set = r->op == OP_IN || r->op == OP_NOT_IN;

	buf_addf(b, "%s%s%s%s", r->op == OP_NOT_EXISTS ? "!" : "", r->key, words[r->op], set ? "(" : "");
	for (size_t i = 0; i < r->n_values; i++)
		buf_addf(b, "%s%s", i ? "," : "", r->values[i]);
	if (set)
		buf_addc(b, ')');
}

char *selector_str(const struct selector *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	for (size_t i = 0; s && i < s->n; i++) {
		if (i)
			buf_addc(&b, ',');
		add_text(&b, &s->reqs[i]);
	}
	return buf_steal(&b);
}
