"""Benchmarks that are not part of any other test's work still measure something."""

from __future__ import annotations

from pathlib import Path

from benchmarks.launchers import launches


def test_both_launchers_can_be_measured_beside_each_other(tmp_path: Path) -> None:
    with launches(2)(tmp_path) as (portable, zygote):
        assert zygote is not None
        assert portable() > 0
        assert zygote() > 0
