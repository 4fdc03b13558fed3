"""What a rule is checked with: raw sockets that say anything and know what they expect to hear."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import zmq

from intendant.broker.sockets import Socket, process_context
from intendant.protocol import mdp

HEARTBEAT = [mdp.WORKER, mdp.W_HEARTBEAT]
DISCONNECT = [mdp.WORKER, mdp.W_DISCONNECT]
_SHOWN_BYTES = 40

P = TypeVar("P", bound="Peer")


class RuleBroken(Exception):
    """The broker did not do what the rule demands; the text says what it did."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the broker was configured with, and how long to wait for it.

    `patience_s`: for what must come. `quiet_s`: for what must not. `has_mmi`: whether it says which
    services are offered (RFC 8), so that nothing has to be left to time.
    """

    heartbeat_s: float = mdp.HEARTBEAT_S
    liveness: int = mdp.LIVENESS
    patience_s: float = 10.0
    quiet_s: float = 0.3
    has_mmi: bool = True

    @property
    def expiry_s(self) -> float:
        """The silence after which a peer counts as gone, and half an interval more."""
        return self.heartbeat_s * (self.liveness + 0.5)


class Peer:
    """A DEALER at the broker's door."""

    def __init__(self, endpoint: str, pace: Pace) -> None:
        self._pace = pace
        self._socket: Socket = process_context().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoint)

    def say(self, *frames: bytes) -> None:
        """Send a message, whatever it is."""
        self._socket.send_multipart(frames)

    def hear_any(self, within_s: float) -> list[bytes] | None:
        """The next message; `None` if there is none for so long."""
        if self._socket.poll(max(0, int(within_s * 1000))):
            return self._socket.recv_multipart()
        return None

    def hear(self) -> list[bytes]:
        """The next message that is no HEARTBEAT; it must come."""
        deadline = time.monotonic() + self._pace.patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            frames = self.hear_any(left_s)
            if frames is not None and frames != HEARTBEAT:
                return frames
        raise RuleBroken(f"nothing was heard for {self._pace.patience_s:g} s")

    def hear_all(self, for_s: float) -> list[list[bytes]]:
        """All that comes in so much time, HEARTBEATs too."""
        deadline = time.monotonic() + for_s
        heard = []
        while (left_s := deadline - time.monotonic()) > 0:
            if (frames := self.hear_any(left_s)) is not None:
                heard.append(frames)
        return heard

    def forget(self) -> None:
        """Drop what has come so far."""
        while self.hear_any(0) is not None:
            pass

    def expect(self, *expected: bytes) -> None:
        """The next word must be this one."""
        require_equal(self.hear(), list(expected))

    def expect_disconnect(self) -> None:
        """The next word must be DISCONNECT."""
        self.expect(*DISCONNECT)

    def expect_silence(self, for_s: float | None = None) -> None:
        """Nothing may come, not even a HEARTBEAT."""
        for_s = self._pace.quiet_s if for_s is None else for_s
        if heard := self.hear_all(for_s):
            raise RuleBroken(f"expected silence, heard {shown(heard[0])}")

    def expect_no_request(self) -> None:
        """Anything may come but a REQUEST."""
        for frames in self.hear_all(self._pace.quiet_s):
            if frames[:2] == [mdp.WORKER, mdp.W_REQUEST]:
                raise RuleBroken(f"expected no REQUEST, heard {shown(frames)}")

    def close(self) -> None:
        """Go without a word. Idempotent."""
        self._socket.close()


class Client(Peer):
    """One that asks."""

    def __init__(self, endpoint: str, pace: Pace, service: bytes) -> None:
        super().__init__(endpoint, pace)
        self.service = service

    def ask(self, *body: bytes, service: bytes | None = None) -> None:
        """Send a REQUEST."""
        self.say(mdp.CLIENT, mdp.C_REQUEST, service or self.service, *(body or (b"?",)))

    def expect_partial(self, *body: bytes) -> None:
        """A PARTIAL with this body must be next."""
        self.expect(mdp.CLIENT, mdp.C_PARTIAL, self.service, *body)

    def expect_final(self, *body: bytes, service: bytes | None = None) -> None:
        """The FINAL with this body must be next."""
        self.expect(mdp.CLIENT, mdp.C_FINAL, service or self.service, *body)


class Worker(Peer):
    """One that offers a service."""

    def __init__(self, endpoint: str, pace: Pace, service: bytes) -> None:
        super().__init__(endpoint, pace)
        self.service = service

    def ready(self) -> None:
        """Send READY."""
        self.say(mdp.WORKER, mdp.W_READY, self.service)

    def beat(self) -> None:
        """Send HEARTBEAT."""
        self.say(*HEARTBEAT)

    def take(self) -> tuple[bytes, list[bytes]]:
        """Address and body of the REQUEST that must be next."""
        frames = self.hear()
        if len(frames) < 5 or frames[:2] != [mdp.WORKER, mdp.W_REQUEST] or frames[3] != b"":
            raise RuleBroken(f"expected a REQUEST, heard {shown(frames)}")
        return frames[2], frames[4:]

    def partial(self, address: bytes, *body: bytes) -> None:
        """Send a PARTIAL."""
        self.say(mdp.WORKER, mdp.W_PARTIAL, address, b"", *body)

    def final(self, address: bytes, *body: bytes) -> None:
        """Send a FINAL."""
        self.say(mdp.WORKER, mdp.W_FINAL, address, b"", *(body or (b"!",)))


class Bench:
    """The peers of one rule, at one broker, with services that nobody else uses."""

    def __init__(self, endpoint: str, pace: Pace) -> None:
        self.pace = pace
        self.service = b"conformance." + secrets.token_hex(8).encode()
        self._endpoint = endpoint
        self._peers: list[Peer] = []
        self._asker: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for peer in self._peers:
            peer.close()

    def stranger(self) -> Peer:
        """Somebody who has said nothing yet."""
        return self._kept(Peer(self._endpoint, self.pace))

    def client(self, service: bytes | None = None) -> Client:
        """A client of this rule's service."""
        return self._kept(Client(self._endpoint, self.pace, service or self.service))

    def newcomer(self, service: bytes | None = None) -> Worker:
        """A worker that has not said READY."""
        return self._kept(Worker(self._endpoint, self.pace, service or self.service))

    def worker(self, service: bytes | None = None) -> Worker:
        """A worker that has said READY, and that the broker has heard of."""
        worker = self.newcomer(service)
        worker.ready()
        self.settle(worker.service)
        return worker

    def settle(self, service: bytes) -> None:
        """Wait until the broker knows a worker of `service`, or a moment where it has no MMI."""
        self._wait_for(service, is_offered=True, within_s=self.pace.patience_s)

    def settle_gone(self, service: bytes, *, after_s: float = 0.0) -> None:
        """Wait until the broker has lost the worker of `service`, which may take `after_s`."""
        if not self.pace.has_mmi:
            time.sleep(after_s)
        self._wait_for(service, is_offered=False, within_s=after_s + self.pace.patience_s)

    def _wait_for(self, service: bytes, *, is_offered: bool, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        if not self.pace.has_mmi:
            time.sleep(self.pace.quiet_s)
            return
        while self.offers(service) is not is_offered and time.monotonic() < deadline:
            time.sleep(0.01)

    def offers(self, service: bytes) -> bool:
        """Whether the broker says that somebody offers `service`; `False` where it has no MMI."""
        if not self.pace.has_mmi:
            return False
        if self._asker is None:
            self._asker = self.client(b"mmi.service")
        self._asker.ask(service)
        answer = self._asker.hear_any(self.pace.patience_s)
        return answer is not None and answer[3:] == [b"200"]

    def settle_asked(self, client: Client) -> None:
        """Wait until the broker has read what `client` said, or a moment where it has no MMI."""
        if self.pace.has_mmi:
            client.ask(self.service, service=b"mmi.service")
            client.hear_any(self.pace.patience_s)
        else:
            time.sleep(self.pace.quiet_s)

    def pause(self) -> None:
        """Give the broker time to act on what it was told, a slow one more of it."""
        time.sleep(self.pace.quiet_s / 2)
        self.offers(self.service)

    def exchange(self) -> None:
        """A request of a new client, through a new worker, is answered as it must be."""
        service = self.service + b"." + secrets.token_hex(4).encode()
        worker, client = self.worker(service), self.client(service)
        client.ask(b"still there?")
        address, _ = worker.take()
        worker.final(address, b"yes")
        client.expect_final(b"yes")

    def _kept(self, peer: P) -> P:
        self._peers.append(peer)
        return peer


def live(worker: Worker, for_s: float, bench: Bench) -> list[list[bytes]]:
    """Send HEARTBEATs for so long; all that was heard meanwhile."""
    heard = []
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        worker.beat()
        heard += worker.hear_all(bench.pace.heartbeat_s / 2)
    return heard


def require_equal(found: object, expected: object) -> None:
    """Raise `RuleBroken` unless both are the same."""
    if found != expected:
        raise RuleBroken(f"expected {shown(expected)}, heard {shown(found)}")


def require(holds: bool, otherwise: str) -> None:
    """Raise `RuleBroken` with this text unless it holds."""
    if not holds:
        raise RuleBroken(otherwise)


def shown(value: object) -> str:
    """Frames as they can be printed."""
    if isinstance(value, bytes):
        return f"{value[:_SHOWN_BYTES]!r}{'…' if len(value) > _SHOWN_BYTES else ''}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(shown, value))}]"
    return repr(value)
