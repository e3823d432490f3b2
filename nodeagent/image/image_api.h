/* The local node's image commands, as HTTP on a unix socket that only root can open (mode 0600): what minictl speaks to.
 *
 *   GET    /images                                     {"images": [{"id", "tags", "size", "created"}]}
 *   POST   /images/import?path=FILE[&tag=NAME]         lines of {"progress": TEXT}, then {"names": [...]} or {"error": TEXT}
 *   POST   /images/build  {"rootfs", "tag", "entrypoint", "cmd", "env", "workingDir", "user"}   the same lines
 *   DELETE /images?ref=NAME                            {} or {"error"}
 *
 * Paths are of this host, absolute. Work runs on the pool; one import or build at a time, others wait in line.
 */
#ifndef MINI_NODEAGENT_IMAGE_IMAGE_API_H
#define MINI_NODEAGENT_IMAGE_IMAGE_API_H

#include <uv.h>

#include "lib/core/env.h"
#include "nodeagent/image/image.h"

struct image_api;
struct image_api_config {
	struct image_store *store;
	const char *socket_path;
	/* Ids ("sha256:...") of images that containers run from: fresh NULL-terminated array, freed by image_names_free.
	 * NULL: none are known. */
	char **(*in_use)(void *arg);
	void *arg;
};
int image_api_new(struct env *env, uv_loop_t *loop, const struct image_api_config *config, struct image_api **ret,
		  struct err *err);
/* Waits for work under way; then done. Removes the socket. */
void image_api_close(struct image_api *a, void (*done)(void *arg), void *arg);

#endif
