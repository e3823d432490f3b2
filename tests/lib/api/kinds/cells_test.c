/* Table cells, ages and the words for a pod's state, as kubectl prints them. */
#include "tests/lib/api/kinds/support.h"

#include "lib/api/kinds/duration.h"
#include "lib/api/kinds/pod_text.h"

#define NOW     1767330000 /* 2026-01-02T05:00:00Z */
#define CREATED "'metadata':{'name':'x','creationTimestamp':'2026-01-02T04:55:00Z'"

static void durations(_unused_ void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{-2, "<invalid>"}, {-1, "0s"},         {0, "0s"},         {119, "119s"},  {120, "2m"},
		{150, "2m30s"},    {599, "9m59s"},     {600, "10m"},      {659, "10m"},   {10799, "179m"},
		{10800, "3h"},     {10860, "3h1m"},    {28799, "7h59m"},  {28800, "8h"},  {172799, "47h"},
		{172800, "2d"},    {176400, "2d1h"},   {691199, "7d23h"}, {691200, "8d"}, {63071999, "729d"},
		{63072000, "2y"},  {63158400, "2y1d"}, {252288000, "8y"},
	};
	char text[HUMAN_DURATION_MAX];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(human_duration(cases[i].seconds, text), cases[i].text);
	assert_string_equal(human_age("", NOW, text), "<unknown>");
	assert_string_equal(human_age(NULL, NOW, text), "<unknown>");
	assert_string_equal(human_age("2026-01-02T04:59:15Z", NOW, text), "45s");
}

#define TWO_CONTAINERS "'spec':{'containers':[{'name':'a'},{'name':'b'}]}"
#define ONE_CONTAINER  "'spec':{'containers':[{'name':'a'}]}"
#define WITH_INIT      "'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i'},{'name':'j'}]}"
#define WITH_SIDECAR   "'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i','restartPolicy':'Always'}]}"

static void pod_states(_unused_ void **state)
{
	static const struct {
		const char *pod, *ready, *status, *restarts;
	} cases[] = {
		{"{" TWO_CONTAINERS ",'status':{'phase':'Pending'}}", "0/2", "Pending", "0"},
		{"{" TWO_CONTAINERS ",'status':{'phase':'Running','containerStatuses':["
		 "{'name':'a','ready':true,'state':{'running':{}}},{'name':'b','ready':false,'state':{'running':{}}}]}}",
		 "1/2", "Running", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Pending','containerStatuses':["
		 "{'name':'a','state':{'waiting':{'reason':'ContainerCreating'}}}]}}",
		 "0/1", "ContainerCreating", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Running','containerStatuses':[{'name':'a','restartCount':3,"
		 "'state':{'waiting':{'reason':'CrashLoopBackOff'}},"
		 "'lastState':{'terminated':{'exitCode':1,'finishedAt':'2026-01-02T04:55:00Z'}}}]}}",
		 "0/1", "CrashLoopBackOff", "3 (5m ago)"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Running','containerStatuses':[{'name':'a','restartCount':1,"
		 "'state':{'terminated':{'exitCode':137,'reason':'OOMKilled'}}}]}}",
		 "0/1", "OOMKilled", "1"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
		 "'state':{'terminated':{'exitCode':1,'reason':'Error'}}}]}}",
		 "0/1", "Error", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
		 "'state':{'terminated':{'exitCode':1}}}]}}",
		 "0/1", "ExitCode:1", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
		 "'state':{'terminated':{'exitCode':137,'signal':9}}}]}}",
		 "0/1", "Signal:9", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Succeeded','containerStatuses':[{'name':'a',"
		 "'state':{'terminated':{'exitCode':0,'reason':'Completed'}}}]}}",
		 "0/1", "Completed", "0"},
		{"{" TWO_CONTAINERS ",'status':{'phase':'Running','conditions':[{'type':'Ready','status':'False'}],"
		 "'containerStatuses':[{'name':'a','state':{'terminated':{'exitCode':0,'reason':'Completed'}}},"
		 "{'name':'b','ready':true,'state':{'running':{}}}]}}",
		 "1/2", "NotReady", "0"},
		{"{" WITH_INIT ",'status':{'phase':'Pending','initContainerStatuses':["
		 "{'name':'i','state':{'running':{}}},{'name':'j','state':{'waiting':{'reason':'PodInitializing'}}}]}}",
		 "0/1", "Init:0/2", "0"},
		{"{" WITH_INIT ",'status':{'phase':'Pending','initContainerStatuses':["
		 "{'name':'i','state':{'terminated':{'exitCode':0}}},{'name':'j','state':{'waiting':"
		 "{'reason':'PodInitializing'}}}],'containerStatuses':[{'name':'a','state':{'waiting':"
		 "{'reason':'PodInitializing'}}}]}}",
		 "0/1", "Init:1/2", "0"},
		{"{" WITH_INIT ",'status':{'phase':'Pending','initContainerStatuses':["
		 "{'name':'i','restartCount':2,'state':{'waiting':{'reason':'CrashLoopBackOff'}},"
		 "'lastState':{'terminated':{'exitCode':1,'finishedAt':'2026-01-02T04:59:30Z'}}}]}}",
		 "0/1", "Init:CrashLoopBackOff", "2 (30s ago)"},
		{"{" WITH_INIT ",'status':{'phase':'Failed','initContainerStatuses':["
		 "{'name':'i','state':{'terminated':{'exitCode':1,'reason':'Error'}}}]}}",
		 "0/1", "Init:Error", "0"},
		{"{" WITH_INIT ",'status':{'phase':'Failed','initContainerStatuses':["
		 "{'name':'i','state':{'terminated':{'exitCode':7}}}]}}",
		 "0/1", "Init:ExitCode:7", "0"},
		{"{" WITH_SIDECAR ",'status':{'phase':'Running','initContainerStatuses':[{'name':'i','started':true,"
		 "'ready':true,'restartCount':1,'state':{'running':{}}}],'containerStatuses':[{'name':'a','ready':true,"
		 "'state':{'running':{}}}]}}",
		 "2/2", "Running", "1"},
		{"{'metadata':{'deletionTimestamp':'2026-01-02T05:00:00Z'}," ONE_CONTAINER
		 ",'status':{'phase':'Running','containerStatuses':[{'name':'a','ready':true,'state':{'running':{}}}]}}",
		 "1/1", "Terminating", "0"},
		{"{'metadata':{'deletionTimestamp':'2026-01-02T05:00:00Z'}," ONE_CONTAINER
		 ",'status':{'phase':'Running','reason':'NodeLost'}}",
		 "0/1", "Unknown", "0"},
		{"{'metadata':{'deletionTimestamp':'2026-01-02T05:00:00Z'}," ONE_CONTAINER
		 ",'status':{'phase':'Succeeded'}}",
		 "0/1", "Succeeded", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Failed','reason':'Evicted'}}", "0/1", "Evicted", "0"},
		{"{" ONE_CONTAINER ",'status':{'phase':'Pending','conditions':[{'type':'PodScheduled','status':'False',"
		 "'reason':'SchedulingGated'}]}}",
		 "0/1", "SchedulingGated", "0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *pod = js(cases[i].pod);
		struct pod_text t;
		pod_format_status(pod, NOW, &t);
		if (!streq(t.ready, cases[i].ready) || !streq(t.status, cases[i].status) ||
		    !streq(t.restarts, cases[i].restarts))
			fail_msg("%s: %s %s %s", cases[i].pod, t.ready, t.status, t.restarts);
		json_decref(pod);
	}
}

static void every_kind(_unused_ void **state)
{
	static const struct {
		const char *word, *object, *cells;
	} cases[] = {
		{"pod",
		 "{" CREATED
		 "},'spec':{'nodeName':'n1','containers':[{'name':'a'}],'readinessGates':[{'conditionType':'g'}]},"
		 "'status':{'phase':'Running','podIP':'10.244.0.2','podIPs':[{'ip':'10.244.0.2'}],'containerStatuses':"
		 "[{'name':'a','ready':true,'state':{'running':{}}}]}}",
		 "['x','1/1','Running','0','5m','10.244.0.2','n1','<none>','0/1']"},
		{"deployment",
		 "{" CREATED
		 "},'spec':{'replicas':3,'selector':{'matchLabels':{'app':'web'}},'template':{'spec':{'containers':"
		 "[{'name':'a','image':'i:1'},{'name':'b','image':'j:2'}]}}},'status':{'readyReplicas':2,"
		 "'updatedReplicas':3,'availableReplicas':1}}",
		 "['x','2/3',3,1,'5m','a,b','i:1,j:2','app=web']"},
		{"rs",
		 "{" CREATED "},'spec':{'replicas':3,'selector':{'matchLabels':{'b':'2','a':'1'}},'template':{'spec':"
		 "{'containers':[{'name':'a','image':'i:1'}]}}},'status':{'replicas':2,'readyReplicas':1}}",
		 "['x',3,2,1,'5m','a','i:1','a=1,b=2']"},
		{"svc",
		 "{" CREATED "},'spec':{'type':'NodePort','clusterIP':'10.96.0.9','selector':{'b':'2','a':'1'},'ports':"
		 "[{'port':80,'nodePort':30080,'protocol':'TCP'},{'port':53,'protocol':'UDP'}]}}",
		 "['x','NodePort','10.96.0.9','<none>','80:30080/TCP,53/UDP','5m','a=1,b=2']"},
		{"svc", "{" CREATED "},'spec':{'type':'LoadBalancer','clusterIP':'10.96.0.9','ports':[]}}",
		 "['x','LoadBalancer','10.96.0.9','<pending>','<none>','5m','<none>']"},
		{"svc", "{" CREATED "},'spec':{'type':'ExternalName','externalName':'a.example'}}",
		 "['x','ExternalName','<none>','a.example','<none>','5m','<none>']"},
		{"ep",
		 "{" CREATED "},'subsets':[{'addresses':[{'ip':'10.0.0.1'},{'ip':'10.0.0.2'}],'ports':[{'port':80},"
		 "{'port':81}]}]}",
		 "['x','10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...','5m']"},
		{"ep", "{" CREATED "}}", "['x','<none>','5m']"},
		{"endpointslice",
		 "{" CREATED "},'addressType':'IPv4','ports':[{'port':80},{'port':443}],'endpoints':[{'addresses':"
		 "['10.0.0.1']},{'addresses':['10.0.0.2']}]}",
		 "['x','IPv4','80,443','10.0.0.1,10.0.0.2','5m']"},
		{"endpointslice", "{" CREATED "},'addressType':'IPv4'}", "['x','IPv4','<unset>','<unset>','5m']"},
		{"node",
		 "{" CREATED
		 ",'labels':{'node-role.kubernetes.io/worker':'','node-role.kubernetes.io/control-plane':''}},"
		 "'spec':{'unschedulable':true},'status':{'conditions':[{'type':'Ready','status':'True'}],'addresses':"
		 "[{'type':'InternalIP','address':'10.0.0.5'}],'nodeInfo':{'kubeletVersion':'v1.32.0','osImage':'Debian',"
		 "'kernelVersion':'6.1'}}}",
		 "['x','Ready,SchedulingDisabled','control-plane,worker','5m','v1.32.0','10.0.0.5','<none>','Debian','6.1',"
		 "'<unknown>']"},
		{"ns", "{" CREATED "},'status':{'phase':'Active'}}", "['x','Active','5m']"},
		{"cm", "{" CREATED "},'data':{'a':'b'},'binaryData':{'c':''}}", "['x',2,'5m']"},
		{"secret", "{" CREATED "},'type':'Opaque','data':{'a':'b'}}", "['x','Opaque',1,'5m']"},
		{"sa", "{" CREATED "}}", "['x',0,'5m']"},
		{"lease", "{" CREATED "},'spec':{'holderIdentity':'me'}}", "['x','me','5m']"},
		{"event",
		 "{" CREATED "},'type':'Warning','reason':'BackOff','message':' again \\n','count':4,'involvedObject':"
		 "{'kind':'Pod','name':'p','fieldPath':'spec.containers{a}'},'source':{'component':'kubelet','host':'n1'},"
		 "'firstTimestamp':'2026-01-02T04:50:00Z','lastTimestamp':'2026-01-02T04:59:00Z'}",
		 "['60s','Warning','BackOff','pod/p','spec.containers{a}','kubelet, n1','again','10m',4,'x']"},
		{"event",
		 "{" CREATED
		 "},'type':'Normal','reason':'Scheduled','message':'m','eventTime':'2026-01-02T04:59:00.000000Z',"
		 "'firstTimestamp':null,'lastTimestamp':null,'involvedObject':{'kind':'Pod','name':'p'},"
		 "'reportingComponent':'default-scheduler','reportingInstance':'s-1'}",
		 "['60s','Normal','Scheduled','pod/p','','default-scheduler, s-1','m','60s',1,'x']"},
		{"role", "{" CREATED "}}", "['x','2026-01-02T04:55:00Z']"},
		{"clusterrolebinding",
		 "{" CREATED "},'roleRef':{'kind':'ClusterRole','name':'r'},'subjects':[{'kind':'User','name':'u'},"
		 "{'kind':'User','name':'v'},{'kind':'Group','name':'g'},{'kind':'ServiceAccount','name':'s',"
		 "'namespace':'n'}]}",
		 "['x','ClusterRole/r','5m','u, v','g','n/s']"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *obj = js(cases[i].object), *cells = json_array();
		kind_by_word(cases[i].word)->cells(obj, NOW, cells);
		assert_json(cells, cases[i].cells);
		json_decref(obj);
		json_decref(cells);
	}
}

static void column_names(_unused_ void **state)
{
	static const struct {
		const char *word, *narrow, *wide;
	} cases[] = {
		{"pod", "Name Ready Status Restarts Age", "IP,Node,Nominated Node,Readiness Gates"},
		{"deploy", "Name Ready Up-to-date Available Age", "Containers,Images,Selector"},
		{"svc", "Name Type Cluster-IP External-IP Port(s) Age", "Selector"},
		{"node", "Name Status Roles Age Version",
		 "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime"},
		{"event", "Last Seen Type Reason Object Message", "Subobject,Source,First Seen,Count,Name"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_buf_ struct buf narrow = BUF_INIT, wide = BUF_INIT;
		for (const struct kind_column *c = kind_by_word(cases[i].word)->columns; c->name; c++) {
			struct buf *b = c->priority ? &wide : &narrow;
			buf_addf(b, "%s%s", b->len ? c->priority ? "," : " " : "", c->name);
		}
		assert_string_equal(buf_str(&narrow), cases[i].narrow);
		assert_string_equal(buf_str(&wide), cases[i].wide);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(pod_states),
		cmocka_unit_test(every_kind),
		cmocka_unit_test(column_names),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
