# For cluster tests: a host of the test's own, helpers to run mini in it, and TAP.
#
# Source this first. It runs the script again inside new network, mount and pid namespaces, so that service and pod
# addresses exist only there, the real host's firewall stays untouched, and leftovers show. cgroups are the host's: each
# test's are named after its directory and are checked to be gone at the end.
set -u
if [ -z "${MINI_TEST_HOST:-}" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "ok 1 - $(basename "$0") # SKIP cluster tests need root"
		exit 0
	fi
	# Debian's own client, unpacked beside the build, where the machine has none. There is no network further down.
	if ! command -v kubectl >/dev/null; then
		debs=$(realpath -m "$(dirname "$0")/../../build/kubectl")
		[ -x "$debs/usr/bin/kubectl" ] || (mkdir -p "$debs" && cd "$debs" && apt-get download kubernetes-client &&
			dpkg -x kubernetes-client_*.deb .) >/dev/null 2>&1
		PATH=$PATH:$debs/usr/bin
	fi
	export MINI_TEST_HOST=1
	exec unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
fi

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
TOP=$PWD
B=${B:-build}
[[ $B = /* ]] || B=$TOP/$B
MINID=$B/minid MINICTL=${MINICTL:-$B/minictl} MINIRUN=$B/minirun
KUBECTL=${KUBECTL:-kubectl}
# How often as long as usual a test waits for what is to come; give more on a machine that has other things to do.
[[ $B = */san-* || ${CI:-} = true ]] && SLOW=${SLOW:-5} || SLOW=${SLOW:-1}
export MINICTL
ip link set lo up
# What is mounted in here stays in here, and a fresh /run holds what tools leave (xtables.lock).
mount --make-rprivate /
mount -t tmpfs tmpfs /run
WORK=$(mktemp -d /tmp/mini-test-XXXXXX)
trap 'rm -rf "$WORK"; exit 1' EXIT # until there is more to end
DIR=$WORK/mini
export KUBECONFIG=$DIR/admin.kubeconfig
TAP_N=0 TAP_BAD=0
# What a sanitizer has to say, in whichever process, is kept, and fails the test at its end.
for tool in ASAN LSAN UBSAN TSAN; do export "${tool}_OPTIONS=log_path=$WORK/sanitizer:print_stacktrace=1"; done

ok() { TAP_N=$((TAP_N + 1)); echo "ok $TAP_N - $*"; }
not_ok() {
	TAP_N=$((TAP_N + 1)) TAP_BAD=$((TAP_BAD + 1))
	echo "not ok $TAP_N - $*"
}
skip_test() { TAP_N=$((TAP_N + 1)); echo "ok $TAP_N - $1 # SKIP $2"; }
# A program that hangs is a failed test, not a suite that stands still.
limited() { if [ "$(type -t "$1")" = file ]; then timeout --kill-after=5 $((${LIMIT:-40} * SLOW)) "$@"; else "$@"; fi; }
# check NAME COMMAND...: passes when the command succeeds; its output is shown when not.
check() {
	local name=$1 out
	shift
	if out=$(limited "$@" 2>&1); then ok "$name"; else
		not_ok "$name"
		echo "# command: $*"
		echo "$out" | sed 's/^/# /' | tail -n 25
	fi
}
# expect NAME PATTERN COMMAND...: the command's output (both streams) matches the extended regex.
expect() {
	local name=$1 pattern=$2 out
	shift 2
	out=$(limited "$@" 2>&1)
	if grep -qE -- "$pattern" <<<"$out"; then ok "$name"; else
		not_ok "$name"
		echo "# wanted: $pattern"
		echo "# command: $*"
		echo "$out" | sed 's/^/# got: /' | head -n 25
	fi
}
# soon NAME PATTERN COMMAND...: as expect, for what comes about by itself, if not at once.
soon() {
	local name=$1 pattern=$2 out end=$((SECONDS + 10 * SLOW))
	shift 2
	until out=$(limited "$@" 2>&1); grep -qE -- "$pattern" <<<"$out"; do
		if [ $SECONDS -ge $end ]; then
			not_ok "$name"
			echo "# wanted: $pattern"
			echo "# command: $*"
			echo "$out" | sed 's/^/# got: /' | head -n 25
			return
		fi
		busybox usleep 50000
	done
	ok "$name"
}
# fails NAME PATTERN COMMAND...: the command fails, and says so.
fails() {
	local name=$1 pattern=$2 out
	shift 2
	if out=$(limited "$@" 2>&1); then
		not_ok "$name: it succeeded"
		echo "$out" | sed 's/^/# /' | head -n 10
	elif grep -qE -- "$pattern" <<<"$out"; then ok "$name"; else
		not_ok "$name"
		echo "# wanted: $pattern"
		echo "$out" | sed 's/^/# got: /' | head -n 10
	fi
}

k() {
	local arg args=()
	for arg; do
		[[ $arg =~ ^--timeout=([0-9]+)s$ ]] && arg=--timeout=$((BASH_REMATCH[1] * SLOW))s
		args+=("$arg")
	done
	"$KUBECTL" "${args[@]}"
}
need_kubectl() { command -v "$KUBECTL" >/dev/null || { skip_test "$(basename "$0")" "no kubectl here"; exit 0; }; }
# is NAME WANTED GOT
is() {
	if [ "$2" = "$3" ]; then ok "$1"; else
		not_ok "$1"
		echo "# wanted: $2"
		echo "# got: $3"
	fi
}
# see SECONDS PATTERN COMMAND...: run a command that goes on printing (get -w, logs -f) until a line matches.
see() {
	local seconds=$(($1 * SLOW)) pattern=$2 line pid fd rc=1
	shift 2
	exec {fd}< <(exec timeout "$seconds" "$@" 2>&1)
	pid=$!
	while IFS= read -r line <&"$fd"; do
		if [[ $line =~ $pattern ]]; then
			rc=0
			break
		fi
		echo "$line"
	done
	kill "$pid" 2>/dev/null
	exec {fd}<&-
	return $rc
}
# field RESOURCE JSONPATH: one field of an object, or of a list's items.
field() { k get "$1" ${3:+-n "$3"} -o "jsonpath=$2"; }
# becomes SECONDS PATTERN RESOURCE JSONPATH: watch an object until the field matches.
becomes() { see "$1" "$2" "$KUBECTL" get "$3" -w -o "jsonpath=$4{\"\\n\"}"; }
# eventually SECONDS COMMAND...: true once the command is. For states that no watch announces; prefer `k wait` and `k get -w`.
eventually() {
	local end=$((SECONDS + $1 * SLOW))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		busybox usleep 50000
	done
}
start_demo() {
	"$MINID" demo --dir "$DIR" --detach "$@" >"$WORK/start.out" 2>&1 || { cat "$WORK/start.out" "$DIR/minid.log"; return 1; }
}
minid_pid() { cut -d' ' -f1 "$DIR/server.lock"; }
stop_demo() { "$MINID" stop --dir "$DIR"; }
demo_image() {
	local out
	out=$("$TOP/manifests/demo/image/build.sh" --dir "$DIR" 2>&1) || { echo "$out"; return 1; }
}

# The id that names what DIR's minid makes in spaces the kernel shares.
instance_of() { # DIR: the four hex digits that options.c makes of it (FNV-1a, finished as splitmix64 does)
	local h=$((0xcbf29ce484222325)) i c
	for ((i = 0; i < ${#1}; i++)); do
		printf -v c %d "'${1:i:1}"
		h=$(((h ^ c) * 0x100000001b3))
	done
	h=$((h ^ ((h >> 30) & 0x3ffffffff)))
	h=$((h * 0xbf58476d1ce4e5b9))
	h=$((h ^ ((h >> 27) & 0x1fffffffff)))
	h=$((h * 0x94d049bb133111eb))
	h=$((h ^ ((h >> 31) & 0x1ffffffff)))
	printf %04x $((h & 0xffff))
}
# Control groups are the host's, and others may run clusters on it: ours carry the ids made from directories of ours.
our_groups() {
	local d id
	for d in $(find "$WORK" -maxdepth 2 -type d) "$DIR"; do
		id=$(instance_of "$d")
		ls -d /sys/fs/cgroup/{,*/}{mini-"$id",minirun-"${WORK##*-}"} 2>/dev/null
	done | sort -u
}
no_leftovers() {
	local bad=0 left
	left=$(ip -o link | grep -E 'mini|veth' || true)
	[ -z "$left" ] || { echo "links: $left"; bad=1; }
	left=$(iptables-save 2>/dev/null | grep KUBE || true)
	[ -z "$left" ] || { echo "rules: $left"; bad=1; }
	left=$(ip route show | grep -E '10\.(96|244)\.' || true)
	[ -z "$left" ] || { echo "routes: $left"; bad=1; }
	left=$(grep -F "$DIR" /proc/self/mounts || true)
	[ -z "$left" ] || { echo "mounts: $left"; bad=1; }
	left=$(our_groups | head -3)
	[ -z "$left" ] || { echo "cgroups: $left"; bad=1; }
	# the pid namespace is the test's own: every mini process in it is one of ours
	left=$(ps -eo pid,comm,args | grep -E ' (minid|minirun|pause) ' | grep -v grep || true)
	[ -z "$left" ] || { echo "processes: $left"; bad=1; }
	return $bad
}

# Whatever is still there, since the test failed or was interrupted: the rest goes with the namespaces.
undo_all() {
	[ $$ = 1 ] || return 0
	kill -9 -1
	our_groups >"$WORK/groups"
	eventually 5 groups_gone
	grep -oE " $WORK[^ ]*" /proc/self/mounts | sort -r | xargs -r umount -l
}
groups_gone() {
	xargs -r sh -c 'find "$@" -depth -type d -exec rmdir {} +' sh <"$WORK/groups"
	[ -z "$(our_groups)" ]
}

finish() {
	local rc=$?
	undo_all 2>/dev/null
	for report in "$WORK"/sanitizer.*; do
		[ -e "$report" ] || continue
		not_ok "a sanitizer reports: $(grep -m 1 -oE '(ERROR|WARNING): .*|runtime error: .*' "$report")"
		head -n 60 "$report" | sed 's/^/# /'
	done
	[ "$TAP_BAD" = 0 ] || { echo "# last lines of minid.log:"; tail -n 30 "$DIR/minid.log" 2>/dev/null | sed 's/^/# /'; }
	rm -rf "$WORK"
	echo "1..$TAP_N"
	[ "$TAP_BAD" = 0 ] && [ "$TAP_N" -gt 0 ] && [ $rc = 0 ]
	exit $? # without a number it would be the one from before the trap
}
trap finish EXIT
