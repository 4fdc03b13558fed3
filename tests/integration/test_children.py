"""The executor's children: what a dead governor left is ended, what is known is spared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import unruly
from tests.helpers.ground_truth import processes_with

ROOT = Path(__file__).parents[2]


@pytest.fixture
def marker() -> Iterator[str]:
    """A text for arguments; whoever bears it still is killed after the test."""
    text = f"marker-{uuid.uuid4().hex}"
    yield text
    while left := processes_with(text):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", sorted(unruly.KINDS))
def test_orphans_of_a_killed_governor_are_ended_and_known_children_spared(
    kind: str, marker: str, tmp_path: Path
) -> None:
    lost, spared = f"lost-{marker}", f"spared-{marker}"
    command = [sys.executable, "-m", "tests.helpers.orphanage", kind, lost]
    with subprocess.Popen(
        [*command, str(tmp_path / "ready"), spared],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as executor:  # fmt: skip
        assert executor.stdout is not None
        said = json.loads(executor.stdout.readline())
        others = {pid for pid, arguments in processes_with(lost).items() if pid != executor.pid}
        assert not others
        assert said == {"orphans": [], "zombies": []}
        assert len({*processes_with(spared)} - {executor.pid}) == 2


ZOMBIES = """
import asyncio, os, time
from intendant.process.children import Children
from intendant.process.subreaper import become_subreaper
from tests.helpers.ground_truth import zombies_of

async def main():
    with Children() as children:
        os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", "sleep 0.05 & exit 0")
        async with asyncio.timeout(60):
            while children.orphans():
                await asyncio.sleep(0.01)
        assert zombies_of(os.getpid()) == []

become_subreaper()
asyncio.run(main())
"""


def test_orphans_that_end_by_themselves_leave_no_zombies() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ZOMBIES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


BIRTH = """
import asyncio, os
from intendant.process.children import Children
from intendant.process.subreaper import become_subreaper

async def main():
    with Children() as children:
        async with children.birth():
            newborn = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
            orphan = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
            ending = asyncio.ensure_future(children.end_orphans(0))
            for _ in range(10):
                await asyncio.sleep(0)
            assert {newborn, orphan} <= set(children.orphans())
            children.know(newborn)
        async with asyncio.timeout(60):
            await ending
        assert children.orphans() == []
        assert os.waitpid(newborn, os.WNOHANG) == (0, 0), "the newborn lives"
        os.kill(newborn, 9)
        os.waitpid(newborn, 0)

become_subreaper()
asyncio.run(main())
"""


def test_nobody_is_taken_for_an_orphan_while_a_governor_is_being_born() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BIRTH], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
