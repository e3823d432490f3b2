#!/bin/bash
# Run test programs and add up what they say. Every test speaks TAP ("ok 1 - name", "not ok 2 - name", "ok 3 # SKIP why").
#   tests/run.sh PROGRAM...          the unit tests given
#   tests/run.sh --all PROGRAM...    those, then static checks, simulation, the cluster scripts, as root, and fuzzing beside them
# Interrupted (INT, TERM), it ends scripts, waits for unit tests under way, and leaves nothing behind.
# The last line is `N passed, N failed` and, if anything could not run here, `, N skipped` with the reasons above.
set -u
cd "$(dirname "$0")/.." || exit 1
export B=${B:-build}
passed=0 failed=0 skipped=0
work=$(mktemp -d)
reasons=$work/reasons
trap 'rm -rf "$work"' EXIT
trap interrupted INT TERM HUP
all=
# timeout(1) makes a process group of its program, so nobody but it can end that.
interrupted() {
	trap '' INT TERM HUP
	echo "interrupted: what is under way ends first" >&2
	touch "$work/stop"
	cat "$work"/script.*.pid 2>/dev/null | xargs -r kill -TERM 2>/dev/null
	wait
	exit 130
}
[ "${1:-}" = --all ] && { all=1; shift; }

# Count one program's TAP, which stands in a file; show it when something failed.
tally() {
	local name=$1 out=$2 rc=nothing seconds=0 ok bad skip
	read -r rc seconds <"$out.rc"
	sed -i -E 's/^not (ok [0-9]+ # SKIP)/\1/' "$out" # cmocka's way to tell of one
	skip=$(grep -cE '^ok .*# *SKIP' "$out")
	ok=$(grep -E '^ok ' "$out" | grep -cvE '# *SKIP')
	bad=$(grep -cE '^not ok ' "$out")
	if [ "$rc" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		echo "not ok - $name ended with $rc and named no failed test" >>"$out"
	fi
	if [ $((ok + bad + skip)) = 0 ]; then
		bad=1
		echo "not ok - $name ran no test" >>"$out"
	fi
	grep -E '^ok .*# *SKIP' "$out" | sed -E "s|^ok [0-9]* *-? *|skipped: $name: |" >>"$reasons"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	if [ "$bad" = 0 ]; then
		printf '%-58s ok   %3d  %5.1f s\n' "$name" "$ok" "$seconds"
	else
		printf '%-58s FAILED %d of %d\n' "$name" "$bad" $((ok + bad))
		# what failed, each with what it says below it; then the end, where a crash shows
		{ grep -A 20 '^not ok' "$out" | awk '/^ok /{p=0} /^not ok/{p=1} p' | head -n 80; echo ...; tail -n 15 "$out"; } | sed 's/^/    /'
	fi
}

# Run a program to its end: what it says goes to FILE, how it ended and how long it took to FILE.rc. FILE.pid can be told to end.
run() {
	local out=$1 limit=$2 begin=$EPOCHREALTIME
	shift 2
	trap '' INT # the terminal's is for everybody here; who ends what is interrupted()'s to say
	timeout --kill-after=20 "$limit" "$@" >"$out" 2>&1 </dev/null &
	echo $! >"$out.pid"
	wait $!
	set -- $?
	rm "$out.pid"
	echo "$1 $(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')" >"$out.rc"
}

# A network of its own: what one test's ports are, no other's connection has taken.
alone=(unshare --net sh -c 'ip link set lo up && exec "$0"')
"${alone[@]}" true 2>/dev/null || alone=()

# Unit tests share nothing: as many at a time as there are cores, each told of as soon as it is done.
declare -A program
finish() {
	local pid
	wait -n -p pid
	tally "${program[$pid]#"$B"/}" "$work/${program[$pid]//\//-}"
}
for t; do
	[ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || finish
	run "$work/${t//\//-}" 180 "${alone[@]}" "$t" &
	program[$!]=$t
done
while [ -n "$(jobs -p)" ]; do finish; done

if [ -n "$all" ]; then
	limit=400
	[[ $B = */san-* ]] && limit=1200
	# Cluster tests wait more than they compute; fuzzing takes what they leave.
	nice -n 19 bash -c "$(declare -f run); run $work/script.fuzz 1500 tests/fuzz/replay.sh" &
	# Of these, some wait for little else than certificates to end, servers to be given up, clients: beside the others.
	waiting=(tests/cluster/{agents,renew,renew_joined,one_host,etcd,stream}_test.sh)
	for t in "${waiting[@]}"; do [ -e "$work/stop" ] || run "$work/script.${t##*/}" "$limit" bash "$t"; done &
	for t in tests/static/*.sh tests/sim/*.sh tests/cluster/*_test.sh; do
		[[ " ${waiting[*]} " != *" $t "* ]] || continue
		run "$work/script.out" "$limit" bash "$t" &
		wait $!
		tally "$t" "$work/script.out"
	done
	wait
	for t in "${waiting[@]}"; do tally "$t" "$work/script.${t##*/}"; done
	tally tests/fuzz/replay.sh "$work/script.fuzz"
fi
sort -u "$reasons"
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
