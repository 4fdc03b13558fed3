"""The broker's end of a connection, word by word: a ROUTER that does what a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from intendant.broker.sockets import Socket, process_context
from intendant.protocol import mdp

HEARTBEAT = [mdp.WORKER, mdp.W_HEARTBEAT]
PATIENCE_S = 60.0


class Router:
    """Hears every message and answers none by itself."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def hear(self) -> tuple[bytes, list[bytes]]:
        """Who sent the next message, and its frames."""
        found = await self.hear_within(PATIENCE_S)
        assert found is not None, f"nothing was heard for {PATIENCE_S:.0f} s"
        return found

    async def hear_within(self, duration_s: float) -> tuple[bytes, list[bytes]] | None:
        """The same; `None` if there is nothing for so long."""
        if not await asyncio.to_thread(self._socket.poll, int(duration_s * 1000)):
            return None
        peer, *frames = self._socket.recv_multipart()
        return peer, frames

    async def hear_all(self, duration_s: float) -> list[tuple[bytes, list[bytes]]]:
        """All that is sent in so much time."""
        deadline = time.monotonic() + duration_s
        heard = []
        while (left_s := deadline - time.monotonic()) > 0:
            if (found := await self.hear_within(left_s)) is not None:
                heard.append(found)
        return heard

    async def hear_word(self) -> tuple[bytes, list[bytes]]:
        """The next message that is no HEARTBEAT."""
        while (found := await self.hear())[1] == HEARTBEAT:
            pass
        return found

    def say(self, peer: bytes, *frames: bytes) -> None:
        """Send `peer` a message."""
        self._socket.send_multipart([peer, *frames])

    def assign(self, worker: bytes, address: bytes, *body: bytes) -> None:
        """Give `worker` a request."""
        self.say(worker, mdp.WORKER, mdp.W_REQUEST, address, b"", *body)

    def final(self, client: bytes, service: bytes, *body: bytes) -> None:
        """Send `client` a FINAL."""
        self.say(client, mdp.CLIENT, mdp.C_FINAL, service, *body)


@contextmanager
def router(uri: str) -> Iterator[Router]:
    """A `Router` that listens at `uri`."""
    with process_context().socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.bind(uri)
        yield Router(socket)
