#!/bin/bash
# A control plane whose store is an external etcd: three members with TLS and client certificates, which fail one by one
# and all together.
. "$(dirname "$0")/lib.sh"
need_kubectl
command -v etcd >/dev/null || { skip_test "$(basename "$0")" "etcd-server is not installed"; exit 0; }
E=$WORK/etcd
mkdir -p "$E"
URLS=https://127.0.0.1:12379,https://127.0.0.1:22379,https://127.0.0.1:32379
PEERS=m1=https://127.0.0.1:12380,m2=https://127.0.0.1:22380,m3=https://127.0.0.1:32380

certificates() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$E/ca.key" -out "$E/ca.pem" -days 2 -subj /CN=etcd-ca
	# the member's: RSA, as kubeadm makes them
	openssl req -newkey rsa:2048 -nodes -keyout "$E/server.key" -out "$E/server.csr" -subj /CN=etcd
	openssl x509 -req -in "$E/server.csr" -CA "$E/ca.pem" -CAkey "$E/ca.key" -CAcreateserial -days 2 -out "$E/server.pem" \
		-extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n')
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$E/client.key" -out "$E/client.csr" -subj /CN=mini
	openssl x509 -req -in "$E/client.csr" -CA "$E/ca.pem" -CAkey "$E/ca.key" -CAcreateserial -days 2 -out "$E/client.pem" \
		-extfile <(echo extendedKeyUsage=clientAuth)
}
declare -A PID
start_etcd() { # N
	local c=https://127.0.0.1:${1}2379 p=https://127.0.0.1:${1}2380
	etcd --name "m$1" --data-dir "$E/m$1" --listen-client-urls "$c" --advertise-client-urls "$c" --listen-peer-urls "$p" \
		--initial-advertise-peer-urls "$p" --initial-cluster "$PEERS" --client-cert-auth --trusted-ca-file "$E/ca.pem" \
		--cert-file "$E/server.pem" --key-file "$E/server.key" --peer-client-cert-auth --peer-trusted-ca-file "$E/ca.pem" \
		--peer-cert-file "$E/server.pem" --peer-key-file "$E/server.key" >>"$E/log$1" 2>&1 &
	PID[$1]=$!
}
kill_etcd() { { kill -9 "${PID[$1]}" && wait "${PID[$1]}"; } 2>/dev/null; }
E_CTL=(etcdctl --endpoints "$URLS" --cacert "$E/ca.pem" --cert "$E/client.pem" --key "$E/client.key")
healthy() { ETCDCTL_API=3 "${E_CTL[@]}" endpoint health; }
count() { ETCDCTL_API=3 "${E_CTL[@]}" get --prefix "$1" --keys-only | grep -c .; }
start_server() { "$MINID" server --dir "$DIR" --listen 127.0.0.1 --detach "$@"; }
stop_all() { for n in 1 2 3; do kill_etcd $n; done; }
trap 'end=$?; stop_all; (exit $end); finish' EXIT

certificates >"$WORK/openssl.out" 2>&1 || { cat "$WORK/openssl.out"; not_ok "certificates"; exit 1; }
FLAGS=(--etcd-servers "$URLS" --etcd-cafile "$E/ca.pem" --etcd-certfile "$E/client.pem" --etcd-keyfile "$E/client.key")

fails "without etcd it says what is in the way" "no etcd server" start_server "${FLAGS[@]}"
fails "a URL that is none" "is no URL of an etcd server" start_server --etcd-servers 127.0.0.1:2379
rm -rf "$DIR"
fails "https wants a CA" "needs the CA" start_server --etcd-servers "$URLS"
for n in 1 2 3; do start_etcd $n; done
check "three members are healthy" eventually 15 healthy
check "minid server starts on them" start_server "${FLAGS[@]}"
check "kubectl apply of the demo's objects" k apply -f manifests/demo/web.yaml
three_pods() { [ "$(k get pods -o name | grep -c pod/web-)" = 3 ]; }
check "the controllers work: three pods are made" eventually 10 three_pods
is "the Deployment is there" web "$(field deployment/web '{.metadata.name}')"
check "its keys lie under the prefix" test "$(count /mini/registry/)" -gt 50
check "and nothing lies in the directory" test ! -e "$DIR/store"
expect "readyz" ok k get --raw /readyz

# A watch that lives through all of it.
timeout 300 "$KUBECTL" get configmaps -w -o name >"$WORK/watch" 2>&1 &
WATCH=$!
check "a watch begins" eventually 5 grep -q kube-root-ca "$WORK/watch"
kill_etcd 1
check "one member killed: writes go on" eventually 10 k create configmap one
check "and the watch does" eventually 10 grep -q configmap/one "$WORK/watch"
start_etcd 1

OLD=$(minid_pid)
kill -9 "$OLD"
gone() { ! kill -0 "$OLD" 2>/dev/null; }
eventually 5 gone
check "minid killed and started without the flags: it remembers" start_server
is "all is there" "one" "$(field configmap/one '{.metadata.name}')"
kill $WATCH 2>/dev/null
timeout 300 "$KUBECTL" get configmaps -w -o name >"$WORK/watch" 2>&1 &
WATCH=$!
check "a watch begins again" eventually 5 grep -q configmap/one "$WORK/watch"

for n in 1 2 3; do kill_etcd $n; done
# curl: kubectl would try discovery over and over
k config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$WORK/cert.pem"
k config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >>"$WORK/cert.pem"
ask() { curl -sk --max-time $((15 * SLOW)) -w '\n%{http_code}' -E "$WORK/cert.pem" "$@"; }
API=https://127.0.0.1:6443
expect "etcd is away: a read is told 503 and why" "no etcd server answers|503" ask "$API/api/v1/namespaces/default/configmaps"
expect "a write too" '^50[34]$' ask -H 'Content-Type: application/json' --data '{"metadata":{"name":"two"}}' \
	"$API/api/v1/namespaces/default/configmaps"
soon "readyz says so" '^500$' ask "$API/readyz"
check "minid is still there" kill -0 "$(minid_pid)"
for n in 1 2 3; do start_etcd $n; done
check "etcd is back: writes go on" eventually 20 k create configmap three
check "and the watch does" eventually 10 grep -q configmap/three "$WORK/watch"
soon "readyz is ok again" ok k get --raw /readyz

# A member that hangs is worse than one that is dead: nothing tells but its silence. The one in use is stopped.
in_use() { ss -Htnp state established | grep "pid=$(minid_pid)," | grep -oE '127.0.0.1:[123]2379' | sort | uniq -c | sort -n | tail -1 | grep -oE '[123]2379'; }
N=$(in_use)
check "it is known which member is in use" test -n "$N"
kill -STOP "${PID[${N:0:1}]}"
expect "the member in use hangs: a read goes to another" '^200$' ask "$API/api/v1/namespaces/default/configmaps"
check "and a write, by another client" eventually 20 timeout $((15 * SLOW)) "$KUBECTL" create configmap four --request-timeout=$((12 * SLOW))s
check "and the watch" eventually 15 grep -q configmap/four "$WORK/watch"
kill -CONT "${PID[${N:0:1}]}"
kill $WATCH 2>/dev/null
check "it stops" "$MINID" stop --dir "$DIR"
fails "a directory with a store of its own is not taken over" "holds a store of its own" \
	bash -c "mkdir -p $WORK/other/store && $MINID server --dir $WORK/other ${FLAGS[*]}"
