"""A DEALER without libzmq, against a ROUTER of libzmq's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from intendant.broker.sockets import ConnectionLost, Context, Socket
from intendant.broker.unix_dealer import UnixDealer
from intendant.broker.zmtp import OPENING, ROUTER_OPENING
from intendant.errors import Unreachable


class DyingPeer(socket.socket):
    """Connects to somebody who is gone the moment after."""

    def connect(self, address: object) -> None:
        assert isinstance(address, str)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            super().connect(address)


LARGE = bytes(3 * 1024 * 1024)
MANY = 1000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@pytest.fixture
def router(path: str) -> Iterator[Socket]:
    context: Context = zmq.Context()
    with context, context.socket(zmq.ROUTER) as found:
        found.linger = 0
        found.rcvtimeo = found.sndtimeo = 60_000
        found.sndhwm = found.rcvhwm = 1
        found.router_mandatory = True  # or it would drop what does not fit
        found.bind(f"ipc://{path}")
        yield found


async def test_messages_go_both_ways_whole_and_in_order(path: str, router: Socket) -> None:
    dealer = UnixDealer(path)
    messages = [[b"a", b""], [LARGE, b"end"], [b"b"]]
    async with asyncio.timeout(60):
        for message in messages:
            await dealer.send(message)
        for message in messages:
            sender, *found = await asyncio.to_thread(router.recv_multipart)
            assert found == message
        for message in messages:
            await asyncio.to_thread(router.send_multipart, [sender, *message])
        assert [await dealer.receive() for _ in messages] == messages
    assert dealer.connected
    dealer.close()


async def test_a_broker_that_reads_nothing_is_sent_no_more_than_fits(
    path: str, router: Socket
) -> None:
    dealer = UnixDealer(path)
    async with asyncio.timeout(60):
        await dealer.wait_connected()
        sent = 0
        while dealer.send_nowait([LARGE]):
            sent += 1
            assert sent < 20
        sending = asyncio.ensure_future(dealer.send([b"last"]))
        found: list[bytes] = []
        while found != [b"last"]:
            found = (await asyncio.to_thread(router.recv_multipart))[1:]
        await sending
    dealer.close()


async def test_what_was_sent_leaves_after_the_close(path: str, router: Socket) -> None:
    dealer = UnixDealer(path)
    async with asyncio.timeout(60):
        await dealer.wait_connected()
        assert dealer.send_nowait([LARGE])
        dealer.close(linger_ms=10_000)
        found = await asyncio.to_thread(router.recv_multipart)
    assert found[1:] == [LARGE]


async def test_who_takes_no_messages_is_read_for_no_further_than_a_bound(
    path: str, router: Socket
) -> None:
    router.sndtimeo = 1000
    dealer = UnixDealer(path)
    async with asyncio.timeout(60):
        await dealer.send([b"hello"])
        sender = (await asyncio.to_thread(router.recv_multipart))[0]
        sent = await asyncio.to_thread(_send_until_full, router, sender)
        assert sent < MANY
        for number in range(sent):
            assert (await dealer.receive())[0] == b"%d" % number
    dealer.close()


def _send_until_full(router: Socket, receiver: bytes) -> int:
    """How many messages could be sent, of very many."""
    for number in range(MANY):
        try:
            router.send_multipart([receiver, b"%d" % number, bytes(100_000)])
        except zmq.Again:
            return number
    return MANY


async def test_a_connection_that_ends_is_lost_to_those_who_wait(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        dealer = UnixDealer(path)
        async with asyncio.timeout(60):
            waiting = asyncio.ensure_future(dealer.receive())
            accepted, _ = await asyncio.to_thread(listener.accept)
            accepted.close()
            with pytest.raises(ConnectionLost):
                await waiting
    dealer.close()


async def test_where_nobody_listens_the_connection_is_lost_at_once(path: str) -> None:
    dealer = UnixDealer(path)
    assert dealer.lost
    assert not dealer.send_nowait([b"x"])
    dealer.close()


async def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="can't be connected to"):
        UnixDealer(str(tmp_path / ("x" * 120)))


async def test_a_broker_that_dies_as_it_is_connected_to_is_lost(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "intendant.broker.unix_dealer._make_socket", lambda: DyingPeer(socket.AF_UNIX)
    )
    dealer = UnixDealer(path)
    assert dealer.lost
    dealer.close()


async def test_a_broker_that_asks_by_ping_is_answered(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        dealer = UnixDealer(path)
        broker, _ = listener.accept()
    with broker:
        broker.settimeout(60)
        broker.sendall(ROUTER_OPENING + b"\x04\x09\x04PING\x00\x0aab")
        said = await asyncio.to_thread(_read, broker, len(OPENING) + 9)
    dealer.close()
    assert said == OPENING + b"\x04\x07\x04PONGab"


def _read(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := peer.recv(size - len(data))):
        data += more
    return data
