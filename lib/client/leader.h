/* Leader election over a Lease in kube-system: one holder at a time runs a set of reconcilers.
 *
 * The Lease is held under the server's stable name, so a restart takes its own Lease back at once. Renewed every 2 s;
 * lost when it could not be renewed for 10 s; another's is taken once it has not changed for 15 s by our own clock (so
 * clocks need not agree). Source: k8s.io/client-go/tools/leaderelection.
 */
#ifndef MINI_CLIENT_LEADER_H
#define MINI_CLIENT_LEADER_H

#include "lib/client/client.h"

struct leader;
struct leader_config {
	const char *lease;          /* name in kube-system */
	const char *identity;       /* stable name of this server */
	void (*started)(void *arg); /* we hold it */
	void (*stopped)(void *arg); /* we no longer do: stop in place; started may come again */
	void *arg;
};
struct leader *leader_new(struct client *client, const struct leader_config *config);
void leader_start(struct leader *l);
bool leader_holds(const struct leader *l);
/* No callbacks follow. The Lease is left as it is: whoever holds the same name has it at once. */
void leader_free(struct leader *l);

#endif
