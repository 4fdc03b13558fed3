"""No broker at all, ZeroMQ's own proxy: `python -m benchmarks.proxy FRONT BACK`."""

from __future__ import annotations

import sys

import zmq


def main(front: str, back: str) -> None:
    """Pass messages on until a signal comes."""
    context = zmq.Context()
    clients, workers = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    clients.bind(front)
    workers.bind(back)
    zmq.proxy(clients, workers)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
