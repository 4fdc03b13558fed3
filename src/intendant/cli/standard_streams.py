"""The standard streams: one that the caller closed, one that can't be written to."""

from __future__ import annotations

import os
import sys

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""By file descriptor."""


def open_what_is_closed() -> None:
    """Put /dev/null in the place of each stream that is closed (`intendant run … >&-`).

    Otherwise the next file or socket would get its number, and what is printed would go there.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            _replace(descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode))


def give_up_stdout() -> None:
    """Let Python flush at its end what nobody takes any more."""
    _replace(sys.stdout.fileno())


def _replace(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    os.dup2(opened, descriptor)
    if opened != descriptor:
        os.close(opened)
