"""Making very many objects at once, as from the spec of a pipeline of 10,000 steps.

The garbage collector looks through all of them again and again while they come into being, which
takes longer than making them, and once more when it may. None of them is garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 10_000
"""How many new objects are too many to be looked through."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile. Threads may overlap: the one that stopped it goes on."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_count()[0] > MANY:
                _let_all_be_old()
            gc.enable()


def _let_all_be_old() -> None:
    """As if the collector had looked through everything. What was frozen before stays frozen."""
    is_frozen = gc.get_freeze_count() > MANY  # CPython 3.12 keeps some hundreds there itself
    gc.freeze()
    if not is_frozen:
        gc.unfreeze()
