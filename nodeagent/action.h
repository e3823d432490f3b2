/* One action against a container: exec, httpGet, tcpSocket or sleep, as probes and life cycle hooks have them.
 *
 * The spec is made once from the pod's JSON. A running action ends with one callback, or with action_cancel().
 */
#ifndef MINI_NODEAGENT_ACTION_H
#define MINI_NODEAGENT_ACTION_H

#include <jansson.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct nodeagent;
struct action;

enum action_type { ACTION_NONE, ACTION_EXEC, ACTION_HTTP, ACTION_TCP, ACTION_SLEEP, ACTION_GRPC };

struct action_header {
	char *name, *value;
};
struct action_spec {
	enum action_type type;
	char **argv;                   /* EXEC; NULL-terminated */
	char *host, *path;             /* HTTP, TCP: host NULL: the pod's */
	uint16_t port;                 /* 0: the name could not be resolved */
	bool https;                    /* HTTP */
	struct action_header *headers; /* name NULL ends */
	unsigned sleep_s;
};

/* From {exec|httpGet|tcpSocket|sleep|grpc: ...}; cspec resolves named ports. type NONE when there is none of them. */
void action_spec_make(struct action_spec *ret, const json_t *action, const json_t *cspec);
void action_spec_done(struct action_spec *s);

/* ok: it succeeded. Otherwise output says how it failed (at most a few KiB). */
typedef void (*action_cb)(void *arg, bool ok, const char *output);
struct action *action_start(struct nodeagent *n, const struct action_spec *spec, const char *container_id,
			    const char *pod_ip, unsigned timeout_s, action_cb cb, void *arg);
void action_cancel(struct action *a); /* no callback follows; accepts NULL */

#endif
