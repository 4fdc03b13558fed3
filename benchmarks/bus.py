"""The broker alone: requests to an echo, through ours, through others, and through none.

Every measurement has a broker and a load of its own, so nobody inherits the sockets of another.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.load import Load, Measured, compiled, run
from benchmarks.row import Contest
from intendant.broker.keys import make_pair, write_pair
from intendant.process.identity import children

START_S = 20.0

Figure = Callable[[Measured], float]


@dataclass(frozen=True, slots=True)
class Broker:
    """A program that is told where to listen; `has_back`: for workers at another address."""

    command: tuple[str, ...]
    has_back: bool = False
    has_keys: bool = False


OURS = Broker((sys.executable, "-P", "-m", "intendant", "broker", "--listen"))
OURS_WITH_KEYS = Broker(OURS.command, has_keys=True)
NAIVE = Broker((sys.executable, "-m", "benchmarks.naive_broker"))
BARE_LOOP = Broker((sys.executable, "-m", "benchmarks.bare_loop"))
LOOP_AHEAD = Broker((*BARE_LOOP.command, "--ahead"))
PROXY = Broker((sys.executable, "-m", "benchmarks.proxy"), has_back=True)


def requests_per_s(measured: Measured) -> float:
    return measured.requests_per_s


def per_cpu_s(measured: Measured) -> float:
    """Requests per second of the broker's own time on a CPU.

    On a machine with few CPUs clients and workers take the most of it: per second of the clock one
    would measure them as well.
    """
    return measured.requests_per_cpu_s


def p50_us(measured: Measured) -> float:
    return measured.p50_us


def p99_us(measured: Measured) -> float:
    return measured.p99_us


def echoes(
    peer: Broker,
    load: Load | None = None,
    *,
    figure: Figure = requests_per_s,
    ours: Broker = OURS,
    transport: str = "tcp",
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """One client's requests to an echo, through our broker and through a peer."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        program = compiled(folder)

        def measure(broker: Broker) -> float:
            return figure(_measured(broker, program, folder, transport, load or Load()))

        yield partial(measure, ours), partial(measure, peer)

    return contest


def _measured(broker: Broker, program: Path, folder: Path, transport: str, load: Load) -> Measured:
    front = _endpoint(transport, folder / "front")
    back = _endpoint(transport, folder / "back") if broker.has_back else front
    flags, keys = _with_keys(folder) if broker.has_keys else ([], ())
    endpoints = [front, back] if broker.has_back else [front]
    with _running([*broker.command, *endpoints, *flags], endpoints) as pids:
        return run(program, front, back, load, keys, broker_pids=pids)


def _endpoint(transport: str, path: Path) -> str:
    if transport == "ipc":
        path.unlink(missing_ok=True)
        return f"ipc://{path}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def _with_keys(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Flags for the broker that lets one key in, and what the client needs: keys as libzmq's."""
    server, client = make_pair(), make_pair()
    secret, known = folder / "server.key", folder / "authorized_keys.toml"
    secret.unlink(missing_ok=True)
    write_pair(secret, server)
    known.write_text(f'"{client.public}" = {{ account = "bench", role = "admin" }}\n')
    known.chmod(0o600)
    flags = ["--server-key-file", str(secret), "--authorized-keys", str(known)]
    return flags, (server.public, client.public, client.secret)


@contextmanager
def _running(command: list[str], endpoints: list[str]) -> Iterator[list[int]]:
    """A broker that listens; the pids of its processes."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for endpoint in endpoints:
            _wait_listening(endpoint, process)
        yield [process.pid, *children(process.pid)]
    finally:
        process.terminate()
        process.wait(10)


def _wait_listening(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    scheme, _, rest = endpoint.partition("://")
    family = socket.AF_UNIX if scheme == "ipc" else socket.AF_INET
    host, _, port = rest.rpartition(":")
    address = rest if scheme == "ipc" else (host, int(port))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.socket(family) as probe:
            probe.connect(address)
            return
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not listen at {endpoint}")
