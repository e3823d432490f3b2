#!/usr/bin/env python3
"""Prove the include table of the architecture from the #include lines: each room includes only what is below it."""
import os
import re
import sys

# room -> rooms whose headers it may include (itself always)
LIB = {"lib/core", "lib/net", "lib/api", "lib/client"}
MAY = {
    "lib/core": set(),
    "lib/net": {"lib/core"},
    "lib/api": {"lib/core"},
    "lib/client": LIB,
    "raft": set(),
    "store": {"raft", "lib/core", "lib/net"},
    "apiserver": {"store"} | LIB,
    "controllers": {"lib/client", "lib/api", "lib/core"},
    "scheduler": {"lib/client", "lib/api", "lib/core"},
    "nodeagent": LIB,
    "proxy": LIB,
    "runtime": {"lib/core"},
    "cli/minictl": LIB,
    "cli": {"store", "apiserver", "controllers", "scheduler", "nodeagent", "proxy"} | LIB,
}


def room(path):
    best = ""
    for name in MAY:
        if path.startswith(name + "/") and len(name) > len(best):
            best = name
    return best


def main():
    bad = files = 0
    top = sys.argv[1] if len(sys.argv) > 1 else "."
    for base, dirs, names in os.walk(top):
        dirs[:] = [d for d in dirs if d not in ("build", ".git", "tests")]
        for n in names:
            if not n.endswith((".c", ".h")):
                continue
            path = os.path.relpath(os.path.join(base, n), top)
            mine = room(path)
            if not mine:
                continue
            files += 1
            for i, line in enumerate(open(os.path.join(base, n), encoding="utf-8"), 1):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not m:
                    continue
                theirs = room(m.group(1))
                if theirs and theirs != mine and theirs not in MAY[mine]:
                    print(f"{path}:{i}: {mine} may not include {theirs} ({m.group(1)})")
                    bad += 1
    print(f"layers: {files} files, {bad} forbidden includes")
    return 1 if bad or not files else 0


sys.exit(main())
