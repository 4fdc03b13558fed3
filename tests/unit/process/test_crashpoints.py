"""The list of crash points is complete, so that each of them is tried."""

from __future__ import annotations

import re
from pathlib import Path

import intendant
from intendant.process.crashpoints import POINTS


def test_every_crash_point_in_the_source_is_listed_and_every_listed_one_exists() -> None:
    found: set[str] = set()
    for path in Path(intendant.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r'crash_point\("([^"]+)"\)', path.read_text()))
    assert found == set(POINTS)
