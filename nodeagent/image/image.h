/* Images: a content-addressed store of OCI blobs, import of docker-archive and OCI layouts, and layers unpacked once.
 *
 *   DIR/images/blobs/sha256/<hex>      config, manifests (compressed layers are not kept once unpacked)
 *   DIR/images/layers/<diff-id hex>/fs one unpacked layer each, shared by all images that have it (overlayfs lowerdir)
 *   DIR/images/images.json             references -> manifest digest, config digest, size
 *   DIR/images/tmp/                    work under way; emptied at open
 *
 * Every digest is verified (blob and diff id). Unpacking never leaves its directory: no "..", every path is resolved
 * inside it by the kernel; whiteouts become overlayfs whiteouts; xattrs
 * "user.*" and security.capability are kept, trusted.overlay.* are refused. Sizes are bounded (layer 8 GiB unpacked, 128 layers, JSON 4 MiB).
 * Blocking functions, for the pool or minictl-less tools. Sources: OCI image-spec v1.1, docker image spec v1.2.
 */
#ifndef MINI_NODEAGENT_IMAGE_IMAGE_H
#define MINI_NODEAGENT_IMAGE_IMAGE_H

#include <jansson.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct image_store;

struct image_info {
	char id[80];         /* sha256:<hex> of the config */
	char **tags;         /* normalized: docker.io/library/x:latest; NULL-terminated */
	uint64_t size_bytes; /* unpacked layers + config */
	int64_t created_s;
	char *config;  /* the image config JSON */
	char **layers; /* lowerdirs, bottom first; NULL-terminated */
};
void image_info_done(struct image_info *i);

int image_store_open(const char *dir, struct image_store **ret, struct err *err);
void image_store_close(struct image_store *s);
/* FILE is a docker-archive tar, an OCI layout tar (either may be gzip/zstd compressed) or an OCI layout directory.
 * tag: overrides the names in it (NULL: use them; an archive without any needs one). progress may be NULL. Appends the
 * names of what was imported to ret_names (NULL-terminated, caller frees with image_names_free). */
int image_import(struct image_store *s, const char *file, const char *tag,
		 void (*progress)(void *arg, const char *line), void *arg, char ***ret_names, struct err *err);
void image_names_free(char **names);
/* By reference as people write it ("busybox", "busybox:1", "sha256:..."), or id (prefix of 12+ hex). -ENOENT. */
int image_find(struct image_store *s, const char *ref, struct image_info *ret, struct err *err);
int image_list(struct image_store *s, struct image_info **ret, size_t *ret_n, struct err *err);
/* Remove a reference; layers that nothing needs any more go too, except those in `in_use` (image ids; NULL-terminated). */
int image_remove(struct image_store *s, const char *ref, const char *const *in_use, struct err *err);
/* "busybox" -> "docker.io/library/busybox:latest"; -EINVAL for what is no reference. Caller frees. */
int image_normalize(const char *ref, char **ret, struct err *err);
/* `minictl image build-busybox`-like: one layer from a directory or file list, config from JSON members. See build.c. */
struct image_build {
	const char *rootfs;                                      /* directory that becomes the only layer */
	const char *const *entrypoint, *const *cmd, *const *env; /* NULL-terminated or NULL */
	const char *working_dir, *user, *tag;
	int64_t created_s; /* same input, same digest */
};
/* Writes an OCI layout tar to `out_path`. */
int image_build(const struct image_build *b, const char *out_path, struct err *err);

#endif
