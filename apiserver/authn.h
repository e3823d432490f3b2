/* Who asks: client certificates, ServiceAccount tokens, impersonation. Bad credentials are 401, none is
 * system:anonymous. Verified tokens are remembered (bounded, by hash); that their ServiceAccount and pod still exist is
 * looked up for every request. */
#ifndef MINI_APISERVER_AUTHN_H
#define MINI_APISERVER_AUTHN_H

#include "apiserver/request.h"

struct authn_cache *authn_cache_new(void);
void authn_cache_free(struct authn_cache *c);

/* Stages. */
int authn_request(struct request *r);
int authn_impersonate(struct request *r);

/* Verify a token as TokenReview does: done(arg, user or NULL, why it failed). audiences may be NULL: the API's own. */
typedef void (*authn_token_cb)(void *arg, struct user *user, const char *why);
void authn_token(struct apiserver *a, const char *token, json_t *audiences, authn_token_cb done, void *arg);

#endif
