"""What the command line's exit statuses mean, as timeout(1) and sysexits.h have them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from intendant.errors import (
    Busy,
    RequestRefused,
    SettingsError,
    SupervisionError,
    Unreachable,
)

if TYPE_CHECKING:
    from intendant.client.shapes import RunInfo

DONE = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 69
TRY_LATER = 75
TIMED_OUT = 124
OUR_FAILURE = 125
CANCELLED = 130
SIGNALLED = 128
READER_GONE = SIGNALLED + 13  # SIGPIPE, as coreutils end


def of_run(run: RunInfo) -> int:
    """The workload's own status, or what stands for the way it ended."""
    match run["outcome"]:
        case "succeeded":
            return run["exit_code"] or DONE
        case "failed":
            return _of_failure(run)
        case "timed_out":
            return TIMED_OUT
        case "cancelled":
            return CANCELLED
        case _:
            return OUR_FAILURE


def of_runs(runs: Iterable[RunInfo]) -> int:
    """The highest status of several runs."""
    return max(map(of_run, runs), default=DONE)


def of_error(error: Exception) -> int:
    """The status of a verb that could not do what it was asked to."""
    match error:
        case Unreachable():
            return UNREACHABLE
        case Busy() | TimeoutError():
            return TRY_LATER
        case SettingsError():
            return USAGE
        case SupervisionError():
            return OUR_FAILURE
        case _:
            return REFUSED


def code_of_error(error: Exception) -> str:
    """The stable word for an error: a refusal's own code, or the class's name in snake case."""
    if isinstance(error, RequestRefused):
        return error.code
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, OSError):
        return "os_error"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def text_of(error: OSError) -> str:
    """What the system said, and of which file."""
    said = error.strerror or str(error) or type(error).__name__
    return said if error.filename is None else f"{os.fsdecode(error.filename)}: {said}"


def _of_failure(run: RunInfo) -> int:
    if run["signal"] is not None:
        return SIGNALLED + run["signal"]
    return run["exit_code"] or OUR_FAILURE
