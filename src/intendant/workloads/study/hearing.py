"""Reports as they come: lines of JSON, from trials and, at the study's socket, from commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Hear = Callable[[Mapping[str, Any]], None]
"""Who is told of a line, or of the answer to it."""

_SHOWN_BYTES = 100
_NO_METRICS = frozenset({"step", "checkpoint", "metrics", "trial"})


@dataclass(frozen=True, slots=True)
class Said:
    """A report, as it came from a trial."""

    metrics: Mapping[str, object]
    step: int | None
    checkpoint: str | None


def report_in(said: Mapping[str, Any]) -> Said | str:
    """What a line says, or why it says nothing: metrics beside `step` and `checkpoint`."""
    if "unreadable" in said:
        return str(said["unreadable"])
    step, checkpoint = said.get("step"), said.get("checkpoint")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
        return f"found step {step!r}, expected a whole number"
    if checkpoint is not None and not isinstance(checkpoint, str):
        return f"found checkpoint {checkpoint!r}, expected a path"
    nested = said.get("metrics", {})
    if not isinstance(nested, Mapping):
        return f"found metrics {nested!r}, expected a table"
    own = {key: value for key, value in said.items() if key not in _NO_METRICS}
    return Said({**nested, **own}, step, checkpoint)


class Listener(Protocol):
    """Whoever hears the reports that come to the socket."""

    def hear(self, number: int, said: Mapping[str, Any], answer: Hear) -> None:
        """A report of a trial; `answer` is called once, with what it is told."""


async def serve_reports(
    listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection of `intendant trial report`: a report, its answer."""
    answered: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

    def answer(what: Mapping[str, Any]) -> None:
        if not answered.done():
            answered.set_result(what)

    try:
        said = _parsed(await reader.readline())
        if isinstance(said, str):
            answer({"refused": said})
        else:
            listener.hear(said["trial"], said, answer)
        writer.write(json.dumps(await answered).encode() + b"\n")
        await writer.drain()
    except (ConnectionError, ValueError):  # it is gone, or its line has no end
        pass
    finally:
        writer.close()


def _parsed(line: bytes) -> Mapping[str, Any] | str:
    """The report on a line, with the number of its trial; or what is wrong with it."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    number = said.get("trial") if isinstance(said, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        return f"found {line[:_SHOWN_BYTES]!r}, expected a JSON object with the number of a trial"
    return dict(said)
