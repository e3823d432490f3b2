# Sourced first by what measures: goes on in network, mount and pid namespaces of its own, as root. With BENCH_OUT the page
# goes there too, if all of it was measured.
if [ -z "${MINI_BENCH_HOST:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "bench: containers and namespaces need root" >&2; exit 1; }
	export MINI_BENCH_HOST=1
	if [ -n "${BENCH_OUT:-}" ]; then
		unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" "$@" | tee "$BENCH_OUT.new"
		[ "${PIPESTATUS[0]}" = 0 ] && mv "$BENCH_OUT.new" "$BENCH_OUT"
		exit
	fi
	exec unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
fi
