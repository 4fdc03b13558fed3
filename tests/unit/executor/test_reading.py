"""Pieces of files: from a place on, wherever that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.executor.results import Piece, read_result
from intendant.executor.run_logs import _read
from intendant.protocol.workloads import CallSpec
from intendant.store.spool import AttemptFolder

FARTHEST = 2**63 - 1


@pytest.mark.parametrize(
    ("offset", "data"), [(0, b"[1, 2]"), (4, b"2]"), (6, b""), (FARTHEST, b"")]
)
def test_behind_the_end_of_a_file_there_is_nothing(
    tmp_path: Path, offset: int, data: bytes
) -> None:
    (tmp_path / "result.json").write_bytes(b"[1, 2]")

    found = read_result(AttemptFolder(tmp_path), CallSpec(kind="call", target="a:b"), offset)

    assert found == Piece("json", 6, data)
    assert _read(tmp_path / "result.json", offset) == data
