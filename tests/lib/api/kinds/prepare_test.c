/* What the server sets, keeps and drops when objects are written; and the pod's class of service. */
#include "tests/lib/api/kinds/support.h"

#include "lib/api/kinds/pod_qos.h"

static json_t *prepared(const char *word, const char *text, const char *old_text)
{
	json_t *obj = js(text), *old = old_text ? js(old_text) : NULL;
	kind_by_word(word)->prepare(obj, old);
	json_decref(old);
	return obj;
}

static void check(const char *word, const char *text, const char *old, const char *want)
{
	json_t *obj = prepared(word, text, old);
	assert_json(obj, want);
	json_decref(obj);
}

static void status_is_not_its_writers(_unused_ void **state)
{
	check("pod", "{'spec':{},'status':{'phase':'Running'}}", NULL,
	      "{'spec':{},'status':{'phase':'Pending','qosClass':'BestEffort'}}");
	check("pod", "{'spec':{},'status':{'phase':'Failed'}}", "{'status':{'phase':'Running'}}",
	      "{'spec':{},'status':{'phase':'Running'}}");
	check("deploy", "{'status':{'replicas':5}}", NULL, "{'status':{}}");
	check("deploy", "{'status':{'replicas':5}}", "{'status':{'replicas':2}}", "{'status':{'replicas':2}}");
	check("rs", "{'status':{'replicas':5}}", NULL, "{'status':{'replicas':0}}");
	check("node", "{'spec':{'podCIDR':'10.0.0.0/24'},'status':{'a':1}}", NULL,
	      "{'spec':{'podCIDR':'10.0.0.0/24','podCIDRs':['10.0.0.0/24']},'status':{'a':1}}");
	check("node", "{'spec':{},'status':{'a':1}}", "{'status':{'a':2}}", "{'spec':{},'status':{'a':2}}");
}

static void namespaces_are_finalized(_unused_ void **state)
{
	check("ns", "{}", NULL, "{'spec':{'finalizers':['kubernetes']},'status':{'phase':'Active'}}");
	check("ns", "{'spec':{'finalizers':['kubernetes']}}", NULL,
	      "{'spec':{'finalizers':['kubernetes']},'status':{'phase':'Active'}}");
	check("ns", "{'spec':{'finalizers':[]},'status':{'phase':'Active'}}",
	      "{'spec':{'finalizers':['kubernetes']},'status':{'phase':'Terminating'}}",
	      "{'spec':{'finalizers':['kubernetes']},'status':{'phase':'Terminating'}}");
}

static void check_spec(const char *spec, const char *old_spec, const char *want)
{
	_cleanup_free_ char *text = xasprintf("{'spec':%s}", spec), *old = xasprintf("{'spec':%s}", old_spec);
	json_t *obj = prepared("svc", text, old);
	assert_json(json_object_get(obj, "spec"), want);
	json_decref(obj);
}

static void services_keep_what_they_got(_unused_ void **state)
{
	check("svc", "{'spec':{'clusterIP':'None'}}", NULL,
	      "{'spec':{'clusterIP':'None','clusterIPs':['None']},'status':{'loadBalancer':{}}}");
	check("svc", "{'spec':{'clusterIPs':['10.96.0.7']}}", NULL,
	      "{'spec':{'clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']},'status':{'loadBalancer':{}}}");
	check_spec("{'type':'ClusterIP'}", "{'type':'ClusterIP','clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']}",
		   "{'type':'ClusterIP','clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']}");
	check_spec("{'type':'NodePort','ports':[{'port':80},{'port':81,'nodePort':30002}]}",
		   "{'type':'NodePort','ports':[{'port':80,'nodePort':30001},{'port':81,'nodePort':30003}]}",
		   "{'type':'NodePort','ports':[{'port':80,'nodePort':30001},{'port':81,'nodePort':30002}]}");
	check_spec("{'type':'NodePort','ports':[{'port':80},{'port':81,'nodePort':30001}]}",
		   "{'type':'NodePort','ports':[{'port':80,'nodePort':30001}]}",
		   "{'type':'NodePort','ports':[{'port':80},{'port':81,'nodePort':30001}]}");
	check_spec("{'type':'ClusterIP','externalTrafficPolicy':'Cluster','ports':[{'port':80,'nodePort':30001}]}",
		   "{'type':'NodePort','externalTrafficPolicy':'Cluster','ports':[{'port':80,'nodePort':30001}]}",
		   "{'type':'ClusterIP','ports':[{'port':80}]}");
	check_spec("{'type':'ExternalName','clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7'],'ipFamilies':['IPv4']}",
		   "{'type':'ClusterIP','clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7'],'ipFamilies':['IPv4']}",
		   "{'type':'ExternalName'}");
	/* a change of one of the two is a change of both: validation then refuses it */
	check_spec("{'type':'ClusterIP','clusterIP':'10.96.0.8','clusterIPs':['10.96.0.7']}",
		   "{'type':'ClusterIP','clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']}",
		   "{'type':'ClusterIP','clusterIP':'10.96.0.8','clusterIPs':['10.96.0.8']}");
}

static void classes_of_service(_unused_ void **state)
{
	static const struct {
		const char *resources, *qos;
	} cases[] = {
		{"{}", "BestEffort"},
		{"{'requests':{'cpu':'0'}}", "BestEffort"},
		{"{'requests':{'ephemeral-storage':'1Gi'}}", "BestEffort"},
		{"{'requests':{'cpu':'100m'}}", "Burstable"},
		{"{'limits':{'memory':'1Gi'}}", "Burstable"},
		{"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'1000m','memory':'1024Mi'}}", "Guaranteed"},
		{"{'limits':{'cpu':1,'memory':'1Gi'},'requests':{'cpu':1,'memory':'1Gi'}}", "Guaranteed"},
		{"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m','memory':'1Gi'}}", "Burstable"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text =
			xasprintf("{'spec':{'containers':[{'name':'c','resources':%s}]}}", cases[i].resources);
		json_t *pod = js(text);
		assert_string_equal(pod_qos(pod), cases[i].qos);
		json_decref(pod);
	}

	/* one container without limits, or an init container without, is enough */
	json_t *pod =
		js("{'spec':{'containers':[{'resources':{'limits':{'cpu':1,'memory':1},'requests':{'cpu':1,'memory':"
		   "1}}}],'initContainers':[{}]}}");
	assert_string_equal(pod_qos(pod), "Burstable");
	json_decref(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_not_its_writers),
		cmocka_unit_test(namespaces_are_finalized),
		cmocka_unit_test(services_keep_what_they_got),
		cmocka_unit_test(classes_of_service),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
