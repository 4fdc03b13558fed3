"""Commands that are told of a run's end: the run's own `on_end`, then the daemon's.

A command gets the run's JSON on its stdin, no shell, little environment, and a limited time; that
it failed is logged, and nothing else comes of it.

Who waits is kept in the store, in the transaction that ends the run, and taken from there before
the first command starts. So a command is started at most once. What waits when the daemon dies is
started by the next one; lost are the runs that were taken and whose commands had not started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

import structlog

from intendant.executor.parts import Parts
from intendant.process.children import Children
from intendant.process.identity import send_group_signal
from intendant.process.pidfd import Pidfd
from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import RunState
from intendant.settings import Settings
from intendant.store.insist import insist
from intendant.store.rows import RunRow

log = structlog.get_logger()

AT_ONCE = 4
"""Runs whose commands run at the same time."""
_KILL_S = 3.0
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")


def is_wanted(row: RunRow, settings: Settings) -> bool:
    """Whether a command is to be told of this change."""
    has_command = row.spec.on_end is not None or settings.on_end is not None
    return has_command and row.state is RunState.ENDED


class EndCommands:
    """Starts the commands of runs that have ended, a few at once."""

    def __init__(self, parts: Parts, *, endpoint: str, wanted: asyncio.Event) -> None:
        self._parts = parts
        self._endpoint = endpoint
        self._wanted = wanted
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._busy = 0
        self._quiet = asyncio.Event()
        self._is_held = False
        self._over_at: float | None = None

    async def run(self) -> None:
        """Start what waits, whenever `wanted` says that something does, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wanted.wait()
                with self._at_work():
                    self._wanted.clear()
                    await self._start_waiting(tasks)

    # --- the daemon's end ------------------------------------------------------------------------

    def hold(self) -> None:
        """Start nothing more: it is for the next daemon."""
        self._is_held = True

    def give_up(self) -> None:
        """Wait no longer."""
        self._over_at = asyncio.get_running_loop().time()

    @property
    def is_over(self) -> bool:
        """Whether the daemon may go: nothing runs or waits, or the time for that is up."""
        is_late = self._over_at is not None and asyncio.get_running_loop().time() >= self._over_at
        return is_late or (self._busy == 0 and (self._is_held or not self._wanted.is_set()))

    async def wait_over(self) -> None:
        """Return once it is over; counted from the first call, no later than a command may take."""
        if self._over_at is None:
            limit_s = self._parts.settings.on_end_timeout_s
            self._over_at = asyncio.get_running_loop().time() + limit_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._over_at):
                while not self.is_over:
                    self._quiet.clear()
                    await self._quiet.wait()

    # --- one after another -----------------------------------------------------------------------

    async def _start_waiting(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._slots.acquire()
            record = None if self._is_held else await insist("on_end", self._parts.store.take_end)
            if record is None:
                self._slots.release()
                return
            tasks.create_task(self._tell(record), name=f"on-end-{record.id}")

    async def _tell(self, record: RunRecord) -> None:
        with self._at_work():
            try:
                for whose, argv in (
                    ("run", record.spec.on_end),
                    ("daemon", self._parts.settings.on_end),
                ):
                    if argv and (failure := await self._execute(argv, record)) is not None:
                        log.warning("on_end_failed", run_id=record.id, whose=whose, failure=failure)
            finally:
                self._slots.release()

    async def _execute(self, argv: Sequence[str], record: RunRecord) -> str | None:
        """Run a command to its end; what went wrong, if anything did."""
        limit_s = self._parts.settings.on_end_timeout_s
        try:
            with _readable(record.model_dump_json(exclude_defaults=True).encode()) as stdin:
                child = subprocess.Popen(  # noqa: S603, ASYNC220 an argv that was asked for
                    argv,
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=self._environment(record),
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            return f"not started: {error}"
        self._parts.children.know(child.pid)
        with Pidfd(os.pidfd_open(child.pid)) as pidfd:
            try:
                async with asyncio.timeout(limit_s):
                    await pidfd.wait_exit()
            except TimeoutError:
                return f"killed: not over after {limit_s:g} s"
            finally:
                await _end_group(child, pidfd, self._parts.children)
        return None if child.returncode == 0 else _as_text(child.returncode)

    def _environment(self, record: RunRecord) -> dict[str, str]:
        """What a command needs, and what it needs to talk to this daemon."""
        own = {"INTENDANT_RUN_ID": str(record.id), "INTENDANT_ENDPOINT": self._endpoint}
        return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | own

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._quiet.set()


@contextmanager
def _readable(data: bytes) -> Iterator[BinaryIO]:
    """A file in memory: a command that does not read it holds nobody up."""
    with open(os.memfd_create("run.json"), "w+b") as file:  # noqa: PTH123 it has no path
        file.write(data)
        file.seek(0)
        yield file


async def _end_group(child: subprocess.Popen[bytes], pidfd: Pidfd, children: Children) -> None:
    """Kill what is left of the command's group; until it is reaped, its number is nobody else's."""
    send_group_signal(child.pid, signal.SIGKILL)
    try:
        async with asyncio.timeout(_KILL_S):
            await pidfd.wait_exit()
    except TimeoutError:
        log.error("on_end_unkillable", pid=child.pid)
        children.forget(child.pid, is_reaped=False)
    else:
        child.wait()
        children.forget(child.pid, is_reaped=True)


def _as_text(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"
