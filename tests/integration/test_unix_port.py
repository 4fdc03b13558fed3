"""A ROUTER without libzmq, against DEALERs of libzmq's and peers that keep to no rule."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
import zmq
from structlog.testing import capture_logs

from intendant.broker.config import CLIENT_HWM, Endpoint
from intendant.broker.services import Frames, Message, Unsent
from intendant.broker.unix_connection import PASSED_ON_AT_ONCE
from intendant.broker.unix_port import HANDSHAKE_S, UnixPort
from intendant.broker.zmtp import OPENING, ROUTER_OPENING, encode
from intendant.protocol import mdp

LARGE = bytes(3 * 1024 * 1024)
QUITE_LARGE = bytes(256 * 1024)
"""More than a socket takes while nobody reads."""


async def happened(what: str, look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():
            await asyncio.sleep(0.005)
    assert look(), what


class Heard:
    """A port, and what has come by it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.messages: list[Message] = []
        self.port = UnixPort(0, Endpoint(f"ipc://{path}"), self._note)

    def _note(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    def bodies(self) -> list[Frames | None]:
        return [frames for _, frames in self.messages]

    async def wait_for(self, count: int) -> None:
        await happened(f"{count} messages", lambda: len(self.messages) >= count)


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    found = Heard(tmp_path / "s")
    found.port.bind()
    with closing(found.port):
        yield found


def raw(heard: Heard, said: bytes = b"") -> socket.socket:
    """A connection that has said something."""
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(60)
    found.connect(heard.path)
    found.sendall(said)
    return found


def read(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or all until the end."""
    data = bytearray()
    while len(data) < size and (more := peer.recv(size - len(data))):
        data += more
    return bytes(data)


def read_now(peer: socket.socket) -> bytes:
    """What is there."""
    data = bytearray()
    peer.setblocking(False)
    with suppress(BlockingIOError):
        while more := peer.recv(1 << 20):
            data += more
    peer.settimeout(60)
    return bytes(data)


async def test_messages_go_both_ways_whole_and_in_order(heard: Heard) -> None:
    messages = [[b"a", b""], [LARGE, b"end"], [b"b" * 256]]
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo, dealer.sndtimeo = 0, 60_000, 60_000
        dealer.connect(f"ipc://{heard.path}")
        for message in messages:
            dealer.send_multipart(message)
        await heard.wait_for(3)
        peer, _ = heard.messages[0]
        for message in messages:
            assert heard.port.send(peer.routing_id, message) is None

        back = [await asyncio.to_thread(dealer.recv_multipart) for _ in messages]

    assert heard.bodies() == messages
    assert back == messages
    assert peer.pid == os.getpid()


async def test_who_asks_by_ping_is_answered(heard: Heard) -> None:
    """RFC 37: time to live, then a context that comes back."""
    with raw(heard, OPENING + b"\x04\x09\x04PING\x00\x0aab") as peer:
        said = await asyncio.to_thread(read, peer, len(ROUTER_OPENING) + 9)
    assert said == ROUTER_OPENING + b"\x04\x07\x04PONGab"


async def test_a_peer_that_ends_is_told_of_after_its_last_message(heard: Heard) -> None:
    with raw(heard, OPENING) as peer:
        await asyncio.to_thread(read, peer, len(ROUTER_OPENING))
        peer.sendall(encode([b"last"]))
    await heard.wait_for(2)
    assert heard.bodies() == [[b"last"], None]
    assert heard.port.send(heard.messages[0][0].routing_id, [b"x"]) is Unsent.GONE


async def test_the_last_words_of_who_has_gone_are_heard_though_an_answer_failed(
    heard: Heard,
) -> None:
    with raw(heard, OPENING + encode([b"hello"])) as peer:
        await heard.wait_for(1)
        peer.sendall(encode([b"last"]) + b"\x04\x09\x04PING\x00\x0aab")
    routing_id = heard.messages[0][0].routing_id
    assert heard.port.send(routing_id, [b"x"]) is Unsent.FULL
    await heard.wait_for(3)
    assert heard.bodies() == [[b"hello"], [b"last"], None]


async def test_what_there_is_no_memory_for_is_not_sent_now(heard: Heard) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            raise MemoryError

    with raw(heard, OPENING + encode([b"hello"])) as peer:
        await heard.wait_for(1)
        routing_id = heard.messages[0][0].routing_id
        assert heard.port.send(routing_id, [Huge()]) is Unsent.FULL
        assert heard.port.send(routing_id, [b"x"]) is None
        size = len(ROUTER_OPENING) + len(encode([b"x"]))
        assert (await asyncio.to_thread(read, peer, size)).endswith(encode([b"x"]))


async def test_at_the_end_nobody_waits_for_a_peer_that_does_not_read(heard: Heard) -> None:
    hello = OPENING + encode([b"hello"])
    with raw(heard, hello) as stuck, raw(heard, hello) as peer:
        await heard.wait_for(2)
        for heard_of, _ in heard.messages:
            heard.port.send(heard_of.routing_id, [QUITE_LARGE])
        size = len(ROUTER_OPENING) + len(encode([QUITE_LARGE]))
        part = read_now(peer)  # in the loop's own thread: nothing more is sent meanwhile
        heard.port.close(linger_s=0.1)
        rest = await asyncio.to_thread(read, peer, size)
        assert len(part) + len(rest) == size
        assert stuck.fileno() > 0


async def test_who_is_slow_to_read_is_sent_no_more_than_may_wait(heard: Heard) -> None:
    with raw(heard, OPENING + encode([b"hello"])) as peer:
        await heard.wait_for(1)
        routing_id = heard.messages[0][0].routing_id
        sent = 0
        while heard.port.send(routing_id, [QUITE_LARGE]) is None:
            sent += 1
        assert sent >= CLIENT_HWM
        size = len(ROUTER_OPENING) + sent * len(encode([QUITE_LARGE]))
        assert len(await asyncio.to_thread(read, peer, size)) == size
        assert heard.port.send(routing_id, [b"x"]) is None


async def test_what_was_sent_leaves_before_the_end(heard: Heard) -> None:
    with raw(heard, OPENING + encode([b"hello"])) as peer:
        await heard.wait_for(1)
        heard.port.send(heard.messages[0][0].routing_id, [LARGE])
        size = len(ROUTER_OPENING) + len(encode([LARGE]))
        reading = asyncio.ensure_future(asyncio.to_thread(read, peer, size + 1))
        await asyncio.to_thread(lambda: None)  # the thread of the one before is started
        heard.port.close(linger_s=60)
        assert len(await reading) == size


async def test_who_says_a_thousand_things_at_once_lets_others_have_a_turn(heard: Heard) -> None:
    many = 1000
    with raw(heard, OPENING) as first, raw(heard, OPENING) as second:
        await asyncio.to_thread(read, first, len(ROUTER_OPENING))
        await asyncio.to_thread(read, second, len(ROUTER_OPENING))
        first.sendall(encode([b"x"]) * many)
        second.sendall(encode([b"me too"]))
        await heard.wait_for(many + 1)
    assert heard.bodies().index([b"me too"]) <= PASSED_ON_AT_ONCE


async def test_a_message_of_too_many_frames_has_none(heard: Heard) -> None:
    with raw(heard, OPENING + encode([b""] * (mdp.MAX_FRAMES + 1)) + encode([b"x"])):
        await heard.wait_for(2)
    assert heard.bodies()[:2] == [[], [b"x"]]


@pytest.mark.parametrize("said", [b"", OPENING[:-1]])
async def test_a_handshake_has_an_end(heard: Heard, said: bytes) -> None:
    loop = asyncio.get_running_loop()
    with raw(heard, said) as silent, raw(heard, OPENING + encode([b"x"])) as speaking:
        await heard.wait_for(1)
        await asyncio.to_thread(read, silent, len(ROUTER_OPENING))

        heard.port.tick(loop.time() + HANDSHAKE_S + 1)

        assert await asyncio.to_thread(silent.recv, 1) == b""
        speaking.sendall(encode([b"still here"]))
        await heard.wait_for(2)
    assert heard.bodies()[:2] == [[b"x"], [b"still here"]]


async def test_without_descriptors_who_connects_waits_until_there_are_some(heard: Heard) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno(), before[1]))
        try:
            peer.connect(heard.path)
            with capture_logs() as logged:
                await happened("the lack is noticed", lambda: bool(logged))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        peer.sendall(OPENING + encode([b"at last"]))

        heard.port.tick(0.0)

        await heard.wait_for(1)
    assert heard.bodies()[0] == [b"at last"]
