/* The container's root: attached in its own mount namespace, filled, and entered with pivot_root.
 *
 * Either root.path is the tree itself, or (annotations) an overlay is put together there from layers:
 *   dev.mini.overlay.lower  layers, top first, separated by ':' (with '\' before ':' and '\' in a name)
 *   dev.mini.overlay.upper, dev.mini.overlay.work   the writable layer; both or neither
 * The overlay exists in this namespace alone, so it goes when the container does and the host's mount table never
 * knows it.
 */
#ifndef MINI_RUNTIME_ROOTFS_H
#define MINI_RUNTIME_ROOTFS_H

#include "lib/core/cgroup.h"
#include "runtime/spec.h"

#define ROOTFS_LOWER "dev.mini.overlay.lower"
#define ROOTFS_UPPER "dev.mini.overlay.upper"
#define ROOTFS_WORK  "dev.mini.overlay.work"

/* In the new mount namespace: root attached at s->rootfs; *ret_fd is its directory. */
int rootfs_attach(const struct spec *s, int *ret_fd, struct err *err);
/* Device nodes and links in /dev. */
int rootfs_devices(const struct spec *s, int root_fd, struct err *err);
/* pivot_root, the old root unmounted, read-only when asked for. */
int rootfs_enter(const struct spec *s, int root_fd, struct err *err);

#endif
