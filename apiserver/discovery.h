/* Discovery: what is served, in the plain and the aggregated form. Made from the kinds' tables once, then bytes. */
#ifndef MINI_APISERVER_DISCOVERY_H
#define MINI_APISERVER_DISCOVERY_H

#include "apiserver/request.h"

struct discovery;

/* The answer to a GET of this path, or false when it is none of discovery's. */
bool discovery_answer(struct request *r);
void discovery_free(struct discovery *d);

#endif
