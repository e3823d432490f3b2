#!/bin/bash
# How it runs: a whole cluster on this host, its services from everywhere, its end without traces, and its two halves.
. "$(dirname "$0")/lib.sh"
need_kubectl

get() { curl -sS --max-time $((5 * SLOW)) "$@"; }
# Debian's static busybox has a wget that crashes; nc does.
pod_get() { k exec "$1" -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w $((5 * SLOW)) $2 $3 | tail -n 1"; }
# The pods that answer a few requests in a row, one name a line.
answers() { for _ in $(seq 20); do "$@" || echo "no answer"; done | sort -u; }
several() { ! grep -q 'no answer' <<<"$1" && [ "$(wc -l <<<"$1")" -gt 1 ]; }
# All three do: the rules know them. A pod is ready some moments before that.
all_answer() { [ "$(answers get "$1" | grep -c '^web-')" = 3 ] && several "$(answers get "$1")"; }
ready_pods() { k get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'; }
container_ids() { k get pods -l app=web -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].containerID}{"\n"}{end}' | sort; }
restart_counts() {
	k get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}

# ---- what is refused at the door ----
mkdir -p "$WORK/bin"
cp "$MINID" "$WORK/bin/" && chmod -R a+rx "$WORK"
fails "not root: a line that says so" 'needs root.*sudo' setpriv --reuid 65534 --clear-groups "$WORK/bin/minid" demo --dir /tmp/mini-nobody
fails "an unknown flag" 'unknown flag --nosuch|--nosuch' "$MINID" demo --nosuch 1
"$MINID" demo --nosuch 1 2>/dev/null
is "and its exit code" 2 $?
no_overlay() { unshare -m bash -c "grep -v overlay /proc/filesystems >$WORK/fs; mount --bind $WORK/fs /proc/filesystems && exec '$MINID' demo --dir '$DIR'"; }
fails "a kernel without overlayfs" 'no overlayfs' no_overlay
busybox httpd -f -p 127.0.0.1:6443 &
taker=$!
eventually 5 sh -c 'ss -ltn | grep -q :6443'
fails "the port is taken: which, and what to do" '6443.*(in use|--port)' "$MINID" demo --dir "$DIR"
fails "the same, detached" '6443.*(in use|--port)' "$MINID" demo --dir "$DIR" --detach
kill $taker
wait $taker 2>/dev/null
check "and nothing is left" no_leftovers
busybox httpd -f -p 10250 &
taker=$!
eventually 5 sh -c 'ss -ltn | grep -q :10250'
fails "the node's port is taken" '10250.*(in use|--node-port)' "$MINID" demo --dir "$DIR"
kill $taker
wait $taker 2>/dev/null
check "and nothing is left" no_leftovers
fails "nonsense in the service range" '"nonsense" is no IPv4 range' "$MINID" demo --dir "$DIR" --service-cidr nonsense
ip link add out0 type veth peer name out1
ip addr add 10.244.3.1/24 dev out0
ip link set out0 up
fails "a range that is the host's own" 'overlaps.*--cluster-cidr' "$MINID" demo --dir "$DIR"
ip link del out0
rm -rf "$DIR"

# ---- start ----
is "there is no network but lo" lo "$(ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | xargs)"
forward=$(cat /proc/sys/net/ipv4/ip_forward)
check "start" start_demo
expect "one line when it is ready" '^mini is ready' cat "$WORK/start.out"
is "the admin's kubeconfig is private" 600 "$(stat -c %a "$KUBECONFIG")"
is "so are all keys" "" "$(find "$DIR" -name '*.key' -perm /077)"
fails "the directory is in use" "another minid \\(process $(minid_pid)\\) runs in $DIR" "$MINID" demo --dir "$DIR" --port 7443
fails "and is not reset meanwhile" "another minid" "$MINID" demo --dir "$DIR" --reset
expect "health is open" '^ok$' get -k https://127.0.0.1:6443/readyz
check "the demo's image" demo_image
check "apply" k apply -f manifests/demo/web.yaml
check "rollout" k rollout status deployment/web --timeout=20s
expect "the node is ready" ' Ready ' k get nodes

# ---- the service ----
ip=$(field service/web '{.spec.clusterIP}')
mapfile -t pods < <(ready_pods)
is "three pods" 3 "${#pods[@]}"
check "different pods answer the host" eventually 10 all_answer "http://$ip/"
out=$(k exec "${pods[0]}" -- sh -c "for i in \$(seq 60); do printf 'GET / HTTP/1.0

' | nc -w $((5 * SLOW)) $ip 80 | tail -n 1 || echo no answer; done" 2>&1 | sort -u)
several "$out" && ok "different pods answer a pod" || { not_ok "different pods answer a pod"; echo "# $out"; }
grep -q "${pods[0]}" <<<"$out" && ok "a pod reaches itself through its service" || { not_ok "a pod reaches itself through its service"; echo "# $out"; }
pod_ip=$(field "pod/${pods[1]}" '{.status.podIP}')
expect "pod to pod" "${pods[1]}" pod_get "${pods[0]}" "$pod_ip" 8080
k create service nodeport web --tcp=80:8080 --node-port=30080 --dry-run=client -o yaml | sed 's/name: web$/name: out/' | k create -f - >/dev/null
check "a node port on 127.0.0.1" eventually 10 all_answer http://127.0.0.1:30080/
node_ip=$(field nodes '{.items[0].status.addresses[0].address}')
several "$(answers get "http://$node_ip:30080/")" && ok "and on the node's address" || not_ok "and on the node's address $node_ip"
expect "and from a pod" '^web-' pod_get "${pods[0]}" "$node_ip" 30080

k create service clusterip nobody --tcp=80 >/dev/null
none=$(field service/nobody '{.spec.clusterIP}')
# curl's 7: no connection; its 28: it waited in vain.
refused() { curl -s --max-time $((2 * SLOW)) "http://$1/"; [ $? = 7 ]; }
check "a service without endpoints refuses at once" eventually 5 refused "$none"
expect "from a pod too" 'refused' k exec "${pods[0]}" -- nc -w $((2 * SLOW)) "$none" 80
# A way out of this host, and a count of what takes it.
ip link add out0 type veth peer name out1
ip addr add 192.0.2.1/24 dev out0
ip link set out0 up
ip link set out1 up
ip route add default via 192.0.2.2
ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev out0
iptables -I OUTPUT -o out0 -d 10.0.0.0/8
iptables -I FORWARD -o out0 -d 10.0.0.0/8
curl -s --max-time 0.5 http://10.96.200.200/ >/dev/null
curl -s --max-time 0.5 http://10.244.200.200/ >/dev/null
k exec "${pods[0]}" -- nc -w 1 10.96.200.200 80 </dev/null >/dev/null 2>&1
is "no packet for an unknown service leaves the host" "0 0" \
	"$(iptables -nvxL OUTPUT | awk '/out0/ { print $1 }') $(iptables -nvxL FORWARD | awk '/out0/ { print $1 }')"
iptables -D OUTPUT -o out0 -d 10.0.0.0/8
iptables -D FORWARD -o out0 -d 10.0.0.0/8
ip link del out0

# ---- the kubernetes service, as a pod with its account ----
cat >"$WORK/api.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: api}
spec:
  containers:
  - name: main
    image: mini/demo:1
    command: [sh, -c, "echo first; exec sleep 1000"]
    volumeMounts:
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /lib}}
  - {name: lib64, hostPath: {path: /lib64}}
YAML
check "a pod with host paths" k apply -f "$WORK/api.yaml"
check "is ready" k wait --for=condition=Ready pod/api --timeout=10s
SA=/var/run/secrets/kubernetes.io/serviceaccount
in_pod="/usr/bin/curl -sS --max-time $((5 * SLOW)) --cacert $SA/ca.crt -H \"Authorization: Bearer \$(cat $SA/token)\""
expect "a pod reaches the API by its CA and token" '"gitVersion"' k exec api -- sh -c "$in_pod https://10.96.0.1/version"
expect "and is its service account" 'system:serviceaccount:default:default.*cannot list resource .*pods' \
	k exec api -- sh -c "$in_pod https://10.96.0.1/api/v1/namespaces/default/pods"
k create rolebinding api --clusterrole=view --serviceaccount=default:default >/dev/null
expect "with a role it may" '"kind": ?"PodList"' k exec api -- sh -c "$in_pod https://10.96.0.1/api/v1/namespaces/default/pods"
expect "by the environment's address too" '"gitVersion"' \
	k exec api -- sh -c "$in_pod https://\$KUBERNETES_SERVICE_HOST:\$KUBERNETES_SERVICE_PORT/version"

# ---- logs, exec ----
soon "logs" '^first$' k logs api
expect "exec" '^api$' k exec api -- hostname
k exec api -- sh -c 'exit 7' 2>/dev/null
is "exec passes the exit code on" 7 $?
is "exec passes input" "hello" "$(echo hello | k exec -i api -- cat)"
cat >"$WORK/again.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  containers:
  - {name: main, image: "mini/demo:1", command: [sh, -c, "if [ -e /d/x ]; then echo second; exec sleep 1000; fi; touch /d/x; echo lives before"],
     volumeMounts: [{name: d, mountPath: /d}]}
  volumes: [{name: d, emptyDir: {}}]
YAML
k apply -f "$WORK/again.yaml" >/dev/null
check "a container is started again" becomes 25 '^1 true' pod/again '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}'
soon "logs" '^second$' k logs again
expect "logs -p" '^lives before$' k logs -p again
check "logs -f" see 5 '^second$' "$KUBECTL" logs -f again
k delete pod api again --grace-period=0 --force >/dev/null 2>&1

# ---- SIGTERM is a reboot ----
before=$(ready_pods)
pid=$(minid_pid)
check "stop" stop_demo
check "nothing is left on the host" no_leftovers
is "sysctls are as they were" "$forward" "$(cat /proc/sys/net/ipv4/ip_forward)"
check "the API is gone" refused 127.0.0.1:6443
"$MINID" demo --dir "$DIR" >"$WORK/fg.out" 2>&1 &
pid=$!
check "started again, in the foreground" see 10 'is ready' tail -n +1 -F "$WORK/fg.out"
check "the objects are there" k get deployment/web service/web service/out
# Not what the status says of the life before: these containers are there, and answer.
rebuilt() {
	local id
	k wait --for=condition=Ready pod -l app=web --timeout=5s || return 1
	for id in $(container_ids); do [ -d "$DIR/run/containers/${id##*/}" ] || return 1; done
	all_answer "http://$ip/"
}
check "the pods are rebuilt" eventually 20 rebuilt
is "they are the same objects" "$before" "$(ready_pods)"
several "$(answers get "http://$ip/")" && ok "the service answers again" || not_ok "the service answers again: $(answers get "http://$ip/")"
kill -TERM $pid
wait $pid
is "SIGTERM: exit code 0" 0 $?
check "nothing is left on the host" no_leftovers

# ---- the two halves ----
"$MINID" server --dir "$DIR" >"$WORK/server.out" 2>&1 &
server=$!
check "a server of its own" see 10 'is ready' tail -n +1 -F "$WORK/server.out"
: >"$WORK/agent.out"
"$MINID" agent --dir "$DIR" --node-name "$(field nodes '{.items[0].metadata.name}')" >"$WORK/agent.out" 2>&1 &
agent=$!
check "an agent of its own" see 10 'is ready' tail -n +1 -F "$WORK/agent.out"
check "the pods run there" eventually 20 rebuilt
ids=$(container_ids) restarts=$(restart_counts)
kill -TERM $agent
wait $agent
is "SIGTERM to the agent: exit code 0" 0 $?
several "$(answers get "http://$ip/")" && ok "its pods run on, and answer" || not_ok "its pods run on, and answer: $(answers get "http://$ip/")"
shims=$(pgrep -f 'minirun.* shim' | head -3)
is "shims are in a group of their own" "" "$(for p in $shims; do grep -L shims "/proc/$p/cgroup"; done)"
: >"$WORK/agent.out"
"$MINID" agent --dir "$DIR" --node-name "$(field nodes '{.items[0].metadata.name}')" >"$WORK/agent.out" 2>&1 &
agent=$!
check "another agent" see 10 'is ready' tail -n +1 -F "$WORK/agent.out"
k delete pod "${pods[2]}" --wait=false >/dev/null
check "it works: a deleted pod is replaced" k wait --for=delete "pod/${pods[2]}" --timeout=20s
replaced() { [ "$(container_ids | grep -c ://)" = 3 ] && k rollout status deployment/web --timeout=5s; }
check "and its replacement is ready" eventually 20 replaced
is "the others were adopted" 2 "$(comm -12 <(echo "$ids") <(container_ids) | wc -l)"
is "none was restarted" "" "$(comm -13 <(echo "$restarts") <(restart_counts) | grep -v ' 0$')"
kill -TERM $server
wait $server
is "SIGTERM to the server: exit code 0" 0 $?
several "$(answers get "http://$ip/")" && ok "pods do not need the server" || not_ok "pods do not need the server: $(answers get "http://$ip/")"
kill -TERM $agent
wait $agent
check "reset ends what ran" "$MINID" demo --reset --dir "$DIR"
check "nothing is left" no_leftovers
[ ! -e "$DIR/state" ] && [ -z "$(find "$DIR" -type f 2>/dev/null)" ] && ok "the state is forgotten" || not_ok "the state is forgotten: $(ls "$DIR")"

# ---- two demos ----
other=/mnt/other
# It has a root of its own, too, with a /mnt that is elsewhere than ours.
mkdir "$WORK/root"
mount --rbind / "$WORK/root"
mount -t tmpfs tmpfs "$WORK/root/mnt"
in_other() { nsenter -t "$holder" -n chroot "$WORK/root" "$@"; }
unshare -n sleep 1000 &
holder=$!
own_network() { [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
eventually 5 own_network
in_other ip link set lo up
check "a demo" start_demo
check "another, in a network and a root of its own" in_other "$MINID" demo --dir "$other" --port 7443 --detach
check "its image" in_other "$TOP/manifests/demo/image/build.sh" --dir "$other"
check "and this one's" demo_image
o() { in_other env KUBECONFIG="$other/admin.kubeconfig" "$KUBECTL" "$@"; }
check "apply there" o apply -f "$TOP/manifests/demo/web.yaml"
check "apply here" k apply -f manifests/demo/web.yaml
check "ready there" o rollout status deployment/web --timeout=60s
check "ready here" k rollout status deployment/web --timeout=20s
ids=$(container_ids)
check "stop the other" in_other "$MINID" stop --dir "$other"
is "nothing of it is left: links" lo "$(in_other ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | xargs)"
is "rules" "" "$(in_other iptables-save | grep KUBE)"
is "mounts" "" "$(grep -F "$other" /proc/mounts)"
umount -l "$WORK/root"
is "this one is not disturbed" "$ids" "$(container_ids)"
check "and answers" eventually 10 all_answer "http://$(field service/web '{.spec.clusterIP}')/"
check "stop" stop_demo
kill $holder
wait $holder 2>/dev/null
check "nothing is left" no_leftovers
