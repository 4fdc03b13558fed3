"""Reading what a call or a study left: bytes in a file, handed on as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from intendant.protocol.specs import Workload
from intendant.protocol.study import StudySpec
from intendant.protocol.workloads import CallSpec
from intendant.store.spool import AttemptFolder

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a result's bytes, and how many it has; no encoding: there is no result."""

    encoding: Literal["json", "pickle"] | None = None
    size: int = 0
    data: bytes = b""


def read_result(folder: AttemptFolder, workload: Workload, offset: int) -> Piece:
    """The bytes from `offset` on, up to a piece of them."""
    if not isinstance(workload, CallSpec | StudySpec):
        return Piece()
    encoding = workload.result if isinstance(workload, CallSpec) else "json"
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(folder.result(encoding), flags)
    except FileNotFoundError:
        return Piece()
    try:
        size = os.fstat(descriptor).st_size
        return Piece(encoding, size, os.pread(descriptor, PIECE_BYTES, offset))
    finally:
        os.close(descriptor)
