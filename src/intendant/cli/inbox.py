"""The events of `intendant run`, and the one queue they all go through."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from intendant.client.shapes import RunInfo


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run as it is now."""

    run: RunInfo


@dataclass(frozen=True, slots=True)
class AllEnded:
    """Every run has ended."""


@dataclass(frozen=True, slots=True)
class OutputDone:
    """A thread has copied all that it had to."""


@dataclass(frozen=True, slots=True)
class DaemonEnded:
    """The daemon is gone."""

    status: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A signal for us."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A thread could not do its work."""

    error: Exception


Event = RunChanged | AllEnded | OutputDone | DaemonEnded | Interrupted | Failed


class Inbox:
    """One queue, and the threads that fill it; they end with their streams, at the latest with us.

    `SimpleQueue.put` may be called from a signal handler, whatever it interrupts.
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.put(event)

    def get(self) -> Event:
        """The next event; waits for it."""
        return self._events.get()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Work in a thread; its failure is an event."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  whatever it is, the main thread must hear
                self.put(Failed(error))

        threading.Thread(target=guarded, name=name, daemon=True).start()
