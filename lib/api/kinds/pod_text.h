/* The words and numbers that tables and describe show for a pod: 1/2, CrashLoopBackOff, 3 (5m ago). Pure. */
#ifndef MINI_API_KINDS_POD_TEXT_H
#define MINI_API_KINDS_POD_TEXT_H

#include "lib/api/json.h"

struct pod_text {
	char status[128];  /* the one word (or Init:0/1) that says best how the pod is */
	char restarts[64]; /* "0", "3 (5m ago)" */
	char ready[32];    /* "1/2" */
	unsigned n_ready, n_containers;
	int64_t n_restarts;
};

/* now_s: for "ago". */
void pod_format_status(const json_t *pod, int64_t now_s, struct pod_text *ret);

#endif
