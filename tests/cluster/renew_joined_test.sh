#!/bin/bash
# Who has no key of the CA has its certificates renewed by a server, while it runs, by showing those it has: a node and a
# witness, with lives of half a minute.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"
need_kubectl
command -v openssl >/dev/null || { skip_test "renewal" "no openssl"; exit 0; }

LIFE=30
ENVIRON[1]=MINI_TEST_CERT_LIFE_SECONDS=$LIFE ENVIRON[2]=MINI_TEST_CERT_LIFE_SECONDS=$LIFE
N=$WORK/n
network 4 || { not_ok "network"; exit 1; }
turn_off() {
	"$MINID" stop --dir "$N"
	nsenter --net=/run/netns/s4 "$MINID" agent --reset --dir "$N"
	stop_all
}
trap 'turn_off >/dev/null 2>&1; finish' EXIT
# The certificate that a port shows: its number and whose it is.
shown() { timeout 5 openssl s_client -connect "$1" </dev/null 2>/dev/null | openssl x509 -noout -serial -subject; }
shows_another() { local now; now=$(shown "$1") && [ -n "$now" ] && [ "$now" != "$2" ]; }
name_of() { sed -n 's/.*\(CN *= *[^,/]*\).*/\1/p' <<<"$1"; }
serial() { openssl x509 -in "$1" -noout -serial; }
another() { [ "$(serial "$1")" != "$2" ]; }
pair() { [ "$(openssl x509 -in "$1.crt" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ]; }
lease_at() { kn 1 -n kube-node-lease get lease n1 -o 'jsonpath={.spec.renewTime}'; }
renewed() { [ "$(lease_at)" != "$1" ]; }

start 1 --name s1
check "a server" await_ready 1
cp -r "$WORK/s1/pki" "$WORK/ca" # its admin's certificate lives as briefly
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/me.key" -subj /O=system:masters/CN=me -out "$WORK/me.csr" 2>/dev/null
openssl x509 -req -in "$WORK/me.csr" -CA "$WORK/ca/ca.crt" -CAkey "$WORK/ca/ca.key" -CAcreateserial -days 1 -out "$WORK/me.crt" 2>/dev/null
kn() { shift; k --kubeconfig /dev/null --server https://10.77.0.1:6443 --insecure-skip-tls-verify --client-certificate "$WORK/me.crt" --client-key "$WORK/me.key" "$@"; }
start 2 --name s2 --join https://10.77.0.1:6443 --token "$(token 1)"
check "a second server" await_ready 2
start 3 --name w --witness --join https://10.77.0.1:6443 --token "$(token 1 --witness --name w)"
check "a witness" eventually 90 says 3 'is ready'
nsenter --net=/run/netns/s4 "$MINID" agent --dir "$N" --node-name n1 --node-ip 10.77.0.4 --detach \
	--join https://10.77.0.1:6443 --token "$(token 1 --role agent)" >"$WORK/n.out" 2>&1
expect "a node" 'is ready' cat "$WORK/n.out"
check "which is ready" eventually 90 kn 1 wait node/n1 --for=condition=Ready --timeout=60s
node=$(shown 10.77.0.4:10250) witness=$(shown 10.77.0.3:6444) client=$(serial "$N/pki/kubelet-client.crt") proxy=$(serial "$N/pki/kube-proxy.crt")
begin=$SECONDS
is "the node has no key of the CA" "" "$(ls "$N/pki/ca.key" "$WORK/s3/pki/ca.key" 2>/dev/null)"
check "the node shows another certificate after a while" eventually 90 shows_another 10.77.0.4:10250 "$node"
is "of the same name" "$(name_of "$node")" "$(name_of "$(shown 10.77.0.4:10250)")"
check "has another as a client" eventually 90 another "$N/pki/kubelet-client.crt" "$client"
check "and another for its proxy" eventually 90 another "$N/pki/kube-proxy.crt" "$proxy"
check "the witness shows another" eventually 90 shows_another 10.77.0.3:6444 "$witness"
is "of the same name" "$(name_of "$witness")" "$(name_of "$(shown 10.77.0.3:6444)")"
for f in "$N/pki/kubelet" "$N/pki/kubelet-client" "$N/pki/kube-proxy" "$WORK/s3/pki/server"; do check "$(basename "$f"): key and certificate belong together" eventually 60 pair "$f"; done
no_next() { [ -z "$(ls "$N"/pki/*-next.key "$WORK"/s3/pki/*-next.key 2>/dev/null)" ]; }
check "no key is left over" eventually 60 no_next
# a connection outlives its certificate: new ones need the new
while [ $((SECONDS - begin)) -le $LIFE ]; do busybox usleep 200000; done
kill9 2
kill9 1
start 1
check "when the first ones are over, a server comes back by the witness's vote alone" await_ready 1
then=$(lease_at)
check "and the node finds it: its lease is renewed" eventually 90 renewed "$then"
[ "$TAP_BAD" = 0 ] || { tail -n 20 "$N/minid.log" | sed 's/^/# node: /'; said_all; }
check "the node stops" "$MINID" stop --dir "$N"
# a crash between the new certificate and its key's getting into its place
mv "$N/pki/kubelet-client.key" "$N/pki/kubelet-client-next.key" && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$N/pki/kubelet-client.key" 2>/dev/null
nsenter --net=/run/netns/s4 "$MINID" agent --dir "$N" --node-name n1 --node-ip 10.77.0.4 --detach >"$WORK/n.out" 2>&1
expect "after a crash in the midst of it, it starts" 'is ready' cat "$WORK/n.out"
check "with the key that belongs to the certificate" pair "$N/pki/kubelet-client"
turn_off >/dev/null 2>&1
check "nothing is left" no_leftovers
