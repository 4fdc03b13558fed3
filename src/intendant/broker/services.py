"""What the broker remembers: peers, requests, workers, and who waits for whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from intendant.protocol.roles import Caller

Frames = Sequence[Any]
"""Header, command, service or address are bytes; a body's frames are passed on unread."""


@dataclass(slots=True, eq=False)
class Peer:
    """A connection: which socket it came by, its routing id there, and what is known of it.

    There is one object for each connection; two connections are never equal. Who it is comes from
    the socket's credentials or from the key that it proved, never from what it sends.
    """

    endpoint: int
    routing_id: bytes
    caller: Caller
    address: str = ""
    key: str | None = None
    connection: tuple[int, int] | None = None
    """Of one that came with a key: descriptor and inode of its socket in this process."""
    pid: int | None = None
    private: bool = False
    spelled: bytes = field(init=False)
    """The caller as it travels in the address of every request."""
    worker: Worker | None = field(default=None, init=False)
    """What it has registered as."""
    requests: dict[int, Request] = field(default_factory=dict, init=False)
    """Its requests without a FINAL, by number."""
    dismissed: bool = field(default=False, init=False)
    """It was a worker: it is neither heard nor addressed any more."""

    def __post_init__(self) -> None:
        self.spelled = self.caller.encode().encode()

    @property
    def account(self) -> str:
        """Whose connection it is."""
        return self.caller.account


Message = tuple[Peer, Frames | None]
"""What a peer sent; no frames: its connection is closed."""


@dataclass(eq=False)
class Request:
    """A client's request on its way to a worker and back."""

    number: int
    client: Peer
    service: bytes
    body: Frames
    address: bytes
    expires_at: float = field(default=0.0, init=False)
    size_bytes: int = field(default=0, init=False)
    worker: Worker | None = field(default=None, init=False)
    partials: int = field(default=0, init=False)
    redelivered: bool = field(default=False, init=False)
    abandoned: bool = field(default=False, init=False)
    held_until: float | None = field(default=None, init=False)


Outgoing = tuple[Peer, Frames, Request | None]
"""To whom, what, and what it belongs to, for the case that it can't be sent."""


class Unsent(Enum):
    """Why a message was not sent: its peer is gone, or does not read what it was sent before."""

    GONE = auto()
    FULL = auto()


@dataclass(slots=True, eq=False)
class Worker:
    """A registered worker; `request` is the one it has in hand."""

    peer: Peer
    service: Service
    heard_at: float
    sent_at: float
    request: Request | None = None


class Service:
    """One service: its workers, and the requests that wait for one of them."""

    __slots__ = ("idle", "name", "waiting", "workers")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.workers: dict[Peer, Worker] = {}
        self.idle: OrderedDict[Peer, Worker] = OrderedDict()  # the longest idle first
        self.waiting = WaitingLine()

    def free(self, worker: Worker) -> None:
        """`worker` takes requests from now on, after all who were idle before it."""
        worker.request = None
        self.idle[worker.peer] = worker

    def take_idle(self) -> Worker:
        """The worker that has been idle longest; it is no longer."""
        return self.idle.popitem(last=False)[1]

    def drop(self, worker: Worker) -> None:
        """`worker` is gone."""
        del self.workers[worker.peer]
        self.idle.pop(worker.peer, None)

    @property
    def unused(self) -> bool:
        """Whether nothing is lost when the broker forgets this service."""
        return not self.workers and not self.waiting.length


class WaitingLine:
    """Requests that wait for a worker: one of each client in turn, each client's in its order."""

    __slots__ = ("_by_client", "length")

    def __init__(self) -> None:
        self._by_client: OrderedDict[Peer, OrderedDict[int, Request]] = OrderedDict()
        self.length = 0

    def count_of(self, client: Peer) -> int:
        """How many of `client`'s requests wait."""
        return len(self._by_client.get(client, ()))

    def append(self, request: Request) -> None:
        """At the end of its client's own line."""
        line = self._by_client.get(request.client)
        if line is None:
            line = self._by_client[request.client] = OrderedDict()
        line[request.number] = request
        self.length += 1

    def append_left(self, request: Request) -> None:
        """Before everybody else."""
        self.append(request)
        self._by_client[request.client].move_to_end(request.number, last=False)
        self._by_client.move_to_end(request.client, last=False)

    def pop(self) -> Request | None:
        """The next request, if one waits; its client goes to the end of the round."""
        if not self.length:
            return None
        client, line = self._by_client.popitem(last=False)
        _, request = line.popitem(last=False)
        if line:
            self._by_client[client] = line
        self.length -= 1
        return request

    def remove(self, request: Request) -> None:
        """Take `request` out, wherever it stands."""
        line = self._by_client[request.client]
        del line[request.number]
        if not line:
            del self._by_client[request.client]
        self.length -= 1
