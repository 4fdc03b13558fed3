"""The process of a trial, or of several one after another: it is told of each by a socket.

Both sides write lines of JSON:

    to it      the order; then an answer to each report, {"decision": …} or {"refused": …}
    from it    {"pid": …} when it begins; reports, {"metrics": …, "step": …, "checkpoint": …};
               {"over": {"metrics": …}} or {"over": {"error": …}} at the end

A command takes the process over: it finds the socket under the number that INTENDANT_TRIAL_FD
names and writes its metrics without further ado, {"loss": 0.1, "step": 3}; how it ended its exit
status says. This module imports little: it is loaded before every fork.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn

from intendant import trial
from intendant.process.identity import children
from intendant.process.title import set_title
from intendant.protocol.placeholders import filled
from intendant.workloads.calling import (
    Refusal,
    bound_call,
    find_function,
    flush,
    is_success,
    opened_call,
    why_it_failed,
    wind_up,
)
from intendant.workloads.results import reason

Order = Mapping[str, Any]


def serve(channel: socket.socket, *, pickle: str | None) -> int:
    """Carry out each trial that comes; the exit status of the process.

    `pickle` is the objective where it is a function that travelled itself, in base64.
    """
    signal.signal(signal.SIGTERM, _exit)
    mine = os.getpid()
    with channel, channel.makefile("rb") as lines:
        while line := lines.readline():
            order: dict[str, Any] = json.loads(line)
            set_title(f"intendant: trial {order['label']} {order['trial']}")
            _tell(channel, {"pid": os.getpid()})
            _redirect(Path(order["folder"]))
            if order["argv"] is not None:
                return _become_command(order, channel)
            over = _carried_out(order, channel, lines, pickle)
            if os.getpid() != mine:
                return 1  # a copy that the objective has forked: only the original has a say
            is_last = order["is_last"] or _has_left_something()
            if is_last:
                wind_up()
            _tell(channel, {"over": over, "is_last": is_last})
            if is_last:
                return 0
    return 0


def _carried_out(
    order: Order, channel: socket.socket, lines: BinaryIO, pickle: str | None
) -> dict[str, Any]:
    """Call the objective; how it ended."""

    def talk(said: dict[str, Any]) -> dict[str, Any]:
        channel.sendall(trial.as_line(trial.plain(said)))
        answer = lines.readline()
        if not answer:
            raise SystemExit(1)  # the study is gone, and its keepers end what it has started
        found: dict[str, Any] = json.loads(answer)
        return found

    trial.begin(order, talk)
    try:
        os.environ.update(_variables(order))
        sys.path[:0] = [order["cwd"]] if order["cwd"] not in sys.path else []
        function = (
            find_function(order["target"]) if pickle is None else opened_call(pickle).function
        )
        value = bound_call(function, order["params"])()
        if isinstance(value, Awaitable):
            import asyncio

            value = asyncio.run(_awaited(value))
        return {"metrics": _metrics(order, value)}
    except BaseException as error:  # noqa: BLE001  the edge around the user's code
        return {"metrics": None} if is_success(error) else {"error": why_it_failed(error)}
    finally:
        flush()


def _metrics(order: Order, value: object) -> dict[str, Any] | None:
    """What the objective returned: nothing, a number that is the metric, or metrics by name."""
    if value is None:
        return None
    if isinstance(value, str | bytes | bool):
        raise Refusal(reason("result", f"the objective returned {value!r}, expected a number"))
    metrics = trial.plain(value if isinstance(value, Mapping) else {order["metric"]: value})
    trial.as_line(
        {"over": {"metrics": metrics}, "is_last": False}
    )  # the study would not hear of what is too long
    return metrics


def _become_command(order: Order, channel: socket.socket) -> int:
    """Execute the command in this process's place; the exit status if it can't be."""
    argv = filled(order["argv"], order["params"])
    channel.set_inheritable(True)
    environment = {
        **os.environ,
        **_variables(order),
        "INTENDANT_TRIAL_PARAMS": json.dumps(order["params"]),
        "INTENDANT_TRIAL_DIR": order["folder"],
        "INTENDANT_TRIAL_CHECKPOINT": order["checkpoint"] or "",
        "INTENDANT_TRIAL_FD": str(channel.fileno()),
    }
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606  no shell is the point
    except OSError as error:
        from intendant.workloads.spawning import not_started

        why = not_started(error, argv[0], Path.cwd())
        _tell(channel, {"over": {"error": why.reason}, "is_last": True})
        return 127


def _variables(order: Order) -> dict[str, str]:
    return {
        "INTENDANT_TRIAL": str(order["trial"]),
        "INTENDANT_TRIAL_SOCKET": order["socket"],
    }


def _redirect(folder: Path) -> None:
    """What the trial prints, and what it starts, goes to files in its folder."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        stream.flush()
        descriptor = os.open(
            folder / ("stdout.log", "stderr.log")[number - 1],
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        os.dup2(descriptor, number)
        os.close(descriptor)


def _has_left_something() -> bool:
    """Whether the trial has left a process running, here or with the keeper: all of it must go."""
    return bool(children(os.getpid())) or len(children(os.getppid())) > 1


def _tell(channel: socket.socket, what: Mapping[str, Any]) -> None:
    channel.sendall(json.dumps(what).encode() + b"\n")


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  signal's signature
    """Being asked to end raises `SystemExit` where the objective stands: it can clean up."""
    raise SystemExit(128 + number)


async def _awaited(result: Any) -> object:
    return await result
