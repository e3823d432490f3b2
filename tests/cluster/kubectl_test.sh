#!/bin/bash
# The kubectl people have, unmodified: a core set with every version found here, the long set with the one on PATH.
. "$(dirname "$0")/lib.sh"
need_kubectl
start_demo || { not_ok "start"; exit 1; }
demo_image
cat >"$WORK/web.yaml" <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - {name: web, image: "mini/demo:1", env: [{name: A, value: "1"}, {name: B, value: "2"}], ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
YAML

# ---- every kubectl beside the one on PATH: the core, in a namespace each ----
core() {
	local v=$1 n=v${1//./-}
	kv() { KUBECTL=$KUBECTL.$v k -n "$n" "$@"; }
	expect "kubectl $v: create namespace" created "$KUBECTL.$v" create namespace "$n"
	expect "kubectl $v: apply" 'deployment.apps/web created' kv apply -f "$WORK/web.yaml"
	expect "kubectl $v: apply again" 'deployment.apps/web unchanged' kv apply -f "$WORK/web.yaml"
	expect "kubectl $v: create configmap" created kv create configmap c --from-literal=a=b
	expect "kubectl $v: create deployment" created kv create deployment d --image=mini/demo:1
	check "kubectl $v: rollout status" kv rollout status deployment/web --timeout=30s
	expect "kubectl $v: get -o wide" 'web +2/2 +2 +2 .* mini/demo:1 +app=web' kv get deployments -o wide
	# before there is a pod on its way out, which kubectl might choose
	expect "kubectl $v: exec" '^web-' kv exec deployment/web -- hostname
	expect "kubectl $v: scale" scaled kv scale deployment/web --replicas=1
	expect "kubectl $v: describe" 'Replicas: +1 desired' kv describe deployment/web
	expect "kubectl $v: auth can-i" '^yes' kv auth can-i create pods
	expect "kubectl $v: delete" 'deployment.apps "web" deleted' kv delete -f "$WORK/web.yaml"
	"$KUBECTL.$v" delete namespace "$n" --wait=false >/dev/null
}
KUBECTL=$(readlink -f "$(command -v kubectl)")
versions=$(ls "$KUBECTL".1.* 2>/dev/null | sed 's/.*kubectl\.//' | sort -V)
for v in $versions; do core "$v"; done
KUBECTL=kubectl
[ -n "$versions" ] || skip_test "other versions of kubectl" "only one is installed"

# ---- apply ----
expect "apply --dry-run=server" 'created \(server dry run\)' k apply --dry-run=server -f "$WORK/web.yaml"
fails "stores nothing" NotFound k get deployment web
expect "apply creates" 'deployment.apps/web created' k apply -f "$WORK/web.yaml"
expect "apply again" 'deployment.apps/web unchanged' k apply -f "$WORK/web.yaml"
check "rollout status" k rollout status deployment/web --timeout=30s
k scale deployment/web --replicas=3 >/dev/null
sed -e 's/, {name: B, value: "2"}//' -e '/replicas:/d' "$WORK/web.yaml" >"$WORK/less.yaml"
expect "apply: what the file no longer has goes" 'deployment.apps/web configured' k apply -f "$WORK/less.yaml"
is "three-way: B is gone, A stays" A "$(field deployment/web '{.spec.template.spec.containers[0].env[*].name}')"
is "a field that was the file's and is not any more goes to its default" 1 "$(field deployment/web '{.spec.replicas}')"
k label deployment web mine=yes >/dev/null
k apply -f "$WORK/web.yaml" >/dev/null
is "what others set stays" yes "$(field deployment/web '{.metadata.labels.mine}')"
check "rollout status" k rollout status deployment/web --timeout=30s
expect "diff: none" '^0$' sh -c "kubectl diff -f $WORK/web.yaml >/dev/null 2>&1; echo \$?"
expect "diff: some" '^\+ +- name: B|^- +- name: B|name: B' k diff -f "$WORK/less.yaml"

# ---- get ----
expect "get all" 'replicaset.apps/web' k get all
expect "get -o wide" 'web-.* 1/1 +Running +0 .* 10\.244\.[0-9.]+ ' k get pods -o wide
expect "get -o yaml" '^kind: Deployment' k get deployment web -o yaml
expect "get -o json" '"kind": "Deployment"' k get deployment web -o json
is "get -o name" deployment.apps/web "$(k get deployment -o name)"
expect "get -o custom-columns" '^web +2$' k get deployments -o custom-columns=N:.metadata.name,R:.spec.replicas
expect "get --sort-by" web k get pods --sort-by=.metadata.name
expect "get -l" '^pod/web-' k get pods -l 'app in (web,other),app!=other' -o name
is "get -l: none" "No resources found in default namespace." "$(k get pods -l app=other 2>&1)"
soon "get --field-selector" '^2$' sh -c 'kubectl get pods --field-selector status.phase=Running,spec.nodeName!=x -o name | wc -l'
expect "get -A" '^default +web-' k get pods -A
expect "get --show-labels" 'app=web,pod-template-hash=' k get pods --show-labels
expect "get by short names, several kinds" 'service/web' k get deploy,rs,po,svc,cm,sa,ns,no,ep,ev
expect "get --chunk-size" web- k get pods --chunk-size=1
fails "get of what is not there" '\(NotFound\): pods "nothing" not found' k get pod nothing
fails "get of no kind" 'the server doesn.t have a resource type "nothings"' k get nothings
exec {watch}< <(exec "$KUBECTL" get deployment web -w --no-headers)
watcher=$!
expect "get -w shows what is there" '^web +2/2' timeout $((10 * SLOW)) head -n 1 <&"$watch"
k scale deployment/web --replicas=3 >/dev/null
expect "and sees a change" '^web +3/3' timeout $((20 * SLOW)) grep -m 1 '^web *3/3' <&"$watch"
kill $watcher
exec {watch}<&-
check "rollout status" k rollout status deployment/web --timeout=30s
expect "get --raw" '"gitVersion"' k get --raw /version
soon "get events" 'ScalingReplicaSet' k get events
soon "events" 'ScalingReplicaSet' k events --for deployment/web
expect "api-resources" '^deployments +deploy +apps/v1 +true +Deployment' k api-resources
expect "api-versions" '^rbac.authorization.k8s.io/v1$' k api-versions
expect "explain" 'FIELDS?:' k explain pod.spec.containers
expect "explain a field" 'replicas' k explain deployment.spec.replicas
expect "version" 'Server Version: v1.32' k version
expect "cluster-info" 'control plane.* is running at' k cluster-info
fails "top: plain absence" 'Metrics API not available' k top pods

# ---- create: protobuf from 1.32 on ----
expect "create namespace" 'namespace/other created' k create namespace other
expect "create configmap" 'configmap/c created' k create configmap c --from-literal=a=b
is "its data" b "$(field configmap/c '{.data.a}')"
expect "create secret" 'secret/s created' k create secret generic s --from-literal=p=w
is "its data, encoded" dw== "$(field secret/s '{.data.p}')"
expect "create tls secret needs files" 'error' k create secret tls t --cert=/nonexistent --key=/nonexistent
expect "create service clusterip" 'service/si created' k create service clusterip si --tcp=80:8080
expect "create service nodeport" 'service/sn created' k create service nodeport sn --tcp=80:8080
expect "create service externalname" 'service/se created' k create service externalname se --external-name example.com
expect "create deployment" 'deployment.apps/dep created' k create deployment dep --image=mini/demo:1 --replicas=2 --port=8080
expect "create serviceaccount" 'created' k create serviceaccount robot
expect "create role" 'created' k create role r --verb=get --resource=pods
expect "create clusterrole" 'created' k create clusterrole cr --verb=get --resource=nodes
expect "create rolebinding" 'created' k create rolebinding rb --role=r --serviceaccount=default:robot
expect "create -f -" 'created' sh -c 'echo "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"generateName\":\"gen-\"}}" | kubectl create -f -'
expect "run" 'pod/one created' k run one --image=mini/demo:1 --restart=Never --grace-period=1 -- sleep 1000
expect "expose" 'service/dep exposed' k expose deployment dep --port=80 --target-port=8080
expect "what is left out says so" 'no matches for kind "Job"|not find the requested resource|no matches' k create job j --image=x

# ---- describe ----
soon "describe pod" 'Started container' k describe pod -l app=web
expect "describe deployment" 'NewReplicaSet: +web-' k describe deployment web
expect "describe service" 'Endpoints: +10\.244\.' k describe service web
expect "describe node" 'Allocated resources' k describe nodes
expect "describe secret hides" 'p: +1 bytes' k describe secret s
expect "describe namespace" 'Status: +Active' k describe namespace default

# ---- change ----
expect "scale" 'scaled' k scale deployment/web --replicas=2
fails "scale with a wrong precondition" 'Expected replicas to be 7' k scale deployment/web --current-replicas=7 --replicas=3
expect "label" 'labeled' k label pod one x=y
expect "label again needs --overwrite" "already has a value" k label pod one x=z
expect "unlabel" 'unlabeled' k label pod one x-
expect "annotate" 'annotated' k annotate deployment web note=hello
is "the note" hello "$(field deployment/web '{.metadata.annotations.note}')"
expect "patch, strategic" 'patched' k patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"C","value":"3"}]}]}}}}'
is "merges by name" "C A B" "$(field deployment/web '{.spec.template.spec.containers[0].env[*].name}')"
expect "patch, merge" 'patched' k patch configmap c --type=merge -p '{"data":{"a":null,"b":"c"}}'
is "null deletes" '{"b":"c"}' "$(field configmap/c '{.data}')"
expect "patch, JSON" 'patched' k patch configmap c --type=json -p '[{"op":"test","path":"/data/b","value":"c"},{"op":"add","path":"/data/d","value":"e"}]'
is "adds" '{"b":"c","d":"e"}' "$(field configmap/c '{.data}')"
expect "patch: nothing" 'no change' k patch configmap c --type=merge -p '{"data":{"b":"c"}}'
expect "replace" 'replaced' sh -c "kubectl get configmap c -o yaml | sed 's/d: e/d: f/' | kubectl replace -f -"
# anchored: a uid may begin with f, too
expect "edit" 'edited' env TMPDIR="$WORK" KUBE_EDITOR='sed -E -i "s/^(  d: )f/\1g/"' "$KUBECTL" edit configmap c
is "as edited" g "$(field configmap/c '{.data.d}')"
expect "set env" 'env updated' k set env deployment/web C-
expect "set resources" 'resource requirements updated' k set resources deployment/web --requests=cpu=10m
check "rollout status" k rollout status deployment/web --timeout=30s

# ---- rollouts ----
"$MINICTL" --help >/dev/null 2>&1 # (the same words are minictl's: its own test has them)
expect "set image" 'image updated' k set image deployment/web web=mini/none:2
expect "rollout status waits, and ends at its limit" 'timed out|exceeded' "$KUBECTL" rollout status deployment/web --timeout=1s
expect "rollout history" '^[2-9] ' k rollout history deployment/web
first=$(k rollout history deployment/web | grep -oE '^[0-9]+' | head -n 1)
expect "rollout history --revision" 'mini/demo:1' k rollout history deployment/web --revision="$first"
expect "rollout undo" 'rolled back' k rollout undo deployment/web
check "it is back" k rollout status deployment/web --timeout=30s
is "the image" mini/demo:1 "$(field deployment/web '{.spec.template.spec.containers[0].image}')"
expect "rollout undo --to-revision" 'rolled back' k rollout undo deployment/web --to-revision="$first"
expect "rollout pause" 'paused' k rollout pause deployment/web
fails "restart while paused" "can't restart paused" k rollout restart deployment/web
expect "rollout resume" 'resumed' k rollout resume deployment/web
expect "rollout restart" 'restarted' k rollout restart deployment/web
check "it comes to an end" k rollout status deployment/web --timeout=30s
expect "wait --for=condition" 'condition met' k wait --for=condition=Available deployment/web --timeout=10s
expect "wait --for=jsonpath" 'condition met' k wait --for=jsonpath='{.status.readyReplicas}'=2 deployment/web --timeout=10s

# ---- pods ----
check "wait --for=condition=Ready" k wait --for=condition=Ready pod/one --timeout=15s
k run say --image=mini/demo:1 --restart=Never --command -- sh -c 'echo to out; echo to err >&2; exit 0' >/dev/null
check "wait --for=jsonpath" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/say --timeout=15s
[ "$(field pod/say '{.status.phase}')" = Succeeded ] || k describe pod say | tail -n 30 | sed 's/^/# /'
soon "logs" '^to out$' k logs say
soon "logs: stderr too" '^to err$' k logs say
expect "logs --timestamps --tail" '^[0-9T:.-]+Z to (err|out)$' k logs say --timestamps --tail=1
is "logs --tail" 1 "$(k logs say --tail=1 | wc -l)"
fails "logs -p without a life before" 'previous terminated container "say" in pod "say" not found' k logs -p say
expect "logs deployment/" . k logs deployment/web --all-containers
expect "exec" '^one$' k exec one -- hostname
expect "exec -c" '^one$' k exec one -c one -- hostname
fails "exec of nothing" 'no such file|not found' k exec one -- /no/such
is "exec -i" 5 "$(printf 12345 | k exec -i one -- sh -c 'cat | head -c 100 | { read -r x; echo ${#x}; }')"
is "exec passes much" 300000 "$(k exec one -- head -c 300000 /dev/zero | wc -c)"
fails "attach to a pod that is over" 'completed pod' k attach say
check "port-forward" see 5 'Forwarding from' "$KUBECTL" port-forward one 18080:8080
expect "cp out" 'root' sh -c "kubectl cp one:/etc/passwd $WORK/passwd >/dev/null 2>&1; kubectl exec one -- cat /etc/passwd"

# ---- nodes ----
node=$(field nodes '{.items[0].metadata.name}')
expect "cordon" 'cordoned' k cordon "$node"
expect "the table says so" 'Ready,SchedulingDisabled' k get nodes
k run waits --image=mini/demo:1 >/dev/null
check "nothing new comes" see 10 'FailedScheduling.*node\(s\) were unschedulable|unschedulable' "$KUBECTL" get events -w --field-selector involvedObject.name=waits
expect "drain" 'drained|evicting|cannot evict|not find the requested' k drain "$node" --ignore-daemonsets --force --delete-emptydir-data --disable-eviction --grace-period=1 --timeout=30s
expect "uncordon" 'uncordoned' k uncordon "$node"
check "the deployment comes back" k rollout status deployment/web --timeout=30s
expect "taint" 'tainted' k taint node "$node" k=v:NoSchedule
expect "untaint" 'untainted' k taint node "$node" k-

# ---- delete ----
expect "delete --cascade=orphan" 'deleted' k delete deployment dep --cascade=orphan
check "the replica set stays" k get rs -l app=dep -o name
is "without an owner" "" "$(k get rs -l app=dep -o 'jsonpath={.items[*].metadata.ownerReferences}')"
k delete rs -l app=dep >/dev/null
gone() { [ -z "$(k get "$1" -l "$2" -o name)" ]; }
check "background: its pods go" eventually 20 gone pods app=dep
expect "delete --cascade=foreground" 'deleted' k delete deployment web --cascade=foreground --timeout=30s
check "with it all is gone" eventually 10 gone pods,rs app=web
expect "delete --dry-run=server" 'dry run' k delete configmap c --dry-run=server
check "it is still there" k get configmap c
expect "delete several" 'configmap "c" deleted' k delete configmap/c secret/s
expect "delete --ignore-not-found" '^$' k delete configmap nothing --ignore-not-found
fails "delete of nothing" NotFound k delete configmap nothing
k -n other create configmap c --from-literal=a=b >/dev/null
expect "delete namespace waits" 'deleted' k delete namespace other --timeout=30s
fails "all in it is gone" NotFound k get namespace other
expect "delete --all" 'deleted' k delete pods --all --grace-period=1 --timeout=30s
expect "finalizers hold" 'timed out' sh -c "kubectl create configmap f --from-literal=a=b >/dev/null; kubectl patch configmap f -p '{\"metadata\":{\"finalizers\":[\"x.y/z\"]}}' >/dev/null; kubectl delete configmap f --timeout=1s"
expect "until they are removed" 'patched' k patch configmap f --type=merge -p '{"metadata":{"finalizers":null}}'
fails "then it goes" NotFound k get configmap f
check "stop" stop_demo
check "nothing is left" no_leftovers
