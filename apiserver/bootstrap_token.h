/* The bootstrap token authenticator: "Authorization: Bearer id.secret", where kube-system has a Secret
 * bootstrap-token-<id> that says so and has not expired. The user is system:bootstrap:<id> in system:bootstrappers and
 * in the Secret's extra groups; extra says what the token is for (lib/client/join_token.h). Whoever guesses is slowed
 * down by address. Source: k8s.io/kubernetes/plugin/pkg/auth/authenticator/token/bootstrap. */
#ifndef MINI_APISERVER_BOOTSTRAP_TOKEN_H
#define MINI_APISERVER_BOOTSTRAP_TOKEN_H

#include "apiserver/request.h"

#define BOOTSTRAP_EXTRA_NAME "mini/name"
#define BOOTSTRAP_EXTRA_WISH "mini/wish"

struct token_tries *token_tries_new(void);
void token_tries_free(struct token_tries *t);

bool bootstrap_token_looks_so(const char *bearer);
/* A stage's work: r->user, or r->err: 401; 429 to an address with too many false ones; 503 without a quorum. */
int bootstrap_token_authn(struct request *r, const char *bearer);

/* What such a Secret makes of its bearer; NULL: nothing (false, expired, not for this). For tests. */
struct user *bootstrap_token_user(const json_t *secret, const char *id, const char *given, int64_t now_s);

#endif
