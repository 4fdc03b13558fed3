"""Helper processes: started, joined without polling, never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from intendant.process.aio import HelperProcess, tracker_pid
from tests.helpers.waiting import wait_for
from tests.integration import aio_targets

ROOT = Path(__file__).parents[2]


@contextmanager
def living_helper() -> Iterator[tuple[HelperProcess, dict[str, object], socket.socket]]:
    """A helper that has told who it is and lives until the channel is closed."""
    ours, theirs = socket.socketpair()
    helper = HelperProcess(aio_targets.wait_for_end_of_file, theirs)
    with ours:
        with theirs:
            helper.start()
        ours.settimeout(60)
        yield helper, json.loads(ours.makefile().readline()), ours


@pytest.mark.parametrize(
    ("target", "args", "expected"),
    [
        (aio_targets.nothing, (), 0),
        (aio_targets.leave_with, (3,), 3),
        (aio_targets.fail, (), 1),
    ],
)
async def test_join_returns_the_exit_code(
    target: Callable[..., object], args: tuple[object, ...], expected: int
) -> None:
    helper = HelperProcess(target, *args)  # type: ignore[arg-type]  # a table of coroutine functions
    helper.start()
    async with asyncio.timeout(60):
        assert await helper.join() == expected
    assert helper.exitcode == expected


async def test_join_wakes_everybody_who_waits_when_the_helper_is_killed() -> None:
    with living_helper() as (helper, _, _):
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            joins = [tasks.create_task(helper.join()) for _ in range(2)]
            await asyncio.sleep(0)
            helper.kill()
    assert [join.result() for join in joins] == [-signal.SIGKILL] * 2


async def test_a_joined_helper_can_be_joined_again() -> None:
    helper = HelperProcess(aio_targets.nothing)
    helper.start()
    async with asyncio.timeout(60):
        assert [await helper.join(), await helper.join()] == [0, 0]


async def test_there_is_no_process_but_the_helper_and_the_tracker() -> None:
    before = set(psutil.Process().children(recursive=True))
    with living_helper() as (helper, _, channel):
        found = {child.pid for child in set(psutil.Process().children(recursive=True)) - before}
        assert found <= {helper.pid, tracker_pid()}
        channel.shutdown(socket.SHUT_RDWR)
        await helper.join()


async def test_a_helper_leads_a_session_of_its_own_and_blocks_no_signal() -> None:
    with living_helper() as (helper, facts, channel):
        assert facts["pid"] == facts["sid"] == helper.pid
        assert facts["blocked"] == []
        channel.shutdown(socket.SHUT_RDWR)
        await helper.join()


async def test_sigint_does_not_end_a_helper_and_sigterm_does() -> None:
    with living_helper() as (helper, facts, _):
        pid = int(str(facts["pid"]))
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await helper.join() == -signal.SIGTERM


async def test_systemexit_is_not_reported_as_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    helper = HelperProcess(aio_targets.leave_with, 3)
    helper.start()
    await helper.join()
    assert capfd.readouterr().err == ""


PARENT = """
import socket, sys, time
from intendant.process.aio import HelperProcess, tracker_pid
from tests.integration import aio_targets

print("imported", flush=True)
if __name__ == "__main__":
    ours, theirs = socket.socketpair()
    helper = HelperProcess(aio_targets.wait_for_end_of_file, theirs)
    helper.start()
    theirs.close()
    print(ours.makefile().readline().strip(), flush=True)
    print(helper.pid, tracker_pid(), flush=True)
    time.sleep(600)
"""


@contextmanager
def parent_of_a_helper(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A program that has started a helper, and the three lines that it printed."""
    script = folder / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        try:
            yield parent, [parent.stdout.readline().strip() for _ in range(3)]
        finally:
            parent.kill()


def test_the_parents_script_is_not_imported_again(tmp_path: Path) -> None:
    with parent_of_a_helper(tmp_path) as (_, lines):
        assert lines[0] == "imported"
        assert json.loads(lines[1])["main"] is None


def test_helper_and_tracker_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    with parent_of_a_helper(tmp_path) as (parent, lines):
        pids = [int(pid) for pid in lines[2].split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        wait_for("both are gone", lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
