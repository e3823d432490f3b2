#!/bin/bash
# Builds historic bugs into the store one by one (store/bugs.h) and says after how many seeds the simulator finds each.
#   tests/sim/mutants.sh [BUG...]     SEEDS=200: within so many; it fails if one is not found
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build} SEEDS=${SEEDS:-200} failed=0
bugs=("$@")
[ ${#bugs[@]} = 0 ] && mapfile -t bugs < <(seq 1 "$(sed -n 's/.*BUG_COUNT = \([0-9]*\).*/\1/p' store/bugs.h)")
for n in "${bugs[@]}"; do
	name=$(sed -n "s/.*BUG_\([A-Z_]*\) = $n,.*/\1/p" store/bugs.h | tr 'A-Z_' 'a-z ')
	make --no-print-directory BASE="$B" "$B/tests/sim/sim-bug-$n" >/dev/null || exit 1
	out=$("$B/tests/sim/sim-bug-$n" --runs "$SEEDS" --until-found 2>&1 | grep VIOLATION | head -1)
	if [ -n "$out" ]; then
		printf '%2d %-24s seed %s\n' "$n" "$name" "$(sed 's/^seed \([0-9]*\) .*VIOLATION[^:]*: */\1: /' <<<"$out" | cut -c1-150)"
	else
		printf '%2d %-24s NOT FOUND in %d seeds\n' "$n" "$name" "$SEEDS"
		failed=1
	fi
done
exit $failed
