"""Cgroups on the real tree; on a machine where none can be made, that none is made."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from intendant.process.cgroup import Cgroup, make_child, own_cgroup
from tests.helpers.ground_truth import is_alive
from tests.helpers.trees import METHODS
from tests.helpers.waiting import wait_for

LIMIT_S = 60.0
needs_cgroup = pytest.mark.skipif("cgroup" not in METHODS, reason="no cgroup v2 can be written")


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    home = own_cgroup()
    assert home is not None
    child = make_child(home, f"intendant-test.{os.getpid()}")
    assert child is not None
    yield child
    child.kill()
    wait_for("it is empty", child.is_empty)
    child.remove()
    assert not child.path.exists()


def sleeper_in(cgroup: Cgroup, script: str = "exec sleep 600") -> subprocess.Popen[bytes]:
    """A shell that joins the group first."""
    return subprocess.Popen(["sh", "-c", f"echo 0 >{cgroup.path}/cgroup.procs; {script}"])


def joined(cgroup: Cgroup, child: subprocess.Popen[bytes]) -> None:
    wait_for("it has joined", lambda: child.pid in cgroup.members())


def test_there_is_no_group_where_none_can_be_made(tmp_path: Path) -> None:
    assert make_child(Cgroup(tmp_path / "missing"), "child") is None


def test_a_folder_that_is_no_cgroup_is_left_as_it_was(tmp_path: Path) -> None:
    assert make_child(Cgroup(tmp_path), "child") is None
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_is_gone_is_empty_and_harmless(tmp_path: Path) -> None:
    gone = Cgroup(tmp_path / "gone")
    gone.kill()
    gone.remove()
    assert gone.is_empty()
    assert gone.members() == []


@needs_cgroup
async def test_kill_ends_all_in_it_and_below_and_the_end_is_heard_of(cgroup: Cgroup) -> None:
    below = make_child(cgroup, "below")
    assert below is not None
    with sleeper_in(cgroup) as one, sleeper_in(below, "setsid sleep 600 & wait") as two:
        joined(cgroup, one)
        joined(below, two)
        assert not cgroup.is_empty()
        waiting = asyncio.create_task(cgroup.wait_empty())
        await asyncio.sleep(0)
        assert not waiting.done()
        cgroup.kill()
        async with asyncio.timeout(LIMIT_S):
            await waiting
        assert cgroup.is_empty()
        assert not is_alive(one.pid)
        assert not is_alive(two.pid)
    cgroup.remove()
    assert not cgroup.path.exists()


@needs_cgroup
async def test_waiting_for_an_empty_group_returns_at_once(cgroup: Cgroup) -> None:
    async with asyncio.timeout(LIMIT_S):
        await cgroup.wait_empty()


@needs_cgroup
def test_a_group_that_is_not_empty_is_not_removed(cgroup: Cgroup) -> None:
    with sleeper_in(cgroup) as child:
        joined(cgroup, child)
        cgroup.remove()
        assert cgroup.path.exists()
        child.kill()


@needs_cgroup
def test_a_group_of_that_name_is_used_again(cgroup: Cgroup) -> None:
    assert make_child(Cgroup(cgroup.path.parent), cgroup.path.name) == cgroup
