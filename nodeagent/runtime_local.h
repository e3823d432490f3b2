/* The runtime on this host: bundles on disk, minirun for the rest. One implementation of nodeagent/runtime.h.
 *
 *   DIR/run/containers/ID/   minirun's root (lib/core/oci_state.h): state, exit, shim
 *   DIR/containers/ID/       the bundle: config.json, rootfs/ (empty: the overlay is mounted in the container alone),
 *                            upper/, work/, and mini.json: what was asked for (kind, sandbox, ...)
 *
 * Nothing here is remembered: every verb looks at the disk, so that a restarted agent finds its containers, and one that
 * died between two steps repeats them. Blocking work (files, running minirun) is done in the pool; ends of containers
 * come as readable pidfds of their shims, which write exit.json before they go.
 */
#ifndef MINI_NODEAGENT_RUNTIME_LOCAL_H
#define MINI_NODEAGENT_RUNTIME_LOCAL_H

#include <uv.h>

#include "lib/core/journal.h"
#include "nodeagent/image/image.h"
#include "nodeagent/runtime.h"

struct runtime_local_config {
	const char *dir; /* DIR */
	const char *minirun_path, *pause_path;
	struct image_store *images; /* borrowed; used from the pool */
	const char *cgroup_shims;   /* the shims' own control group; NULL: "/mini-shims" */
	struct journal *journal;    /* borrowed; NULL: the shims' group is not journalled */
};
/* Containers found on disk are watched from here on. All strings are copied. */
int runtime_local_new(struct env *env, uv_loop_t *loop, const struct runtime_local_config *config, struct runtime **ret,
		      struct err *err);

/* The images that containers on disk were made from ("sha256:..."), running or not. Fresh, NULL-terminated; caller frees
 * the strings and the array (image_names_free). */
char **runtime_local_images(struct runtime *r);

#endif
