"""A ROUTER over a socket of this machine, without a library.

By libzmq every message goes through two threads, one that has the connections and Python's. Of the
ten times that somebody is woken for one request, there and back, four were for that. Here the loop
watches each connection; a message is judged where it is read, and what comes of it leaves at once.
"""

from __future__ import annotations

import asyncio
import pwd
import socket as unix
import struct
import time
from functools import lru_cache
from pathlib import Path

import structlog

from intendant.broker.addresses import check_address, claim_path
from intendant.broker.config import Endpoint
from intendant.broker.services import Frames, Peer, Unsent
from intendant.broker.unix_connection import OnMessages, UnixConnection
from intendant.errors import SettingsError
from intendant.logs import Sparingly
from intendant.protocol.roles import local

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
HANDSHAKE_S = 5.0

_CREDENTIALS = struct.Struct("iII")
"""pid, uid, gid (unix(7), SO_PEERCRED)."""

log = structlog.get_logger()


class UnixPort:
    """One listening socket and its connections; never blocks, never drops a message in silence."""

    def __init__(self, index: int, endpoint: Endpoint, on_messages: OnMessages) -> None:
        self._index = index
        self._endpoint = endpoint
        self._on_messages = on_messages
        self._loop = asyncio.get_running_loop()
        self._path: Path | None = None
        self._listener: unix.socket | None = None
        self._is_accepting = False
        self._accepted = 0
        self._connections: dict[bytes, UnixConnection] = {}
        self._unready: dict[UnixConnection, float] = {}
        """Whose handshake is not done, the oldest first: how long it may take."""
        self._troubles = Sparingly()

    def bind(self) -> str:
        """Listen; the address."""
        uri = self._endpoint.uri
        check_address(uri)
        path = Path(uri.removeprefix("ipc://"))
        try:
            claim_path(path)
            self._listener = unix.socket(unix.AF_UNIX, unix.SOCK_STREAM)
            self._listener.setblocking(False)
            self._listener.bind(str(path))
            self._path = path
            self._listener.listen(BACKLOG)
        except OSError as error:
            raise SettingsError(f"can't listen at {uri}: {error}") from error
        self._accept_on()
        return uri

    def send(self, routing_id: bytes, frames: Frames) -> Unsent | None:
        """Send all of a message, now or as soon as its peer reads, or nothing."""
        connection = self._connections.get(routing_id)
        return Unsent.GONE if connection is None else connection.send(frames)

    def tick(self, now: float) -> None:
        """End handshakes that take too long; look again for who wants to connect."""
        for connection, deadline in [*self._unready.items()]:
            if not connection.is_ready and now < deadline:
                break
            del self._unready[connection]
            if not connection.is_ready:
                connection.close()
        self._accept_on()

    def close(self, linger_s: float = 0.0) -> None:
        """Close the sockets; what was sent has so long to leave, in all. No file stays behind."""
        if self._listener is None:
            return
        if self._path is not None:  # before the socket goes: then it may be another broker's
            self._path.unlink(missing_ok=True)
        self._stop_accepting()
        self._listener.close()
        self._listener = None
        deadline = time.monotonic() + linger_s
        connections = [*self._connections.values()]
        for connection in connections:  # none waits for one that does not read
            connection.send_waiting()
        for connection in connections:
            connection.flush(deadline)
            connection.close()

    def _accept_on(self) -> None:
        if self._listener is not None and not self._is_accepting:
            self._is_accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept_some, self._listener)

    def _stop_accepting(self) -> None:
        if self._listener is not None and self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._listener.fileno())

    def _accept_some(self, listener: unix.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                self._welcome(listener.accept()[0])
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor is to be had: until the next tick
                if (left_out := self._troubles.take()) is not None:
                    log.error("connection_not_accepted", error=str(error), left_out=left_out)
                self._stop_accepting()
                return

    def _welcome(self, channel: unix.socket) -> None:
        pid, uid, _ = _CREDENTIALS.unpack(
            channel.getsockopt(unix.SOL_SOCKET, unix.SO_PEERCRED, _CREDENTIALS.size)
        )
        self._accepted += 1
        peer = Peer(
            self._index, b"%d" % self._accepted, local(account_of(uid)),
            pid=pid, private=self._endpoint.private,
        )  # fmt: skip
        connection = UnixConnection(
            channel, peer, self._endpoint.high_water_mark, self._on_messages, self._on_closed
        )
        self._connections[peer.routing_id] = connection
        self._unready[connection] = time.monotonic() + HANDSHAKE_S
        connection.open()

    def _on_closed(self, connection: UnixConnection) -> None:
        del self._connections[connection.peer.routing_id]
        self._unready.pop(connection, None)


@lru_cache(maxsize=256)
def account_of(uid: int) -> str:
    """A user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
