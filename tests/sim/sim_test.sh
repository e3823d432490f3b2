#!/bin/bash
# The simulator as `make test` runs it: 200 seeds, and the same seed twice gives the same life. RUNS=n for more.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build} RUNS=${RUNS:-200}
sim=$B/tests/sim/sim
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo 1..2
if [ ! -x "$sim" ]; then
	echo "not ok 1 - $sim is not built"
	exit 1
fi
if "$sim" --runs "$RUNS" >"$out" 2>&1; then
	echo "ok 1 - $RUNS seeds"
else
	grep -v ' ok$' "$out" | sed 's/^/# /'
	echo "not ok 1 - $RUNS seeds"
fi
same=1
for seed in 3 58 177; do
	first=$("$sim" --seed $seed) second=$("$sim" --seed $seed)
	case $first in
	*"seed $seed hash "*" ok") [ "$first" = "$second" ] || same= ;;
	*) same= ;;
	esac
done
if [ -n "$same" ]; then
	echo "ok 2 - the same seed twice is the same trace"
else
	echo "# $first / $second"
	echo "not ok 2 - the same seed twice is the same trace"
fi
