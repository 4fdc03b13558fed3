"""The process of a step, or of several one after another: it is told of each by a socket.

    to it      one byte, with which come the pipes for what is printed, where there are any
               a frame for each attempt: eight bytes of length, then the order as JSON
    from it    a frame when the attempt is over: its report

End-of-file on the socket is the end of its work. Only the report says that a step succeeded.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from intendant.process.title import set_title
from intendant.workloads.calling import find_function, flush, wind_up
from intendant.workloads.pipeline.step_executor import StepExecutor, explained

LENGTH = struct.Struct("!Q")
GREETING = b"!"


def serve(channel: socket.socket) -> int:
    """Carry out each step that comes; the exit status of the process."""
    _, pipes, _, _ = socket.recv_fds(channel, len(GREETING), 2)
    for pipe in pipes:
        os.set_inheritable(pipe, False)
    if pipes:
        with suppress(OSError):  # the folder that we are in may be gone
            rehearse()
    signal.signal(signal.SIGTERM, _exit)  # before, it ends us at once: nothing has begun
    mine = os.getpid()
    with channel:
        while head := _received(channel, LENGTH.size):
            order = json.loads(_received(channel, *LENGTH.unpack(head)).decode())
            set_title(f"intendant: step {order['label']} {order['step']}")
            report = carry_out({**order, "output": pipes})
            if os.getpid() != mine:
                return 1  # a copy that the step's function has forked: only the original has a say
            channel.sendall(frame(report))
            if order["is_alone"]:
                break
    return 0


def _received(channel: socket.socket, size: int) -> bytes:
    """The next bytes, so many of them; fewer at end-of-file."""
    data = b""
    while missing := size - len(data):
        piece = channel.recv(missing, socket.MSG_WAITALL)
        if not piece:
            break
        data += piece
    return data


def rehearse() -> None:
    """A step that does nothing, before the first one is due: what comes first in a forked process
    is slow, for it copies the memory that it touches.
    """
    order = {
        "step": "", "folder": "", "cwd": str(Path.cwd()), "output": (1, 2), "is_alone": False,
        "workload": {"kind": "call", "target": "time:time"}, "parameters": {}, "artifacts": {},
        "pipeline": {}, "left": {}, "executor": None, "pickle": None, "cache": False,
    }  # fmt: skip
    variables = dict(os.environ)
    try:
        frame(carry_out(json.loads(json.dumps(order))))
    finally:
        os.environ.clear()
        os.environ.update(variables)


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """One attempt; its report, once all that it has printed is written."""
    try:
        report = _executor(order).execute()
    except Exception as error:  # noqa: BLE001  the edge around a class of the user's
        report = explained(error)
    if order["is_alone"]:
        wind_up()
    else:
        flush()
    return report


def _executor(order: dict[str, Any]) -> StepExecutor:
    if order["executor"] is None:
        return StepExecutor(order)
    if order["cwd"] not in sys.path:
        sys.path.insert(0, order["cwd"])
    made: Any = find_function(order["executor"])(order)
    if not isinstance(made, StepExecutor):
        raise TypeError(f"{order['executor']} makes {made!r}, expected a StepExecutor")
    return made


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  signal's signature
    """Being asked to end raises `SystemExit` where the function stands, so that it can clean up."""
    raise SystemExit(128 + number)


def frame(message: Mapping[str, Any]) -> bytes:
    """An order or a report as it travels."""
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


def main(descriptor: int) -> int:
    """The same in a fresh interpreter: `python -m intendant.workloads.pipeline.step_process FD`."""
    os.set_inheritable(descriptor, False)
    return serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1])))
