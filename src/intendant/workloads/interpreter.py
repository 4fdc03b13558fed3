"""A fresh interpreter for one of our programs, which is told what to do by a descriptor.

Three descriptors tie the governor to it:

    order    the reading end of a pipe: what to do, as JSON; written while the interpreter starts
    report   a file without a name: how it ended, in the program's own words
    life     the reading end of a pipe: end-of-file asks the program to end

Nothing of the order is in arguments, environment or a title. Only a report makes a run succeed:
exit status 0 alone proves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import BinaryIO, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from intendant.process.feeding import feed
from intendant.workloads.base import Surroundings
from intendant.workloads.spawning import Placed, spawn

MAX_REPORT_BYTES = 16 * 1024


class Report(BaseModel):
    """How the program ended: well, or for this reason not."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: str | None = None


class PlacedPython(Placed, Protocol):
    """What every spec says of a Python program."""

    @property
    def python(self) -> str | None: ...


class Interpreter:
    """One of our modules in an interpreter of its own, for one attempt."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._report: BinaryIO | None = None
        self._life: int | None = None

    def start(
        self,
        order: Callable[[], Mapping[str, object]],
        spec: PlacedPython,
        surroundings: Surroundings,
    ) -> int:
        """Start it; its pid. The order is made then. The rest is its own business."""
        with ExitStack() as ends:
            order_end, writer = os.pipe()
            ends.callback(os.close, order_end)
            unfed = ends.enter_context(ExitStack())
            unfed.callback(os.close, writer)
            life_end, self._life = os.pipe()
            ends.callback(os.close, life_end)
            self._report = tempfile.TemporaryFile(dir=surroundings.attempt_folder)  # noqa: SIM115
            descriptors = [order_end, self._report.fileno(), life_end]
            python = spec.python or sys.executable
            # -P: a file named like a module, in whatever folder it is, is none of ours.
            argv = [python, "-P", "-m", self._module, *map(str, descriptors)]
            pid = spawn(argv, spec, surroundings, pass_fds=descriptors)
            try:
                data = json.dumps(order()).encode()
                unfed.pop_all()  # from now on `feed` closes it
                feed(writer, data)
            except BaseException:  # nobody is to take it for one that was not started
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            return pid

    def ask(self) -> None:
        """Close the pipe, once: the program ends as it sees fit."""
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def failure(self, status: int) -> str | None:
        """The program's own reason; `no_result` where it ended well without a word."""
        report = self._read_report()
        if report is None:
            return "no_result" if status == 0 else None
        return report.reason

    def _read_report(self) -> Report | None:
        """What the program reported; a torn or foreign text counts as nothing."""
        if self._report is None:
            return None
        self._report.seek(0)
        try:
            return Report.model_validate_json(self._report.read(MAX_REPORT_BYTES))
        except ValidationError:
            return None
