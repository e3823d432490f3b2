#!/bin/bash
# Three servers in network namespaces of their own, and what befalls servers: death, partitions, pauses, full and slow
# disks, clocks that jump, other addresses. Clients keep writing through all of them; their history is judged at the end.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"
need_kubectl

network 4 || { not_ok "network"; exit 1; }
mkdir "$WORK/s3" && mount -t tmpfs -o size=400m,mode=700 s3 "$WORK/s3"
echo 0 >"$WORK/clock1"
ENVIRON[1]="MINI_TEST_CLOCK=$WORK/clock1"
three_servers
FACTS='{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"mini/demo:1"}]}}}}'
pods() { kn "$1" get pods -l app=web -o name 2>/dev/null | wc -l; }
pods_are() { [ "$(pods "$1")" = "$2" ]; }
holders() { kn "$1" -n kube-system get lease kube-controller-manager kube-scheduler -o 'jsonpath={.items[*].spec.holderIdentity}'; }

# ---- every server serves ----
one_leads() { [ "$(for i in 1 2 3; do stat_of $i leads; done | grep -c true)" = 1 ]; }
all_agree() { [ "$(for i in 1 2 3; do stat_of $i leader; done | sort -u | wc -l)" = 1 ]; }
check "one of them leads" eventually 5 one_leads
check "all agree on who" eventually 5 all_agree
check "a write through the second" eventually 5 written 2 hello
is "is read at the third, at once" 1 "$(api 3 /api/v1/namespaces/default/configmaps/hello | jq -r .data.v)"
kn 3 create -f - <<<"$FACTS" >/dev/null
check "a deployment made at the third is worked on" eventually 5 pods_are 2 2
two_holders() { [ "$(holders 2 | wc -w)" = 2 ]; }
check "controllers and scheduler run at one server each" eventually 10 two_holders
soon "the way to the others is measured" 'mini_peer_connected\{member="[0-9a-f]{16}"\} 1' api 1 /metrics
write_history 2 4 1 2 3
check "clients write" eventually 5 acked_since 0

# ---- the leader is killed ----
eventually 5 find_leader 1 2 3
leader=$LEADER other=$((LEADER % 3 + 1)) third=$(((LEADER + 1) % 3 + 1))
at=$(now_ms)
kill9 "$leader"
go_on "the leader is killed" "$at" "$leader"
check "through another the deployment is scaled" eventually 10 kn "$other" scale deployment/web --replicas=4
scaled=$(now_ms)
# meanwhile: the last two go on without the leader of the controllers, until its lease is over
check "controllers: another takes the lease, the deployment scales" eventually 30 pods_are "$other" 4
echo "# that took $(($(now_ms) - scaled)) ms"
# there is nothing to be seen of two that lead at once: 4 pods, not more
is "four pods" 4 "$(pods "$third")"
start "$leader"
check "it comes back" await_ready "$leader"
check "and catches up" caught_up "$leader" "$other" 10

# ---- a follower is killed ----
eventually 5 find_leader 1 2 3
follower=$((LEADER % 3 + 1))
at=$(now_ms)
kill9 "$follower"
go_on "a follower is killed" "$at" "$follower"
for life in 1 2 3; do
	start "$follower"
	check "it comes back" await_ready "$follower"
	check "and its writes are taken" eventually 4 written "$follower" "life$life"
	[ $life = 3 ] || kill9 "$follower"
done

# ---- the leader is cut off from both others ----
eventually 5 find_leader 1 2 3
leader=$LEADER other=$((LEADER % 3 + 1)) third=$(((LEADER + 1) % 3 + 1))
sever "$leader" "$other" && sever "$leader" "$third"
at=$(now_ms)
go_on "the leader is cut off" "$at" "$leader"
check "it knows that it does not lead" eventually 5 eval '[ "$(stat_of '$leader' leads) $(stat_of '$leader' quorum)" = "false false" ]'
is "a write through it is refused" 503 "$(API_TIMEOUT=12 write "$leader" nowhere)"
expect "it says why" 'no leader|quorum' cat "$WORK/answer"
is "an old state is read from it where that is asked for" 200 "$(api "$leader" '/api/v1/namespaces/default/configmaps?resourceVersion=0&limit=1' -o /dev/null -w '%{http_code}')"
is "and nothing else" 1 "$(API_TIMEOUT=12 api "$leader" /api/v1/namespaces/default/configmaps/hello -o /dev/null -w '%{http_code}' | grep -cE '50[034]')"
heal "$leader"
check "the cut is healed: it answers again" eventually 10 there "$leader" hello
check "and catches up" caught_up "$leader" "$other" 10
is "what was refused did not happen" 404 "$(api "$other" /api/v1/namespaces/default/configmaps/nowhere -o /dev/null -w '%{http_code}')"

# ---- the leader hears nobody, but is heard ----
eventually 5 find_leader 1 2 3
leader=$LEADER other=$((LEADER % 3 + 1)) third=$(((LEADER + 1) % 3 + 1))
deafen "$leader" "$other" && deafen "$leader" "$third"
at=$(now_ms)
go_on "the leader is deaf" "$at" "$leader"
heal "$leader"
check "it hears again, and follows" eventually 10 there "$leader" hello

# ---- a follower hears nobody, but is heard: it disturbs nobody ----
deaf_follower() {
	local leader follower third term at rc
	eventually 5 find_leader 1 2 3
	leader=$LEADER follower=$((LEADER % 3 + 1)) third=$(((LEADER + 1) % 3 + 1))
	term=$(stat_of "$leader" term)
	deafen "$follower" "$leader" && deafen "$follower" "$third"
	pause_ms 1500
	at=$(now_ms)
	eventually 20 acked_since "$at" "$follower"
	same "$leader" "$term"
	rc=$?
	heal "$follower"
	eventually 10 there "$follower" hello && [ $rc = 0 ] && same "$leader" "$term"
}
same() { [ "$(stat_of "$1" leads) $(stat_of "$1" term)" = "true $2" ]; }
# a machine that stood still for a moment has elections of its own
check "a follower is deaf: the leader is the same, nobody campaigned" eval 'deaf_follower || deaf_follower || deaf_follower'

# ---- one link is cut: two that don't see each other, and a third that sees both ----
eventually 5 find_leader 1 2 3
leader=$LEADER follower=$((LEADER % 3 + 1))
sever "$leader" "$follower"
pause_ms 1000
at=$(now_ms)
go_on "the leader and a follower don't see each other" "$at" "$follower"
heal "$leader"
check "they do again" eventually 10 there "$follower" hello

# ---- the leader is stopped, and goes on later ----
eventually 5 find_leader 1 2 3
leader=$LEADER other=$((LEADER % 3 + 1))
at=$(now_ms)
kill -STOP "${PID[$leader]}"
go_on "the leader is stopped (SIGSTOP)" "$at" "$leader"
pause_ms 1000
kill -CONT "${PID[$leader]}"
check "it goes on, as a follower" eventually 10 there "$leader" hello
check "and catches up" caught_up "$leader" "$other" 10

# ---- clocks jump ----
echo 86400 >"$WORK/clock1"
pause_ms 300
at=$(now_ms)
go_on "the clock of one is a day ahead" "$at"
echo -86400 >"$WORK/clock1"
pause_ms 300
at=$(now_ms)
go_on "and a day behind" "$at"
is "objects are there" 200 "$(api 1 /api/v1/namespaces/default/configmaps/hello -o /dev/null -w '%{http_code}')"
echo 0 >"$WORK/clock1"

# ---- a slow disk ----
kill9 2
ENVIRON[2]=MINI_FAILPOINTS=log.sync.before=delay:80
start 2
check "one whose disk is slow comes up" await_ready 2
eventually 5 move_lead 1
pause_ms 500
at=$(now_ms)
go_on "it slows nobody down" "$at" 2
ENVIRON[2]=
kill9 2
start 2
check "its disk is quick again" await_ready 2

# ---- the disk of one is full: of a follower, then of the leader ----
full() { [ "$(stat_of 3 readOnly)" = true ]; }
has_room() { [ "$(stat_of 3 readOnly)" = false ]; }
fill() { # the room its log had made is used up
	local i
	dd if=/dev/zero of="$WORK/s3/filler" bs=1M count=1000 2>/dev/null
	for i in $(seq 20); do
		full && return
		heave 1 3
	done
	return 1
}
others_lead() { leads 1 || leads 2; }
for who in follower leader; do
	to=1
	[ $who = leader ] && to=3
	check "s$to leads" eventually 10 move_lead $to
	check "the disk of the third, a $who, is full: it knows" fill
	at=$(now_ms)
	go_on "the others go on" "$at" 3
	check "one of them leads" eventually 5 others_lead
	soon "an alarm says so" 'disk is full' status 3
	expect "/readyz, too" 'etcd failed: the disk is full' api 3 /readyz
	is "it can be read" 200 "$(api 3 '/api/v1/namespaces/default/configmaps/hello?resourceVersion=0' -o /dev/null -w '%{http_code}')"
	rm "$WORK/s3/filler"
	check "there is room again: it goes on" eventually 10 has_room
	check "and catches up" caught_up 3 1 20
done

# ---- moved ----
eventually 5 find_leader 1 2 3
to=$((LEADER % 3 + 1))
check "the lead is moved to whom it was said" eventually 10 move_lead $to
eventually 10 move_lead 1
# another address: 3 is killed and comes back elsewhere, with no flag that says so
kill9 3
ip -n s3 addr del 10.77.0.3/24 dev eth0 && ip -n s3 addr add 10.77.0.33/24 dev eth0
ip -n s3 route replace default via 10.77.0.254
ADDRESS[3]=10.77.0.33
start 3
check "a server comes back with another address" await_ready 3
check "it is the same member there" eventually 10 members_are 1 "s1:voter s2:voter s3:voter"
check "the others know where it is" eventually 10 eval '[ "$(api 1 /mini/v1/cluster | jq -r ".members[] | select(.name == \"s3\") | .peer")" = 10.77.0.33:6444 ]'
kill9 2
at=$(now_ms)
check "it is needed for the quorum" eventually 20 written 3 moved
check "and there" eventually 5 there 3 moved

# ---- the quorum is lost ----
kill9 3
no_quorum() { [ "$(stat_of 1 quorum)" = false ]; }
check "the quorum is lost: the last one knows" eventually 5 no_quorum
is "a write is refused" 503 "$(API_TIMEOUT=12 write 1 nowhere2)"
expect "with a reason" 'no leader|quorum' cat "$WORK/answer"
is "an old state is read where that is asked for" 200 "$(api 1 '/api/v1/namespaces/default/configmaps?resourceVersion=0&limit=1' -o /dev/null -w '%{http_code}')"
start 2
at=$(now_ms)
check "one comes back: writes are taken again, without anybody's help" eventually 10 written 1 again
start 3
check "and the other" await_ready 3
ip -n s3 addr add 10.77.0.3/24 dev eth0 # for the clients

# ---- a fourth: learner, voter, removed ----
check "a token for a learner" eval 'TOKEN=$(token 1 --learner) && echo "$TOKEN" >'"$WORK/token4"
start 4 --name s4 --join https://10.77.0.2:6443 --token "$(cat "$WORK/token4")" --learner
check "a learner joins" await_ready 4
check "as such, and it stays one" eventually 5 members_are 4 "s1:voter s2:voter s3:voter s4:learner"
check "it serves" eventually 5 there 4 hello
at=$(now_ms)
kill9 4
go_on "it is killed: nobody needs it" "$at"
start 4
check "it comes back" await_ready 4
promoted() { post 2 /mini/v1/members/s4/promote >/dev/null; members_are 1 "s1:voter s2:voter s3:voter s4:voter"; }
check "it is promoted, and a voter" eventually 10 promoted
check "it leads" eventually 10 move_lead 4
at=$(now_ms)
removed() { [[ $(api 2 /mini/v1/members/s4 -X DELETE -o /dev/null -w '%{http_code}') = [24]0[04] ]]; } # 404: by an earlier try
check "the leader is removed" eventually 10 removed
go_on "the leader is removed" "$at"
check "it is out" eventually 10 members_are 1 "s1:voter s2:voter s3:voter"
check "and ends" eventually 15 eval '! kill -0 '"${PID[4]}"
expect "with a reason" 'removed from its cluster' said 4
unset "PID[4]"

# ---- the end ----
for i in 1 2 3; do check "server $i is well" await_ready $i; done
check "one of them leads" eventually 5 one_leads
is "four pods still" 4 "$(pods 2)"
judge_history
stop_all
umount "$WORK/s3"
