/* Rules that tables can't say: each is broken once, and the fault must be the one upstream names. */
#include "tests/lib/api/kinds/support.h"

#define POD                                                                                                            \
	"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':"          \
	"[{'name':'c','image':'i:1'}]}}"
#define TEMPLATE "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':'i:1'}]}}"
#define DEPLOYMENT                                                                                                     \
	"{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'d','namespace':'default'},'spec':{"           \
	"'selector':{'matchLabels':{'app':'web'}}," TEMPLATE "}}"
#define SERVICE                                                                                                        \
	"{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','namespace':'default'},'spec':{"                   \
	"'clusterIP':'10.96.0.5','clusterIPs':['10.96.0.5'],'ports':[{'port':80}]}}"

struct rule {
	const char *word, *base;
	const char *change; /* merged into base */
	const char *faults; /* "" when it is fine */
};

/* On create: the changed object alone. On update: the changed object against the base. */
static void try_rule(const struct rule *r, bool update)
{
	const struct kind *k = kind_by_word(r->word);
	json_t *old = js(r->base), *obj = js(r->base), *change = js(r->change);
	_cleanup_err_ struct err err = ERR_INIT;

	merge(obj, change);
	schema_default(k->schema, old);
	schema_default(k->schema, obj);
	schema_validate(k->schema, obj, update ? old : NULL, &err);
	_cleanup_free_ char *got = faults_of(&err);
	if (!streq(got, r->faults))
		fail_msg("%s %s:\n got: %s want: %s", r->word, r->change, got, r->faults);
	json_decref(old);
	json_decref(obj);
	json_decref(change);
}

static void try_all(const struct rule *rules, size_t n, bool update)
{
	for (size_t i = 0; i < n; i++)
		try_rule(&rules[i], update);
}

#define C(more) "{'spec':{'containers':[{'name':'c','image':'i:1'," more "}]}}"
#define AT_C    "spec.containers[0]."

static void pods(_unused_ void **state)
{
	static const struct rule rules[] = {
		{"pod", POD, "{}", ""},
		{"pod", POD, "{'spec':{'containers':null}}", "spec.containers: Required value\n"},
		{"pod", POD, "{'spec':{'containers':[{'name':'c'}]}}", AT_C "image: Required value\n"},
		{"pod", POD, "{'spec':{'containers':[{'name':'c','image':' i'}]}}",
		 AT_C "image: Invalid value: \" i\": must not have leading or trailing whitespace\n"},
		{"pod", POD, "{'spec':{'containers':[{'name':'c','image':'i'},{'name':'c','image':'i'}]}}",
		 "spec.containers[1].name: Duplicate value: \"c\"\n"},
		{"pod", POD, "{'spec':{'initContainers':[{'name':'c','image':'i'}]}}",
		 "spec.initContainers[0].name: Duplicate value: \"c\"\n"},
		{"pod", POD, "{'spec':{'restartPolicy':'Sometimes'}}",
		 "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", "
		 "\"OnFailure\"\n"},
		{"pod", POD, C("'ports':[{'containerPort':80,'name':'a'},{'containerPort':81,'name':'a'}]"),
		 AT_C "ports[1].name: Duplicate value: \"a\"\n"},
		{"pod", POD, C("'ports':[{'containerPort':70000}]"),
		 AT_C "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive\n"},
		{"pod", POD, C("'ports':[{'containerPort':80,'hostPort':8080},{'containerPort':81,'hostPort':8080}]"),
		 AT_C "ports[1].hostPort: Duplicate value: \"TCP//8080\"\n"},
		{"pod", POD, C("'env':[{'name':'A','value':'1'},{'name':'A','value':'2'}]"), ""},
		{"pod", POD, C("'env':[{'name':'A','valueFrom':{}}]"),
		 AT_C "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, "
		      "`configMapKeyRef` or `secretKeyRef`\n"},
		{"pod", POD,
		 C("'env':[{'name':'A','value':'x','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}}]"),
		 AT_C "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty\n"},
		{"pod", POD, C("'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'status.phase'}}}]"),
		 AT_C "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: "
		      "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
		      "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", "
		      "\"status.podIPs\"\n"},
		{"pod", POD, C("'env':[{'name':'A','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu'}}}]"), ""},
		{"pod", POD, C("'env':[{'name':'A','valueFrom':{'resourceFieldRef':{'resource':'cpu'}}}]"),
		 AT_C "env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"cpu\": supported values: "
		      "\"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", "
		      "\"requests.ephemeral-storage\", \"requests.memory\"\n"},
		{"pod", POD, C("'volumeMounts':[{'name':'x','mountPath':'/x'}]"),
		 AT_C "volumeMounts[0].name: Not found: \"x\"\n"},
		{"pod", POD,
		 "{'spec':{'volumes':[{'name':'v'}],'containers':[{'name':'c','image':'i','volumeMounts':[{'name':'v',"
		 "'mountPath':'/x'},{'name':'v','mountPath':'/x','subPath':'../y'}]}]}}",
		 AT_C "volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique\n" AT_C
		      "volumeMounts[1].subPath: Invalid value: \"../y\": must not contain '..'\n"},
		{"pod", POD, "{'spec':{'volumes':[{'name':'v','emptyDir':{},'hostPath':{'path':'/x'}}]}}",
		 "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type\n"},
		{"pod", POD, "{'spec':{'volumes':[{'name':'v'},{'name':'v'}]}}",
		 "spec.volumes[1].name: Duplicate value: \"v\"\n"},
		{"pod", POD, "{'spec':{'volumes':[{'name':'v','configMap':{}}]}}",
		 "spec.volumes[0].configMap.name: Required value\n"},
#define V(source) "{'spec':{'volumes':[{'name':'v'," source "}]}}"
#define AT_V      "spec.volumes[0]."
		{"pod", POD,
		 V("'downwardAPI':{'items':[{'path':'a','fieldRef':{'fieldPath':'metadata.labels'}},"
		   "{'path':'b','resourceFieldRef':{'containerName':'c','resource':'limits.cpu'}}]}"),
		 ""},
		{"pod", POD,
		 V("'downwardAPI':{'items':[{'path':'/a','fieldRef':{'fieldPath':'spec.nodeName'}},{'path':'..b'}]}"),
		 AT_V
		 "downwardAPI.items[0].path: Invalid value: \"/a\": must be a relative path\n" AT_V
		 "downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: "
		 "\"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", "
		 "\"metadata.uid\"\n" AT_V
		 "downwardAPI.items[1].path: Invalid value: \"..b\": must not start with '..'\n" AT_V
		 "downwardAPI.items[1]: Required value: one of fieldRef and resourceFieldRef is required\n"},
		{"pod", POD, V("'downwardAPI':{'items':[{'path':'b','resourceFieldRef':{'resource':'limits.cpu'}}]}"),
		 AT_V "downwardAPI.items[0].resourceFieldRef.containerName: Required value\n"},
		{"pod", POD, V("'nfs':{'server':'s','path':'x'}"),
		 AT_V "nfs.path: Invalid value: \"x\": must be an absolute path\n"},
		{"pod", POD, V("'emptyDir':{'sizeLimit':'-1'}"),
		 AT_V "emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity\n"},
		{"pod", POD,
		 V("'projected':{'sources':[{'secret':{'name':'s','items':[{'key':'k','path':'a'}]}},"
		   "{'configMap':{'name':'m','items':[{'key':'k','path':'a'}]}},{'serviceAccountToken':{'path':'../t'}},"
		   "{'downwardAPI':{'items':[{'path':'a','fieldRef':{'fieldPath':'metadata.name'}}]}}]}"),
		 AT_V
		 "projected: Invalid value: \"m\": conflicting duplicate paths\n" AT_V
		 "projected.sources[2].serviceAccountToken.path: Invalid value: \"../t\": must not contain '..'\n" AT_V
		 "projected: Invalid value: \"a\": conflicting duplicate paths\n"},
		{"pod", POD,
		 "{'spec':{'volumes':[{'name':'v','emptyDir':{}}],'containers':[{'name':'c','image':'i','volumeMounts':"
		 "[{'name':'v','mountPath':'/x'}],'volumeDevices':[{'name':'v','devicePath':'/x'},{'name':'w',"
		 "'devicePath':'/../y'}]}]}}",
		 AT_C "volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of "
		      "PersistentVolumeClaim or Ephemeral for block mode\n" AT_C
		      "volumeDevices[0].devicePath: Invalid value: \"/x\": must not already exist as a path in "
		      "volumeMounts\n" AT_C
		      "volumeDevices[0].name: Invalid value: \"v\": must not already exist in volumeMounts\n" AT_C
		      "volumeDevices[1].name: Not found: \"w\"\n" AT_C
		      "volumeDevices[1].devicePath: Invalid value: \"/../y\": can not contain backsteps ('..')\n"},
		{"node", "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n'}}",
		 "{'status':{'capacity':{'cpu':'-1'},'allocatable':{'memory':'1Gi'}}}",
		 "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0\n"},
		{"pod", POD, C("'livenessProbe':{}"),
		 AT_C "livenessProbe: Required value: must specify a handler type\n"},
		{"pod", POD, C("'livenessProbe':{'exec':{'command':['x']},'tcpSocket':{'port':80}}"),
		 AT_C "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n"},
		{"pod", POD, C("'livenessProbe':{'exec':{'command':['x']},'successThreshold':2}"),
		 AT_C "livenessProbe.successThreshold: Invalid value: 2: must be 1\n"},
		{"pod", POD, C("'resources':{'requests':{'cpu':'2'},'limits':{'cpu':'1'}}"),
		 AT_C "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1\n"},
		{"pod", POD, C("'resources':{'requests':{'gpu':'2'}}"),
		 AT_C "resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully "
		      "qualified\n" AT_C
		      "resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers\n"},
		{"pod", POD, C("'resources':{'limits':{'a.b/c':'1.5'}}"),
		 AT_C "resources.limits[a.b/c]: Invalid value: \"1.5\": must be an integer\n" AT_C
		      "resources.requests[a.b/c]: Invalid value: \"1.5\": must be an integer\n"},
		{"pod", POD,
		 "{'spec':{'volumes':[{'name':'v','emptyDir':{}}],'containers':[{'name':'c','image':'i:1',"
		 "'volumeMounts':[{'name':'v','mountPath':'/m','mountPropagation':'Bidirectional'}]}]}}",
		 AT_C
		 "volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to "
		 "privileged containers\n"},
		{"pod", POD, C("'resources':{'requests':{'a.b/gpu':'1'},'limits':{'a.b/gpu':'2'}}"),
		 AT_C "resources.requests: Invalid value: \"1\": must be equal to a.b/gpu limit of 2\n"},
		{"pod", POD,
		 "{'spec':{'hostNetwork':true,'containers':[{'name':'c','image':'i','ports':[{'containerPort':80,"
		 "'hostPort':81}]}]}}",
		 AT_C "ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true\n"},
		{"pod", POD, C("'restartPolicy':'Always'"),
		 AT_C "restartPolicy: Forbidden: may not be set for non-init containers\n"},
		{"pod", POD,
		 "{'spec':{'initContainers':[{'name':'n','image':'i','livenessProbe':{'exec':{'command':['x']}}}]}}",
		 "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
		 "restartPolicy=Always\n"},
		{"pod", POD, "{'spec':{'dnsPolicy':'None'}}",
		 "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None\n"},
		{"pod", POD, "{'spec':{'tolerations':[{'operator':'Equal','value':'a'}]}}",
		 "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, "
		 "which means \"match all values and all keys\"\n"},
		{"pod", POD, "{'spec':{'terminationGracePeriodSeconds':-1}}",
		 "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0\n"},
		{"pod", POD,
		 "{'spec':{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':"
		 "{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'In'}]}]}}}}}",
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
		 "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'\n"},
	};

	try_all(rules, ARRAY_LEN(rules), false);
}

#define FIXED                                                                                                          \
	"spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"                    \
	"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "  \
	"tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"

static void pod_updates(_unused_ void **state)
{
	static const struct rule rules[] = {
		{"pod", POD, "{'metadata':{'labels':{'a':'b'}}}", ""},
		{"pod", POD, "{'spec':{'containers':[{'name':'c','image':'i:2','imagePullPolicy':'IfNotPresent'}]}}",
		 ""},
		{"pod", POD, C("'command':['x']"), FIXED},
		{"pod", POD, C("'tty':false,'command':[],'ports':null,'workingDir':''"), ""},
		{"pod", POD, "{'spec':{'automountServiceAccountToken':false}}", FIXED},
		{"pod", POD, "{'spec':{'nodeName':'n'}}", FIXED},
		{"pod", POD, "{'spec':{'tolerations':[{'key':'a','operator':'Exists'}]}}", ""},
		{"pod", POD, "{'spec':{'activeDeadlineSeconds':5}}", ""},
		{"pod", POD, "{'spec':{'containers':[{'name':'c','image':'i:1'},{'name':'d','image':'i'}]}}",
		 "spec.containers: Forbidden: pod updates may not add or remove containers\n"},
	};
	try_all(rules, ARRAY_LEN(rules), true);

	const struct rule taken = {
		"pod",
		"{'spec':{'activeDeadlineSeconds':5,'tolerations':[{'key':'a','operator':'Exists'}],"
		"'containers':[{'name':'c','image':'i'}]}}",
		"{'spec':{'activeDeadlineSeconds':6,'tolerations':null}}",
		"spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous "
		"value\nspec.tolerations: Forbidden: existing toleration can not be modified except its "
		"tolerationSeconds\n"};
	try_rule(&taken, true);
}

static void workloads(_unused_ void **state)
{
	static const struct rule create[] = {
		{"deploy", DEPLOYMENT, "{}", ""},
		{"deploy", DEPLOYMENT, "{'spec':{'template':{'metadata':{'labels':{'app':'other'}}}}}",
		 "spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"other\"}: `selector` does not "
		 "match template `labels`\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'selector':{'matchLabels':null}}}",
		 "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
		 "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'selector':null}}", "spec.selector: Required value\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'replicas':-1}}",
		 "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'template':{'spec':{'restartPolicy':'Never'}}}}",
		 "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'strategy':{'type':'Recreate','rollingUpdate':{'maxSurge':1}}}}",
		 "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}}}",
		 "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'strategy':{'rollingUpdate':{'maxUnavailable':'x'}}}}",
		 "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric "
		 "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'progressDeadlineSeconds':5,'minReadySeconds':5}}",
		 "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds\n"},
		{"deploy", DEPLOYMENT, "{'spec':{'selector':{'matchExpressions':[{'key':'app','operator':'In'}]}}}",
		 "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or "
		 "'NotIn'\nspec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"web\"}, "
		 "MatchExpressions:[]v1.LabelSelectorRequirement{v1.LabelSelectorRequirement{Key:\"app\", Operator:\"In\", "
		 "Values:[]string(nil)}}}: invalid label selector\n"},
	};
	static const struct rule update[] = {
		{"deploy", DEPLOYMENT, "{'spec':{'replicas':5}}", ""},
		{"deploy", DEPLOYMENT,
		 "{'spec':{'selector':{'matchLabels':{'app':'x'}},'template':{'metadata':{'labels':{'app':'x'}}}}}",
		 "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"x\"}, "
		 "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable\n"},
		{"rs", DEPLOYMENT,
		 "{'spec':{'selector':{'matchLabels':{'app':'x'}},'template':{'metadata':{'labels':{'app':'x'}}}}}",
		 "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"x\"}, "
		 "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable\n"},
	};
	try_all(create, ARRAY_LEN(create), false);
	try_all(update, ARRAY_LEN(update), true);
}

static void services(_unused_ void **state)
{
	static const struct rule create[] = {
		{"svc", SERVICE, "{}", ""},
		{"svc", SERVICE, "{'spec':{'ports':null}}", "spec.ports: Required value\n"},
		{"svc", SERVICE, "{'spec':{'ports':null,'clusterIP':'None','clusterIPs':null}}", ""},
		{"svc", SERVICE, "{'spec':{'ports':[{'port':80},{'port':81,'name':'b'}]}}",
		 "spec.ports[0].name: Required value\n"},
		{"svc", SERVICE, "{'spec':{'ports':[{'port':80,'name':'b'},{'port':81,'name':'b'}]}}",
		 "spec.ports[1].name: Duplicate value: \"b\"\n"},
		{"svc", SERVICE, "{'spec':{'ports':[{'port':80,'nodePort':30000}]}}",
		 "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'\n"},
		{"svc", SERVICE, "{'spec':{'ports':[{'port':0}]}}",
		 "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n"},
		{"svc", SERVICE, "{'spec':{'type':'NodePort','clusterIP':'None'}}",
		 "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services\n"},
		{"svc", SERVICE, "{'spec':{'type':'ExternalName','clusterIP':null,'clusterIPs':null}}",
		 "spec.externalName: Required value\n"},
		{"svc", SERVICE, "{'spec':{'ipFamilyPolicy':'PreferDualStack','ipFamilies':['IPv4']}}", ""},
		{"svc", SERVICE, "{'spec':{'ipFamilyPolicy':'RequireDualStack','ipFamilies':['IPv4','IPv6']}}",
		 "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack "
		 "services\nspec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster\n"},
		{"svc", SERVICE, "{'spec':{'selector':{'a/b/c':'d'}}}",
		 "spec.selector: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' "
		 "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
		 "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
		 "subdomain prefix and '/' (e.g. 'example.com/MyName')\n"},
	};
	static const struct rule update[] = {
		{"svc", SERVICE, "{'spec':{'clusterIP':'10.96.0.6','clusterIPs':['10.96.0.6']}}",
		 "spec.clusterIPs[0]: Invalid value: []string{\"10.96.0.6\"}: may not change once set\n"},
		{"svc", SERVICE,
		 "{'spec':{'type':'ExternalName','externalName':'a.b','clusterIP':null,'clusterIPs':null}}", ""},
	};
	try_all(create, ARRAY_LEN(create), false);
	try_all(update, ARRAY_LEN(update), true);
}

#define SLICE                                                                                                          \
	"{'metadata':{'name':'s'},'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1']}],'ports':[{'port':80}]}"
#define SUBSETS "{'subsets':[{'addresses':[{'ip':'10.0.0.1'}],'ports':[{'port':80}]}]}"

static void endpoints(_unused_ void **state)
{
	static const struct rule create[] = {
		{"endpointslice", SLICE, "{}", ""},
		{"endpointslice", SLICE, "{'endpoints':[{}]}",
		 "endpoints[0].addresses: Required value: must contain at least 1 address\n"},
		{"endpointslice", SLICE, "{'endpoints':[{'addresses':['::1']}]}",
		 "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address\n"},
		{"endpointslice", SLICE, "{'endpoints':[{'addresses':['127.0.0.1']}]}",
		 "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
		 "::1/128)\n"},
		{"endpointslice", SLICE, "{'ports':[{'port':80,'name':'a'},{'port':81,'name':'a'}]}",
		 "ports[1].name: Duplicate value: \"a\"\n"},
		{"endpointslice", SLICE, "{'addressType':null}", "addressType: Required value\n"},
		{"endpoints", SUBSETS, "{}", ""},
		{"endpoints", SUBSETS, "{'subsets':[{'ports':[{'port':80}]}]}",
		 "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`\n"},
		{"endpoints", SUBSETS, "{'subsets':[{'addresses':[{'ip':'0.0.0.0'}]}]}",
		 "subsets[0].addresses[0].ip: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0 or ::)\n"},
	};
	static const struct rule update[] = {
		{"endpointslice", SLICE, "{'addressType':'FQDN','endpoints':[{'addresses':['a.b']}]}",
		 "addressType: Invalid value: \"FQDN\": field is immutable\n"},
	};
	try_all(create, ARRAY_LEN(create), false);
	try_all(update, ARRAY_LEN(update), true);
}

static void configuration(_unused_ void **state)
{
	static const struct rule create[] = {
		{"cm", "{'data':{'a':'b'}}", "{}", ""},
		{"cm", "{'data':{'a':'b'}}", "{'binaryData':{'a':'Yg=='}}",
		 "data[a]: Invalid value: \"a\": duplicate of key present in binaryData\n"},
		{"secret", "{}", "{'type':'kubernetes.io/tls','data':{'tls.crt':'YQ=='}}",
		 "data[tls.key]: Required value\n"},
		{"secret", "{}", "{'type':'kubernetes.io/basic-auth'}",
		 "data[username]: Required value\ndata[password]: Required value\n"},
		{"secret", "{}", "{'type':'kubernetes.io/ssh-auth'}", "data[ssh-privatekey]: Required value\n"},
		{"secret", "{}", "{'type':'kubernetes.io/dockerconfigjson','data':{'.dockerconfigjson':'e30='}}", ""},
		{"secret", "{}", "{'type':'kubernetes.io/dockercfg'}", "data[.dockercfg]: Required value\n"},
		{"secret", "{}", "{'type':'kubernetes.io/service-account-token'}",
		 "metadata.annotations[kubernetes.io/service-account.name]: Required value\n"},
		{"lease", "{}", "{'spec':{'leaseDurationSeconds':0,'leaseTransitions':-1}}",
		 "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0\n"
		 "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0\n"},
		{"event", "{'metadata':{'namespace':'a'},'involvedObject':{'namespace':'a'}}", "{}", ""},
		{"event", "{'metadata':{'namespace':'a'},'involvedObject':{'namespace':'b'}}", "{}",
		 "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace\n"},
		{"event", "{'metadata':{'namespace':'default'},'involvedObject':{}}", "{}", ""},
		{"node", "{'spec':{'taints':[{'key':'a','effect':'NoSchedule'},{'key':'a','effect':'NoSchedule'}]}}",
		 "{}",
		 "spec.taints[1]: Duplicate value: core.Taint{Key:\"a\", Value:\"\", Effect:\"NoSchedule\", "
		 "TimeAdded:<nil>}\n"},
	};
	static const struct rule update[] = {
		{"namespace", "{'metadata':{'name':'n'},'status':{'phase':'Active'}}",
		 "{'status':{'phase':'Terminating'}}",
		 "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty\n"},
		{"cm", "{'immutable':true,'data':{'a':'b'}}", "{'data':{'a':'c'}}",
		 "data: Forbidden: field is immutable when `immutable` is set\n"},
		{"cm", "{'immutable':true,'data':{'a':'b'}}", "{'immutable':null}",
		 "immutable: Forbidden: field is immutable when `immutable` is set\n"},
		{"cm", "{'immutable':true,'data':{'a':'b'}}", "{'metadata':{'labels':{'x':'y'}}}", ""},
		{"secret", "{'type':'Opaque'}", "{'type':'x'}", "type: Invalid value: \"x\": field is immutable\n"},
		{"node", "{'spec':{'podCIDR':'10.0.0.0/24'}}", "{'spec':{'podCIDR':'10.0.1.0/24'}}",
		 "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid\n"},
	};
	try_all(create, ARRAY_LEN(create), false);
	try_all(update, ARRAY_LEN(update), true);
}

static void config_map_is_bounded(_unused_ void **state)
{
	const struct kind *k = kind_by_word("cm");
	size_t n = (1u << 20) + 1;
	_cleanup_free_ char *big = xmalloc(n);
	_cleanup_err_ struct err err = ERR_INIT;

	memset(big, 'x', n);
	json_t *obj = json_object(), *data = json_need_object(obj, "data");
	json_object_set_new(data, "a", json_stringn(big, n - 1));
	assert_int_equal(schema_validate(k->schema, obj, NULL, &err), 0);
	json_object_set_new(data, "a", json_stringn(big, n));
	schema_validate(k->schema, obj, NULL, &err);
	_cleanup_free_ char *got = faults_of(&err);
	assert_string_equal(got, ": Too long: may not be more than 1048576 bytes\n");
	json_decref(obj);
}

#define ROLE    "{'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}"
#define BINDING "{'roleRef':{'kind':'ClusterRole','name':'r'},'subjects':[{'kind':'User','name':'u'}]}"

/* Lists as long as a body can carry are judged in well under a second: the alarm ends the test otherwise. */
static void long_lists_are_cheap(_unused_ void **state)
{
	static const char *const lists[] = {"containers", "initContainers", "volumes", "tolerations",
					    "schedulingGates"};
	json_t *pod = js(POD), *spec = json_object_get(pod, "spec");
	_cleanup_err_ struct err err = ERR_INIT;

	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_t *list = json_array();
		for (int i = 0; i < 20000; i++) {
			_cleanup_free_ char *name = xasprintf("n%d", i);
			json_array_append_new(list, json_make("{s:s, s:s}", "name", name, "key", name));
		}
		json_object_set_new(spec, lists[l], list);
	}
	json_t *mounts = json_array();
	for (int i = 0; i < 20000; i++)
		json_array_append_new(mounts, json_make("{s:s, s:s}", "name", "n19999", "mountPath", "/x"));
	json_object_set_new(json_array_get(json_object_get(spec, "containers"), 0), "volumeMounts", mounts);
	json_t *old = json_deep_copy(pod);
	json_array_clear(json_object_get(json_object_get(old, "spec"), "schedulingGates"));

	alarm(20);
	kind_by_word("pod")->schema->check(pod, old, "", &err);
	const struct schema *s = schema_field(kind_by_word("pod")->schema, "spec")->of;
	s->check(spec, NULL, "spec", &err);
	alarm(0);
	assert_true(err.n_causes >= 20000);
	json_decref(old);
	json_decref(pod);
}

static void rights(_unused_ void **state)
{
	static const struct rule create[] = {
		{"role", ROLE, "{}", ""},
		{"role", ROLE, "{'rules':[{'apiGroups':[''],'resources':['pods']}]}",
		 "rules[0].verbs: Required value: verbs must contain at least one value\n"},
		{"role", ROLE, "{'rules':[{'verbs':['get']}]}",
		 "rules[0].apiGroups: Required value: resource rules must supply at least one api group\n"
		 "rules[0].resources: Required value: resource rules must supply at least one resource\n"},
		{"role", ROLE, "{'rules':[{'verbs':['get'],'nonResourceURLs':['/x']}]}",
		 "rules[0].nonResourceURLs: Invalid value: []string{\"/x\"}: namespaced rules cannot apply to non-resource "
		 "URLs\n"},
		{"clusterrole", ROLE, "{'rules':[{'verbs':['get'],'nonResourceURLs':['/x']}]}", ""},
		{"clusterrole", ROLE, "{'rules':[{'verbs':['get'],'resources':['a'],'nonResourceURLs':['/x']}]}",
		 "rules[0].nonResourceURLs: Invalid value: []string{\"/x\"}: rules cannot apply to both regular resources "
		 "and non-resource URLs\n"},
		{"rolebinding", BINDING, "{}", ""},
		{"clusterrolebinding", BINDING, "{'roleRef':{'kind':'Role'}}",
		 "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"\n"},
		{"clusterrolebinding", BINDING, "{'subjects':[{'kind':'ServiceAccount','name':'a'}]}",
		 "subjects[0].namespace: Required value\n"},
		{"rolebinding", BINDING, "{'subjects':[{'kind':'Robot','name':'a'}]}",
		 "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", "
		 "\"Group\"\n"},
		{"subjectaccessreview", "{}", "{'spec':{'user':'u'}}",
		 "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
		 "must be specified\n"},
		{"subjectaccessreview", "{}", "{'spec':{'resourceAttributes':{'verb':'get'}}}",
		 "spec.user: Invalid value: \"\": at least one of user or group must be specified\n"},
		{"selfsubjectaccessreview", "{}", "{'spec':{'resourceAttributes':{'verb':'get'}}}", ""},
	};
	static const struct rule update[] = {
		{"rolebinding", BINDING, "{'roleRef':{'name':'x'}}",
		 "roleRef: Invalid value: rbac.RoleRef{APIGroup:\"rbac.authorization.k8s.io\", Kind:\"ClusterRole\", "
		 "Name:\"x\"}: cannot change roleRef\n"},
	};
	try_all(create, ARRAY_LEN(create), false);
	try_all(update, ARRAY_LEN(update), true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),
		cmocka_unit_test(pod_updates),
		cmocka_unit_test(workloads),
		cmocka_unit_test(services),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(configuration),
		cmocka_unit_test(config_map_is_bounded),
		cmocka_unit_test(rights),
		cmocka_unit_test(long_lists_are_cheap),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
