"""Waiting for conditions in tests: looked at often, with a bound, never for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
"""Long enough for a machine on which everything takes long; a test that waits this long fails."""
SLOWNESS_S = 20.0
"""What a machine that does other things as well may take beyond the time that is promised.

Whatever the promise is told apart from has to take longer: a deadline, a grace, a missed heartbeat.
"""


def wait_for(what: str, look: Callable[[], T], *, within_s: float = PATIENCE_S) -> T:
    """What `look` gives as soon as that is true; fails with `what` after `within_s`.

    Between two looks it sleeps for twice as long as a look takes: others need the machine.
    """
    deadline = time.monotonic() + within_s
    while True:
        began = time.monotonic()
        found = look()
        now = time.monotonic()
        if found:
            return found
        if now > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {found!r}")
        time.sleep(min(max(0.01, 2 * (now - began)), 0.5))
