"""What may be said shorter in a study: a list is a choice, a single value is fixed.

For run files and Python programs alike; the whole words are those of `protocol/space.py` and
`protocol/study.py`. Imports nothing: programs use it.
"""

from __future__ import annotations

from collections.abc import Mapping


def whole_parameter(value: object) -> object:
    """A parameter of a space as a table with a `type`."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return {"type": "choice", "values": list(value)}
    return {"type": "fixed", "value": value}


def whole_method(value: object) -> object:
    """A search or a scheduler as a table: its name stands for one that holds only this."""
    return {"method": value} if isinstance(value, str) else value
