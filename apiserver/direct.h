/* The direct door: client.h's transport within the process. Callbacks come from the loop, never inside a call; objects
 * are shared, not copied. */
#ifndef MINI_APISERVER_DIRECT_H
#define MINI_APISERVER_DIRECT_H

#include "apiserver/watch.h"

extern const struct watch_sink watch_sink_direct;
/* The server closes: what is under way is answered with an error, later calls too. */
void direct_close_all(struct apiserver *a);

#endif
