"""The traps of ZeroMQ that a broker open to a network must not fall into, S1 to S18.

Each is something that libzmq (4.3.5) or its Python binding does when it is not told otherwise.
"""

from __future__ import annotations

import asyncio
import os
import socket as unix
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zmq
from structlog.testing import capture_logs

from intendant.broker.auth import Gatekeeper, Keyring
from intendant.broker.client import Connection
from intendant.broker.config import BrokerConfig, Endpoint, KeyPair
from intendant.broker.connections import connection_at, shut_down
from intendant.broker.keys import ClientKeys, make_pair
from intendant.broker.ports import Port
from intendant.broker.server import Server
from intendant.broker.services import Unsent
from intendant.broker.sockets import close_dealer, open_dealer, outdated_libzmq
from intendant.broker.sync_client import SyncConnection
from intendant.broker.worker import Request
from intendant.errors import AccessDenied, Unreachable
from intendant.protocol import mdp
from intendant.protocol.roles import Caller, Role, local
from tests.helpers.bus import workers

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
"""ZMTP 3.0 (RFC 23), as a client without a key begins."""

WHEN_SILENT = (zmq.TCP_KEEPALIVE_IDLE, zmq.TCP_KEEPALIVE_INTVL, zmq.TCP_KEEPALIVE_CNT)


@dataclass
class Door:
    """A broker with keys, Ann's and Bob's, and a worker that says who asks."""

    server_key: KeyPair = field(default_factory=make_pair)
    ann: KeyPair = field(default_factory=make_pair)
    bob: KeyPair = field(default_factory=make_pair)
    endpoint: str = ""
    server: Server | None = None

    @property
    def authorized(self) -> dict[str, Caller]:
        pairs = {"ann": self.ann, "bob": self.bob}
        return {pair.public: Caller(name, Role.SUBMIT) for name, pair in pairs.items()}

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def keys(self, pair: KeyPair) -> ClientKeys:
        return ClientKeys(pair, self.server_key.public)

    async def ask(self, pair: KeyPair | None, body: bytes = b"?") -> bytes:
        keys = None if pair is None else self.keys(pair)
        with closing(Connection(self.endpoint, keys=keys, connect_s=60.0)) as connection:
            return (await connection.request(b"who", [body]))[0]

    @contextmanager
    def raw(self, pair: KeyPair, **options: object) -> Iterator[zmq.Socket[bytes]]:
        """A socket of this client that keeps to no rule."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger, socket.rcvtimeo = 0, 60_000
            socket.curve_publickey = pair.public.encode()
            socket.curve_secretkey = pair.secret.encode()
            socket.curve_serverkey = self.server_key.public.encode()
            for name, value in options.items():
                setattr(socket, name, value)
            socket.connect(self.endpoint)
            yield socket


@asynccontextmanager
async def opened(tmp_path: Path, **config: object) -> AsyncIterator[Door]:
    door = Door()
    inside = f"ipc://{tmp_path}/run/b.sock"
    settings: dict[str, object] = {
        "endpoints": (Endpoint(inside), Endpoint("tcp://127.0.0.1:*")),
        "open_registration": True,
        "heartbeat_s": 0.5,
        "server_key": door.server_key,
        "authorized": door.authorized,
        **config,
    }

    async def who(request: Request) -> list[bytes]:
        return [request.caller.account.encode()]

    with Server(BrokerConfig(**settings)) as server:  # type: ignore[arg-type]  # a test names its own
        _, door.endpoint = server.listen()
        door.server = server
        async with workers(inside, b"who", who):
            yield door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path) as door:
        yield door


def test_s1_without_its_gatekeeper_a_socket_with_keys_lets_nobody_in() -> None:
    door = Door()
    config = BrokerConfig(endpoints=(Endpoint("tcp://127.0.0.1:*"),), server_key=door.server_key)
    keys = door.keys(door.ann)
    with (
        zmq.Context() as context,
        closing(Port(context, 0, config, Keyring(door.authorized))) as port,
        closing(SyncConnection(port.bind(), keys=keys, connect_s=1.5)) as client,
    ):
        with pytest.raises((AccessDenied, Unreachable)):
            client.request(b"who", [b"?"], timeout_s=2)
        assert not port.has_input()


async def test_s2_nothing_of_a_client_without_a_key_reaches_the_broker(door: Door) -> None:
    with pytest.raises(AccessDenied, match="lets keys in alone"):
        await door.ask(None)
    assert counters(door)["invalid"] == 0
    assert await door.ask(door.ann) == b"ann"


async def test_s3_no_policy_covers_another_domain_and_a_refusal_is_logged(
    door: Door,
) -> None:
    """Each question names our domain, and any other is refused: there is no catch-all."""
    assert await door.ask(door.bob) == b"bob"
    stranger = make_pair()
    with capture_logs() as logged, pytest.raises(AccessDenied):
        await door.ask(stranger)
    refused = [line for line in logged if line["event"] == "key_refused"]
    assert (refused[0]["key"], refused[0]["address"]) == (stranger.public, "127.0.0.1")
    assert stranger.secret not in str(logged)


def test_s4_nonsense_does_not_silence_the_gatekeeper() -> None:
    door = Door()
    with zmq.Context() as context, context.socket(zmq.DEALER) as libzmq:
        gatekeeper = Gatekeeper(context, Keyring(door.authorized))
        libzmq.linger = 0
        libzmq.connect("inproc://zeromq.zap.01")
        for nonsense in ([b""], [b"", b""], [b"\xff" * 300] * 40, [b"", b"1.0", b"1"]):
            libzmq.send_multipart(nonsense)
        gatekeeper.pump()

        answers = [libzmq.recv_multipart(zmq.NOBLOCK) for _ in range(4)]

        gatekeeper.socket.close()
    assert [answer[3] for answer in answers] == [b"400"] * 4


async def test_s5_a_second_broker_in_the_same_process_lets_in_as_the_first_did(
    tmp_path: Path,
) -> None:
    for number in ("1", "2"):
        async with opened(tmp_path / number) as door:
            assert await door.ask(door.ann) == b"ann"


async def test_s6_keys_that_come_later_are_known_and_no_others(door: Door) -> None:
    assert door.server is not None
    new = make_pair()
    door.server.authorize({**door.authorized, new.public: local("new")})
    assert await door.ask(new) == b"new"
    with pytest.raises(AccessDenied):
        await door.ask(make_pair())


async def test_s7_a_key_that_is_taken_back_loses_the_connections_it_has(door: Door) -> None:
    assert door.server is not None
    with closing(Connection(door.endpoint, keys=door.keys(door.ann))) as connection:
        assert await connection.request(b"who", [b"?"]) == [b"ann"]

        door.server.authorize({door.bob.public: Caller("bob", Role.SUBMIT)})

        with pytest.raises(AccessDenied):
            await connection.request(b"who", [b"?"])
    assert await door.ask(door.bob) == b"bob"


def test_s7_a_connection_that_took_the_descriptor_of_one_cut_off_goes_on() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(unix.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        _, client = (stack.enter_context(unix.create_connection(address)) for _ in range(2))
        ended, accepted = (stack.enter_context(listener.accept()[0]) for _ in range(2))
        connection = connection_at(ended.fileno())
        os.dup2(accepted.fileno(), ended.fileno())

        shut_down(connection)

        accepted.sendall(b"here")
        assert client.recv(4) == b"here"
        shut_down(connection_at(ended.fileno()))
        assert client.recv(4) == b""


async def test_s8_sockets_without_keys_are_in_a_folder_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        uri = f"ipc://{tmp_path}/run/b.sock"
        with Server(BrokerConfig(endpoints=(Endpoint(uri),))) as server:
            server.listen()
            assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


async def test_s9_who_asks_is_said_by_the_key_whatever_the_message_says(door: Door) -> None:
    with door.raw(door.ann) as socket:
        for _ in range(3):
            socket.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"who", b'{"account": "bob"}'])
        answers = await asyncio.to_thread(lambda: [socket.recv_multipart() for _ in range(3)])
    assert {answer[3] for answer in answers} == {b"ann"}


async def test_s10_a_routing_id_is_nobodys_identity(door: Door) -> None:
    """Who takes another's routing id gets neither its answers nor its name, and stops nobody."""
    request = [mdp.CLIENT, mdp.C_REQUEST, b"who", b"?"]
    with door.raw(door.ann, routing_id=b"ann") as ann:
        ann.send_multipart(request)
        assert (await asyncio.to_thread(ann.recv_multipart))[3] == b"ann"
        with door.raw(door.bob, routing_id=b"ann", rcvtimeo=500) as bob:
            bob.send_multipart(request)
            with pytest.raises(zmq.Again):
                await asyncio.to_thread(bob.recv_multipart)
        ann.send_multipart(request)
        assert (await asyncio.to_thread(ann.recv_multipart))[3] == b"ann"
    # A squatter keeps nobody out: our own sockets leave their ids to ZeroMQ.
    socket, monitor = open_dealer(door.endpoint, door.keys(door.bob))
    assert socket.routing_id == b""
    close_dealer(socket, monitor)


async def test_s10_who_had_the_routing_id_of_a_newcomer_before_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path, heartbeat_s=60.0) as door:
        with door.raw(door.ann, routing_id=b"same") as ann:
            ann.send_multipart([mdp.WORKER, mdp.W_READY, b"left"])
            async with asyncio.timeout(60):
                while await _mmi(door, door.bob, b"left") != b"200":
                    pass
        async with asyncio.timeout(60):
            while (said := await _mmi(door, door.bob, b"left", routing_id=b"same")) is None:
                pass  # her connection is not closed yet
        assert said == b"404"


async def _mmi(door: Door, pair: KeyPair, service: bytes, **options: object) -> bytes | None:
    """What the broker says of a service; nothing, to who gets no answer within half a second."""
    with door.raw(pair, rcvtimeo=500, **options) as socket, suppress(zmq.Again):
        socket.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"mmi.service", service])
        return (await asyncio.to_thread(socket.recv_multipart))[3]
    return None


async def test_s11_an_id_that_looks_like_one_of_the_brokers_own_is_served_as_any(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, server_key=None) as door:
        ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x05"
        ready += bytes(4) + b"\x01"
        with unix.create_connection(("127.0.0.1", door.port), timeout=60) as peer:
            frames = [mdp.CLIENT, mdp.C_REQUEST, b"mmi.service", b"who"]
            sent = b"".join(
                bytes([1 if at < 3 else 0, len(frame)]) + frame for at, frame in enumerate(frames)
            )
            peer.sendall(GREETING)
            await asyncio.to_thread(read_until, peer, b"ROUTER")
            peer.sendall(b"\x04" + bytes([len(ready)]) + ready + sent)
            answer = await asyncio.to_thread(read_until, peer, b"200")
        assert mdp.CLIENT in answer
        assert await door.ask(None) == b"tcp"


@pytest.mark.parametrize("count", [mdp.MAX_FRAMES + 1, 50_000])
async def test_s12_a_message_of_too_many_frames_is_dropped(door: Door, count: int) -> None:
    with door.raw(door.ann, sndhwm=2) as socket:
        request = [mdp.CLIENT, mdp.C_REQUEST, b"who"]
        frames = [*request, *[b""] * (count - len(request))]
        await asyncio.to_thread(socket.send_multipart, frames)
        socket.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"who", b"?"])
        assert (await asyncio.to_thread(socket.recv_multipart))[3] == b"ann"
    assert counters(door)["invalid"] == 1


async def test_s12_a_frame_that_is_too_large_ends_its_connection_alone(door: Door) -> None:
    with door.raw(door.ann) as socket:
        socket.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"who", bytes(mdp.MAX_FRAME_BYTES + 100)])
        socket.rcvtimeo = 500
        with pytest.raises(zmq.Again):
            await asyncio.to_thread(socket.recv_multipart)
    assert await door.ask(door.bob, bytes(mdp.MAX_FRAME_BYTES)) == b"bob"


def test_s13_a_full_or_lost_peer_is_told_and_never_waited_for() -> None:
    config = BrokerConfig(endpoints=(Endpoint("tcp://127.0.0.1:*"),))
    with zmq.Context() as context, closing(Port(context, 0, config, Keyring({}))) as port:
        with context.socket(zmq.DEALER) as client:
            client.linger, client.rcvhwm = 0, 1
            client.connect(port.bind())
            client.send(b"hello")
            assert port.socket.poll(60_000)
            [(peer, _)] = port.read(16)
            frames = [bytes(1024 * 1024)]
            sent = [port.send(peer.routing_id, frames) for _ in range(1000)]
        assert sent[0] is None
        assert sent[-1] is Unsent.FULL
        assert sent.count(None) < 200
        deadline = time.monotonic() + 60
        while port.send(peer.routing_id, frames) is not Unsent.GONE:
            assert time.monotonic() < deadline
            port.socket.poll(50)  # as the broker does, which reads all the time
            port.read(16)


async def test_s14_silent_connections_are_closed_and_keep_nobody_out(tmp_path: Path) -> None:
    async with opened(tmp_path, max_connections=10) as door:
        silent = [unix.create_connection(("127.0.0.1", door.port), timeout=60) for _ in range(60)]
        try:
            assert await door.ask(door.ann) == b"ann"  # as soon as the first are closed
            for peer in silent:
                await asyncio.to_thread(read_to_the_end, peer)
        finally:
            for peer in silent:
                peer.close()


def test_s14_of_too_many_connections_the_newest_end() -> None:
    config = BrokerConfig(endpoints=(Endpoint("tcp://127.0.0.1:*"),), max_connections=3)
    with zmq.Context() as context, closing(Port(context, 0, config, Keyring({}))) as port:
        port.socket.handshake_ivl = 60_000  # nothing else ends them here
        at = int(port.bind().rpartition(":")[2])
        silent = [unix.create_connection(("127.0.0.1", at), timeout=0.01) for _ in range(8)]
        is_open = [True] * 8
        deadline = time.monotonic() + 60
        while sum(is_open) > 3 and time.monotonic() < deadline:
            port.connections.monitor.poll(100)
            port.connections.pump()
            is_open = [
                still and not has_ended(peer) for still, peer in zip(is_open, silent, strict=True)
            ]
        for peer in silent:
            peer.close()
    assert is_open == [True] * 3 + [False] * 5


def test_s15_links_have_keepalive_no_deadly_heartbeats_and_closing_waits_for_nobody() -> None:
    config = BrokerConfig(endpoints=(Endpoint("tcp://127.0.0.1:*"),))
    with zmq.Context() as context, closing(Port(context, 0, config, Keyring({}))) as port:
        socket, monitor = open_dealer("tcp://127.0.0.1:1")
        for one in (port.socket, socket):
            assert one.get(zmq.HEARTBEAT_IVL) == 0
            assert (one.get(zmq.TCP_KEEPALIVE), one.get(zmq.LINGER)) == (1, 0)
            assert [one.get(option) for option in WHEN_SILENT] == [10, 5, 3]
        assert port.socket.get(zmq.HANDSHAKE_IVL) == 2000
        close_dealer(socket, monitor)


@pytest.mark.parametrize("has_loop", [True, False])
async def test_s16_a_refused_client_hears_of_it_at_once(door: Door, *, has_loop: bool) -> None:
    stranger = make_pair()
    client = SyncConnection(door.endpoint, keys=door.keys(stranger))
    asked = (
        door.ask(stranger)
        if has_loop
        else asyncio.to_thread(client.request, b"who", [b"?"], timeout_s=100)
    )
    began = time.monotonic()
    with pytest.raises(AccessDenied, match=r"access denied: .* does not know our key"):
        await asked
    assert time.monotonic() - began < 30.0  # and not for as long as it takes to give up


async def test_s17_what_looks_like_a_pickle_is_bytes(door: Door, tmp_path: Path) -> None:
    """One that would make a file is in every place of a message; nobody makes it."""
    canary = tmp_path / "canary"
    pickle = b"cos\nmkdir\n(S'" + os.fsencode(canary) + b"'\ntR."
    with door.raw(door.ann) as socket:
        whole = [mdp.CLIENT, mdp.C_REQUEST, b"who", b"?"]
        for at in range(4):
            socket.send_multipart([*whole[:at], pickle, *whole[at + 1 :]])
        assert (await asyncio.to_thread(socket.recv_multipart))[3] == b"ann"
    assert not canary.exists()


async def test_s18_the_key_is_asked_for_once_a_message_and_each_time(door: Door) -> None:
    """So a connection can't change hands between two messages."""
    with door.raw(door.ann) as ann, door.raw(door.bob) as bob:
        names = []
        for socket in (ann, bob, ann, bob):
            socket.send_multipart([mdp.CLIENT, mdp.C_REQUEST, b"who", b"?"])
            names.append((await asyncio.to_thread(socket.recv_multipart))[3])
    assert names == [b"ann", b"bob", b"ann", b"bob"]


async def test_recorded_bytes_sent_again_are_worth_nothing(door: Door) -> None:
    recorded = await recording(door)
    requests = counters(door)["requests"]
    with unix.create_connection(("127.0.0.1", door.port), timeout=60) as peer:
        peer.sendall(recorded)
        await asyncio.to_thread(read_to_the_end, peer)
    assert counters(door)["requests"] == requests
    assert await door.ask(door.bob) == b"bob"


def test_a_libzmq_with_known_holes_is_told_at_the_start() -> None:
    assert outdated_libzmq() is None
    assert outdated_libzmq((4, 3, 4)) == "found libzmq 4.3.4, expected 4.3.5 or newer"


async def recording(door: Door) -> bytes:
    """What a client sends from its handshake to its request, seen on the way."""
    seen = bytearray()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", door.port)

        async def back() -> None:
            while data := await theirs.read(65_536):
                writer.write(data)

        async with asyncio.TaskGroup() as tasks:
            backwards = tasks.create_task(back())
            while data := await reader.read(65_536):
                seen.extend(data)
                ours.write(data)
            backwards.cancel()
        ours.close()
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        endpoint = f"tcp://127.0.0.1:{port}"
        with closing(Connection(endpoint, keys=door.keys(door.ann))) as connection:
            assert await connection.request(b"who", [b"?"]) == [b"ann"]
    return bytes(seen)


def counters(door: Door) -> dict[str, int]:
    assert door.server is not None
    return door.server.core.counters


def read_until(peer: unix.socket, end: bytes) -> bytes:
    """What comes, up to these bytes."""
    received = b""
    while end not in received:
        data = peer.recv(65_536)
        assert data, f"closed after {received!r}"
        received += data
    return received


def has_ended(peer: unix.socket) -> bool:
    """Whether the other side has closed the connection."""
    try:
        return not peer.recv(65_536)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def read_to_the_end(peer: unix.socket) -> None:
    """Return when the other side has closed the connection, however."""
    try:
        while peer.recv(65_536):
            continue
    except ConnectionError:
        return
