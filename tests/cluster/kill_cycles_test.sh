#!/bin/bash
# Three servers, clients that keep writing through all of them, and kill -9: of the leader and of the others in turn, at
# moments of chance. No acknowledged write may be lost, and what is read must be one history.
#   kill_cycles_test.sh [N]: so many cycles (default 50)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"
CYCLES=${1:-50}
RANDOM=${SEED:-7}

network 3 || { not_ok "network"; exit 1; }
three_servers
write_history 2 2 1 2 3
begin=$(now_ms) gaps=() leaders=0 failed=0
for ((cycle = 1; cycle <= CYCLES; cycle++)); do
	pause_ms $((RANDOM % 300))
	eventually 10 find_leader 1 2 3 || { failed=1; break; }
	victim=$LEADER
	# every other time whoever it is, else the leader; sometimes two at once
	[ $((cycle % 2)) = 0 ] && victim=$((RANDOM % 3 + 1))
	[ "$victim" = "$LEADER" ] && leaders=$((leaders + 1))
	at=$(now_ms)
	kill9 "$victim"
	if [ $((cycle % 10)) = 9 ]; then
		second=$((victim % 3 + 1))
		kill9 "$second"
		start "$second"
	elif eventually 10 acked_since "$at" "$victim"; then
		[ "$victim" = "$LEADER" ] && gaps+=("$(acked_since "$at" "$victim")")
	else
		failed=1
	fi
	start "$victim"
	await_ready "$victim" || failed=1
	[ $((cycle % 10)) = 9 ] && { await_ready "$second" || failed=1; }
	kill -0 $HISTORY_PID || failed=1
	[ $failed = 0 ] || break
	[ $((cycle % 100)) = 0 ] && echo "# $cycle cycles, $(($(now_ms) - begin)) ms, $(wc -l <"$WORK/acks") writes acknowledged"
done
if [ $failed = 0 ]; then ok "$CYCLES servers were killed, $leaders of them leaders, in $(($(now_ms) - begin)) ms"; else
	not_ok "cycle $cycle: server $victim (leader $LEADER)"
	said_all
fi
sorted=($(printf '%s\n' "${gaps[@]}" | sort -n))
echo "# after the leader was killed, the next write through another server took (ms): median ${sorted[$((${#sorted[@]} / 2))]:-?}, longest ${sorted[-1]:-?}"
# one election may fail when the votes are split, and the next one begins after a pause: nearly all take less than a second
late=$(printf '%s\n' "${gaps[@]}" | awk -v most=$((2000 * SLOW)) '$1 > most' | wc -l)
[ "$late" -le $((1 + ${#gaps[@]} / 50)) ] && ok "it took less than 2 s" || not_ok "$late of ${#gaps[@]} took more than 2 s"
judge_history
stop_all
