"""A call of a Python function: a fresh interpreter that is told what to do by a descriptor.

Three descriptors tie the governor to the callee (`workloads.callee`):

    order    a file without a name: what to call, with what; written before the callee starts
    report   a file without a name: how the call ended, in the callee's own words
    life     the reading end of a pipe: end-of-file asks the callee to end

Nothing of the order is in arguments, environment or a title. The result itself goes to a file in
the attempt's folder. Only a report makes a run succeed: exit status 0 alone proves nothing.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from intendant.protocol.specs import CallSpec
from intendant.workloads.base import Surroundings
from intendant.workloads.spawning import spawn

CALLEE = "intendant.workloads.callee"
MAX_REPORT_BYTES = 16 * 1024


class Report(BaseModel):
    """How the call ended: with a result in its file, or for this reason without one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: str | None = None


class CallWorkload:
    """A function, named or pickled, in an interpreter of its own."""

    def __init__(self, spec: CallSpec, *, pickle: str | None) -> None:
        self._spec = spec
        self._pickle = pickle
        self._report: BinaryIO | None = None
        self._life: int | None = None

    def start(self, surroundings: Surroundings) -> int:
        """Start the interpreter; the rest is its own business."""
        folder = surroundings.attempt_folder
        reading_end, self._life = os.pipe()
        self._report = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  read after the end
        try:
            with tempfile.TemporaryFile(dir=folder) as order:
                order.write(json.dumps(self._order(surroundings)).encode())
                order.seek(0)
                descriptors = [order.fileno(), self._report.fileno(), reading_end]
                python = self._spec.python or sys.executable
                # -P: a file named like a module, in whatever folder it is, is none of the callee's.
                argv = [python, "-P", "-m", CALLEE, *map(str, descriptors)]
                return spawn(argv, self._spec, surroundings, pass_fds=descriptors)
        finally:
            os.close(reading_end)

    def ask(self) -> None:
        """Close the pipe: the callee raises `SystemExit` in its function, or cancels it."""
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def failure(self, status: int) -> str | None:
        """The callee's own reason; `no_result` where it ended well without a word."""
        report = self._read_report()
        if report is None:
            return "no_result" if status == 0 else None
        return report.reason

    def _order(self, surroundings: Surroundings) -> dict[str, object]:
        spec = self._spec
        return {
            "label": surroundings.label,
            "folder": str(surroundings.attempt_folder),
            "target": spec.target,
            "pickle": self._pickle,
            "args": spec.args,
            "map": spec.map,
            "processes": spec.processes,
            "result": spec.result,
        }

    def _read_report(self) -> Report | None:
        """What the callee reported; a torn or foreign text counts as nothing."""
        if self._report is None:
            return None
        self._report.seek(0)
        try:
            return Report.model_validate_json(self._report.read(MAX_REPORT_BYTES))
        except ValidationError:
            return None
