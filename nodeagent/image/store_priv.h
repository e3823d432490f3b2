/* What the files of the image store share. */
#ifndef MINI_NODEAGENT_IMAGE_STORE_PRIV_H
#define MINI_NODEAGENT_IMAGE_STORE_PRIV_H

#include <pthread.h>

#include "lib/core/buf.h"
#include "nodeagent/image/image.h"

#define IMAGE_JSON_MAX   (4u << 20)
#define IMAGE_LAYERS_MAX 128u

/* One image: everything but the configuration's text, which stays in its blob. */
struct image_record {
	char id[80]; /* sha256:<hex of the config> */
	char **tags; /* normalized; n_tags of them, then NULL */
	unsigned n_tags;
	char (*layers)[65]; /* diff ids, hex, bottom first */
	unsigned n_layers;
	uint64_t size_bytes;
	int64_t created_s;
};

struct image_store {
	char *dir;
	int lock_fd;
	/* Imports and removals one at a time; look-ups beside them. State is guarded by `mutex`. */
	pthread_mutex_t writer, mutex;
	struct image_record *records;
	unsigned n, cap;
};

void image_record_done(struct image_record *r);
/* Call with mutex held. */
struct image_record *image_store__by_id(struct image_store *s, const char *id);
struct image_record *image_store__by_ref(struct image_store *s, const char *ref);
/* Add or replace, give it the tags (taken from whoever had them), and write images.json. Takes over r. */
int image_store__put(struct image_store *s, struct image_record *r, struct err *err);
char *image_store__layer_path(const struct image_store *s, const char *hex);
char *image_store__blob_path(const struct image_store *s, const char *hex);
/* Remove layers and configs that no record names. Call with writer held. */
int image_store__collect(struct image_store *s, struct err *err);
/* The record of an imported image: checks config text (bounded) and fills id, layers, created. */
int image_record_from_config(const char *config, size_t len, struct image_record *ret, struct err *err);

#endif
