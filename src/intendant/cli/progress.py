"""Progress of runs on a terminal; nothing anywhere else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TextIO

from intendant.cli.escapes import visible
from intendant.client.shapes import RunInfo

if TYPE_CHECKING:
    import rich.progress
    import rich.text
    from rich.console import RenderableType

_NAMES_WIDTH = 50


class Progress(Protocol):
    """Shows how far runs are."""

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""

    def show(self, runs: Collection[RunInfo]) -> None:
        """The runs as they are now."""

    def show_above(self, text: str) -> None:
        """Lines above the bar, in the place of those before."""

    def hidden(self) -> AbstractContextManager[None]:
        """Room for other output to the same terminal."""


class NoProgress:
    """For those who are not looking."""

    is_shown = False

    def show(self, runs: Collection[RunInfo]) -> None:
        """Nothing."""

    def show_above(self, text: str) -> None:
        """Nothing."""

    def hidden(self) -> AbstractContextManager[None]:
        """Nothing to hide."""
        return nullcontext()


class TerminalProgress:
    """A bar that is drawn when something changed, and erased at the end.

    While it is hidden nobody waits for whoever hides it, who may write to a reader that does not
    read: what it would show is drawn when it comes back.
    """

    is_shown = True

    def __init__(
        self, bar: rich.progress.Progress, above: rich.text.Text, total: int | None
    ) -> None:
        self._bar = bar
        self._above = above
        self._total = total
        self._line: rich.progress.TaskID | None = None
        self._lock = Lock()
        self._hiding = Lock()

    def show(self, runs: Collection[RunInfo]) -> None:
        """Draw how many have ended, and which are running."""
        ended = sum(run["outcome"] is not None for run in runs)
        total = len(runs) if self._total is None else self._total
        what = describe(runs)
        with self._lock:
            if self._line is None:  # before the first word there is nothing to be shown
                self._line = self._bar.add_task(what, total=total, completed=ended)
            self._bar.update(self._line, total=total, completed=ended, description=what)
            self._bar.refresh()  # nothing, while it is hidden

    def show_above(self, text: str) -> None:
        """Draw the lines, cut off where the terminal ends."""
        with self._lock:
            self._above.plain = text
            self._bar.refresh()  # nothing, while it is hidden

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Erase the bar, and draw it again afterwards."""
        with self._hiding:
            with self._lock:
                self._bar.stop()
            try:
                yield
            finally:
                with self._lock:
                    self._bar.start()
                    self._bar.refresh()


def describe(runs: Collection[RunInfo]) -> str:
    """What is being waited for, in a few words."""
    live = [run for run in runs if run["state"] in ("starting", "running", "stopping")]
    names = visible(", ".join(run["name"] or str(run["id"]) for run in live))
    if not live:
        return "waiting"
    return names if len(names) <= _NAMES_WIDTH else f"{names[: _NAMES_WIDTH - 1]}…"


@contextmanager
def progress_on(stream: TextIO | None, *, total: int | None = None) -> Iterator[Progress]:
    """A bar on a terminal, while the block runs; nothing on anything else.

    `total` is how many runs there are; left out, as many as are shown.
    """
    if stream is None or not stream.isatty():
        yield NoProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class BarBelow(Bar):
        def get_renderables(self) -> Iterator[RenderableType]:
            if above.plain:
                yield above
            yield from super().get_renderables()

    above = Text(no_wrap=True, overflow="ellipsis")
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    console = Console(file=stream)
    with BarBelow(*columns, console=console, transient=True, auto_refresh=False) as bar:
        yield TerminalProgress(bar, above, total)
