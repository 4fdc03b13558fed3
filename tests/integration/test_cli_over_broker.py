"""The installed command against a real broker with an executor in memory behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intendant.protocol.run_states import Outcome
from intendant.protocol.workloads import CommandSpec
from tests.helpers.fake_daemon import fake_daemon
from tests.helpers.fake_executor import Ending, FakeExecutor

LIMIT_S = 60.0


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/client.sock"


@pytest.fixture
async def executor(endpoint: str) -> AsyncIterator[FakeExecutor]:
    executor = FakeExecutor(chunk_size=50_000)
    async with fake_daemon(executor, endpoint):
        yield executor


async def start(
    endpoint: str, *args: str, stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """The command, as its own process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "intendant",
        *args,
        env={**os.environ, "INTENDANT_ENDPOINT": endpoint},
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def intendant(endpoint: str, *args: str) -> tuple[int | None, bytes, bytes]:
    """Exit status, stdout, stderr."""
    process = await start(endpoint, *args)
    async with asyncio.timeout(LIMIT_S):
        out, err = await process.communicate()
    return process.returncode, out, err


async def test_a_run_is_submitted_and_awaited(endpoint: str, executor: FakeExecutor) -> None:
    executor.ending = Ending(Outcome.FAILED, 3)
    found = await intendant(endpoint, "submit", "--wait", "--", "make", "all")
    assert found == (3, b"1\n", b"intendant: run 1 failed (3)\n")
    workload = executor.submissions[0].spec.workload
    assert isinstance(workload, CommandSpec)
    assert workload.argv == ["make", "all"]


async def test_a_log_of_many_pieces_arrives_whole(endpoint: str, executor: FakeExecutor) -> None:
    executor.log = {"stdout": os.urandom(1_000_000)}
    await intendant(endpoint, "submit", "--", "true")
    status, out, _ = await intendant(endpoint, "logs", "-f", "1")
    assert status == 0
    assert out == executor.log["stdout"]


async def test_ctrl_c_detaches_and_the_run_goes_on(endpoint: str, executor: FakeExecutor) -> None:
    executor.ending = None
    process = await start(endpoint, "submit", "--wait", "--", "sleep", "9")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        assert await process.stdout.readline() == b"1\n"
        while executor.requests[-1].kind != "run_wait_request":
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert b"detached" in err
    assert executor.runs[1].outcome is None


async def test_wait_gives_up_in_time(endpoint: str, executor: FakeExecutor) -> None:
    executor.ending = None
    await intendant(endpoint, "submit", "--", "true")
    status, _, err = await intendant(endpoint, "wait", "--timeout", "0.2", "1")
    assert (status, err.count(b"\n")) == (75, 1)


async def test_a_reader_that_goes_away_makes_no_noise(
    endpoint: str, executor: FakeExecutor
) -> None:
    executor.log = {"stdout": b"x" * 5_000_000}
    await intendant(endpoint, "submit", "--", "true")
    reader, writer = os.pipe()
    process = await start(endpoint, "logs", "1", stdout=writer)
    os.close(writer)
    async with asyncio.timeout(LIMIT_S):
        await asyncio.to_thread(os.read, reader, 10)
        os.close(reader)
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_without_a_daemon_the_command_ends_at_once(endpoint: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        status, out, err = await intendant(endpoint, "ls")
    assert (status, out) == (69, b"")
    assert endpoint.encode() in err
