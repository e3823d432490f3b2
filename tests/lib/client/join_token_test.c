#include "tests/support/tap.h"

#include <errno.h>
#include <time.h>

#include "lib/client/join_token.h"
#include "lib/net/pki.h"

static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void text_and_back(void **state)
{
	struct pki_pair ca = {0};
	struct join_token a, b;
	char text[JOIN_TOKEN_TEXT_MAX];
	(void)state;
	assert_int_equal(pki_make_ca("ca", time(NULL), time(NULL) + 60, &ca, NULL), 0);
	assert_int_equal(join_token_make(ca.cert_pem, &a, NULL), 0);
	join_token_text(&a, text);
	assert_int_equal(strlen(text), 6 + 1 + 16 + 8 + 64);
	assert_int_equal(join_token_parse(text, &b, NULL), 0);
	assert_string_equal(a.id, b.id);
	assert_string_equal(a.secret, b.secret);
	assert_memory_equal(a.ca, b.ca, 32);
	/* no two are alike */
	assert_int_equal(join_token_make(ca.cert_pem, &b, NULL), 0);
	assert_string_not_equal(a.secret, b.secret);
	pki_pair_done(&ca);
}

static void bad_texts(void **state)
{
	struct join_token t = {.id = "before"};
	_cleanup_free_ char *good = xasprintf("abcdef.0123456789abcdef@sha256:%s", hex);
	(void)state;
	assert_int_equal(join_token_parse(good, &t, NULL), 0);
	assert_string_equal(t.id, "abcdef");
	const char *bad[] = {
		"",
		"abcdef.0123456789abcdef",
		"abcdef.0123456789abcdef@sha256:",
		"abcdef.0123456789abcdef@sha256:00",
		"abcdef.0123456789abcde@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"ABCDEF.0123456789abcdef@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"abcdef.0123456789abcdef@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeX",
		"abcdef.0123456789abcdef@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;
		struct join_token same = t;
		assert_int_equal(join_token_parse(bad[i], &t, &err), -EINVAL);
		assert_memory_equal(&same, &t, sizeof(t));
		/* the words must not give away the token */
		assert_null(strstr(err.message, "0123456789abcdef@"));
	}
}

static void secret_of_it(void **state)
{
	struct join_token t = {.id = "abcdef", .secret = "0123456789abcdef"};
	struct join_token_grant g = {.role = "agent", .expires_s = 1700000000};
	(void)state;
	_cleanup_json_ json_t *s = join_token_object(&t, &g);
	assert_string_equal(meta_name(s), "bootstrap-token-abcdef");
	assert_string_equal(meta_ns(s), "kube-system");
	assert_string_equal(json_get_str(s, "type", ""), "bootstrap.kubernetes.io/token");
	_cleanup_free_ char *id = join_token_field(s, "token-id"), *secret = join_token_field(s, "token-secret"),
			    *groups = join_token_field(s, "auth-extra-groups"),
			    *when = join_token_field(s, "expiration");
	assert_string_equal(id, "abcdef");
	assert_string_equal(secret, "0123456789abcdef");
	assert_string_equal(groups, JOIN_GROUP_AGENTS);
	assert_string_equal(when, "2023-11-14T22:13:20Z");
	assert_int_equal(join_token_expiry(s), 1700000000);
	assert_null(join_token_field(s, "mini-name"));
	json_put_str(json_object_get(s, "data"), "expiration", "Z2FyYmFnZQ==");
	assert_int_equal(join_token_expiry(s), -1);
	json_put_str(json_object_get(s, "data"), "expiration", NULL);
	assert_int_equal(join_token_expiry(s), 0);
}

static void bearers(void **state)
{
	char id[7], secret[17];
	(void)state;
	assert_true(join_token_is_bearer("abcdef.0123456789abcdef", id, secret));
	assert_string_equal(id, "abcdef");
	assert_string_equal(secret, "0123456789abcdef");
	assert_false(join_token_is_bearer("abcdef.0123456789abcdeF", id, secret));
	assert_false(join_token_is_bearer("abcdef-0123456789abcdef", id, secret));
	assert_false(join_token_is_bearer("abcdef.0123456789abcdef0", id, secret));
	assert_false(join_token_is_bearer("", id, secret));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(text_and_back),
	cmocka_unit_test(bad_texts),
	cmocka_unit_test(secret_of_it),
	cmocka_unit_test(bearers),
};
RUN_TESTS(tests)
