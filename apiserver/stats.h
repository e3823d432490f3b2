/* The API server's metrics, with upstream's names. */
#ifndef MINI_APISERVER_STATS_H
#define MINI_APISERVER_STATS_H

#include "apiserver/request.h"

void stats_init(struct apiserver *a);
void stats_fini(struct apiserver *a);
void stats_request_done(struct request *r);
/* The store's figures, to be rendered from now on (store_stats.c). */
void store_stats(struct apiserver *a, const struct store_status *st);

#endif
