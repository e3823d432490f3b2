#!/bin/bash
# What lasts and goes both ways: exec with a terminal, attach, run, port-forward, over every protocol there is.
. "$(dirname "$0")/lib.sh"
start_demo || { not_ok "start"; exit 1; }
demo_image
cat >"$WORK/w.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: w, labels: {app: w}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: w, image: "mini/demo:1", ports: [{containerPort: 8080, name: http}]}
  - {name: echo, image: "mini/demo:1", command: [nc, -ll, -p, "9001", -e, cat]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: sh, image: "mini/demo:1", command: [sh], stdin: true, tty: true}
  - {name: cat, image: "mini/demo:1", command: [cat], stdin: true}
  - {name: talk, image: "mini/demo:1", command: [sh, -c, "while :; do echo tick; usleep 100000; done"]}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: w}, ports: [{port: 80, targetPort: http}]}
YAML
"$MINICTL" apply -f "$WORK/w.yaml" >/dev/null
check "a pod is ready" "$MINICTL" wait pod/w pod/p --for=condition=Ready --timeout=30s
head -c 3000000 /dev/urandom >"$WORK/noise"
on_terminal() { python3 "$TOP/tests/support/expect.py" "$@"; }
# Every process in the pod but the ones it began with.
strangers() { "$MINICTL" exec w -c w -- ps -o args | grep -cE '^(sleep|cat|sh)( |$)'; }

exec_with() { # NAME PROGRAM
	local name=$1 p=$2
	expect "$name: exit code, and both outputs" '^out$' "$p" exec w -c w -- sh -c 'echo out; echo err >&2'
	is "$name: exit code" 3 "$("$p" exec w -c w -- sh -c 'exit 3' 2>/dev/null; echo $?)"
	check "$name: 3 MB in and out" sh -c "'$p' exec -i w -c w -- cat <'$WORK/noise' | cmp - '$WORK/noise'"
	check "$name: a terminal: its size, control-C, a new size, exit code" on_terminal size:33x101 'expect:[#$] ' \
		'send:stty size; tty\r' 'expect:33 101\r\n/dev/pts/0' 'send:sh -c "echo begun; exec sleep 1000"\r' 'expect:\nbegun' \
		'send:\x03' 'expect:[#$] ' size:44x120 'send:until stty size | grep -q "44 120"; do :; done; echo re''sized\r' \
		'expect:resized' 'send:exit 7\r' end:7 -- "$p" exec -it w -c w -- sh
	check "$name: a terminal: control-D" on_terminal 'expect:[#$] ' 'send:\x04' end:0 -- "$p" exec -it w -c w -- sh
	check "$name: a terminal: much output" on_terminal 'expect:last' end:0 -- \
		"$p" exec -it w -c w -- sh -c 'seq 60000 >/tmp/n; cat /tmp/n; echo last'
	check "$name: killed in the middle" on_terminal 'expect:[#$] ' 'send:sh -c "echo begun; exec sleep 1000"\r' 'expect:\nbegun' kill: -- \
		"$p" exec -it w -c w -- sh
	check "$name: ... and nothing is left in the pod" eventually 10 none_left
}
forward() { # PROGRAM ARGUMENT...: sets port to the local one, pf to the process
	: >"$WORK/forward" # or the last one's words would be taken for this one's
	"$@" >>"$WORK/forward" 2>&1 &
	pf=$!
	eventually 20 grep -q 'Forwarding from 127' "$WORK/forward"
	port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$WORK/forward" | tr '\n' ' ')
}
unforward() { kill "$pf" && wait "$pf" 2>/dev/null; }
forward_with() { # NAME PROGRAM
	local name=$1 p=$2 port pf a b
	forward "$p" port-forward pod/w :8080 :9001
	read -r a b <<<"$port"
	is "$name: port-forward" w "$(curl -s -m 10 "http://127.0.0.1:$a/")"
	is "$name: many at once" 20 "$(for _ in {1..20}; do curl -s -m 10 "http://127.0.0.1:$a/" & done | wc -l)"
	check "$name: 3 MB there and back, half closed in between" \
		sh -c "busybox nc 127.0.0.1 $b <'$WORK/noise' | cmp - '$WORK/noise'"
	unforward
	check "$name: ... and no connection is left in the pod" eventually 10 no_connections
	forward "$p" port-forward svc/s :80
	is "$name: port-forward to a service" w "$(curl -s -m 10 "http://127.0.0.1:${port% }/")"
	unforward
	forward "$p" port-forward pod/w :81
	curl -s -m 10 "http://127.0.0.1:${port% }/" 2>/dev/null
	eventually 10 grep -q "connection refused" "$WORK/forward"
	expect "$name: a port where nobody listens" "localhost:81 inside the pod: connection refused" cat "$WORK/forward"
	unforward 2>/dev/null
}
no_connections() { "$MINICTL" exec w -c w -- sh -c '! grep -E " 01 " /proc/net/tcp'; }
none_left() { [ "$(strangers)" = 0 ]; }
session_with() { # NAME PROGRAM
	local name=$1 p=$2 n
	local run=("$p" run t --image=mini/demo:1 --rm --restart=Never --grace-period=0)
	check "$name: run -it --rm: a prompt, a terminal, its exit code" on_terminal size:24x80 'expect:[#$] ' \
		'send:tty; stty size; exit 4\r' 'expect:\n/dev/pts/0\r\n[1-9]' end:4 -- "${run[@]}" -it --command -- sh
	fails "$name: ... and the pod is gone" 'not found' "$MINICTL" get pod t
	is "$name: run -i --rm: input to its end" "some input" \
		"$(echo some input | timeout 30 "${run[@]}" -i --quiet --command -- cat)"
	check "$name: attach -it" on_terminal 'expect:[#$] ' "send:X=$name; echo do''ne\r" 'expect:done' kill: -- \
		"$p" attach -it p -c sh
	check "$name: attach again" on_terminal 'expect:[#$] ' 'send:echo "$X"\r' "expect:\n$name" size:30x90 \
		'send:until stty size | grep -q "30 90"; do :; done; echo si""zed\r' expect:sized kill: -- "$p" attach -it p -c sh
	for n in 1 2; do
		check "$name: attach -i: stdin stays open ($n)" on_terminal expect:enter "send:line $n\\r" "expect:line $n\\r\\nline $n" kill: -- \
			"$p" attach -i p -c cat
	done
	check "$name: attach: output alone" see 10 tick "$p" attach p -c talk
}
none_attached() { ! pgrep -f 'minirun.* attach ' >/dev/null; }
session_with minictl "$MINICTL"
exec_with minictl "$MINICTL"
forward_with minictl "$MINICTL"
if command -v "$KUBECTL" >/dev/null; then
	session_with kubectl "$KUBECTL"
	exec_with kubectl "$KUBECTL"
	forward_with kubectl "$KUBECTL"
	spdy=$(ls "$(readlink -f "$(command -v "$KUBECTL")")".1.2[0-9] 2>/dev/null | head -n 1)
	[ -z "$spdy" ] || {
		exec_with "kubectl ${spdy##*kubectl.} (SPDY)" "$spdy"
		forward_with "kubectl ${spdy##*kubectl.} (SPDY)" "$spdy"
	}
fi
check "a terminal needs one: said, and without" sh -c "'$MINICTL' exec -it w -c w -- hostname </dev/null 2>&1 | grep -q 'Unable to use a TTY'"
check "... who attached has left nothing behind" eventually 10 none_attached
kill -9 "$(minid_pid)"
check "minid starts again after kill -9" start_demo
check "attach is possible again: the same shell" on_terminal 'expect:[#$] ' 'send:echo "still $X"\r' 'expect:\nstill [mk]' kill: -- \
	"$MINICTL" attach -it p -c sh
check "stop" stop_demo
check "nothing is left on the host" no_leftovers
