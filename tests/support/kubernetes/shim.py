"""Process 1 of a container on the double: runs one command and ends everything that it started.

`python shim.py PARENT COMMAND...`. As in a container, SIGTERM reaches the command only if it handles it, the
end of the command ends all its descendants, and the exit code is 128 + N for signal N. SIGUSR1 kills all; the
kernel sends it when the test process dies.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

LIBC = ctypes.CDLL(None)
PDEATHSIG, SUBREAPER = 1, 36


def children(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *children(child)]
    return found


def kill_all(*_: object) -> None:
    for pid in children(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def handles(pid: int, number: int) -> bool:
    """Whether the process catches the signal: process 1 of a container gets no other."""
    with open(f"/proc/{pid}/status") as file:
        mask = next(line.split()[1] for line in file if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def run(command: list[str]) -> None:
    """Become the command, in a session of its own."""
    LIBC.prctl(PDEATHSIG, signal.SIGKILL)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)


def main(parent: int, command: list[str]) -> int:
    LIBC.prctl(SUBREAPER, 1)
    LIBC.prctl(PDEATHSIG, signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    if os.getppid() != parent:  # it died before the line above
        return 137
    child = os.fork()
    if not child:
        run(command)

    def stop(number: int, _: object) -> None:
        if handles(child, number):
            os.kill(child, number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, kill_all)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGUSR1])
    ended = status = 0
    while ended != child:
        ended, status = os.wait()
    while children(os.getpid()):
        kill_all()
        os.wait()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), sys.argv[2:]))
