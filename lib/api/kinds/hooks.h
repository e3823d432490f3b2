/* Defaults and rules that tables can't say; each belongs to the schema it is named in. Private to lib/api/kinds. */
#ifndef MINI_API_KINDS_HOOKS_H
#define MINI_API_KINDS_HOOKS_H

#include "lib/api/json.h"

#define DEFAULT_HOOK(name) void name(json_t *obj)
#define CHECK_HOOK(name)   void name(const json_t *obj, const json_t *old, const char *path, struct err *err)

DEFAULT_HOOK(pod__default);
DEFAULT_HOOK(pod_spec__default);
DEFAULT_HOOK(container__default);
DEFAULT_HOOK(volume__default);
DEFAULT_HOOK(node__default);
DEFAULT_HOOK(namespace__default);
DEFAULT_HOOK(secret__default);
DEFAULT_HOOK(service__default_spec);
DEFAULT_HOOK(service__default_port);
DEFAULT_HOOK(deployment__default_strategy);
DEFAULT_HOOK(rbac__default_binding);

CHECK_HOOK(label_selector__check);
CHECK_HOOK(pod__check);
CHECK_HOOK(pod_spec__check);
CHECK_HOOK(pod_template__check);
CHECK_HOOK(pod_spec__check_node_requirement);
CHECK_HOOK(pod_spec__check_toleration);
CHECK_HOOK(container__check);
CHECK_HOOK(container__check_env);
CHECK_HOOK(container__check_env_source);
CHECK_HOOK(container__check_env_from);
CHECK_HOOK(container__check_probe);
CHECK_HOOK(container__check_lifecycle);
CHECK_HOOK(container__check_security);
CHECK_HOOK(resources__check);
CHECK_HOOK(volume__check);
CHECK_HOOK(node__check);
CHECK_HOOK(namespace__check);
CHECK_HOOK(service__check_spec);
CHECK_HOOK(endpoints__check_subset);
CHECK_HOOK(endpoint_slice__check);
CHECK_HOOK(config_map__check);
CHECK_HOOK(secret__check);
CHECK_HOOK(event__check);
CHECK_HOOK(deployment__check_spec);
CHECK_HOOK(replica_set__check_spec);
CHECK_HOOK(lease__check_spec);
CHECK_HOOK(binding__check);
CHECK_HOOK(token_request__check_spec);
CHECK_HOOK(rbac__check_role);
CHECK_HOOK(rbac__check_cluster_role);
CHECK_HOOK(rbac__check_role_binding);
CHECK_HOOK(rbac__check_cluster_role_binding);
CHECK_HOOK(review__check_attributes);
CHECK_HOOK(review__check_subject);
CHECK_HOOK(review__check_rules);
CHECK_HOOK(review__check_token);

#endif
