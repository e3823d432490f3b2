#!/bin/bash
# Run the fuzz targets given (default: all that `make fuzz-build` has built), two at a time, each for SECONDS_EACH (default 60).
#   SECONDS_EACH=600 tests/fuzz/run.sh http selector
# SECONDS_REST (default the same): for those that are not fed by strangers directly (all but http, object, image, selector, spdy).
# What was found on the way stays in $B/fuzz/corpus/NAME; an input that breaks a target is kept as $B/fuzz/NAME-crash-*.
# Speaks TAP: a line for each target.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
each=${SECONDS_EACH:-60} rest=${SECONDS_REST:-${SECONDS_EACH:-60}}
work=$(mktemp -d /dev/shm/mini-fuzz-run-XXXXXX)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- $(cd tests/fuzz && ls -- *_fuzz.c | sed 's/_fuzz\.c$//')

one() {
	local name=$1 found=$B/fuzz/corpus/$1 begin=$SECONDS time=$rest
	case $name in http | object | image | selector | spdy) time=$each ;; esac
	mkdir -p "$found" "$work/$name"
	TMPDIR=$work/$name ASAN_OPTIONS=allocator_may_return_null=1 "$B/fuzz/${name}_fuzz" -max_total_time="$time" -timeout=120 \
		-rss_limit_mb=1500 -max_len=16384 -artifact_prefix="$B/fuzz/$name-" -print_final_stats=1 "$found" \
		"tests/fuzz/corpus/$name" >"$work/$name.log" 2>&1
	echo "$? $((SECONDS - begin))" >"$work/$name.rc"
}

# Two at a time, the next one as soon as one is done.
for name; do
	one "$name" &
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
done
wait
n=0 bad=0
for name; do
	n=$((n + 1))
	read -r rc took <"$work/$name.rc"
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
	cover=$(grep -oE 'cov: [0-9]+' "$work/$name.log" | tail -1)
	text="fuzz $name: ${runs:-0} inputs in $took s, ${cover:-cov: ?}"
	if [ "$rc" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
		echo "ok $n - $text"
	else
		bad=$((bad + 1))
		echo "not ok $n - $text, ended with $rc"
		tail -n 40 "$work/$name.log" | sed 's/^/# /'
	fi
done
echo "1..$n"
[ "$bad" = 0 ]
