"""Reading what a run left: bytes in a file, handed on as they are; of a pipeline, by step."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.specs import Workload
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import GOOD
from intendant.protocol.study import StudySpec
from intendant.protocol.workloads import CallSpec
from intendant.store.spool import AttemptFolder
from intendant.store.steps import STEPS_FILE, read_steps

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a result's bytes, and how many it has; no encoding: there is no result."""

    encoding: Literal["json", "pickle"] | None = None
    size: int = 0
    data: bytes = b""


def read_result(folder: AttemptFolder, workload: Workload, offset: int) -> Piece:
    """The bytes from `offset` on, up to a piece of them."""
    if isinstance(workload, PipelineSpec):
        return _outputs(folder.path.parent, offset)
    if not isinstance(workload, CallSpec | StudySpec):
        return Piece()
    encoding = workload.result if isinstance(workload, CallSpec) else "json"
    try:
        descriptor = _opened(folder.result(encoding))
    except FileNotFoundError:
        return Piece()
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, PIECE_BYTES, offset) if offset < size else b""
        return Piece(encoding, size, data)
    finally:
        os.close(descriptor)


def _outputs(run_folder: Path, offset: int) -> Piece:
    """An object of what the steps left as JSON, as far as it fits into one piece.

    The others' outputs, and pickles, are in the run's folder alone.
    """
    steps = read_steps(run_folder / STEPS_FILE)
    if not steps:
        return Piece()
    entries: list[bytes] = []
    room = PIECE_BYTES - len("{}")
    for step in steps:
        entry = _entry(run_folder, step, room)
        if entry is not None:
            entries.append(entry)
            room -= len(entry) + len(", ")
    data = b"{" + b", ".join(entries) + b"}"
    return Piece("json", len(data), data[offset:])


def _entry(run_folder: Path, step: StepInfo, room: int) -> bytes | None:
    """A step's name and what it left, if it ended well and that is JSON and small enough."""
    report = step.report
    if report is None or report.encoding != "json" or step.outcome not in GOOD:
        return None
    name = json.dumps(step.name).encode() + b": "
    try:
        if report.outputs is not None:
            text = report.outputs.encode()
        else:
            with os.fdopen(_opened(run_folder / str(step.folder) / "outputs.json"), "rb") as file:
                text = file.read(max(room, 0) + 1)
        json.loads(text)
    except (OSError, ValueError, RecursionError):  # cut off, or touched by others
        return None
    return name + text if len(name) + len(text) <= room else None


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
