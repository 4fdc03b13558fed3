"""ROUTER sockets for who comes from afar: binding, messages in and out, and who sent them.

A peer is known by its key (`auth`). A socket is closed to what it can be closed to before anything
is authenticated: a handshake that takes too long, more connections than there may be, frames that
are too large, peers that went away without a word.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import structlog
import zmq
from zmq.backend import Socket as FastSocket

from intendant.broker.addresses import check_address
from intendant.broker.auth import DOMAIN, Keyring
from intendant.broker.config import BrokerConfig, KeyPair
from intendant.broker.connections import Connections, connection_at, shut_down
from intendant.broker.services import Frames, Message, Peer, Unsent
from intendant.broker.sockets import KEEPALIVE, Context
from intendant.errors import SettingsError
from intendant.protocol import mdp
from intendant.protocol.roles import local

log = structlog.get_logger()

HANDSHAKE_MS = 2000
MAX_PEERS = 32_768
READ_FRAMES = 3
"""How many frames of a message the broker reads; what follows is passed on."""

_NOBLOCK = int(zmq.NOBLOCK)  # plain numbers: an enum's `|` costs more than a send
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)
_receive: Callable[..., Any] = FastSocket.recv  # without the layer that reads unused options
_send: Callable[..., Any] = FastSocket.send
_get: Callable[..., Any] = FastSocket.get


class Port:
    """One ROUTER socket; never blocks, never drops a message in silence."""

    def __init__(
        self, context: Context, index: int, config: BrokerConfig, keyring: Keyring
    ) -> None:
        self.index = index
        self.endpoint = endpoint = config.endpoints[index]
        self._keyring = keyring
        self._has_keys = False
        self._peers: OrderedDict[bytes, Peer] = OrderedDict()  # heard of longest ago first
        self.socket = context.socket(zmq.ROUTER)
        self.socket.router_mandatory = True  # a lost peer is an error, not silence
        self.socket.maxmsgsize = mdp.MAX_FRAME_BYTES + mdp.CURVE_OVERHEAD_BYTES
        self.socket.sndhwm = self.socket.rcvhwm = endpoint.high_water_mark
        self.socket.handshake_ivl = HANDSHAKE_MS
        self.socket.linger = 0
        self.socket.ipv6 = "[" in endpoint.uri
        for option, value in KEEPALIVE.items():
            setattr(self.socket, option, value)
        self.connections = Connections(self.socket, limit=config.max_connections)
        if config.server_key is not None:
            self._let_keys_in_alone(config.server_key)

    def _let_keys_in_alone(self, server_key: KeyPair) -> None:
        self._has_keys = True
        self.socket.curve_server = True
        self.socket.curve_secretkey = server_key.secret.encode()
        self.socket.zap_domain = DOMAIN
        # Or a socket whose questions nobody answers would let everybody in.
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def bind(self) -> str:
        """Listen; the address as it really is (a port chosen by the system filled in)."""
        uri = self.endpoint.uri
        check_address(uri, has_keys=self._has_keys)
        if not self._is_bound_again():
            self._bind_at(uri)
        return self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def _is_bound_again(self) -> bool:
        """Whether it listens at the port that the system chose for an earlier broker.

        Where somebody else has that one now, the daemon goes on at another.
        """
        earlier = self.endpoint.earlier
        if earlier is None:
            return False
        try:
            self._bind_at(earlier)
        except SettingsError as error:
            log.error("port_lost", endpoint=earlier, error=str(error))
            return False
        return True

    def _bind_at(self, uri: str) -> None:
        try:
            self.socket.bind(uri)
        except zmq.ZMQError as error:
            raise SettingsError(f"can't listen at {uri}: {error}") from error

    def read(self, most: int) -> list[Message]:
        """Up to `most` messages that have come, and who sent them.

        Nobody sends who came with a key that does not stand for anybody any more. Bodies stay
        the zmq frames that they are. A message with too many frames has none.
        """
        socket = self.socket
        messages: list[Message] = []
        for _ in range(most):
            try:
                routing_id: bytes = _receive(socket, _NOBLOCK)
            except zmq.Again:
                break
            header = frame = _receive(socket, _NOBLOCK, False)
            frames = [frame.bytes]
            while frame.more:
                frame = _receive(socket, _NOBLOCK, False)
                if len(frames) < READ_FRAMES:
                    frames.append(frame.bytes)
                elif len(frames) <= mdp.MAX_FRAMES:
                    frames.append(frame)
            try:
                peer = self._known(routing_id, header) or self._welcome(
                    routing_id, header, messages
                )
            except Exception:  # the top of the process: who can't be told from others is nobody
                log.exception("peer_unknown", endpoint=self.endpoint.uri)
                continue
            if peer is not None:
                messages.append((peer, frames if len(frames) <= mdp.MAX_FRAMES else []))
        return messages

    def send(self, routing_id: bytes, frames: Frames) -> Unsent | None:
        """Send all of a message or nothing."""
        socket = self.socket
        try:
            _send(socket, routing_id, _MORE)
        except zmq.Again:
            return Unsent.FULL
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._peers.pop(routing_id, None)
            return Unsent.GONE
        for frame in frames[:-1]:
            _send(socket, frame, _MORE)
        _send(socket, frames[-1], _NOBLOCK)
        return None

    def close(self, linger_ms: int = 0) -> None:
        """Close the sockets; what was sent may take so long to leave, in the background."""
        self.connections.close()
        self.socket.close(linger=linger_ms)

    def has_input(self) -> bool:
        """Whether a message can be read; takes back the descriptor's signal."""
        return bool(_get(self.socket, zmq.EVENTS) & _POLLIN)

    def _known(self, routing_id: bytes, header: zmq.Frame) -> Peer | None:
        """Who has sent by the same connection before."""
        peer = self._peers.get(routing_id)
        if peer is None or peer.address != _property(header, "Peer-Address"):
            return None
        if self._has_keys and (peer.key, peer.connection) != self._proven(header):
            return None
        self._peers.move_to_end(routing_id)
        return peer

    def _welcome(
        self, routing_id: bytes, header: zmq.Frame, messages: list[Message]
    ) -> Peer | None:
        """Who sends for the first time; who had that routing id before is gone."""
        if (before := self._peers.pop(routing_id, None)) is not None:
            messages.append((before, None))
        address = _property(header, "Peer-Address")
        key, connection = self._proven(header) if self._has_keys else (None, None)
        caller = local("tcp") if key is None else self._keyring.caller(key)
        if caller is None:
            shut_down(connection)
            return None
        peer = Peer(
            self.index, routing_id, caller, address, key, connection, private=self.endpoint.private
        )
        self._peers[routing_id] = peer
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        return peer

    def _proven(self, header: zmq.Frame) -> tuple[str, tuple[int, int] | None]:
        """The key that the sender came with, and on which connection."""
        return _property(header, "User-Id"), connection_at(header.get(zmq.SRCFD))

    def cut_off(self, keys: Collection[str]) -> list[Peer]:
        """End every connection that came with one of `keys`; whose they were."""
        found = [peer for peer in self._peers.values() if peer.key in keys]
        for peer in found:
            del self._peers[peer.routing_id]
            shut_down(peer.connection)
        return found


def _property(frame: zmq.Frame, name: str) -> str:
    """What is known of a message; empty where the connection ended before anybody could ask."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
