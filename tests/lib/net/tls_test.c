#include "tests/lib/net/harness.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <pthread.h>

#include "lib/net/tls_record.h"

static void who(struct world *w, struct http_request *r)
{
	(void)w;
	const struct http_peer *p = http_peer(r);
	struct buf out = BUF_INIT;
	buf_addf(&out, "tls=%d given=%d verified=%d cn=%s", p->tls, p->cert_given, p->cert_verified, p->common_name);
	for (int i = 0; p->organizations && p->organizations[i]; i++)
		buf_addf(&out, " o=%s", p->organizations[i]);
	if (*p->cert_error)
		buf_addf(&out, " error=%s", p->cert_error);
	http_respond_buf(r, 200, NULL, &out);
}

static void test_peer(void **state)
{
	(void)state;
	struct world *w = world_new(true, NULL, who);
	struct err err = ERR_INIT;
	struct reply p;
	call(w, &p, "GET", "/", NULL);
	assert_string_equal(buf_str(&p.body), "tls=1 given=1 verified=1 cn=system:node:n1 o=system:nodes o=b,c=d");
	buf_done(&p.body);
	/* No certificate. */
	struct tls_context *t;
	assert_int_equal(tls_client_context(w->ca.cert_pem, NULL, NULL, false, &t, &err), 0);
	world_client(w, "127.0.0.1", t, NULL);
	tls_context_unref(t);
	call(w, &p, "GET", "/", NULL);
	assert_string_equal(buf_str(&p.body), "tls=1 given=0 verified=0 cn=");
	buf_done(&p.body);
	/* A stranger's: the handshake goes through, and the server says so. Twice: the second session is resumed. */
	struct pki_pair ca = {0}, stranger = {0};
	int64_t now = env_wall_s(w->env);
	struct pki_request req = {
		.common_name = "admin", .client = true, .not_before_s = now - 10, .not_after_s = now + 60};
	assert_int_equal(pki_make_ca("test-ca", now - 60, now + 3600, &ca, &err), 0);
	assert_int_equal(pki_issue(&ca, &req, &stranger, &err), 0);
	assert_int_equal(tls_client_context(w->ca.cert_pem, stranger.cert_pem, stranger.key_pem, false, &t, &err), 0);
	world_client(w, "127.0.0.1", t, NULL);
	tls_context_unref(t);
	for (int i = 0; i < 2; i++) {
		struct http_header close[] = {{"Connection", "close"}, {NULL, NULL}};
		p = (struct reply){0};
		http_call(w->client, "GET", "/", close, NULL, 0, 0, &reply_ops, &p);
		WAIT(w, p.done);
		assert_int_equal(p.code, 0);
		assert_non_null(strstr(buf_str(&p.body), "given=1 verified=0 cn=admin error=The certificate is not"));
		buf_done(&p.body);
	}
	/* Expired. */
	pki_pair_done(&stranger);
	req.not_after_s = now - 5;
	assert_int_equal(pki_issue(&w->ca, &req, &stranger, &err), 0);
	assert_int_equal(tls_client_context(w->ca.cert_pem, stranger.cert_pem, stranger.key_pem, false, &t, &err), 0);
	world_client(w, "127.0.0.1", t, NULL);
	tls_context_unref(t);
	call(w, &p, "GET", "/", NULL);
	assert_non_null(
		strstr(buf_str(&p.body), "given=1 verified=0 cn=admin error=The certificate validity has expired"));
	buf_done(&p.body);
	pki_pair_done(&stranger);
	pki_pair_done(&ca);
	world_free(w);
}

static void expect_refusal(struct world *w, const char *ca, const char *server_name, const char *why)
{
	struct tls_context *t;
	struct reply p;
	struct err err = ERR_INIT;
	assert_int_equal(tls_client_context(ca, NULL, NULL, ca == NULL, &t, &err), 0);
	world_client(w, "127.0.0.1", t, server_name);
	tls_context_unref(t);
	call(w, &p, "GET", "/", NULL);
	if (why) {
		assert_int_equal(p.code, -EACCES);
		if (!strstr(p.message, why))
			fail_msg("\"%s\" is not in: %s", why, p.message);
	} else {
		assert_int_equal(p.code, 0);
	}
	buf_done(&p.body);
}

static void test_server_verified(void **state)
{
	(void)state;
	struct world *w = world_new(true, NULL, who);
	struct pki_pair other = {0};
	struct err err = ERR_INIT;
	int64_t now = env_wall_s(w->env);
	assert_int_equal(pki_make_ca("other-ca", now - 60, now + 3600, &other, &err), 0);
	expect_refusal(w, w->ca.cert_pem, NULL, NULL);
	expect_refusal(w, w->ca.cert_pem, "localhost", NULL);
	expect_refusal(w, w->ca.cert_pem, "::1", NULL);
	expect_refusal(w, w->ca.cert_pem, "evil.example", "Common Name");
	expect_refusal(w, w->ca.cert_pem, "127.0.0.2", "not valid for the address 127.0.0.2");
	expect_refusal(w, other.cert_pem, NULL, "not correctly signed");
	expect_refusal(w, NULL, "evil.example", NULL); /* insecure was asked for */
	pki_pair_done(&other);
	world_free(w);
}

static void test_rotation(void **state)
{
	(void)state;
	struct world *w = world_new(true, NULL, who);
	struct tls_context *t;
	struct pki_pair leaf = {0};
	struct err err = ERR_INIT;
	struct reply p;
	call(w, &p, "GET", "/", NULL);
	buf_done(&p.body);
	/* From now on a certificate for another address: seen by new connections only. */
	int64_t now = env_wall_s(w->env);
	struct pki_request req = {.common_name = "s",
				  .ips = (const char *const[]){"10.9.9.9", NULL},
				  .server = true,
				  .not_before_s = now - 10,
				  .not_after_s = now + 60};
	assert_int_equal(pki_issue(&w->ca, &req, &leaf, &err), 0);
	assert_int_equal(tls_server_context(leaf.cert_pem, leaf.key_pem, w->ca.cert_pem, &t, &err), 0);
	http_server_set_tls(w->server, t);
	tls_context_unref(t);
	call(w, &p, "GET", "/", NULL);
	assert_int_equal(p.code, 0);
	buf_done(&p.body);
	http_client_set_tls(w->client, w->client_tls); /* drops what is idle */
	call(w, &p, "GET", "/", NULL);
	assert_int_equal(p.code, -EACCES);
	pki_pair_done(&leaf);
	world_free(w);
}

static void test_garbage(void **state)
{
	(void)state;
	struct world *w = world_new(true, &(struct http_limits){.header_s = 1}, who);
	struct buf out = BUF_INIT;
	struct reply p;
	static const char http[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char hello[] = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";
	static const char endless[] = "\x16\x03\x03\x40\x00\x01\x00\x3f\xfc\x03\x03";
	raw_exchange(w, http, sizeof(http) - 1, &out);
	raw_exchange(w, hello, sizeof(hello) - 1, &out);
	raw_exchange(w, endless, sizeof(endless) - 1, &out); /* waits for the rest until header_s */
	int fd = raw_connect(w);
	raw_send(fd, endless, sizeof(endless) - 1);
	close(fd); /* leaves in the middle */
	call(w, &p, "GET", "/", NULL);
	assert_int_equal(p.code, 0);
	assert_int_equal(w->requests, 1);
	buf_done(&p.body);
	buf_done(&out);
	world_free(w);
}

/* A proxy between client and server that damages or cuts what passes once `after` bytes have gone to the client. */
struct middle {
	struct world *w;
	int listen_fd, client, server;
	size_t passed, after;
	bool cut;
	struct env_timer t;
};

static void middle_pass(struct middle *m, int from, int to, bool to_client)
{
	char tmp[4096];
	ssize_t n;
	while (to >= 0 && (n = recv(from, tmp, sizeof(tmp), 0)) > 0) {
		if (to_client && m->passed + (size_t)n > m->after && m->after) {
			size_t at = m->after > m->passed ? m->after - m->passed : 0;
			if (m->cut) {
				(void)!send(to, tmp, at, MSG_NOSIGNAL);
				shutdown(to, SHUT_WR);
				m->passed += (size_t)n;
				m->after = SIZE_MAX;
				shutdown(from, SHUT_RDWR);
				return;
			}
			tmp[at] ^= 1;
			m->after = SIZE_MAX;
		}
		if (to_client)
			m->passed += (size_t)n;
		(void)!send(to, tmp, (size_t)n, MSG_NOSIGNAL);
	}
}

static void middle_fire(struct env_timer *t)
{
	struct middle *m = CONTAINER_OF(t, struct middle, t);
	if (m->client < 0 && (m->client = accept4(m->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		m->server = raw_connect(m->w);
	if (m->client >= 0) {
		middle_pass(m, m->client, m->server, false);
		middle_pass(m, m->server, m->client, true);
	}
	env_timer_start(m->w->env, t, 1000);
}

static void through(struct middle *m, size_t after, bool cut, struct reply *p)
{
	struct world *w = m->w;
	m->client = m->server = -1;
	m->passed = 0;
	m->after = after;
	m->cut = cut;
	*p = (struct reply){0};
	http_call(w->client, "GET", "/", NULL, NULL, 0, 3000, &reply_ops, p);
	WAIT(w, p->done);
	close(m->client);
	close(m->server);
}

static void endless(struct world *w, struct http_request *r)
{
	(void)w;
	http_respond_start(r, 200, NULL);
	http_write(r, "0123456789", 10);
	http_end(r);
}

static void test_tampered(void **state)
{
	(void)state;
	struct world *w = world_new(true, NULL, endless);
	struct middle m = {.w = w, .t = {.fn = middle_fire}};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	struct reply p;
	m.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(m.listen_fd, (struct sockaddr *)&a, n), 0);
	listen(m.listen_fd, 8);
	getsockname(m.listen_fd, (struct sockaddr *)&a, &n);
	/* No session, so that every try is a whole handshake of the same length. */
	struct http_client_config cc = {
		.host = "127.0.0.1", .port = ntohs(a.sin_port), .tls = w->client_tls, .connect_timeout_ms = 3000};
	env_timer_start(w->env, &m.t, 1000);
	http_client_free(w->client);
	w->client = http_client_new(w->env, &w->loop, &cc);
	through(&m, 0, false, &p);
	assert_int_equal(p.code, 0);
	size_t total = m.passed;
	buf_done(&p.body);
	/* One bit anywhere, or an end anywhere: never a complete answer. */
	for (size_t at = 1; at < total; at += 61)
		for (int cut = 0; cut < 2; cut++) {
			http_client_free(w->client);
			w->client = http_client_new(w->env, &w->loop, &cc);
			through(&m, at, cut, &p);
			assert_int_not_equal(p.code, 0);
			buf_done(&p.body);
		}
	env_timer_stop(w->env, &m.t);
	close(m.listen_fd);
	world_free(w);
}

/* A server not of ours: one connection, an answer of unstated length, and an end with or without a word. */
struct other_server {
	int listen_fd;
	const struct pki_pair *pair;
	bool says_goodbye;
};

static void other_talk(struct other_server *o, mbedtls_ssl_context *ssl)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nnot all of it";
	uint8_t in[4096];
	while (mbedtls_ssl_handshake(ssl) == MBEDTLS_ERR_SSL_WANT_READ)
		;
	(void)mbedtls_ssl_read(ssl, in, sizeof(in));
	(void)mbedtls_ssl_write(ssl, (const uint8_t *)text, sizeof(text) - 1);
	if (o->says_goodbye)
		(void)mbedtls_ssl_close_notify(ssl);
}

static void *other_run(void *arg)
{
	struct other_server *o = arg;
	mbedtls_net_context net = {.fd = accept(o->listen_fd, NULL, NULL)};
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
	mbedtls_x509_crt crt;
	mbedtls_pk_context key;
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random);
	mbedtls_ssl_config_init(&config);
	mbedtls_ssl_init(&ssl);
	mbedtls_x509_crt_init(&crt);
	mbedtls_pk_init(&key);
	mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
	mbedtls_x509_crt_parse(&crt, (const uint8_t *)o->pair->cert_pem, strlen(o->pair->cert_pem) + 1);
	mbedtls_pk_parse_key(&key, (const uint8_t *)o->pair->key_pem, strlen(o->pair->key_pem) + 1, NULL, 0);
	mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
				    MBEDTLS_SSL_PRESET_DEFAULT);
	mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
	mbedtls_ssl_conf_own_cert(&config, &crt, &key);
	mbedtls_ssl_setup(&ssl, &config);
	mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, NULL);
	other_talk(o, &ssl);
	shutdown(net.fd, SHUT_WR);
	mbedtls_ssl_free(&ssl);
	mbedtls_ssl_config_free(&config);
	mbedtls_x509_crt_free(&crt);
	mbedtls_pk_free(&key);
	mbedtls_ctr_drbg_free(&random);
	mbedtls_entropy_free(&entropy);
	close(net.fd);
	return NULL;
}

/* Where only the end of the connection says how long a body is, anybody on the way could cut it: the end must be said
 * inside TLS. */
static void test_unsaid_end(void **state)
{
	(void)state;
	struct world *w = world_new(true, NULL, who);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	struct other_server o = {.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .pair = &w->server_pair};
	assert_int_equal(bind(o.listen_fd, (struct sockaddr *)&a, n), 0);
	listen(o.listen_fd, 8);
	getsockname(o.listen_fd, (struct sockaddr *)&a, &n);
	struct http_client_config cc = {
		.host = "127.0.0.1", .port = ntohs(a.sin_port), .tls = w->client_tls, .connect_timeout_ms = 3000};
	for (int goodbye = 0; goodbye < 2; goodbye++) {
		pthread_t thread;
		struct reply p;
		o.says_goodbye = goodbye;
		assert_int_equal(pthread_create(&thread, NULL, other_run, &o), 0);
		http_client_free(w->client);
		w->client = http_client_new(w->env, &w->loop, &cc);
		call(w, &p, "GET", "/", NULL);
		assert_int_equal(p.status, 200);
		assert_int_equal(p.code, goodbye ? 0 : -ECONNRESET);
		assert_string_equal(buf_str(&p.body), "not all of it");
		if (!goodbye)
			assert_non_null(strstr(p.message, "in the middle of its answer"));
		buf_done(&p.body);
		pthread_join(thread, NULL);
	}
	close(o.listen_fd);
	world_free(w);
}

static void record_pair(size_t key_len, size_t iv_len, struct tls_record **a, struct tls_record **b)
{
	uint8_t k[4][32];
	pki_random(k, sizeof(k));
	*a = tls_record_new(k[0], k[1], key_len, k[2], k[3], iv_len);
	*b = tls_record_new(k[1], k[0], key_len, k[3], k[2], iv_len);
	assert_non_null(*a);
	assert_non_null(*b);
}

static void test_records(void **state)
{
	(void)state;
	static const size_t suites[3][2] = {{32, 12}, {16, 4}, {32, 4}};
	static uint8_t plain[TLS_PLAIN_MAX], out[TLS_PLAIN_MAX + TLS_OVERHEAD_MAX], copy[sizeof(out)];
	for (int s = 0; s < 3; s++) {
		struct tls_record *a, *b;
		enum tls_content type;
		uint8_t *got;
		size_t len;
		record_pair(suites[s][0], suites[s][1], &a, &b);
		for (size_t n = 0; n <= sizeof(plain); n = n * 3 + 1) {
			pki_random(plain, n);
			size_t sealed = tls_record_seal(a, TLS_DATA, plain, n, out);
			assert_int_equal(tls_record_length(out, sealed), sealed);
			memcpy(copy, out, sealed);
			/* Damaged: refused, and the sequence does not move. */
			copy[sealed - 1 - n / 2] ^= 0x10;
			assert_int_equal(tls_record_open(b, copy, sealed, &type, &got, &len), -EPROTO);
			assert_int_equal(tls_record_open(b, out, sealed, &type, &got, &len), 0);
			assert_int_equal(type, TLS_DATA);
			assert_int_equal(len, n);
			assert_memory_equal(got, plain, n);
		}
		/* Replayed or reordered: refused. */
		size_t first = tls_record_seal(a, TLS_DATA, "one", 3, out);
		size_t second = tls_record_seal(a, TLS_DATA, "two", 3, copy);
		assert_int_equal(tls_record_open(b, copy, second, &type, &got, &len), -EPROTO);
		assert_int_equal(tls_record_open(b, out, first, &type, &got, &len), 0);
		assert_int_equal(tls_record_open(b, out, first, &type, &got, &len), -EPROTO);
		tls_record_free(a);
		tls_record_free(b);
	}
	assert_null(tls_record_new(plain, plain, 16, plain, plain, 12));
	assert_int_equal(tls_record_length((const uint8_t *)"GET /", 5), -EPROTO);
	assert_int_equal(tls_record_length((const uint8_t *)"\x17\x03\x03\xff\xff", 5), -EPROTO);
	assert_int_equal(tls_record_length((const uint8_t *)"\x17\x03\x03\xff", 4), 0);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_records),         cmocka_unit_test(test_peer),
					   cmocka_unit_test(test_server_verified), cmocka_unit_test(test_rotation),
					   cmocka_unit_test(test_garbage),         cmocka_unit_test(test_tampered),
					   cmocka_unit_test(test_unsaid_end)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
