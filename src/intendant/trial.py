"""What the objective of a study knows of its trial, and how it reports.

    from intendant import trial

    def objective(lr):
        model = load(trial.checkpoint()) if trial.checkpoint() else Model(lr)
        while model.epoch < 100:
            loss = model.train()
            model.save(trial.folder() / "model")
            decision = trial.report(loss=loss, checkpoint=trial.folder() / "model")
            if decision is not trial.Decision.CONTINUE:
                return

Outside of a study all of it works too: there are no parameters, and each report is answered with
CONTINUE. Commands in any language report with `intendant trial report loss=0.1`, or with a line of
JSON on the descriptor that INTENDANT_TRIAL_FD names.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from intendant.errors import InvalidRequest, ReportRefused, Unreachable
from intendant.protocol.trial_states import Decision

__all__ = ["Decision", "checkpoint", "folder", "number", "params", "report"]

Conversation: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Says something to the study, returns its answer."""

MAX_LINE_BYTES = 1024 * 1024

_lock = threading.Lock()
_order: Mapping[str, Any] = {}
_talk: Conversation | None = None


def report(
    metrics: Mapping[str, object] | None = None,
    *,
    step: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    **more: object,
) -> Decision:
    """Say how the trial does; what it is to do: go on, or end (STOP, or PAUSE to go on later).

    `step` grows from report to report and counts by itself if left out. `checkpoint` is a folder
    (or a file) that the trial could go on from; the study keeps a copy. `ReportRefused` if the
    report makes no sense.
    """
    said: dict[str, Any] = {"metrics": {**(metrics or {}), **more}}
    if step is not None:
        said["step"] = step
    if checkpoint is not None:
        said["checkpoint"] = str(Path(checkpoint).absolute())
    with _lock:
        answer = _conversation()(said)
    if "refused" in answer:
        raise ReportRefused(answer["refused"])
    return Decision(answer["decision"])


def params() -> dict[str, Any]:
    """The trial's parameters."""
    return dict(_known("params", "INTENDANT_TRIAL_PARAMS", json.loads) or {})


def number() -> int | None:
    """The trial's number; None outside of a study."""
    found: int | None = _known("trial", "INTENDANT_TRIAL", int)
    return found


def checkpoint() -> Path | None:
    """The folder to go on from; None: begin at the beginning."""
    found: Path | None = _known("checkpoint", "INTENDANT_TRIAL_CHECKPOINT", Path)
    return None if found is None else Path(found)


def folder() -> Path:
    """A folder of the trial's own; the current one outside of a study."""
    return Path(_known("folder", "INTENDANT_TRIAL_DIR", Path) or Path.cwd())


def begin(order: Mapping[str, Any], talk: Conversation) -> None:
    """Be this trial from now on; the process of a trial calls it."""
    global _order, _talk
    _order, _talk = order, talk


def _known(key: str, variable: str, convert: Callable[[str], Any]) -> Any:
    if _talk is not None:
        return _order[key]
    text = os.environ.get(variable)
    return convert(text) if text else None


def _conversation() -> Conversation:
    if _talk is not None:
        return _talk
    path = os.environ.get("INTENDANT_TRIAL_SOCKET")
    return (lambda _: {"decision": Decision.CONTINUE}) if path is None else _over_socket(Path(path))


def _over_socket(path: Path) -> Conversation:
    """Each report in a connection of its own to the study's socket."""
    trial = os.environ.get("INTENDANT_TRIAL", "")

    def talk(said: dict[str, Any]) -> dict[str, Any]:
        with connected(path) as channel:
            channel.sendall(as_line({"trial": int(trial), **plain(said)}))
            with channel.makefile("rb") as answers:
                answer = answers.readline(MAX_LINE_BYTES)
        if not answer:
            raise Unreachable("the study has ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    return talk


def connected(path: Path) -> socket.socket:
    """A connection to a socket, however long its path is: unix(7) takes 107 bytes."""
    channel = socket.socket(socket.AF_UNIX)
    try:
        home = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            channel.connect(f"/proc/self/fd/{home}/{path.name}")
        finally:
            os.close(home)
    except OSError as error:
        channel.close()
        raise Unreachable(f"the study can't be reached at {path}: {error.strerror}") from error
    return channel


def as_line(said: Mapping[str, Any]) -> bytes:
    """A line of JSON; `ReportRefused` for one that the study would not read to its end."""
    line = json.dumps(said).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ReportRefused(too_long(len(line)))
    return line


def too_long(size: int) -> str:
    """What is said of a report of so many bytes."""
    return f"the report has {size} bytes, expected at most {MAX_LINE_BYTES}"


def plain(said: Mapping[str, Any]) -> dict[str, Any]:
    """A report as JSON can hold it: numbers of numpy's and the like as numbers."""
    return {key: _plain(value) for key, value in said.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    if hasattr(value, "__float__"):
        return float(value)
    raise InvalidRequest(f"{value!r} in a report is neither a number nor a text")
