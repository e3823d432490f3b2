/* Deployments: what one run over one of them knows, and the steps it may take. Private to controllers/. */
#ifndef MINI_CONTROLLERS_DEPLOYMENT_H
#define MINI_CONTROLLERS_DEPLOYMENT_H

#include "controllers/internal.h"

#define DEPLOYMENT_MAGIC 0xc017de91u

#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define ANNOTATION_HISTORY  "deployment.kubernetes.io/revision-history"
#define ANNOTATION_DESIRED  "deployment.kubernetes.io/desired-replicas"
#define ANNOTATION_MAX      "deployment.kubernetes.io/max-replicas"
#define LABEL_HASH          "pod-template-hash"

struct deployment_controller {
	struct controller base;
	uint32_t magic;
	struct event_recorder *events;
};

/* One ReplicaSet of the Deployment. */
struct rollout_rs {
	struct object *obj;
	json_t *tree;
	int64_t replicas; /* wished; follows our own writes within the run */
	int64_t st_replicas, ready, available;
	int64_t revision;
	bool scaled; /* a write of it is under way */
};

struct rollout {
	struct deployment_controller *c;
	struct reconcile *r;
	struct object *obj;
	json_t *tree;
	const json_t *spec, *status; /* of tree */
	int64_t replicas, min_ready_s, deadline_s, history_limit;
	int64_t max_surge, max_unavailable; /* resolved */
	bool paused, recreate, has_deadline, has_history_limit;
	struct rollout_rs *rs; /* by creation time, then name */
	size_t n;
	struct rollout_rs *newest; /* the one with the present template; NULL: none yet */
};

/* ---- deployment_rs.c ---- */
struct rollout *rollout_new(struct deployment_controller *c, struct reconcile *r, struct object *obj);
/* Submits adoptions and releases; true: there were some, look again when they are done. */
bool rollout_claim(struct rollout *ro);
/* Bring the newest ReplicaSet's and the Deployment's revision annotations up to date. True: a write is under way. */
bool rollout_sync_revisions(struct rollout *ro);
/* Make the ReplicaSet of the present template. */
void rollout_create(struct rollout *ro);
/* Set the wished size (and the size annotations); tells by event. False: nothing to do. */
bool rollout_scale(struct rollout *ro, struct rollout_rs *rs, int64_t replicas);
int64_t rs_annotation(const struct rollout_rs *rs, const char *key, int64_t dflt);
/* The sum of wished sizes. */
int64_t rollout_total(const struct rollout *ro);
/* Delete old, empty ReplicaSets beyond the history limit. */
void rollout_cleanup(struct rollout *ro);

/* ---- deployment_rolling.c ---- */
/* Wished size of the newest ReplicaSet, of `have` now. */
int64_t rollout_new_size(const struct rollout *ro, int64_t have);
/* The Deployment's size has changed since its ReplicaSets were last sized. */
bool rollout_is_scaling(const struct rollout *ro);
void rollout_resize(struct rollout *ro); /* paused or scaling: keep proportions */
void rollout_rolling(struct rollout *ro);
void rollout_recreate(struct rollout *ro);

/* ---- deployment_status.c ---- */
/* Pausing and resuming show as conditions first. True: a write is under way. */
bool rollout_sync_paused(struct rollout *ro);
bool rollout_complete(const struct rollout *ro);
/* progress: also the Progressing and ReplicaFailure conditions, and the deadline. */
void rollout_write_status(struct rollout *ro, bool progress);
/* After an attempt to create: err NULL on success. Submits the write. */
void rollout_created_status(struct rollout *ro, const char *rs_name, const struct err *err);
void rollout_bump_collisions(struct rollout *ro);

#endif
