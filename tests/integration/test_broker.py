"""A real broker with real workers and clients, over ipc and loopback tcp."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import stat
import time
from contextlib import aclosing
from pathlib import Path

import pytest
import zmq
from structlog.testing import capture_logs

from intendant.broker.client import Connection, ConnectionPool
from intendant.broker.config import CLIENT_HWM
from intendant.broker.sockets import Context, process_context
from intendant.broker.sync_client import SyncConnection
from intendant.broker.worker import Request
from intendant.errors import HelperLost, SettingsError, Unreachable
from intendant.process.pidfd import Pidfd
from intendant.protocol import mdp
from tests.helpers.bus import broker, broker_alone, workers

ACCOUNT = pwd.getpwuid(os.getuid()).pw_name.encode()


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/run/broker.sock"


async def echo(request: Request) -> list[bytes]:
    return request.body


async def count_to_three(request: Request) -> list[bytes]:
    for number in (b"1", b"2", b"3"):
        await request.partial(number, *request.body)
    return [b"end"]


async def wait_for_ever(_request: Request) -> list[bytes]:
    await asyncio.Event().wait()
    return [b"never"]


@pytest.fixture(params=["ipc", "tcp"])
def uri(request: pytest.FixtureRequest, ipc: str) -> str:
    return ipc if request.param == "ipc" else "tcp://127.0.0.1:*"


@pytest.mark.parametrize("body", [[b"x"], [b""], [b"a", b"", b"\x00\xff", b"z" * 100_000]])
async def test_a1_a2_a_body_of_any_frames_makes_the_round(uri: str, body: list[bytes]) -> None:
    with broker(uri) as [bound]:
        async with workers(bound, b"echo", echo):
            connection = Connection(bound)
            assert await connection.request(b"echo", body) == body
            connection.close()


async def test_c1_a_thousand_requests_of_16_clients_through_8_workers_are_answered_once(
    uri: str,
) -> None:
    async def ask(pool: ConnectionPool, number: int) -> bytes:
        return (await pool.request(b"echo", [b"%d" % number]))[0]

    with broker(uri) as [bound]:
        async with workers(bound, b"echo", echo, count=8):
            pool = ConnectionPool(bound, size=16)
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(ask(pool, number)) for number in range(1000)]
            pool.close()
    assert [task.result() for task in asked] == [b"%d" % number for number in range(1000)]


async def test_a_pool_keeps_to_its_bound(ipc: str) -> None:
    at_once: list[int] = []
    running = 0

    async def handler(request: Request) -> list[bytes]:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.01)
        running -= 1
        return request.body

    with broker(ipc):
        async with workers(ipc, b"slow", handler, count=8), asyncio.TaskGroup() as tasks:
            pool = ConnectionPool(ipc, size=3)
            asked = [tasks.create_task(pool.request(b"slow", [b"x"])) for _ in range(12)]
            await asyncio.gather(*asked)
            pool.close()
    assert max(at_once) == 3


async def test_b3_partials_come_in_order_and_the_final_last(uri: str) -> None:
    with broker(uri) as [bound]:
        async with workers(bound, b"count", count_to_three):
            connection = Connection(bound)
            async with aclosing(connection.stream(b"count", lambda: [b"!"])) as stream:
                heard = [part async for part in stream]
            connection.close()
    assert heard == [
        (False, [b"1", b"!"]), (False, [b"2", b"!"]), (False, [b"3", b"!"]), (True, [b"end"]),
    ]  # fmt: skip


async def test_the_sync_client_gets_answers_and_streams(uri: str) -> None:
    def ask(bound: str) -> tuple[list[bytes], list[bytes]]:
        connection = SyncConnection(bound)
        answer = connection.request(b"count", [b"x"], timeout_s=60)
        parts = [body[0] for _, body in connection.stream(b"count", lambda: [b"x"], timeout_s=60)]
        connection.close()
        return answer, parts

    with broker(uri) as [bound]:
        async with workers(bound, b"count", count_to_three):
            answer, parts = await asyncio.to_thread(ask, bound)
    assert answer == [b"end"]
    assert parts == [b"1", b"2", b"3", b"end"]


async def test_the_broker_says_who_the_client_is(ipc: str) -> None:
    async def who(request: Request) -> list[bytes]:
        return [request.caller.account.encode()]

    with broker(ipc, "tcp://127.0.0.1:*") as [by_ipc, by_tcp]:
        async with workers(ipc, b"who", who):
            for uri, account in ((by_ipc, ACCOUNT), (by_tcp, b"tcp")):
                connection = Connection(uri)
                assert await connection.request(b"who", [b"?"]) == [account]
                connection.close()


@pytest.mark.parametrize(("pid_offset", "served"), [(0, True), (1, False)])
async def test_only_the_daemons_process_offers_the_executor(
    ipc: str, pid_offset: int, served: bool
) -> None:
    daemon = {"open_registration": False, "daemon_pid": os.getpid() + pid_offset}
    with broker(ipc, private=True, patience_s=0.5, **daemon):
        async with workers(ipc, b"executor", echo):
            connection = Connection(ipc)
            [answer] = await connection.request(b"executor", [b"x"])
            connection.close()
    assert (answer == b"x") is served
    assert (b"request_expired" in answer) is not served


async def test_d8_a_worker_stays_registered_while_its_handler_takes_long(ipc: str) -> None:
    async def slow(request: Request) -> list[bytes]:
        await asyncio.sleep(1.5)  # twice what silence is allowed
        return request.body

    with broker(ipc, heartbeat_s=0.25):
        async with workers(ipc, b"slow", slow, heartbeat_s=0.25):
            connection = Connection(ipc)
            assert await connection.request(b"slow", [b"x"]) == [b"x"]
            connection.close()


async def test_d1_an_idle_worker_stays_registered(ipc: str) -> None:
    with broker(ipc, heartbeat_s=0.25), capture_logs() as logged:
        async with workers(ipc, b"echo", echo, heartbeat_s=0.25):
            await asyncio.sleep(1.5)  # twice what silence is allowed
    assert [line["event"] for line in logged].count("worker_registered") == 1


async def test_a_handler_that_fails_is_answered_and_the_worker_goes_on(ipc: str) -> None:
    async def fragile(request: Request) -> list[bytes]:
        if request.body == [b"bad"]:
            raise ValueError("on purpose")
        return request.body

    with broker(ipc):
        async with workers(ipc, b"fragile", fragile):
            connection = Connection(ipc)
            [error] = await connection.request(b"fragile", [b"bad"])
            assert b"internal_error" in error
            assert b"on purpose" not in error
            assert await connection.request(b"fragile", [b"good"]) == [b"good"]
            connection.close()


async def test_b5_a_cancelled_request_poisons_nothing(ipc: str) -> None:
    answers = asyncio.Event()

    async def late(request: Request) -> list[bytes]:
        if request.body == [b"first"]:
            await answers.wait()
        return request.body

    with broker(ipc):
        async with workers(ipc, b"late", late, count=2):
            connection = Connection(ipc)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await connection.request(b"late", [b"first"])
            answers.set()
            assert await connection.request(b"late", [b"second"]) == [b"second"]
            connection.close()


async def test_a_stream_that_is_left_poisons_nothing(ipc: str) -> None:
    with broker(ipc):
        async with workers(ipc, b"count", count_to_three, count=2, cancel_when_lost=True):
            connection = Connection(ipc)
            async with aclosing(connection.stream(b"count", lambda: [b"a"])) as stream:
                assert await anext(stream) == (False, [b"1", b"a"])
            async with aclosing(connection.stream(b"count", lambda: [b"b"])) as stream:
                assert await anext(stream) == (False, [b"1", b"b"])
            connection.close()


async def test_b2_a_connection_has_one_request_at_a_time(ipc: str) -> None:
    with broker(ipc):
        async with workers(ipc, b"wait", wait_for_ever, cancel_when_lost=True):
            connection = Connection(ipc)
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(connection.request(b"wait", [b"x"]))
                await asyncio.sleep(0)
                with pytest.raises(RuntimeError):
                    await connection.request(b"wait", [b"x"])
                first.cancel()


async def test_the_handler_ends_when_the_client_of_its_stream_is_gone(ipc: str) -> None:
    ended = asyncio.Event()

    async def endless(request: Request) -> list[bytes]:
        try:
            while True:
                await request.partial(b"tick")
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    with broker(ipc):
        async with workers(ipc, b"endless", endless, cancel_when_lost=True) as [worker]:
            connection = Connection(ipc)
            async with aclosing(connection.stream(b"endless", lambda: [b"x"])) as stream:
                await anext(stream)
            async with asyncio.timeout(60):
                await ended.wait()
                await worker.ready.wait()


async def test_h2_a_slow_reader_is_cut_off_and_told_so(ipc: str) -> None:
    ended = asyncio.Event()

    async def flood(request: Request) -> list[bytes]:
        try:
            while True:
                await request.partial(b"x" * 65_536)
        finally:
            ended.set()

    with broker(ipc, request_ttl_s=20.0):
        async with workers(ipc, b"flood", flood, cancel_when_lost=True):
            client = process_context().socket(zmq.DEALER)
            client.rcvhwm, client.linger = 1, 0
            client.connect(ipc)
            client.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"flood", b"?"])
            async with asyncio.timeout(60):
                await ended.wait()
            parts, final = await asyncio.to_thread(_read_to_the_final, client)
            client.close()
    assert parts >= CLIENT_HWM
    assert b"slow_reader" in final


async def test_h2_a_stream_ends_as_a_success_only_where_all_of_it_was_sent(ipc: str) -> None:
    with broker(ipc, request_ttl_s=60.0, heartbeat_s=0.2, liveness=1000):
        for count in range(CLIENT_HWM, CLIENT_HWM + 9):
            worker, client = (process_context().socket(zmq.DEALER) for _ in range(2))
            client.rcvhwm = 1
            client.linger = worker.linger = 0
            worker.connect(ipc)
            client.connect(ipc)
            worker.send_multipart([mdp.WORKER, mdp.W_READY, b"flood"])
            client.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"flood", b"?"])
            _, _, address, *_ = await _told(worker)
            for _ in range(count):  # all at once, as the broker has no turn meanwhile
                worker.send_multipart([mdp.WORKER, mdp.W_PARTIAL, address, b"", b"x" * 65_536])
            worker.send_multipart([mdp.WORKER, mdp.W_FINAL, address, b"", b"end"])
            worker.send_multipart(
                [mdp.WORKER, mdp.W_READY, b"flood"]
            )  # once more: it is told to go
            assert await _told(worker) == [mdp.WORKER, mdp.W_DISCONNECT]
            parts, final = await asyncio.to_thread(_read_to_the_final, client)
            assert parts == count if final == b"end" else b"slow_reader" in final
            client.close()
            worker.close()


async def _told(worker: zmq.Socket[bytes]) -> list[bytes]:
    """What the broker says next that is no heartbeat."""
    while True:
        assert await asyncio.to_thread(worker.poll, 60_000)
        if (frames := worker.recv_multipart()) != [mdp.WORKER, mdp.W_HEARTBEAT]:
            return frames


def _read_to_the_final(client: zmq.Socket[bytes]) -> tuple[int, bytes]:
    parts = 0
    while client.poll(60_000):
        frames = client.recv_multipart()
        if frames[1] == mdp.C_FINAL:
            return parts, frames[3]
        parts += 1
    raise AssertionError(f"no FINAL after {parts} parts")


async def test_a_worker_that_dies_with_a_request_in_hand_is_noticed_at_once(uri: str) -> None:
    with broker(uri, heartbeat_s=600.0) as [bound]:
        worker = process_context().socket(zmq.DEALER)
        worker.linger = 0
        worker.connect(bound)
        worker.send_multipart([mdp.WORKER, mdp.W_READY, b"fragile"])
        connection = Connection(bound)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(connection.request(b"fragile", [b"x"]))
            assert await asyncio.to_thread(worker.poll, 60_000)
            worker.close()
        connection.close()
    assert b"worker_lost" in asking.result()[0]


async def test_e3_a_service_that_opts_in_has_its_request_given_to_another_worker(ipc: str) -> None:
    with broker_alone(ipc, flags=["--redeliver", "fragile"]):
        first = process_context().socket(zmq.DEALER)
        first.linger = 0
        first.connect(ipc)
        first.send_multipart([mdp.WORKER, mdp.W_READY, b"fragile"])
        connection = Connection(ipc)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(connection.request(b"fragile", [b"x"]))
            assert await asyncio.to_thread(first.poll, 60_000)
            first.close()
            async with workers(ipc, b"fragile", echo):
                assert await asking == [b"x"]
        connection.close()


HOSTILE: list[list[bytes]] = [
    [b""],
    [b"garbage"],
    [mdp.CLIENT],
    [mdp.WORKER],
    [mdp.WORKER, mdp.W_DISCONNECT],
    [mdp.WORKER, mdp.W_FINAL, b"1:ann", b"", b"x"],
    [mdp.CLIENT, mdp.C_REQUEST, b"echo"] + [b"x"] * (mdp.MAX_FRAMES - 2),
    [b""] * 20_000,
    [mdp.CLIENT, mdp.C_REQUEST, b"echo", b"x" * (mdp.MAX_FRAME_BYTES + 1)],
]


@pytest.mark.parametrize("frames", HOSTILE, ids=range(len(HOSTILE)))
async def test_h3_hostile_messages_harm_nobody_else(uri: str, frames: list[bytes]) -> None:
    with broker(uri) as [bound]:
        async with workers(bound, b"echo", echo):
            context: Context = process_context()
            stranger = context.socket(zmq.DEALER)
            stranger.linger = 0
            stranger.connect(bound)
            stranger.send_multipart(frames)
            connection = Connection(bound)
            for _ in range(3):
                async with asyncio.timeout(60):
                    assert await connection.request(b"echo", [b"x"]) == [b"x"]
            stranger.close()
            connection.close()


async def test_h3_bytes_that_are_no_zeromq_harm_nobody(ipc: str) -> None:
    with broker(ipc):
        reader, writer = await asyncio.open_unix_connection(ipc.removeprefix("ipc://"))
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        async with workers(ipc, b"echo", echo):
            connection = Connection(ipc)
            assert await connection.request(b"echo", [b"x"]) == [b"x"]
            connection.close()
        writer.close()
        assert reader is not None


async def test_a_socket_file_that_nobody_listens_at_is_replaced(ipc: str, tmp_path: Path) -> None:
    with broker_alone(ipc) as dead, Pidfd(os.pidfd_open(dead.pid)) as broker_itself:
        dead.process.send_signal(signal.SIGSTOP)  # or it would start another one
        os.kill(dead.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            await broker_itself.wait_exit()
    assert await asyncio.to_thread((tmp_path / "run" / "broker.sock").is_socket)
    with broker(ipc):
        async with workers(ipc, b"echo", echo):
            pass


async def test_the_socket_of_a_living_broker_is_not_taken(ipc: str) -> None:
    with broker_alone(ipc):
        with pytest.raises(SettingsError, match="another broker"), broker(ipc):
            pass
        connection = Connection(ipc)
        assert await connection.request(b"mmi.service", [b"echo"]) == [b"404"]
        connection.close()


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SettingsError, match="no socket"), broker(f"ipc://{tmp_path}/file"):
        pass
    assert (tmp_path / "file").read_text() == "precious"


async def test_the_folder_of_the_socket_is_for_its_owner_alone(ipc: str) -> None:
    before = os.umask(0)
    try:
        with broker(ipc):
            folder = Path(ipc.removeprefix("ipc://")).parent
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_h4_a_broker_alone_says_goodbye_and_exits_with_128_and_the_signal(
    ipc: str, number: signal.Signals
) -> None:
    with broker_alone(ipc) as alone:
        context = process_context()
        worker = context.socket(zmq.DEALER)
        worker.linger = 0
        worker.connect(ipc)
        worker.send_multipart([mdp.WORKER, mdp.W_READY, b"echo"])
        connection = Connection(ipc)
        async with asyncio.timeout(60):
            while await connection.request(b"mmi.service", [b"echo"]) == [b"404"]:
                await asyncio.sleep(0.01)
        alone.process.send_signal(number)
        assert await asyncio.to_thread(alone.process.wait, 60) == 128 + number
        assert worker.poll(60_000)
        assert worker.recv_multipart() == [mdp.WORKER, mdp.W_DISCONNECT]
        worker.close()
        connection.close()


@pytest.mark.parametrize("uri", ["ipc:///nowhere/at/all.sock", "tcp://127.0.0.1:1"])
async def test_where_nobody_listens_is_unreachable(uri: str) -> None:
    connection = Connection(uri, connect_s=0.2)
    with pytest.raises(Unreachable, match=r"no daemon answers at"):
        await connection.request(b"echo", [b"x"])
    connection.close()


@pytest.mark.parametrize(("connect_s", "timeout_s"), [(0.2, 20.0), (20.0, 0.2)])
@pytest.mark.parametrize("uri", ["ipc:///nowhere/at/all.sock", "tcp://127.0.0.1:1"])
def test_the_sync_client_looks_for_a_listener_no_longer_than_either_limit(
    uri: str, connect_s: float, timeout_s: float
) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no daemon answers at"):
        SyncConnection(uri, connect_s=connect_s).request(b"echo", [b"x"], timeout_s=timeout_s)
    assert time.monotonic() - began < 15.0


async def test_the_sync_client_waits_for_nobody_whose_daemon_has_ended_for_good(ipc: str) -> None:
    life, end_of_life = os.pipe()
    connection = SyncConnection(ipc, connect_s=3600.0, life=life)
    asked = asyncio.Event()

    async def be_silent(request: Request) -> list[bytes]:
        asked.set()
        return await wait_for_ever(request)

    with broker(ipc):
        async with workers(ipc, b"wait", be_silent), workers(ipc, b"echo", echo):
            answer = await asyncio.to_thread(connection.request, b"echo", [b"x"], timeout_s=60)
            assert answer == [b"x"]
            waiting = asyncio.create_task(
                asyncio.to_thread(connection.request, b"wait", [b"x"], timeout_s=3600)
            )
            await asked.wait()
            os.close(end_of_life)
            with pytest.raises(HelperLost, match="has ended"):
                await waiting
    with pytest.raises(HelperLost, match="has ended"):
        connection.request(b"echo", [b"x"], timeout_s=3600)
    os.close(life)


async def test_d10_the_sync_client_gives_up_after_its_time(ipc: str) -> None:
    connection = SyncConnection(ipc)
    with broker(ipc):
        async with workers(ipc, b"wait", wait_for_ever), workers(ipc, b"echo", echo):
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(connection.request, b"wait", [b"x"], timeout_s=0.1)
            answer = await asyncio.to_thread(connection.request, b"echo", [b"x"], timeout_s=60)
            connection.close()
    assert answer == [b"x"]
