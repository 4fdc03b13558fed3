"""Noise for a broker: `python -m tests.helpers.fuzzer messages|bytes ENDPOINT AMOUNT SEED`.

`messages` sends so many random and mutated multiparts, `bytes` so many seconds of random bytes,
some of them behind the beginning of a proper connection (ZMTP 3.0, rfc.zeromq.org/spec/23).
"""

from __future__ import annotations

import random
import socket
import sys
import time
from contextlib import suppress

import zmq

from intendant.protocol import mdp

SOCKETS = 8
MESSAGES_OF_A_SOCKET = 5_000
"""Then another socket takes its place, whom the broker has never met."""

CLIENT, WORKER = mdp.CLIENT, mdp.WORKER
SENSIBLE: list[list[bytes]] = [
    [CLIENT, mdp.C_REQUEST, b"noise", b"x"],
    [CLIENT, mdp.C_REQUEST, b"mmi.service", b"noise"],
    [WORKER, mdp.W_READY, b"noise"],
    [WORKER, mdp.W_HEARTBEAT],
    [WORKER, mdp.W_DISCONNECT],
    [WORKER, mdp.W_PARTIAL, b"1:root", b"", b"x"],
    [WORKER, mdp.W_FINAL, b"1:root", b"", b"x"],
    [WORKER, mdp.W_REQUEST, b"1:root", b"", b"x"],
    [b"", b"MDPC01", b"noise", b"x"],
]
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
OPENINGS = (b"", b"\xff", GREETING, GREETING + READY, GREETING + READY + b"\x02")


def message(chance: random.Random) -> list[bytes]:
    """A random message, or a sensible one with something done to it."""
    if chance.random() < 0.3:
        return [frame(chance) for _ in range(chance.randrange(1, 8))]
    frames = list(chance.choice(SENSIBLE))
    for _ in range(chance.randrange(3)):
        mutate(chance, frames)
    return frames or [b""]


def mutate(chance: random.Random, frames: list[bytes]) -> None:
    """Do one thing to a message."""
    at = chance.randrange(len(frames)) if frames else 0
    match chance.randrange(6):
        case 0 if frames:
            del frames[at]
        case 1 if frames:
            frames.insert(at, frames[at])
        case 2:
            frames.insert(at, frame(chance))
        case 3 if frames and frames[at]:
            changed = bytearray(frames[at])
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            frames[at] = bytes(changed)
        case 4 if frames:
            frames[at] = frames[at][: chance.randrange(len(frames[at]) + 1)]
        case _:
            frames.extend([b""] * chance.randrange(40))


def frame(chance: random.Random) -> bytes:
    """Random bytes: mostly few, seldom more than a frame may have."""
    if chance.random() < 0.0001:
        return bytes(mdp.MAX_FRAME_BYTES + mdp.CURVE_OVERHEAD_BYTES + 1)
    return chance.randbytes(chance.choice((0, 1, 1, 2, 6, 20, 300)))


def send_messages(endpoint: str, count: int, seed: int) -> None:
    """Send `count` messages over several sockets, each as fast as the broker reads."""
    chance = random.Random(seed)
    context = zmq.Context()
    context.linger = 0
    for began in range(0, count, MESSAGES_OF_A_SOCKET * SOCKETS):
        sockets = [context.socket(zmq.DEALER) for _ in range(SOCKETS)]
        for one in sockets:
            one.connect(endpoint)
        for number in range(began, min(count, began + MESSAGES_OF_A_SOCKET * SOCKETS)):
            one = sockets[number % SOCKETS]
            one.send_multipart(message(chance))
            while one.poll(0):
                one.recv_multipart()
        for one in sockets:
            # Closed at once, with half a message on its way, libzmq aborts (zeromq/libzmq#3442).
            one.close(linger=5000)
    context.term()


def send_bytes(endpoint: str, duration_s: float, seed: int) -> None:
    """Open connections and send anything on them, until each is closed or has said enough."""
    chance = random.Random(seed)
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    deadline = time.monotonic() + duration_s
    connections = sent = 0
    while time.monotonic() < deadline:
        connections += 1
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as stream:
            stream.sendall(chance.choice(OPENINGS))
            for _ in range(chance.randrange(200)):
                sent += stream.send(chance.randbytes(chance.choice((1, 9, 100, 10_000))))
    sys.stdout.write(f"{connections} connections, {sent} bytes\n")


if __name__ == "__main__":
    what, where, amount, seed = sys.argv[1:]
    if what == "messages":
        send_messages(where, int(amount), int(seed))
    else:
        send_bytes(where, float(amount), int(seed))
