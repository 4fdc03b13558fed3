"""The process of a step, or of several one after another: it is told of each by a socket.

    to it      a frame: eight bytes of length, then the order as JSON
    from it    one byte when the attempt is over and its report is in its file

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
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from intendant.workloads.calling import find_function, wind_up
from intendant.workloads.pipeline.step_executor import REPORT_FILE, StepExecutor, explained

LENGTH = struct.Struct("!Q")
OVER = b"."


def serve(channel: socket.socket) -> int:
    """Carry out each step that comes; the exit status of the process."""
    import setproctitle

    signal.signal(signal.SIGTERM, _exit)
    with channel, channel.makefile("rb") as orders:
        while head := orders.read(LENGTH.size):
            order = json.loads(orders.read(*LENGTH.unpack(head)))
            setproctitle.setproctitle(f"intendant: step {order['label']} {order['step']}")
            carry_out(order)
            channel.send(OVER)
    return 0


def carry_out(order: dict[str, Any]) -> None:
    """One attempt, with its report in its folder at the end."""
    try:
        report = _executor(order).execute()
    except Exception as error:  # noqa: BLE001  the edge around a class of the user's
        report = explained(error)
    if order["is_alone"]:
        wind_up()
    path = Path(order["folder"], REPORT_FILE)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
    draft.rename(path)


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


def frame(order: Mapping[str, Any]) -> bytes:
    """An order as it travels."""
    data = json.dumps(order).encode()
    return LENGTH.pack(len(data)) + data


def main(descriptor: int) -> int:
    """The same in a fresh interpreter: `python -m intendant.workloads.pipeline.step_process FD`."""
    os.set_inheritable(descriptor, False)
    return serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1])))
