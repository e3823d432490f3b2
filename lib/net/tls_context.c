#include <errno.h>
#include <mbedtls/error.h>

#include "lib/net/pki.h"
#include "lib/net/tls_internal.h"

__thread struct tls_export *tls__export;

/* Preference order: this machine class encrypts ChaCha20-Poly1305 twice as fast as AES-GCM with mbedTLS 2.28. */
static const int suites[] = {
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	0,
};
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
					      MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE};
static const char *protocols[] = {"http/1.1", NULL};

int tls__random(void *arg, unsigned char *buf, size_t len)
{
	(void)arg;
	pki_random(buf, len);
	return 0;
}

void tls__strerror(int rc, char *buf, size_t len)
{
	mbedtls_strerror(rc, buf, len);
}

static int export_keys(void *arg, const unsigned char *master, const unsigned char *block, size_t mac_len,
		       size_t key_len, size_t iv_len)
{
	(void)arg;
	(void)master;
	struct tls_export *e = tls__export;
	size_t n = 2 * (key_len + iv_len);
	if (!e || mac_len || n > sizeof(e->key_block))
		return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
	memcpy(e->key_block, block, n);
	e->key_len = key_len;
	e->iv_len = iv_len;
	return 0;
}

static int fail(struct err *err, int rc, const char *what)
{
	char text[128];
	tls__strerror(rc, text, sizeof(text));
	return err_set(err, -EINVAL, "%s: %s", what, text);
}

static int parse_certs(mbedtls_x509_crt *ret, const char *pem, const char *what, struct err *err)
{
	int rc = mbedtls_x509_crt_parse(ret, (const unsigned char *)pem, strlen(pem) + 1);
	if (rc > 0)
		return err_set(err, -EINVAL, "%s: %d of its certificates cannot be parsed", what, rc);
	return rc ? fail(err, rc, what) : 0;
}

static int parse_key(mbedtls_pk_context *ret, const char *pem, struct err *err)
{
	int rc = mbedtls_pk_parse_key(ret, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0);
	return rc ? fail(err, rc, "private key") : 0;
}

/* mbedTLS keeps a table of multiples of the curve's base point in each key, made on first use without a lock. Using
 * every shared key once, here, leaves the lanes only to read. */
static void warm_up(struct tls_context *c)
{
	uint8_t hash[32] = {1}, sig[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
	size_t n = 0;
	bool can_sign =
		mbedtls_pk_get_type(&c->key) == MBEDTLS_PK_ECKEY &&
		mbedtls_pk_sign(&c->key, MBEDTLS_MD_SHA256, hash, sizeof(hash), sig, &n, tls__random, NULL) == 0;
	if (!can_sign) {
		mbedtls_pk_context own;
		mbedtls_pk_init(&own);
		if (mbedtls_pk_setup(&own, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) ||
		    mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(own), tls__random, NULL) ||
		    mbedtls_pk_sign(&own, MBEDTLS_MD_SHA256, hash, sizeof(hash), sig, &n, tls__random, NULL))
			n = 0;
		mbedtls_pk_free(&own);
	}
	for (mbedtls_x509_crt *ca = &c->ca; n && ca && ca->raw.p; ca = ca->next)
		(void)mbedtls_pk_verify(&ca->pk, MBEDTLS_MD_SHA256, hash, sizeof(hash), sig, n);
}

static struct tls_context *context_new(bool server)
{
	struct tls_context *c = NEW(struct tls_context);
	c->refs = 1;
	c->server = server;
	mbedtls_ssl_config_init(&c->conf);
	mbedtls_x509_crt_init(&c->cert);
	mbedtls_x509_crt_init(&c->ca);
	mbedtls_pk_init(&c->key);
	mbedtls_ssl_ticket_init(&c->ticket);
	return c;
}

static int load(struct tls_context *c, const char *cert_pem, const char *key_pem, const char *ca_pem, struct err *err)
{
	int rc;
	if (cert_pem) {
		if ((rc = parse_certs(&c->cert, cert_pem, "certificate", err)) ||
		    (rc = parse_key(&c->key, key_pem ? key_pem : "", err)))
			return rc;
		if (mbedtls_pk_check_pair(&c->cert.pk, &c->key))
			return err_set(err, -EINVAL, "the private key does not belong to the certificate");
	}
	return ca_pem ? parse_certs(&c->ca, ca_pem, "CA certificate", err) : 0;
}

static int configure(struct tls_context *c, struct err *err)
{
	int rc = mbedtls_ssl_config_defaults(&c->conf, c->server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
					     MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
	if (rc)
		return fail(err, rc, "TLS configuration");
	mbedtls_ssl_conf_min_version(&c->conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_ciphersuites(&c->conf, suites);
	mbedtls_ssl_conf_curves(&c->conf, curves);
	mbedtls_ssl_conf_rng(&c->conf, tls__random, NULL);
	mbedtls_ssl_conf_export_keys_cb(&c->conf, export_keys, NULL);
	if ((rc = mbedtls_ssl_conf_alpn_protocols(&c->conf, protocols)))
		return fail(err, rc, "TLS configuration");
	if (c->cert.raw.p && (rc = mbedtls_ssl_conf_own_cert(&c->conf, &c->cert, &c->key)))
		return fail(err, rc, "certificate");
	mbedtls_ssl_conf_ca_chain(&c->conf, &c->ca, NULL);
	if (c->server) {
		/* A certificate that does not verify is the API's 401, not an alert. Clients are not told which CAs
		 * are known: many then send nothing, and the answer would say "anonymous" instead of what is wrong. */
		mbedtls_ssl_conf_authmode(&c->conf,
					  c->wants_cert ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_NONE);
		mbedtls_ssl_conf_cert_req_ca_list(&c->conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
		if ((rc = mbedtls_ssl_ticket_setup(&c->ticket, tls__random, NULL, MBEDTLS_CIPHER_AES_256_GCM, 3600)))
			return fail(err, rc, "TLS tickets");
		mbedtls_ssl_conf_session_tickets_cb(&c->conf, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
						    &c->ticket);
	} else {
		mbedtls_ssl_conf_authmode(&c->conf,
					  c->insecure ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
	}
	warm_up(c);
	return 0;
}

static void unrefp(struct tls_context **c)
{
	tls_context_unref(*c);
}

int tls_server_context(const char *cert_pem, const char *key_pem, const char *ca_pem, struct tls_context **ret,
		       struct err *err)
{
	_cleanup_(unrefp) struct tls_context *c = context_new(true);
	if (!cert_pem || !key_pem)
		return err_set(err, -EINVAL, "a TLS server needs a certificate and its key");
	c->wants_cert = ca_pem != NULL;
	int rc = load(c, cert_pem, key_pem, ca_pem, err);
	if (rc || (rc = configure(c, err)))
		return rc;
	*ret = STEAL(c);
	return 0;
}

int tls_client_context(const char *ca_pem, const char *cert_pem, const char *key_pem, bool insecure,
		       struct tls_context **ret, struct err *err)
{
	_cleanup_(unrefp) struct tls_context *c = context_new(false);
	if (!ca_pem && !insecure)
		return err_set(err, -EINVAL, "no CA certificate to verify the server with");
	c->insecure = insecure;
	int rc = load(c, cert_pem, key_pem, ca_pem, err);
	if (rc || (rc = configure(c, err)))
		return rc;
	*ret = STEAL(c);
	return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	if (c)
		c->refs++;
	return c;
}

void tls_context_unref(struct tls_context *c)
{
	if (!c || --c->refs)
		return;
	mbedtls_ssl_config_free(&c->conf);
	mbedtls_ssl_ticket_free(&c->ticket);
	mbedtls_x509_crt_free(&c->cert);
	mbedtls_x509_crt_free(&c->ca);
	mbedtls_pk_free(&c->key);
	free(c);
}

bool tls_context_is_server(const struct tls_context *c)
{
	return c->server;
}
