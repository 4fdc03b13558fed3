"""Our workers and clients against a broker that says what a test makes it say.

The rules are those of `protocol/conformance.md`, as far as they bind the ends of the bus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from intendant.broker.client import Connection
from intendant.broker.dealer import FIRST_DELAY_S
from intendant.broker.sync_client import SyncConnection
from intendant.broker.worker import Handler, Request, Worker
from intendant.protocol import mdp
from tests.helpers.router import HEARTBEAT, Router, router

BEAT_S = 0.1
ROUNDS = 6
PATIENT = 300
"""Silent intervals that no loaded machine comes to, where silence is not what a test is about."""
READY = [mdp.WORKER, mdp.W_READY, b"echo"]
DISCONNECT = [mdp.WORKER, mdp.W_DISCONNECT]


async def echo(request: Request) -> list[bytes]:
    return request.body


@asynccontextmanager
async def worker(
    folder: Path, handler: Handler = echo, *, liveness: int = PATIENT
) -> AsyncIterator[Router]:
    """A worker of `echo` and the other end of its connection."""
    uri = f"ipc://{folder}/b.sock"
    made = Worker(uri, b"echo", handler, heartbeat_s=BEAT_S, liveness=liveness)
    with router(uri) as other_end:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.run())
            yield other_end
            running.cancel()


async def test_c1_c2_a_worker_introduces_itself_by_ready(tmp_path: Path) -> None:
    async with worker(tmp_path) as broker:
        assert (await broker.hear())[1] == READY


async def test_c9_d1_a_worker_takes_ready_as_accepted_and_sends_heartbeats(tmp_path: Path) -> None:
    async with worker(tmp_path) as broker:
        peer, _ = await broker.hear()
        for _ in range(ROUNDS):
            broker.say(peer, *HEARTBEAT)
            assert await broker.hear() == (peer, HEARTBEAT)


@pytest.mark.parametrize("address", [b"7:ann", b"\x00\xff", b"a" * 300])
async def test_a4_a5_a_worker_gives_the_address_back_as_it_came(
    tmp_path: Path, address: bytes
) -> None:
    async with worker(tmp_path) as broker:
        peer, _ = await broker.hear()
        broker.assign(peer, address, b"x", b"", b"\x00")
        _, answer = await broker.hear_word()
    assert answer == [mdp.WORKER, mdp.W_FINAL, address, b"", b"x", b"", b"\x00"]


async def test_e2_a_worker_sends_its_partials_and_one_final(tmp_path: Path) -> None:
    async def count(request: Request) -> list[bytes]:
        await request.partial(b"1")
        await request.partial(b"2")
        return [b"end"]

    async with worker(tmp_path, count) as broker:
        peer, _ = await broker.hear()
        broker.assign(peer, b"7:ann", b"x")
        words = [(await broker.hear_word())[1] for _ in range(3)]
        rest = await broker.hear_all(2 * BEAT_S)
    assert [(frames[1], frames[4]) for frames in words] == [
        (mdp.W_PARTIAL, b"1"), (mdp.W_PARTIAL, b"2"), (mdp.W_FINAL, b"end"),
    ]  # fmt: skip
    assert all(frames == HEARTBEAT for _, frames in rest)


async def test_e2_a_worker_whose_handler_fails_sends_one_final(tmp_path: Path) -> None:
    async def fail(_request: Request) -> list[bytes]:
        raise ValueError("on purpose")

    async with worker(tmp_path, fail) as broker:
        peer, _ = await broker.hear()
        for _ in range(2):
            broker.assign(peer, b"7:ann", b"x")
            assert (await broker.hear_word())[1][1] == mdp.W_FINAL


async def test_e1_a_worker_that_is_given_a_second_request_starts_anew(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def wait(_request: Request) -> list[bytes]:
        await may_end.wait()
        return [b"late"]

    with capture_logs() as logged:
        async with worker(tmp_path, wait) as broker:
            peer, _ = await broker.hear()
            broker.assign(peer, b"7:ann", b"x")
            broker.assign(peer, b"8:bob", b"y")
            while "broker_message_invalid" not in [line["event"] for line in logged]:
                await asyncio.sleep(0.01)
            may_end.set()
            again, frames = await broker.hear_word()
    assert frames == READY
    assert again != peer


async def test_c8_a_worker_that_is_told_to_go_comes_back_on_a_new_socket(tmp_path: Path) -> None:
    async with worker(tmp_path) as broker:
        peers = []
        began = time.monotonic()
        for _ in range(5):
            peer, frames = await broker.hear_word()
            assert frames == READY
            peers.append(peer)
            broker.say(peer, *DISCONNECT)
        took_s = time.monotonic() - began
    assert len(set(peers)) == 5
    # Four pauses, each twice the one before, each cut by half at most.
    assert took_s >= (1 + 2 + 4 + 8) * FIRST_DELAY_S / 2


async def test_d2_d7_a_worker_begins_anew_when_the_broker_is_silent(tmp_path: Path) -> None:
    began = time.monotonic()
    async with worker(tmp_path, liveness=3) as broker:
        peer, _ = await broker.hear()
        again, frames = await broker.hear_word()
    assert frames == READY
    assert again != peer
    assert time.monotonic() - began >= 3 * BEAT_S


async def test_d3_a_request_is_a_sign_of_life_to_a_worker(tmp_path: Path) -> None:
    async with worker(tmp_path, liveness=20) as broker:
        peer, _ = await broker.hear()
        deadline = time.monotonic() + 25 * BEAT_S
        while time.monotonic() < deadline:
            broker.assign(peer, b"7:ann", b"x")
            assert (await broker.hear_word())[0] == peer
            await asyncio.sleep(BEAT_S / 2)


async def test_d4_a_worker_that_sends_partials_sends_no_heartbeats(tmp_path: Path) -> None:
    sent_at: list[float] = []

    async def stream(request: Request) -> list[bytes]:
        for _ in range(40):
            await request.partial(b"part")
            sent_at.append(time.monotonic())
            await asyncio.sleep(BEAT_S / 10)
        return [b"end"]

    async with worker(tmp_path, stream) as broker:
        peer, _ = await broker.hear()
        broker.assign(peer, b"7:ann", b"x")
        commands = []
        for _ in range(40):
            commands.append((await broker.hear())[1][1])
            broker.say(peer, *HEARTBEAT)
    # On a machine that held us up for a whole interval, there one is due.
    pauses = [later - earlier for earlier, later in pairwise([0.0, *sent_at])]
    owed = sum(pause > 0.9 * BEAT_S for pause in pauses)
    assert commands.count(mdp.W_HEARTBEAT) <= owed


async def test_d8_a_busy_worker_sends_heartbeats(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def wait(request: Request) -> list[bytes]:
        await asked.wait()
        return request.body

    async with worker(tmp_path, wait) as broker:
        peer, _ = await broker.hear()
        broker.assign(peer, b"7:ann", b"x")
        for _ in range(ROUNDS):
            broker.say(peer, *HEARTBEAT)
            assert await broker.hear() == (peer, HEARTBEAT)
        asked.set()
        assert (await broker.hear_word())[1][1] == mdp.W_FINAL


@pytest.mark.parametrize(
    "frames",
    [
        [b"garbage"],
        [mdp.WORKER],
        [mdp.WORKER, b"\x09"],
        [mdp.WORKER, mdp.W_READY, b"echo"],
        [mdp.WORKER, mdp.W_REQUEST, b"7:ann", b"x"],
        [mdp.WORKER, mdp.W_REQUEST, b"7:ann", b"!", b"x"],
        [mdp.CLIENT, mdp.C_FINAL, b"echo", b"x"],
    ],
)
async def test_a5_a6_a_worker_that_hears_nonsense_begins_anew(
    tmp_path: Path, frames: list[bytes]
) -> None:
    async with worker(tmp_path) as broker:
        peer, _ = await broker.hear()
        broker.say(peer, *frames)
        again, frames = await broker.hear_word()
    assert frames == READY
    assert again != peer


async def test_b1_a_clients_request_has_no_empty_frame_before_it(tmp_path: Path) -> None:
    uri = f"ipc://{tmp_path}/b.sock"
    with router(uri) as broker:
        connection = Connection(uri)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(connection.request(b"echo", [b"x", b""]))
            peer, frames = await broker.hear()
            broker.final(peer, b"echo", b"y")
        connection.close()
    assert frames == [mdp.CLIENT, mdp.C_REQUEST, b"echo", b"x", b""]
    assert asking.result() == [b"y"]


async def test_b2_a_client_asks_again_after_the_final_only(tmp_path: Path) -> None:
    uri = f"ipc://{tmp_path}/b.sock"
    with router(uri) as broker:
        connection = Connection(uri)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.request(b"echo", [b"1"]))
            peer, _ = await broker.hear()
            with pytest.raises(RuntimeError):
                await connection.request(b"echo", [b"2"])
            assert await broker.hear_within(0.05) is None
            broker.final(peer, b"echo", b"y")
        connection.close()


async def test_b5_d10_an_answer_that_comes_too_late_meets_no_later_question(tmp_path: Path) -> None:
    uri = f"ipc://{tmp_path}/b.sock"
    with router(uri) as broker:
        connection = SyncConnection(uri)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(connection.request, b"echo", [b"1"], timeout_s=1.0)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(
                asyncio.to_thread(connection.request, b"echo", [b"2"], timeout_s=60)
            )
            first, second = await broker.hear(), await broker.hear()
            for peer, frames in (first, second):
                broker.final(peer, b"echo", b"answer to " + frames[3])
        connection.close()
    assert first[0] != second[0]
    assert asking.result() == [b"answer to 2"]
