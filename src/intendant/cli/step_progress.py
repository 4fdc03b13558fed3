"""The steps of a pipeline while it runs: a tree on a terminal, a line for each end elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from threading import RLock
from typing import TYPE_CHECKING, Protocol, TextIO

from intendant.cli import render
from intendant.cli.escapes import visible
from intendant.client.shapes import RunInfo, StepInfo

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_MIN_ROOM = 5
_MARKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "green"),
    "succeeded": ("✔", "blue"),
    "cached": ("≡", "cyan"),
    "kept": ("≡", "blue"),
    "skipped": ("○", "dim"),
    "not_run": ("○", "yellow"),
}
_BAD = ("✘", "red")
_GOOD = ("succeeded", "cached")
_URGENCY = ("running", "failed", "timed_out", "aborted")


class StepProgress(Protocol):
    """Shows how far the steps of one pipeline are."""

    def show(self, step: StepInfo) -> None:
        """A step as it is now."""

    def hidden(self) -> AbstractContextManager[None]:
        """Room for other output to the same terminal."""


class StepLines:
    """A line for each attempt that has ended, and for each step that ends without one."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._steps: dict[str, StepInfo] = {}
        self._told: set[tuple[str, int, str]] = set()

    def show(self, step: StepInfo) -> None:
        """Write the line, once."""
        self._steps[step["name"]] = step
        outcome = step.get("outcome")
        what = (step["name"], step.get("attempt", 0), outcome or "")
        if outcome is None or what in self._told:
            return
        self._told.add(what)
        ended = sum(each["state"] == "ended" for each in self._steps.values())
        self._stream.write(f"intendant: [{ended}/{self._total}] {describe(step)}\n")
        self._stream.flush()

    def hidden(self) -> AbstractContextManager[None]:
        """Lines are in nobody's way."""
        return nullcontext()


class StepTree:
    """The pipeline and its steps below it, drawn when something changed, erased at the end."""

    def __init__(self, live: Live, title: str) -> None:
        self._live = live
        self._title = title
        self._steps: dict[str, StepInfo] = {}
        self._lock = RLock()

    def show(self, step: StepInfo) -> None:
        """Draw it anew."""
        with self._lock:
            self._steps[step["name"]] = step
            room = max(self._live.console.height - 3, _MIN_ROOM)
            self._live.update(draw(self._title, self._steps.values(), room), refresh=True)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Erase the tree, and draw it again afterwards."""
        with self._lock:
            self._live.stop()
            try:
                yield
            finally:
                self._live.start()


def as_of(step: StepInfo, since: str) -> StepInfo:
    """The step as a run sees it that was queued then: an earlier end is kept, or is none.

    A pipeline that goes on begins with the steps of the run before it.
    """
    ended_at = step.get("finished_at")
    if step["state"] != "ended" or ended_at is None or _moment(ended_at) >= _moment(since):
        return step
    if step.get("outcome") in _GOOD:
        return {"name": step["name"], "state": "ended", "outcome": "kept"}
    return {"name": step["name"], "state": "pending"}


def count_of(pipeline: RunInfo) -> int:
    """How many steps a pipeline has."""
    workload = pipeline["spec"].get("workload")
    steps = workload.get("steps") if isinstance(workload, dict) else None
    return len(steps) if isinstance(steps, list) else 0


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def describe(step: StepInfo) -> str:
    """A step in one line: its name, how it is, how long it took, and why."""
    reason = step.get("reason")
    attempt = step.get("attempt", 0)
    parts = [
        f"step {step['name']}",
        step.get("outcome") or step["state"],
        f"after {render.step_took(step, render.clock())}" if step.get("started_at") else "",
        f"in attempt {attempt}" if attempt > 1 else "",
    ]
    return visible(" ".join(filter(None, parts)) + (f": {reason}" if reason else ""))


def chosen(steps: Collection[StepInfo], room: int) -> list[StepInfo]:
    """The steps that are worth the room, in their order: those that run, then those that failed,
    then those that changed last.
    """
    if len(steps) <= room:
        return list(steps)
    order = {step["name"]: at for at, step in enumerate(steps)}

    def worth(step: StepInfo) -> tuple[int, str, int]:
        standing = render.step_standing(step)
        urgency = len(_URGENCY) - _URGENCY.index(standing) if standing in _URGENCY else 0
        changed_at = step.get("finished_at") or step.get("started_at") or ""
        return urgency, changed_at, -order[step["name"]]

    best = sorted(steps, key=worth, reverse=True)[:room]
    return sorted(best, key=lambda step: order[step["name"]])


def draw(title: str, steps: Collection[StepInfo], room: int) -> Text:
    """The tree, in so many lines."""
    from rich.text import Text

    shown = chosen(steps, room)
    text = Text(f"{visible(title)}  {render.count_steps(steps)}", style="bold", no_wrap=True)
    for at, step in enumerate(shown):
        standing = render.step_standing(step)
        mark, style = _MARKS.get(standing, _BAD)
        is_last = at == len(shown) - 1 and len(shown) == len(steps)
        text.append(f"\n{'└' if is_last else '├'}─ ", style="dim not bold")
        text.append(f"{mark} {describe(step).removeprefix('step ')}", style=f"{style} not bold")
    if len(shown) < len(steps):
        text.append(f"\n└─ … {len(steps) - len(shown)} more", style="dim not bold")
    return text


@contextmanager
def steps_on(stream: TextIO, title: str, total: int) -> Iterator[StepProgress]:
    """A tree on a terminal, while the block runs; lines on anything else. `total`: of the steps."""
    if not stream.isatty():
        yield StepLines(stream, total)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(
        console=Console(file=stream, highlight=False), transient=True, auto_refresh=False
    ) as live:
        yield StepTree(live, title)
