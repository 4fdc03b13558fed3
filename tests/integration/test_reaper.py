"""The reaper on real children, own and inherited: in a process of its own, which it empties."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from intendant.process.identity import children
from intendant.process.reaper import Reaper
from intendant.process.subreaper import become_subreaper

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def start(script: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)


def wait_for_change(pid: int, what: int) -> None:
    """Return when the child has ended, or is stopped; leave it to be reaped."""
    os.waitid(os.P_PID, pid, what | os.WNOWAIT)


# --- what happens in the process of its own ------------------------------------------------------


async def statuses_of_watched_children_are_kept() -> None:
    with Reaper() as reaper:
        reaper.watch(seven := start("exit 7"))
        reaper.watch(killed := start("kill -9 $$"))
        assert await reaper.wait_exit(seven) == 7
        assert await reaper.wait_exit(killed) == -signal.SIGKILL
        assert not reaper.has_children()


async def one_that_ended_before_it_was_watched_is_known() -> None:
    with Reaper() as reaper:
        pid = start("exit 3")
        wait_for_change(pid, os.WEXITED)
        reaper.watch(pid)
        assert await reaper.wait_exit(pid) == 3


async def orphans_come_and_are_reaped() -> None:
    with Reaper() as reaper:
        leader = start("sleep 600 & sleep 600 & exit 0")
        reaper.watch(leader)
        assert await reaper.wait_exit(leader) == 0
        assert reaper.has_children()
        for orphan in children(os.getpid()):
            os.kill(orphan, signal.SIGKILL)
        await reaper.wait_until(lambda: not reaper.has_children())
        assert [*reaper.statuses] == [leader]


async def many_ends_at_once_are_all_heard_of() -> None:
    with Reaper() as reaper:
        pids = []
        for number in range(50):
            reaper.watch(pid := start(f"exit {number}"))
            pids.append(pid)
        assert [await reaper.wait_exit(pid) for pid in pids] == [*range(50)]


async def a_stopped_child_has_not_ended() -> None:
    with Reaper() as reaper:
        pid = start("kill -STOP $$; exit 4")
        reaper.watch(pid)
        wait_for_change(pid, os.WSTOPPED)
        assert reaper.has_children()
        assert pid not in reaper.statuses
        os.kill(pid, signal.SIGCONT)
        assert await reaper.wait_exit(pid) == 4


CASES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    case.__name__: case
    for case in (
        statuses_of_watched_children_are_kept,
        one_that_ended_before_it_was_watched_is_known,
        orphans_come_and_are_reaped,
        many_ends_at_once_are_all_heard_of,
        a_stopped_child_has_not_ended,
    )
}


@pytest.mark.parametrize("name", CASES)
def test_reaper(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_reaper", name],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    become_subreaper()
    asyncio.run(CASES[sys.argv[1]]())
