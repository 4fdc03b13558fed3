"""The trials of a study on a terminal while somebody waits for it: the best first, counts below."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from intendant.cli import render
from intendant.cli.progress import Progress
from intendant.client.client import Client
from intendant.client.shapes import RunInfo
from intendant.errors import IntendantError

REFRESH_S = 1.0
SHOWN = 20


@contextmanager
def trials_shown(
    progress: Progress, make_client: Callable[[], Client]
) -> Iterator[Callable[[RunInfo], None]]:
    """Draw the trials of the study that runs above the bar, anew each second.

    Gives the function that is to be told of every change of a run.
    """
    if not progress.is_shown:
        yield lambda _: None
        return
    view = _View(progress, make_client)
    try:
        yield view.look_at
    finally:
        view.close()


class _View:
    """One thread, which draws until the study has ended or nobody waits any more."""

    def __init__(self, progress: Progress, make_client: Callable[[], Client]) -> None:
        self._progress = progress
        self._make_client = make_client
        self._closed = threading.Event()
        self._run_id: int | None = None
        self._thread: threading.Thread | None = None

    def look_at(self, run: RunInfo) -> None:
        """The study that runs, if it is one."""
        if run["kind"] != "study":
            return
        self._run_id = run["id"]
        if self._thread is None and run["state"] == "running":
            self._thread = threading.Thread(target=self._draw, name="trials", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Draw no more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(REFRESH_S)

    def _draw(self) -> None:
        try:
            with self._make_client() as client:
                while not self._closed.wait(REFRESH_S):
                    page = client.trials([self._run_id or 0], best_first=True, limit=SHOWN)
                    self._progress.show_above(render.trials(page, render.clock()))
        except IntendantError:  # the daemon has gone, of which others hear too
            return
