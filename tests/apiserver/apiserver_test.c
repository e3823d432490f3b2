/* The API server from outside: real store, TLS, HTTP; and the direct client beside it. */
#include <strings.h>

#include "lib/core/utf8.h"
#include "tests/support/tap.h"

#include "tests/support/apiserver/api.h"

static int setup(void **state)
{
	static struct api f;
	api_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	api_done(*state);
	return 0;
}

#define CM "/api/v1/namespaces/default/configmaps"

static void config_map_life(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(f, CM, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "kind"), "ConfigMap");
	assert_string_equal(api_str(a, "metadata.namespace"), "default");
	assert_int_equal(strlen(api_str(a, "metadata.uid")), 36);
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"a\"}}");
	assert_int_equal(a->status, 409);
	assert_string_equal(api_str(a, "message"), "configmaps \"a\" already exists");
	a = api_get(f, CM "/a");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "data.k"), "v");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_get(f, CM);
	assert_string_equal(api_str(a, "kind"), "ConfigMapList");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "a");
	assert_string_equal(api_str(a, "items.0.metadata.resourceVersion"), rv);
	_cleanup_free_ char *body =
		xasprintf("{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"k\":\"w\"}}", rv);
	a = api_call(f, f->admin, "PUT", CM "/a", NULL, body);
	assert_int_equal(a->status, 200);
	assert_string_not_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "PUT", CM "/a", NULL, body);
	assert_int_equal(a->status, 409);
	assert_string_equal(
		api_str(a, "message"),
		"Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
		"your changes to the latest version and try again");
	a = api_call(f, f->admin, "PATCH", CM "/a", "Content-Type: application/merge-patch+json",
		     "{\"data\":{\"k\":null,\"l\":\"x\"}}");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "data.l"), "x");
	assert_string_equal(api_str(a, "data.k"), "");
	a = api_call(f, f->admin, "DELETE", CM "/a", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "status"), "Success");
	a = api_get(f, CM "/a");
	assert_int_equal(a->status, 404);
	assert_string_equal(api_str(a, "message"), "configmaps \"a\" not found");
	assert_string_equal(api_str(a, "reason"), "NotFound");
	assert_string_equal(api_str(a, "details.kind"), "configmaps");
}

static void watch_sees_changes(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	struct api_answer *a = api_get(f, CM);
	_cleanup_free_ char *target = xasprintf(CM "?watch=1&labelSelector=app%%3Dx&resourceVersion=%s",
						api_str(a, "metadata.resourceVersion"));
	api_watch_start(f, &w, f->admin, target);
	api_post(f, CM, "{\"metadata\":{\"name\":\"w\"}}");
	api_post(f, CM, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"app\":\"x\"}}}");
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	/* into the selector, and out again */
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "w");
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"y\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	api_call(f, f->admin, "DELETE", CM "/x", NULL, NULL);
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	api_watch_stop(&w);
	api_call(f, f->admin, "DELETE", CM "/w", NULL, NULL);
}

#define PODS "/api/v1/namespaces/default/pods"
#define SVC  "/api/v1/namespaces/default/services"

static void create_default_account(struct api *f)
{
	api_post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}");
}

static void pods_need_an_account(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"), "pods \"p\" is forbidden: error looking up service account "
						   "default/default: serviceaccount \"default\" not found");
	create_default_account(f);
	a = api_post(
		f, PODS,
		"{\"metadata\":{\"generateName\":\"p-\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 201);
	assert_int_equal(strlen(api_str(a, "metadata.name")), 7);
	assert_string_equal(api_str(a, "status.phase"), "Pending");
	assert_string_equal(api_str(a, "status.qosClass"), "BestEffort");
	assert_string_equal(api_str(a, "spec.serviceAccountName"), "default");
	assert_string_equal(api_str(a, "spec.containers.0.volumeMounts.0.mountPath"),
			    "/var/run/secrets/kubernetes.io/serviceaccount");
	_cleanup_free_ char *name = xstrdup(api_str(a, "metadata.name"));
	_cleanup_free_ char *path = xasprintf(PODS "/%s", name);
	a = api_call(f, f->admin, "DELETE", path, NULL, NULL); /* no node: at once */
	assert_string_equal(api_str(a, "kind"), "Pod");
	assert_int_equal(api_get(f, path)->status, 404);
}

static void binding_and_grace(void **state)
{
	struct api *f = *state;
	create_default_account(f);
	api_post(f, PODS,
		 "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	struct api_answer *a = api_post(f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "kind"), "Status");
	a = api_post(f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}");
	assert_int_equal(a->status, 409);
	a = api_get(f, PODS "/p");
	assert_string_equal(api_str(a, "spec.nodeName"), "n1");
	assert_string_equal(api_str(a, "status.conditions.0.type"), "PodScheduled");
	a = api_get(f, PODS "?fieldSelector=spec.nodeName%3Dn1");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "p");
	a = api_get(f, PODS "?fieldSelector=spec.nodeName%3Dn2");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "");
	assert_int_equal(api_get(f, PODS "?fieldSelector=spec.foo%3Dn2")->status, 400);
	/* with a node it is only marked */
	a = api_call(f, f->admin, "DELETE", PODS "/p", NULL, NULL);
	assert_string_equal(api_str(a, "metadata.deletionGracePeriodSeconds"), "30");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	a = api_call(f, f->admin, "DELETE", PODS "/p?gracePeriodSeconds=60", NULL, NULL); /* never later */
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "DELETE", PODS "/p", NULL, "{\"preconditions\":{\"uid\":\"x\"}}");
	assert_int_equal(a->status, 409);
	a = api_call(f, f->admin, "PATCH", PODS "/p/status", "Content-Type: application/merge-patch+json",
		     "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"zzz\"}}");
	assert_string_equal(api_str(a, "status.phase"), "Running");
	assert_string_equal(api_str(a, "spec.nodeName"), "n1");
	a = api_call(f, f->admin, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, PODS "/p")->status, 404);
}

static void finalizers_hold(void **state)
{
	struct api *f = *state;
	api_post(f, CM, "{\"metadata\":{\"name\":\"fin\",\"finalizers\":[\"a.b/c\"]}}");
	struct api_answer *a =
		api_call(f, f->admin, "DELETE", CM "/fin", NULL, "{\"propagationPolicy\":\"Foreground\"}");
	assert_int_equal(a->status, 200);
	assert_string_not_equal(api_str(a, "metadata.deletionTimestamp"), "");
	assert_string_equal(api_str(a, "metadata.finalizers.1"), "foregroundDeletion");
	a = api_call(f, f->admin, "PATCH", CM "/fin", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"finalizers\":null}}");
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, CM "/fin")->status, 404);
}

static void namespaces_end(void **state)
{
	struct api *f = *state;
	assert_int_equal(api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}")->status, 201);
	assert_int_equal(api_post(f, "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"a\"}}")->status,
			 201);
	struct api_answer *a = api_post(f, "/api/v1/namespaces/none/configmaps", "{\"metadata\":{\"name\":\"a\"}}");
	assert_int_equal(a->status, 404);
	assert_string_equal(api_str(a, "message"), "namespaces \"none\" not found");
	a = api_call(f, f->admin, "DELETE", "/api/v1/namespaces/n", NULL, NULL);
	assert_string_equal(api_str(a, "status.phase"), "Terminating");
	a = api_post(f, "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"b\"}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "configmaps \"b\" is forbidden: unable to create new content in namespace n "
			    "because it is being terminated");
	assert_string_equal(api_str(a, "details.causes.0.reason"), "NamespaceTerminating");
	a = api_call(f, f->admin, "PUT", "/api/v1/namespaces/n/finalize", NULL,
		     "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},\"spec\":{}}");
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, "/api/v1/namespaces/n")->status, 404);
	assert_int_equal(api_call(f, f->admin, "DELETE", "/api/v1/namespaces/default", NULL, NULL)->status, 403);
}

/* The service of the API and the cluster's own namespaces come back when somebody deletes them, without a restart. */
static void vital_objects_come_back(void **state)
{
	static const struct {
		const char *list, *name;
	} rows[] = {{"/api/v1/namespaces/default/services", "kubernetes"}, {"/api/v1/namespaces", "kube-node-lease"}};
	struct api *f = *state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_watch w;
		_cleanup_free_ char *one = xasprintf("%s/%s", rows[i].list, rows[i].name);
		_cleanup_free_ char *rv = xstrdup(api_str(api_get(f, rows[i].list), "metadata.resourceVersion"));
		_cleanup_free_ char *target =
			xasprintf("%s?watch=1&fieldSelector=metadata.name%%3D%s&resourceVersion=%s", rows[i].list,
				  rows[i].name, rv);
		api_watch_start(f, &w, f->admin, target);
		assert_int_equal(api_call(f, f->admin, "DELETE", one, NULL, NULL)->status, 200);
		if (i == 1)
			api_call(
				f, f->admin, "PUT", "/api/v1/namespaces/kube-node-lease/finalize", NULL,
				"{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kube-node-lease\"},"
				"\"spec\":{}}");
		json_t *e = NULL;
		do {
			e = api_watch_next(f, &w);
			assert_non_null(e);
		} while (!streq(json_get_str(e, "type", ""), "ADDED"));
		assert_string_equal(meta_name(json_object_get(e, "object")), rows[i].name);
		api_watch_stop(&w);
	}
	assert_string_equal(api_str(api_get(f, "/api/v1/namespaces/default/services/kubernetes"), "spec.clusterIP"),
			    "10.96.0.1");
}

static void services_get_addresses(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, SVC, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *ip = xstrdup(api_str(a, "spec.clusterIP")),
			    *port = xstrdup(api_str(a, "spec.ports.0.nodePort"));
	assert_true(str_starts(ip, "10.96."));
	assert_in_range(atoi(port), 30000, 32767);
	_cleanup_free_ char *same = xasprintf(
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":80}]}}", ip);
	a = api_post(f, SVC, same);
	assert_int_equal(a->status, 422);
	assert_non_null(strstr(api_str(a, "message"), "provided IP is already allocated"));
	_cleanup_free_ char *same_port = xasprintf(
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%s}]}}",
		port);
	a = api_post(f, SVC, same_port);
	assert_int_equal(a->status, 422);
	assert_non_null(strstr(api_str(a, "message"), "provided port is already allocated"));
	a = api_post(
		f, SVC,
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"10.97.0.1\",\"ports\":[{\"port\":80}]}}");
	assert_int_equal(a->status, 422);
	/* an update keeps both; another type returns the port, deletion the address */
	a = api_call(f, f->admin, "PUT", SVC "/s", NULL,
		     "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
	assert_string_equal(api_str(a, "spec.clusterIP"), ip);
	assert_string_equal(api_str(a, "spec.ports.0.nodePort"), port);
	a = api_call(f, f->admin, "PATCH", SVC "/s", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"type\":\"ClusterIP\"}}");
	assert_string_equal(api_str(a, "spec.ports.0.nodePort"), "");
	assert_int_equal(api_post(f, SVC, same_port)->status, 201);
	api_call(f, f->admin, "DELETE", SVC "/t", NULL, NULL);
	api_call(f, f->admin, "DELETE", SVC "/s", NULL, NULL);
	assert_int_equal(api_post(f, SVC, same)->status, 201);
	api_call(f, f->admin, "DELETE", SVC "/t", NULL, NULL);
}

static void rbac_decides(void **state)
{
	struct api *f = *state;
	struct http_client *joe = api_client(f, "joe", "devs");
	struct api_answer *a = api_call(f, joe, "GET", CM, NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "configmaps is forbidden: User \"joe\" cannot list resource \"configmaps\" in "
			    "API group \"\" in the namespace \"default\"");
	a = api_post(
		f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
		"{\"metadata\":{\"name\":\"devs\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
		"\"name\":\"edit\"},\"subjects\":[{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"devs\"}]}");
	assert_int_equal(a->status, 201);
	assert_int_equal(api_call(f, joe, "GET", CM, NULL, NULL)->status, 200); /* view, aggregated into edit */
	assert_int_equal(api_call(f, joe, "GET", "/api/v1/configmaps", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, joe, "GET", "/api/v1/namespaces/kube-system/configmaps", NULL, NULL)->status, 403);
	a = api_call(
		f, joe, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", NULL,
		"{\"spec\":{\"resourceAttributes\":{\"namespace\":\"default\",\"verb\":\"delete\",\"resource\":\"pods\"}}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "status.allowed"), "true");
	/* no escalation: edit does not hold roles at all, and may not hand out what it lacks */
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 403);
	api_post(
		f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
		"{\"metadata\":{\"name\":\"joe-admin\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
		"\"name\":\"admin\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"joe\"}]}");
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "is attempting to grant RBAC permissions not currently held"));
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]}]}");
	assert_int_equal(a->status, 201);
	/* what grants nothing needs no right to grant: taking away a finalizer, whatever the role holds */
#define ROLES "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
	a = api_post(f, ROLES,
		     "{\"metadata\":{\"name\":\"big\",\"finalizers\":[\"a.b/c\"]},\"rules\":[{\"apiGroups\":[\"\"],"
		     "\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 201);
	a = api_call(f, joe, "PATCH", ROLES "/big", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"finalizers\":null}}");
	assert_int_equal(a->status, 200);
	a = api_call(f, joe, "PATCH", ROLES "/big", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
	assert_int_equal(a->status, 403);
	/* nor may a role of two long lists hold the server up */
	_cleanup_buf_ struct buf many = BUF_INIT;
	buf_adds(&many, "{\"metadata\":{\"name\":\"many\"},\"rules\":[{\"apiGroups\":[\"\"],\"verbs\":[\"get\"");
	for (int i = 0; i < 5000; i++)
		buf_adds(&many, ",\"get\"");
	buf_adds(&many, "],\"resources\":[\"pods\"");
	for (int i = 0; i < 5000; i++)
		buf_adds(&many, ",\"pods\"");
	buf_adds(&many, "]}]}");
	a = api_call(f, joe, "POST", ROLES, NULL, buf_str(&many));
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "more than 5000 rights"));
	http_client_free(joe);
	/* nobody at all */
	a = api_call(f, f->anonymous, "GET", CM, NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "User \"system:anonymous\" cannot list"));
	assert_int_equal(api_call(f, f->anonymous, "GET", "/version", NULL, NULL)->status, 200);
	assert_int_equal(api_call(f, f->anonymous, "GET", "/readyz", NULL, NULL)->status, 200);
	assert_int_equal(api_call(f, f->anonymous, "GET", "/metrics", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, f->anonymous, "GET", CM, "Authorization: Bearer nonsense", NULL)->status, 401);
}

static void impersonation(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_call(f, f->admin, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
					"Impersonate-User: kim\nImpersonate-Group: g1", "{}");
	assert_string_equal(api_str(a, "status.userInfo.username"), "kim");
	assert_string_equal(api_str(a, "status.userInfo.groups.0"), "g1");
	a = api_call(f, f->anonymous, "GET", "/version", "Impersonate-User: kim", NULL);
	assert_int_equal(a->status, 403);
}

static void tokens(void **state)
{
	struct api *f = *state;
	create_default_account(f);
	struct api_answer *a = api_post(f, "/api/v1/namespaces/default/serviceaccounts/default/token",
					"{\"spec\":{\"expirationSeconds\":600}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bearer = xasprintf("Authorization: Bearer %s", api_str(a, "status.token"));
	for (int i = 0; i < 2; i++) { /* verified, then remembered */
		a = api_call(f, f->anonymous, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer,
			     "{}");
		assert_int_equal(a->status, 201);
		assert_string_equal(api_str(a, "status.userInfo.username"), "system:serviceaccount:default:default");
	}
	/* a token dies with its account, though one of the same name follows */
	api_call(f, f->admin, "DELETE", "/api/v1/namespaces/default/serviceaccounts/default", NULL, NULL);
	create_default_account(f);
	a = api_call(f, f->anonymous, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer, "{}");
	assert_int_equal(a->status, 401);
}

static void bad_input(void **state)
{
	struct api *f = *state;
	struct api_answer *a =
		api_post(f, CM "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"b\"},\"dota\":{},\"data\":{}}");
	assert_int_equal(a->status, 400);
	assert_string_equal(api_str(a, "message"),
			    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding "
			    "error: unknown field \"dota\"");
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"b\"},\"dota\":{},\"data\":{}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(a->warning, "299 - \"unknown field \\\"dota\\\"\"");
	assert_int_equal(api_post(f, CM, "{\"metadata\":{\"name\":\"B\"}}")->status, 422);
	assert_int_equal(api_post(f, CM, "{\"metadata\":")->status, 400);
	assert_int_equal(api_post(f, CM, "[]")->status, 400);
	assert_int_equal(api_post(f, CM, "")->status, 400);
	assert_int_equal(api_post(f, CM, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}")->status, 400);
	assert_int_equal(api_call(f, f->admin, "POST", CM, "Content-Type: text/html", "x")->status, 415);
	assert_int_equal(api_call(f, f->admin, "GET", CM, "Accept: text/html", NULL)->status, 406);
	assert_int_equal(api_call(f, f->admin, "PUT", CM, NULL, "{}")->status, 405);
	assert_int_equal(api_get(f, "/api/v1/nonsense")->status, 404);
	assert_int_equal(api_get(f, "/nonsense")->status, 404);
	assert_int_equal(api_get(f, CM "/b/nonsense")->status, 404);
	assert_int_equal(api_get(f, CM "?labelSelector=%3D%3D")->status, 400);
	assert_int_equal(api_get(f, CM "?limit=x")->status, 400);
	assert_int_equal(api_get(f, CM "?continue=zzz")->status, 400);
	_cleanup_free_ char *big = xmalloc((3u << 20) + 1024);
	memset(big, ' ', (3u << 20) + 1023);
	big[(3u << 20) + 1023] = 0;
	a = api_post(f, CM, big);
	assert_int_equal(a->status, 413);
	assert_string_equal(api_str(a, "message"), "Request entity too large: limit is 3145728");
	a = api_call(f, f->admin, "POST", CM, "Content-Type: application/yaml",
		     "metadata:\n  name: yam\ndata:\n  a: b\n");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "data.a"), "b");
	api_call(f, f->admin, "DELETE", CM "/yam", NULL, NULL);
	api_call(f, f->admin, "DELETE", CM "/b", NULL, NULL);
	/* long values that are no ASCII come back cut short: what is left is UTF-8 */
	for (size_t pad = 0; pad < 2; pad++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_adds(&b, pad ? "{\"metadata\":{\"name\":\"u\",\"labels\":{\"x\":\"a"
				 : "{\"metadata\":{\"name\":\"u\",\"labels\":{\"x\":\"");
		for (int i = 0; i < 1000; i++)
			buf_adds(&b, "\u00e9");
		buf_adds(&b, "\"}}}");
		struct api_answer *cut = api_post(f, CM, buf_str(&b));
		assert_int_equal(cut->status, 422);
		assert_true(utf8_valid(cut->body.data, cut->body.len));
	}
}

static void pages(void **state)
{
	struct api *f = *state;
	char body[100];
	api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"pages\"}}");
#define PAGES "/api/v1/namespaces/pages/configmaps"
	for (int i = 0; i < 5; i++) {
		snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"odd\":\"%d\"}}}", i, i % 2);
		assert_int_equal(api_post(f, PAGES, body)->status, 201);
	}
	struct api_answer *a = api_get(f, PAGES "?limit=2");
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 2);
	assert_string_equal(api_str(a, "metadata.remainingItemCount"), "3");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	_cleanup_free_ char *next = xasprintf(PAGES "?limit=2&continue=%s", api_str(a, "metadata.continue"));
	/* what comes later is not in this list */
	api_post(f, PAGES, "{\"metadata\":{\"name\":\"c9\"}}");
	a = api_get(f, next);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c2");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	_cleanup_free_ char *last = xasprintf(PAGES "?limit=2&continue=%s", api_str(a, "metadata.continue"));
	a = api_get(f, last);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 1);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c4");
	assert_string_equal(api_str(a, "metadata.continue"), "");
	a = api_get(f, PAGES "?labelSelector=odd%3D1&limit=1");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c1");
	_cleanup_free_ char *odd =
		xasprintf(PAGES "?labelSelector=odd%%3D1&limit=1&continue=%s", api_str(a, "metadata.continue"));
	a = api_get(f, odd);
	assert_string_equal(api_str(a, "items.0.metadata.name"), "c3");
	/* tables */
	a = api_call(f, f->admin, "GET", PAGES, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
		     NULL);
	assert_string_equal(api_str(a, "kind"), "Table");
	assert_string_equal(api_str(a, "columnDefinitions.0.name"), "Name");
	assert_string_equal(api_str(a, "rows.5.cells.0"), "c9");
	assert_string_equal(api_str(a, "rows.5.object.kind"), "PartialObjectMetadata");
	a = api_call(f, f->admin, "GET", PAGES "/c1",
		     "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", NULL);
	assert_string_equal(api_str(a, "kind"), "PartialObjectMetadata");
	/* all at once */
	a = api_call(f, f->admin, "DELETE", PAGES "?labelSelector=odd%3D1", NULL, NULL);
	assert_int_equal(a->status, 200);
	a = api_get(f, PAGES);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 4);
	assert_int_equal(api_call(f, f->admin, "DELETE", PAGES, NULL, NULL)->status, 200);
	a = api_get(f, PAGES);
	assert_int_equal(json_array_size(json_object_get(a->json, "items")), 0);
}

static void scales(void **state)
{
	struct api *f = *state;
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"
	struct api_answer *a = api_post(
		f, DEPLOY,
		"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":"
		"{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "metadata.generation"), "1");
	assert_string_equal(api_str(a, "spec.replicas"), "1");
	a = api_get(f, DEPLOY "/d/scale");
	assert_string_equal(api_str(a, "kind"), "Scale");
	assert_string_equal(api_str(a, "status.selector"), "a=b");
#define AS_TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
	a = api_call(f, f->admin, "GET", DEPLOY "/d/scale", AS_TABLE, NULL);
	assert_string_equal(api_str(a, "columnDefinitions.1.name"), "Desired");
	assert_string_equal(api_str(a, "rows.0.cells.1"), "1");
	a = api_call(f, f->admin, "GET", DEPLOY "/d/status", AS_TABLE, NULL);
	assert_string_equal(api_str(a, "columnDefinitions.2.name"), "Up-to-date");
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d/scale", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"replicas\":4}}");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "spec.replicas"), "4");
	a = api_call(
		f, f->admin, "PUT", DEPLOY "/d/scale", NULL,
		"{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":-1}}");
	assert_int_equal(a->status, 422);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/strategic-merge-patch+json",
		     "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"}]}}}}");
	assert_string_equal(api_str(a, "metadata.generation"), "3");
	assert_string_equal(api_str(a, "spec.template.spec.containers.0.image"), "j");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	/* nothing changes: nothing is written */
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"replicas\":4}}");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"resourceVersion\":\"2\"},\"spec\":{\"replicas\":5}}");
	assert_int_equal(a->status, 409);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/apply-patch+yaml", "{}");
	assert_int_equal(a->status, 415);
	api_call(f, f->admin, "DELETE", DEPLOY "/d", NULL, NULL);
}

static void discovery(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_get(f, "/apis");
	assert_string_equal(api_str(a, "kind"), "APIGroupList");
	assert_string_equal(api_str(api_get(f, "/apis/apps"), "preferredVersion.groupVersion"), "apps/v1");
	assert_string_equal(api_str(api_get(f, "/apis/apps/v1"), "groupVersion"), "apps/v1");
	a = api_call(f, f->admin, "GET", "/apis",
		     "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
		     NULL);
	assert_string_equal(api_str(a, "apiVersion"), "apidiscovery.k8s.io/v2");
	assert_string_equal(a->content_type, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	assert_int_equal(api_get(f, "/apis/none")->status, 404);
	assert_non_null(strstr(buf_str(&api_get(f, "/readyz?verbose")->body), "readyz check passed"));
	assert_int_equal(api_get(f, "/livez/ping")->status, 200);
	a = api_get(f, "/livez/nothing");
	assert_int_equal(a->status, 404);
	assert_true(json_is_object(json_object_get(a->json, "details")));
}

/* ---- the other door ---- */

struct call {
	bool done;
	struct err err;
	uint64_t rv;
	struct object *obj;
	size_t n_items;
};

static void on_call(void *arg, const struct client_response *resp)
{
	struct call *c = arg;
	c->done = true;
	c->err = *resp->err;
	c->err.causes = NULL;
	c->rv = resp->rv;
	c->n_items = resp->n_items;
	object_unref(c->obj);
	c->obj = resp->object ? object_ref(resp->object) : NULL;
}

static bool call_done(void *arg)
{
	return ((struct call *)arg)->done;
}

static void do_call(struct api *f, struct client *client, const struct client_request *q, struct call *c)
{
	c->done = false;
	client_do(client, q, on_call, c);
	assert_false(c->done);
	api_run_until(f, call_done, c);
}

struct seen {
	unsigned n;
	enum watch_type types[8];
	struct object *objs[8];
	bool ended;
};

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct seen *s = arg;
	s->types[s->n] = type;
	s->objs[s->n++] = object_ref(obj);
}

static void on_end(void *arg, const struct err *err)
{
	(void)err;
	((struct seen *)arg)->ended = true;
}

static bool seen_three(void *arg)
{
	return ((struct seen *)arg)->n >= 3;
}

static void direct_door(void **state)
{
	struct api *f = *state;
	struct call c = {0};
	struct seen s = {0};
	const struct kind *k = kind_by_kind("", "v1", "ConfigMap");
	static const struct client_watch_ops ops = {on_event, on_end};
	struct client_watch_request wq = {.kind = k, .ns = "default", .label_selector = "direct=1"};
	struct client_watch *w = client_watch(f->direct, &wq, &ops, &s);
	_cleanup_json_ json_t *body = json_make("{s:{s:s, s:{s:s}}, s:{s:s}}", "metadata", "name", "d", "labels",
						"direct", "1", "data", "a", "b");
	struct client_request q = {.verb = CLIENT_CREATE, .kind = k, .ns = "default", .body = body};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	assert_true(c.rv > 0);
	_cleanup_json_ json_t *tree = object_tree(c.obj);
	assert_int_equal(strtoull(json_get_str(json_object_get(tree, "metadata"), "resourceVersion", ""), NULL, 10),
			 c.rv);
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.reason, ERR_ALREADY_EXISTS);
	q = (struct client_request){.verb = CLIENT_LIST, .kind = k, .ns = "default", .label_selector = "direct=1"};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.n_items, 1);
	_cleanup_json_ json_t *patch = json_make("{s:{s:s}}", "data", "a", "c");
	q = (struct client_request){.verb = CLIENT_PATCH,
				    .kind = k,
				    .ns = "default",
				    .name = "d",
				    .body = patch,
				    .patch = CLIENT_PATCH_MERGE};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	q = (struct client_request){
		.verb = CLIENT_DELETE, .kind = k, .ns = "default", .name = "d", .grace_period_s = -1};
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.code, 0);
	api_run_until(f, seen_three, &s);
	assert_int_equal(s.types[0], WATCH_ADDED);
	assert_int_equal(s.types[1], WATCH_MODIFIED);
	assert_int_equal(s.types[2], WATCH_DELETED);
	assert_true(s.objs[0]->rv < s.objs[1]->rv && s.objs[1]->rv < s.objs[2]->rv);
	assert_int_equal(s.objs[2]->rv, c.rv); /* the deletion's */
	client_unwatch(f->direct, w);
	q.verb = CLIENT_GET;
	do_call(f, f->direct, &q, &c);
	assert_int_equal(c.err.reason, ERR_NOT_FOUND);
	/* the same rules as outside */
	struct client *nobody = apiserver_direct_client(f->server, "nobody", NULL);
	do_call(f, nobody, &q, &c);
	assert_int_equal(c.err.reason, ERR_FORBIDDEN);
	client_free(nobody);
	for (unsigned i = 0; i < s.n; i++)
		object_unref(s.objs[i]);
	object_unref(c.obj);
}

static void bootstrap_roles_are_mended(void **state)
{
	struct api *f = *state;
#define ROLE "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node-proxier"
	struct api_answer *a = api_get(f, ROLE);
	size_t n = json_array_size(json_object_get(a->json, "rules"));
	assert_true(n > 1);
	api_call(f, f->admin, "PATCH", ROLE, "Content-Type: application/merge-patch+json",
		 "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}]}");
	api_restart(f);
	a = api_get(f, ROLE);
	assert_int_equal(json_array_size(json_object_get(a->json, "rules")), n + 1); /* and what was added stays */
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	api_restart(f);
	assert_string_equal(api_str(api_get(f, ROLE), "metadata.resourceVersion"), rv);
}

static void restart_keeps_all(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	api_post(f, CM, "{\"metadata\":{\"name\":\"kept\"}}");
	struct api_answer *a = api_get(f, CM "/kept");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	api_post(f, CM, "{\"metadata\":{\"name\":\"kept2\"}}");
	api_restart(f);
	a = api_get(f, CM "/kept");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	/* a revision from before this server's time: a watch of its own */
	_cleanup_free_ char *target = xasprintf(CM "?watch=1&resourceVersion=%s", rv);
	api_watch_start(f, &w, f->admin, target);
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(meta_name(json_object_get(e, "object")), "kept2");
	api_watch_stop(&w);
	/* and the present state, then what comes */
	api_watch_start(f, &w, f->admin, CM "?watch=1&fieldSelector=metadata.name%3Dkept&timeoutSeconds=1");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_null(api_watch_next(f, &w)); /* its time is up */
	api_watch_stop(&w);
	api_call(f, f->admin, "DELETE", CM "/kept", NULL, NULL);
	api_call(f, f->admin, "DELETE", CM "/kept2", NULL, NULL);
}

/* ---- a node that answers for its pods ---- */

struct fake_node {
	struct http_server *server;
	struct http_stream *stream;
	char target[256];
	struct buf echoed;
	bool closed;
};

static void node_data(void *arg, const void *data, size_t len)
{
	http_stream_write(((struct fake_node *)arg)->stream, data, len);
}

static void node_stream_closed(void *arg)
{
	((struct fake_node *)arg)->stream = NULL;
}

static void node_request(void *arg, struct http_request *r)
{
	static const struct http_stream_ops ops = {.on_data = node_data, .on_close = node_stream_closed};
	struct fake_node *n = arg;
	snprintf(n->target, sizeof(n->target), "%s", http_target(r));
	if (str_starts(http_path(r), "/exec/")) {
		const struct http_header headers[] = {{"Connection", "Upgrade"},
						      {"Upgrade", "websocket"},
						      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"},
						      {NULL, NULL}};
		n->stream = http_upgrade(r, headers, &ops, n);
	} else {
		http_respond(r, 200, NULL, "hello\n", 6);
	}
}

static void node_close(void *arg, struct http_request *r)
{
	(void)arg;
	(void)r;
}

static void node_gone(void *arg)
{
	((struct fake_node *)arg)->closed = true;
}

static bool node_is_gone(void *arg)
{
	return ((struct fake_node *)arg)->closed;
}

static void exec_upgraded(void *arg, int status, const struct http_header *headers)
{
	struct fake_node *n = arg;
	(void)headers;
	assert_int_equal(status, 101);
	buf_adds(&n->echoed, "+");
}

static void exec_body(void *arg, const void *data, size_t len)
{
	buf_add(&((struct fake_node *)arg)->echoed, data, len);
}

static void exec_done(void *arg, const struct err *err)
{
	(void)err;
	buf_adds(&((struct fake_node *)arg)->echoed, "-");
}

static bool echoed_some(void *arg)
{
	return ((struct fake_node *)arg)->echoed.len >= 1;
}

static bool echoed_all(void *arg)
{
	return ((struct fake_node *)arg)->echoed.len >= 5;
}

static void logs_and_exec(void **state)
{
	struct api *f = *state;
	static const struct http_server_ops ops = {node_request, node_close};
	struct fake_node n = {0};
	n.server = http_server_new(f->env, &f->loop, f->tls, NULL, &ops, &n);
	assert_int_equal(http_server_listen(n.server, "127.0.0.1", 0, NULL), 0);
	_cleanup_free_ char *node = xasprintf(
		"{\"metadata\":{\"name\":\"n1\"},\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],"
		"\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%u}}}}",
		http_server_port(n.server));
	assert_int_equal(api_post(f, "/api/v1/nodes", node)->status, 201);
	create_default_account(f);
	api_post(f, PODS,
		 "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	struct api_answer *a = api_get(f, PODS "/l/log"); /* nowhere yet: nothing logged */
	assert_int_equal(a->status, 200);
	assert_int_equal(a->body.len, 0);
	assert_int_equal(api_call(f, f->admin, "POST", PODS "/l/exec?command=x", "Upgrade: websocket", "")->status,
			 400);
	api_post(f, PODS "/l/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
	a = api_get(f, PODS "/l/log?tailLines=5");
	assert_int_equal(a->status, 200);
	assert_string_equal(buf_str(&a->body), "hello\n");
	assert_string_equal(n.target, "/containerLogs/default/l/c?tailLines=5");
	a = api_get(f, PODS "/l/log?container=zz");
	assert_int_equal(a->status, 400);
	assert_string_equal(api_str(a, "message"), "container zz is not valid for pod l");
	/* exec: upgraded on both sides, bytes there and back */
	static const struct http_call_ops call_ops = {
		.on_body = exec_body, .on_done = exec_done, .on_upgrade = exec_upgraded};
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "websocket"},
					      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
					      {"Sec-WebSocket-Version", "13"},
					      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"},
					      {NULL, NULL}};
	struct http_call *call = http_call(f->admin, "GET", PODS "/l/exec?command=a&command=b&stdout=true", headers,
					   NULL, 0, 0, &call_ops, &n);
	api_run_until(f, echoed_some, &n);
	assert_string_equal(n.target, "/exec/default/l/c?command=a&command=b&stdout=true");
	http_call_write(call, "ping", 4);
	api_run_until(f, echoed_all, &n);
	assert_string_equal(buf_str(&n.echoed), "+ping");
	http_call_cancel(call);
	buf_done(&n.echoed);
	http_server_close(n.server, 100, node_gone, &n);
	api_run_until(f, node_is_gone, &n);
	/* a node that does not answer */
	a = api_get(f, PODS "/l/log");
	assert_int_equal(a->status, 500);
	assert_non_null(strstr(api_str(a, "message"), "error dialing backend"));
	api_call(f, f->admin, "DELETE", PODS "/l?gracePeriodSeconds=0", NULL, NULL);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static void openapi(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_get(f, "/openapi/v3");
	assert_int_equal(a->status, 200);
	assert_non_null(strstr(buf_str(&a->body), "/openapi/v3/apis/apps/v1?hash="));
	a = api_get(f, "/openapi/v3/apis/apps/v1");
	assert_true(str_starts(api_str(a, "openapi"), "3."));
	a = api_call(f, f->admin, "GET", "/openapi/v2",
		     "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf", NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(a->content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
	assert_int_equal(api_get(f, "/openapi/v3/apis/none/v1")->status, 404);
}

static void on_compacted(void *arg, const struct err *err, uint64_t value)
{
	(void)err;
	(void)value;
	*(bool *)arg = true;
}

static bool flag(void *arg)
{
	return *(bool *)arg;
}

static void old_revisions_are_gone(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	bool done = false;
	api_post(f, CM, "{\"metadata\":{\"name\":\"o1\"}}");
	struct api_answer *a = api_get(f, CM "?limit=1");
	_cleanup_free_ char *old = xasprintf(CM "?watch=1&resourceVersion=%s", api_str(a, "metadata.resourceVersion"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"o2\"}}");
	a = api_get(f, CM "?limit=1");
	_cleanup_free_ char *next = xasprintf(CM "?limit=1&continue=%s", api_str(a, "metadata.continue"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"o3\"}}");
	uint64_t rev = strtoull(api_str(a, "metadata.resourceVersion"), NULL, 10);
	/* the ring of a server that has just started knows nothing older */
	f->store->engine->compact(f->store, rev, on_compacted, &done);
	api_run_until(f, flag, &done);
	a = api_get(f, next);
	assert_int_equal(a->status, 410);
	assert_string_equal(api_str(a, "reason"), "Expired");
	api_restart(f);
	api_watch_start(f, &w, f->admin, old);
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ERROR");
	assert_int_equal(json_get_int(json_object_get(e, "object"), "code", 0), 410);
	assert_null(api_watch_next(f, &w));
	api_watch_stop(&w);
	a = api_get(f, CM "?resourceVersion=99999999");
	assert_int_equal(a->status, 504);
	api_call(f, f->admin, "DELETE", CM, NULL, NULL);
}

static void events_have_a_lease(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, "/api/v1/namespaces/default/events",
		"{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"default\","
		"\"name\":\"p\"},\"reason\":\"R\",\"type\":\"Normal\"}");
	assert_int_equal(a->status, 201);
	uint64_t lease = f->server->event_lease;
	assert_true(lease != 0);
	/* a lease with very many of them would end in one revision that holds everybody up */
	f->server->event_lease_uses = 1000;
	a = api_post(f, "/api/v1/namespaces/default/events",
		     "{\"metadata\":{\"name\":\"f\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"default\"}}");
	assert_int_equal(a->status, 201);
	assert_true(f->server->event_lease != lease);
	assert_int_equal(f->server->event_lease_uses, 1);
	a = api_get(f, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp");
	assert_string_equal(api_str(a, "items.0.reason"), "R");
}

static void nodes_keep_to_themselves(void **state)
{
	struct api *f = *state;
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	struct api_answer *a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n1\"}}");
	assert_int_equal(a->status, 201);
	a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n2\"}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"");
	create_default_account(f);
	a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"nodeName\":\"n2\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bound = xasprintf(
		"{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"t\",\"uid\":\"%s\"}}}",
		api_str(a, "metadata.uid"));
#define TOKEN "/api/v1/namespaces/default/serviceaccounts/default/token"
	static const char no_uid[] =
		"{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"t\"}}}";
	assert_int_equal(api_call(f, n1, "POST", TOKEN, NULL, "{\"spec\":{}}")->status, 403);
	assert_int_equal(api_call(f, n1, "POST", TOKEN, NULL, bound)->status, 403);
	assert_int_equal(api_call(f, n1, "PATCH", PODS "/t/status", "Content-Type: application/merge-patch+json",
				  "{\"status\":{\"phase\":\"Failed\"}}")
				 ->status,
			 403);
	struct http_client *n2 = api_client(f, "system:node:n2", "system:nodes");
	a = api_call(f, n2, "POST", TOKEN, NULL, no_uid);
	assert_string_equal(
		api_str(a, "message"),
		"serviceaccounts \"default\" is forbidden: node requested token with a pod binding without a uid");
	a = api_call(f, n2, "POST", TOKEN, NULL, bound);
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bearer = xasprintf("Authorization: Bearer %s", api_str(a, "status.token"));
	static const char who[] = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
	assert_int_equal(api_call(f, f->anonymous, "POST", who, bearer, "{}")->status, 201);
	api_call(f, f->admin, "DELETE", PODS "/t?gracePeriodSeconds=0", NULL, NULL);
	assert_int_equal(api_call(f, f->anonymous, "POST", who, bearer, "{}")->status, 401); /* with its pod */
	http_client_free(n1);
	http_client_free(n2);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static int status_of(struct api *f, struct http_client *c, const char *method, const char *target, const char *body)
{
	return api_call(f, c, method, target,
			streq(method, "PATCH") ? "Content-Type: application/merge-patch+json" : NULL, body)
		->status;
}

#define NS        "/api/v1/namespaces/default"
#define BY_NAME   "?fieldSelector=metadata.name%3D"
#define UNRELATED "no relationship found between node 'n2' and this object"

/* A node reads what its pods refer to, one by one, and nothing else. */
static void nodes_read_what_their_pods_need(void **state)
{
	struct api *f = *state;
	create_default_account(f);
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	struct http_client *n2 = api_client(f, "system:node:n2", "system:nodes");
	api_post(f, NS "/secrets", "{\"metadata\":{\"name\":\"s1\"}}");
	api_post(f, NS "/secrets", "{\"metadata\":{\"name\":\"other\"}}");
	api_post(f, NS "/configmaps", "{\"metadata\":{\"name\":\"c1\"}}");
	struct api_answer *a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"reader\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
		"\"i\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s1\",\"key\":\"k\"}}}],"
		"\"envFrom\":[{\"configMapRef\":{\"name\":\"c1\"}}]}],\"imagePullSecrets\":[{\"name\":\"pull\"}]}}");
	assert_int_equal(a->status, 201);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/pull", NULL), 404);
	assert_int_equal(status_of(f, n1, "GET", NS "/configmaps/kube-root-ca.crt", NULL), 404);
	assert_int_equal(status_of(f, n1, "GET", NS "/configmaps/c1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets" BY_NAME "s1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/other", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets" BY_NAME "other", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/secrets", NULL), 403);
	assert_int_equal(status_of(f, n1, "DELETE", NS "/secrets/s1", NULL), 403);
	a = api_call(f, n2, "GET", NS "/secrets/s1", NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "secrets \"s1\" is forbidden: User \"system:node:n2\" cannot get resource \"secrets\" in "
			    "API group \"\" in the namespace \"default\": " UNRELATED);
	assert_int_equal(status_of(f, n2, "GET", NS "/configmaps/c1?watch=1", NULL), 403);
	/* what the server knows at once again when it has just started */
	http_client_free(n1);
	http_client_free(n2);
	api_restart(f);
	n1 = api_client(f, "system:node:n1", "system:nodes");
	n2 = api_client(f, "system:node:n2", "system:nodes");
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 200);
	assert_int_equal(status_of(f, n2, "GET", NS "/secrets/s1", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", PODS, NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", PODS "/reader", NULL), 200);
	assert_int_equal(status_of(f, n2, "GET", PODS "/reader", NULL), 403);
	assert_int_equal(status_of(f, n2, "DELETE", PODS "/reader", NULL), 403);
	assert_int_equal(status_of(f, n1, "DELETE", PODS "/reader?gracePeriodSeconds=0", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 403);
	http_client_free(n1);
	http_client_free(n2);
}

static void nodes_do_not_steer_work_to_themselves(void **state)
{
	struct api *f = *state;
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	static const char bad[] =
		"{\"metadata\":{\"name\":\"n1\",\"labels\":{\"node-restriction.kubernetes.io/a\":\"b\","
		"\"kubernetes.io/hostname\":\"n1\",\"x.k8s.io/y\":\"\"}}}";
	struct api_answer *a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, bad);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: "
			    "node-restriction.kubernetes.io/a, x.k8s.io/y");
	static const char good[] = "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"n1\","
				   "\"node.kubernetes.io/z\":\"\",\"a/b\":\"c\"}}}";
	assert_int_equal(status_of(f, n1, "POST", "/api/v1/nodes", good), 201);
	a = api_call(f, n1, "GET", "/api/v1/nodes/n1", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "spec.taints.0.key"), "node.kubernetes.io/not-ready");
	assert_string_equal(api_str(a, "spec.taints.0.effect"), "NoSchedule");
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/nodes", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/nodes" BY_NAME "n1", NULL), 200);
	assert_int_equal(status_of(f, n1, "DELETE", "/api/v1/nodes/n1", NULL), 403);
	a = api_call(f, n1, "PATCH", "/api/v1/nodes/n1", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints");
	assert_int_equal(status_of(f, n1, "PATCH", "/api/v1/nodes/n1",
				   "{\"metadata\":{\"labels\":{\"role.kubernetes.io/x\":\"y\"}}}"),
			 403);
	assert_int_equal(status_of(f, n1, "PATCH", "/api/v1/nodes/n1", "{\"metadata\":{\"labels\":{\"a/b\":\"d\"}}}"),
			 200);
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/"
	assert_int_equal(status_of(f, n1, "POST", LEASES "default/leases", "{\"metadata\":{\"name\":\"n1\"}}"), 403);
	api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"kube-node-lease\"}}");
	assert_int_equal(status_of(f, n1, "POST", LEASES "kube-node-lease/leases", "{\"metadata\":{\"name\":\"n2\"}}"),
			 403);
	assert_int_equal(status_of(f, n1, "POST", LEASES "kube-node-lease/leases", "{\"metadata\":{\"name\":\"n1\"}}"),
			 201);
	a = api_call(f, n1, "POST", PODS, NULL,
		     "{\"metadata\":{\"name\":\"own\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\","
		     "\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(
		api_str(a, "message"),
		"pods \"own\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node "
		"\"n1\" can only create mirror pods");
	a = api_call(f, n1, "POST", PODS, NULL,
		     "{\"metadata\":{\"name\":\"own\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"},"
		     "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"u\","
		     "\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
		     "\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"s1\"}}]}]}}");
	assert_string_equal(api_str(a, "message"),
			    "pods \"own\" is forbidden: node \"n1\" can not create pods that reference secrets");
	http_client_free(n1);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static void too_many_at_once(void **state)
{
	struct api *f = *state;
	unsigned was = f->server->max_reading;
	f->server->max_reading = 0;
	struct api_answer *a = api_get(f, CM);
	f->server->max_reading = was;
	assert_int_equal(a->status, 429);
	assert_string_equal(api_str(a, "details.retryAfterSeconds"), "1");
	assert_int_equal(api_get(f, CM)->status, 200);
	assert_int_equal(f->server->n_reading, 0);
}

/* A member that is far behind does not hear in time what became of its writes: it looks again, and does not give up. */
static void a_start_goes_on_after_doubtful_writes(void **state)
{
	(void)state;
	struct api f;
	api_writes_in_doubt = 2;
	api_init(&f);
	assert_int_equal(api_writes_in_doubt, 0);
	assert_int_equal(api_get(&f, "/api/v1/namespaces/default/services/kubernetes")->status, 200);
	assert_int_equal(api_get(&f, "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")->status, 200);
	api_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_map_life),
		cmocka_unit_test(watch_sees_changes),
		cmocka_unit_test(pods_need_an_account),
		cmocka_unit_test(binding_and_grace),
		cmocka_unit_test(finalizers_hold),
		cmocka_unit_test(namespaces_end),
		cmocka_unit_test(vital_objects_come_back),
		cmocka_unit_test(services_get_addresses),
		cmocka_unit_test(rbac_decides),
		cmocka_unit_test(impersonation),
		cmocka_unit_test(tokens),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(pages),
		cmocka_unit_test(scales),
		cmocka_unit_test(discovery),
		cmocka_unit_test(logs_and_exec),
		cmocka_unit_test(openapi),
		cmocka_unit_test(events_have_a_lease),
		cmocka_unit_test(nodes_keep_to_themselves),
		cmocka_unit_test(nodes_read_what_their_pods_need),
		cmocka_unit_test(nodes_do_not_steer_work_to_themselves),
		cmocka_unit_test(too_many_at_once),
		cmocka_unit_test(direct_door),
		cmocka_unit_test(bootstrap_roles_are_mended),
		cmocka_unit_test(restart_keeps_all),
		cmocka_unit_test(a_start_goes_on_after_doubtful_writes),
		cmocka_unit_test(old_revisions_are_gone),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
