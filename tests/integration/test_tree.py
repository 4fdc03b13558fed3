"""Ending a tree for good, by cgroup and by subreaper; the truth is what /proc shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from intendant.governor.escalation import KILL_WAIT_S
from tests.helpers import unruly
from tests.helpers.ground_truth import processes_with
from tests.helpers.trees import METHODS
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
KINDS = sorted(kind for kind in unruly.KINDS if kind != "leaves_a_daemon_and_ends")


@pytest.fixture
def marker() -> Iterator[str]:
    """A text for arguments; whoever bears it still is killed after the test."""
    text = f"marker-{uuid.uuid4().hex}"
    yield text
    while left := processes_with(text):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def kept_tree(
    method: str, kind: str, marker: str, ready: Path, *, grace_s: float
) -> Iterator[subprocess.Popen[str]]:
    """A keeper and, below it, an unruly workload that is ready."""
    command = [sys.executable, "-m", "tests.helpers.tree_keeper", method, str(grace_s)]
    with subprocess.Popen(
        [*command, kind, marker, str(ready)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as keeper:  # fmt: skip
        try:
            wait_for("the workload is ready", ready.exists)
            yield keeper
        finally:
            keeper.kill()


def end(keeper: subprocess.Popen[str]) -> dict[str, Any]:
    """Tell the keeper to end its tree; what it says of it."""
    out, _ = keeper.communicate("end\n", timeout=90)
    said: dict[str, Any] = json.loads(out)
    return said


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_an_unruly_tree_survives(
    method: str, kind: str, marker: str, tmp_path: Path
) -> None:
    with kept_tree(method, kind, marker, tmp_path / "ready", grace_s=0.2) as keeper:
        wait_for("it has a tree", lambda: len(processes_with(marker)) > 1)
        said = end(keeper)
        assert said["is_empty"]
        assert not processes_with(marker)
        assert said["method"] == method
        assert "unkillable" not in said["notes"] or said["took_s"] > KILL_WAIT_S


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_tree_that_heeds_sigterm_ends_within_its_grace(
    method: str, marker: str, tmp_path: Path
) -> None:
    with kept_tree(method, "stops_itself", marker, tmp_path / "ready", grace_s=300.0) as keeper:
        said = end(keeper)
    assert said["notes"] == ["term_sent"]


@pytest.mark.parametrize("method", METHODS)
def test_the_grace_is_kept_for_one_that_ignores_sigterm(
    method: str, marker: str, tmp_path: Path
) -> None:
    with kept_tree(method, "ignores_sigterm", marker, tmp_path / "ready", grace_s=0.4) as keeper:
        said = end(keeper)
    assert said["notes"] == ["term_sent", "grace_expired", "tree_killed"]
    assert said["took_s"] >= 0.4
