#include "cli/minictl/jsonpath.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "cli/minictl/output.h"

#define DEPTH_MAX  64
#define VALUES_MAX 1000000

/* Templates are short and run once: they are walked as text, not compiled. */
struct scan {
	const char *p, *end;
	const char *template_text;
	const json_t *root;
	struct err *err;
	int depth;
};

static int bad(struct scan *s, const char *what)
{
	return err_set(s->err, -EINVAL, "error parsing jsonpath %s, %s", s->template_text, what);
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && isspace((unsigned char)*s->p))
		s->p++;
}

static bool at(const struct scan *s, char c)
{
	return s->p < s->end && *s->p == c;
}

static bool take(struct scan *s, char c)
{
	if (!at(s, c))
		return false;
	s->p++;
	return true;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	if (s->p + n < s->end && (isalnum((unsigned char)s->p[n]) || s->p[n] == '_'))
		return false;
	s->p += n;
	return true;
}

/* A quoted string; s->p is on the quote. */
static int quoted(struct scan *s, struct buf *out)
{
	char q = *s->p++;
	for (; s->p < s->end && *s->p != q; s->p++) {
		if (*s->p != '\\' || s->p + 1 >= s->end) {
			buf_addc(out, *s->p);
			continue;
		}
		s->p++;
		buf_addc(out, *s->p == 'n' ? '\n' : *s->p == 't' ? '\t' : *s->p == 'r' ? '\r' : *s->p);
	}
	if (!take(s, q))
		return bad(s, "unterminated quoted string");
	return 0;
}

/* JSON as Go's encoder writes maps: keys sorted, and what HTML would take for its own is escaped. In JSON those
 * characters occur in strings only. */
static void write_go_json(struct buf *out, const json_t *v)
{
	_cleanup_json_ json_t *sorted = json_sorted(v);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, sorted);
	for (const char *p = buf_str(&text), *end = p + text.len; p < end; p++) {
		if (*p == '<' || *p == '>' || *p == '&') {
			buf_addf(out, "\\u%04x", (unsigned)*p);
		} else if (!strncmp(p, "\u2028", 3) || !strncmp(p, "\u2029", 3)) {
			buf_addf(out, "\\u202%c", p[2] == "\u2028"[2] ? '8' : '9');
			p += 2;
		} else {
			buf_addc(out, *p);
		}
	}
}

void jsonpath_text(struct buf *out, const json_t *v)
{
	if (json_is_string(v))
		buf_add(out, json_string_value(v), json_string_length(v));
	else if (json_is_object(v) || json_is_array(v))
		write_go_json(out, v);
	else
		json_write(out, v);
}

/* ---- steps: from one set of values to the next ---- */

static int path(struct scan *s, const json_t *at_value, json_t *out);

static int push(struct scan *s, json_t *out, json_t *v)
{
	if (json_array_size(out) >= VALUES_MAX)
		return err_set(s->err, -E2BIG, "jsonpath %s: more than %d values", s->template_text, VALUES_MAX);
	json_array_append(out, v);
	return 0;
}

static int step_name(struct scan *s, json_t *in, const char *name, json_t *out)
{
	size_t i;
	json_t *v;
	json_array_foreach(in, i, v)
	{
		json_t *m = json_object_get(v, name);
		if (m && push(s, out, m) < 0)
			return -E2BIG;
	}
	return 0;
}

static int step_all(struct scan *s, json_t *in, json_t *out)
{
	size_t i, k;
	json_t *v, *m;
	const char *key;
	json_array_foreach(in, i, v)
	{
		if (json_is_array(v)) {
			json_array_foreach(v, k, m) if (push(s, out, m) < 0) return -E2BIG;
		} else {
			json_object_foreach(v, key, m) if (push(s, out, m) < 0) return -E2BIG;
		}
	}
	return 0;
}

static int descend(struct scan *s, json_t *v, const char *name, json_t *out)
{
	size_t k;
	json_t *m;
	const char *key;
	if (json_is_object(v) && (m = json_object_get(v, name)) && push(s, out, m) < 0)
		return -E2BIG;
	if (json_is_array(v)) {
		json_array_foreach(v, k, m) if (descend(s, m, name, out) < 0) return -E2BIG;
	} else if (json_is_object(v)) {
		json_object_foreach(v, key, m) if (descend(s, m, name, out) < 0) return -E2BIG;
	}
	return 0;
}

/* a.b\.c/d: up to a character that means something. */
static char *name_of(struct scan *s)
{
	struct buf b = BUF_INIT;
	for (; s->p < s->end && !strchr(".[]{}()=<>!,", *s->p) && !isspace((unsigned char)*s->p); s->p++) {
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
		buf_addc(&b, *s->p);
	}
	return buf_steal(&b);
}

static int integer(struct scan *s, int64_t *ret, bool *ret_given)
{
	char *end;
	*ret_given = false;
	if (s->p < s->end && (isdigit((unsigned char)*s->p) || *s->p == '-')) {
		errno = 0;
		*ret = strtoll(s->p, &end, 10);
		if (errno || end == s->p || end > s->end)
			return bad(s, "invalid array index");
		*ret_given = true;
		s->p = end;
	}
	return 0;
}

/* [n], [a:b], [a:b:c] on every array among the values; s->p is behind the first number. */
static int step_range(struct scan *s, json_t *in, int64_t from, bool have_from, json_t *out)
{
	int64_t to = 0, by = 1;
	bool have_to = false, have_by = false, slice = take(s, ':');
	int rc = 0;
	if (slice)
		rc = integer(s, &to, &have_to);
	if (rc == 0 && slice && take(s, ':'))
		rc = integer(s, &by, &have_by);
	if (rc < 0)
		return rc;
	if (!slice && !have_from)
		return bad(s, "invalid array index");
	if (have_by && by <= 0)
		return bad(s, "step must be > 0");
	size_t i;
	json_t *v;
	json_array_foreach(in, i, v)
	{
		if (!json_is_array(v))
			continue;
		int64_t n = (int64_t)json_array_size(v), a = have_from ? from : 0, b = have_to ? to : n;
		a = a < 0 ? a + n : a;
		b = b < 0 ? b + n : b;
		if (!slice && (a < 0 || a >= n))
			return err_set(
				s->err, -ERANGE,
				"error executing jsonpath \"%s\": array index out of bounds: index %lld, length %lld",
				s->template_text, (long long)from, (long long)n);
		b = slice ? MIN(b, n) : a + 1;
		for (a = MAX(a, 0); a < b; a += by)
			if (push(s, out, json_array_get(v, (size_t)a)) < 0)
				return -E2BIG;
	}
	return 0;
}

/* ---- filters ---- */

/* One side of a comparison: a path from @ or $, or a literal. New array of values. */
static int operand(struct scan *s, const json_t *here, json_t **ret)
{
	_cleanup_json_ json_t *out = json_array();
	skip_space(s);
	if (at(s, '@') || at(s, '$') || at(s, '.')) {
		int rc = path(s, here, out);
		if (rc < 0)
			return rc;
	} else if (at(s, '"') || at(s, '\'')) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		int rc = quoted(s, &b);
		if (rc < 0)
			return rc;
		json_array_append_new(out, json_stringn(buf_str(&b), b.len));
	} else {
		const char *start = s->p;
		while (s->p < s->end && !strchr(")=!<>", *s->p) && !isspace((unsigned char)*s->p))
			s->p++;
		json_t *v = NULL;
		if (json_parse(start, (size_t)(s->p - start), &v, NULL) < 0)
			return bad(s, "unrecognized value in filter");
		json_array_append_new(out, v);
	}
	skip_space(s);
	*ret = STEAL(out);
	return 0;
}

static int compare(const json_t *a, const json_t *b, bool *ret_comparable)
{
	*ret_comparable = true;
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);
		return x < y ? -1 : x > y;
	}
	if (json_is_string(a) && json_is_string(b))
		return strcmp(json_string_value(a), json_string_value(b));
	*ret_comparable = false;
	return json_equal(a, b) ? 0 : 1;
}

static bool holds(const char *op, const json_t *a, const json_t *b)
{
	bool ordered;
	if (!a || !b)
		return false;
	int c = compare(a, b, &ordered);
	if (!strcmp(op, "=="))
		return c == 0;
	if (!strcmp(op, "!="))
		return c != 0;
	if (!ordered)
		return false;
	return op[0] == '<' ? c < 0 || (op[1] && c == 0) : c > 0 || (op[1] && c == 0);
}

static int condition(struct scan *s, const json_t *here, bool *ret)
{
	static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
	_cleanup_json_ json_t *a = NULL, *b = NULL;
	int rc = operand(s, here, &a);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if ((size_t)(s->end - s->p) < strlen(ops[i]) || memcmp(s->p, ops[i], strlen(ops[i])) != 0)
			continue;
		s->p += strlen(ops[i]);
		rc = operand(s, here, &b);
		*ret = rc == 0 && holds(ops[i], json_array_get(a, 0), json_array_get(b, 0));
		return rc;
	}
	*ret = json_array_size(a) > 0;
	return 0;
}

/* [?( ... )]; s->p is behind "?(". The text is run for every element. */
static int step_filter(struct scan *s, json_t *in, json_t *out)
{
	const char *start = s->p;
	bool yes;
	size_t i, k;
	json_t *v, *m;
	_cleanup_json_ json_t *all = json_array();
	if (step_all(s, in, all) < 0)
		return -E2BIG;
	int rc = condition(s, NULL, &yes); /* once for its syntax, also when there is no element */
	const char *behind = s->p;
	(void)v;
	(void)k;
	json_array_foreach(all, i, m)
	{
		if (rc < 0)
			return rc;
		s->p = start;
		rc = condition(s, m, &yes);
		if (rc == 0 && yes)
			rc = push(s, out, m);
	}
	if (rc < 0)
		return rc;
	s->p = behind;
	return take(s, ')') ? 0 : bad(s, "unterminated filter");
}

static int bracket_item(struct scan *s, json_t *in, json_t *out)
{
	skip_space(s);
	if (take(s, '*'))
		return step_all(s, in, out);
	if (at(s, '\'') || at(s, '"')) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		int rc = quoted(s, &b);
		return rc < 0 ? rc : step_name(s, in, buf_str(&b), out);
	}
	if (s->end - s->p >= 2 && s->p[0] == '?' && s->p[1] == '(') {
		s->p += 2;
		return step_filter(s, in, out);
	}
	int64_t from = 0;
	bool given;
	int rc = integer(s, &from, &given);
	return rc < 0 ? rc : step_range(s, in, from, given, out);
}

static int step_bracket(struct scan *s, json_t *in, json_t *out)
{
	do {
		int rc = bracket_item(s, in, out);
		if (rc < 0)
			return rc;
		skip_space(s);
	} while (take(s, ','));
	return take(s, ']') ? 0 : bad(s, "unterminated array");
}

static int step_dot(struct scan *s, json_t *in, json_t *out)
{
	bool deep = take(s, '.');
	if (take(s, '*'))
		return step_all(s, in, out);
	if (at(s, '['))
		return json_array_extend(out, in);
	_cleanup_free_ char *name = name_of(s);
	if (!*name && !deep)
		return json_array_extend(out, in); /* {.} is the value itself */
	if (!*name)
		return bad(s, "no name after ..");
	if (!deep)
		return step_name(s, in, name, out);
	size_t i;
	json_t *v;
	json_array_foreach(in, i, v) if (descend(s, v, name, out) < 0) return -E2BIG;
	return 0;
}

/* Appends the values of the path at s->p, which starts at $ (the root), @ or nothing (here). */
static int path(struct scan *s, const json_t *here, json_t *out)
{
	_cleanup_json_ json_t *now = json_array();
	if (++s->depth > DEPTH_MAX)
		return bad(s, "too deep");
	const json_t *from = take(s, '$') ? s->root : here;
	take(s, '@');
	if (from)
		json_array_append(now, (json_t *)(uintptr_t)from);
	while (at(s, '.') || at(s, '[')) {
		_cleanup_json_ json_t *next = json_array();
		int rc = take(s, '.') ? step_dot(s, now, next) : (s->p++, step_bracket(s, now, next));
		if (rc < 0)
			return rc;
		json_decref(now);
		now = STEAL(next);
	}
	s->depth--;
	json_array_extend(out, now);
	return 0;
}

/* ---- templates ---- */

/* Behind the closing brace of the action at p (which is behind its opening one); NULL when there is none. */
static const char *action_end(const char *p, const char *end)
{
	char q = 0;
	for (; p < end; p++) {
		if (q && *p == '\\')
			p++;
		else if (q)
			q = *p == q ? 0 : q;
		else if (*p == '"' || *p == '\'')
			q = *p;
		else if (*p == '}')
			return p + 1;
	}
	return NULL;
}

/* From the body of a range to its {end}: *ret_body_end and behind it. */
static int find_end(struct scan *s, const char **ret_body_end, const char **ret_behind)
{
	int nested = 0;
	for (const char *p = s->p; p < s->end;) {
		if (*p != '{') {
			p++;
			continue;
		}
		struct scan inner = *s;
		inner.p = p + 1;
		const char *behind = action_end(p + 1, s->end);
		if (!behind)
			return bad(s, "unclosed action");
		skip_space(&inner);
		if (take_word(&inner, "range")) {
			nested++;
		} else if (take_word(&inner, "end") && nested-- == 0) {
			*ret_body_end = p;
			*ret_behind = behind;
			return 0;
		}
		p = behind;
	}
	return bad(s, "not in range, nothing to end");
}

static int block(struct scan *s, const json_t *here, struct buf *out);

static int range(struct scan *s, const json_t *here, struct buf *out)
{
	_cleanup_json_ json_t *values = json_array();
	skip_space(s);
	int rc = path(s, here, values);
	skip_space(s);
	if (rc == 0 && !take(s, '}'))
		rc = bad(s, "unclosed action");
	const char *body_end = NULL, *behind = NULL;
	if (rc == 0)
		rc = find_end(s, &body_end, &behind);
	size_t i;
	json_t *v;
	json_array_foreach(values, i, v)
	{
		struct scan inner = *s;
		inner.end = body_end;
		if (rc == 0)
			rc = block(&inner, v, out);
	}
	s->p = behind;
	return rc;
}

static int print_path(struct scan *s, const json_t *here, struct buf *out)
{
	_cleanup_json_ json_t *values = json_array();
	int rc = path(s, here, values);
	size_t i;
	json_t *v;
	json_array_foreach(values, i, v)
	{
		if (i)
			buf_addc(out, ' ');
		jsonpath_text(out, v);
	}
	return rc;
}

/* s->p is behind the opening brace. */
static int action(struct scan *s, const json_t *here, struct buf *out)
{
	skip_space(s);
	if (take_word(s, "range"))
		return range(s, here, out);
	if (take_word(s, "end"))
		return bad(s, "not in range, nothing to end");
	for (; skip_space(s), s->p < s->end && !at(s, '}');) {
		int rc;
		if (at(s, '"') || at(s, '\''))
			rc = quoted(s, out);
		else if (at(s, '.') || at(s, '[') || at(s, '$') || at(s, '@'))
			rc = print_path(s, here, out);
		else
			return bad(s, "unrecognized identifier");
		if (rc < 0)
			return rc;
	}
	return take(s, '}') ? 0 : bad(s, "unclosed action");
}

static int block(struct scan *s, const json_t *here, struct buf *out)
{
	if (++s->depth > DEPTH_MAX)
		return bad(s, "too deep");
	while (s->p < s->end) {
		if (!at(s, '{')) {
			buf_addc(out, *s->p++);
			continue;
		}
		s->p++;
		int rc = action(s, here, out);
		if (rc < 0)
			return rc;
	}
	s->depth--;
	return 0;
}

int jsonpath_print(const char *template_text, const json_t *doc, struct buf *out, struct err *err)
{
	struct scan s = {.p = template_text,
			 .end = template_text + strlen(template_text),
			 .template_text = template_text,
			 .root = doc,
			 .err = err};
	return block(&s, doc, out);
}

int jsonpath_values(const char *expression, const json_t *doc, json_t *ret_values, struct err *err)
{
	const char *p = expression, *end = expression + strlen(expression);
	if (end - p >= 2 && *p == '{' && end[-1] == '}') {
		p++;
		end--;
	}
	bool dotted = p < end && strchr(".[$@", *p);
	_cleanup_free_ char *text = xasprintf("%s%.*s", dotted ? "" : ".", (int)(end - p), p);
	struct scan s = {.p = text, .end = text + strlen(text), .template_text = expression, .root = doc, .err = err};
	int rc = path(&s, doc, ret_values);
	skip_space(&s);
	if (rc == 0 && s.p < s.end)
		return bad(&s, "unexpected text behind the path");
	return rc;
}
