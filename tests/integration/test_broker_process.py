"""The broker as the daemon runs it: its control channel, its death, its return."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from intendant.broker.client import Connection, ConnectionPool
from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.sync_client import SyncConnection
from intendant.broker.worker import Request
from tests.helpers.bus import BrokerProcess, broker_process, workers

TOKEN = "12" * 16
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/run/broker.sock"


def open_to_all(uri: str) -> BrokerConfig:
    return BrokerConfig(endpoints=(Endpoint(uri),), open_registration=True, heartbeat_s=0.5)


def daemons(uri: str) -> BrokerConfig:
    endpoints = (Endpoint(uri, private=True),)
    return BrokerConfig(endpoints=endpoints, daemon_pid=os.getpid(), heartbeat_s=5.0)


async def echo(request: Request) -> list[bytes]:
    return request.body


async def test_the_broker_says_where_it_listens(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        assert await broker.start() == {"bound": [ipc]}


async def test_a_broker_that_cannot_listen_says_why_and_exits() -> None:
    async with broker_process(daemons("tcp://0.0.0.0:5555")) as broker:
        said = await broker.start()
        assert "loopback" in str(said["failed"])
        async with asyncio.timeout(100):
            assert await broker.process.join() == 1


async def test_a_governor_that_was_allowed_before_binding_registers(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        await broker.start({"allow": "governor.1.1", "token_sha256": DIGEST})
        await ask_governor(ipc)


async def test_a_governor_can_be_allowed_and_forbidden_while_the_broker_runs(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        await broker.start()
        connection = Connection(ipc)
        assert b"service_unknown" in (await connection.request(b"governor.1.1", [b"x"]))[0]
        await broker.follow({"allow": "governor.1.1", "token_sha256": DIGEST})
        await ask_governor(ipc)
        await broker.follow({"forbid": "governor.1.1"})
        assert b"service_unknown" in (await connection.request(b"governor.1.1", [b"x"]))[0]
        connection.close()


async def ask_governor(ipc: str) -> None:
    """A governor registers with its token and answers a request."""
    connection = Connection(ipc)
    async with workers(ipc, f"governor.1.1.{TOKEN}".encode(), echo), asyncio.timeout(100):
        assert await connection.request(b"governor.1.1", [b"start"]) == [b"start"]
    connection.close()


async def test_orders_that_make_no_sense_are_left(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        await broker.start({"dance": True}, {"allow": 7}, {"log_level": "loud"})
        broker.tell({"counters": True})
        assert (await broker.said())["counters"] == {
            "requests": 0, "replies": 0, "dropped": 0, "invalid": 0, "expired": 0,
            "workers": 0, "waiting": 0,
        }  # fmt: skip


async def test_the_broker_ends_by_itself_when_the_executor_has_ended(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        await broker.start()
        broker.hang_up()
        async with asyncio.timeout(100):
            assert await broker.process.join() == 0


async def test_sigterm_ends_the_broker_in_order_and_sigint_does_not(ipc: str) -> None:
    async with broker_process(daemons(ipc)) as broker:
        await broker.start()
        pid = broker.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        broker.tell({"counters": True})
        await broker.said()
        broker.process.terminate()
        async with asyncio.timeout(100):
            assert await broker.process.join() == 0


async def test_c11_workers_and_clients_go_on_after_the_broker_was_killed_under_load(
    ipc: str,
) -> None:
    async with broker_process(open_to_all(ipc)) as broker:
        await broker.start()
        async with workers(ipc, b"echo", echo, count=4), asyncio.timeout(100):
            pool = ConnectionPool(ipc, size=8)
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(ask_often(pool, n, 100)) for n in range(8)]
                for _ in range(2):
                    await asyncio.sleep(0.05)  # somewhere in the middle
                    await broker.kill()
                    await broker.start()
            pool.close()
    assert sum(task.result() for task in asked) == 800


async def ask_often(pool: ConnectionPool, number: int, times: int) -> int:
    """How many requests were answered with what was asked."""
    right = 0
    for time in range(times):
        body = [b"%d %d" % (number, time)]
        answer = await pool.request(b"echo", body)
        while b"worker_lost" in answer[0] or b"request_expired" in answer[0]:
            answer = await pool.request(b"echo", body)
        right += answer == body
    return right


async def test_a_stream_asks_anew_where_it_stands_when_the_broker_comes_back(ipc: str) -> None:
    async def count_from(request: Request) -> list[bytes]:
        number = int(request.body[0])
        while number < 20:
            await request.partial(b"%d" % number)
            await asyncio.sleep(0.01)
            number += 1
        return [b"end"]

    heard: list[int] = []
    async with broker_process(open_to_all(ipc)) as broker:
        await broker.start()
        async with workers(ipc, b"count", count_from, count=2, cancel_when_lost=True):
            connection = Connection(ipc)
            stream = connection.stream(b"count", lambda: [b"%d" % len(heard)])
            async with asyncio.timeout(100), aclosing(stream):
                async for is_final, body in stream:
                    if not is_final:
                        heard.append(int(body[0]))
                    if len(heard) == 5:
                        await restart(broker)
            connection.close()
    assert heard == list(range(20))


async def restart(broker: BrokerProcess) -> None:
    """Kill the broker and start another one in its place."""
    await broker.kill()
    await broker.start()


async def test_the_sync_client_asks_again_when_the_broker_comes_back(ipc: str) -> None:
    asked = asyncio.Event()
    answers = asyncio.Event()

    async def handler(request: Request) -> list[bytes]:
        asked.set()
        await answers.wait()
        return request.body

    async with broker_process(open_to_all(ipc)) as broker:
        await broker.start()
        async with workers(ipc, b"slow", handler), asyncio.timeout(100):
            connection = SyncConnection(ipc)
            waiting = asyncio.create_task(
                asyncio.to_thread(connection.request, b"slow", [b"x"], timeout_s=60)
            )
            await asked.wait()
            await restart(broker)
            answers.set()
            assert await waiting == [b"x"]
            connection.close()


async def test_d9_nobody_is_lost_when_the_broker_was_stopped_for_long(ipc: str) -> None:
    async with broker_process(open_to_all(ipc)) as broker:
        await broker.start()
        pid = broker.process.pid
        assert pid is not None
        patient = workers(ipc, b"echo", echo, liveness=60)  # it does not give up the broker
        async with patient, asyncio.timeout(100):
            connection = Connection(ipc)
            os.kill(pid, signal.SIGSTOP)
            waiting = asyncio.create_task(connection.request(b"echo", [b"x"]))
            await asyncio.sleep(2.5)  # longer than the broker's liveness x interval
            os.kill(pid, signal.SIGCONT)
            assert await waiting == [b"x"]
            connection.close()


def test_the_sync_client_loads_neither_asyncio_nor_pydantic() -> None:
    program = (
        "import intendant.broker.sync_client, sys; "
        "print([name for name in ('asyncio', 'pydantic', 'structlog') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"


WAIT_FOR_EVER = """
import sys
from intendant.broker.sync_client import SyncConnection
print("asking", flush=True)
SyncConnection(sys.argv[1]).request(b"nobody", [b"x"], timeout_s=60)
"""


async def test_ctrl_c_ends_a_sync_client_that_waits(ipc: str) -> None:
    async with broker_process(open_to_all(ipc)) as broker:
        await broker.start()
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WAIT_FOR_EVER, ipc,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert client.stdout is not None
        assert await client.stdout.readline() == b"asking\n"
        async with asyncio.timeout(100):
            while not await waiting_requests(broker):
                await asyncio.sleep(0.01)
            client.send_signal(signal.SIGINT)
            _, errors = await client.communicate()
    assert client.returncode == -signal.SIGINT
    assert errors.strip().endswith(b"KeyboardInterrupt")


async def waiting_requests(broker: BrokerProcess) -> int:
    """How many requests wait in the broker."""
    broker.tell({"counters": True})
    counters = (await broker.said())["counters"]
    assert isinstance(counters, dict)
    return int(counters["waiting"])
