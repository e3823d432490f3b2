#!/bin/bash
# A node of three servers: whichever of them dies, hangs or is cut off, its pods run on, and it goes on with another one.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"
need_kubectl

network 4 || { not_ok "network"; exit 1; }
three_servers
N=$WORK/n
agent() { # [FLAGS]: on 10.77.0.4. (ip netns exec would hide the control groups.)
	nsenter --net=/run/netns/s4 "$MINID" agent --dir "$N" --detach "$@" >"$WORK/n.out" 2>&1
}
agent_stops() { "$MINID" stop --dir "$N"; }
turn_off() {
	agent_stops
	nsenter --net=/run/netns/s4 "$MINID" agent --reset --dir "$N"
	stop_all
}
trap 'turn_off >/dev/null 2>&1; finish' EXIT
heard() { jq -r '.servers[]' "$N/agent.json" | sort | xargs; }
knows() { [ "$(heard)" = "$1" ]; }
ALL="https://10.77.0.1:6443 https://10.77.0.2:6443 https://10.77.0.3:6443"
# The server that the node's connections lead to; there are others while it turns.
speaks_to() { inside 4 ss -Htn state established | awk '{print $4}' | sed -n 's/^10\.77\.0\.\([1-3]\):6443$/\1/p' | sort -u | xargs; }
turned_from() { local to; to=$(speaks_to); [ "${#to}" = 1 ] && [ "$to" != "$1" ]; }
ready_since() { kn "$1" get node n1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}'; }
scale() { kn "$1" scale deployment/web --replicas="$2" >/dev/null; }
run_there() { kn "$1" wait deployment/web --for=jsonpath="{.status.readyReplicas}=$2" --timeout=90s; }
first_pod() { kn "$1" get pod "$POD" -o 'jsonpath={.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'; }
lease_at() { kn "$1" -n kube-node-lease get lease n1 -o 'jsonpath={.spec.renewTime}'; }
renewed() { [ "$(lease_at "$1")" != "$2" ]; }
backends() { kn "$1" get endpointslices -l kubernetes.io/service-name=kubernetes -o 'jsonpath={.items[*].endpoints[*].addresses[*]}' | tr ' ' '\n' | sort | xargs; }
leads_to() { [ "$(backends "$1")" = "$2" ]; }
# As pods have it: six connections in a row, each to whichever server the rules choose.
service_answers() {
	local _
	for _ in 1 2 3 4 5 6; do inside 4 curl -sk --max-time 2 https://10.96.0.1/readyz | grep -q ok || return 1; done
}

agent --node-name n1 --node-ip 10.77.0.4 --join https://10.77.0.1:6443 --token "$(token 1 --role agent)"
expect "a node joins" 'mini is ready' cat "$WORK/n.out"
is "it is told of all servers" "$ALL" "$(heard)"
check "its node is there" eventually 60 kn 1 get node n1
check "and ready" kn 1 wait node/n1 --for=condition=Ready --timeout=60s
out=$("$TOP/manifests/demo/image/build.sh" --dir "$N" 2>&1) || { not_ok "the demo's image"; echo "$out"; }
kn 1 create deployment web --image=mini/demo:1 >/dev/null
check "a pod runs on it" run_there 1 1
POD=$(kn 1 get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
before=$(first_pod 1) since=$(ready_since 1)
check "the kubernetes service leads to all three" eventually 90 leads_to 1 "10.77.0.1 10.77.0.2 10.77.0.3"
check "and answers there" eventually 60 service_answers

# ---- its server is killed ----
eventually 60 turned_from none
was=$(speaks_to) other=$(($(speaks_to) % 3 + 1))
kill9 "$was"
check "its server is killed: it speaks to another" eventually 90 turned_from "$was"
check "which has quorum" eventually 90 written "$other" killed
scale "$other" 2
check "what is asked for now is done" run_there "$other" 2
check "the dead server's endpoint goes" eventually 90 leads_to "$other" "$(seq -f '10.77.0.%g' 3 | grep -v "\.$was$" | xargs)"
check "and connections to the service all succeed" eventually 60 service_answers

# ---- it starts without that server ----
is "its node was ready all the while" "$since" "$(ready_since "$other")"
agent_stops
then=$(lease_at "$other")
agent
expect "a restarted agent needs no flags" 'mini is ready' cat "$WORK/n.out"
check "and finds the others: its lease is renewed" eventually 30 renewed "$other" "$then"
check "its node is ready again" kn "$other" wait node/n1 --for=condition=Ready --timeout=60s
since=$(ready_since "$other")
start "$was"
check "the server comes back" await_ready "$was"
check "and is in the service again" eventually 90 leads_to "$other" "10.77.0.1 10.77.0.2 10.77.0.3"
check "is caught up" caught_up "$was" "$other" 10

# ---- its server hangs ----
eventually 60 turned_from none
was=$(speaks_to) other=$(($(speaks_to) % 3 + 1))
kill -STOP "${PID[$was]}"
scale "$other" 3
check "its server hangs: it speaks to another" eventually 90 turned_from "$was"
check "what was asked for meanwhile is done" run_there "$other" 3
kill -CONT "${PID[$was]}"
check "the server goes on" eventually 60 there "$was" killed
check "and catches up" caught_up "$was" "$other" 10

# ---- its server is cut off from the other servers, not from the node ----
was=$(speaks_to) other=$(($(speaks_to) % 3 + 1)) third=$((($(speaks_to) + 1) % 3 + 1))
sever "$was" "$other" && sever "$was" "$third"
check "the others go on" eventually 60 written "$other" cut
scale "$other" 4
check "its server has no quorum: it speaks to another" eventually 90 turned_from "$was"
check "what was asked for meanwhile is done" run_there "$other" 4
heal "$was"

is "its node was ready all the while" "$since" "$(ready_since "$other")"
is "and the first pod ran" "$before" "$(first_pod "$other")"
[ "$TAP_BAD" = 0 ] || { echo "# the node:"; grep -vE 'debug' "$N/minid.log" | tail -n 25 | sed 's/^/#   /'; said_all; }
check "the node stops" agent_stops
check "and is undone" nsenter --net=/run/netns/s4 "$MINID" agent --reset --dir "$N"
is "nothing is left of it" "" "$(ip -n s4 -o link | grep -E 'mini|veth' | grep -v eth0)"
stop_all
check "nothing is left" no_leftovers
