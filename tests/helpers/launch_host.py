"""A process that launches governors as the executor does: `python -m tests.helpers.launch_host …`.

    launch_host LAUNCHER

Each line on stdin is a JSON list: what to do and with what; each answer is a line on stdout. It
ends in order at end-of-file. `Host` is the test's end of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import structlog

from intendant.errors import LaunchFailed
from intendant.launch import helper
from intendant.launch.base import Launched, Launcher, LaunchRequest
from intendant.launch.registry import LauncherName, make_launcher
from intendant.process.children import Children
from intendant.process.descendants import descendants
from intendant.process.identity import children, process_stat, send_signal
from intendant.process.subreaper import become_subreaper
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
ENTRY = "tests.helpers.launched:main"
PRELOAD = ("intendant.governor.main",)


class _Host:
    def __init__(self, launcher: Launcher, children: Children) -> None:
        self._launcher = launcher
        self._children = children
        self._launched: dict[int, Launched] = {}

    async def answer(self, verb: str, *arguments: Any) -> object:
        return await getattr(self, f"do_{verb}")(*arguments)

    async def do_make_ready(self, standing: dict[str, Any]) -> object:
        """Have a governor wait for the next launch."""
        self._launcher.make_ready(standing)
        return None

    async def do_launch(
        self, folder: str, order: Any, environment: dict[str, str], standing: dict[str, Any]
    ) -> object:
        """The new governor's pid, or why there is none."""
        request = LaunchRequest(Path(folder), order, environment, standing)
        try:
            async with asyncio.timeout(60):
                launched = await self._launcher.launch(request)
        except LaunchFailed as error:
            return {"failed": str(error)}
        self._launched[launched.pid] = launched
        return {"pid": launched.pid}

    async def do_launch_all(self, folders: list[str]) -> object:
        """As many governors at once."""
        return await asyncio.gather(*(self.do_launch(folder, {}, {}, {}) for folder in folders))

    async def do_reap(self, pid: int, signum: int = 0) -> object:
        """The exit status of a governor, once it has ended; a signal may see to that."""
        pidfd = self._launched.pop(pid).pidfd
        with pidfd:
            if signum:
                send_signal(pidfd.descriptor, signum)
            await pidfd.wait_exit()
            status = pidfd.reap()
        self._children.forget(pid, is_reaped=status is not None)
        return status

    async def do_look(self) -> object:
        """The helper, what is below it, and the strangers among our children."""
        helper = self._launcher.helper_pid
        return {
            "helper": helper,
            "restarts": self._launcher.restarts,
            "below": [] if helper is None else sorted(descendants(helper)),
            "orphans": self._children.orphans(),
        }


async def serve(name: LauncherName) -> None:
    """Do what is asked until end-of-file."""
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    with Children() as children:
        launcher = make_launcher(name, entry=ENTRY, preload=PRELOAD, children=children)
        host = _Host(launcher, children)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(launcher.run())
            while line := await stdin.readline():
                verb, *arguments = json.loads(line)
                sys.stdout.write(json.dumps(await host.answer(verb, *arguments)) + "\n")
                sys.stdout.flush()
            running.cancel()


class Host:
    """A host that runs, as the test talks to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.governors: list[int] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, verb: str, *arguments: object) -> Any:
        """The host's answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def launch(
        self,
        folder: Path,
        order: Mapping[str, object] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        standing: Mapping[str, object] | None = None,
    ) -> int:
        """A new governor in this folder, which is made; its pid, once it is the host's child."""
        folder.mkdir(exist_ok=True)
        told = order or {}, environment or {}, standing or {}
        pid: int = self.ask("launch", str(folder), *told)["pid"]
        self.governors.append(pid)
        wait_for("the middle process has gone", lambda: self._is_parent_of(pid))
        return pid

    def make_ready(self, standing: Mapping[str, object] | None = None) -> int:
        """A governor that waits for the next launch: its pid."""
        before = set(self.waiting())
        self.ask("make_ready", standing or {})
        wait_for("it waits", lambda: len(set(self.waiting()) - before) == 1)
        [pid] = set(self.waiting()) - before
        return pid

    def waiting(self) -> list[int]:
        """Governors without an order."""
        return [pid for pid in children(self.pid) if _is_titled(pid, b"waiting-governor")]

    def _is_parent_of(self, pid: int) -> bool:
        stat = process_stat(pid)
        return stat is None or stat.parent == self.pid

    def look(self) -> dict[str, Any]:
        """The helper and what is around it."""
        found: dict[str, Any] = self.ask("look")
        return found

    def end(self) -> int:
        """End it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@contextmanager
def host_of(name: str, *, cwd: Path, environment: dict[str, str] | None = None) -> Iterator[Host]:
    """A host with this launcher, in this folder; it and its governors are killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.helpers.launch_host", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    ) as process:
        host = Host(process)
        try:
            yield host
        finally:
            process.kill()
            for pid in host.governors:
                _kill(pid)


def _kill(pid: int) -> None:
    """Kill a governor, if it is still one of ours."""
    with suppress(ProcessLookupError):
        if _is_titled(pid, b"launched-governor") or _is_titled(pid, b"waiting-governor"):
            os.kill(pid, 9)


def _is_titled(pid: int, title: bytes) -> bool:
    try:
        return title in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    become_subreaper()
    helper._SPARE_PATIENCE_S = 12.0  # a slow machine is not one that stands still
    asyncio.run(serve(cast(LauncherName, sys.argv[1])))
