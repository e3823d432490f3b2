#!/bin/bash
# It must survive: kill -9 of minid, of containers and of pauses, memory limits, crash loops, missing images, a full disk.
. "$(dirname "$0")/lib.sh"
need_kubectl

pods_now() { # name, uid, container id, restarts: one pod a line
	k get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}
# The processes inside a pod's containers, from the runtime's own state.
container_pid() { "$MINIRUN" --root "$DIR/run/containers" state "$1" | grep -o '"pid": *[0-9]*' | grep -o '[0-9]*'; }
# Of several lives the last.
containers_of() { ls "$DIR/run/containers" | grep "^$(field "pod/$1" '{.metadata.uid}')_$2" | sort -V; }
last_pid() { container_pid "$(containers_of "$1" "$2" | tail -n 1)"; }
pids_now() { for c in $(ls "$DIR/run/containers"); do echo "$c $(container_pid "$c")"; done | sort; }
pod() { # NAME COMMAND [MORE-OF-THE-CONTAINER] [MORE-OF-THE-SPEC]; the command as `command: [...]`
	k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec: {terminationGracePeriodSeconds: 1, ${4:+$4,} containers: [{name: main, image: "mini/demo:1", ${3:+$3,} $2}]}
YAML
}
reasons() { k get events --field-selector "involvedObject.name=$1" -o 'jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}'; }

kill_minid() {
	local pid
	pid=$(minid_pid)
	kill -9 "$pid"
	while kill -0 "$pid" 2>/dev/null; do :; done # it is a zombie at most: its files and locks are let go
}

start_demo || { not_ok "start"; exit 1; }
demo_image
k apply -f manifests/demo/web.yaml >/dev/null
check "three pods" k rollout status deployment/web --timeout=20s
ip=$(field service/web '{.spec.clusterIP}')

# ---- kill -9 of minid under a load of writes ----
# Writers note what was acknowledged (201) and what may or may not be there (no answer).
CERT=$WORK/cert.pem
k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$CERT"
k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >>"$CERT"
writer() {
	local id=$1 i=0 code
	while [ -e "$WORK/write" ]; do
		i=$((i + 1))
		code=$(curl -sk --max-time 30 -o /dev/null -w '%{http_code}' -E "$CERT" -H 'Content-Type: application/json' \
			https://127.0.0.1:6443/api/v1/namespaces/default/configmaps \
			-d "{\"metadata\":{\"name\":\"w$id-$i\",\"labels\":{\"w\":\"$id\"}},\"data\":{\"v\":\"$i\"}}")
		[ "$code" = 201 ] && echo "w$id-$i" >>"$WORK/acked.$id"
		[ "$code" = 000 ] && busybox usleep 10000
	done
}
before=$(pods_now) pids=$(pids_now)
touch "$WORK/write"
for w in 1 2 3; do writer $w & done
bad=0
for us in 50000 150000 300000 500000 20000 700000; do
	busybox usleep $us
	kill_minid
	start_demo || bad=1
done
acked() { [ "$(cat "$WORK"/acked.* | wc -l)" -gt "$1" ]; }
eventually 20 acked 20
rm "$WORK/write"
wait
[ $bad = 0 ] && ok "killed and started six times" || not_ok "killed and started six times"
sort "$WORK"/acked.* >"$WORK/acked"
k get configmaps -l w -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' | sort >"$WORK/there"
[ "$(wc -l <"$WORK/acked")" -gt 20 ] && ok "writes were acknowledged: $(wc -l <"$WORK/acked")" || not_ok "only $(wc -l <"$WORK/acked") writes"
is "every acknowledged write is there" "" "$(comm -23 "$WORK/acked" "$WORK/there")"
is "none is there twice" "" "$(uniq -d "$WORK/there")"
# unacknowledged ones: at most the one each writer had under way at each kill
[ "$(comm -13 "$WORK/acked" "$WORK/there" | wc -l)" -le 18 ] && ok "nothing appeared from nowhere" || not_ok "nothing appeared from nowhere"
check "the deployment is as it was" k rollout status deployment/web --timeout=20s
is "the same pods, the same containers, no restart" "$before" "$(pods_now)"
is "the same processes" "$pids" "$(pids_now)"
is "one set of rules" 1 "$(iptables-save -t nat | grep -c -- '-A PREROUTING .*-j KUBE-SERVICES')"
soon "the service answers" '^web-' curl -sS --max-time 5 "http://$ip/"
k delete configmaps -l w >/dev/null

# Killed while it started a program: the child holds the lock until it becomes that program.
kill_minid
exec {lock}<"$DIR/server.lock"
flock "$lock"
(busybox usleep 300000) &
exec {lock}<&-
check "a dead one's lock, still held by its child, is waited for" start_demo

# kill -9 while pods come and go: sandboxes half made, containers half removed
three() { [ "$(pods_now | wc -l)" = 3 ] && [ "$(ls "$DIR/run/containers" | wc -l)" = 6 ]; }
for us in 60000 120000 200000; do
	k scale deployment/web --replicas=6 >/dev/null
	busybox usleep $us
	kill_minid
	check "killed $((us / 1000)) ms after a scale up: start" start_demo
	check "what was scaled up is there" k rollout status deployment/web --timeout=30s
	is "exactly six" 6 "$(pods_now | wc -l)"
	k scale deployment/web --replicas=3 >/dev/null
	busybox usleep $us
	kill_minid
	check "killed $((us / 1000)) ms after a scale down: start" start_demo
	check "what was scaled down is gone, containers too" eventually 20 three
done

# ---- a container's process is killed ----
pod dies 'command: [sleep, "1000"]'
check "a pod" k wait --for=condition=Ready pod/dies --timeout=10s
kill -9 "$(last_pid dies main)"
check "its process is killed: started again" becomes 10 '^1 true' pod/dies '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}'
expect "lastState tells" '^137 Error$' field pod/dies '{.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.reason}'
kill -9 "$(last_pid dies main)"
check "again: backoff" becomes 10 'CrashLoopBackOff' pod/dies '{.status.containerStatuses[0].state.waiting.reason}'
check "then started again" becomes 25 '^2 true' pod/dies '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}'
ended=$(field pod/dies '{.status.containerStatuses[0].lastState.terminated.finishedAt}')
started=$(field pod/dies '{.status.containerStatuses[0].state.running.startedAt}')
waited=$(($(date -d "$started" +%s) - $(date -d "$ended" +%s)))
[ $waited -ge 9 ] && [ $waited -le $((11 + 2 * SLOW)) ] && ok "after ten seconds" || not_ok "after ten seconds: $waited"
uid=$(field pod/dies '{.metadata.uid}') pod_ip=$(field pod/dies '{.status.podIP}')
kill -9 "$(last_pid dies POD)"
check "its pause is killed: the sandbox is rebuilt" becomes 40 '^3 true' pod/dies '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}'
is "it is the same pod" "$uid" "$(field pod/dies '{.metadata.uid}')"
soon "an event says so" 'SandboxChanged: Pod sandbox changed' reasons dies
is "with one sandbox" 1 "$(containers_of dies POD | wc -l)"

k delete pod dies --wait=false >/dev/null

# ---- limits, loops, images: all at once ----
pod hungry 'command: [sh, -c, "x=a; while :; do x=$x$x; done"]' "resources: {limits: {memory: 16Mi}}" "restartPolicy: Never"
pod loops 'command: [sh, -c, "exit 3"]'
k run lost --image=mini/none:1 --restart=Never >/dev/null
k run never --image=mini/none:1 --image-pull-policy=Never >/dev/null
k run badname --image=x -o yaml --dry-run=client | sed 's/image: x/image: Upper/' | k create -f - >/dev/null
pod nocmd "command: [/no/such/program]" "" "restartPolicy: Never"
check "over its memory limit: OOMKilled" becomes 15 '^OOMKilled 137' pod/hungry '{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}'
is "and the pod has failed" Failed "$(field pod/hungry '{.status.phase}')"
check "a crash loop: CrashLoopBackOff" becomes 20 '^CrashLoopBackOff 3' pod/loops '{.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].lastState.terminated.exitCode}'
soon "an event says so" 'BackOff: Back-off restarting failed container main in pod loops_default' reasons loops
soon "and the table" 'loops +0/1 +(CrashLoopBackOff|Error)' k get pods
soon "a missing image: ErrImagePull, with an event that says why" 'Failed: .*mini/none:1' reasons lost
check "then ImagePullBackOff" becomes 25 '^ImagePullBackOff' pod/lost '{.status.containerStatuses[0].state.waiting.reason}'
soon "with an event" 'BackOff: Back-off pulling image "mini/none:1"' reasons lost
soon "and before that ErrImagePull" 'Failed: Error: ErrImagePull' reasons lost
soon "an image that must not be pulled" 'ErrImageNeverPull' field pod/never '{.status.containerStatuses[0].state.waiting.reason}'
soon "a name that is not one" 'InvalidImageName' field pod/badname '{.status.containerStatuses[0].state.waiting.reason}'
check "a program that is not there" becomes 10 '/no/such/program.*no such file.*CreateContainerError' pod/nocmd '{.status.containerStatuses[0].state.waiting}'
gone=$(pods_now)
k delete pod --all --grace-period=0 --force >/dev/null 2>&1
# others than before, and known to the rules
fresh() { [ "$(pods_now | wc -l)" = 3 ] && k rollout status deployment/web --timeout=5s && [ -z "$(comm -12 <(pods_now) <(echo "$gone"))" ]; }
check "three pods again" eventually 20 fresh
answers() { for _ in $(seq 30); do curl -sS --max-time 5 "http://$ip/" || echo "no answer"; done 2>/dev/null | sort -u; }
settled() { [ "$(answers | grep -c '^web-')" = 3 ] && ! answers | grep -q 'no answer'; }
check "which answer" eventually 20 settled

# ---- a rolling update under load ----
k patch deployment/web -p '{"spec":{"strategy":{"rollingUpdate":{"maxUnavailable":0,"maxSurge":1}}}}' >/dev/null
touch "$WORK/ask"
client() {
	local n=0 answer
	while [ -e "$WORK/ask" ]; do
		n=$((n + 1))
		answer=$(curl -sS --max-time 20 "http://$ip/" 2>&1)
		[[ $answer == web-* ]] || echo "request $n: $answer" >>"$WORK/lost.$1"
	done
	echo $n >"$WORK/asked.$1"
}
for c in 1 2 3; do client $c & done
for i in 1 2 3; do
	# as `rollout restart` does, which takes only one a second
	k patch deployment/web -p "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"round\":\"$i\"}}}}}" >/dev/null
	k rollout status deployment/web --timeout=60s >/dev/null || not_ok "rollout $i"
done
rm "$WORK/ask"
wait
asked=$(awk '{ n += $1 } END { print n }' "$WORK"/asked.*)
is "three rollouts under load: of $asked requests none is lost" "" "$(cat "$WORK"/lost.* 2>/dev/null | head -5)"
# A server too busy to accept what came before its endpoint went: that is answered before the pod ends. It may be that
# busy for two seconds: a machine that itself stands still that long gets another try.
late_answer() {
	local name pod_ip server connection rc
	read -r name pod_ip < <(k get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.metadata.deletionTimestamp}{"\n"}{end}' | awk 'NF == 2')
	server=$(pgrep -P "$(last_pid "$name" web)" httpd)
	kill -STOP "$server"
	exec {connection}<>"/dev/tcp/$pod_ip/8080"
	printf 'GET / HTTP/1.0\r\n\r\n' >&"$connection"
	k delete pod "$name" --wait=false >/dev/null
	busybox usleep 800000 # much longer than from a deletion to SIGTERM otherwise
	kill -CONT "$server"
	timeout $((5 * SLOW)) cat <&"$connection" | grep "^$name"
	rc=$?
	exec {connection}<&-
	return $rc
}
check "a connection not yet accepted is answered before its pod ends" eval 'late_answer || late_answer'
check "stop" stop_demo
check "nothing is left" no_leftovers

# ---- a full disk ----
mkdir -p "$WORK/small"
mount -t tmpfs -o size=48m tmpfs "$WORK/small"
S=$WORK/small/mini
full() { head -c 64m /dev/zero >"$WORK/small/ballast" 2>/dev/null; }
full
fails "no space at all: one line that says so" 'the disk of .* is full|No space left' "$MINID" demo --dir "$S" --detach
rm "$WORK/small/ballast"
rm -rf "$S"
export KUBECONFIG=$S/admin.kubeconfig
"$MINID" demo --dir "$S" >"$WORK/small.out" 2>&1 &
pid=$!
check "a small disk" see 10 'is ready' tail -n +1 -F "$WORK/small.out"
k create configmap before --from-literal=a=b >/dev/null
full
head -c 700k /dev/zero | tr '\0' x >"$WORK/big"
for i in $(seq 40); do k create configmap "big$i" --from-file="$WORK/big" >>"$WORK/big.out" 2>&1 || break; done
expect "full while it runs: the client is told" 'disk is full|[Nn]o space' cat "$WORK/big.out"
acked=$(grep -c created "$WORK/big.out")
if kill -0 $pid 2>/dev/null && k get --raw /version --request-timeout=30s >/dev/null 2>&1; then
	ok "it serves on, or it has ended with a clear line"
	kill -TERM $pid
	wait $pid
else
	wait $pid
	[ $? != 0 ] && grep -qiE 'no space|full' "$WORK/small.out" && ok "it serves on, or it has ended with a clear line" ||
		{ not_ok "it serves on, or it has ended with a clear line"; tail -5 "$WORK/small.out" | sed 's/^/# /'; }
fi
rm -f "$WORK/small/ballast"
check "with room again it starts" "$MINID" demo --dir "$S" --detach
check "what was written is there" k get configmap before
is "every acknowledged one" "$acked" "$(k get configmaps -o name | grep -c /big)"
check "stop" "$MINID" stop --dir "$S"
check "nothing is left" no_leftovers
umount "$WORK/small"
