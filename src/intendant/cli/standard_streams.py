"""The standard streams: one that the caller closed, one that can't be written to."""

from __future__ import annotations

import os
import select
import stat
import sys
from io import UnsupportedOperation
from threading import Thread

from intendant.cli import exit_status

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


def end_with_the_reader() -> None:
    """Have this process end as soon as nobody reads its stdout any more.

    Who follows may have nothing to write for long, and would not notice: `events -f | head -1`.
    """
    try:
        descriptor = sys.stdout.fileno()
    except UnsupportedOperation:  # another stream stands in for it, within this process
        return
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a file has no reader
        return
    Thread(target=_outlive_no_reader, args=(descriptor,), name="reader", daemon=True).start()


def _outlive_no_reader(descriptor: int) -> None:
    gone = select.poll()
    gone.register(descriptor, 0)  # POLLERR and POLLHUP are told unasked: poll(2)
    if any(told & (select.POLLERR | select.POLLHUP) for _, told in gone.poll()):
        os._exit(
            exit_status.READER_GONE
        )  # a follower holds nothing that it would have to give back


def _replace(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    os.dup2(opened, descriptor)
    if opened != descriptor:
        os.close(opened)
