"""ROUTER sockets around the core.

An endpoint on this machine has connections that the loop watches by itself (`unix_port`).

Each endpoint for peers from afar is one synchronous ROUTER socket of libzmq's (`ports`) whose
descriptor the loop watches. The descriptor is edge-triggered and any call on the socket takes its
signal back, so every wake-up asks all of them in turn and reads, until none has anything or a bound
is reached; then the loop comes back here after it has given the others a turn. When such a
connection is closed, the workers that have a request in hand are looked after at once.

A timer, at least once a second, tells the core the time and looks at the sockets as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog
import zmq

from intendant.broker.admission import DAEMON_SERVICES
from intendant.broker.auth import Gatekeeper, Keyring
from intendant.broker.config import BrokerConfig
from intendant.broker.core import BrokerCore
from intendant.broker.ports import Port
from intendant.broker.services import Message, Outgoing, Unsent
from intendant.broker.sockets import MAX_SOCKETS, Context
from intendant.broker.unix_port import UnixPort
from intendant.process.crashpoints import crash_point
from intendant.protocol.roles import Caller

GULP = 12
"""Messages that are read before they are judged: so few that they stay in the cache."""
GULPS = 5
"""How often so until the others in this process have a turn."""
TICK_S = 1.0
FLUSH_MS = 200
PROBE_S = 0.05

log = structlog.get_logger()


class Server:
    """The sockets of one broker, and the pump between them and the core."""

    def __init__(self, config: BrokerConfig) -> None:
        self.on_presence: Callable[[str, bool], None] = lambda *_: None
        self.core = BrokerCore(config, lambda name, here: self.on_presence(name, here))
        self._config = config
        self._keyring = Keyring(config.authorized)
        self._loop = asyncio.get_running_loop()
        self._context: Context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self._gatekeeper: Gatekeeper | None = None
        self._ports: list[Port | UnixPort] = []
        """In the order of the endpoints."""
        self._afar: list[Port] = []
        """Those of them that libzmq listens at."""
        self._near: list[UnixPort] = []
        self._linger_ms = 0
        self._tick_s = min(TICK_S, config.heartbeat_s / 4)
        self._timer: asyncio.TimerHandle | None = None
        self._probing: asyncio.TimerHandle | None = None
        self._pump_is_due = False
        self._heard = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def has_listened(self) -> bool:
        """Whether it was ever told to bind."""
        return bool(self._ports)

    def listen(self) -> list[str]:
        """Bind every endpoint and start; the addresses."""
        if self._config.server_key is not None:
            self._gatekeeper = Gatekeeper(self._context, self._keyring)
        for index, endpoint in enumerate(self._config.endpoints):
            if endpoint.is_local:
                self._near.append(UnixPort(index, endpoint, self._on_messages))
                self._ports.append(self._near[-1])
            else:
                self._afar.append(Port(self._context, index, self._config, self._keyring))
                self._ports.append(self._afar[-1])
        bound = [port.bind() for port in self._ports]
        if self._gatekeeper is not None:
            self._loop.add_reader(self._gatekeeper.socket.fileno(), self._pump)
        for port in self._afar:
            self._loop.add_reader(port.socket.fileno(), self._pump)
            self._loop.add_reader(port.connections.monitor.fileno(), self._on_connections, port)
            self._on_connections(port)  # a descriptor tells of nothing before it was found empty
        self._schedule_tick()
        self._schedule_pump()
        log.info("broker_listening", pid=os.getpid(), endpoints=bound)
        return bound

    async def wait_farewells(self) -> None:
        """Go on until the daemon's own workers have left, so that their last answers arrive."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_MS / 1000):
                while self.core.has_workers(DAEMON_SERVICES):
                    self._heard.clear()
                    await self._heard.wait()

    def say_goodbye(self) -> None:
        """Send DISCONNECT to every worker; what was sent has a moment to leave."""
        for peer, frames, _ in self.core.shut_down():
            self._ports[peer.endpoint].send(peer.routing_id, frames)
        self._linger_ms = FLUSH_MS

    def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Send what the core wants sent, and what comes of failures."""
        self._deliver(messages)
        self._schedule_pump()

    def authorize(self, authorized: Mapping[str, Caller]) -> None:
        """Let in who has one of these keys, and cut off at once who has none any more."""
        self._cut_off(self._keyring.replace(authorized))

    def allow(self, service: str, token_sha256: str, key: str | None = None) -> None:
        """Let the governor with this token register, from afar with this key."""
        if key is not None:
            self._keyring.lend(key, service)
        self.core.allow(service, token_sha256)

    def forbid(self, service: str) -> None:
        """`service` is over, and so is what its governor's key was for."""
        self.send_all(self.core.forbid(service))
        self._cut_off(self._keyring.take_back(service))

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        for timer in (self._timer, self._probing):
            if timer is not None:
                timer.cancel()
        for near in self._near:
            near.close(self._linger_ms / 1000)
        for port in self._afar:
            if not port.socket.closed:
                self._loop.remove_reader(port.socket.fileno())
                self._loop.remove_reader(port.connections.monitor.fileno())
                port.close(self._linger_ms)
        if self._gatekeeper is not None and not self._gatekeeper.socket.closed:
            self._loop.remove_reader(self._gatekeeper.socket.fileno())
            self._gatekeeper.socket.close()
        self._context.term()

    def _cut_off(self, keys: Collection[str]) -> None:
        now = time.monotonic()
        for port in self._afar:
            for peer in port.cut_off(keys):
                log.info("peer_cut_off", account=peer.account, key=peer.key)
                self.send_all(self.core.peer_gone(peer, now))

    def _pump(self) -> None:
        """Read a bounded number of messages; come back later if there are more."""
        now = time.monotonic()
        self._admit()
        is_waiting = self._gatekeeper is not None and self._gatekeeper.has_input()
        if self._read_ports(now) or is_waiting:
            self._schedule_pump()

    def _read_ports(self, now: float) -> bool:
        """Read the ports in turn until none of them has input; whether the bound came first.

        The first message of each is read alone: most often it is the only one, and to find that out
        by asking costs less than by the exception of reading another.
        """
        count = len(self._afar)
        without_input = 0
        for turn in range(count * GULPS):
            port = self._afar[turn % count]
            if port.has_input():
                without_input = 0
                self._pass_on(port.read(1 if turn < count else GULP), now)
            else:
                without_input += 1
                if without_input == count:
                    return False
        return True

    def _admit(self) -> None:
        """See who wants to come in."""
        try:
            if self._gatekeeper is not None:
                self._gatekeeper.pump()
        except Exception:  # the top of the process: who can't be judged is not let in
            log.exception("admission_failed")

    def _on_messages(self, messages: Sequence[Message]) -> None:
        self._pass_on(messages, time.monotonic())

    def _pass_on(self, messages: Sequence[Message], now: float) -> None:
        """One after another: what comes of a message is sent before the next one is judged."""
        for peer, frames in messages:
            crash_point("broker.received")
            try:
                if frames is None:
                    self._deliver(self.core.peer_gone(peer, now))
                else:
                    self._deliver(self.core.receive(peer, frames, now))
            except Exception:  # the top of the process: one bad message must not end it
                log.exception("message_failed", account=peer.account, pid=peer.pid)
        self._heard.set()

    def _deliver(self, messages: Sequence[Outgoing]) -> None:
        while messages:
            consequences: list[Outgoing] = []
            for message in messages:
                peer, frames, _ = message
                unsent = self._ports[peer.endpoint].send(peer.routing_id, frames)
                if unsent is not None:
                    now = time.monotonic()
                    is_gone = unsent is Unsent.GONE
                    consequences += self.core.send_failed(message, now, gone=is_gone)
            messages = consequences

    def _schedule_pump(self) -> None:
        """Pump soon: a descriptor does not tell again what it told before."""
        if not self._pump_is_due and self._afar:
            self._pump_is_due = True
            self._loop.call_soon(self._pump_when_due)

    def _pump_when_due(self) -> None:
        self._pump_is_due = False
        if not self._afar[0].socket.closed:
            self._pump()

    def _on_connections(self, port: Port) -> None:
        """Where some are closed: look soon, once for all that are closed until then, whose."""
        if port.connections.pump() and self._probing is None:
            self._probing = self._loop.call_later(PROBE_S, self._probe)

    def _probe(self) -> None:
        self._probing = None
        self.send_all(self.core.probe(time.monotonic()))

    def _schedule_tick(self) -> None:
        deadline = self.core.next_deadline
        delay_s = self._tick_s
        if deadline is not None:
            delay_s = min(max(deadline - time.monotonic(), self._tick_s / 4), self._tick_s)
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        try:
            self._pump()
            for port in self._near:
                port.tick(time.monotonic())
            self.send_all(self.core.tick(time.monotonic()))
        finally:
            self._schedule_tick()
