/* Join tokens: what lets a new server or node into the cluster. A Secret in kube-system that expires, as upstream's
 * bootstrap tokens are; its text names the CA besides, so that whoever holds it knows the cluster:
 *
 *   abcdef.0123456789abcdef@sha256:9f86...        id . secret @ SHA-256 of the CA's public key info
 *
 * Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens; the hash is kubeadm's
 * discovery-token-ca-cert-hash.
 */
#ifndef MINI_CLIENT_JOIN_TOKEN_H
#define MINI_CLIENT_JOIN_TOKEN_H

#include "lib/api/object.h"
#include "lib/core/err.h"

#define JOIN_TOKEN_NS       "kube-system"
#define JOIN_TOKEN_TYPE     "bootstrap.kubernetes.io/token"
#define JOIN_TOKEN_PREFIX   "bootstrap-token-"
#define JOIN_GROUP_SERVERS  "system:bootstrappers:mini:servers"
#define JOIN_GROUP_AGENTS   "system:bootstrappers:mini:agents"
#define JOIN_TOKEN_TEXT_MAX 128u

struct join_token {
	char id[7], secret[17];
	uint8_t ca[32];
};

/* Fresh id and secret; ca is the hash of ca_pem's key. */
int join_token_make(const char *ca_pem, struct join_token *ret, struct err *err);
void join_token_text(const struct join_token *t, char ret[JOIN_TOKEN_TEXT_MAX]);
/* -EINVAL, and a sentence that shows the form (never the token). */
int join_token_parse(const char *text, struct join_token *ret, struct err *err);
/* "id.secret", as a bearer of it says it: the parts, if it has that form. */
bool join_token_is_bearer(const char *text, char ret_id[7], char ret_secret[17]);

/* What its bearer may become. */
struct join_token_grant {
	const char *role; /* "server" or "agent" */
	const char *name; /* of the server or node: this and no other; NULL: any */
	const char *wish; /* of a server: "voter", "learner" or "witness" and nothing else; NULL: as it asks */
	int64_t expires_s;
};
/* The Secret of it, to be created. New reference. */
json_t *join_token_object(const struct join_token *t, const struct join_token_grant *g);

/* A member of its data, decoded; NULL: there is none, or it is no text. Caller frees. */
char *join_token_field(const json_t *secret, const char *key);
/* The expiration of such a Secret; 0: it has none; -1: it cannot be read (then it counts as expired). */
int64_t join_token_expiry(const json_t *secret);

#endif
