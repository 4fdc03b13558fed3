"""Pidfds on real processes: ends are heard of without polling, strangers are left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from intendant.process.identity import open_pidfd, process_stat, send_signal, start_time
from intendant.process.pidfd import Pidfd

LIMIT_S = 60.0


def start(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv)


def sleeper() -> subprocess.Popen[bytes]:
    return start("sleep", "600")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pinned(child: subprocess.Popen[bytes]) -> Pidfd:
    return Pidfd(os.pidfd_open(child.pid))


async def test_all_who_wait_for_one_process_hear_of_its_end() -> None:
    with sleeper() as child, pinned(child) as pidfd:
        waits = [asyncio.create_task(pidfd.wait_exit()) for _ in range(3)]
        child.kill()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*waits)


async def test_a_wait_takes_no_descriptor() -> None:
    with sleeper() as child, pinned(child) as pidfd:
        descriptors = count_descriptors()
        waits = [asyncio.create_task(pidfd.wait_exit()) for _ in range(3)]
        await asyncio.sleep(0)
        assert count_descriptors() == descriptors
        waits.pop().cancel()
        await asyncio.sleep(0)
        child.kill()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*waits)


async def test_whoever_waits_for_one_that_is_let_go_is_told() -> None:
    with sleeper() as child, pinned(child) as pidfd:
        waits = [asyncio.create_task(pidfd.wait_exit()) for _ in range(2)]
        await asyncio.sleep(0)
        pidfd.close()
        async with asyncio.timeout(LIMIT_S):
            ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(end) for end in ends] == [OSError, OSError]
        with pytest.raises(OSError, match="closed"):
            await pidfd.wait_exit()
        child.kill()


async def test_waiting_for_one_that_has_ended_already_returns_at_once() -> None:
    with start("true") as child, pinned(child) as pidfd:
        async with asyncio.timeout(LIMIT_S):
            await pidfd.wait_exit()
            await pidfd.wait_exit()


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    with sleeper() as child, pinned(child) as pidfd:
        descriptors = count_descriptors()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pidfd.wait_exit()
        assert count_descriptors() == descriptors
        child.kill()


@pytest.mark.parametrize(
    ("script", "expected"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -signal.SIGKILL)]
)
async def test_reaping_tells_exit_code_or_signal(script: str, expected: int) -> None:
    child = start("sh", "-c", script)
    with pinned(child) as pidfd:
        async with asyncio.timeout(LIMIT_S):
            await pidfd.wait_exit()
        assert pidfd.reap() == expected
        assert process_stat(child.pid) is None
        assert pidfd.reap() is None
    child.returncode = expected  # it is reaped


def test_one_that_lives_can_not_be_reaped() -> None:
    with sleeper() as child, pinned(child) as pidfd:
        assert pidfd.reap() is None
        child.kill()


def test_a_stranger_can_not_be_reaped() -> None:
    with Pidfd(os.pidfd_open(os.getppid())) as pidfd:
        assert pidfd.reap() is None


def test_a_pid_with_another_start_time_is_nobody() -> None:
    with sleeper() as child:
        started = start_time(child.pid)
        assert started is not None
        assert open_pidfd(child.pid, started + 1) is None
        descriptor = open_pidfd(child.pid, started)
        assert descriptor is not None
        assert send_signal(descriptor, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
        assert open_pidfd(child.pid, started) is None


def test_a_name_with_spaces_and_parentheses_confuses_nobody() -> None:
    script = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') Z 1 (x'); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        stat = process_stat(child.pid)
        assert stat is not None
        assert (stat.parent, stat.session) == (os.getpid(), os.getsid(0))
        assert stat.state != "Z"
        child.kill()
