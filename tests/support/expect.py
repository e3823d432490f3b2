#!/usr/bin/python3
"""expect.py STEP... -- COMMAND...: run a command on a terminal of its own and go through the steps, each in 20 s times $SLOW.

  expect:REGEX   until what was printed since the last match has it
  send:TEXT      escapes as in Python: \\r, \\x03 (control-C), \\x04 (control-D)
  size:ROWSxCOLS the window's
  end:CODE       the command ends with this exit code (of what it prints until then nothing is kept for expect)
  kill:          SIGKILL, and its end

All it printed goes to standard output at the end. Exit code 0 when every step went well."""
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

steps, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
limit = 20 * float(os.environ.get("SLOW", "1"))
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, at, open_ = b"", 0, True


def read(deadline):
    global seen, open_
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if open_ and select.select([fd], [], [], left)[0]:
        try:
            got = os.read(fd, 65536)
        except OSError:
            got = b""
        open_ = bool(got)
        seen += got


def expect(pattern, deadline):
    global at
    while True:
        hit = re.search(pattern, seen[at:])
        if hit:
            at += hit.end()
            return
        if not open_:
            raise EOFError
        read(deadline)


def end(deadline):
    while open_:
        read(deadline)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def step(verb, arg, deadline):
    if verb == "expect":
        expect(arg.encode(), deadline)
    elif verb == "send":
        os.write(fd, arg.encode().decode("unicode_escape").encode("latin-1"))
    elif verb == "size":
        rows, columns = map(int, arg.split("x"))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    elif verb == "kill":
        os.kill(pid, signal.SIGKILL)
        end(deadline)
    else:
        code = end(deadline)
        if code != int(arg):
            raise ValueError(f"exit code {code}")


rc = 0
for s in steps:
    verb, _, arg = s.partition(":")
    try:
        step(verb, arg, time.monotonic() + limit)
    except (TimeoutError, EOFError, ValueError, OSError) as e:
        print(f"at step {s}: {type(e).__name__} {e}")
        rc = 1
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        break
sys.stdout.write(seen.decode(errors="replace"))
sys.exit(rc)
