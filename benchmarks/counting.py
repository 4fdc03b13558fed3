"""The work of a piece of code, counted and not timed: a busy machine changes nothing about it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import apsw


def instructions(work: Callable[[], object]) -> int:
    """How many instructions of the interpreter `work` takes in this thread.

    What is done in C (pydantic's core, SQLite, JSON) is one instruction each. The collector of
    garbage rests meanwhile: when it comes, and what it then calls, is chance.
    """
    counted = 0

    def count(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        counted += event == "opcode"
        return count

    def enter(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return count(frame, event, _)

    before = sys.gettrace()
    gc.disable()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return counted


@contextmanager
def sqlite_steps(connection: apsw.Connection) -> Iterator[Callable[[], int]]:
    """How many steps SQLite's machine took for the statements that have ended since.

    See sqlite.org/c3ref/c_stmtstatus_counter.html: VM_STEP.
    """
    counted = 0

    def count(event: dict[str, Any]) -> None:
        nonlocal counted
        counted += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, count)
    try:
        yield lambda: counted
    finally:
        connection.trace_v2(0, None)
