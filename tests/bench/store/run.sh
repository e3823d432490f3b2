#!/bin/bash
# Our store beside Debian's etcd, interleaved, on the same disk, as a Markdown page: `make bench-store`.
#
#   tests/bench/store/run.sh [PART...]                 parts: one three watch million overwrite compact
#   make bench-store BENCH_OUT=docs/BENCH_STORE.md     also writes the page there; QUICK=1: small and short
#
# Runs in network, mount and pid namespaces of its own; state lies under BENCH_DIR (default /var/tmp), which should be on
# the kind of disk that counts.
set -u
. "$(dirname "$0")/../namespaces.sh"
cd "$(dirname "$0")/../../.." || exit 1
TOP=$PWD B=${B:-build}
[[ $B == /* ]] || B=$TOP/$B
SERVER=$B/tests/bench/store/store_server CLIENT=$B/tests/bench/store/store_client API_BENCH=$B/tests/bench/api_bench
COMPACT_BENCH=$B/tests/bench/compact_bench
if [ -n "${QUICK:-}" ]; then
	ROUNDS=${ROUNDS:-2} EACH=${EACH:-1} MILLION=${MILLION:-20000} WATCHERS=${WATCHERS:-1000} SETTLE=${SETTLE:-2}
else
	ROUNDS=${ROUNDS:-5} EACH=${EACH:-3} MILLION=${MILLION:-1000000} WATCHERS=${WATCHERS:-10000} SETTLE=${SETTLE:-40}
fi
[ -n "${QUICK:-}" ] || renice -n -15 -p $$ >/dev/null 2>&1
ip link set lo up
WORK=$(mktemp -d "${BENCH_DIR:-/var/tmp}/mini-bench-store-XXXXXX")
CERTS=$WORK/certs
mkdir "$CERTS"
"$CLIENT" certs "$CERTS" || exit 1
declare -A PID

note() { echo "bench-store: $*" >&2; }
stop() { for n; do [ -z "${PID[$n]:-}" ] || { kill -9 "${PID[$n]}"; wait "${PID[$n]}"; unset "PID[$n]"; } 2>/dev/null; done; }
finish() { stop "${!PID[@]}"; rm -rf "$WORK"; }
trap finish EXIT
c() { timeout 1800 "$CLIENT" "$@"; }

# ---- servers: NAME DIR PORT ----
start_mini() {
	"$SERVER" "$WORK/$2" "$3" "$CERTS" "${@:4}" >>"$WORK/log" 2>&1 </dev/null &
	PID[$1]=$!
}
start_etcd() { # and, of several: its name, and all of them
	local peer=http://127.0.0.1:$(($3 + 100)) tls=()
	[ -z "${4:-}" ] || { peer=https${peer#http}; tls=(--peer-cert-file "$CERTS/server.pem" --peer-key-file "$CERTS/server.key" \
		--peer-trusted-ca-file "$CERTS/ca.pem" --peer-client-cert-auth); }
	etcd --name "${4:-default}" --data-dir "$WORK/$2" --listen-client-urls "https://127.0.0.1:$3" --advertise-client-urls \
		"https://127.0.0.1:$3" --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster \
		"${5:-default=$peer}" --cert-file "$CERTS/server.pem" --key-file "$CERTS/server.key" --quota-backend-bytes 8589934592 \
		--log-level error "${tls[@]}" >>"$WORK/log" 2>&1 </dev/null &
	PID[$1]=$!
}

# ---- figures ----
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }
column() { awk -v n="$1" '{ print $n }'; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
pss_mb() { awk '/^Pss:/ { printf "%.0f", $2 / 1024 }' "/proc/${PID[$1]}/smaps_rollup"; }
anon_mb() { awk '/^Anonymous:/ { printf "%.0f", $2 / 1024 }' "/proc/${PID[$1]}/smaps_rollup"; }
disk_mb() { du -sm --apparent-size "$WORK/$1" | cut -f1; }
sync_ms() { "$API_BENCH" sync "$WORK"; }
# row FIGURE GOAL OURS ETCD RATIO [HOLDS [WHY]]: HOLDS is an awk condition on the ratio x.
row() {
	local verdict=
	if [ -n "${6:-}" ]; then
		if awk -v x="$5" "BEGIN { exit !($6) }" </dev/null; then verdict=yes; else
			verdict=**no**
			echo "- **$1**: ours $3, etcd $4, ratio $5, wanted $2. ${7:-}" >>"$WORK/missed"
		fi
	fi
	echo "| $1 | $2 | $3 | $4 | $5 | $verdict |"
}
floor_row() { echo "| $1 | $2 | $(calc %.1f "$2 / $FLOOR") | $3 | $(calc %.1f "$3 / $FLOOR") |" >>"$WORK/floors"; }

# CPU time of a server's processes so far: mini or etcd
cpu_ns() {
	local n
	for n in "${!PID[@]}"; do [[ $n == ${1:0:1}* ]] && cat "/proc/${PID[$n]}"/task/*/schedstat; done 2>/dev/null |
		awk '{ n += $1 } END { printf "%.0f\n", n }'
}
# put_round PROTO PORTS CONNS CLIENTS: the client's line, and the servers' microseconds of CPU a put
put_round() {
	local before line
	before=$(cpu_ns "$1")
	line=$(c put "$1" "$2" "$CERTS" "$3" "$4" "$EACH" 10000)
	echo "$line $(awk -v a="$before" -v b="$(cpu_ns "$1")" '{ printf "%.1f", (b - a) / 1000 / $5 }' <<<"$line")" >>"$WORK/puts.$1"
}

# puts PART CONNS CLIENTS MINI_PORTS ETCD_PORTS: ours and etcd in turns, ROUNDS times
puts() {
	local r
	rm -f "$WORK/puts.mini" "$WORK/puts.etcd" "$WORK/syncs"
	for r in $(seq "$ROUNDS"); do
		sync_ms >>"$WORK/syncs"
		put_round mini "$4" "$2" "$3"
		put_round etcd "$5" "$2" "$3"
	done
	M_RATE=$(column 1 <"$WORK/puts.mini" | median) E_RATE=$(column 1 <"$WORK/puts.etcd" | median)
	M_P50=$(column 2 <"$WORK/puts.mini" | median) E_P50=$(column 2 <"$WORK/puts.etcd" | median)
	M_P99=$(column 3 <"$WORK/puts.mini" | median) E_P99=$(column 3 <"$WORK/puts.etcd" | median)
	M_CPU=$(column 4 <"$WORK/puts.mini" | median) E_CPU=$(column 4 <"$WORK/puts.etcd" | median)
	M_COST=$(column 6 <"$WORK/puts.mini" | median) E_COST=$(column 6 <"$WORK/puts.etcd" | median)
	FLOOR=$(sort -n "$WORK/syncs" | head -1)
	floor_row "$1, $3 client(s): ms a put (p50)" "$M_P50" "$E_P50"
}
tail_of() { echo "p99 $M_P99 / $E_P99 ms; CPU a put: server(s) $M_COST / $E_COST us; the client used $M_CPU / $E_CPU % of a core"; }

bench_one() {
	note "one server"
	start_mini m1 mini 7001
	start_etcd e1 etcd 7002
	c await mini 7001 "$CERTS" >/dev/null && c await etcd 7002 "$CERTS" >/dev/null || return 1
	puts "one server" 1 1 7001 7002
	row "one server, 1 client: latency, p50 ($(tail_of))" "<= 0.4" "$M_P50 ms" "$E_P50 ms" "$(calc %.2f "$M_P50 / $E_P50")" \
		"x <= 0.4" "One fdatasync took $FLOOR ms between the rounds, which both have to wait for."
	puts "one server" 10 100 7001 7002
	row "one server, 100 clients: puts a second ($(tail_of))" ">= 5" "$M_RATE" "$E_RATE" "$(calc %.1f "$M_RATE / $E_RATE")" "x >= 5" \
		"One fdatasync took $FLOOR ms between the rounds; 100 clients can't have more than 100 puts in each."
	puts "one server" 10 1000 7001 7002
	row "one server, 1,000 clients: puts a second ($(tail_of))" "" "$M_RATE" "$E_RATE" "$(calc %.1f "$M_RATE / $E_RATE")"
	stop m1 e1
}

bench_three() {
	note "three servers"
	local i all=m1=https://127.0.0.1:7301,m2=https://127.0.0.1:7302,m3=https://127.0.0.1:7303
	for i in 1 2 3; do
		start_mini "m$i" "three-mini$i" $((7100 + i)) $i 7111 7112 7113
		start_etcd "e$i" "three-etcd$i" $((7200 + i)) "m$i" "$all"
	done
	c await mini 7101,7102,7103 "$CERTS" >/dev/null && c await etcd 7201,7202,7203 "$CERTS" >/dev/null || return 1
	puts "three servers" 1 1 7101,7102,7103 7201,7202,7203
	row "three servers, 1 client: puts a second ($(tail_of))" ">= 3" "$M_RATE" "$E_RATE" "$(calc %.1f "$M_RATE / $E_RATE")" "x >= 3" \
		"One fdatasync took $FLOOR ms between the rounds; a put waits for two of them, on one disk."
	puts "three servers" 10 100 7101,7102,7103 7201,7202,7203
	row "three servers, 100 clients: puts a second ($(tail_of))" ">= 3" "$M_RATE" "$E_RATE" "$(calc %.1f "$M_RATE / $E_RATE")" \
		"x >= 3" "All three servers and the client share $(nproc) cores and one disk."
	stop m1 m2 m3 e1 e2 e3
}

# watch PROTO NAME PORT -> created_ms told_ms max_ms before_mb after_mb
watch() {
	local before fd pid line
	before=$(pss_mb "$2")
	# it stays, and holds its watches, until its input ends
	mkfifo "$WORK/go.$1"
	c watch "$1" "$3" "$CERTS" 10 "$WATCHERS" 21 <"$WORK/go.$1" >"$WORK/watch.$1" &
	pid=$!
	exec {fd}>"$WORK/go.$1"
	until [ -s "$WORK/watch.$1" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
	read -r line <"$WORK/watch.$1"
	line="$line $before $(pss_mb "$2")"
	exec {fd}>&-
	wait $pid
	echo "$line"
}

bench_watch() {
	note "$WATCHERS watchers"
	local m e
	start_mini m1 watch-mini 7001
	start_etcd e1 watch-etcd 7002
	c await mini 7001 "$CERTS" >/dev/null && c await etcd 7002 "$CERTS" >/dev/null || return 1
	read -ra m < <(watch mini m1 7001)
	read -ra e < <(watch etcd e1 7002)
	row "$WATCHERS watchers of one prefix over 10 connections: from a put until all have its event, median of 21" "" \
		"${m[1]} ms" "${e[1]} ms" "$(calc %.2f "${m[1]} / ${e[1]}")"
	row "the longest of these" "" "${m[2]} ms" "${e[2]} ms" "$(calc %.2f "${m[2]} / ${e[2]}")"
	row "opening them all" "" "${m[0]} ms" "${e[0]} ms" "$(calc %.2f "${m[0]} / ${e[0]}")"
	row "the server's memory for them (PSS)" "" "$((m[4] - m[3])) MB" "$((e[4] - e[3])) MB" \
		"$(calc %.2f "(${m[4]} - ${m[3]}) / (${e[4]} - ${e[3]} + 0.001)")"
	stop m1 e1
}

# await_start PROTO NAME DIR PORT -> ms from exec until all keys are counted
await_start() {
	"start_$1" "$2" "$3" "$4"
	c await "$1" "$4" "$CERTS"
}

bench_million() {
	note "$MILLION keys"
	local m e m0 e0 mm em ma ea
	start_mini m1 million-mini 7001
	start_etcd e1 million-etcd 7002
	c await mini 7001 "$CERTS" >/dev/null && c await etcd 7002 "$CERTS" >/dev/null || return 1
	m0=$(pss_mb m1) e0=$(pss_mb e1)
	read -r m _ < <(c fill mini 7001 "$CERTS" 10 1000 "$MILLION" "$MILLION")
	read -r e _ < <(c fill etcd 7002 "$CERTS" 10 1000 "$MILLION" "$MILLION")
	row "writing $MILLION keys, 1,000 in flight: puts a second" "" "$m" "$e" "$(calc %.1f "$m / $e")"
	sleep "$SETTLE"
	[ "$(c count mini 7001 "$CERTS")" = "$MILLION" ] && [ "$(c count etcd 7002 "$CERTS")" = "$MILLION" ] || note "keys are missing: $(c count mini 7001 "$CERTS") $(c count etcd 7002 "$CERTS")"
	mm=$(($(pss_mb m1) - m0)) em=$(($(pss_mb e1) - e0)) ma=$(anon_mb m1) ea=$(anon_mb e1)
	row "memory for them: PSS, of which anonymous" "" "$mm MB, $ma MB" "$em MB, $ea MB" "$(calc %.2f "$mm / $em")"
	row "on disk" "" "$(disk_mb million-mini) MB" "$(disk_mb million-etcd) MB" \
		"$(calc %.2f "$(disk_mb million-mini) / $(disk_mb million-etcd)")"
	stop m1 e1 # kill -9
	m=$(for _ in 1 2 3; do await_start mini m1 million-mini 7001; stop m1; done | median)
	e=$(for _ in 1 2 3; do await_start etcd e1 million-etcd 7002; stop e1; done | median)
	row "start with them after kill -9, until a linearizable count is answered, median of 3" "" "$m ms" "$e ms" "$(calc %.2f "$m / $e")"
}

bench_overwrite() {
	note "$MILLION overwrites of 10,000 keys"
	local m e
	start_mini m1 over-mini 7001
	start_etcd e1 over-etcd 7002
	c await mini 7001 "$CERTS" >/dev/null && c await etcd 7002 "$CERTS" >/dev/null || return 1
	c fill mini 7001 "$CERTS" 10 1000 "$MILLION" 10000 >/dev/null
	c fill etcd 7002 "$CERTS" 10 1000 "$MILLION" 10000 >/dev/null
	m=$(disk_mb over-mini) e=$(disk_mb over-etcd)
	row "on disk after $MILLION overwrites of 10,000 keys, all history kept" "" "$m MB" "$e MB" "$(calc %.2f "$m / $e")"
	m=$(c compact mini 7001 "$CERTS") e=$(c compact etcd 7002 "$CERTS")
	row "compacting all of that: until it is answered" "" "$m ms" "$e ms" "$(calc %.2f "$m / $e")"
	sleep "$SETTLE"
	m=$(disk_mb over-mini) e=$(disk_mb over-etcd)
	row "on disk ${SETTLE} s later" "" "$m MB" "$e MB" "$(calc %.2f "$m / $e")"
	row "memory then (PSS)" "" "$(pss_mb m1) MB" "$(pss_mb e1) MB" "$(calc %.2f "$(pss_mb m1) / $(pss_mb e1)")"
	stop m1 e1
}

bench_compact() {
	note "a compaction of $MILLION revisions while four clients write"
	local out before during
	mkdir "$WORK/compact" && out=$("$COMPACT_BENCH" "$WORK/compact" "$MILLION" 2>>"$WORK/log") || return 1
	over() { sed -n "s/^$1 *\([0-9]*\) puts, longest *\([0-9.]*\) ms, \([0-9]*\) above.*/\1 \2 \3/p" <<<"$out" |
		awk '{ printf "%.2f %% (%.0f ms)", 100 * $3 / $1, $2 }'; }
	before=$(over before) during=$(over "while it is compacted")
	echo "| four writers in the server's own process: writes of over 10 ms, and the longest | | $before | | | |"
	echo "| the same while $MILLION revisions are compacted | as before | $during | | | |"
	rm -rf "$WORK/compact"
}

page() {
	local part nice="All of it runs at nice -15"
	[ -z "${QUICK:-}" ] || nice="All of it runs at the usual priority"
	cat <<-TXT
		# The store beside etcd

		Measured by \`make bench-store BENCH_OUT=docs/BENCH_STORE.md\`, all of it in one run on one machine, on one disk, in
		turns (ours, etcd, ours, ...); a median of $ROUNDS rounds of $EACH s stands where the row does not say otherwise. Values have 256
		bytes. Both are asked by the same client process (\`tests/bench/store/client.c\`) over TLS with the same number of
		connections: one for 1 client, ten for 100 and 1,000; of three servers the leader is asked, and they speak mutual TLS
		among themselves. etcd is asked over its gRPC (HTTP/2 by libnghttp2), our store in framed binary by a small server
		that has the real engine in it and nothing above. $nice; client and servers share the cores.

	TXT
	echo "Machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)," \
		"$(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo), kernel $(uname -r), $(stat -f -c %T "$WORK")." \
		"Load as it begins: $(cut -d' ' -f1 /proc/loadavg). etcd $(etcd --version | awk 'NR == 1 { print $3 }')." \
		"One fdatasync of 512 appended bytes: $(sync_ms) ms (median of 400)${QUICK:+. A quick run, for trying it out}."
	printf '\n| figure | goal | ours | etcd | ours/etcd | met |\n|---|---|---|---|---|---|\n'
	for part; do "bench_$part" || { note "part $part failed"; tail -n 5 "$WORK/log" >&2; }; done
	if [ -s "$WORK/floors" ]; then
		printf '\n## From the floor of the disk\n\nIn fdatasyncs of 512 appended bytes: the best of the medians measured between the rounds of each row.\n\n'
		printf '| | ours | in fdatasyncs | etcd | in fdatasyncs |\n|---|---|---|---|---|\n'
		cat "$WORK/floors"
	fi
	if [ -s "$WORK/missed" ]; then
		printf '\n## Missed\n\n'
		cat "$WORK/missed"
	fi
}
[ $# -gt 0 ] || set -- one three watch million overwrite compact
page "$@"
