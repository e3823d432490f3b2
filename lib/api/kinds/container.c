/* A container: ports, environment, probes, resources, security. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field container_port_fields[] = {
	STR("name", 1, IS(PORT_NAME), DOC("Name that services and probes may use for it.")),
	I32("hostPort", 2, BETWEEN(0, 65535), DOC("Port of the node that leads to it.")),
	I32("containerPort", 3, REQ, IS(PORT_NUMBER), DOC("Port in the pod.")),
	STR("protocol", 4, DFLT_STR("TCP"), ENUM("TCP", "UDP", "SCTP"), DOC("TCP, UDP or SCTP.")),
	STR("hostIP", 5),
	END,
};
static SCHEMA(container_port, "api.core.v1.ContainerPort");

static const struct schema_field config_map_env_source_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	BOOLP("optional", 2),
	END,
};
static SCHEMA(config_map_env_source, "api.core.v1.ConfigMapEnvSource");

static const struct schema_field secret_env_source_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	BOOLP("optional", 2),
	END,
};
static SCHEMA(secret_env_source, "api.core.v1.SecretEnvSource");

static const struct schema_field env_from_source_fields[] = {
	STR("prefix", 1),
	OBJ("configMapRef", 2, &schema_config_map_env_source),
	OBJ("secretRef", 3, &schema_secret_env_source),
	END,
};
static SCHEMA(env_from_source, "api.core.v1.EnvFromSource", .check = container__check_env_from);

static const struct schema_field config_map_key_selector_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	STR("key", 2, REQ, IS(CONFIG_KEY)),
	BOOLP("optional", 3),
	END,
};
static SCHEMA(config_map_key_selector, "api.core.v1.ConfigMapKeySelector");

static const struct schema_field secret_key_selector_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	STR("key", 2, REQ, IS(CONFIG_KEY)),
	BOOLP("optional", 3),
	END,
};
static SCHEMA(secret_key_selector, "api.core.v1.SecretKeySelector");

static const struct schema_field env_var_source_fields[] = {
	OBJ("fieldRef", 1, &schema_object_field_selector),
	OBJ("resourceFieldRef", 2, &schema_resource_field_selector),
	OBJ("configMapKeyRef", 3, &schema_config_map_key_selector),
	OBJ("secretKeyRef", 4, &schema_secret_key_selector),
	END,
};
static SCHEMA(env_var_source, "api.core.v1.EnvVarSource", .check = container__check_env_source);

static const struct schema_field env_var_fields[] = {
	STR("name", 1, REQ, IS(ENV_NAME), DOC("Name of the variable.")),
	STR("value", 2, DOC("Its value; $(NAME) is replaced by earlier variables.")),
	OBJ("valueFrom", 3, &schema_env_var_source, DOC("Where the value comes from instead.")),
	END,
};
static SCHEMA(env_var, "api.core.v1.EnvVar", .check = container__check_env);

static const struct schema_field resource_claim_fields[] = {
	STR("name", 1, REQ),
	STR("request", 2),
	END,
};
static SCHEMA(resource_claim, "api.core.v1.ResourceClaim");

static const struct schema_field resource_requirements_fields[] = {
	MAP_QTY("limits", 1, DOC("The most it may use.")),
	MAP_QTY("requests", 2, DOC("What is set aside for it.")),
	LIST_OBJ("claims", 3, &schema_resource_claim, FLAGS(SCHEMA_LIST_MAP), .keys = "name"),
	END,
};
SCHEMA(resource_requirements, "api.core.v1.ResourceRequirements", .check = resources__check);

static const struct schema_field container_resize_policy_fields[] = {
	STR("resourceName", 1, REQ, ENUM("cpu", "memory")),
	STR("restartPolicy", 2, REQ, ENUM("NotRequired", "RestartContainer")),
	END,
};
static SCHEMA(container_resize_policy, "api.core.v1.ContainerResizePolicy");

static const struct schema_field volume_mount_fields[] = {
	STR("name", 1, REQ, DOC("Which volume.")),
	BOOL("readOnly", 2, DOC("Whether it may only be read.")),
	STRP("recursiveReadOnly", 7, ENUM("Disabled", "IfPossible", "Enabled")),
	STR("mountPath", 3, REQ, DOC("Where in the container.")),
	STR("subPath", 4, DOC("Which part of the volume.")),
	STRP("mountPropagation", 5, ENUM("None", "HostToContainer", "Bidirectional")),
	STR("subPathExpr", 6),
	END,
};
static SCHEMA(volume_mount, "api.core.v1.VolumeMount");

static const struct schema_field volume_device_fields[] = {
	STR("name", 1, REQ),
	STR("devicePath", 2, REQ),
	END,
};
static SCHEMA(volume_device, "api.core.v1.VolumeDevice");

static const struct schema_field exec_action_fields[] = {
	LIST_STR("command", 1, FLAGS(SCHEMA_REQUIRED | SCHEMA_ATOMIC)),
	END,
};
static SCHEMA(exec_action, "api.core.v1.ExecAction");

static const struct schema_field http_header_fields[] = {
	STR("name", 1, REQ),
	STR("value", 2, KEEP_ZERO),
	END,
};
static SCHEMA(http_header, "api.core.v1.HTTPHeader");

static const struct schema_field http_get_action_fields[] = {
	STR("path", 1, DFLT_STR("/"), DOC("Path to ask for.")),
	INT_OR_STR("port", 2, REQ, IS(PORT_NUMBER), DOC("Number or name of the port.")),
	STR("host", 3, DOC("Instead of the address of the pod.")),
	STR("scheme", 4, DFLT_STR("HTTP"), ENUM("HTTP", "HTTPS"), DOC("HTTP or HTTPS.")),
	LIST_OBJ("httpHeaders", 5, &schema_http_header, ATOMIC),
	END,
};
static SCHEMA(http_get_action, "api.core.v1.HTTPGetAction");

static const struct schema_field tcp_socket_action_fields[] = {
	INT_OR_STR("port", 1, REQ, IS(PORT_NUMBER)),
	STR("host", 2),
	END,
};
static SCHEMA(tcp_socket_action, "api.core.v1.TCPSocketAction");

static const struct schema_field grpc_action_fields[] = {
	I32("port", 1, REQ, IS(PORT_NUMBER)),
	STRP("service", 2, DFLT_STR("")),
	END,
};
static SCHEMA(grpc_action, "api.core.v1.GRPCAction");

static const struct schema_field probe_handler_fields[] = {
	OBJ("exec", 1, &schema_exec_action, DOC("Run a command in the container; 0 is good.")),
	OBJ("httpGet", 2, &schema_http_get_action, DOC("Ask by HTTP; 200 to 399 is good.")),
	OBJ("tcpSocket", 3, &schema_tcp_socket_action, DOC("Open a connection.")),
	OBJ("grpc", 4, &schema_grpc_action, DOC("Ask the gRPC health service.")),
	END,
};
static SCHEMA(probe_handler, "api.core.v1.ProbeHandler");

static const struct schema_field probe_fields[] = {
	INLINE("handler", 1, &schema_probe_handler),
	I32("initialDelaySeconds", 2, AT_LEAST(0), DOC("Seconds to wait before the first try.")),
	I32("timeoutSeconds", 3, DFLT("1"), AT_LEAST(0), DOC("Seconds a try may take.")),
	I32("periodSeconds", 4, DFLT("10"), AT_LEAST(0), DOC("Seconds between tries.")),
	I32("successThreshold", 5, DFLT("1"), AT_LEAST(0), DOC("Successes in a row that make it good.")),
	I32("failureThreshold", 6, DFLT("3"), AT_LEAST(0), DOC("Failures in a row that make it bad.")),
	I64P("terminationGracePeriodSeconds", 7, AT_LEAST(1)),
	END,
};
static SCHEMA(probe, "api.core.v1.Probe", .doc = "A question asked of a container again and again.",
	      .check = container__check_probe);

static const struct schema_field sleep_action_fields[] = {
	I64("seconds", 1, KEEP_ZERO, AT_LEAST(0)),
	END,
};
static SCHEMA(sleep_action, "api.core.v1.SleepAction");

static const struct schema_field lifecycle_handler_fields[] = {
	OBJ("exec", 1, &schema_exec_action),
	OBJ("httpGet", 2, &schema_http_get_action),
	OBJ("tcpSocket", 3, &schema_tcp_socket_action),
	OBJ("sleep", 4, &schema_sleep_action),
	END,
};
static SCHEMA(lifecycle_handler, "api.core.v1.LifecycleHandler");

static const struct schema_field lifecycle_fields[] = {
	OBJ("postStart", 1, &schema_lifecycle_handler),
	OBJ("preStop", 2, &schema_lifecycle_handler),
	END,
};
static SCHEMA(lifecycle, "api.core.v1.Lifecycle", .check = container__check_lifecycle);

static const struct schema_field capabilities_fields[] = {
	LIST_STR("add", 1, ATOMIC),
	LIST_STR("drop", 2, ATOMIC),
	END,
};
static SCHEMA(capabilities, "api.core.v1.Capabilities");

static const struct schema_field se_linux_options_fields[] = {
	STR("user", 1),
	STR("role", 2),
	STR("type", 3),
	STR("level", 4),
	END,
};
SCHEMA(se_linux_options, "api.core.v1.SELinuxOptions");

static const struct schema_field windows_security_context_options_fields[] = {
	STRP("gmsaCredentialSpecName", 1),
	STRP("gmsaCredentialSpec", 2),
	STRP("runAsUserName", 3),
	BOOLP("hostProcess", 4),
	END,
};
SCHEMA(windows_security_context_options, "api.core.v1.WindowsSecurityContextOptions");

static const struct schema_field seccomp_profile_fields[] = {
	STR("type", 1, REQ, ENUM("Localhost", "RuntimeDefault", "Unconfined")),
	STRP("localhostProfile", 2),
	END,
};
SCHEMA(seccomp_profile, "api.core.v1.SeccompProfile");

static const struct schema_field app_armor_profile_fields[] = {
	STR("type", 1, REQ, ENUM("Localhost", "RuntimeDefault", "Unconfined")),
	STRP("localhostProfile", 2),
	END,
};
SCHEMA(app_armor_profile, "api.core.v1.AppArmorProfile");

static const struct schema_field security_context_fields[] = {
	OBJ("capabilities", 1, &schema_capabilities),
	BOOLP("privileged", 2),
	OBJ("seLinuxOptions", 3, &schema_se_linux_options),
	OBJ("windowsOptions", 10, &schema_windows_security_context_options),
	I64P("runAsUser", 4, BETWEEN(0, 2147483647)),
	I64P("runAsGroup", 8, BETWEEN(0, 2147483647)),
	BOOLP("runAsNonRoot", 5),
	BOOLP("readOnlyRootFilesystem", 6),
	BOOLP("allowPrivilegeEscalation", 7),
	STRP("procMount", 9, ENUM("Default", "Unmasked")),
	OBJ("seccompProfile", 11, &schema_seccomp_profile),
	OBJ("appArmorProfile", 12, &schema_app_armor_profile),
	END,
};
static SCHEMA(security_context, "api.core.v1.SecurityContext", .check = container__check_security);

static const struct schema_field container_fields[] = {
	STR("name", 1, REQ, IS(DNS_LABEL), DOC("Unique in the pod; cannot change.")),
	STR("image", 2, DOC("What to run.")),
	LIST_STR("command", 3, ATOMIC, DOC("Replaces the image's entrypoint.")),
	LIST_STR("args", 4, ATOMIC, DOC("Replaces the image's arguments.")),
	STR("workingDir", 5, DOC("Where it starts.")),
	LIST_OBJ("ports", 6, &schema_container_port, MERGED("containerPort"),
	    DOC("Ports it listens on; for information, and for host ports.")),
	LIST_OBJ("envFrom", 19, &schema_env_from_source, ATOMIC, DOC("Whole config maps and secrets as environment.")),
	LIST_OBJ("env", 7, &schema_env_var, MERGED("name"), DOC("Environment variables.")),
	OBJ("resources", 8, &schema_resource_requirements, DFLT("{}"), DOC("What it needs and what it may use.")),
	LIST_OBJ("resizePolicy", 23, &schema_container_resize_policy, ATOMIC),
	STRP("restartPolicy", 24, ENUM("Always")),
	LIST_OBJ("volumeMounts", 9, &schema_volume_mount, MERGED("mountPath"),
	    DOC("Which of the pod's volumes it sees, and where.")),
	LIST_OBJ("volumeDevices", 21, &schema_volume_device, KEYED("devicePath")),
	OBJ("livenessProbe", 10, &schema_probe, DOC("When it fails, the container is restarted.")),
	OBJ("readinessProbe", 11, &schema_probe, DOC("While it fails, services send nothing here.")),
	OBJ("startupProbe", 22, &schema_probe, DOC("Until it succeeds, the other probes wait.")),
	OBJ("lifecycle", 12, &schema_lifecycle, DOC("What to do right after the start and right before the end.")),
	STR("terminationMessagePath", 13, DFLT_STR("/dev/termination-log"),
	    DOC("File whose content becomes the last message.")),
	STR("terminationMessagePolicy", 20, DFLT_STR("File"), ENUM("File", "FallbackToLogsOnError"),
	    DOC("Where the last message is taken from.")),
	STR("imagePullPolicy", 14, ENUM("Always", "IfNotPresent", "Never"),
	    DOC("When the image is fetched: Always, IfNotPresent or Never.")),
	OBJ("securityContext", 15, &schema_security_context, DOC("User and rights; wins over those of the pod.")),
	BOOL("stdin", 16, DOC("Keep standard input open.")),
	BOOL("stdinOnce", 17),
	BOOL("tty", 18, DOC("Give it a terminal.")),
	END,
};
SCHEMA(container, "api.core.v1.Container", .doc = "One process tree of a pod, made from an image.",
       .dflt = container__default, .check = container__check);

static const struct schema_field ephemeral_container_common_fields[] = {
	STR("name", 1, REQ, IS(DNS_LABEL)),
	STR("image", 2),
	LIST_STR("command", 3, ATOMIC),
	LIST_STR("args", 4, ATOMIC),
	STR("workingDir", 5),
	LIST_OBJ("ports", 6, &schema_container_port, MERGED("containerPort")),
	LIST_OBJ("envFrom", 19, &schema_env_from_source, ATOMIC),
	LIST_OBJ("env", 7, &schema_env_var, MERGED("name")),
	OBJ("resources", 8, &schema_resource_requirements, DFLT("{}")),
	LIST_OBJ("resizePolicy", 23, &schema_container_resize_policy, ATOMIC),
	STRP("restartPolicy", 24),
	LIST_OBJ("volumeMounts", 9, &schema_volume_mount, MERGED("mountPath")),
	LIST_OBJ("volumeDevices", 21, &schema_volume_device, KEYED("devicePath")),
	OBJ("livenessProbe", 10, &schema_probe),
	OBJ("readinessProbe", 11, &schema_probe),
	OBJ("startupProbe", 22, &schema_probe),
	OBJ("lifecycle", 12, &schema_lifecycle),
	STR("terminationMessagePath", 13, DFLT_STR("/dev/termination-log")),
	STR("terminationMessagePolicy", 20, DFLT_STR("File"), ENUM("File", "FallbackToLogsOnError")),
	STR("imagePullPolicy", 14, ENUM("Always", "IfNotPresent", "Never")),
	OBJ("securityContext", 15, &schema_security_context),
	BOOL("stdin", 16),
	BOOL("stdinOnce", 17),
	BOOL("tty", 18),
	END,
};
static SCHEMA(ephemeral_container_common, "api.core.v1.EphemeralContainerCommon", .dflt = container__default);

static const struct schema_field ephemeral_container_fields[] = {
	INLINE("ephemeralContainerCommon", 1, &schema_ephemeral_container_common),
	STR("targetContainerName", 2),
	END,
};
SCHEMA(ephemeral_container, "api.core.v1.EphemeralContainer");
