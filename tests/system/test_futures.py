"""`concurrent.futures` over runs, after the ideas of the standard library's own tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    as_completed,
    wait,
)
from pathlib import Path
from typing import Any

import pytest

from intendant.client.client import Client
from intendant.client.futures import RunExecutor, RunFuture
from intendant.errors import InvalidRequest, RemoteTraceback, RunFailed, Unreachable
from tests.helpers.daemon import Daemon, daemon_folders
from tests.helpers.waiting import wait_for

MANY, MANY_IN_THE_LONG_FORM = 60, 1000


class Own(Exception):
    """Made from arguments that `args` does not hold."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.left = left


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """One daemon with four slots for all tests that leave it as they found it."""
    with daemon_folders() as daemon:
        daemon.start("--slots", "4")
        yield daemon


@pytest.fixture
def client(shared: Daemon) -> Iterator[Client]:
    with shared.client() as client:
        yield client


@pytest.fixture
def pool(client: Client) -> Iterator[RunExecutor]:
    """Four slots; left at the end of the test."""
    with client.executor() as pool:
        yield pool


def wait_running(future: RunFuture[Any]) -> None:
    wait_for("the run has started", future.running)


def later(delay_s: float, value: int) -> int:
    time.sleep(delay_s)
    return value


def gated(gate: Path) -> None:
    """Over when the gate is there."""
    while not gate.exists():
        time.sleep(0.02)


def test_it_is_an_executor_with_futures(pool: RunExecutor) -> None:
    future = pool.submit(pow, 2, 10)
    assert isinstance(pool, concurrent.futures.Executor)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(60) == 1024


def test_functions_and_lambdas_come_from_anywhere(pool: RunExecutor) -> None:
    offset = 10

    def inner(x: int, *, by: int) -> int:
        return x * by + offset

    assert pool.submit(inner, 2, by=3).result(60) == 16
    assert pool.submit(lambda: {"set": {1}}).result(60) == {"set": {1}}


async def coroutine(x: int) -> int:
    await asyncio.sleep(0)
    return x


def test_a_coroutine_function_is_awaited(pool: RunExecutor) -> None:
    found: object = pool.submit(coroutine, 5).result(60)
    assert found == 5


def test_many_futures_over_few_slots_all_come_back(pool: RunExecutor, is_long: bool) -> None:
    count = MANY_IN_THE_LONG_FORM if is_long else MANY
    futures: dict[Future[int], int] = {pool.submit(pow, at, 2): at for at in range(count)}
    left = set(futures)
    for future in as_completed(futures, timeout=max(100, count / 2)):
        assert future.result() == futures[future] ** 2
        left.remove(future)
    assert not left


def test_a_remote_exception_is_raised_as_itself_with_its_traceback(pool: RunExecutor) -> None:
    def fails() -> None:
        try:
            os.environ["NO_SUCH_VARIABLE"]
        except KeyError as error:
            raise Own(1, 2) from error

    future = pool.submit(fails)
    with pytest.raises(Own, match="1 and 2") as caught:
        future.result(60)
    assert caught.value.left == 1
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "KeyError: 'NO_SUCH_VARIABLE'" in str(caught.value.__cause__)
    assert future.exception() is caught.value


def test_a_function_that_dies_raises_how(pool: RunExecutor) -> None:
    def dies() -> None:
        signal.raise_signal(signal.SIGKILL)

    with pytest.raises(RunFailed, match="signal: SIGKILL"):
        pool.submit(dies).result(60)


def test_a_result_that_can_not_be_pickled_is_an_exception(pool: RunExecutor) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pool.submit(threading.Lock).result(60)


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_gives_the_results_in_order(pool: RunExecutor, chunksize: int) -> None:
    found = list(pool.map(pow, range(7), range(7), chunksize=chunksize))
    assert found == [at**at for at in range(7)]


def test_map_raises_the_first_exception_at_its_place(pool: RunExecutor) -> None:
    results = pool.map(divmod, [1, 1, 1], [1, 0, 1])
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_has_a_time_out(pool: RunExecutor) -> None:
    with pytest.raises(TimeoutError):
        list(pool.map(time.sleep, [0.01, 2], timeout=0.5))


def test_wait_knows_the_first_and_the_first_exception(pool: RunExecutor) -> None:
    quick, slow = pool.submit(later, 0.0, 1), pool.submit(later, 600.0, 2)
    done, _ = wait([quick, slow], timeout=60, return_when=FIRST_COMPLETED)
    assert quick in done
    failing = pool.submit(later, -1.0, 3)
    done, _ = wait([failing, slow], timeout=60, return_when=FIRST_EXCEPTION)
    assert failing in done
    slow.terminate()


def test_a_queued_run_is_cancelled_and_a_running_one_is_not(
    pool: RunExecutor, client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running = [pool.submit(gated, gate) for _ in range(4)]
    for future in running:
        wait_running(future)
    queued = pool.submit(gated, gate)

    assert queued.cancel()
    assert queued.cancelled()
    assert not running[0].cancel()
    assert wait([queued], timeout=60).done == {queued}
    with pytest.raises(CancelledError):
        queued.result()
    assert queued.run_id is not None
    assert client.show(queued.run_id)["run"]["outcome"] == "cancelled"
    gate.touch()
    assert [future.result(60) for future in running] == [None] * 4


def test_terminate_ends_a_run_that_runs(pool: RunExecutor) -> None:
    future = pool.submit(time.sleep, 60)
    wait_running(future)
    assert future.terminate(grace_s=1)
    with pytest.raises(RunFailed, match="cancelled") as caught:
        future.result(60)
    assert caught.value.outcome == "cancelled"
    assert not future.terminate()


def test_what_others_cancel_is_cancelled_here(pool: RunExecutor, client: Client) -> None:
    client.queue_pause("default")
    future = pool.submit(pow, 2, 2)
    wait_for("it is on the queue", lambda: future.run_id)
    client.cancel("all")
    with pytest.raises(CancelledError):
        future.result(60)
    client.queue_resume("default")


def test_leaving_the_block_waits(client: Client) -> None:
    with client.executor() as pool:
        futures = [pool.submit(time.sleep, 0.2) for _ in range(6)]
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pow, 2, 2)


def test_leaving_the_block_by_an_exception_waits_and_ends_no_run(client: Client) -> None:
    futures: list[RunFuture[int]] = []

    def leave_in_the_middle() -> None:
        with client.executor() as pool:
            futures.extend(pool.submit(later, 0.1, at) for at in range(6))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        leave_in_the_middle()
    assert [future.result(0) for future in futures] == list(range(6))


def test_shutting_down_cancels_what_is_queued_only_when_asked(
    client: Client, tmp_path: Path
) -> None:
    pool, gate = client.executor(), tmp_path / "gate"
    running = [pool.submit(gated, gate) for _ in range(4)]
    for future in running:
        wait_running(future)
    queued = [pool.submit(gated, gate) for _ in range(20)]

    def open_after_the_last(_: object) -> None:
        if all(future.done() for future in queued):
            gate.touch()

    for each in queued:
        each.add_done_callback(open_after_the_last)
    pool.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in queued)
    assert [future.result() for future in running] == [None] * 4


def test_shutting_down_without_waiting_delivers_all_the_same(client: Client) -> None:
    pool = client.executor()
    future = pool.submit(pow, 2, 2)
    pool.shutdown(wait=False)
    assert future.result(60) == 4


def test_callbacks_may_use_the_executor(pool: RunExecutor) -> None:
    seconds: list[RunFuture[int]] = []
    pool.submit(pow, 2, 2).add_done_callback(lambda _: seconds.append(pool.submit(pow, 3, 3)))
    wait_for("the callback was called", lambda: seconds)
    assert seconds[0].result(60) == 27


def test_threads_can_share_an_executor(pool: RunExecutor) -> None:
    found: list[int] = []

    def use(base: int) -> None:
        found.extend(pool.map(pow, [base] * 5, range(5)))

    threads = [threading.Thread(target=use, args=(base,)) for base in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == sorted(base**at for base in range(4) for at in range(5))


def test_an_event_loop_can_use_it(pool: RunExecutor) -> None:
    async def main() -> tuple[int, int, bool]:
        loop = asyncio.get_running_loop()
        summed = await loop.run_in_executor(pool, sum, [1, 2, 3])
        wrapped = await asyncio.wrap_future(pool.submit(pow, 2, 5))
        sleeping = asyncio.wrap_future(pool.submit(time.sleep, 1))
        sleeping.cancel()
        return summed, wrapped, sleeping.cancelled()

    assert asyncio.run(main()) == (6, 32, True)


def test_options_are_those_of_every_run(client: Client, shared: Daemon) -> None:
    client.queue_set("gpu", slots=1)
    with client.executor(queue="gpu", env={"LEVEL": "3"}, cwd=shared.home) as pool:
        future = pool.submit(lambda: (os.environ["LEVEL"], str(Path.cwd())))
        assert future.result(60) == ("3", str(shared.home))
        assert future.run_id is not None
        assert client.show(future.run_id)["run"]["queue"] == "gpu"


def test_a_queue_that_does_not_exist_fails_the_future(client: Client) -> None:
    with client.executor(queue="nowhere") as pool, pytest.raises(Exception, match="nowhere"):
        pool.submit(pow, 2, 2).result(60)


def test_a_function_too_large_is_refused_at_once(pool: RunExecutor) -> None:
    with pytest.raises(InvalidRequest, match="let it read a file"):
        pool.submit(len, b"x" * 2_000_000)


def test_without_a_daemon_there_is_no_executor(daemon: Daemon) -> None:
    client = daemon.client()
    daemon.stop()
    with pytest.raises(Unreachable):
        client.executor()


def test_futures_outlive_a_daemon_that_is_killed_and_comes_back(daemon: Daemon) -> None:
    with daemon.client() as client, client.executor() as pool:
        futures = [pool.submit(later, 0.5, at) for at in range(8)]
        wait_running(futures[0])
        daemon.kill()
        daemon.start("--slots", "4")
        assert [future.result(60) for future in futures] == list(range(8))


def test_futures_outlive_a_broker_that_is_killed(daemon: Daemon) -> None:
    with daemon.client() as client, client.executor() as pool:
        futures = [pool.submit(later, 0.3, at) for at in range(8)]
        wait_running(futures[0])
        broker = client.status()["broker"]["pid"]
        assert broker is not None
        os.kill(broker, signal.SIGKILL)
        assert [future.result(60) for future in futures] == list(range(8))


SCRIPT = """
import sys, time
from intendant import Client

class Mine(Exception):
    pass

def fails():
    raise Mine("by value")

client = Client(sys.argv[1])
with client.executor() as pool:
    try:
        pool.submit(fails).result(60)
    except Mine as error:
        print("caught", error)
pool = client.executor()
pool.submit(time.sleep, 1)
pool.submit(time.sleep, 1)
while not pool.submit(pow, 2, 2).result(60):
    pass
"""


def test_a_program_that_ends_leaves_its_runs_to_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with daemon.client() as client:
        done = subprocess.run(
            [sys.executable, str(script), client.endpoint],
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "caught by value\n", "")
        ended = client.wait("1-4", timeout_s=60)
    assert [run["outcome"] for run in ended] == ["failed", *["succeeded"] * 3]
