"""Processes that SIGKILL does not get rid of: what is traced stays until its tracer has gone.

An ended process that is traced can be reaped by its tracer alone (ptrace(2)); its parent has to
wait for both. To the parent that is a child that outlives SIGKILL, as one that is stuck in the
kernel would be.

    python undying.py workload READY-FILE     says who it is, and waits to be held
    python undying.py hold PID                holds PID until end-of-file
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)
_PTRACE_SEIZE = 0x4206


def workload(ready: Path) -> list[str]:
    """A command that can be held; its pid is in the file as soon as it is ready for that."""
    return [sys.executable, "-S", "-E", __file__, "workload", str(ready)]


@contextmanager
def held(pid: int) -> Iterator[None]:
    """Within the block this process, though it may be dead, does not go."""
    command = [sys.executable, "-S", "-E", __file__, "hold", str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            tracer.stdin.close()
            tracer.wait()


def _wait_to_be_held(ready: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
    fresh = Path(f"{ready}.new")
    fresh.write_text(str(os.getpid()))
    fresh.rename(ready)
    while True:
        signal.pause()


def _hold(pid: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(_PTRACE_SEIZE, int(pid), 0, 0) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    {"workload": _wait_to_be_held, "hold": _hold}[sys.argv[1]](sys.argv[2])
