#!/bin/bash
# A second client library, Debian's python3-kubernetes, against a running cluster: it decodes strictly by its own model.
. "$(dirname "$0")/lib.sh"
PYTHON=${PYTHON:-/usr/bin/python3}
"$PYTHON" -c 'import kubernetes' 2>/dev/null || { skip_test "python client" "no python3-kubernetes here"; exit 0; }

check "a cluster" start_demo
check "the demo's image" demo_image

cat >"$WORK/client.py" <<'PY'
import os
import time
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config()
SLOW = int(os.environ["SLOW"])
core, apps, auth = client.CoreV1Api(), client.AppsV1Api(), client.AuthorizationV1Api()
n = 0


def ok(name, good, what=None):
    global n
    n += 1
    print(("ok - " if good else "not ok - ") + name + ("" if good else ": %r" % (what,)))


def refused(call, status, reason):
    try:
        return call()
    except ApiException as e:
        return True if e.status == status and reason in e.body else e.body


ok("nodes", [i.metadata.name for i in core.list_node().items] != [])
ok("discovery", "apps" in [g.name for g in client.ApisApi().get_api_versions().groups])
ok("version", client.VersionApi().get_code().git_version.startswith("v1."))

body = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="py", labels={"app": "py"}),
    spec=client.V1DeploymentSpec(
        replicas=2,
        selector=client.V1LabelSelector(match_labels={"app": "py"}),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels={"app": "py"}),
            spec=client.V1PodSpec(containers=[client.V1Container(
                name="web", image="mini/demo:1", image_pull_policy="IfNotPresent")]))))
made = apps.create_namespaced_deployment("default", body)
ok("a deployment is made", made.metadata.generation == 1 and made.spec.strategy.type == "RollingUpdate", made)

w, ready = watch.Watch(), None
for event in w.stream(apps.list_namespaced_deployment, "default", resource_version=made.metadata.resource_version,
                      timeout_seconds=40 * SLOW):
    d = event["object"]
    if d.metadata.name == "py" and d.status.ready_replicas == 2:
        ready = d
        w.stop()
ok("a watch sees it become ready", ready is not None)
pods = core.list_namespaced_pod("default", label_selector="app=py", field_selector="status.phase=Running").items
ok("its pods run", len(pods) == 2 and all(p.status.pod_ip for p in pods), pods)
name = pods[0].metadata.name

page = core.list_namespaced_pod("default", label_selector="app=py", limit=1)
rest = core.list_namespaced_pod("default", label_selector="app=py", limit=1, _continue=page.metadata._continue)
ok("lists come in pages", {page.items[0].metadata.name, rest.items[0].metadata.name} ==
   {p.metadata.name for p in pods} and not rest.metadata._continue)

out = stream(core.connect_get_namespaced_pod_exec, name, "default", command=["/bin/busybox", "echo", "out"],
             stderr=True, stdin=False, stdout=True, tty=False)
ok("exec answers", out == "out\n", out)
s = stream(core.connect_get_namespaced_pod_exec, name, "default",
           command=["/bin/busybox", "sh", "-c", "read x; echo got $x; echo bad >&2; exit 3"],
           stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False)
s.write_stdin("hello\n")
s.run_forever(timeout=10 * SLOW)
ok("exec has stdin, both outputs and an exit code",
   (s.read_stdout(), s.read_stderr(), s.returncode) == ("got hello\n", "bad\n", 3))
ok("logs are text", isinstance(core.read_namespaced_pod_log(name, "default"), str))

scaled = apps.patch_namespaced_deployment_scale("py", "default", {"spec": {"replicas": 1}})
ok("scale", scaled.spec.replicas == 1, scaled)
patched = apps.patch_namespaced_deployment("py", "default", {"metadata": {"annotations": {"a/b": "c"}}})
ok("a strategic patch", patched.metadata.annotations["a/b"] == "c")
patched = apps.patch_namespaced_deployment("py", "default", [
    {"op": "replace", "path": "/spec/replicas", "value": 0}])
ok("a JSON patch", patched.spec.replicas == 0, patched)
stale = made
stale.metadata.labels["x"] = "y"
ok("a stale replace conflicts", refused(lambda: apps.replace_namespaced_deployment("py", "default", stale), 409,
                                        "Conflict") is True)
ok("what is not there", refused(lambda: core.read_namespaced_pod("none", "default"), 404, "NotFound") is True)

core.create_namespaced_config_map("default", client.V1ConfigMap(
    metadata=client.V1ObjectMeta(name="py"), data={"k": "v"}))
cm = core.read_namespaced_config_map("py", "default")
cm.data["k"] = "w"
ok("a replace", core.replace_namespaced_config_map("py", "default", cm).data == {"k": "w"})
ok("a deletion", core.delete_namespaced_config_map("py", "default").status == "Success")

svc = core.create_namespaced_service("default", client.V1Service(
    metadata=client.V1ObjectMeta(name="py"),
    spec=client.V1ServiceSpec(selector={"app": "py"}, ports=[client.V1ServicePort(port=80, target_port=8080)])))
ok("a service has an address", svc.spec.cluster_ip.startswith("10."), svc)
core.delete_namespaced_service("py", "default")

sar = auth.create_self_subject_access_review(client.V1SelfSubjectAccessReview(
    spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(
        verb="get", resource="pods", namespace="default"))))
ok("an access review", sar.status.allowed)
for api, call in ((core, "list_event_for_all_namespaces"), (core, "list_namespace"), (core, "list_endpoints_for_all_namespaces"),
                  (client.DiscoveryV1Api(), "list_endpoint_slice_for_all_namespaces"),
                  (client.CoordinationV1Api(), "list_lease_for_all_namespaces"),
                  (client.RbacAuthorizationV1Api(), "list_cluster_role"), (apps, "list_replica_set_for_all_namespaces"),
                  (core, "list_secret_for_all_namespaces"), (core, "list_service_account_for_all_namespaces")):
    try:
        getattr(api, call)()
        good, what = True, None
    except Exception as e:
        good, what = False, e
    ok("decodes " + call, good, what)

apps.delete_namespaced_deployment("py", "default", propagation_policy="Foreground")
end = time.time() + 40 * SLOW
while time.time() < end and refused(lambda: apps.read_namespaced_deployment("py", "default"), 404, "NotFound") is not True:
    time.sleep(0.1)
ok("a deletion in the foreground ends", time.time() < end)
print("done %d" % n)
PY
SLOW=$SLOW timeout --kill-after=5 $((60 * SLOW)) "$PYTHON" "$WORK/client.py" >"$WORK/client.out" 2>&1
while IFS= read -r line; do
	case $line in
	"ok - "*) ok "${line#ok - }" ;;
	"not ok - "*) not_ok "${line#not ok - }" ;;
	esac
done <"$WORK/client.out"
expect "the client's script ends" '^done ' cat "$WORK/client.out"
check "it stops" stop_demo
