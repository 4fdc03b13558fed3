"""The broker one writes first: `python -m benchmarks.naive_broker ENDPOINT`.

The same frames on the wire, zmq.asyncio, a message at a time; no heartbeats, no bounds, no checks.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict, deque

import zmq
import zmq.asyncio

from intendant.protocol import mdp


async def serve(endpoint: str) -> None:
    """Pass requests and answers on until a signal comes."""
    router = zmq.asyncio.Context().socket(zmq.ROUTER)
    router.bind(endpoint)
    idle: defaultdict[bytes, deque[bytes]] = defaultdict(deque)
    waiting: defaultdict[bytes, deque[list[bytes]]] = defaultdict(deque)
    service_of: dict[bytes, bytes] = {}
    while True:
        sender, header, command, *rest = await router.recv_multipart()
        if header == mdp.CLIENT:
            service, *body = rest
            waiting[service].append([sender, b"", *body])
        elif command == mdp.W_READY:
            service_of[sender] = service = rest[0]
            idle[service].append(sender)
        elif command == mdp.W_FINAL:
            service = service_of[sender]
            client, _, *body = rest
            await router.send_multipart([client, mdp.CLIENT, mdp.C_FINAL, service, *body])
            idle[service].append(sender)
        else:
            continue
        while idle[service] and waiting[service]:
            worker, request = idle[service].popleft(), waiting[service].popleft()
            await router.send_multipart([worker, mdp.WORKER, mdp.W_REQUEST, *request])


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
