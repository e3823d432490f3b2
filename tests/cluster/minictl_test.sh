#!/bin/bash
# minictl against a real cluster: what it prints, what it changes, how it ends; beside kubectl where there is one.
. "$(dirname "$0")/lib.sh"
export HOME=$WORK
KUBECTL_FOUND=$(command -v "$KUBECTL")
KUBECTL=$MINICTL # for k() and all that uses it
start_demo || exit 1
demo_image || exit 1
WEB=$TOP/manifests/demo/web.yaml

# rc CODE COMMAND...
rc() {
	local want=$1
	shift
	"$@" >/dev/null 2>&1
	[ $? = "$want" ]
}

expect "version of client and server" 'Server Version: v1\.32' k version
expect "apply creates" '^deployment\.apps/web created$' k apply -f "$WEB"
expect "apply again changes nothing" '^deployment\.apps/web unchanged$' k apply -f "$WEB"
expect "a rollout is followed to its end" '^deployment "web" successfully rolled out$' k rollout status deployment/web --timeout=60s
POD=$(k get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
check "jsonpath gave a name" test -n "$POD"
expect "a table with the server's columns" '^NAME +READY +STATUS +RESTARTS +AGE$' k get pods
expect "wide" 'NOMINATED NODE' k get pods -o wide
expect "several kinds" '^deployment\.apps/web ' k get all
expect "names" '^deployment\.apps/web$' k get deploy -o name
expect "columns of one's own" '^web +mini/demo:1 +<none>$' k get deploy -o 'custom-columns=N:.metadata.name,I:.spec.template.spec.containers[*].image,X:.nope'
expect "yaml" '^kind: Deployment$' k get deploy web -o yaml
fails "one that is not there" '^Error from server \(NotFound\): pods "nope" not found$' k get pods nope
check "... is no error when that is said" k get pods nope --ignore-not-found
fails "an unknown kind" "^error: the server doesn't have a resource type \"nosuch\"$" k get nosuch
expect "nothing there" '^No resources found in kube-public namespace\.$' k get pods -n kube-public
soon "describe tells events" 'Scheduled +[0-9]+[ms].* Successfully assigned' k describe pod "$POD"
expect "describe a deployment" '^NewReplicaSet: +web-' k describe deployment web

expect "exec" "^$POD$" k exec "$POD" -- hostname
check "exec hands the exit code on" rc 3 k exec "$POD" -- sh -c 'exit 3'
expect "exec hands input on" '^over there$' bash -c "echo over there | $MINICTL exec -i $POD -- cat"
expect "exec keeps the streams apart" '^out$' bash -c "$MINICTL exec $POD -- sh -c 'echo out; echo err >&2' 2>/dev/null"
big=$(k exec "$POD" -- head -c 3000000 /dev/zero | wc -c)
check "exec loses nothing of $big bytes" test "$big" = 3000000
fails "exec without a command" 'at least one command' k exec "$POD"
expect "exec -t without -i: no terminal" '^web-' k exec -t "$POD" -- hostname

cat >"$WORK/logger.yaml" <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: logger, labels: {app: logger}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: a, image: "mini/demo:1", command: [sh, -c, "for i in 1 2 3; do echo line $i; done; sleep 0.5; echo end"]}
  restartPolicy: Never
Y
check "a pod" k create -f "$WORK/logger.yaml"
check "wait for it" k wait pod/logger --for=jsonpath='{.status.phase}'=Succeeded --timeout=30s
soon "logs" '^line 3$' k logs logger
expect "the last line only" '^1$' bash -c "$MINICTL logs logger --tail=1 | wc -l"
expect "logs that follow end with the container" '^end$' timeout $((20 * SLOW)) "$MINICTL" logs -f logger
expect "logs by label carry a prefix" '^\[pod/logger/a\] end$' k logs -l app=logger --prefix
fails "logs of nobody" 'pods "nope" not found' k logs nope
fails "wait that is in vain" '^error: timed out waiting for the condition on pods/logger$' "$MINICTL" wait pod/logger --for=condition=Ready --timeout=1s

expect "scale" '^deployment\.apps/web scaled$' k scale deployment/web --replicas=1
fails "scale on a condition" 'Expected replicas to be 7, was 1' k scale deployment/web --replicas=2 --current-replicas=7
expect "set env" '^deployment\.apps/web env updated$' k set env deployment/web A=b
check "rolled out" k rollout status deployment/web --timeout=60s
expect "history" '^2 ' k rollout history deployment/web
expect "undo" '^deployment\.apps/web rolled back$' k rollout undo deployment/web
check "the variable is gone" test -z "$(k get deploy web -o 'jsonpath={.spec.template.spec.containers[0].env}')"
expect "restart" '^deployment\.apps/web restarted$' k rollout restart deployment/web
check "rolled out again" k rollout status deployment/web --timeout=60s
expect "set image says which container is missing" 'unable to find container named "x"' k set image deployment/web x=y
expect "patch" '^deployment\.apps/web patched \(no change\)$' k patch deployment web -p '{"spec":{"replicas":1}}'
expect "label" '^deployment\.apps/web labeled$' k label deployment web tier=front
fails "label does not overwrite" "already has a value \(front\)" k label deployment web tier=back
expect "annotate" '^deployment\.apps/web annotated$' k annotate deployment web note-
expect "expose" '^service/again exposed$' k expose deployment web --name=again --port=81
expect "cordon" '^node/.* cordoned$' k cordon "$(k get nodes -o 'jsonpath={.items[0].metadata.name}')"
expect "uncordon" '^node/.* uncordoned$' k uncordon "$(k get nodes -o 'jsonpath={.items[0].metadata.name}')"
expect "may I" '^yes$' k auth can-i create pods
check "may a stranger" rc 1 k auth can-i create pods --token=nonsense

expect "a config map" '^configmap/c created$' k create configmap c --from-literal=a=b --from-file=f="$WEB"
expect "dry run" '^configmap/d created \(dry run\)$' k create configmap d --from-literal=a=b --dry-run=client
fails "... made nothing" NotFound k get cm d
expect "a secret" '^secret/s created$' k create secret generic s --from-literal=p=q
expect "a token" '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$' k create token default
exec 3< <(exec "$MINICTL" get cm -w --no-headers)
watcher=$!
expect "watch shows what is there" '^c ' timeout $((10 * SLOW)) grep -m1 '^c ' <&3
check "... and a change comes" k create configmap later --from-literal=a=b
expect "... at once" '^later ' timeout $((10 * SLOW)) grep -m1 '^later ' <&3
kill "$watcher"
exec 3<&-

printf 'kind: ConfigMap\napiVersion: v1\nmetadata: {name: one}\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: A_b}\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: two}\nnope: 1\n' >"$WORK/many.yaml"
fails "several faults: the first is told" 'ConfigMap "A_b" is invalid' k apply -f "$WORK/many.yaml"
fails "... and the next" 'unknown field "nope"' k apply -f "$WORK/many.yaml"
expect "... and the good one is there" '^configmap/one$' k get cm one -o name
printf 'a: b\nc: [\n' >"$WORK/broken.yaml"
fails "broken YAML: file and line" "broken\.yaml:[23]" k apply -f "$WORK/broken.yaml"
fails "a file that is not there" 'the path "/nowhere" does not exist' k apply -f /nowhere
fails "an unknown flag" "^error: unknown flag: --bogus$" k get pods --bogus
fails "no server" 'was refused - did you specify the right host or port' k get pods -s https://127.0.0.1:1
fails "bad credentials" 'You must be logged in to the server \(Unauthorized\)' k get pods --token=nonsense

expect "images" '^docker.io/mini/demo +1 ' k --dir "$DIR" image ls
fails "an image that is no file" 'nowhere' k --dir "$DIR" image import /nowhere.tar
fails "no node" 'no node answers on this host' k --dir "$WORK" image ls
expect "config view hides keys" 'client-key-data: DATA\+OMITTED' k config view
expect "another namespace" 'modified' k config set-context --current --namespace=kube-system
expect "... is the default then" 'kube-system' k get pods
check "and back" k config set-context --current --namespace=default

expect "delete waits" '^deployment\.apps "web" deleted$' k delete -f "$WEB"
check "gone" rc 1 k get deployment web
expect "delete a namespace" '^namespace "n" deleted$' bash -c "$MINICTL create ns n >/dev/null && $MINICTL delete ns n"
fails "delete without a name" 'no name was specified' k delete pods
expect "delete all" '^configmap "one" deleted$' k delete cm --all

if [ -n "$KUBECTL_FOUND" ]; then
	still() { [ "$(k get pods -o name)" = pod/logger ]; }
	check "the pods of the deployment end" eventually 30 still
	for args in "get pods" "get all" "get nodes -o wide" "get cm,svc" "get svc -o yaml" "get ns -o name" "describe svc kubernetes" \
		"get pods nope" "get nosuch" "api-versions" "config view" "auth whoami"; do
		# shellcheck disable=SC2086
		a=$("$KUBECTL_FOUND" $args 2>&1 | sed -E 's/ +[0-9]+[hms0-9]*( |$)/ AGE /g') b=$(k $args 2>&1 | sed -E 's/ +[0-9]+[hms0-9]*( |$)/ AGE /g')
		if [ "$a" = "$b" ]; then ok "as kubectl: $args"; else
			not_ok "as kubectl: $args"
			diff <(echo "$a") <(echo "$b") | sed 's/^/# /' | head -n 20
		fi
	done
else
	skip_test "beside kubectl" "there is none here"
fi
check "it ends" stop_demo
check "nothing is left" no_leftovers
