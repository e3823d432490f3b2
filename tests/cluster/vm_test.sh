#!/bin/bash
# mini in a virtual machine with Debian's own kernel: cgroups v2 alone, modules loaded on demand, nothing else. The machine
# is emulated (no hardware help, no network); what its console says is TAP. minirun's own test runs there too.
set -u
cd "$(dirname "$0")/../.." || exit 1
export B=${B:-build}
LIMIT=${VM_LIMIT:-360}
dir=$PWD/build/vm
[[ $B = /* ]] || B=$PWD/$B

skip() { echo "ok 1 - a virtual machine with cgroups v2 # SKIP $1"; echo 1..1; exit 0; }
install_qemu() {
	[ "$(id -u)" = 0 ] || return 1
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends qemu-system-x86 >"$dir/apt.log" 2>&1 ||
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends qemu-system-x86; } >"$dir/apt.log" 2>&1
}

[ "$(uname -m)" = x86_64 ] || skip "only x86_64 has one so far"
[[ $B != */san-* ]] || skip "a sanitizer's build is too big to emulate"
for program in minid minictl minirun pause; do
	[ -x "$B/$program" ] || skip "$program is not built"
done
mkdir -p "$dir"
command -v qemu-system-x86_64 >/dev/null || install_qemu || skip "qemu-system-x86 can't be installed"
why=$(tests/vm/image.sh "$dir")
case $? in
0) ;;
3) skip "no kernel: $why" ;;
*) echo "not ok 1 - the machine's image is made"; echo 1..1; exit 1 ;;
esac

timeout --foreground --kill-after=5 "$LIMIT" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 1024 -smp 2 -nodefaults \
	-display none -serial stdio -no-reboot -kernel "$dir/vmlinuz" -initrd "$dir/initramfs" \
	-append "console=ttyS0 quiet loglevel=1 panic=-1 mini.run=${VM_RUN:-vm/checks.sh,cluster/minirun_test.sh}" \
	</dev/null >"$dir/console" 2>&1
rc=$?

# Two tests' TAP in one: counted anew, each one's plan dropped.
tr -d '\r' <"$dir/console" | awk '
	/^(not )?ok [0-9]+ / { n++; sub(/ok [0-9]+/, "ok " n); print; next }
	/^1\.\.[0-9]+$/ { plans++; next }
	/^#/ { print }
	/^# vm: done/ { done = 1 }
	END {
		if (!done)
			print "not ok " ++n " - the machine came to its end"
		print "1.." n
		exit !done
	}' || {
	echo "# qemu ended with $rc; the console's last lines:"
	tail -n 30 "$dir/console" | tr -d '\r' | sed 's/^/# /'
	exit 1
}
! grep -q '^not ok' "$dir/console"
