"""Workers that answer with what they were asked: `python -m benchmarks.echo ENDPOINT COUNT`."""

from __future__ import annotations

import sys

import zmq

from intendant.protocol import mdp

SERVICE = b"echo"
BEAT_MS = 2000


def main(endpoint: str, count: int) -> None:
    """Answer until a signal comes."""
    context = zmq.Context()
    poller = zmq.Poller()
    workers = [context.socket(zmq.DEALER) for _ in range(count)]
    for worker in workers:
        worker.connect(endpoint)
        worker.send_multipart([mdp.WORKER, mdp.W_READY, SERVICE])
        poller.register(worker, zmq.POLLIN)
    while True:
        ready = poller.poll(BEAT_MS)
        for worker, _ in ready:
            answer(worker)
        if not ready:
            for worker in workers:
                worker.send_multipart([mdp.WORKER, mdp.W_HEARTBEAT])


def answer(worker: zmq.Socket[bytes]) -> None:
    """Send a request back as its answer."""
    frames = worker.recv_multipart()
    if frames[1] == mdp.W_REQUEST:
        worker.send_multipart([mdp.WORKER, mdp.W_FINAL, *frames[2:]])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
