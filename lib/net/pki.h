/* Keys, certificates, tokens: the cluster's own CA and what it signs. mbedTLS, P-256 ECDSA. Key generation and signing
 * cost milliseconds: at start-up or on the pool. PEM in and out; keys are written with mode 0600 by their owners. */
#ifndef MINI_NET_PKI_H
#define MINI_NET_PKI_H

#include "lib/core/buf.h"
#include "lib/core/err.h"

struct pki_pair {
	char *cert_pem; /* leaf first */
	char *key_pem;
};
void pki_pair_done(struct pki_pair *p);

struct pki_request {
	const char *common_name;
	const char *const *organizations;  /* NULL-terminated; groups */
	const char *const *dns_names;      /* NULL-terminated or NULL */
	const char *const *ips;            /* NULL-terminated or NULL, v4 or v6 text */
	bool server, client;               /* extended key usage */
	int64_t not_before_s, not_after_s; /* wall clock */
};

/* Fills buf with random bytes from the kernel. */
void pki_random(void *buf, size_t len);

int pki_make_ca(const char *common_name, int64_t not_before_s, int64_t not_after_s, struct pki_pair *ret,
		struct err *err);
int pki_issue(const struct pki_pair *ca, const struct pki_request *req, struct pki_pair *ret, struct err *err);
int pki_make_key(char **ret_pem, struct err *err);
/* PKCS#10: make one for a key; sign one (subject and names taken from `req` of the signer's choice, key from the CSR). */
int pki_make_csr(const char *key_pem, const struct pki_request *req, char **ret_pem, struct err *err);
int pki_sign_csr(const struct pki_pair *ca, const char *csr_pem, const struct pki_request *req, char **ret_cert_pem,
		 struct err *err);

/* SHA-256 of a public key as certificates hold it (SubjectPublicKeyInfo, DER): of a certificate's, of a private key's
 * public half, of a signing request's. What pins a CA (RFC 7469) and names a server. -EINVAL for a PEM of several
 * certificates: one hash would vouch for all of them. */
int pki_cert_key_hash(const char *cert_pem, uint8_t ret[32], struct err *err);
int pki_key_hash(const char *key_pem, uint8_t ret[32], struct err *err);
int pki_csr_key_hash(const char *csr_pem, uint8_t ret[32], struct err *err);

struct pki_cert_info {
	char common_name[256];
	char *organizations[32];
	int n_organizations;
	char *names[64]; /* DNS names and IP texts */
	int n_names;
	int64_t not_before_s, not_after_s;
	bool is_ca;
};
/* Time for a new one: not valid yet, or two thirds of its life are over. */
bool pki_due(const struct pki_cert_info *i, int64_t now_s);
int pki_cert_info(const char *cert_pem, struct pki_cert_info *ret, struct err *err);
void pki_cert_info_done(struct pki_cert_info *i);

/* ES256 JSON web tokens (ServiceAccount tokens). claims is compact JSON text. kid is the key's hash. */
int jwt_sign(const char *key_pem, const char *claims_json, char **ret_token, struct err *err);
/* Checks form (<= 16 KiB), algorithm ES256 and signature against the public part of key_pem; expiry is the caller's. */
int jwt_verify(const char *key_pem, const char *token, char **ret_claims_json, struct err *err);

#endif
