/* Small things several verbs share. */
#ifndef MINI_MINICTL_VERBS_H
#define MINI_MINICTL_VERBS_H

#include "cli/minictl/output.h"
#include "cli/minictl/rest.h"

/* Every verb: a function verb_NAME. */
/* clang-format off */
#define VERBS(X) \
	X(get) X(describe) X(create) X(apply) X(delete) X(edit) X(patch) X(replace) X(label) X(annotate) X(scale) \
	X(expose) X(explain) X(logs) X(exec) X(attach) X(run) X(port_forward) X(wait) X(cordon) X(uncordon) X(drain) X(taint) X(version) \
	X(top) X(completion) X(rollout_status) X(rollout_history) X(rollout_undo) X(rollout_restart) \
	X(rollout_pause) X(rollout_resume) X(set_image) X(set_env) X(auth_can_i) X(auth_whoami) \
	X(api_resources) X(api_versions) X(cluster_info) X(create_namespace) X(create_configmap) \
	X(create_secret_generic) X(create_serviceaccount) X(create_deployment) X(create_service) \
	X(create_role) X(create_clusterrole) X(create_rolebinding) X(create_clusterrolebinding) \
	X(create_token) X(config_view) X(config_current_context) X(config_get_contexts) \
	X(config_use_context) X(config_set_context) X(image_import) X(image_ls) X(image_rm) X(image_build) \
	X(cluster_status) X(cluster_list) X(cluster_add) X(cluster_remove) X(cluster_promote) X(cluster_demote) \
	X(cluster_move_leader) X(snapshot_save) X(snapshot_restore) X(snapshot_inspect)
#define X(v) int verb_##v(struct ctl *c, int argc, char **argv, struct err *err);
VERBS(X)
#undef X
/* clang-format on */

#define OPTS_END                                                                                                       \
	{                                                                                                              \
		NULL, 0, OPT_BOOL, NULL, NULL, NULL                                                                    \
	}
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

/* --dry-run=none|client|server. */
enum dry_run { DRY_NONE, DRY_CLIENT, DRY_SERVER };
int dry_run_parse(const char *text, enum dry_run *ret, struct err *err);
/* "" or " (dry run)" or " (server dry run)". */
const char *dry_run_words(enum dry_run d);

/* --validate: true, strict, warn, ignore, false -> fieldValidation. */
int validate_parse(const char *text, const char **ret, struct err *err);

/* What a changing request carries in its query. */
struct change {
	const char *manager, *validation;
	enum dry_run dry;
};
int change_create(struct ctl *c, const struct change *ch, const struct kind *k, const char *ns, const json_t *obj,
		  json_t **ret, struct err *err);
/* The error of a creation from words. Returns its code. */
int create_failed(const struct kind *k, struct err *err);
int change_update(struct ctl *c, const struct change *ch, const struct item *it, const json_t *obj, json_t **ret,
		  struct err *err);
int change_patch(struct ctl *c, const struct change *ch, const struct item *it, const char *subresource,
		 const char *content_type, const json_t *patch, json_t **ret, struct err *err);
#define STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define MERGE_PATCH     "application/merge-patch+json"
#define JSON_PATCH      "application/json-patch+json"

static inline int get_item(struct ctl *c, const struct item *it, json_t **ret, struct err *err)
{
	return rest_get(c, path_of(it->kind, it->ns, it->name, NULL), ret, err);
}

/* The pods of an owner (a workload's selector), or the pod itself: new array of objects. */
int pods_of(struct ctl *c, const struct item *it, json_t **ret_pods, struct err *err);
/* The best of them for logs and exec: ready first, then the newest. */
json_t *pod_best(json_t *pods);
/* The pod that a word of the command line means: its name, or TYPE/NAME, of which the best. */
int choose_pod(struct ctl *c, const char *word, struct item *ret, struct err *err);
/* The label selector of a workload as text; NULL when it has none. Kept. */
const char *selector_of(const json_t *obj);

/* Items from -f, words, and then names for whole kinds by selector (-l) or --all. */
struct choose {
	struct input_opts input;
	const char *selector, *fields;
	bool all, all_ns;
};
#define CHOOSE_OPTS(ch)                                                                                                \
	INPUT_OPTS(&(ch)->input), {"selector", 'l', OPT_STR, &(ch)->selector, NULL, "all that have these labels"},     \
		{"field-selector", 0, OPT_STR, &(ch)->fields, NULL, "all that have these fields"},                     \
		{"all", 0, OPT_BOOL, &(ch)->all, NULL, "all of the kind"},                                             \
	{                                                                                                              \
		"all-namespaces", 'A', OPT_BOOL, &(ch)->all_ns, NULL, "in all namespaces"                              \
	}
int choose_items(struct ctl *c, const struct choose *ch, const struct strings *words, struct items *ret,
		 struct err *err);

/* Delete one object and wait until it is gone. grace_s -1: the object's own. */
int delete_and_wait(struct ctl *c, const struct item *it, int64_t grace_s, struct err *err);

/* Wait until the object with this uid ("": whichever has the name) is gone. */
int wait_gone(struct ctl *c, const struct item *it, const char *uid, uint64_t deadline_ms, struct err *err);

/* Deadline of a --timeout option: 0 for none. */
int deadline_parse(const char *timeout, int64_t dflt_ms, uint64_t *ret_deadline_ms, struct err *err);

#endif
