"""Durations as people write them: `90`, `1.5s`, `2m`, `3h`, `1d`; seconds without a unit."""

from __future__ import annotations

import math
import re

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smhd]?)")


def parse_duration(text: str | float) -> float:
    """Seconds, from text or a bare number; `ValueError` says what was found and expected."""
    duration_s = _seconds(text) if isinstance(text, str) else float(text)
    if not 0 <= duration_s < math.inf:
        raise ValueError(f"{text!r} is no duration: expected 90, 1.5s, 2m, 3h or 1d")
    return duration_s


def _seconds(text: str) -> float:
    """What the text says; not a number if it says nothing."""
    found = _DURATION.fullmatch(text.strip().lower())
    return math.nan if found is None else float(found[1]) * _UNITS_S[found[2]]


def format_duration(duration_s: float) -> str:
    """A duration for people: `0.35s`, `12.0s`, `2m05s`, `3h07m`, `2d04h`."""
    if duration_s < 60:
        return f"{duration_s:.2f}s" if duration_s < 10 else f"{duration_s:.1f}s"
    minutes, seconds = divmod(int(duration_s), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"
