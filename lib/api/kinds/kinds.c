/* The kinds that are compiled in: one row each, in discovery order.
 *
 * metadata.generation is the API server's: upstream's v1.32 counts it for deployments, replica sets and endpoint slices
 * (1 on create, one more whenever anything but metadata and status changes) and leaves it out of the others.
 * `prepare` runs before validation, on writes to the object itself only: never on those to a subresource.
 */

#include "lib/api/kinds/kinds.h"
#include "lib/api/kinds/tables.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

#define CORE  .group = "", .version = "v1", .name_format = FMT_DNS_SUBDOMAIN
#define APPS  .group = "apps", .version = "v1", .name_format = FMT_DNS_SUBDOMAIN
#define RBAC  .group = "rbac.authorization.k8s.io", .version = "v1", .name_format = FMT_PATH_SEGMENT
#define AUTHN .group = "authentication.k8s.io", .version = "v1", .verbs = VERB_CREATE
#define AUTHZ .group = "authorization.k8s.io", .version = "v1", .verbs = VERB_CREATE

#define NAMED(k, p, s) .kind = k, .plural = p, .singular = s, .list_kind = k "List"
#define PRINTED(id)    .columns = id##_columns, .cells = id##__cells

static const struct kind kind_config_map = {
	CORE,
	NAMED("ConfigMap", "configmaps", "configmap"),
	.namespaced = true,
	.short_names = NAMES("cm"),
	.verbs = VERB_ALL,
	.schema = &schema_config_map,
	PRINTED(config_map),
};

static const struct kind kind_endpoints = {
	CORE,
	.kind = "Endpoints",
	.plural = "endpoints",
	.singular = "endpoints",
	.list_kind = "EndpointsList",
	.namespaced = true,
	.short_names = NAMES("ep"),
	.verbs = VERB_ALL,
	.storage_prefix = "services/endpoints",
	.schema = &schema_endpoints,
	PRINTED(endpoints),
};

static const struct kind kind_event = {
	CORE,
	NAMED("Event", "events", "event"),
	.namespaced = true,
	.short_names = NAMES("ev"),
	.verbs = VERB_ALL,
	.storage_prefix = "events",
	.schema = &schema_event,
	PRINTED(event),
	.field_selectors = NAMES("involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
				 "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
				 "involvedObject.fieldPath", "reason", "reportingComponent", "type"),
};

static const struct kind kind_namespace = {
	.group = "",
	.version = "v1",
	.name_format = FMT_DNS_LABEL,
	NAMED("Namespace", "namespaces", "namespace"),
	.short_names = NAMES("ns"),
	.subresources = KIND_SUB_STATUS | KIND_SUB_FINALIZE,
	.verbs = VERB_ALL & ~VERB_DELETECOLLECTION,
	.schema = &schema_namespace,
	PRINTED(namespace),
	.field_selectors = NAMES("status.phase"),
	.prepare = namespace__prepare,
};

static const struct kind kind_node = {
	CORE,
	NAMED("Node", "nodes", "node"),
	.short_names = NAMES("no"),
	.subresources = KIND_SUB_STATUS,
	.verbs = VERB_ALL,
	.storage_prefix = "minions",
	.schema = &schema_node,
	PRINTED(node),
	.field_selectors = NAMES("spec.unschedulable"),
	.prepare = node__prepare,
};

static const struct kind kind_pod = {
	CORE,
	NAMED("Pod", "pods", "pod"),
	.namespaced = true,
	.short_names = NAMES("po"),
	.categories = NAMES("all"),
	.subresources = KIND_SUB_STATUS | KIND_SUB_LOG | KIND_SUB_EXEC | KIND_SUB_BINDING | KIND_SUB_EVICTION |
			KIND_SUB_ATTACH | KIND_SUB_PORTFORWARD,
	.verbs = VERB_ALL,
	.schema = &schema_pod,
	PRINTED(pod),
	.field_selectors = NAMES("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
				 "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
	.prepare = pod__prepare,
};

static const struct kind kind_secret = {
	CORE,
	NAMED("Secret", "secrets", "secret"),
	.namespaced = true,
	.verbs = VERB_ALL,
	.schema = &schema_secret,
	PRINTED(secret),
	.field_selectors = NAMES("type"),
};

static const struct kind kind_service_account = {
	CORE,
	NAMED("ServiceAccount", "serviceaccounts", "serviceaccount"),
	.namespaced = true,
	.short_names = NAMES("sa"),
	.subresources = KIND_SUB_TOKEN,
	.verbs = VERB_ALL,
	.schema = &schema_service_account,
	PRINTED(service_account),
};

static const struct kind kind_service = {
	.group = "",
	.version = "v1",
	.name_format = FMT_DNS1035_LABEL,
	NAMED("Service", "services", "service"),
	.namespaced = true,
	.short_names = NAMES("svc"),
	.categories = NAMES("all"),
	.subresources = KIND_SUB_STATUS,
	.verbs = VERB_ALL,
	.storage_prefix = "services/specs",
	.schema = &schema_service,
	PRINTED(service),
	.field_selectors = NAMES("spec.clusterIP", "spec.type"),
	.prepare = service__prepare,
};

static const struct kind kind_token_review = {
	AUTHN,
	NAMED("TokenReview", "tokenreviews", "tokenreview"),
	.schema = &schema_token_review,
	PRINTED(plain),
};

static const struct kind kind_self_subject_review = {
	AUTHN,
	NAMED("SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"),
	.schema = &schema_self_subject_review,
	PRINTED(plain),
};

static const struct kind kind_local_subject_access_review = {
	AUTHZ,
	NAMED("LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview"),
	.namespaced = true,
	.schema = &schema_local_subject_access_review,
	PRINTED(plain),
};

static const struct kind kind_self_subject_access_review = {
	AUTHZ,
	NAMED("SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"),
	.schema = &schema_self_subject_access_review,
	PRINTED(plain),
};

static const struct kind kind_self_subject_rules_review = {
	AUTHZ,
	NAMED("SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"),
	.schema = &schema_self_subject_rules_review,
	PRINTED(plain),
};

static const struct kind kind_subject_access_review = {
	AUTHZ,
	NAMED("SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview"),
	.schema = &schema_subject_access_review,
	PRINTED(plain),
};

static const struct kind kind_deployment = {
	APPS,
	NAMED("Deployment", "deployments", "deployment"),
	.namespaced = true,
	.short_names = NAMES("deploy"),
	.categories = NAMES("all"),
	.subresources = KIND_SUB_STATUS | KIND_SUB_SCALE,
	.verbs = VERB_ALL,
	.schema = &schema_deployment,
	PRINTED(deployment),
	.prepare = deployment__prepare,
};

static const struct kind kind_replica_set = {
	APPS,
	NAMED("ReplicaSet", "replicasets", "replicaset"),
	.namespaced = true,
	.short_names = NAMES("rs"),
	.categories = NAMES("all"),
	.subresources = KIND_SUB_STATUS | KIND_SUB_SCALE,
	.verbs = VERB_ALL,
	.schema = &schema_replica_set,
	PRINTED(replica_set),
	.field_selectors = NAMES("status.replicas"),
	.prepare = replica_set__prepare,
};

static const struct kind kind_cluster_role_binding = {
	RBAC,
	NAMED("ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding"),
	.verbs = VERB_ALL,
	.schema = &schema_cluster_role_binding,
	PRINTED(role_binding),
};

static const struct kind kind_cluster_role = {
	RBAC,
	NAMED("ClusterRole", "clusterroles", "clusterrole"),
	.verbs = VERB_ALL,
	.schema = &schema_cluster_role,
	PRINTED(plain),
};

static const struct kind kind_role_binding = {
	RBAC,
	NAMED("RoleBinding", "rolebindings", "rolebinding"),
	.namespaced = true,
	.verbs = VERB_ALL,
	.schema = &schema_role_binding,
	PRINTED(role_binding),
};

static const struct kind kind_role = {
	RBAC,           NAMED("Role", "roles", "role"), .namespaced = true, .verbs = VERB_ALL, .schema = &schema_role,
	PRINTED(plain),
};

static const struct kind kind_lease = {
	.group = "coordination.k8s.io",
	.version = "v1",
	.name_format = FMT_DNS_SUBDOMAIN,
	NAMED("Lease", "leases", "lease"),
	.namespaced = true,
	.verbs = VERB_ALL,
	.schema = &schema_lease,
	PRINTED(lease),
};

static const struct kind kind_endpoint_slice = {
	.group = "discovery.k8s.io",
	.version = "v1",
	.name_format = FMT_DNS_SUBDOMAIN,
	NAMED("EndpointSlice", "endpointslices", "endpointslice"),
	.namespaced = true,
	.verbs = VERB_ALL,
	.schema = &schema_endpoint_slice,
	PRINTED(endpoint_slice),
};

const struct kind *const kinds_all[] = {
	&kind_config_map,
	&kind_endpoints,
	&kind_event,
	&kind_namespace,
	&kind_node,
	&kind_pod,
	&kind_secret,
	&kind_service_account,
	&kind_service,
	&kind_token_review,
	&kind_self_subject_review,
	&kind_local_subject_access_review,
	&kind_self_subject_access_review,
	&kind_self_subject_rules_review,
	&kind_subject_access_review,
	&kind_deployment,
	&kind_replica_set,
	&kind_cluster_role_binding,
	&kind_cluster_role,
	&kind_role_binding,
	&kind_role,
	&kind_lease,
	&kind_endpoint_slice,
	NULL,
};
