#!/bin/bash
# Make what the VM boots: image.sh DIR
#   DIR/vmlinuz        Debian's cloud kernel, unpacked beside the build and kept; never installed on this host
#   DIR/initramfs      busybox, a few real tools with their libraries, the kernel's modules for containers and services,
#                      mini's programs out of $B, and the tests
# Prints nothing when all went well. Ends with 3, and says why, when the kernel can't be had.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
B=$(realpath -m "${B:-$top/build}")

# ---- the kernel ----
fetch_kernel() {
	local package part
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
	[ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64"; return 1; }
	part=$dir/kernel.part
	rm -rf "$part" && mkdir -p "$part"
	(cd "$part" && apt-get download "$package" && dpkg -x "$package"_*.deb .) >"$dir/apt.log" 2>&1 ||
		{ echo "apt-get download $package failed: $(grep '^E:' "$dir/apt.log" | head -1)"; return 1; }
	rm -f "$part"/*.deb
	busybox depmod -b "$part" "${package#linux-image-}"
	rm -rf "$dir/kernel" && mv "$part" "$dir/kernel"
}
[ -e "$dir/kernel/boot" ] || fetch_kernel || exit 3
version=$(basename "$dir"/kernel/lib/modules/*)
ln -sf "kernel/boot/vmlinuz-$version" "$dir/vmlinuz"

# ---- the root ----
root=$dir/root
rm -rf "$root"
mkdir -p "$root"/{bin,sbin,dev,etc,proc,sys,run,tmp,var,root,usr/bin,usr/sbin,mini/build,mini/tests}
cp /bin/busybox "$root/bin/busybox"
for name in $(busybox --list); do
	[ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
done
ln -s ../bin/busybox "$root/sbin/modprobe"
ln -sf ../proc/self/mounts "$root/etc/mtab"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"

# copy FILE...: to where they stand here.
copy() {
	local file
	for file; do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
}
# libraries PROGRAM...: those they name, with the loader.
libraries() { ldd "$@" 2>/dev/null | grep -o '/[^ ]*\.so[^ :]*' | sort -u; }

# busybox's do not know all the words the test helpers use.
tools=$(command -v bash ip ps find pgrep timeout unshare)
# iptables is the nft variant, whatever this host's alternatives say.
xtables=/usr/sbin/xtables-nft-multi
plugins=$(ls /usr/lib/*/xtables/lib{xt,ipt}_*.so)
copy $tools $xtables $plugins $(libraries $tools $xtables "$B/minid")
for name in iptables iptables-save iptables-restore; do
	ln -sf "$xtables" "$root/usr/sbin/$name"
done
for name in minid minictl minirun pause; do
	strip -o "$root/mini/build/$name" "$B/$name"
done
cp -r "$top/manifests" "$root/mini/"
cp -r "$top/tests/cluster" "$top/tests/vm" "$root/mini/tests/"
cp "$top/tests/vm/init" "$root/init"

# ---- modules: the folders containers and services draw from, and what those depend on ----
cd "$dir/kernel/lib/modules/$version"
mods=$root/lib/modules/$version
mkdir -p "$mods"
awk -F'[: ]+' '
	{ for (i = 2; i <= NF; i++) needs[$1] = needs[$1] " " $i }
	$1 ~ "^kernel/(net/(netfilter|bridge|ipv4|ipv6)|fs/overlayfs)/|/veth.ko|/crc32c" { want[$1] = 1 }
	END { for (m in want) print m needs[m] }' modules.dep | tr ' ' '\n' | sort -u |
	grep . | tar -cf - -T - | tar -xf - -C "$mods"
cp modules.order modules.builtin modules.builtin.modinfo "$mods"
busybox depmod -b "$root" "$version"

cd "$root"
find . | busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -1 >"$dir/initramfs"
