/* Events live an hour: each is written under a store lease, one lease for the events of five minutes, or for a thousand. */
#ifndef MINI_APISERVER_EVENT_TTL_H
#define MINI_APISERVER_EVENT_TTL_H

#include "apiserver/request.h"

/* Before the commit of r's plan: sets the lease. REQUEST_NEXT, or REQUEST_WAIT when one is being granted (resumes at
 * COMMIT). Other kinds: nothing to do. */
int event_ttl(struct request *r);

#endif
