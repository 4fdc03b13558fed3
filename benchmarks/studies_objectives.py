"""The objectives of `studies`, in a module that imports nothing large."""

from __future__ import annotations

import time


def trivial(x: float) -> float:
    """The objective."""
    return x


def timed(x: float) -> dict[str, float]:
    """Says when it was called."""
    return {"loss": x, "at": time.time()}


def resting(x: float) -> float:
    """There for long enough to be looked at."""
    time.sleep(60)
    return x
