/* What --help says is what minid takes, and what the manual says. */
#include "tests/support/tap.h"

#include <errno.h>

#include "cli/options.h"
#include "cli/usage.h"
#include "lib/core/file.h"

#define VERBS 5
static const char *const verbs[VERBS] = {"demo", "server", "agent", "token", "stop"};

static int parse(const char *verb, const char *flag, struct err *err)
{
	char word[64];
	char *argv[] = {word};
	struct options o;
	snprintf(word, sizeof(word), "%s", flag);
	int r = options_parse(verb, 1, argv, 0, &o, err);
	if (r == 0)
		options_done(&o);
	return r;
}

/* A flag alone: taken, or it wants a value, or it is another verb's. */
static void flags_are_taken(void **state)
{
	(void)state;
	for (size_t i = 0; usage_flag(i); i++) {
		unsigned had = 0;
		for (size_t k = 0; k < VERBS; k++) {
			struct err err = ERR_INIT;
			int r = parse(verbs[k], usage_flag(i), &err);
			bool foreign = r < 0 && strstr(err.message, " is a flag of minid ");
			assert_int_equal(foreign, !usage_has(verbs[k], usage_flag(i)));
			assert_true(foreign || r == 0 || strstr(err.message, "wants a value"));
			had += !foreign;
		}
		assert_true(had > 0);
	}
	struct err err = ERR_INIT;
	assert_int_equal(parse("agent", "--history=5m", &err), -EINVAL);
	assert_string_equal(err.message,
			    "--history is a flag of minid server, demo, not of agent; minid agent --help lists "
			    "those");
	assert_int_equal(parse("agent", "-v", NULL), 0);
	assert_int_equal(parse("agent", "--nonsense=1", &err), -EINVAL);
	assert_non_null(strstr(err.message, "unknown flag --nonsense"));
	assert_null(usage_verbs_of("--nonsense"));
}

/* Nothing is taken that no help tells of. */
static void the_parser_knows_no_more(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	assert_int_equal(file_read("cli/options.c", 1 << 20, &text, NULL), 0);
	for (const char *p = buf_str(&text); (p = strstr(p, "\"--")); p++) {
		size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz-");
		_cleanup_free_ char *flag = xstrndup(p + 1, n);
		assert_true(n == 2 || usage_verbs_of(flag)); /* 2: "--" itself */
	}
}

static void the_manual_has_them(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf man = BUF_INIT;
	assert_int_equal(file_read("docs/man/minid.8", 1 << 20, &man, NULL), 0);
	for (size_t i = 0; usage_flag(i); i++) {
		_cleanup_buf_ struct buf in_roff = BUF_INIT;
		for (const char *p = usage_flag(i); *p; p++)
			buf_adds(&in_roff, *p == '-' ? "\\-" : (char[]){*p, 0});
		if (!strstr(buf_str(&man), buf_str(&in_roff)))
			fail_msg("minid(8) says nothing of %s", usage_flag(i));
	}
}

static void help(void **state)
{
	(void)state;
	for (size_t k = 0; k < VERBS; k++) {
		_cleanup_buf_ struct buf text = BUF_INIT;
		_cleanup_free_ char *example = xasprintf("  minid %s", verbs[k]);
		usage_text(verbs[k], &text);
		assert_non_null(strstr(strstr(buf_str(&text), "\nExamples:\n"), example));
		for (size_t i = 0; usage_flag(i); i++) {
			_cleanup_free_ char *line = xasprintf("\n  %s ", usage_flag(i));
			assert_int_equal(strstr(buf_str(&text), line) != NULL, usage_has(verbs[k], usage_flag(i)));
		}
	}
	_cleanup_buf_ struct buf all = BUF_INIT, completion = BUF_INIT;
	usage_text("", &all);
	usage_completion(&completion);
	for (size_t i = 0; usage_flag(i); i++) {
		assert_non_null(strstr(buf_str(&all), usage_flag(i)));
		assert_non_null(strstr(buf_str(&completion), usage_flag(i)));
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(flags_are_taken),
	cmocka_unit_test(the_parser_knows_no_more),
	cmocka_unit_test(the_manual_has_them),
	cmocka_unit_test(help),
};
RUN_TESTS(tests)
