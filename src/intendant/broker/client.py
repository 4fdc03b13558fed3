"""The client's end of Majordomo 0.2 on an asyncio loop: one request at a time per connection.

A request whose broker is lost is sent again on a new socket, so a request may arrive twice;
whatever changes something on this bus can be asked twice. A connection whose request was
cancelled or left in the middle is closed, so a late answer never meets a later question.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from intendant.broker.connecting import connect_dealer
from intendant.broker.dealer import Dealer, reconnect_delays
from intendant.broker.keys import ClientKeys
from intendant.broker.sockets import (
    ConnectionLost,
    LinkEvent,
    denial,
    read_reply,
    request_frames,
    unreachable,
)
from intendant.errors import DaemonLost, Unreachable

CONNECT_S = 5.0
POOL_SIZE = 256


class Connection:
    """A client of the broker at `endpoint`; connects when first needed."""

    def __init__(
        self, endpoint: str, *, keys: ClientKeys | None = None, connect_s: float = CONNECT_S
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._connect_s = connect_s
        self._dealer: Dealer | None = None
        self._in_use = False

    async def request(self, service: bytes, body: list[bytes]) -> list[bytes]:
        """The body of the FINAL; waits for it as long as it takes."""
        stream = self.stream(service, lambda: body)
        try:
            async for is_final, answer in stream:
                if is_final:
                    return answer
        finally:
            await stream.aclose()
        raise AssertionError("a stream ends with its FINAL")

    async def stream(
        self, service: bytes, body: Callable[[], list[bytes]]
    ) -> AsyncGenerator[tuple[bool, list[bytes]], None]:
        """Each part of the answer as (whether it is the FINAL, its body).

        When the broker was lost, `body()` is asked again, so that the caller can go on where it
        stands; `DaemonLost` when none comes back. Close the generator (`contextlib.aclosing`) when
        it is left before its end.
        """
        if self._in_use:
            raise RuntimeError("a connection has one request at a time")
        self._in_use = True
        delays = reconnect_delays()
        finished = is_lost = False
        try:
            while not finished:
                dealer = await self._connected()
                try:
                    await dealer.send(request_frames(service, body()))
                    while not finished:
                        finished, answer = read_reply(await dealer.receive(), service)
                        self._in_use = not finished
                        yield finished, answer
                except ConnectionLost:
                    is_lost = True
                    self.close()
                    await asyncio.sleep(next(delays))
        except Unreachable as error:
            if not is_lost:
                raise
            raise DaemonLost(f"the daemon at {self._endpoint} is gone") from error
        finally:
            if not finished:
                self._in_use = False
                self.close()

    def close(self) -> None:
        """Close the socket; the next request opens a new one. Idempotent."""
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None

    async def _connected(self) -> Dealer:
        """A connection whose handshake is done; `Unreachable` after `connect_s`.

        `AccessDenied` at once where the broker says that it won't have us.
        """
        if self._dealer is not None and self._dealer.lost:
            self.close()
        last_event: LinkEvent | None = None
        try:
            async with asyncio.timeout(self._connect_s):
                while True:
                    try:
                        if self._dealer is None:
                            self._dealer = connect_dealer(self._endpoint, keys=self._keys)
                        await self._dealer.wait_connected()
                    except ConnectionLost:  # in the middle of the handshake, or before it
                        last_event = None if self._dealer is None else self._dealer.last_event
                        self.close()
                        if last_event and (denied := denial(last_event, self._endpoint)):
                            raise denied from None
                        await asyncio.sleep(next(reconnect_delays()))
                    else:
                        return self._dealer
        except TimeoutError:
            hung_up = last_event is LinkEvent.HUNG_UP
            has_key = self._keys is not None
            raise unreachable(self._endpoint, hung_up=hung_up, has_key=has_key) from None


class ConnectionPool:
    """Any number of requests at once over at most `size` connections, kept for the next ones."""

    def __init__(
        self,
        endpoint: str,
        *,
        keys: ClientKeys | None = None,
        connect_s: float = CONNECT_S,
        size: int = POOL_SIZE,
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._connect_s = connect_s
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    async def request(self, service: bytes, body: list[bytes]) -> list[bytes]:
        """The body of the FINAL; waits for a free connection while all are in use."""
        async with self._slots:
            connection = self._take()
            try:
                return await connection.request(service, body)
            finally:
                self._give_back(connection)

    def close(self) -> None:
        """Close the idle connections now and those in use as soon as they are not."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        return Connection(self._endpoint, keys=self._keys, connect_s=self._connect_s)

    def _give_back(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
