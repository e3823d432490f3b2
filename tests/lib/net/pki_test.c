#include "tests/lib/net/harness.h"

#include <time.h>

static void make_ca(struct pki_pair *ca)
{
	struct err err = ERR_INIT;
	assert_int_equal(pki_make_ca("a-ca", time(NULL) - 60, time(NULL) + 3600, ca, &err), 0);
}

static void test_issue(void **state)
{
	(void)state;
	struct pki_pair ca = {0}, leaf = {0};
	struct pki_cert_info info;
	struct err err = ERR_INIT;
	make_ca(&ca);
	assert_int_equal(pki_cert_info(ca.cert_pem, &info, &err), 0);
	assert_true(info.is_ca);
	assert_string_equal(info.common_name, "a-ca");
	pki_cert_info_done(&info);
	struct pki_request req = {.common_name = "system:node:a, O=evil",
				  .organizations = (const char *const[]){"system:nodes", "x\\y,z", NULL},
				  .dns_names = (const char *const[]){"a.b", "*.c", NULL},
				  .ips = (const char *const[]){"10.0.0.1", "fd00::1", NULL},
				  .server = true,
				  .client = true,
				  .not_before_s = 1700000000,
				  .not_after_s = 4102444800 /* 2100: GeneralizedTime */};
	assert_int_equal(pki_issue(&ca, &req, &leaf, &err), 0);
	assert_int_equal(pki_cert_info(leaf.cert_pem, &info, &err), 0);
	assert_false(info.is_ca);
	assert_string_equal(info.common_name, req.common_name);
	assert_int_equal(info.n_organizations, 2);
	assert_string_equal(info.organizations[0], "system:nodes");
	assert_string_equal(info.organizations[1], "x\\y,z");
	assert_int_equal(info.n_names, 4);
	assert_string_equal(info.names[1], "*.c");
	assert_string_equal(info.names[2], "10.0.0.1");
	assert_string_equal(info.names[3], "fd00::1");
	assert_int_equal(info.not_before_s, 1700000000);
	assert_int_equal(info.not_after_s, 4102444800);
	pki_cert_info_done(&info);
	pki_pair_done(&leaf);
	req.ips = (const char *const[]){"10.0.0.300", NULL};
	assert_int_equal(pki_issue(&ca, &req, &leaf, &err), -EINVAL);
	assert_null(leaf.cert_pem);
	pki_pair_done(&ca);
}

static void test_csr(void **state)
{
	(void)state;
	struct pki_pair ca = {0};
	struct pki_cert_info info;
	struct err err = ERR_INIT;
	char *key = NULL, *csr = NULL, *cert = NULL;
	make_ca(&ca);
	assert_int_equal(pki_make_key(&key, &err), 0);
	struct pki_request asked = {.common_name = "me", .dns_names = (const char *const[]){"q", NULL}};
	struct pki_request granted = {
		.common_name = "you", .client = true, .not_before_s = time(NULL) - 60, .not_after_s = time(NULL) + 60};
	assert_int_equal(pki_make_csr(key, &asked, &csr, &err), 0);
	assert_int_equal(pki_sign_csr(&ca, csr, &granted, &cert, &err), 0);
	assert_int_equal(pki_cert_info(cert, &info, &err), 0);
	assert_string_equal(info.common_name, "you");
	assert_int_equal(info.n_names, 0);
	pki_cert_info_done(&info);
	/* The certificate is for the key that asked. */
	struct tls_context *t = NULL;
	assert_int_equal(tls_server_context(cert, key, NULL, &t, &err), 0);
	tls_context_unref(t);
	free(cert);
	/* A request whose signature was tampered with: the last bytes of its base64 are the signature's. */
	char *end = strstr(csr, "\n-----END");
	char *at = end - 12;
	*at = *at == 'A' ? 'B' : 'A';
	cert = NULL;
	assert_int_not_equal(pki_sign_csr(&ca, csr, &granted, &cert, &err), 0);
	assert_null(cert);
	assert_int_not_equal(pki_sign_csr(&ca, "nonsense", &granted, &cert, &err), 0);
	free(csr);
	free(key);
	pki_pair_done(&ca);
}

static void test_contexts_refuse(void **state)
{
	(void)state;
	struct pki_pair a = {0}, b = {0};
	struct tls_context *t = NULL;
	struct err err = ERR_INIT;
	make_ca(&a);
	make_ca(&b);
	assert_int_equal(tls_server_context(a.cert_pem, b.key_pem, NULL, &t, &err), -EINVAL);
	assert_non_null(strstr(err.message, "does not belong"));
	assert_int_equal(tls_server_context("x", "y", NULL, &t, &err), -EINVAL);
	assert_int_equal(tls_client_context(NULL, NULL, NULL, false, &t, &err), -EINVAL);
	assert_null(t);
	struct pki_pair mixed = {a.cert_pem, b.key_pem}, out = {0};
	struct pki_request req = {.common_name = "x", .not_after_s = 4102444800};
	assert_int_equal(pki_issue(&mixed, &req, &out, &err), -EINVAL);
	pki_pair_done(&a);
	pki_pair_done(&b);
}

static void test_jwt(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char *key = NULL, *other = NULL, *token = NULL, *claims = NULL;
	const char *text = "{\"sub\":\"system:serviceaccount:a:b\"}";
	assert_int_equal(pki_make_key(&key, &err), 0);
	assert_int_equal(pki_make_key(&other, &err), 0);
	assert_int_equal(jwt_sign(key, text, &token, &err), 0);
	assert_int_equal(jwt_verify(key, token, &claims, &err), 0);
	assert_string_equal(claims, text);
	free(claims);
	claims = NULL;
	assert_int_equal(jwt_verify(other, token, &claims, &err), -EACCES);
	/* Every single character matters, the last one's unused bits included. */
	size_t last = strlen(token) - 1;
	for (size_t i = 0; i <= last; i = i < last && i + 9 > last ? last : i + 9) {
		char old = token[i];
		token[i] = old == 'A' ? 'g' : 'A';
		assert_int_not_equal(jwt_verify(key, token, &claims, &err), 0);
		token[i] = old;
	}
	static const char *const bad[] = {"",
					  ".",
					  "..",
					  "a.b",
					  "a.b.c.d",
					  "e30.e30.",
					  "eyJhbGciOiJub25lIn0.e30.",
					  "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_not_equal(jwt_verify(key, bad[i], &claims, &err), 0);
	assert_null(claims);
	free(token);
	free(key);
	free(other);
}

/* RFC 7515, A.3: someone else's token under a published key. */
static void test_jwt_vector(void **state)
{
	(void)state;
	static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
				  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
				  "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
				  "-----END PUBLIC KEY-----\n";
	static const char token[] =
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cn"
		"VlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
	char *claims = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(jwt_verify(pem, token, &claims, &err), 0);
	assert_non_null(strstr(claims, "joe"));
	free(claims);
}

/* One key, three places to find it: the same hash. Another key: another. */
static void test_key_hash(void **state)
{
	(void)state;
	struct pki_pair ca = {0}, other = {0};
	struct pki_request req = {.common_name = "x"};
	uint8_t of_cert[32], of_key[32], of_csr[32], of_other[32];
	char *csr = NULL;
	make_ca(&ca);
	make_ca(&other);
	assert_int_equal(pki_cert_key_hash(ca.cert_pem, of_cert, NULL), 0);
	assert_int_equal(pki_key_hash(ca.key_pem, of_key, NULL), 0);
	assert_int_equal(pki_make_csr(ca.key_pem, &req, &csr, NULL), 0);
	assert_int_equal(pki_csr_key_hash(csr, of_csr, NULL), 0);
	assert_memory_equal(of_cert, of_key, 32);
	assert_memory_equal(of_cert, of_csr, 32);
	assert_int_equal(pki_cert_key_hash(other.cert_pem, of_other, NULL), 0);
	assert_memory_not_equal(of_cert, of_other, 32);
	assert_int_equal(pki_cert_key_hash("nonsense", of_other, NULL), -EINVAL);
	/* a CA that is pinned brings no other with it */
	char *both = xasprintf("%s%s", ca.cert_pem, other.cert_pem);
	assert_int_equal(pki_cert_key_hash(both, of_other, NULL), -EINVAL);
	free(both);
	assert_int_equal(pki_key_hash(ca.cert_pem, of_other, NULL), -EINVAL);
	assert_int_equal(pki_csr_key_hash(ca.cert_pem, of_other, NULL), -EINVAL);
	free(csr);
	pki_pair_done(&ca);
	pki_pair_done(&other);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_issue),    cmocka_unit_test(test_csr),
					   cmocka_unit_test(test_key_hash), cmocka_unit_test(test_contexts_refuse),
					   cmocka_unit_test(test_jwt),      cmocka_unit_test(test_jwt_vector)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
