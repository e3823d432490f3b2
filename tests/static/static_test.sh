#!/bin/bash
# What can be seen without running anything: layers, format, symbols, what the programs link, names that give a machine away.
# Speaks TAP. (`make lint` takes minutes and stands for itself.)
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
n=0 bad=0

# result NAME OUTPUT: passes when there is no output, which says what is wrong otherwise.
result() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		bad=$((bad + 1))
		echo "not ok $n - $1"
		sed 's/^/# /' <<<"$2" | head -n 20
	fi
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
quiet() { local out; out=$("$@" 2>&1) || echo "${out:-$* failed}"; }
defined() { nm -g --defined-only "$@" 2>/dev/null | awk '$2 ~ /^[TDBR]$/ { print $3 }'; }

result "rooms include only what is below them" "$(quiet make -s layers)"
if command -v clang-format >/dev/null; then
	result "every file has the project's format" \
		"$(quiet make -s check-format | grep -oE '^[^: ]+:[0-9]+' | cut -d: -f1 | sort | uniq -c)"
else
	skip "every file has the project's format" "clang-format is not installed"
fi

# The consensus core asks the world for memory, and for nothing else.
result "raft needs only memory from libc" "$(
	[ -e "$B/raft.a" ] || echo "no $B/raft.a"
	nm -u "$B/raft.a" | awk '$1 == "U" { print $2 }' | sort -u | grep -vxF -f <(defined "$B/raft.a") |
		grep -vxE '(malloc|calloc|realloc|free|abort|qsort|mem(cpy|move|set|cmp)|__(asan|ubsan|tsan)_.*|__stack_chk_fail|__tsan_.*|__memcpy_chk|_GLOBAL_OFFSET_TABLE_)'
)"

# One name, one meaning, within each program.
archives=$(ls "$B"/*.a 2>/dev/null | grep -vE '/(runtime|llhttp)\.a$')
result "no global symbol of minid is defined twice" "$(for a in $archives; do defined "$a"; done | sort | uniq -d)"
result "no global symbol of minirun is defined twice" "$(for a in "$B"/runtime.a "$B"/lib-core.a; do defined "$a"; done | sort | uniq -d)"

# Nothing names the machine that it was written on, or one that packages came from.
result "no file names a developer's path or a package host" "$(
	git ls-files -z 2>/dev/null | grep -zv '^tests/static/' |
		xargs -0 grep -nIE '(^|[^[:alnum:]_.-])/(work|home/[a-z]+)/|/tmp/b-|deb\.debian\.org|(pypi|registry\.npmjs|proxy\.golang)\.org' -- | head -n 20
)"
result "no sentence is left to be written later" "$(
	git ls-files -z '*.[ch]' '*.sh' 2>/dev/null | grep -zv '^tests/static/' | xargs -0 grep -nE '\b(TODO|FIXME|XXX)\b' -- | head -n 20
)"
result "no source file is beyond 800 lines" "$(git ls-files -z '*.[ch]' ':!tests' 2>/dev/null | xargs -0 wc -l | awk '$1 > 800 && $2 != "total"')"

# Release builds depend on libc only.
if [[ $B == *san-* ]]; then
	skip "the programs depend on libc only" "sanitizers link shared libraries"
else
	result "the programs depend on libc only" "$(
		for p in minid minictl; do
			ldd "$B/$p" 2>&1 | awk '{ print $1 }' | grep -vE '^(linux-vdso\.so\.1|lib[cm]\.so\.6|/lib.*/ld-linux.*)$' | sed "s/^/$p: /"
		done
		for p in minirun pause; do
			file=$(ldd "$B/$p" 2>&1) && grep -v "statically linked" <<<"$file" | sed "s/^/$p: /"
		done
	)"
fi
# Sizes that nobody would notice growing. KB, stripped.
if [[ $B != *san-* ]]; then
	tmp=$(mktemp)
	trap 'rm -f "$tmp"' EXIT
	while read -r p limit; do
		strip -o "$tmp" "$B/$p" 2>/dev/null
		kb=$(($(stat -c %s "$tmp") / 1024))
		wrong=
		[ "$kb" -gt 0 ] && [ "$kb" -le "$limit" ] || wrong="it has $kb KB"
		result "$p has at most $limit KB ($kb)" "$wrong"
	done <<-SIZES
		minid 6000
		minictl 4000
		minirun 1800
		pause 800
	SIZES
fi
echo "1..$n"
[ "$bad" = 0 ]
