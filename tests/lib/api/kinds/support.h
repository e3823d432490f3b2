/* JSON written with single quotes, and faults as one text. */
#ifndef TESTS_KINDS_SUPPORT_H
#define TESTS_KINDS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/api/schema.h"

static inline json_t *js(const char *text)
{
	_cleanup_free_ char *s = xstrdup(text);
	_cleanup_err_ struct err err = ERR_INIT;
	json_t *j = NULL;

	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse(s, strlen(s), &j, &err))
		fail_msg("%s in %s", err.message, s);
	return j;
}

static inline void assert_json(const json_t *got, const char *want)
{
	json_t *w = js(want);
	if (!json_equal(got, w)) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		json_write_pretty(&b, got, 2);
		fail_msg("got %s\nwant %s", b.data, want);
	}
	json_decref(w);
}

/* Put the members of `more` into obj, objects recursively; null deletes; lists are replaced. */
static inline void merge(json_t *obj, const json_t *more)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)more, key, v)
	{
		if (json_is_null(v))
			json_object_del(obj, key);
		else if (json_is_object(v) && json_is_object(json_object_get(obj, key)))
			merge(json_object_get(obj, key), v);
		else
			json_object_set_new(obj, key, json_deep_copy(v));
	}
}

/* "field: message\n" for each fault. */
static inline char *faults_of(const struct err *err)
{
	struct buf b = BUF_INIT;
	for (int i = 0; err->causes && i < MIN(err->n_causes, ERR_CAUSES_MAX); i++)
		buf_addf(&b, "%s: %s\n", err->causes[i].field, err->causes[i].message);
	return buf_steal(&b);
}

#endif
