#!/bin/sh
# Install the Debian packages that building (`build`) or testing (`test`) needs. Says nothing when all are there.
set -eu

build="gcc make git libc6-dev libuv1-dev node-llhttp libsqlite3-dev libyaml-dev libjansson-dev libseccomp-dev libmbedtls-dev
	libarchive-dev libcap-dev libzstd-dev zlib1g-dev busybox-static iptables iproute2 ca-certificates"
tests="libcmocka-dev clang libclang-rt-14-dev clang-format clang-tidy python3 skopeo umoci runc crun etcd-server etcd-client
	procps curl openssl jq util-linux wrk python3-kubernetes"

# for `make bench-store` alone
bench="etcd-server libnghttp2-dev"

case "${1:-build}" in
build) want=$build ;;
bench) want="$build $bench" ;;
test) want="$build $tests" ;;
*) echo "usage: deps.sh build|test|bench" >&2; exit 2 ;;
esac

missing=
for p in $want; do
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "these packages are missing; run as root: apt-get install$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "could not install:$missing" >&2
	exit 1
fi
