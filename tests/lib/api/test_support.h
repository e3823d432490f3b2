/* What every test of lib/api needs: cmocka in its include order, JSON literals, comparisons that print both sides. */
#ifndef TESTS_LIB_API_TEST_SUPPORT_H
#define TESTS_LIB_API_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/api/json.h"

_unused_ static json_t *J(const char *text)
{
	json_t *v = NULL;
	struct err err = ERR_INIT;
	if (json_parse(text, strlen(text), &v, &err))
		fail_msg("%s: %s", err.message, text);
	return v;
}

_unused_ static char *text_of(const json_t *v)
{
	struct buf b = BUF_INIT;
	json_write(&b, v);
	return buf_steal(&b);
}

/* Frees both. */
_unused_ static void assert_json_equal(json_t *got, json_t *want)
{
	if (!json_equal(got, want)) {
		char *a = text_of(got), *b = text_of(want);
		fail_msg("got  %s\nwant %s", a, b);
	}
	json_decref(got);
	json_decref(want);
}

#endif
