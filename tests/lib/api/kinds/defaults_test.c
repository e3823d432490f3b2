/* What a user leaves out, filled in as upstream's v1.32 fills it in. */
#include "tests/lib/api/kinds/support.h"

static json_t *defaulted(const char *word, const char *text)
{
	json_t *obj = js(text);
	schema_default(kind_by_word(word)->schema, obj);
	return obj;
}

static void deployment(_unused_ void **state)
{
	json_t *d =
		defaulted("deployment",
			  "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},"
			  "'spec':{'replicas':3,'selector':{'matchLabels':{'app':'web'}},"
			  "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':"
			  "[{'name':'web','image':'nginx:1.27','ports':[{'containerPort':80}]}]}}}}");

	assert_json(d, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},"
		       "'spec':{'replicas':3,'selector':{'matchLabels':{'app':'web'}},'revisionHistoryLimit':10,"
		       "'progressDeadlineSeconds':600,'strategy':{'type':'RollingUpdate','rollingUpdate':"
		       "{'maxUnavailable':'25%','maxSurge':'25%'}},"
		       "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':"
		       "[{'name':'web','image':'nginx:1.27','imagePullPolicy':'IfNotPresent','resources':{},"
		       "'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File',"
		       "'ports':[{'containerPort':80,'protocol':'TCP'}]}],"
		       "'dnsPolicy':'ClusterFirst','restartPolicy':'Always','schedulerName':'default-scheduler',"
		       "'securityContext':{},'terminationGracePeriodSeconds':30}}},'status':{}}");
	json_decref(d);
}

static void recreate_has_no_rolling_update(_unused_ void **state)
{
	json_t *d = defaulted("deployment", "{'spec':{'strategy':{'type':'Recreate'}}}");
	assert_json(json_path(d, "spec", "strategy", NULL), "{'type':'Recreate'}");
	assert_json(json_path(d, "spec", "replicas", NULL) ? json_path(d, "spec", NULL) : NULL,
		    "{'replicas':1,'strategy':{'type':'Recreate'},'revisionHistoryLimit':10,"
		    "'progressDeadlineSeconds':600}");
	json_decref(d);
}

static void service(_unused_ void **state)
{
	json_t *s = defaulted("svc", "{'metadata':{'name':'web'},'spec':{'selector':{'app':'web'},'ports':"
				     "[{'port':80},{'name':'dns','port':53,'protocol':'UDP','targetPort':'dns'}]}}");

	assert_json(s, "{'metadata':{'name':'web'},'spec':{'selector':{'app':'web'},'ports':"
		       "[{'port':80,'protocol':'TCP','targetPort':80},"
		       "{'name':'dns','port':53,'protocol':'UDP','targetPort':'dns'}],"
		       "'type':'ClusterIP','sessionAffinity':'None','internalTrafficPolicy':'Cluster',"
		       "'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack'},'status':{'loadBalancer':{}}}");
	json_decref(s);

	s = defaulted("svc", "{'spec':{'type':'NodePort','sessionAffinity':'ClientIP','ports':[{'port':80}]}}");
	assert_json(json_path(s, "spec", "sessionAffinityConfig", NULL), "{'clientIP':{'timeoutSeconds':10800}}");
	assert_string_equal(json_get_str(json_object_get(s, "spec"), "externalTrafficPolicy", ""), "Cluster");
	json_decref(s);

	s = defaulted("svc", "{'spec':{'type':'ExternalName','externalName':'a.example'}}");
	assert_json(json_object_get(s, "spec"), "{'type':'ExternalName','externalName':'a.example',"
						"'sessionAffinity':'None'}");
	json_decref(s);
}

static void pod(_unused_ void **state)
{
	json_t *p = defaulted(
		"pod",
		"{'metadata':{'name':'p'},'spec':{'serviceAccountName':'sa','hostNetwork':true,'containers':[{'name':'c',"
		"'image':'busybox','resources':{'limits':{'cpu':'1','memory':'64Mi'},'requests':{'cpu':'500m'}},"
		"'ports':[{'containerPort':80}],'livenessProbe':{'httpGet':{'port':80}}}],"
		"'volumes':[{'name':'a'},{'name':'b','configMap':{'name':'cm'}},{'name':'c','secret':"
		"{'secretName':'s'}},{'name':'h','hostPath':{'path':'/x'}},{'name':'p','projected':{'sources':"
		"[{'serviceAccountToken':{'path':'token'}}]}}]}}");

	assert_json(
		p,
		"{'metadata':{'name':'p'},'spec':{'serviceAccountName':'sa','serviceAccount':'sa','hostNetwork':true,"
		"'containers':[{'name':'c','image':'busybox','imagePullPolicy':'Always',"
		"'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File',"
		"'resources':{'limits':{'cpu':'1','memory':'64Mi'},'requests':{'cpu':'500m','memory':'64Mi'}},"
		"'ports':[{'containerPort':80,'hostPort':80,'protocol':'TCP'}],"
		"'livenessProbe':{'httpGet':{'path':'/','port':80,'scheme':'HTTP'},'timeoutSeconds':1,"
		"'periodSeconds':10,'successThreshold':1,'failureThreshold':3}}],"
		"'volumes':[{'name':'a','emptyDir':{}},{'name':'b','configMap':{'name':'cm','defaultMode':420}},"
		"{'name':'c','secret':{'secretName':'s','defaultMode':420}},"
		"{'name':'h','hostPath':{'path':'/x','type':''}},{'name':'p','projected':{'defaultMode':420,"
		"'sources':[{'serviceAccountToken':{'path':'token','expirationSeconds':3600}}]}}],"
		"'dnsPolicy':'ClusterFirst','restartPolicy':'Always','schedulerName':'default-scheduler',"
		"'securityContext':{},'terminationGracePeriodSeconds':30,'enableServiceLinks':true}}");
	json_decref(p);
}

static void pull_policy_follows_the_tag(_unused_ void **state)
{
	static const struct {
		const char *image, *policy;
	} cases[] = {
		{"busybox", "Always"},
		{"busybox:latest", "Always"},
		{"busybox:1.36", "IfNotPresent"},
		{"registry.local:5000/busybox", "Always"},
		{"registry.local:5000/busybox:v1", "IfNotPresent"},
		{"registry.local:5000/busybox:latest", "Always"},
		{"busybox@sha256:0123", "IfNotPresent"},
		{"busybox:latest@sha256:0123", "Always"},
		{"busybox:1@sha256:0123", "IfNotPresent"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *p = json_make("{s:{s:[{s:s}]}}", "spec", "containers", "image", cases[i].image);
		schema_default(kind_by_word("pod")->schema, p);
		const json_t *c = json_array_get(json_path(p, "spec", "containers", NULL), 0);
		if (!streq(json_get_str(c, "imagePullPolicy", ""), cases[i].policy))
			fail_msg("%s: %s", cases[i].image, json_get_str(c, "imagePullPolicy", ""));
		json_decref(p);
	}
}

static void small_kinds(_unused_ void **state)
{
	json_t *o = defaulted("secret", "{'stringData':{'a':'hello'},'data':{'b':'Yg=='}}");
	assert_json(o, "{'type':'Opaque','data':{'a':'aGVsbG8=','b':'Yg=='}}");
	json_decref(o);

	o = defaulted("ns", "{'metadata':{'name':'x'}}");
	assert_json(json_object_get(o, "metadata"), "{'name':'x','labels':{'kubernetes.io/metadata.name':'x'}}");
	json_decref(o);

	o = defaulted("rolebinding", "{'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u'},"
				     "{'kind':'ServiceAccount','name':'s','namespace':'n'}]}");
	assert_json(o, "{'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':'r'},'subjects':"
		       "[{'kind':'User','name':'u','apiGroup':'rbac.authorization.k8s.io'},"
		       "{'kind':'ServiceAccount','name':'s','namespace':'n'}]}");
	json_decref(o);

	o = defaulted("node", "{'metadata':{'name':'n'},'status':{'capacity':{'cpu':'2'}}}");
	assert_json(json_object_get(o, "status"), "{'capacity':{'cpu':'2'},'allocatable':{'cpu':'2'}}");
	json_decref(o);
}

/* A stored object is defaulted again whenever it is written: nothing may change the second time. */
static void twice_is_once(_unused_ void **state)
{
	static const char *const words[] = {"pod", "deployment", "svc", "secret", "ns", "rolebinding", "node"};
	static const char text[] =
		"{'metadata':{'name':'x'},'stringData':{'a':'b'},'roleRef':{'name':'r'},'spec':{"
		"'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v'}],'ports':[{'port':1}]}}";

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		json_t *once = defaulted(words[i], text), *twice = json_deep_copy(once);
		schema_default(kind_by_word(words[i])->schema, twice);
		assert_true(json_equal(once, twice));
		json_decref(once);
		json_decref(twice);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deployment),
		cmocka_unit_test(recreate_has_no_rolling_update),
		cmocka_unit_test(service),
		cmocka_unit_test(pod),
		cmocka_unit_test(pull_policy_follows_the_tag),
		cmocka_unit_test(small_kinds),
		cmocka_unit_test(twice_is_once),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
