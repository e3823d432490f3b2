#!/bin/bash
# For `make test`: every fuzz target against its corpus and on from there: in CI (CI=true) a minute for those that read what
# strangers send, 5 s for the others; else 10 s each (FUZZ_SECONDS=N to choose). Speaks TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
export B=${B:-build}
dir=$(clang -print-runtime-dir 2>/dev/null)
if ! command -v clang >/dev/null; then
	echo "ok 1 - fuzz targets # SKIP clang is not installed"
	exit 0
elif ! ls "$dir"/libclang_rt.fuzzer-*.a "$dir"/libclang_rt.fuzzer.a >/dev/null 2>&1 &&
	! ls "$(dirname "$dir")"/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1; then
	echo "ok 1 - fuzz targets # SKIP clang's fuzzer runtime (libclang-rt-dev) is not installed"
	exit 0
fi
base=${B%/san-*}
if ! out=$(make -s -j2 BASE="$base" SAN= fuzz-build 2>&1); then
	echo "not ok 1 - fuzz targets build"
	grep -vE '^  (CC|LD) ' <<<"$out" | tail -n 30 | sed 's/^/# /'
	exit 1
fi
default=10 rest=10
[ "${CI:-}" = true ] && default=60 rest=5
B=$base SECONDS_EACH=${FUZZ_SECONDS:-$default} SECONDS_REST=${FUZZ_SECONDS:-$rest} exec tests/fuzz/run.sh
