#!/bin/bash
# A whole cluster on this host with a small web service in it, step by step: demo.sh start|stop
set -euo pipefail
cd "$(dirname "$0")/.."
B=${B:-build}
DIR=${MINI_DIR:-/var/lib/mini}
PORT=${MINI_PORT:-6443}
export KUBECONFIG=$DIR/admin.kubeconfig
export MINICTL=$PWD/$B/minictl
begin=$EPOCHREALTIME

step() { printf '%6.2f s  %s\n' "$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')" "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

# The body of http://ADDRESS/, or "no answer".
http_get() {
	local line body=
	if ! exec 3<>"/dev/tcp/$1/80"; then echo "no answer"; return; fi 2>/dev/null
	printf 'GET / HTTP/1.0\r\nHost: %s\r\n\r\n' "$1" >&3
	while IFS= read -r -t 5 line <&3 && [ -n "${line%$'\r'}" ]; do :; done
	IFS= read -r -t 5 body <&3 || true
	exec 3>&-
	echo "${body:-no answer}"
}

explain() {
	"$MINICTL" get pods -o wide || true
	"$MINICTL" get events --field-selector type=Warning || true
	die "the pods did not become ready; the events above or $DIR/minid.log may say why. Then: make demo-stop"
}

start() {
	[ "$(id -u)" = 0 ] || die "containers need root: sudo make demo"
	step "starting a cluster in $DIR"
	"$B/minid" demo --dir "$DIR" --port "$PORT" --detach
	step "building the demo's image from busybox"
	manifests/demo/image/build.sh --dir "$DIR"
	step "minictl apply -f manifests/demo/"
	"$MINICTL" apply -f manifests/demo/web.yaml
	"$MINICTL" rollout status deployment/web --timeout=60s || explain
	step "three pods are ready"
	"$MINICTL" get pods -o wide
	ip=$("$MINICTL" get service web -o 'jsonpath={.spec.clusterIP}')
	step "asking the service at http://$ip ten times"
	answers=$(for _ in 1 2 3 4 5 6 7 8 9 10; do http_get "$ip"; done)
	echo "$answers" | sort | uniq -c | sed 's/^/          /'
	! grep -q 'no answer' <<<"$answers" || die "a request got no answer; $DIR/minid.log may say why"
	[ "$(echo "$answers" | sort -u | wc -l)" -gt 1 ] || die "one pod answered all ten requests"
	step "different pods answered"
	cat <<-TXT

	Go on with minictl, or with the kubectl you have:
	  export KUBECONFIG=$DIR/admin.kubeconfig PATH=\$PATH:$PWD/$B
	  minictl get pods -o wide              kubectl get all
	  minictl scale deployment/web --replicas=5
	  minictl logs deployment/web           kubectl rollout restart deployment/web
	  curl http://$ip/
	Stop it, and leave nothing behind:
	  make demo-stop
	TXT
}

stop() {
	[ -d "$DIR" ] || { echo "no demo in $DIR"; exit 0; }
	step "stopping the cluster in $DIR"
	"$B/minid" stop --dir "$DIR"
	"$B/minid" demo --reset --dir "$DIR"
	step "stopped, nothing is left"
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*) echo "usage: demo.sh start|stop" >&2; exit 2 ;;
esac
