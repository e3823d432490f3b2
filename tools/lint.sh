#!/bin/sh
# clang-tidy over the given sources, with the checks in .clang-tidy; two at a time.
set -eu
flags="-std=gnu17 -I. -I${B:-build}/gen -I/usr/share/include/llhttp -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wno-unknown-warning-option"
files=$(printf '%s\n' "$@" | grep '\.c$' | grep -v '^tests/') || { echo "lint: no files" >&2; exit 1; }
printf '%s\n' $files | xargs -P 2 -I{} clang-tidy --quiet --warnings-as-errors='*' {} -- $flags 2>/dev/null
echo "lint: ok, $(printf '%s\n' $files | wc -l) files"
