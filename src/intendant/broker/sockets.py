"""What workers and clients share of ZeroMQ: the context, the DEALER socket, its monitor.

Nothing here needs asyncio, so that the thin client starts fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import zmq

from intendant.errors import AccessDenied, IntendantError, ProtocolError, Unreachable
from intendant.protocol import mdp

if TYPE_CHECKING:
    from intendant.broker.keys import ClientKeys

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

LEAST_LIBZMQ = (4, 3, 5)
"""Before it a stranger could starve or overrun a server (CVE-2020-15166, CVE-2019-13132)."""
MAX_SOCKETS = 16_384
"""Of one process; the executor has one for each stream and each live run, and two to watch each."""
HIGH_WATER_MARK = 16
"""Messages on their way in each direction: small, since a frame may have megabytes."""
RECONNECT_MS = 50
RECONNECT_MAX_MS = 1000

KEEPALIVE = {"tcp_keepalive": 1, "tcp_keepalive_idle": 10, "tcp_keepalive_intvl": 5,
             "tcp_keepalive_cnt": 3}  # fmt: skip
"""So that the end of a host without a word is noticed within 25 s: seconds and a count (tcp(7)).

The kernel does it and not ZMTP's own heartbeats (RFC 37), which libzmq (4.3.5) does not survive: it
aborts the process if they are due while a closed connection has more to read than the socket takes
(zeromq/libzmq#4364, #3937).
"""


class LinkEvent(Enum):
    """What the monitor of a connection tells."""

    CONNECTED = zmq.EVENT_HANDSHAKE_SUCCEEDED
    LOST = zmq.EVENT_DISCONNECTED
    HUNG_UP = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    """In the middle of the handshake; a server does so whose key is another than was expected."""
    WRONG_MECHANISM = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    """The one has a key and the other none."""
    REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH


LINK_EVENTS = sum(event.value for event in LinkEvent)


class ConnectionLost(IntendantError):
    """The broker at the other end is gone, or there is no descriptor; a new socket is needed."""


def denial(event: LinkEvent, endpoint: str) -> AccessDenied | None:
    """Why there is no use in trying again; `None`: there is."""
    match event:
        case LinkEvent.REFUSED:
            return AccessDenied(f"access denied: {endpoint} does not know our key")
        case LinkEvent.WRONG_MECHANISM:
            return AccessDenied(
                f"access denied: {endpoint} lets keys in alone, and we have none; or it has none"
            )
        case _:
            return None


def unreachable(endpoint: str, *, hung_up: bool, has_key: bool) -> IntendantError:
    """Why there is no connection after all the time there was.

    Without a key a slow client may find the connection closed before it has read what it is asked
    for.
    """
    if hung_up:
        why = "its key is not the one we expect" if has_key else "it lets keys in alone"
        return AccessDenied(
            f"access denied: {endpoint} ends each handshake; {why}, or it has too many connections"
        )
    return Unreachable(f"no daemon answers at {endpoint}")


def outdated_libzmq(version: tuple[int, int, int] = zmq.zmq_version_info()) -> str | None:
    """What to say of a libzmq with known faults; a distribution's pyzmq brings none of its own."""
    if version >= LEAST_LIBZMQ:
        return None
    found, expected = (".".join(map(str, each)) for each in (version, LEAST_LIBZMQ))
    return f"found libzmq {found}, expected {expected} or newer"


def process_context() -> Context:
    """The one context of this process, made when first asked for (also after a fork)."""
    context: Context = zmq.Context.instance()
    context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return context


def open_dealer(endpoint: str, keys: ClientKeys | None = None) -> tuple[Socket, Socket]:
    """A DEALER that connects to `endpoint`, and the socket that tells its `LinkEvent`s."""
    socket, monitor = _open_monitored()
    socket.sndhwm = socket.rcvhwm = HIGH_WATER_MARK
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
    socket.maxmsgsize = mdp.MAX_FRAME_BYTES + mdp.CURVE_OVERHEAD_BYTES
    if endpoint.startswith("tcp:"):
        for option, value in KEEPALIVE.items():
            setattr(socket, option, value)
        socket.ipv6 = "[" in endpoint
    try:
        if keys is not None:
            socket.curve_publickey = keys.pair.public.encode()
            socket.curve_secretkey = keys.pair.secret.encode()
            socket.curve_serverkey = keys.server.encode()
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        close_dealer(socket, monitor)
        raise Unreachable(f"{endpoint} can't be connected to: {error}") from error
    return socket, monitor


def _open_monitored() -> tuple[Socket, Socket]:
    """The two, not connected yet; `ConnectionLost` while no descriptor is to be had."""
    try:
        socket = process_context().socket(zmq.DEALER)
        socket.linger = 0
        try:
            return socket, socket.get_monitor_socket(LINK_EVENTS)
        except zmq.ZMQError:
            socket.close()
            raise
    except zmq.ZMQError as error:
        raise ConnectionLost(f"no socket is to be had: {error}") from error


def close_dealer(socket: Socket, monitor: Socket, linger_ms: int = 0) -> None:
    """Close both; what was sent may take `linger_ms` to leave, in the background."""
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=linger_ms)


def receive_nowait(socket: Socket) -> list[bytes] | None:
    """The next message; `None` when there is none yet."""
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None


def send_nowait(socket: Socket, frames: Sequence[bytes]) -> bool:
    """Whether `frames` could be sent; a full connection takes none of them."""
    try:
        socket.send_multipart(frames, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def next_link_event(monitor: Socket) -> LinkEvent | None:
    """The next event (zmq_socket_monitor(3): 16 bits of event, 32 of value, then the address)."""
    frames = receive_nowait(monitor)
    return None if frames is None else LinkEvent(int.from_bytes(frames[0][:2], sys.byteorder))


def request_frames(service: bytes, body: Sequence[bytes]) -> list[bytes]:
    """A client's REQUEST."""
    if not body:
        raise ValueError("a request has at least one body frame")
    return [mdp.CLIENT, mdp.C_REQUEST, service, *body]


def read_reply(frames: Sequence[bytes], service: bytes) -> tuple[bool, list[bytes]]:
    """Whether a message of the broker is the FINAL, and its body."""
    if len(frames) < 4 or frames[0] != mdp.CLIENT or frames[2] != service:
        raise ProtocolError(f"expected an answer of {service!r}, found {list(frames[:3])!r}")
    if frames[1] not in (mdp.C_PARTIAL, mdp.C_FINAL):
        raise ProtocolError(f"expected PARTIAL or FINAL, found command {frames[1]!r}")
    return frames[1] == mdp.C_FINAL, list(frames[3:])
