#!/bin/bash
# minirun by itself: a container's life, what it looks like inside, limits, crashes, and that nothing is left.
. "$(dirname "$0")/lib.sh"

[ -x "$MINIRUN" ] || { skip_test "minirun" "minirun is not built"; exit 0; }
[ -x /bin/busybox ] || { skip_test "minirun" "no /bin/busybox"; exit 0; }

ROOT=$WORK/root BUNDLE=$WORK/bundle CG=/minirun-${WORK##*-}
M="$MINIRUN --root $ROOT"
mkdir -p "$BUNDLE/rootfs"/{bin,etc,tmp}
for a in busybox sh echo cat sleep id ls grep mount touch hostname tail chroot head stat mkdir ps kill wc nproc mknod; do
	[ "$a" = busybox ] && cp /bin/busybox "$BUNDLE/rootfs/bin/" || ln -s busybox "$BUNDLE/rootfs/bin/$a"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$BUNDLE/rootfs/etc/passwd"

DEFAULT_CAPS='["CAP_CHOWN","CAP_KILL","CAP_SETUID","CAP_SETGID","CAP_NET_BIND_SERVICE"]'
# bundle SCRIPT [RESOURCES] [PROCESS_EXTRA] [TOP_EXTRA] [MOUNT_EXTRA]
bundle() {
	cat >"$BUNDLE/config.json" <<JSON
{"ociVersion":"1.0.2","hostname":"box",
 "process":{"args":["/bin/sh","-c","$1"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0},
  "capabilities":{"bounding":$DEFAULT_CAPS,"effective":$DEFAULT_CAPS,"permitted":$DEFAULT_CAPS},
  "noNewPrivileges":true,"rlimits":[{"type":"RLIMIT_NOFILE","soft":512,"hard":1024}]${3:+,$3}},
 "root":{"path":"rootfs","readonly":true},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
  {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
  {"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]},
  {"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]},
  {"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
  {"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},
  {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","ro"]}${5:+,$5}],
 "linux":{"cgroupsPath":"$CG/c","resources":{"devices":[{"allow":false,"access":"rwm"}]${2:+,$2}},
  "namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"}],
  "maskedPaths":["/proc/kcore","/proc/keys","/sys/firmware","/proc/scsi"],"readonlyPaths":["/proc/sys","/proc/irq"]}
 ${4:+,$4}}
JSON
}
# The container inherits stdio: it must not be a pipe somebody reads to its end.
create() { $M create --bundle "$BUNDLE" "$@" >"$WORK/create.out" 2>&1 </dev/null || { cat "$WORK/create.out"; return 1; }; }
run() { $M run --bundle "$BUNDLE" "${1:-t}"; }
cgroups_left() { find /sys/fs/cgroup -path "*$CG/*" -type d 2>/dev/null; }
status_is() { $M state "$1" 2>/dev/null | grep -q "\"status\": \"$2\""; }

# ---- a life ----
bundle 'echo out; echo err >&2; exit 7'
expect "run passes output" '^out' run
run >/dev/null 2>&1
[ $? = 7 ] && ok "run ends with the container's code" || not_ok "run ends with the container's code"
bundle 'sleep 1000'
check "create" create --pid-file "$WORK/pid" a
check "state says created" status_is a created
check "the pid file names a process" kill -0 "$(cat "$WORK/pid")"
fails "whose executable nobody can change" 'Read-only' chmod 755 "/proc/$(cat "$WORK/pid")/exe"
fails "the id is taken" 'exists already' create a
check "start" $M start a
check "state says running" status_is a running
expect "list shows it" '^a +[0-9]+ +running' $M list
expect "list in JSON" '"status":"running"' $M list --format json
fails "a running one is not deleted" 'not stopped' $M delete a
fails "nor started twice" 'is running' $M start a
expect "exec" '^box' $M exec a hostname
$M exec a sh -c 'exit 9'; [ $? = 9 ] && ok "exec's code" || not_ok "exec's code"
$M exec a nosuch 2>/dev/null; [ $? = 127 ] && ok "exec of nothing: 127" || not_ok "exec of nothing: 127"
expect "exec is in the container's groups" "memory:/( |\$)|0::/\$" $M exec a cat /proc/self/cgroup
expect "exec has its user and environment" '^uid=5 gid=6.* X=1' $M exec --user 5:6 --env X=1 a sh -c 'echo $(id) X=$X'
check "kill" $M kill a KILL
check "state says stopped" eventually 5 status_is a stopped
fails "kill of a dead one" 'not running' $M kill a TERM
check "delete" $M delete a
fails "state of nothing" 'does not exist' $M state a
check "delete --force of nothing" $M delete --force a
fails "no bundle" 'No such file' $M run --bundle "$WORK/none" n
bundle 'true'; sed -i 's|"/bin/sh"|"/bin/nothing"|' "$BUNDLE/config.json"
fails "a program that is not there" 'no such file or directory' create n
fails "nothing stays of it" 'does not exist' $M state n
fails "a bad id" 'not valid' create ../x
expect "features" 'ociVersionMin' $M features
expect "version" '^minirun version' $MINIRUN --version

# ---- inside ----
bundle 'id -u; hostname; ls -d /proc/[0-9]*; cat /proc/self/status; mount; ls -l /dev; cat /proc/self/limits'
inside=$(run 2>&1)
has() { grep -qE -- "$2" <<<"$inside" && ok "$1" || { not_ok "$1"; echo "# wanted $2"; }; }
has "pid namespace: the first process is 1" '^/proc/1$'
has "uts namespace" '^box$'
has "capabilities are the five asked for" '^CapEff:\s00000000000004e1$'
has "and the bounding set" '^CapBnd:\s00000000000004e1$'
has "none are inheritable" '^CapInh:\s0000000000000000$'
has "no_new_privs" '^NoNewPrivs:\s1$'
has "rlimits" 'Max open files +512 +1024'
has "the root is read-only" ' on / type .*\(ro'
has "/sys/firmware is masked" ' on /sys/firmware type tmpfs \(ro'
has "/proc/sys is read-only" ' on /proc/sys type proc \(ro'
has "/dev/null" 'crw-rw-rw- .*1, +3 .*null$'
has "/dev/ptmx is the container's" 'ptmx -> pts/ptmx'
has "/dev/fd" 'fd -> /proc/self/fd'
grep -q "$WORK" <<<"$inside" && not_ok "no mount of the host is seen" || ok "no mount of the host is seen"
bundle 'echo x > /proc/sys/kernel/shmmax; touch /y; head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l'
inside=$(run 2>&1)
has "read-only paths refuse writes" 'shmmax: Read-only'
has "the root refuses writes" '/y: Read-only'
[ "$(grep -c '^0$' <<<"$inside")" = 2 ] && ok "masked paths are empty" || not_ok "masked paths are empty"
DEFAULT_CAPS='["CAP_MKNOD"]' bundle 'mknod /dev/disk b 254 0; head -c1 /dev/disk'
expect "devices: only the listed ones open" 'not permitted' run
bundle 'id -G; id -u; echo $HOME' '' '"user":{"uid":1234,"gid":5678,"additionalGids":[9]}'
expect "user, group, additional groups" '5678 9' run
bundle 'cat /mnt/f; echo y > /mnt/f' '' '' '' "{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"$WORK/vol\",\"options\":[\"rbind\",\"rprivate\",\"ro\"]}"
mkdir -p "$WORK/vol"; echo data >"$WORK/vol/f"
expect "bind mounts" '^data' run
expect "read-only ones refuse writes" 'Read-only' run
rm -rf "$BUNDLE/rootfs/evil"; ln -s ../../../../../.. "$BUNDLE/rootfs/evil"
bundle 'ls -d /evil-made' '' '' '' "{\"destination\":\"/evil/evil-made\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}"
expect "a link in the image does not lead outside" '^/evil-made$' run
[ -e /evil-made ] && { not_ok "nothing was made on the host"; rmdir /evil-made; } || ok "nothing was made on the host"
rm -rf "$BUNDLE/rootfs/evil" "$BUNDLE/rootfs/evil-made"
bundle 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start'
sed -i 's|"maskedPaths"|"sysctl":{"net.ipv4.ip_unprivileged_port_start":"80"},"maskedPaths"|' "$BUNDLE/config.json"
expect "sysctls of its namespaces" '^80$' run
sed -i 's|net.ipv4.ip_unprivileged_port_start":"80"|kernel.panic":"80"|' "$BUNDLE/config.json"
fails "no others" 'not in a namespace' run

# ---- overlay ----
mkdir -p "$WORK/l1" "$WORK/up" "$WORK/wk" "$BUNDLE/empty"; echo low >"$WORK/l1/file"
bundle 'cat /file; echo new > /file; cat /file' '' '' "\"annotations\":{\"dev.mini.overlay.lower\":\"$WORK/l1:$BUNDLE/rootfs\",\"dev.mini.overlay.upper\":\"$WORK/up\",\"dev.mini.overlay.work\":\"$WORK/wk\"}"
sed -i 's|"path":"rootfs","readonly":true|"path":"empty"|' "$BUNDLE/config.json"
expect "overlay" '^low' run
[ "$(cat "$WORK/up/file")" = new ] && ok "its upper layer takes the writes" || not_ok "its upper layer takes the writes"
grep -q "$WORK" /proc/self/mounts && not_ok "the host's mount table is as before" || ok "the host's mount table is as before"

# ---- seccomp ----
bundle 'chroot /; echo code $?; mkdir /dev/shm/d; echo $?'
sed -i 's|"maskedPaths"|"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]},"maskedPaths"|' "$BUNDLE/config.json"
expect "a profile of the bundle's" 'Function not implemented' run
bundle 'busybox unshare -U true; grep Seccomp: /proc/self/status' '' '' '"annotations":{"dev.mini.seccomp":"default"}'
expect "the default profile: no namespaces" 'Operation not permitted|Function not implemented' run
expect "it is a filter" 'Seccomp:.2' run
[ "$(ls "$ROOT/.seccomp" | wc -l)" = 2 ] && ok "compiled filters are kept" || not_ok "compiled filters are kept"

# ---- limits ----
bundle 'tail /dev/zero' '"memory":{"limit":8388608}'
check "shim" $M shim --bundle "$BUNDLE" --log-path "$WORK/oom.log" --cgroup-self "$CG/shims" oom
check "start under the shim" $M start oom
check "the exit is written" eventually 10 test -e "$ROOT/oom/exit.json"
expect "killed for memory, says the kernel" '"oomKilled":true' cat "$ROOT/oom/exit.json"
check "delete" $M delete oom
bundle 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait' '"pids":{"limit":4}'
expect "pids limit" "can't fork" run
bundle 'cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null' '"cpu":{"shares":512,"quota":20000,"period":100000}'
expect "cpu limits" '^20000( 100000)?$' run

# ---- the shim ----
bundle "echo one; busybox printf %020000d 0; echo; echo two >&2; trap 'exit 4' TERM; while :; do sleep 1; done"
check "shim" $M shim --bundle "$BUNDLE" --log-path "$WORK/s.log" --cgroup-self "$CG/shims" s
shim_pid=$(grep -o '"pid":[0-9]*' "$ROOT/s/shim.json" | cut -d: -f2)
check "start" $M start s
logged() { [ "$(wc -l <"$WORK/s.log")" -ge 4 ]; }
check "output is logged" eventually 5 logged
expect "a CRI line" '^[0-9T:.-]+Z stdout F one$' cat "$WORK/s.log"
[ "$(grep -c 'stdout P 0\{16384\}$' "$WORK/s.log")" = 1 ] && ok "a long line comes in parts" || not_ok "a long line comes in parts"
expect "and its end" 'stdout F 0+$' cat "$WORK/s.log"
mv "$WORK/s.log" "$WORK/s.log.1"
kill -HUP "$shim_pid"
check "SIGHUP reopens the log" eventually 5 test -e "$WORK/s.log"
expect "the shim is in its own group" "$CG/shims" cat "/proc/$shim_pid/cgroup"
kill -TERM "$shim_pid"
check "SIGTERM does not end it" kill -0 "$shim_pid"
pss=$(awk '/^Pss:/ { print $2 }' "/proc/$shim_pid/smaps_rollup")
if [[ $B == *san-* ]]; then skip_test "it is small" "a sanitizer's shadow is not"
elif [ "$pss" -lt 1200 ]; then ok "it is small: $pss KiB, shared with nobody"
else not_ok "it is small: $pss KiB"; fi
$M kill s TERM
check "the exit is written" eventually 5 test -e "$ROOT/s/exit.json"
expect "with code and signal" '"code":4,"signal":0,"oomKilled":false' cat "$ROOT/s/exit.json"
check "the shim goes" eventually 5 sh -c "! kill -0 $shim_pid"
check "delete" $M delete s
bundle 'sleep 1000'
check "shim" $M shim --bundle "$BUNDLE" --cgroup-self "$CG/shims" s
shim_pid=$(grep -o '"pid":[0-9]*' "$ROOT/s/shim.json" | cut -d: -f2)
$M start s
kill -9 "$shim_pid"
check "kill -9 of the shim: the container lives" status_is s running
check "exec still works" $M exec s id
check "and delete --force" $M delete --force s

# ---- crashes ----
# Kill a create at every few hundred microseconds of its life: delete --force must leave nothing.
left=0
for us in 200 400 700 1000 1300 1600 1900 2200 2600 3000 3500 4000; do
	$M create --bundle "$BUNDLE" crash >/dev/null 2>&1 &
	creator=$!
	busybox usleep "$us"
	kill -9 $creator 2>/dev/null
	wait $creator 2>/dev/null
	$M delete --force crash >/dev/null 2>&1 || left=1
	[ -e "$ROOT/crash" ] && left=1
	[ -n "$(cgroups_left | grep -v /shims)" ] && left=1
done
[ $left = 0 ] && ok "a create that is killed leaves nothing delete --force can't clean" ||
	not_ok "a create that is killed leaves nothing delete --force can't clean"
none_run() { ! pgrep -f "sleep 1000" >/dev/null && ! pgrep -f "$BUNDLE" >/dev/null; }
check "no process is left" eventually 5 none_run

# ---- hooks ----
cat >"$WORK/hook" <<'SH'
#!/bin/sh
cat >>"$2"; echo " $1" >>"$2"
SH
chmod +x "$WORK/hook"
bundle 'true' '' '' "\"hooks\":{\"createRuntime\":[{\"path\":\"$WORK/hook\",\"args\":[\"hook\",\"createRuntime\",\"$WORK/hooks\"]}],\"poststart\":[{\"path\":\"$WORK/hook\",\"args\":[\"hook\",\"poststart\",\"$WORK/hooks\"]}],\"poststop\":[{\"path\":\"$WORK/hook\",\"args\":[\"hook\",\"poststop\",\"$WORK/hooks\"]}]}"
run
expect "hooks run in order, with the state" 'creating.*createRuntime.*running.*poststart.*stopped.*poststop' tr '\n' ' ' <"$WORK/hooks"
sed -i "s|\"path\":\"$WORK/hook\"|\"path\":\"/bin/false\"|" "$BUNDLE/config.json"
fails "a hook that fails ends it" 'createRuntime hook 0' run

# ---- nothing left ----
[ -z "$(ls "$ROOT")" ] && ok "no state is left" || not_ok "no state is left: $(ls "$ROOT")"
no_groups() { # the shims' own is the caller's to remove, once the last of them has ended
	busybox rmdir /sys/fs/cgroup/*"$CG/shims" /sys/fs/cgroup"$CG/shims" /sys/fs/cgroup/*"$CG" /sys/fs/cgroup"$CG" 2>/dev/null
	[ -z "$(find /sys/fs/cgroup -path "*$CG*" -type d)" ]
}
check "no control group is left" eventually 5 no_groups
grep -q "$WORK" /proc/self/mounts && not_ok "no mount is left" || ok "no mount is left"
