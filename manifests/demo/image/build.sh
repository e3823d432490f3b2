#!/bin/sh
# Build the demo's image, mini/demo:1, from busybox-static: manifests/demo/image/build.sh [--dir DIR]
# A root file system is put together in a temporary folder and handed to the node that runs on this host.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
minictl=${MINICTL:-$here/../../../build/minictl}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
chmod 755 "$root" && chmod 1777 "$root/tmp"
cp /bin/busybox "$root/bin/busybox"
for name in sh httpd hostname mkdir cat ls ps sleep usleep pidof kill ping env id head tail dd grep nc touch true false test date; do
	ln -s busybox "$root/bin/$name"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
cp "$here/serve" "$root/bin/serve"
"$minictl" "$@" image build --tag mini/demo:1 --rootfs "$root" --env PATH=/bin --entrypoint /bin/serve
