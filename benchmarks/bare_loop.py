"""Our receive-and-send loop with no protocol in it: `python -m benchmarks.bare_loop ENDPOINT`.

A worker has one request in hand at a time, as with Majordomo, so that the same messages come in the
same order; with `--ahead` workers get requests in turn, however many they have. Answers go to
whoever the address names; nothing is checked, bounded or known of anybody. What the broker's
protocol costs is what it does beyond that.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.core import BrokerCore
from intendant.broker.server import Server
from intendant.broker.services import Frames, Outgoing, Peer
from intendant.protocol import mdp


class BareCore(BrokerCore):
    """Takes the place of the protocol."""

    def __init__(self, config: BrokerConfig, *, ahead: bool) -> None:
        super().__init__(config)
        self._ahead = ahead
        self._free: deque[Peer] = deque()
        self._unsent: deque[Frames] = deque()
        self._askers: dict[bytes, Peer] = {}

    def receive(self, peer: Peer, frames: Frames, now: float) -> list[Outgoing]:  # noqa: ARG002
        out: list[Outgoing] = []
        if frames[0] == mdp.CLIENT:
            self._askers[peer.routing_id] = peer
            self._unsent.append([mdp.WORKER, mdp.W_REQUEST, peer.routing_id, b"", *frames[3:]])
        elif frames[1] == mdp.W_FINAL:
            answer = [mdp.CLIENT, mdp.C_FINAL, b"echo", *frames[4:]]
            out.append((self._askers[frames[2]], answer, None))
        if frames[0] == mdp.WORKER and not (self._ahead and frames[1] == mdp.W_FINAL):
            self._free.append(peer)
        if self._free and self._unsent:
            out.append((self._free[0], self._unsent.popleft(), None))
            if self._ahead:
                self._free.rotate(-1)
            else:
                self._free.popleft()
        return out


async def serve(endpoint: str, *, ahead: bool) -> None:
    """Pass requests and answers on until a signal comes."""
    config = BrokerConfig(endpoints=(Endpoint(endpoint),), open_registration=True)
    with Server(config) as server:
        server.core = BareCore(config, ahead=ahead)
        server.listen()
        await asyncio.Event().wait()


if __name__ == "__main__":
    *flags, address = sys.argv[1:]
    asyncio.run(serve(address, ahead="--ahead" in flags))
