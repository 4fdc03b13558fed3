"""How long a governor takes to come to life, by the one launcher and by the other.

    python -m benchmarks.launchers NAME FOLDER AT_ONCE

launches a few governors for each line on its stdin, and says how many ms one took.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import structlog

from benchmarks.measuring import measuring
from benchmarks.row import Contest
from intendant.launch.base import Launcher, LaunchRequest
from intendant.launch.registry import LauncherName, make_launcher
from intendant.process.birth import Birth
from intendant.process.children import Children
from intendant.process.subreaper import become_subreaper

ENTRY = "benchmarks.launchers:settle_in"
PRELOAD = ("intendant.governor.main", "intendant.workloads.command")
ROOT = Path(__file__).parents[1]
ROUNDS = 10


def settle_in(birth: Birth) -> int:
    """A governor that ends at once."""
    if birth.wait_order() is not None:
        birth.settle_in()
    return 0


def launches(at_once: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From a request to a governor that is pinned down; the portable launcher, then the zygote."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with (
            _host("portable", folder, at_once) as portable,
            _host("zygote", folder, at_once) as zygote,
        ):
            yield portable, zygote

    return contest


def _host(
    name: LauncherName, folder: Path, at_once: int
) -> AbstractContextManager[Callable[[], float]]:
    """What measures once, in a process that has the launcher."""
    command = [sys.executable, "-m", "benchmarks.launchers", name, str(folder), str(at_once)]
    return measuring(command, {"PYTHONPATH": str(ROOT)})  # for the helper, which imports the entry


async def serve(name: LauncherName, folder: Path, at_once: int) -> None:
    """Measure for each line, until there is none."""
    loop = asyncio.get_running_loop()
    with Children() as children:
        launcher = make_launcher(name, entry=ENTRY, preload=PRELOAD, children=children)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(launcher.run())
            while await loop.run_in_executor(None, sys.stdin.readline):
                began = time.perf_counter()
                for _ in range(ROUNDS):
                    one = (_launch(launcher, folder, children) for _ in range(at_once))
                    await asyncio.gather(*one)
                took_s = time.perf_counter() - began
                print(1000 * took_s / (ROUNDS * at_once), flush=True)
            running.cancel()


async def _launch(launcher: Launcher, folder: Path, children: Children) -> None:
    launched = await launcher.launch(LaunchRequest(folder, {}))
    with launched.pidfd:
        children.forget(launched.pid, is_reaped=launched.pidfd.reap() is not None)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    become_subreaper()
    _name, _folder, _at_once = sys.argv[1:]
    asyncio.run(serve(cast(LauncherName, _name), Path(_folder), int(_at_once)))
