"""The folder of an attempt at a step, which is there once somebody leaves something in it.

    steps/<step>/<attempt>/stdout.log, stderr.log    what it printed
    steps/<step>/<attempt>/outputs.json (.pickle)    what it returned, or put there; what an inline
                                                     step returns is in its row where it is small

This module imports little: it is loaded before every fork.
"""

from __future__ import annotations

import os
from pathlib import Path


def make_step_folder(folder: Path) -> None:
    """Make it, in that of its step; all of it may be there."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        for each in (folder.parent.parent, folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)


def open_log(folder: Path, stream: str) -> int:
    """A descriptor to write the log with: `stdout` or `stderr`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(folder / f"{stream}.log", flags, 0o600)
