"""Making very many objects at once, as from the spec of a pipeline of 10,000 steps.

The garbage collector looks through all of them again and again while they come into being, which
takes longer than making them, and once more when it may. None of them is garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock

MANY = 10_000
"""How many new objects are too many to be looked through."""
LARGE = 64 * 1024
"""Characters of JSON out of which so many objects come that the collector would notice."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile. Threads may overlap: the last one out goes on."""
    _pause.enter()
    try:
        yield
    finally:
        _pause.leave()


def uncollected_if(is_large: bool) -> AbstractContextManager[None]:
    """`uncollected` for much; for little, at no cost."""
    return uncollected() if is_large else nullcontext()


class _Pause:
    """How many are inside now, and whether the collector was at work before the first came."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._was_enabled = False

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_enabled:
                if gc.get_count()[0] > MANY:
                    _let_all_be_old()
                gc.enable()


_pause = _Pause()
"""One for the process, as there is one collector."""


def _let_all_be_old() -> None:
    """As if the collector had looked through everything. What was frozen before stays frozen."""
    is_frozen = gc.get_freeze_count() > MANY  # CPython 3.12 keeps some hundreds there itself
    gc.freeze()
    if not is_frozen:
        gc.unfreeze()
