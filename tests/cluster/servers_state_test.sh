#!/bin/bash
# Three servers that lose what they hold: one that was away for too long, a damaged log, a damaged state, a disk that is
# gone, all of them at once; and a copy saved and restored. Clients keep writing; their history is judged at the end.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers_lib.sh"

network 4 || { not_ok "network"; exit 1; }
three_servers
check "a write" eventually 5 written 1 hello
write_history 2 15 1 2 3
check "clients write" eventually 5 acked_since 0

MAPS=/api/v1/namespaces/default/configmaps
copied() { says "$1" 'state was taken over from the leader'; }
same_as_before() { # N: what was written first is there, read from the server's own memory
	[ "$(api "$1" "$MAPS/first?resourceVersion=0" | jq -r .data.v)" = 1 ]
}
check "what all that follows must keep" eventually 5 written 2 first

# ---- away for too long ----
kill9 3
at=$(now_ms)
check "one is away, the others take 130 MB" heave 1 150
start 3
check "it comes back" await_ready 3
check "it is told the whole state: the log does not go back so far" eventually 15 copied 3
check "and catches up" caught_up 3 1 20
check "it has what was written before" same_as_before 3
# a new one starts from the same copy
TOKEN=$(token 2)
start 4 --name s4 --join https://10.77.0.2:6443 --token "$TOKEN"
check "a fourth joins: with a copy, too" await_ready 4
check "it has what was written before" eventually 10 same_as_before 4
removed() { [[ $(api 1 /mini/v1/members/s4 -X DELETE -o /dev/null -w '%{http_code}') = [24]0[04] ]]; } # 404: by an earlier try
check "it is removed again" eventually 10 removed
check "and ends" eventually 15 eval '! kill -0 '"${PID[4]}"
unset "PID[4]"

# ---- damaged ----
eventually 10 find_leader 1 2 3
victim=$((LEADER % 3 + 1))
kill9 $victim
flip "$(ls -S "$WORK/s$victim"/store/log/*.log | head -n 1)"
start $victim
check "the log of one is damaged: it comes back by itself" await_ready $victim
expect "and says what happened" 'damaged' said $victim
check "three voters, none of them twice" eventually 10 members_are $victim "s1:voter s2:voter s3:voter"
check "it has what was written before" eventually 10 same_as_before $victim
eventually 10 find_leader 1 2 3
victim=$((LEADER % 3 + 1))
kill9 $victim
flip "$WORK/s$victim/store/state.db"
start $victim
check "the state of one is damaged: it comes back by itself" await_ready $victim
check "it has what was written before" eventually 10 same_as_before $victim
eventually 10 find_leader 1 2 3
victim=$((LEADER % 3 + 1))
kill9 $victim
rm "$WORK/s$victim"/store/log/*.log
start $victim
check "the log of one is gone, its state is there: it comes back by itself" await_ready $victim
expect "as another member" 'back as another member' said $victim
check "three voters" eventually 10 members_are $victim "s1:voter s2:voter s3:voter"
check "it has what was written before" eventually 10 same_as_before $victim
# the leader's disk is gone
eventually 10 find_leader 1 2 3
victim=$LEADER
at=$(now_ms)
kill9 $victim
go_on "the leader is gone with its disk" "$at" $victim
rm -rf "$WORK/s$victim/store"
start $victim
check "it comes back with an empty one" await_ready $victim
check "three voters" eventually 10 members_are $victim "s1:voter s2:voter s3:voter"
check "it has what was written before" eventually 10 same_as_before $victim

# one's disk is gone while another one is away: nobody leads who could take it in
eventually 10 find_leader 1 2 3
victim=$LEADER
away=$((LEADER % 3 + 1))
kill9 $victim
kill9 $away
rm -rf "$WORK/s$victim/store"
start $victim
check "nobody leads: a server that lost its store waits" eventually 20 says $victim 'waiting: its store is lost.*restore a snapshot'
check_of() { curl -sk --max-time $((2 * SLOW)) "https://$(address "$1"):6443$2" -w ' %{http_code}'; }
expect "it is not ready, and says why" 'etcd failed: its store is lost' check_of $victim /readyz
is "it is alive" "ok 200" "$(check_of $victim /livez)"
expect "all else gets 503" 'its store is lost.*"ServiceUnavailable"' check_of $victim /api/v1/nodes
start $away
check "the other one is back: the waiting one goes on by itself" await_ready $victim
check "three voters" eventually 10 members_are $victim "s1:voter s2:voter s3:voter"
check "it has what was written before" eventually 10 same_as_before $victim
check "all are ready" await_ready $away

# ---- all at once ----
{ kill -9 "${PID[1]}" "${PID[2]}" "${PID[3]}" && wait "${PID[1]}" "${PID[2]}" "${PID[3]}"; } 2>/dev/null
for i in 1 2 3; do start $i; done
for i in 1 2 3; do check "all were killed: server $i comes back" await_ready $i; done
at=$(now_ms)
go_on "all were killed" "$at"

# ---- all have moved ----
{ kill -9 "${PID[1]}" "${PID[2]}" "${PID[3]}" && wait "${PID[1]}" "${PID[2]}" "${PID[3]}"; } 2>/dev/null
for i in 1 2 3; do
	ip -n "s$i" addr del "10.77.0.$i/24" dev eth0
	ip -n "s$i" addr add "10.77.0.4$i/24" dev eth0 && ip -n "s$i" route replace default via 10.77.0.254
	ADDRESS[$i]=10.77.0.4$i
done
start 1 --peer s2=10.77.0.42:6444 --peer s3=10.77.0.43
start 2
start 3
for i in 1 2 3; do check "all were killed and have other addresses, and one is told the others': server $i comes back" await_ready $i; done
known() { api 3 /mini/v1/cluster | jq -r '[.members[].peer] | sort | join(" ")'; }
told() { [ "$(known)" = "10.77.0.41:6444 10.77.0.42:6444 10.77.0.43:6444" ]; }
check "all know of all" eventually 10 told
for i in 1 2 3; do ip -n "s$i" addr add "10.77.0.$i/24" dev eth0; done # for the clients
at=$(now_ms)
go_on "all have moved" "$at"

# ---- a copy is saved and restored ----
ctl() { limited "$MINICTL" --kubeconfig "$WORK/s1/admin.kubeconfig" --server "https://$(address 1):6443" "$@"; }
check "a copy is saved while clients write" ctl snapshot save "$WORK/copy"
check "after it, another write" eventually 5 written 1 later
expect "it can be looked into" 'Keys: ' ctl snapshot inspect "$WORK/copy"
check "it is restored" ctl snapshot restore "$WORK/copy" --dir "$WORK/s5"
rm -rf "$WORK/s4" && mv "$WORK/s5" "$WORK/s4"
start 4 --name r1
check "a new cluster starts with it" await_ready 4
CERT=$WORK/cert4.pem
sed -n 's/.*client-certificate-data: //p' "$WORK/s4/admin.kubeconfig" | base64 -d >"$CERT"
sed -n 's/.*client-key-data: //p' "$WORK/s4/admin.kubeconfig" | base64 -d >>"$CERT"
check "of one server" eventually 5 members_are 4 r1:voter
is "what was written before is there" 1 "$(api 4 "$MAPS/first" | jq -r .data.v)"
is "what was written after is not" 404 "$(api 4 "$MAPS/later" -o /dev/null -w '%{http_code}')"
check "it takes writes" eventually 5 written 4 anew
CERT=$WORK/cert.pem
is "the old cluster knows nothing of it" "s1:voter s2:voter s3:voter" "$(members 1)"

# alone, and damaged: it says how to restore
for i in 1 2 3 4 5 6; do written 4 "behind$i"; done
kill9 4
flip "$(ls -S "$WORK/s4"/store/log/*.log | head -n 1)"
start 4
check "a server that is alone does not start with a damaged log" ends 4 10
expect "and says how to restore it" 'log is damaged.*minictl snapshot restore FILE --dir' said 4

# alone, and without its store: it does not begin anew under its old name
kill9 4 2>/dev/null
rm -rf "$WORK/s4/store"
start 4
check "a server that lost its store and knows no other does not start" ends 4 10
expect "and says what to do" 'is gone.*restore a snapshot' said 4
unset "PID[4]"

judge_history
stop_all

# ---- restored where a server of the old cluster was ----
rm -rf "$WORK/s1/store"
check "the copy is restored in the first one's directory" limited "$MINICTL" snapshot restore "$WORK/copy" --dir "$WORK/s1"
start 1
check "it begins a cluster with it" await_ready 1
TOKEN=$(token 1)
back() { start 2 --name s2 --join "https://$(address 1):6443" --token "$TOKEN"; }
back
check "a server of the old cluster does not join it just so" ends 2 10
expect "it says why, and what to do" 'before a snapshot was restored.*--reset' said 2
check "it forgets the old one" limited inside 2 "$MINID" server --dir "$WORK/s2" --reset
back
check "and joins" await_ready 2
check "two voters" eventually 10 members_are 1 "s1:voter s2:voter"
stop_all
