"""What a zygote does ahead of its governors."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from intendant.governor.warmth import warm_up


def test_a_warm_up_leaves_no_event_loop_and_no_descriptor() -> None:
    asyncio.run(asyncio.sleep(0))  # the loop that others have left goes before, not meanwhile
    gc.collect()
    before = _descriptors()
    warm_up()
    assert _descriptors() == before
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}
