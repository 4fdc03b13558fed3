"""A connection to a broker on an asyncio loop, as a DEALER has it; and the one by libzmq.

`ZmqDealer` is synchronous ZeroMQ, woken by the loop. ZeroMQ's descriptor is edge-triggered: it
becomes readable when something may have changed, and any call on the socket takes the signal back
(zmq_getsockopt(3), ZMQ_FD); until the socket has said "nothing there" once, it need not become
readable at all. So: look once at the start, try first and wait only after "not now", and look again
after every call that others may have waited for.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import zmq

from intendant.broker import sockets
from intendant.broker.keys import ClientKeys
from intendant.broker.sockets import ConnectionLost, LinkEvent

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 1.0


class Dealer(ABC):
    """One connection to a broker, from the first attempt to its loss; never reconnected."""

    def __init__(self, on_activity: Callable[[], None] | None) -> None:
        self.connected = False
        self.lost = False
        self.last_event: LinkEvent | None = None
        """What was told of the connection last, but that it is lost."""
        self._on_activity = on_activity
        self._waiters: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    def send_nowait(self, frames: Sequence[bytes]) -> bool:
        """Whether `frames` could be sent at once."""

    @abstractmethod
    def receive_nowait(self) -> list[bytes] | None:
        """The next message; `None` when there is none yet."""

    @abstractmethod
    def poke(self) -> None:
        """Look at the socket and tell those who wait for it."""

    @abstractmethod
    def close(self, linger_ms: int = 0) -> None:
        """Close the connection; what was sent may take `linger_ms` to leave. Idempotent."""

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send `frames`, waiting while the connection is full."""
        while not self.send_nowait(frames):
            await self.activity()
        if self._on_activity is not None:
            self._on_activity()  # the send may have taken back the signal for a message

    async def receive(self) -> list[bytes]:
        """The next message; `ConnectionLost` when none can come any more."""
        while (frames := self.receive_nowait()) is None:
            await self.activity()
        return frames

    async def wait_connected(self) -> None:
        """Return when the broker has answered the handshake."""
        while not self.connected:
            await self.activity()

    async def activity(self) -> None:
        """Return when it is worth while to try again; `ConnectionLost` when it never is."""
        if self.lost:
            raise ConnectionLost
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def give_up(self) -> None:
        """Treat the connection as lost: whoever waits for it gets `ConnectionLost`."""
        self.lost = True
        self._notify()

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._on_activity is not None:
            self._on_activity()


class ZmqDealer(Dealer):
    """One connection by libzmq."""

    def __init__(
        self,
        endpoint: str,
        on_activity: Callable[[], None] | None = None,
        *,
        keys: ClientKeys | None = None,
    ) -> None:
        super().__init__(on_activity)
        self._socket, self._monitor = sockets.open_dealer(endpoint, keys)
        self._loop.add_reader(self._socket.fileno(), self.poke)
        self._loop.add_reader(self._monitor.fileno(), self._on_link_events)
        # A descriptor tells of nothing before its socket was once found empty.
        self._socket.get(zmq.EVENTS)
        self._read_link_events()

    def send_nowait(self, frames: Sequence[bytes]) -> bool:
        """Whether `frames` could be sent at once."""
        return not self.lost and sockets.send_nowait(self._socket, frames)

    def receive_nowait(self) -> list[bytes] | None:
        """The next message; `None` when there is none yet."""
        return None if self._socket.closed else sockets.receive_nowait(self._socket)

    def poke(self) -> None:
        """Look at the socket and tell those who wait for it."""
        if not self._socket.closed:
            self._socket.get(zmq.EVENTS)  # takes the signal back even if nobody waits
            self._notify()

    def close(self, linger_ms: int = 0) -> None:
        """Close the sockets; idempotent."""
        if self._socket.closed:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_reader(self._monitor.fileno())
        sockets.close_dealer(self._socket, self._monitor, linger_ms)
        self.give_up()

    def _on_link_events(self) -> None:
        self._read_link_events()
        self._notify()

    def _read_link_events(self) -> None:
        while (event := sockets.next_link_event(self._monitor)) is not None:
            if event is LinkEvent.CONNECTED:
                self.connected = True
            else:
                self.lost = True
            if event is not LinkEvent.LOST:
                self.last_event = event


def reconnect_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after a loss: doubling, with jitter, up to a second."""
    delay_s = FIRST_DELAY_S
    while True:
        yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)
