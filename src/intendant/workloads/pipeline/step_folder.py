"""The folder of an attempt at a step, which is there once somebody leaves something in it.

    steps/<step>/<attempt>/stdout.log, stderr.log    what it printed
    steps/<step>/<attempt>/outputs.json (.pickle)    what it returned, or put there; what a function
                                                     returns is in its row where it is small

This module imports little: it is loaded before every fork.
"""

from __future__ import annotations

import os

_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def make_step_folder(folder: str) -> None:
    """Make it, in that of its step; all of it may be there."""
    try:
        _make(folder)
    except FileNotFoundError:
        of_step, _, _ = folder.rpartition("/")
        of_steps, _, _ = of_step.rpartition("/")
        for each in (of_steps, of_step, folder):
            _make(each)


def open_log(folder: str, stream: str) -> int:
    """A descriptor to write the log with: `stdout` or `stderr`; the folder need not be there."""
    path = f"{folder}/{stream}.log"
    try:
        return os.open(path, _LOG_FLAGS, 0o600)
    except FileNotFoundError:
        make_step_folder(folder)
        return os.open(path, _LOG_FLAGS, 0o600)


def _make(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102  for each step, before each: a Path takes longer
    except FileExistsError:
        return
