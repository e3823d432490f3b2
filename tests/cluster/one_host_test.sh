#!/bin/bash
# Three servers on one host, at one address: their ports alone tell them apart, for the kubernetes service and for the
# node that runs beside them. One of them may go.
. "$(dirname "$0")/lib.sh"
need_kubectl
A=192.0.2.10
DIR=$WORK/a
declare -A PORT=([a]=6443 [b]=7443 [c]=8443)
kc() { local n=$1; shift; k --kubeconfig "$WORK/$n/admin.kubeconfig" "$@"; }
server() { # NAME [FLAGS]
	local n=$1 p=${PORT[$1]}
	shift
	"$MINID" server --dir "$WORK/$n" --name "$n" --listen "$A:$p" --peer-listen "$A:$((p + 1))" --detach "$@" 2>&1
}
turn_off() {
	for n in n c b a; do "$MINID" stop --dir "$WORK/$n"; done
	"$MINID" agent --reset --dir "$WORK/n"
}
trap 'turn_off >/dev/null 2>&1; finish' EXIT
slices() { kc "$1" get endpointslices -l kubernetes.io/service-name=kubernetes -o 'jsonpath={range .items[*]}{.endpoints[*].addresses[*]}:{.ports[*].port} {end}' | tr ' ' '\n' | sort | xargs; }
slices_are() { [ "$(slices "$1")" = "$2" ]; }
subsets() { kc "$1" get endpoints kubernetes -o 'jsonpath={range .subsets[*]}{.addresses[*].ip}:{.ports[*].port} {end}' | xargs; }
# What the kernel does with a connection to the service.
leads_to() { iptables-save -t nat | grep -oE "default/kubernetes:https.* --to-destination $A:[0-9]+" | grep -oE '[0-9]+$' | sort | xargs; }
kernel_leads_to() { [ "$(leads_to)" = "$1" ]; }
many_answers() {
	local i
	for i in $(seq 20); do curl -sk --max-time 2 https://10.96.0.1/readyz | grep -q ok || return 1; done
}

ip link add lan0 type veth peer name lan1 && ip addr add $A/24 dev lan0 && ip link set lan0 up && ip link set lan1 up
expect "a server" 'mini is ready' server a
T=$("$MINID" token create --dir "$WORK/a")
expect "a second beside it" 'mini is ready' server b --join https://$A:6443 --token "$T"
expect "a third" 'mini is ready' server c --join https://$A:7443 --token "$T"
"$MINID" agent --dir "$WORK/n" --node-name n1 --node-ip $A --detach --join https://$A:6443 \
	--token "$("$MINID" token create --dir "$WORK/a" --role agent)" >"$WORK/n.out" 2>&1
expect "a node beside them" 'mini is ready' cat "$WORK/n.out"
check "an EndpointSlice for each port" eventually 90 slices_are a "$A:6443 $A:7443 $A:8443"
is "a subset, too" "$A:6443 $A:7443 $A:8443" "$(subsets a)"
check "the kernel knows all three" eventually 60 kernel_leads_to "6443 7443 8443"
check "the service answers" many_answers
kill -9 "$(cut -d' ' -f1 "$WORK/a/server.lock")"
check "one is killed: its slice goes" eventually 90 slices_are b "$A:7443 $A:8443"
is "its subset too" "$A:7443 $A:8443" "$(subsets b)"
check "and the rules to it" eventually 60 kernel_leads_to "7443 8443"
check "every connection is answered" many_answers
check "the node is ready all the while" kc b wait node/n1 --for=condition=Ready --timeout=60s
expect "it comes back" 'mini is ready' server a
check "and into the service" eventually 90 slices_are b "$A:6443 $A:7443 $A:8443"
[ "$TAP_BAD" = 0 ] || { iptables-save -t nat | grep default/kubernetes | sed 's/^/# /'; tail -n 15 "$WORK/n/minid.log" | sed 's/^/# /'; }
check "the node stops" "$MINID" stop --dir "$WORK/n"
"$MINID" agent --reset --dir "$WORK/n" >/dev/null 2>&1
for n in c b a; do "$MINID" stop --dir "$WORK/$n" >/dev/null; done
ip link del lan0
check "nothing is left" no_leftovers
