#!/bin/bash
# The simulator as `make test` runs it: 200 seeds; a server dies at every failpoint, with its process and with its power;
# and the same seed twice gives the same life. RUNS=n for more.
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build} RUNS=${RUNS:-200}
sim=$B/tests/sim/sim
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo 1..3
if [ ! -x "$sim" ]; then
	echo "not ok 1 - $sim is not built"
	exit 1
fi
"$sim" --runs "$RUNS" --every-failpoint >"$out" 2>&1
if grep -q "^$RUNS seeds from 1, 0 failed" "$out"; then
	echo "ok 1 - $RUNS seeds"
else
	grep -vE ' ok$|^#' "$out" | sed 's/^/# /'
	echo "not ok 1 - $RUNS seeds"
fi
points=$(grep -c '^# .* passed ' "$out")
if [ "$points" -gt 0 ] && ! grep -q 'VIOLATION\|was not driven' "$out"; then
	echo "ok 2 - servers died at $points failpoints"
else
	grep 'VIOLATION\|was not driven\|^# .* died *0 ' "$out" | sed 's/^[^#]/# &/'
	echo "not ok 2 - servers died at $points failpoints"
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
	echo "ok 3 - the same seed twice is the same trace"
else
	echo "# $first / $second"
	echo "not ok 3 - the same seed twice is the same trace"
fi
