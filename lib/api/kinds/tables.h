/* How the tables of kinds are written: one line a field, its name and protobuf number first, what is special after.
 *
 *     STR("restartPolicy", 3, DFLT_STR("Always"), ENUM("Always", "OnFailure", "Never")),
 *
 * A macro ending in P is a scalar that Go holds by pointer. Private to lib/api/kinds.
 */
#ifndef MINI_API_KINDS_TABLES_H
#define MINI_API_KINDS_TABLES_H

#include "lib/api/kinds/hooks.h"
#include "lib/api/schema.h"

#define FIELD(n, t, s, p, ...)                                                                                         \
	{                                                                                                              \
		.name = n, .type = t, .shape = s, .pb = p, __VA_ARGS__                                                 \
	}
#define END                                                                                                            \
	{                                                                                                              \
		.name = NULL                                                                                           \
	}

#define STR(n, p, ...)        FIELD(n, SCHEMA_STRING, SCHEMA_ONE, p, __VA_ARGS__)
#define STRP(n, p, ...)       FIELD(n, SCHEMA_STRING, SCHEMA_ONE, p, .flags = SCHEMA_POINTER, __VA_ARGS__)
#define I32(n, p, ...)        FIELD(n, SCHEMA_INT32, SCHEMA_ONE, p, __VA_ARGS__)
#define I32P(n, p, ...)       FIELD(n, SCHEMA_INT32, SCHEMA_ONE, p, .flags = SCHEMA_POINTER, __VA_ARGS__)
#define I64(n, p, ...)        FIELD(n, SCHEMA_INT64, SCHEMA_ONE, p, __VA_ARGS__)
#define I64P(n, p, ...)       FIELD(n, SCHEMA_INT64, SCHEMA_ONE, p, .flags = SCHEMA_POINTER, __VA_ARGS__)
#define BOOL(n, p, ...)       FIELD(n, SCHEMA_BOOL, SCHEMA_ONE, p, __VA_ARGS__)
#define BOOLP(n, p, ...)      FIELD(n, SCHEMA_BOOL, SCHEMA_ONE, p, .flags = SCHEMA_POINTER, __VA_ARGS__)
#define BYTES(n, p, ...)      FIELD(n, SCHEMA_BYTES, SCHEMA_ONE, p, __VA_ARGS__)
#define QTY(n, p, ...)        FIELD(n, SCHEMA_QUANTITY, SCHEMA_ONE, p, __VA_ARGS__)
#define INT_OR_STR(n, p, ...) FIELD(n, SCHEMA_INT_OR_STRING, SCHEMA_ONE, p, __VA_ARGS__)
#define TIME(n, p, ...)       FIELD(n, SCHEMA_TIME, SCHEMA_ONE, p, __VA_ARGS__)
#define MICRO_TIME(n, p, ...) FIELD(n, SCHEMA_MICRO_TIME, SCHEMA_ONE, p, __VA_ARGS__)
#define ANY(n, p, ...)        FIELD(n, SCHEMA_ANY, SCHEMA_ONE, p, __VA_ARGS__)
#define OBJ(n, p, o, ...)     FIELD(n, SCHEMA_OBJECT, SCHEMA_ONE, p, .of = o, __VA_ARGS__)
#define INLINE(n, p, o)       FIELD(n, SCHEMA_OBJECT, SCHEMA_ONE, p, .of = o, .flags = SCHEMA_INLINE)

#define LIST_STR(n, p, ...)    FIELD(n, SCHEMA_STRING, SCHEMA_LIST, p, __VA_ARGS__)
#define LIST_I32(n, p, ...)    FIELD(n, SCHEMA_INT32, SCHEMA_LIST, p, __VA_ARGS__)
#define LIST_I64(n, p, ...)    FIELD(n, SCHEMA_INT64, SCHEMA_LIST, p, __VA_ARGS__)
#define LIST_OBJ(n, p, o, ...) FIELD(n, SCHEMA_OBJECT, SCHEMA_LIST, p, .of = o, __VA_ARGS__)
#define MAP_STR(n, p, ...)     FIELD(n, SCHEMA_STRING, SCHEMA_MAP, p, __VA_ARGS__)
#define MAP_QTY(n, p, ...)     FIELD(n, SCHEMA_QUANTITY, SCHEMA_MAP, p, __VA_ARGS__)
#define MAP_BYTES(n, p, ...)   FIELD(n, SCHEMA_BYTES, SCHEMA_MAP, p, __VA_ARGS__)
#define MAP_ANY(n, p, ...)     FIELD(n, SCHEMA_ANY, SCHEMA_MAP, p, __VA_ARGS__)

#define FLAGS(f) .flags = (f)
#define REQ      .flags = SCHEMA_REQUIRED
#define SET      .flags = SCHEMA_SET
#define ATOMIC   .flags = SCHEMA_ATOMIC
/* No pointer in Go, but written even when zero (no omitempty): a zero that was given is kept just the same. Together
 * with another flag: FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER). */
#define KEEP_ZERO   .flags = SCHEMA_POINTER
#define IS(fmt)     .format = FMT_##fmt
#define DFLT(json)  .dflt = json
#define DFLT_STR(s) .dflt = "\"" s "\""
#define ENUM(...)                                                                                                      \
	.one_of = (const char *const[])                                                                                \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}
#define AT_LEAST(n)     .has_min = true, .min = (n)
#define BETWEEN(lo, hi) .has_min = true, .min = (lo), .has_max = true, .max = (hi)
#define DOC(s)          .doc = s
/* A list whose entries are known by one member, both to strategic merge and to apply. Lists in which upstream suffers
 * two entries with the same key (env, ports, imagePullSecrets, addresses of nodes) have a merge key only. */
#define MERGED(k)       .flags = SCHEMA_MERGE, .merge_key = k
#define KEYED(k)        .flags = SCHEMA_MERGE | SCHEMA_LIST_MAP, .merge_key = k, .keys = k
#define KEYED_AND(k, f) .flags = SCHEMA_MERGE | SCHEMA_LIST_MAP | (f), .merge_key = k, .keys = k

/* The members of every top-level type, and of every object with metadata. */
#define TYPE_META   STR("apiVersion", 0), STR("kind", 0)
#define OBJECT_HEAD TYPE_META, OBJ("metadata", 1, &schema_object_meta)

#define SCHEMA(id, upstream_name, ...)                                                                                 \
	const struct schema schema_##id = {.name = upstream_name, .fields = id##_fields, ##__VA_ARGS__}

extern const struct schema schema_app_armor_profile, schema_cluster_role, schema_cluster_role_binding, schema_condition,
	schema_config_map, schema_container, schema_deployment, schema_endpoint_slice, schema_endpoints,
	schema_ephemeral_container, schema_event, schema_key_to_path, schema_label_selector_requirement, schema_lease,
	schema_local_object_reference, schema_local_subject_access_review, schema_namespace, schema_node,
	schema_object_field_selector, schema_object_reference, schema_pod, schema_pod_spec, schema_replica_set,
	schema_resource_field_selector, schema_resource_requirements, schema_role, schema_role_binding,
	schema_se_linux_options, schema_seccomp_profile, schema_secret, schema_self_subject_access_review,
	schema_self_subject_review, schema_self_subject_rules_review, schema_service, schema_service_account,
	schema_service_account_token_projection, schema_subject_access_review, schema_token_review,
	schema_typed_local_object_reference, schema_typed_object_reference, schema_volume,
	schema_windows_security_context_options;

#endif
