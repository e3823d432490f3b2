#!/bin/bash
# Not part of `make test`: three servers, clients that keep writing, and N faults of chance, some two at a time: kill -9,
# pauses, cut links in both or one direction, clocks that jump, slow disks, damaged logs, lost stores. After each one everybody must take writes
# again; in the end the history is judged.
#   nemesis.sh [N]         SEED=n for another choice of faults
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"
FAULTS=${1:-100}
RANDOM=${SEED:-1}

network 3 || { not_ok "network"; exit 1; }
for i in 1 2 3; do
	echo 0 >"$WORK/clock$i"
	ENVIRON[$i]="MINI_TEST_CLOCK=$WORK/clock$i"
done
three_servers
write_history 2 4 1 2 3
# Each has noted who the others are: without that, one that loses its store would have nobody to ask.
noted() { [ "$(grep -c '"id"' "$WORK/s$1/members")" = 3 ]; }
for i in 1 2 3; do check "server $i knows the others" eventually 5 noted $i; done

probe() { written "$1" "probe-$1-$(now_ms)"; } # under a name of its own: who is slow loses against others every time
any() { echo $((RANDOM % 3 + 1)); }
who() { # sometimes the leader, on purpose
	if [ $((RANDOM % 2)) = 0 ] && find_leader 1 2 3; then echo "$LEADER"; else any; fi
}
hit() { # FAULT SERVER
	local fault=$1 x=$2 y=$(($2 % 3 + 1)) z=$((($2 + 1) % 3 + 1))
	case $fault in
	kill)
		kill9 "$x"
		ENVIRON[$x]="MINI_TEST_CLOCK=$WORK/clock$x"
		;;
	slow)
		kill9 "$x"
		ENVIRON[$x]="MINI_TEST_CLOCK=$WORK/clock$x MINI_FAILPOINTS=log.sync.before=delay:$((RANDOM % 60))"
		;;
	pause) kill -STOP "${PID[$x]}" 2>/dev/null ;;
	isolate) sever "$x" "$y" && sever "$x" "$z" ;;
	link) sever "$x" "$y" ;;
	deaf) deafen "$x" "$y" && deafen "$x" "$z" ;;
	mute) deafen "$y" "$x" && deafen "$z" "$x" ;;
	half) deafen "$x" "$y" ;;
	damage) # it comes back as another member, once the others can take it in
		kill9 "$x"
		flip "$(ls -S "$WORK/s$x"/store/log/*.log | head -n 1)"
		;;
	wipe)
		kill9 "$x"
		rm -rf "$WORK/s$x/store"
		;;
	clock) echo $((RANDOM % 7200 - 3600)) >"$WORK/clock$x" ;;
	esac
}
undo() {
	heal 1 2 3
	for i in 1 2 3; do
		kill -CONT "${PID[$i]}" 2>/dev/null || start $i
	done
}
# One whose store is gone, and finds nobody to take it in, ends and is started again, as a service manager would.
works() { kill -0 "${PID[$1]}" 2>/dev/null || start "$1"; probe "$1"; }
check_members() { eventually 20 members_are 1 "s1:voter s2:voter s3:voter"; }
KINDS=(kill kill slow pause pause isolate link deaf mute half clock damage wipe)
begin=$(now_ms) failed=0
for ((n = 1; n <= FAULTS; n++)); do
	what=
	for ((k = RANDOM % 2; k >= 0; k--)); do
		kind=${KINDS[$((RANDOM % ${#KINDS[@]}))]} x=$(who)
		# of three copies one may be lost
		case $what in *damage* | *wipe*) case $kind in damage | wipe) kind=kill ;; esac ;; esac
		what+="$kind $x; "
		hit "$kind" "$x"
	done
	pause_ms $((RANDOM % 2500))
	undo
	for i in 1 2 3; do
		eventually 20 works $i || { failed=1; echo "# after fault $n ($what): no write through $i: $(head -c 300 "$WORK/answer")"; }
	done
	check_members || { failed=1; echo "# after fault $n ($what): members are $(members 1)"; }
	kill -0 $HISTORY_PID || failed=1
	[ $failed = 0 ] || break
	[ $((n % 20)) = 0 ] && echo "# $n faults, $(($(now_ms) - begin)) ms, $(wc -l <"$WORK/acks") writes acknowledged"
done
if [ $failed = 0 ]; then ok "$FAULTS faults in $(($(now_ms) - begin)) ms"; else
	not_ok "fault $n: $what"
	said_all
	for i in 1 2 3; do status $i | jq -c . | sed 's/^/# /'; done
fi
judge_history
stop_all
