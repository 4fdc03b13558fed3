"""The functions that a governor's life calls and the names it looks up, to be laid side by side.

`python -m benchmarks.footprint` writes `functions.txt` and `names.txt`, from a few lives. What is
missing there, or exists no more, costs some memory and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from intendant.process.sharing import intern_together, lay_together


def lay_names() -> None:
    """Call it before anything that a governor needs is imported."""
    intern_together(_lines("names.txt"))


def lay_functions() -> None:
    """Call it after all that a governor needs was imported."""
    pairs = (line.partition(" ") for line in _lines("functions.txt"))
    lay_together({(module, name) for module, _, name in pairs})


def _lines(name: str) -> list[str]:
    return Path(__file__).with_name(name).read_text().splitlines()
