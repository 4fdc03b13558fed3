"""Which runs a request is about: `3`, `1,3,5-8`, `last`, `all`."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_RUN_ID = 2**63 - 1
"""The largest id that a 64-bit row number can hold."""

_EXPECTED = "an id, 1,3,5-8, last or all ('intendant ls' shows the ids)"
_PART = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")


@dataclass(frozen=True, slots=True)
class Selection:
    """The parsed form: ids that must exist, ranges that must hold at least one run, two words."""

    ids: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()
    last: bool = False
    all: bool = False


def parse_selection(texts: list[str]) -> Selection:
    """Several selectors together; `ValueError` names the part that is none."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    words = {part for part in parts if part in ("last", "all")}
    ids: dict[int, None] = {}
    ranges = []
    for part in parts:
        if part in words:
            continue
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no run: expected {_EXPECTED}")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last <= MAX_RUN_ID:
            raise ValueError(f"{part!r} is no run: ids start at 1 and ranges go upwards")
        if found[2] is None:
            ids[first] = None
        else:
            ranges.append((first, last))
    if not (ids or ranges or words):
        raise ValueError(f"no run was named: expected {_EXPECTED}")
    return Selection(tuple(ids), tuple(ranges), "last" in words, "all" in words)


def with_last(texts: list[str], run_id: int) -> list[str]:
    """The same selectors with an id for `last`."""
    return [text.replace("last", str(run_id)) for text in texts]
