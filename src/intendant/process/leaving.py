"""The end of a process that has closed what it had."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End this process now: taking the interpreter apart takes longer than all that came before.

    What is registered with atexit is not called.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # full or closed: there is nobody to tell
            stream.flush()
    os._exit(status)
