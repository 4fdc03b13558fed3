"""Making very many objects at once, as from the spec of a pipeline of 10,000 steps.

The garbage collector looks through all of them again and again while they come into being, which
takes longer than making them. None of them is garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile. Threads may overlap: the one that stopped it goes on."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
