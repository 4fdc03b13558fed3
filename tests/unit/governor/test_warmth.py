"""What a zygote does ahead of its governors."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from intendant.governor.warmth import warm_up


def test_a_warm_up_leaves_no_event_loop_and_no_descriptor() -> None:
    before = _descriptors()
    warm_up()
    assert _descriptors() - before == set()  # what other tests have left may go meanwhile
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def _descriptors() -> set[tuple[str, str]]:
    """Each with what it is: an event loop has sockets, and each socket a number of its own."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.add((path.name, str(path.readlink())))
    return found
