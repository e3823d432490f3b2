#!/bin/bash
# Certificates are renewed while server and agent run, and taken into use, without a restart: with lives of some seconds.
. "$(dirname "$0")/lib.sh"
need_kubectl
command -v openssl >/dev/null || { skip_test "renewal" "no openssl"; exit 0; }

LIFE=16 # renewed when two thirds are over: what is left must be enough for a busy machine
export MINI_TEST_CERT_LIFE_SECONDS=$LIFE
# The certificate a port shows.
served() { timeout $((5 * SLOW)) openssl s_client -connect "$1" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint; }
serves_another() { local now; now=$(served "$1") && [ -n "$now" ] && [ "$now" != "$2" ]; }
kubeconfig_cert() { sed -n 's/.*client-certificate-data: //p' "$KUBECONFIG"; }
other_kubeconfig() { [ "$(kubeconfig_cert)" != "$1" ]; }
lease_time() { field leases/n1 '{.spec.renewTime}' kube-node-lease; }
renews_lease() { [ "$(lease_time)" != "$1" ]; }

ip link add lan0 type veth peer name lan1 && ip addr add 192.0.2.10/24 dev lan0 && ip link set lan0 up && ip link set lan1 up
"$MINID" server --dir "$DIR" --node-ip 192.0.2.10 >"$WORK/server.out" 2>&1 &
server=$!
check "a server" see 10 'is ready' tail -n +1 -F "$WORK/server.out"
"$MINID" agent --dir "$DIR" --node-ip 192.0.2.10 --node-name n1 >"$WORK/agent.out" 2>&1 &
agent=$!
check "an agent" see 10 'is ready' tail -n +1 -F "$WORK/agent.out"
check "its node is there" eventually 10 k get node n1
check "and ready" k wait --for=condition=Ready node/n1 --timeout=10s
api=$(served 127.0.0.1:6443) peer=$(served 192.0.2.10:6444) node=$(served 192.0.2.10:10250) admin=$(kubeconfig_cert) begin=$SECONDS
check "the API server shows another certificate after a while" eventually $LIFE serves_another 127.0.0.1:6443 "$api"
check "so does the node" eventually $LIFE serves_another 192.0.2.10:10250 "$node"
check "and the server towards other servers" eventually $LIFE serves_another 192.0.2.10:6444 "$peer"
check "the kubeconfig has another" eventually $LIFE other_kubeconfig "$admin"
while [ $((SECONDS - begin)) -le $LIFE ]; do busybox usleep 200000; done
expect "when the first ones are over, kubectl works" 'n1' k get nodes
is "both run as they did" "$server $agent" "$(cut -d' ' -f1 "$DIR/server.lock") $(cut -d' ' -f1 "$DIR/agent.lock")"
# a connection outlives its certificate: new ones need the new
kill -TERM $server && wait $server
is "SIGTERM to the server: exit code 0" 0 $?
: >"$WORK/server.out"
"$MINID" server --dir "$DIR" --node-ip 192.0.2.10 >"$WORK/server.out" 2>&1 &
server=$!
check "another server" see 10 'is ready' tail -n +1 -F "$WORK/server.out"
then=$(lease_time)
check "the agent finds it with its new certificate: the lease is renewed" eventually 15 renews_lease "$then"
is "its node is ready" True "$(field nodes/n1 '{.status.conditions[?(@.type=="Ready")].status}')"
kill -TERM $agent && wait $agent
is "SIGTERM to the agent: exit code 0" 0 $?
kill -TERM $server && wait $server
is "SIGTERM to the server: exit code 0" 0 $?
check "reset" "$MINID" demo --reset --dir "$DIR"
check "nothing is left" no_leftovers
