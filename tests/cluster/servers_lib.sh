# For tests of several servers: sourced after lib.sh. Server N lives in a network namespace sN of its own at 10.77.0.N,
# with the directory $WORK/sN and the log $WORK/sN.log; the test itself is at 10.77.0.254 of the same bridge.
HISTORY=$B/tests/cluster/history
CERT=$WORK/cert.pem
declare -A PID ENVIRON STARTS
now_ms() { date +%s%3N; }
pause_ms() { busybox usleep $(($1 * 1000)); } # for faults that have to last; what can be awaited is awaited
address() { echo "${ADDRESS[$1]:-10.77.0.$1}"; }
declare -A ADDRESS

network() { # N: the bridge and the namespaces of N servers
	local i
	ip link add br0 type bridge && ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up
	for i in $(seq "$1"); do
		ip netns add "s$i" && ip link add "v$i" type veth peer name eth0 netns "s$i" || return 1
		ip link set "v$i" master br0 up
		ip -n "s$i" addr add "10.77.0.$i/24" dev eth0
		ip -n "s$i" link set eth0 up
		ip -n "s$i" link set lo up
		ip -n "s$i" route add default via 10.77.0.254
	done
}
inside() { local i=$1; shift; ip netns exec "s$i" "$@"; }

# start N [FLAGS]: not in a subshell (check). ENVIRON[N] goes into its environment.
start() {
	local i=$1
	shift
	touch "$WORK/s$i.log"
	STARTS[$i]=$(($(wc -l <"$WORK/s$i.log") + 1))
	# shellcheck disable=SC2086
	ip netns exec "s$i" env ${ENVIRON[$i]:-} "$MINID" server --dir "$WORK/s$i" "$@" >>"$WORK/s$i.log" 2>&1 &
	PID[$i]=$!
}
# What it has said since it was started last.
said() { tail -n "+${STARTS[$1]}" "$WORK/s$1.log"; }
says() { said "$1" | grep -qE -- "$2"; } # N PATTERN
ready() { curl -sk --max-time 2 "https://$(address "$1"):6443/readyz" | grep -qx ok; }
await_ready() { eventually "${2:-60}" ready "$1"; } # a copy of 150 MB takes its time on a busy machine
kill9() { kill -9 "${PID[$1]}" && wait "${PID[$1]}" 2>/dev/null; true; }
ends() { # N SECONDS: it ends by itself within that time; its exit code is in ENDED
	local end=$((SECONDS + $2 * SLOW))
	while kill -0 "${PID[$1]}" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		pause_ms 50
	done
	wait "${PID[$1]}"
	ENDED=$?
}
alive() { kill -0 "${PID[$1]}" 2>/dev/null; }

admin() { # the certificate that curl calls with
	sed -n 's/.*client-certificate-data: //p' "$WORK/s1/admin.kubeconfig" | base64 -d >"$CERT"
	sed -n 's/.*client-key-data: //p' "$WORK/s1/admin.kubeconfig" | base64 -d >>"$CERT"
}
api() { # N PATH [CURL-ARGUMENTS]
	local i=$1 path=$2
	shift 2
	curl -sk --max-time $((${API_TIMEOUT:-6} * SLOW)) -E "$CERT" "https://$(address "$i"):6443$path" "$@"
}
kn() { local i=$1; shift; k --kubeconfig "$WORK/s1/admin.kubeconfig" --server "https://$(address "$i"):6443" --tls-server-name kubernetes "$@"; }
status() { api "$1" /mini/v1/status; } # of that server
stat_of() { status "$1" | jq -r ".$2"; }
members() { api "$1" /mini/v1/cluster | jq -r '[.members[] | "\(.name):\(.role)\(if .wish != .role then ">" + .wish else "" end)"] | sort | join(" ")'; }
members_are() { [ "$(members "$1")" = "$2" ]; } # N "s1:voter s2:voter"
post() { api "$1" "$2" -X POST -H 'Content-Type: application/json' -d "${3:-{\}}" -o "$WORK/answer" -w '%{http_code}'; }
leads() { [ "$(stat_of "$1" leads)" = true ]; }
move_lead() { leads "$1" || { post "$1" /mini/v1/move-leader "{\"to\":\"s$1\"}" >/dev/null && leads "$1"; }; } # to N, at last
LEADER=
find_leader() { # among the given ones, in LEADER
	local i
	for i; do leads "$i" && LEADER=$i && return; done
	return 1
}
others_of() { local i; for i in 1 2 3; do [ "$i" = "$1" ] || echo "$i"; done; }
# At one moment everybody has applied what the leader had committed before.
level_with() { # N LEADER
	[ "$(stat_of "$1" applied)" -ge "${WANT_INDEX:-0}" ]
}
caught_up() { # N LEADER SECONDS
	WANT_INDEX=$(stat_of "$2" applied)
	eventually "$3" level_with "$1" "$2"
}

# A ConfigMap written or read through server N; prints the HTTP status.
write() { api "$1" /api/v1/namespaces/default/configmaps -H 'Content-Type: application/json' -o "$WORK/answer" -w '%{http_code}' \
	-d "{\"metadata\":{\"name\":\"$2\"},\"data\":{\"v\":\"${3:-1}\"}}"; }
# 409: by an earlier try whose answer was not heard.
written() { [[ $(write "$1" "$2") = 201 || $(cat "$WORK/answer") = *AlreadyExists* ]]; }
there() { [ "$(api "$1" "/api/v1/namespaces/default/configmaps/$2" -o /dev/null -w '%{http_code}')" = 200 ]; }

token() { inside "$1" "$MINID" token create --dir "$WORK/s$1" "${@:2}"; } # N [FLAGS]
three_servers() {
	start 1 --name s1
	check "a first server" await_ready 1
	admin
	TOKEN=$(token 1)
	start 2 --name s2 --join https://10.77.0.1:6443 --token "$TOKEN"
	check "a second joins it" await_ready 2
	start 3 --name s3 --join https://10.77.0.2:6443 --token "$TOKEN"
	check "a third joins through the second" await_ready 3
	check "three voters" eventually 10 members_are 1 "s1:voter s2:voter s3:voter"
}

# heave I N: N MB through server I, all under one name: it is the log that grows. (What says nothing new is not written.)
heave() {
	local n c
	[ -e "$WORK/a" ] || for c in a b; do printf '{"metadata":{"name":"hello"},"data":{"v":"%s"}}' "$(head -c 900000 /dev/zero | tr '\0' $c)" >"$WORK/$c"; done
	for n in $(seq "$2"); do
		[ "$n" = 1 ] || echo next
		printf 'url=https://%s:6443%s/hello\nrequest=PUT\nheader="Content-Type: application/json"\ndata-binary=@%s\n' \
			"$(address "$1")" /api/v1/namespaces/default/configmaps "$WORK/$([ $((n % 2)) = 0 ] && echo a || echo b)"
		printf 'output=/dev/null\ninsecure\nfail\ncert=%s\n' "$CERT"
	done >"$WORK/curlrc"
	LIMIT=90 limited curl -s -K "$WORK/curlrc"
}

# ---- faults ----
sever() { # A B: nothing passes between them
	inside "$1" iptables -A INPUT -s "$(address "$2")" -j DROP
	inside "$1" iptables -A OUTPUT -d "$(address "$2")" -j DROP
}
deafen() { inside "$1" iptables -A INPUT -s "$(address "$2")" -j DROP; } # A hears nothing of B; B hears A
heal() { local i; for i; do inside "$i" iptables -F; done; }

flip() { # FILE: a few bytes in the middle of what was written to it
	python3 - "$1" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    data = f.read()
    at = len(data.rstrip(b"\0")) // 2
    f.seek(at)
    f.write(bytes(b ^ 0x5a for b in data[at:at + 16]))
PY
}

# ---- the history ----
write_history() { # CLIENTS PAUSE_MS SERVER...
	local clients=$1 pause=$2 i
	shift 2
	"$HISTORY" "$WORK/s1/admin.kubeconfig" "$WORK" "$clients" "$pause" $(for i; do echo "10.77.0.$i:6443"; done) >"$WORK/history" 2>&1 &
	HISTORY_PID=$!
}
# acked_since MS NOT-THROUGH: how long after MS the first write was acknowledged that had begun then or later.
acked_since() { tail -n 3000 "$WORK/acks" | awk -v t="$1" -v not="${2:-0}" '$2 >= t && $1 != not && (!n || $3 < n) { n = $3 } END { if (n) print n - t; exit !n }'; }
# go_on NAME MS NOT-THROUGH: writes through the others went on soon after MS.
go_on() {
	local took
	eventually 20 acked_since "$2" "${3:-0}"
	took=$(acked_since "$2" "${3:-0}")
	if [ -n "$took" ] && [ "$took" -le $((${GO_ON_MS:-2000} * SLOW)) ]; then ok "$1: the next write was acknowledged after $took ms"; else
		not_ok "$1: the next write was acknowledged after ${took:-more than 20000} ms"
		said_all
	fi
}
said_all() { local i; for i in "${!PID[@]}"; do echo "# server $i:"; said "$i" | tail -n 8 | cut -c1-220 | sed 's/^/#   /'; done; }
judge_history() {
	kill -TERM $HISTORY_PID
	if wait $HISTORY_PID; then ok "$(tail -n 1 "$WORK/history")"; else
		not_ok "the history"
		sed 's/^/# /' "$WORK/history" | tail -n 20
		said_all
	fi
}
stop_all() { local i; for i in "${!PID[@]}"; do kill -CONT "${PID[$i]}" 2>/dev/null; kill -TERM "${PID[$i]}" 2>/dev/null; done; wait "${PID[@]}" 2>/dev/null; }
