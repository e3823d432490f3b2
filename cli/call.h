/* One request to an API server as a plain call: the loop turns until it is answered. For what minid does before it
 * serves itself: joining, tokens. */
#ifndef MINI_CLI_CALL_H
#define MINI_CLI_CALL_H

#include <uv.h>

#include "lib/api/object.h"
#include "lib/net/http.h"

struct call_to {
	struct env *env;
	uv_loop_t *loop;
	const bool *stop; /* may be NULL: set by a signal, ends the call with -ECANCELED */
	const char *url;  /* https://HOST:PORT; what is behind is ignored */
	const char *ca_pem, *cert_pem, *key_pem, *bearer; /* NULL: without */
	bool insecure;                                    /* nothing is known yet of whoever answers */
	unsigned timeout_ms;                              /* 0: 15 s */
};

/* HOST (without brackets) and port (443 when not said) of a URL. -EINVAL. */
int call_split(const char *url, char ret_host[256], uint16_t *ret_port, struct err *err);
/* body and ret may be NULL. An error is the server's Status (err->reason says which), or has a reason of ERR_NONE:
 * nobody answered. Answers are at most 4 MiB. */
int call(const struct call_to *to, const char *method, const char *path, const json_t *body, json_t **ret,
	 struct err *err);
/* Let the loop turn for so long. -ECANCELED when it was stopped. */
int call_wait(const struct call_to *to, unsigned ms);

#endif
