"""A child that waits, in its place already, to become the workload.

A workload must be in its cgroup from its first instruction on, and moving a process into a cgroup
takes the kernel 5 to 20 ms, for which every fork on the machine waits (cgroup_threadgroup_rwsem).
Being born there is cheap: clone3(2) with CLONE_INTO_CGROUP. But a governor can't fork any more
once its event loop runs; so it forks its child before that. The stub leads a process group of its
own, waits for a program and its descriptors, and executes it.

Where clone3 is refused the stub is forked in the usual way and joins its cgroup by itself.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NoReturn

from intendant.process.cgroup import Cgroup
from intendant.process.clone import fork_bare

_LENGTH = struct.Struct("!Q")
_MAX_FDS = 64


@dataclass(frozen=True, slots=True)
class Program:
    """What to become. `descriptors` says under which number the program finds each of them."""

    argv: Sequence[bytes]
    environment: Mapping[bytes, bytes] = field(repr=False)
    folder: Path
    umask: int | None
    descriptors: Mapping[int, int]
    """From the number in the program to the descriptor here."""


class Stub:
    """The waiting child, from its parent's side."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._is_waiting = True

    @classmethod
    def fork(cls, cgroup: Cgroup | None) -> Stub:
        """Fork it. Only in a process with a single thread, no signal handlers, no zmq Context."""
        ours, theirs = socket.socketpair()
        pid, is_placed = _fork(cgroup)
        if pid == 0:
            _be_stub(theirs, None if is_placed else cgroup, close=ours)
        theirs.close()
        return cls(pid, ours)

    def become(self, program: Program) -> None:
        """Have it execute the program; the `OSError` of whatever step failed otherwise."""
        self._is_waiting = False
        with self._channel as channel:
            _send(channel, program)
            answer = channel.recv(4)
        if answer:  # end-of-file is success: the channel closes with the exec
            code = int.from_bytes(answer, "big")
            raise OSError(code, os.strerror(code))

    def dismiss(self) -> None:
        """Let it go, and reap it, if it has not become anything."""
        if not self._is_waiting:
            return
        self._is_waiting = False
        self._channel.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _fork(cgroup: Cgroup | None) -> tuple[int, bool]:
    """Fork; the pid (0 in the child), and whether the child is in its cgroup already."""
    try:
        if cgroup is None:
            return fork_bare(), True
        folder = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return fork_bare(folder), True
        finally:
            os.close(folder)
    except OSError:
        return os.fork(), cgroup is None


def _send(channel: socket.socket, program: Program) -> None:
    order = _encode(program)
    socket.send_fds(channel, [_LENGTH.pack(len(order))], list(program.descriptors.values()))
    channel.sendall(order)


def _encode(program: Program) -> bytes:
    """What is to be executed, but for the descriptors; no part can hold a NUL."""
    return b"\0".join(
        (
            os.fsencode(program.folder),
            b"" if program.umask is None else b"%d" % program.umask,
            b" ".join(b"%d" % number for number in program.descriptors),
            b"%d" % len(program.argv),
            *program.argv,
            *(b"%b=%b" % item for item in program.environment.items()),
        )
    )


def _decode(order: bytes, descriptors: Sequence[int]) -> Program:
    folder, umask, numbers, count, *words = order.split(b"\0")
    argv, variables = words[: int(count)], words[int(count) :]
    return Program(
        argv=argv,
        environment=dict(variable.split(b"=", 1) for variable in variables),
        folder=Path(os.fsdecode(folder)),
        umask=int(umask) if umask else None,
        descriptors=dict(zip(map(int, numbers.split()), descriptors, strict=True)),
    )


def _be_stub(channel: socket.socket, cgroup: Cgroup | None, *, close: socket.socket) -> NoReturn:
    """The child's side, to the exec or to its end."""
    status = 0
    try:
        close.close()
        os.setpgid(0, 0)
        if cgroup is not None:
            cgroup.join()
        _reset_signals()
        _set_title("intendant: stub")
        received = _receive(channel)
        if received is not None:
            _execute(channel, received)
    except BaseException as error:  # noqa: BLE001 the top of a process: whatever it was, say so
        code = error.errno if isinstance(error, OSError) else None
        channel.send((code or errno.EIO).to_bytes(4, "big"))
        status = 127
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reset_signals() -> None:
    """Nothing ignored, nothing blocked: neither what Python ignores (SIGPIPE) nor what the daemon
    was started with (a shell's background job ignores SIGQUIT). signal(7): exec keeps both.
    """
    for signum in ignored_signals():
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@cache
def ignored_signals() -> tuple[int, ...]:
    """What this process ignores, or did when it was first asked: a zygote asks once for all."""
    numbers = range(1, signal.NSIG)
    return tuple(each for each in numbers if signal.getsignal(each) == signal.SIG_IGN)


def _set_title(title: str) -> None:
    import setproctitle

    setproctitle.setproctitle(title)


def _receive(channel: socket.socket) -> Program | None:
    """What to become; `None` if the stub is not needed."""
    space = socket.CMSG_LEN(_MAX_FDS * array.array("i").itemsize)
    # Close-on-exec: the program gets their copies, under the numbers that it expects.
    head, ancillary, _, _ = channel.recvmsg(_LENGTH.size, space, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    return _decode(_receive_all(channel, *_LENGTH.unpack(head)), descriptors)


def _receive_all(channel: socket.socket, size: int) -> bytes:
    """So many bytes; `EOFError` where there will not be as many."""
    received = channel.recv(size, socket.MSG_WAITALL)
    while len(received) < size:  # it was stopped and continued meanwhile
        if not (more := channel.recv(size - len(received), socket.MSG_WAITALL)):
            raise EOFError
        received += more
    return received


def _execute(channel: socket.socket, program: Program) -> NoReturn:
    # Out of the way first, all of them and the channel, then each to its number.
    beyond = max(program.descriptors, default=2) + 1
    moved = {
        number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, beyond)
        for number, descriptor in program.descriptors.items()
    }
    kept = socket.socket(fileno=fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, beyond))
    try:
        channel.close()
        for number, descriptor in moved.items():
            os.dup2(descriptor, number, inheritable=True)
        os.chdir(program.folder)
        if program.umask is not None:
            os.umask(program.umask)
        os.execvpe(program.argv[0], list(program.argv), program.environment)  # noqa: S606 no shell is the point
    except BaseException as error:  # noqa: BLE001 nothing must look like an exec that succeeded
        code = error.errno if isinstance(error, OSError) else None
        kept.send((code or errno.EIO).to_bytes(4, "big"))
        os._exit(127)
