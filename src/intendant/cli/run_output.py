"""What runs write, copied to our own stdout and stderr.

A single run's output is copied while it runs. Of several, the results are what counts: the stdout
of those that no other run comes after, in the order of the file, and their stderr. Of the others
the last lines are shown if they failed.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import click

from intendant.cli import render
from intendant.cli.inbox import Inbox, OutputDone
from intendant.cli.progress import Progress
from intendant.cli.sink import copy_log
from intendant.client.client import Client
from intendant.client.run import Stream
from intendant.client.shapes import RunInfo


class Output(Protocol):
    """Copies what runs write."""

    @property
    def is_done(self) -> bool:
        """Whether everything so far has been copied."""

    def on_changed(self, run: RunInfo) -> None:
        """A run as it is now."""

    def on_all_ended(self) -> None:
        """There will be no more."""

    def on_done(self) -> None:
        """A thread has copied what it had to."""


class LiveOutput:
    """The output of one run as it is written: two threads for each of its attempts."""

    def __init__(self, client: Callable[[], Client], inbox: Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._attempt = 0
        self._copying = 0

    @property
    def is_done(self) -> bool:
        """Whether both streams have reached their end."""
        return self._copying == 0

    def on_changed(self, run: RunInfo) -> None:
        """Follow a new attempt."""
        if run["attempt"] <= self._attempt or not run["started_at"]:
            return
        self._attempt = run["attempt"]
        for stream in _STREAMS:
            self._copying += 1
            self._inbox.start(stream, self._follow(run, stream))

    def on_all_ended(self) -> None:
        """The streams end by themselves."""

    def on_done(self) -> None:
        """One stream has ended."""
        self._copying -= 1

    def _follow(self, run: RunInfo, stream: Stream) -> Callable[[], None]:
        def follow() -> None:
            with self._client() as client:
                pieces = client.logs(run["id"], follow=True, stream=stream, attempt=run["attempt"])
                copy_log(pieces, getattr(sys, stream))
            self._inbox.put(OutputDone())

        return follow


class OrderedOutput:
    """The output of several runs as they end: one thread, which never copies two at once."""

    def __init__(
        self,
        client: Callable[[], Client],
        inbox: Inbox,
        leaves: Sequence[int],
        progress: Progress,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._leaves = list(leaves)
        self._progress = progress
        self._ended: queue.SimpleQueue[RunInfo | None] = queue.SimpleQueue()
        self._seen: set[int] = set()
        self.is_done = False
        inbox.start("output", self._copy_all)

    def on_changed(self, run: RunInfo) -> None:
        """Hand over a run that has ended, once."""
        if run["outcome"] is not None and run["id"] not in self._seen:
            self._seen.add(run["id"])
            self._ended.put(run)

    def on_all_ended(self) -> None:
        """Let the thread finish."""
        self._ended.put(None)

    def on_done(self) -> None:
        """The thread has finished."""
        self.is_done = True

    def _copy_all(self) -> None:
        waiting, ended = list(self._leaves), dict[int, RunInfo]()
        with self._client() as client:
            while (run := self._ended.get()) is not None:
                ended[run["id"]] = run
                if run["id"] in self._leaves:
                    self._copy(client, run, "stderr")
                elif run["outcome"] in _FAILED:
                    self._show_tail(client, run)
                while waiting and waiting[0] in ended:
                    self._copy(client, ended[waiting.pop(0)], "stdout")
        self._inbox.put(OutputDone())

    def _copy(self, client: Client, run: RunInfo, stream: Stream) -> None:
        if run["started_at"] is not None:
            with self._progress.hidden():
                copy_log(client.logs(run["id"], stream=stream), getattr(sys, stream))

    def _show_tail(self, client: Client, run: RunInfo) -> None:
        """The end of what it wrote, of its stderr if there is any."""
        streams: tuple[Stream, ...] = ("stderr", "stdout")
        for stream in streams:
            lines = tail(client.logs(run["id"], stream=stream))
            if lines:
                with self._progress.hidden():
                    click.echo(f"intendant: {render.ending(run)}; its {stream}:", err=True)
                    copy_log([lines], sys.stderr)
                return


def tail(pieces: Iterable[bytes]) -> bytes:
    """The last lines of a log, however long it is."""
    kept = b""
    for piece in pieces:
        kept = (kept + piece)[-_TAIL_BYTES:]
    lines = kept.splitlines(keepends=True)[-_TAIL_LINES:]
    return b"".join(lines).removesuffix(b"\n") + b"\n" if lines else b""


_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_FAILED = ("failed", "timed_out")
_TAIL_LINES = 20
_TAIL_BYTES = 8192
