"""os.fork() with what only clone3(2) can do: a parent, or a cgroup, of one's choice from birth."""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE3 = 435
_CLONE_PARENT = 0x8000
_CLONE_INTO_CGROUP = 0x2_0000_0000


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
    return _clone(_Arguments(flags=_CLONE_PARENT))


def fork_into(cgroup: int) -> int:
    """Fork a child that is born in a cgroup, given by a descriptor of its folder; as os.fork()."""
    return _clone(_Arguments(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=cgroup))


def _clone(arguments: _Arguments) -> int:
    libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: the GIL is held, as in os.fork()
    libc.syscall.restype = ctypes.c_long
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = libc.syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    code = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, os.strerror(code))
    return pid
