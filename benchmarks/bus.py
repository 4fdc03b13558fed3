"""The broker alone: requests of 100 bytes to an echo, through ours and through a naive one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import zmq

from benchmarks.processes import cpu_ns
from benchmarks.row import Contest
from intendant.protocol import mdp

SERVICE = b"echo"
WORKERS = 16
WINDOW = 64
"""Requests of the client that are on their way at once."""
COUNT = 10_000
BODY = b"x" * 100
PATIENCE_MS = 10_000

OURS = [sys.executable, "-P", "-m", "intendant", "broker", "--listen"]
NAIVE = [sys.executable, "-m", "benchmarks.naive_broker"]
ECHO = [sys.executable, "-m", "benchmarks.echo"]


@contextmanager
def broker_rps(folder: Path) -> Iterator[Contest]:
    """Requests answered per second: one client, several workers in a process of their own."""
    with _bus(OURS, folder / "ours.sock") as ours, _bus(NAIVE, folder / "naive.sock") as naive:
        yield partial(_requests_per_s, ours), partial(_requests_per_s, naive)


@contextmanager
def broker_capacity(folder: Path) -> Iterator[Contest]:
    """Requests per second of the broker's own time on a CPU.

    On a machine with few CPUs client and workers take the most of it: per second of the clock one
    would measure them.
    """
    with _bus(OURS, folder / "ours.sock") as ours, _bus(NAIVE, folder / "naive.sock") as naive:
        yield partial(_requests_per_cpu_s, ours), partial(_requests_per_cpu_s, naive)


@dataclass(frozen=True, slots=True)
class Bus:
    """A broker with workers."""

    endpoint: str
    broker_pid: int


@contextmanager
def _bus(broker: list[str], path: Path) -> Iterator[Bus]:
    endpoint = f"ipc://{path}"
    with _process([*broker, endpoint]) as pid, _process([*ECHO, endpoint, str(WORKERS)]):
        yield Bus(endpoint, pid)


@contextmanager
def _process(command: list[str]) -> Iterator[int]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _requests_per_cpu_s(bus: Bus) -> float:
    before_ns = cpu_ns([bus.broker_pid])
    _requests_per_s(bus)
    return COUNT * 1e9 / (cpu_ns([bus.broker_pid]) - before_ns)


def _requests_per_s(bus: Bus) -> float:
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger = 0
        client.rcvtimeo = PATIENCE_MS
        client.connect(bus.endpoint)
        _send(client)
        client.recv_multipart()  # broker and workers are there
        began = time.perf_counter()
        for _ in range(WINDOW):
            _send(client)
        for answered in range(COUNT):
            frames = client.recv_multipart()
            assert frames[1:] == [mdp.C_FINAL, SERVICE, BODY], frames
            if answered < COUNT - WINDOW:
                _send(client)
        return COUNT / (time.perf_counter() - began)


def _send(client: zmq.Socket[bytes]) -> None:
    client.send_multipart([mdp.CLIENT, mdp.C_REQUEST, SERVICE, BODY])
