#include "lib/net/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/x509_csr.h>
#include <sys/random.h>
#include <time.h>

#include "lib/net/pki_internal.h"
#include "lib/net/tls_internal.h"

enum { PEM_SIZE = 96 * 1024 };

void pki_random(void *buf, size_t len)
{
	for (char *p = buf; len;) {
		ssize_t n = getrandom(p, MIN(len, 256), 0);
		MUST(n > 0 || errno == EINTR);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

int pki__rng(void *arg, unsigned char *buf, size_t len)
{
	(void)arg;
	pki_random(buf, len);
	return 0;
}

int pki__fail(struct err *err, int rc, const char *what)
{
	char text[128];
	mbedtls_strerror(rc, text, sizeof(text));
	return err_set(err, -EINVAL, "%s: %s", what, text);
}

void pki_pair_done(struct pki_pair *p)
{
	if (!p)
		return;
	free(STEAL(p->cert_pem));
	if (p->key_pem)
		explicit_bzero(p->key_pem, strlen(p->key_pem));
	free(STEAL(p->key_pem));
}

/* ---- keys ---- */

int pki__parse_key(mbedtls_pk_context *ret, const char *pem, struct err *err)
{
	int rc = mbedtls_pk_parse_key(ret, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0);
	return rc ? pki__fail(err, rc, "private key") : 0;
}

int pki__generate(mbedtls_pk_context *ret, struct err *err)
{
	int rc = mbedtls_pk_setup(ret, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
	if (rc == 0)
		rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*ret), pki__rng, NULL);
	return rc ? pki__fail(err, rc, "making a key") : 0;
}

int pki__key_pem(mbedtls_pk_context *key, char **ret_pem, struct err *err)
{
	unsigned char pem[4096];
	int rc = mbedtls_pk_write_key_pem(key, pem, sizeof(pem));
	if (rc)
		return pki__fail(err, rc, "writing a key");
	*ret_pem = xstrdup((char *)pem);
	explicit_bzero(pem, sizeof(pem));
	return 0;
}

#define _cleanup_pk_  _cleanup_(mbedtls_pk_free)
#define _cleanup_crt_ _cleanup_(mbedtls_x509_crt_free)
#define _cleanup_csr_ _cleanup_(mbedtls_x509_csr_free)

int pki_make_key(char **ret_pem, struct err *err)
{
	_cleanup_pk_ mbedtls_pk_context key;
	mbedtls_pk_init(&key);
	int rc = pki__generate(&key, err);
	return rc ? rc : pki__key_pem(&key, ret_pem, err);
}

/* ---- certificates ---- */

struct issue {
	mbedtls_pk_context *subject_key, *issuer_key;
	const mbedtls_x509_crt *issuer; /* NULL: self-signed */
	const struct pki_request *req;
	bool ca;
};

static void x509_time(int64_t t, char buf[16])
{
	struct tm tm;
	time_t tt = t;
	gmtime_r(&tt, &tm);
	if (strftime(buf, 16, "%Y%m%d%H%M%S", &tm) != 14)
		memcpy(buf, "99991231235959", 15); /* RFC 5280: no end worth naming */
}

/* 128 bits of randomness, positive and of full length. */
static int set_serial(mbedtls_x509write_cert *w)
{
	uint8_t bytes[16];
	mbedtls_mpi serial;
	mbedtls_mpi_init(&serial);
	pki_random(bytes, sizeof(bytes));
	bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
	int rc = mbedtls_mpi_read_binary(&serial, bytes, sizeof(bytes));
	if (rc == 0)
		rc = mbedtls_x509write_crt_set_serial(w, &serial);
	mbedtls_mpi_free(&serial);
	return rc;
}

static int add_extensions(mbedtls_x509write_cert *w, const struct issue *in, struct err *err)
{
	_cleanup_buf_ struct buf san = BUF_INIT, eku = BUF_INIT;
	int rc = pki__san(in->req, &san, err);
	if (rc)
		return rc;
	pki__ext_key_usage(in->req, &eku);
	unsigned usage = MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
	usage |= in->ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN | MBEDTLS_X509_KU_KEY_ENCIPHERMENT
			: MBEDTLS_X509_KU_KEY_ENCIPHERMENT;
	/* By hand, because RFC 5280 (4.2.1.9) wants a CA's to be critical. */
	static const unsigned char is_ca[] = {0x30, 3, 1, 1, 0xff}, is_leaf[] = {0x30, 0};
	if ((rc = mbedtls_x509write_crt_set_extension(
		     w, MBEDTLS_OID_BASIC_CONSTRAINTS, MBEDTLS_OID_SIZE(MBEDTLS_OID_BASIC_CONSTRAINTS), 1,
		     in->ca ? is_ca : is_leaf, in->ca ? sizeof(is_ca) : sizeof(is_leaf))) ||
	    (rc = mbedtls_x509write_crt_set_key_usage(w, usage)) ||
	    (in->ca && (rc = mbedtls_x509write_crt_set_subject_key_identifier(w))) ||
	    (rc = mbedtls_x509write_crt_set_authority_key_identifier(w)))
		return pki__fail(err, rc, "certificate extensions");
	/* RFC 5280, 4.2.1.6: critical when the subject is empty. */
	if (san.len && (rc = mbedtls_x509write_crt_set_extension(
				w, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME),
				w->subject == NULL, (unsigned char *)san.data, san.len)))
		return pki__fail(err, rc, "certificate names");
	if (eku.len && (rc = mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_EXTENDED_KEY_USAGE,
								 MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
								 (unsigned char *)eku.data, eku.len)))
		return pki__fail(err, rc, "certificate uses");
	return 0;
}

static int write_cert(mbedtls_x509write_cert *w, const struct issue *in, char **ret_pem, struct err *err)
{
	char from[16], to[16];
	_cleanup_free_ unsigned char *pem = xmalloc(PEM_SIZE);
	if (str_empty(in->req->common_name) || strlen(in->req->common_name) > 255)
		return err_set(err, -EINVAL, "a certificate needs a common name of 1 to 255 bytes");
	x509_time(in->req->not_before_s, from);
	x509_time(in->req->not_after_s, to);
	mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(w, in->subject_key);
	mbedtls_x509write_crt_set_issuer_key(w, in->issuer_key);
	w->subject = pki__subject(in->req->common_name, in->req->organizations);
	w->issuer = in->issuer ? pki__copy_name(&in->issuer->subject)
			       : pki__subject(in->req->common_name, in->req->organizations);
	int rc = set_serial(w);
	if (rc || (rc = mbedtls_x509write_crt_set_validity(w, from, to)))
		return pki__fail(err, rc, "certificate");
	if ((rc = add_extensions(w, in, err)))
		return rc;
	if ((rc = mbedtls_x509write_crt_pem(w, pem, PEM_SIZE, pki__rng, NULL)))
		return pki__fail(err, rc, "signing a certificate");
	*ret_pem = xstrdup((char *)pem);
	return 0;
}

static int issue(const struct issue *in, char **ret_pem, struct err *err)
{
	mbedtls_x509write_cert w;
	mbedtls_x509write_crt_init(&w);
	int rc = write_cert(&w, in, ret_pem, err);
	mbedtls_x509write_crt_free(&w);
	return rc;
}

int pki_make_ca(const char *common_name, int64_t not_before_s, int64_t not_after_s, struct pki_pair *ret,
		struct err *err)
{
	_cleanup_pk_ mbedtls_pk_context key;
	_cleanup_(pki_pair_done) struct pki_pair pair = {0};
	mbedtls_pk_init(&key);
	int rc = pki__generate(&key, err);
	if (rc)
		return rc;
	struct pki_request req = {.common_name = common_name, .not_before_s = not_before_s, .not_after_s = not_after_s};
	struct issue in = {.subject_key = &key, .issuer_key = &key, .req = &req, .ca = true};
	if ((rc = issue(&in, &pair.cert_pem, err)) || (rc = pki__key_pem(&key, &pair.key_pem, err)))
		return rc;
	*ret = pair;
	pair = (struct pki_pair){0};
	return 0;
}

static int parse_cert(mbedtls_x509_crt *ret, const char *pem, struct err *err)
{
	int rc = mbedtls_x509_crt_parse(ret, (const unsigned char *)pem, strlen(pem) + 1);
	if (rc > 0)
		return err_set(err, -EINVAL, "certificate: %d in this file cannot be parsed", rc);
	return rc ? pki__fail(err, rc, "certificate") : 0;
}

static int issue_by(const struct pki_pair *ca, const struct pki_request *req, mbedtls_pk_context *subject_key,
		    char **ret_pem, struct err *err)
{
	_cleanup_pk_ mbedtls_pk_context ca_key;
	_cleanup_crt_ mbedtls_x509_crt ca_cert;
	mbedtls_pk_init(&ca_key);
	mbedtls_x509_crt_init(&ca_cert);
	int rc = parse_cert(&ca_cert, ca->cert_pem, err);
	if (rc || (rc = pki__parse_key(&ca_key, ca->key_pem, err)))
		return rc;
	if (mbedtls_pk_check_pair(&ca_cert.pk, &ca_key))
		return err_set(err, -EINVAL, "the CA's key does not belong to its certificate");
	struct issue in = {.subject_key = subject_key, .issuer_key = &ca_key, .issuer = &ca_cert, .req = req};
	return issue(&in, ret_pem, err);
}

int pki_issue(const struct pki_pair *ca, const struct pki_request *req, struct pki_pair *ret, struct err *err)
{
	_cleanup_pk_ mbedtls_pk_context key;
	_cleanup_(pki_pair_done) struct pki_pair pair = {0};
	mbedtls_pk_init(&key);
	int rc = pki__generate(&key, err);
	if (rc || (rc = issue_by(ca, req, &key, &pair.cert_pem, err)) || (rc = pki__key_pem(&key, &pair.key_pem, err)))
		return rc;
	*ret = pair;
	pair = (struct pki_pair){0};
	return 0;
}

/* ---- signing requests ---- */

static int write_csr(mbedtls_x509write_csr *w, const char *key_pem, const struct pki_request *req, char **ret_pem,
		     struct err *err)
{
	_cleanup_pk_ mbedtls_pk_context key;
	_cleanup_buf_ struct buf san = BUF_INIT;
	_cleanup_free_ unsigned char *pem = xmalloc(PEM_SIZE);
	mbedtls_pk_init(&key);
	int rc = pki__parse_key(&key, key_pem, err);
	if (rc || (rc = pki__san(req, &san, err)))
		return rc;
	mbedtls_x509write_csr_set_md_alg(w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_csr_set_key(w, &key);
	w->subject = pki__subject(req->common_name, req->organizations);
	if (san.len && (rc = mbedtls_x509write_csr_set_extension(w, MBEDTLS_OID_SUBJECT_ALT_NAME,
								 MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME),
								 (unsigned char *)san.data, san.len)))
		return pki__fail(err, rc, "names of a signing request");
	if ((rc = mbedtls_x509write_csr_pem(w, pem, PEM_SIZE, pki__rng, NULL)))
		return pki__fail(err, rc, "signing request");
	*ret_pem = xstrdup((char *)pem);
	return 0;
}

int pki_make_csr(const char *key_pem, const struct pki_request *req, char **ret_pem, struct err *err)
{
	mbedtls_x509write_csr w;
	mbedtls_x509write_csr_init(&w);
	int rc = write_csr(&w, key_pem, req, ret_pem, err);
	mbedtls_x509write_csr_free(&w);
	return rc;
}

/* mbedTLS parses requests without looking at their signature: whoever asks must hold the key. */
static int check_possession(mbedtls_x509_csr *csr, struct err *err)
{
	uint8_t hash[MBEDTLS_MD_MAX_SIZE];
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(csr->sig_md);
	if (!md || mbedtls_md(md, csr->cri.p, csr->cri.len, hash) ||
	    mbedtls_pk_verify_ext(csr->sig_pk, csr->sig_opts, &csr->pk, csr->sig_md, hash, mbedtls_md_get_size(md),
				  csr->sig.p, csr->sig.len))
		return err_set(err, -EINVAL, "the signing request is not signed by its own key");
	return 0;
}

int pki_sign_csr(const struct pki_pair *ca, const char *csr_pem, const struct pki_request *req, char **ret_cert_pem,
		 struct err *err)
{
	_cleanup_csr_ mbedtls_x509_csr csr;
	mbedtls_x509_csr_init(&csr);
	int rc = mbedtls_x509_csr_parse(&csr, (const unsigned char *)csr_pem, strlen(csr_pem) + 1);
	if (rc)
		return pki__fail(err, rc, "signing request");
	if ((rc = check_possession(&csr, err)))
		return rc;
	return issue_by(ca, req, &csr.pk, ret_cert_pem, err);
}

/* ---- reading ---- */

static void add_name(struct pki_cert_info *info, uint8_t tag, const uint8_t *value, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	if (info->n_names == (int)ARRAY_LEN(info->names))
		return;
	if (tag == 0x82 && !memchr(value, 0, len))
		info->names[info->n_names++] = xstrndup((const char *)value, len);
	else if (tag == 0x87 && (len == 4 || len == 16) &&
		 inet_ntop(len == 4 ? AF_INET : AF_INET6, value, text, sizeof(text)))
		info->names[info->n_names++] = xstrdup(text);
}

int pki_cert_info(const char *cert_pem, struct pki_cert_info *ret, struct err *err)
{
	_cleanup_crt_ mbedtls_x509_crt crt;
	mbedtls_x509_crt_init(&crt);
	int rc = parse_cert(&crt, cert_pem, err);
	if (rc)
		return rc;
	struct pki_cert_info info = {.not_before_s = tls__time(&crt.valid_from),
				     .not_after_s = tls__time(&crt.valid_to),
				     .is_ca = crt.ca_istrue};
	char **organizations;
	tls__subject(&crt, info.common_name, sizeof(info.common_name), &organizations);
	for (char **o = organizations; *o && info.n_organizations < (int)ARRAY_LEN(info.organizations); o++)
		info.organizations[info.n_organizations++] = xstrdup(*o);
	free(organizations);
	const uint8_t *pos = NULL, *end = NULL, *value;
	uint8_t tag;
	size_t len;
	while (tls__san_next(&crt, &pos, &end, &tag, &value, &len))
		add_name(&info, tag, value, len);
	*ret = info;
	return 0;
}

bool pki_due(const struct pki_cert_info *i, int64_t now_s)
{
	return i->not_before_s > now_s || i->not_after_s - now_s <= (i->not_after_s - i->not_before_s) / 3;
}

void pki_cert_info_done(struct pki_cert_info *i)
{
	if (!i)
		return;
	for (int k = 0; k < i->n_organizations; k++)
		free(i->organizations[k]);
	for (int k = 0; k < i->n_names; k++)
		free(i->names[k]);
	*i = (struct pki_cert_info){0};
}
