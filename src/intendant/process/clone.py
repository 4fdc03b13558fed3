"""os.fork() with what only clone3(2) can do: a parent, or a cgroup, of one's choice from birth."""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE3 = 435
_CLONE_PARENT = 0x8000
_CLONE_INTO_CGROUP = 0x2_0000_0000
_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: the GIL is held, as in os.fork()
_libc.syscall.restype = ctypes.c_long


class _Arguments(ctypes.Structure):
    """struct clone_args of clone3(2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size",
            "tls", "set_tid", "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


def fork_sibling() -> int:
    """Fork a child of our own parent; its pid, and 0 in the child. Our parent reaps it."""
    # No signal of its own: the child's end is told as ours would be.
    arguments = _Arguments(flags=_CLONE_PARENT)
    ctypes.pythonapi.PyOS_BeforeFork()
    try:
        pid = _clone(arguments)
    except OSError:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        raise
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid


def fork_bare(cgroup: int | None = None) -> int:
    """Fork a child that is soon to execute a program; born in `cgroup`, a descriptor of its folder.

    Nothing is done that Python does at a fork for a child that goes on (seeds drawn, locks made
    anew): a millisecond's third. Only in a process with a single thread.
    """
    arguments = _Arguments(exit_signal=signal.SIGCHLD)
    if cgroup is not None:
        arguments.flags, arguments.cgroup = _CLONE_INTO_CGROUP, cgroup
    return _clone(arguments)


def _clone(arguments: _Arguments) -> int:
    pid: int = _libc.syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid
