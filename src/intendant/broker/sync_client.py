"""The client's end of Majordomo 0.2 for programs without a loop: imports next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING

import zmq

from intendant.broker import sockets
from intendant.broker.sockets import ConnectionLost, LinkEvent, Socket
from intendant.errors import DaemonLost, HelperLost, Unreachable

if TYPE_CHECKING:
    from intendant.broker.keys import ClientKeys

CONNECT_S = 5.0
RECONNECT_PAUSE_S = 0.05


class SyncConnection:
    """A client of the broker at `endpoint`; connects when first needed.

    Like `client.Connection`: a request whose broker is lost is sent again, and a connection that
    was left in the middle of a request (by Ctrl-C, say) is closed.

    `life` is a descriptor that is readable once the daemon has ended for good (a pidfd, say):
    nobody is waited for then, and a request fails with `HelperLost`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        keys: ClientKeys | None = None,
        connect_s: float = CONNECT_S,
        life: int | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._connect_s = connect_s
        self._life = life
        self._sockets: tuple[Socket, Socket] | None = None

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]:
        """The body of the FINAL; after `timeout_s` a `TimeoutError`, or `Unreachable`."""
        for is_final, answer in self.stream(service, lambda: body, timeout_s=timeout_s):
            if is_final:
                return answer
        raise AssertionError("a stream ends with its FINAL")

    def stream(
        self, service: bytes, body: Callable[[], list[bytes]], *, timeout_s: float | None
    ) -> Generator[tuple[bool, list[bytes]], None, None]:
        """Each part of the answer as (whether it is the FINAL, its body).

        `TimeoutError` when the FINAL is not there `timeout_s` after the start. When the broker
        was lost, `body()` is asked again; `DaemonLost` when none comes back.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        finished = is_lost = False
        try:
            while not finished:
                try:
                    self._send(sockets.request_frames(service, body()), deadline)
                    while not finished:
                        finished, answer = sockets.read_reply(self._receive(deadline), service)
                        yield finished, answer
                except ConnectionLost:
                    is_lost = True
                    self.close()
                    time.sleep(RECONNECT_PAUSE_S)
        except Unreachable as error:
            if not is_lost:
                raise
            raise DaemonLost(f"the daemon at {self._endpoint} is gone") from error
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """Close the socket; the next request opens a new one. Idempotent."""
        if self._sockets is not None:
            sockets.close_dealer(*self._sockets)
            self._sockets = None

    def _send(self, frames: list[bytes], deadline: float | None) -> None:
        """Send on a connection whose handshake is done, by the `deadline`."""
        if self._sockets is not None and sockets.next_link_event(self._sockets[1]) is not None:
            self.close()
        if self._sockets is None:
            self._connect(deadline)
        assert self._sockets is not None  # noqa: S101 - connected, or Unreachable was raised
        sockets.send_nowait(self._sockets[0], frames)

    def _connect(self, deadline: float | None) -> None:
        """Wait for the handshake; `AccessDenied`, or `Unreachable` after `connect_s`.

        No longer than until the request's own `deadline`.
        """
        latest = time.monotonic() + self._connect_s
        deadline = latest if deadline is None else min(latest, deadline)
        event: LinkEvent | None = None
        while True:
            self._sockets = sockets.open_dealer(self._endpoint, self._keys)
            monitor = self._sockets[1]
            if not self._ready([monitor], deadline):
                self.close()
                hung_up = event is LinkEvent.HUNG_UP
                has_key = self._keys is not None
                raise sockets.unreachable(self._endpoint, hung_up=hung_up, has_key=has_key)
            event = sockets.next_link_event(monitor)
            if event is LinkEvent.CONNECTED:
                return
            self.close()
            if event and (denied := sockets.denial(event, self._endpoint)):
                raise denied
            time.sleep(RECONNECT_PAUSE_S)

    def _receive(self, deadline: float | None) -> list[bytes]:
        """The next message; `ConnectionLost` when none can come any more."""
        assert self._sockets is not None  # noqa: S101 - only called after _send
        socket, monitor = self._sockets
        while True:
            ready = self._ready([socket, monitor], deadline)
            if (frames := sockets.receive_nowait(socket)) is not None:
                return frames
            if not ready:
                raise TimeoutError(f"no answer from {self._endpoint} in time")
            if monitor in ready and sockets.next_link_event(monitor) is not None:
                raise ConnectionLost

    def _ready(self, awaited: Sequence[Socket], deadline: float | None) -> Collection[Socket]:
        """Those that can be read, once there is one; none at the `deadline`."""
        poller = zmq.Poller()
        for socket in awaited:
            poller.register(socket, zmq.POLLIN)
        if self._life is not None:
            poller.register(self._life, zmq.POLLIN)
        ready = dict(poller.poll(_remaining_ms(deadline)))
        if self._life is not None and ready.keys() == {self._life}:
            raise HelperLost(f"the daemon at {self._endpoint} has ended")
        return [socket for socket in awaited if socket in ready]


def _remaining_ms(deadline: float | None) -> int | None:
    """What is left until `deadline`, for a poll; `None`: for ever."""
    return None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000) + 1)
