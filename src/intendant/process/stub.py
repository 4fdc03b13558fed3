"""A child that waits, in its place already, to become the workload.

A workload must be in its cgroup from its first instruction on, and moving a process into a cgroup
takes the kernel 5 to 20 ms, for which every fork on the machine waits (cgroup_threadgroup_rwsem).
Being born there is cheap: clone3(2) with CLONE_INTO_CGROUP. But a governor can't fork any more
once it holds an event loop and a zmq Context; so it forks its child before it makes them. The stub
leads a process group of its own, waits for a program and its descriptors, and executes it.

Where clone3 is refused the stub is forked in the usual way and joins its cgroup by itself.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from intendant.process.cgroup import Cgroup
from intendant.process.clone import fork_into

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
    def fork(cls, cgroup: Cgroup | None, *, title: str) -> Stub:
        """Fork it. Only in a process with a single thread, no event loop and no zmq Context."""
        ours, theirs = socket.socketpair()
        pid, is_placed = _fork_into(cgroup)
        if pid == 0:
            _be_stub(theirs, None if is_placed else cgroup, close=ours, title=title)
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


def _fork_into(cgroup: Cgroup | None) -> tuple[int, bool]:
    """Fork; the pid (0 in the child), and whether the child is in its cgroup already."""
    if cgroup is None:
        return os.fork(), True
    try:
        folder = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return fork_into(folder), True
        finally:
            os.close(folder)
    except OSError:
        return os.fork(), False


def _send(channel: socket.socket, program: Program) -> None:
    order = json.dumps(
        {
            # Latin-1 maps bytes to characters one to one, whatever they mean.
            "argv": [argument.decode("latin-1") for argument in program.argv],
            "environment": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in program.environment.items()
            ],
            "folder": os.fsencode(program.folder).decode("latin-1"),
            "umask": program.umask,
            "numbers": list(program.descriptors),
        }
    ).encode()
    socket.send_fds(channel, [_LENGTH.pack(len(order))], list(program.descriptors.values()))
    channel.sendall(order)


def _be_stub(
    channel: socket.socket, cgroup: Cgroup | None, *, close: socket.socket, title: str
) -> NoReturn:
    """The child's side, to the exec or to its end."""
    status = 0
    try:
        close.close()
        os.setpgid(0, 0)
        if cgroup is not None:
            cgroup.join()
        _reset_signals()
        _set_title(title)
        received = _receive(channel)
        if received is not None:
            _execute(channel, *received)
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
    for signum in range(1, signal.NSIG):
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_title(title: str) -> None:
    import setproctitle

    setproctitle.setproctitle(title)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The order and its descriptors; `None` if the stub is not needed."""
    space = socket.CMSG_LEN(_MAX_FDS * array.array("i").itemsize)
    # Close-on-exec: the program gets their copies, under the numbers that it expects.
    head, ancillary, _, _ = channel.recvmsg(_LENGTH.size, space, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    with channel.makefile("rb") as stream:
        order = json.loads(stream.read(*_LENGTH.unpack(head)))
    return order, list(descriptors)


def _execute(channel: socket.socket, order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    numbers: list[int] = order["numbers"]
    # Out of the way first, all of them and the channel, then each to its number.
    beyond = max(numbers, default=2) + 1
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, beyond) for each in descriptors]
    kept = socket.socket(fileno=fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, beyond))
    try:
        channel.close()
        for descriptor, number in zip(moved, numbers, strict=True):
            os.dup2(descriptor, number, inheritable=True)
        os.chdir(order["folder"].encode("latin-1"))
        if order["umask"] is not None:
            os.umask(order["umask"])
        argv = [argument.encode("latin-1") for argument in order["argv"]]
        environment = {
            name.encode("latin-1"): value.encode("latin-1") for name, value in order["environment"]
        }
        os.execvpe(argv[0], argv, environment)  # noqa: S606 no shell is the point
    except BaseException as error:  # noqa: BLE001 nothing must look like an exec that succeeded
        code = error.errno if isinstance(error, OSError) else None
        kept.send((code or errno.EIO).to_bytes(4, "big"))
        os._exit(127)
