#include <errno.h>
#include <mbedtls/platform_util.h>

#include "lib/net/tls_internal.h"

/* A handshake, step by step:
 *
 *   loop: feed() -> [submitted] -> lane: step() -> loop: on_step() -> feed() ... until result.done
 *
 * Between feed() and on_step() everything but `owner` and `busy` belongs to the lane. */
struct tls_handshake {
	struct env_work work;
	struct env *env;
	struct tls_context *context;
	void (*on_step)(void *arg);
	void *arg;
	bool busy, orphan, setup_done;
	char *server_name;
	mbedtls_ssl_context ssl;
	struct tls_export keys;
	struct buf in, out, session;
	size_t in_pos;
	struct tls_result result;
};

enum { HANDSHAKE_MAX = 128 * 1024 }; /* bytes a stranger may send before the keys are agreed */

void tls_result_done(struct tls_result *r)
{
	tls_record_free(STEAL(r->record));
	free(STEAL(r->organizations));
	buf_done(&r->session);
}

static int bio_recv(void *arg, unsigned char *buf, size_t len)
{
	struct tls_handshake *h = arg;
	size_t n = MIN(len, h->in.len - h->in_pos);
	if (n == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	memcpy(buf, h->in.data + h->in_pos, n);
	h->in_pos += n;
	return (int)n;
}

static int bio_send(void *arg, const unsigned char *buf, size_t len)
{
	struct tls_handshake *h = arg;
	buf_add(&h->out, buf, len);
	return (int)len;
}

static void finish(struct tls_handshake *h, int code, const char *what, const char *detail)
{
	h->result.done = true;
	if (code)
		err_set(&h->result.err, code, "%s%s%s", what, *detail ? ": " : "", detail);
	mbedtls_ssl_free(&h->ssl);
	mbedtls_platform_zeroize(&h->keys, sizeof(h->keys));
}

static int setup(struct tls_handshake *h)
{
	uint8_t ip[16];
	int rc = mbedtls_ssl_setup(&h->ssl, &h->context->conf);
	if (rc)
		return rc;
	mbedtls_ssl_set_bio(&h->ssl, h, bio_send, bio_recv, NULL);
	/* SNI and the check of names are for names; addresses are checked in check_server(). */
	if (h->server_name && !tls__parse_ip(h->server_name, ip) &&
	    (rc = mbedtls_ssl_set_hostname(&h->ssl, h->server_name)))
		return rc;
	if (h->session.len) {
		mbedtls_ssl_session s;
		mbedtls_ssl_session_init(&s);
		if (mbedtls_ssl_session_load(&s, (unsigned char *)h->session.data, h->session.len) == 0)
			(void)mbedtls_ssl_set_session(&h->ssl, &s);
		mbedtls_ssl_session_free(&s);
	}
	return 0;
}

/* "The certificate has expired\n..." in one line. */
static void verify_text(uint32_t flags, char *buf, size_t len)
{
	if (mbedtls_x509_crt_verify_info(buf, len, "", flags) < 0)
		snprintf(buf, len, "flags 0x%x", flags);
	for (char *p = buf; *p; p++)
		if (*p == '\n')
			*p = p[1] ? ' ' : 0;
}

static bool check_server(struct tls_handshake *h, char *why, size_t len)
{
	uint8_t ip[16];
	size_t n = h->server_name ? tls__parse_ip(h->server_name, ip) : 0;
	const mbedtls_x509_crt *cert = mbedtls_ssl_get_peer_cert(&h->ssl);
	if (h->context->insecure || n == 0 || (cert && tls__cert_has_ip(cert, ip, n)))
		return true;
	snprintf(why, len, "the server's certificate is not valid for the address %s", h->server_name);
	return false;
}

static void describe_peer(struct tls_handshake *h)
{
	struct http_peer *peer = &h->result.peer;
	const mbedtls_x509_crt *cert = mbedtls_ssl_get_peer_cert(&h->ssl);
	peer->tls = true;
	if (!cert)
		return;
	tls__peer_from_cert(cert, peer, &h->result.organizations);
	uint32_t flags = mbedtls_ssl_get_verify_result(&h->ssl);
	/* A resumed session brings the result of its first handshake: time goes on. */
	if (mbedtls_x509_time_is_past(&cert->valid_to))
		flags |= MBEDTLS_X509_BADCERT_EXPIRED;
	peer->cert_verified = flags == 0;
	if (flags)
		verify_text(flags, peer->cert_error, sizeof(peer->cert_error));
}

static void save_session(struct tls_handshake *h)
{
	mbedtls_ssl_session s;
	size_t n = 0;
	mbedtls_ssl_session_init(&s);
	if (mbedtls_ssl_get_session(&h->ssl, &s) == 0) {
		(void)mbedtls_ssl_session_save(&s, NULL, 0, &n);
		if (n && n < 16384) {
			buf_reserve(&h->result.session, n);
			if (mbedtls_ssl_session_save(&s, (unsigned char *)h->result.session.data, n, &n) == 0)
				h->result.session.len = n;
		}
	}
	mbedtls_ssl_session_free(&s);
}

static void take_keys(struct tls_handshake *h)
{
	const struct tls_export *k = &h->keys;
	const uint8_t *client_key = k->key_block, *server_key = client_key + k->key_len;
	const uint8_t *client_iv = server_key + k->key_len, *server_iv = client_iv + k->iv_len;
	if (h->context->server)
		h->result.record = tls_record_new(server_key, client_key, k->key_len, server_iv, client_iv, k->iv_len);
	else
		h->result.record = tls_record_new(client_key, server_key, k->key_len, client_iv, server_iv, k->iv_len);
}

static void succeed(struct tls_handshake *h)
{
	char why[256] = "";
	describe_peer(h);
	if (!h->context->server && !check_server(h, why, sizeof(why))) {
		(void)mbedtls_ssl_send_alert_message(&h->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
						     MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
		finish(h, -EACCES, why, "");
		return;
	}
	if (!h->context->server)
		save_session(h);
	take_keys(h);
	finish(h, h->result.record ? 0 : -EPROTO, "TLS", "the agreed cipher is not one of ours");
}

static void step(struct env_work *w)
{
	struct tls_handshake *h = CONTAINER_OF(w, struct tls_handshake, work);
	char text[256];
	int rc = h->setup_done ? 0 : setup(h);
	h->setup_done = true;
	tls__export = &h->keys;
	if (rc == 0)
		rc = mbedtls_ssl_handshake(&h->ssl);
	tls__export = NULL;
	buf_consume(&h->in, h->in_pos);
	h->in_pos = 0;
	if (rc == 0) {
		succeed(h);
	} else if (rc == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
		verify_text(mbedtls_ssl_get_verify_result(&h->ssl), text, sizeof(text));
		finish(h, -EACCES, "the server's certificate does not verify", text);
	} else if (rc != MBEDTLS_ERR_SSL_WANT_READ && rc != MBEDTLS_ERR_SSL_WANT_WRITE) {
		tls__strerror(rc, text, sizeof(text));
		finish(h, -EPROTO, "TLS handshake", text);
	} else if (h->in.len > HANDSHAKE_MAX) {
		finish(h, -EPROTO, "TLS handshake", "too long");
	}
}

static void destroy(struct tls_handshake *h)
{
	mbedtls_ssl_free(&h->ssl);
	mbedtls_platform_zeroize(&h->keys, sizeof(h->keys));
	tls_result_done(&h->result);
	tls_context_unref(h->context);
	buf_done(&h->in);
	buf_done(&h->out);
	buf_done(&h->session);
	free(h->server_name);
	free(h);
}

static void step_done(struct env_work *w)
{
	struct tls_handshake *h = CONTAINER_OF(w, struct tls_handshake, work);
	h->busy = false;
	if (h->orphan)
		destroy(h);
	else
		h->on_step(h->arg);
}

struct tls_handshake *tls_handshake_new(struct env *env, struct tls_context *context, const char *server_name,
					const struct buf *session, void (*on_step)(void *arg), void *arg)
{
	struct tls_handshake *h = NEW(struct tls_handshake);
	h->env = env;
	h->context = tls_context_ref(context);
	h->on_step = on_step;
	h->arg = arg;
	h->server_name = server_name ? xstrdup(server_name) : NULL;
	if (session)
		buf_add(&h->session, session->data, session->len);
	mbedtls_ssl_init(&h->ssl);
	h->work = (struct env_work){.work = step, .done = step_done, .lane = ENV_LANE_POOL};
	return h;
}

void tls_handshake_feed(struct tls_handshake *h, const void *data, size_t len)
{
	MUST(!h->busy && !h->result.done);
	buf_add(&h->in, data, len);
	h->busy = true;
	env_submit(h->env, &h->work);
}

bool tls_handshake_busy(const struct tls_handshake *h)
{
	return h->busy;
}

struct buf *tls_handshake_out(struct tls_handshake *h)
{
	return &h->out;
}

struct buf *tls_handshake_leftover(struct tls_handshake *h)
{
	return &h->in;
}

struct tls_result *tls_handshake_result(struct tls_handshake *h)
{
	return &h->result;
}

void tls_handshake_free(struct tls_handshake *h)
{
	if (!h)
		return;
	if (h->busy)
		h->orphan = true;
	else
		destroy(h);
}
