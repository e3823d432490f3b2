/* The API server's metrics, with upstream's names. */
#ifndef MINI_APISERVER_STATS_H
#define MINI_APISERVER_STATS_H

#include "apiserver/request.h"

void stats_init(struct apiserver *a);
void stats_fini(struct apiserver *a);
void stats_request_done(struct request *r);

#endif
