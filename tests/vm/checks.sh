#!/bin/bash
# A cluster where users have theirs: cgroups v2, and a kernel that loads its modules when they are needed. Runs as the VM's
# only job, in its default place on the host.
. "$(dirname "$0")/../cluster/lib.sh"
DIR=/var/lib/mini
CG=/sys/fs/cgroup
KUBECTL=$MINICTL
export KUBECONFIG=$DIR/admin.kubeconfig

loaded() { lsmod | grep -q "^$1 "; }
# The body of http://ADDRESS:PORT/, or "no answer".
http() {
	local line body=
	exec 3<>"/dev/tcp/$1/$2" || { echo "no answer"; return; }
	printf 'GET / HTTP/1.0\r\n\r\n' >&3
	while IFS= read -r -t 5 line <&3 && [ -n "${line%$'\r'}" ]; do :; done
	IFS= read -r -t 5 body <&3 || true
	exec 3>&-
	echo "${body:-no answer}"
}
answers() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do http "$1" "${2:-80}"; done 2>&1 | sort -u; }
several() { ! grep -q 'no answer' <<<"$1" && [ "$(wc -l <<<"$1")" -gt 1 ]; }
ids() { field pods '{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{"\n"}{end}' | sort; }
groups() { find $CG -mindepth 1 -type d | sort; }
# minid in a control group of its own, as a service manager would start it.
start_in_group() {
	mkdir -p $CG/minid
	sh -c 'echo $$ >'$CG'/minid/cgroup.procs; exec "$@"' sh "$MINID" demo --detach
}

# ---- start: modules come by themselves ----
check "this is cgroups v2 alone" test -e $CG/cgroup.controllers
loaded overlay || loaded br_netfilter && not_ok "no module is loaded yet" || ok "no module is loaded yet"
before=$(groups)
forward=$(cat /proc/sys/net/ipv4/ip_forward)
check "start" start_in_group
check "overlay was loaded" loaded overlay
check "br_netfilter was loaded" loaded br_netfilter
check "the demo's image" demo_image
check "apply" k apply -f manifests/demo/web.yaml
check "rollout" k rollout status deployment/web --timeout=60s
is "three pods" 3 "$(ids | grep -c ://)"
ip=$(field service/web '{.spec.clusterIP}')
out=$(answers "$ip")
several "$out" && ok "different pods answer at $ip" || not_ok "different pods answer at $ip: $out"
pod=$(ids | head -1 | cut -d' ' -f1)
out=$(k exec "$pod" -- sh -c "for i in 1 2 3 4 5 6 7 8; do wget -qO- http://$ip/ || echo no answer; done" | sort -u)
several "$out" && ok "different pods answer a pod" || not_ok "different pods answer a pod: $out"

# Matches that the demo's rules do without: their modules come with the rules.
cat >"$WORK/services.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  type: NodePort
  sessionAffinity: ClientIP
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
YAML
check "more services" k apply -f "$WORK/services.yaml"
check "a node port" eventually 10 sh -c 'iptables-save -t nat | grep -q "dport 30080 "'
is "with session affinity: one pod answers" 1 "$(answers 127.0.0.1 30080 | grep -c '^web-')"
nobody=$(field service/nobody '{.spec.clusterIP}')
refused() { http "$nobody" 80 2>&1 | grep -q refused; }
check "a service without endpoints refuses" eventually 10 refused

# ---- limits ----
cat >"$WORK/limits.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: limits}
spec:
  containers:
  - name: main
    image: mini/demo:1
    command: [sleep, "1000"]
    resources: {requests: {cpu: 200m, memory: 16Mi}, limits: {cpu: 300m, memory: 32Mi}}
  - name: second
    image: mini/demo:1
    command: [sleep, "1000"]
    resources: {limits: {cpu: 100m, memory: 8Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: "mini/demo:1", command: [sh, -c, "tail /dev/zero; sleep 1000"], resources: {limits: {memory: 12Mi}}}
YAML
check "pods with limits" k apply -f "$WORK/limits.yaml"
check "are ready" k wait --for=condition=Ready pod/limits --timeout=30s
group=$(find $CG/kubepods -type d -name "pod$(field pod/limits '{.metadata.uid}')")
is "the pod's group" "$CG/kubepods/burstable/pod$(field pod/limits '{.metadata.uid}')" "$group"
is "holds the sum: memory" $((40 << 20)) "$(cat "$group/memory.max")"
is "cpu" "40000 100000" "$(cat "$group/cpu.max")"
weight=$(cat "$group/cpu.weight")
main=$group/$(field pod/limits '{.status.containerStatuses[0].containerID}' | sed 's|.*/||')
is "the container's group: memory" $((32 << 20)) "$(cat "$main/memory.max")"
is "no swap beside it" 0 "$(cat "$main/memory.swap.max" 2>/dev/null || echo 0)"
is "it dies as a whole" 1 "$(cat "$main/memory.oom.group")"
is "cpu" "30000 100000" "$(cat "$main/cpu.max")"
[ "$(cat "$main/cpu.weight")" -gt 1 ] && [ "$weight" -gt "$(cat "$main/cpu.weight")" ] && ok "weights follow the requests" ||
	not_ok "weights follow the requests: pod $weight, container $(cat "$main/cpu.weight")"
is "inside it sees its own group" $((32 << 20)) "$(k exec limits -c main -- cat /sys/fs/cgroup/memory.max)"
check "over its limit: OOMKilled" becomes 30 OOMKilled pod/greedy '{.status.containerStatuses[0].state.terminated.reason}'

# ---- who lives where ----
pid=$(minid_pid)
is "minid is where it was started" "0::/minid" "$(cat "/proc/$pid/cgroup")"
is "shims are in a group of their own" "0::/mini-shims" "$(for p in $(pgrep -f 'minirun.* shim'); do cat "/proc/$p/cgroup"; done | sort -u)"
inner() {
	find $CG -mindepth 2 -name cgroup.subtree_control | while read -r f; do
		[ -z "$(cat "$f")" ] || [ -z "$(cat "${f%/*}/cgroup.procs")" ] || echo "${f%/*}"
	done
}
is "groups with groups below hold no process" "" "$(inner)"
is "and only they hand controllers on" "" "$(cat $CG/mini-shims/cgroup.subtree_control "$main/cgroup.subtree_control")"

# ---- the agent's group dies, as when a service is stopped hard ----
had=$(ids)
echo 1 >$CG/minid/cgroup.kill
check "minid is dead" eventually 5 sh -c "! kill -0 $pid"
several "$(answers "$ip")" && ok "the pods live, and answer" || not_ok "the pods live, and answer"
check "start again" start_in_group
check "the pods are ready" k wait --for=condition=Ready pod -l app=web --timeout=30s
is "they were adopted" "$had" "$(ids)"
expect "none was restarted" '^0 0 0 $' k get pods -l app=web -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount} {end}'
is "a dead one's reason is kept" OOMKilled "$(field pod/greedy '{.status.containerStatuses[0].state.terminated.reason}')"
check "a pod can be deleted" k delete pod limits --grace-period=1 --timeout=30s
check "its group goes with it" test ! -e "$group"

# ---- the end ----
check "stop" stop_demo
rmdir $CG/minid
is "no control group is left" "$before" "$(groups)"
check "nor link, rule, route, mount, process" no_leftovers
is "nor sysctl" "$forward" "$(cat /proc/sys/net/ipv4/ip_forward)"
check "reset" "$MINID" demo --reset

# ---- a container of the host's: its root of control groups is a group like any other, and holds processes ----
mkdir $CG/box
cat >"$WORK/inside" <<'SH'
umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && cd "$TOP" && "$MINID" demo --detach &&
	manifests/demo/image/build.sh >/dev/null && "$MINICTL" apply -f manifests/demo/web.yaml && "$MINICTL" rollout status deployment/web --timeout=60s
rc=$?
"$MINICTL" get events
"$MINID" stop && "$MINID" demo --reset && exit $rc
SH
export TOP MINID
nested() { bash -c "echo \$\$ >$CG/box/cgroup.procs; exec unshare -C -m bash $WORK/inside"; }
check "in a container of its own" nested
rmdir $CG/box/init $CG/box
is "nothing is left of it" "$before" "$(groups)"
is "the kernel logged no complaint" "" "$(dmesg -r | grep -E '^<[0-4]>.*\] (overlayfs|cgroup|bridge|nf_|nft|x_tables|xt_|veth|seccomp)')"
