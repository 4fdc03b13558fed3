"""Our receive-and-send loop with no protocol in it: `python -m benchmarks.bare_loop ENDPOINT`.

Requests go to the workers in turn, answers to whoever the address names; nothing is checked,
remembered or bounded. What the broker's protocol costs is what it does beyond that.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from itertools import cycle

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.core import BrokerCore
from intendant.broker.server import Server
from intendant.broker.services import Message, Outgoing, Peer
from intendant.protocol import mdp


class BareCore(BrokerCore):
    """Takes the place of the protocol."""

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self._ring: list[Peer] = []
        self._next = cycle(self._ring)
        self._askers: dict[bytes, Peer] = {}

    def receive(self, messages: Iterable[Message], now: float) -> list[Outgoing]:  # noqa: ARG002
        out: list[Outgoing] = []
        for peer, frames in messages:
            if frames is None:
                continue
            if frames[0] == mdp.CLIENT:
                self._askers[peer.routing_id] = peer
                words = [mdp.WORKER, mdp.W_REQUEST, peer.routing_id, b"", *frames[3:]]
                out.append((next(self._next), words, None))
            elif frames[1] == mdp.W_FINAL:
                asker = self._askers[frames[2]]
                out.append((asker, [mdp.CLIENT, mdp.C_FINAL, b"echo", *frames[4:]], None))
            else:
                self._ring.append(peer)
                self._next = cycle(self._ring)
        return out


async def serve(endpoint: str) -> None:
    """Pass requests and answers on until a signal comes."""
    config = BrokerConfig(endpoints=(Endpoint(endpoint),), open_registration=True)
    with Server(config) as server:
        server.core = BareCore(config)
        server.listen()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
