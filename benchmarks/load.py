"""The load generator: `load.c`, compiled for this machine and linked with a libzmq that is here."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import zmq

from benchmarks.processes import cpu_ns
from benchmarks.row import NotToBeHad

SOURCE = Path(__file__).with_name("load.c")
MOST_S = 120.0
WARM_UP = 0.1
"""The share of the requests that comes before and is not measured by the clock."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of `size` bytes, `window` of them on their way at once, to so many workers."""

    size: int = 100
    window: int = 64
    workers: int = 16
    count: int = 30_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load met."""

    requests_per_s: float
    p50_us: float
    p99_us: float
    requests_per_cpu_s: float


def compiled(folder: Path) -> Path:
    """The program; `NotToBeHad` without a compiler or a library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotToBeHad("there is no C compiler")
    library = _libzmq()
    program = folder / "load"
    linked = [str(library), f"-Wl,-rpath,{library.parent}", f"-Wl,-rpath-link,{library.parent}"]
    command = [compiler, "-O2", "-o", str(program), str(SOURCE), *linked, "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotToBeHad(f"the load generator can't be compiled: {done.stderr}")
    return program


def _libzmq() -> Path:
    """The library that pyzmq brings along, or the system's."""
    packages = Path(zmq.__file__).parents[1]
    bundled = next((packages / "pyzmq.libs").glob("libzmq*.so*"), None)
    if bundled is not None:
        return bundled
    if (name := ctypes.util.find_library("zmq")) is None:
        raise NotToBeHad("there is no libzmq to link with")
    return Path("/usr/lib") / name


def run(
    program: Path,
    front: str,
    back: str,
    load: Load,
    keys: tuple[str, ...],
    *,
    broker_pids: Collection[int],
) -> Measured:
    """Put the load on the broker that listens there."""
    before_ns = cpu_ns(broker_pids)
    sizes = map(str, (load.workers, load.window, load.count, load.size))
    done = subprocess.run(
        [str(program), front, back, *sizes, *keys],
        stdout=subprocess.PIPE, text=True, check=True, timeout=MOST_S,
    )  # fmt: skip
    took_ns = cpu_ns(broker_pids) - before_ns
    requests = load.count * (1 + WARM_UP)
    requests_per_s, p50_us, p99_us = map(float, done.stdout.split())
    return Measured(requests_per_s, p50_us, p99_us, requests * 1e9 / took_ns)
