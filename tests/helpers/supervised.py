"""One supervised attempt without a daemon around it, and a way into its critical moments.

Store, spool and supervision are real; the bus takes what is said and answers nothing, and the
launcher is the test's. What is to come between is done at its moment, which waits until it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from intendant.broker.client import ConnectionPool
from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.link import BrokerLink
from intendant.errors import LaunchFailed
from intendant.executor.parts import Parts, utc_now
from intendant.executor.stop import Stop
from intendant.executor.supervise import Supervision
from intendant.executor.troubles import Troubles
from intendant.launch.base import Launched, Launcher, LaunchRequest
from intendant.process.children import Children
from intendant.process.identity import boot_id, start_time
from intendant.process.line import Line
from intendant.process.pidfd import Pidfd
from intendant.protocol.records import ClaimRecord
from intendant.protocol.run_states import Outcome, RunState
from intendant.settings import Settings
from intendant.store.disk import Disk
from intendant.store.reserve import Reserve
from intendant.store.spool import Spool
from intendant.store.sqlite import SqliteStore
from tests.helpers.stores import StoreCase, opened

TOKEN = "f" * 32
TOKEN_SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
CANCEL = Stop(Outcome.CANCELLED, "cancelled: by ada")


class Moment(StrEnum):
    """Where something can come between."""

    FOLDER_MADE = "folder_made"
    LAUNCHING = "launching"
    GIVING_UP = "giving_up"
    GIVEN_UP = "given_up"


Act = Callable[[], Awaitable[object]]


@dataclass
class Moments:
    """What is to be done when, once."""

    acts: dict[Moment, Act] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def come(self, moment: Moment) -> None:
        if (act := self.acts.pop(moment, None)) is not None:
            await act()

    def come_in_thread(self, moment: Moment) -> None:
        asyncio.run_coroutine_threadsafe(self.come(moment), self.loop).result(20)


class TellingDisk(Disk):
    """A disk that tells of the moments of an attempt; `is_broken` refuses to give one up."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self.is_broken = False

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._moments.come_in_thread(Moment.FOLDER_MADE)

    def create(self, path: Path) -> int:
        self._moments.come_in_thread(Moment.GIVING_UP)
        if self.is_broken:
            raise OSError(5, "Input/output error")
        return super().create(path)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._moments.come_in_thread(Moment.GIVEN_UP)


class Governors:
    """A launcher: `fails`, `hangs`, or brings something to life that does nothing."""

    name = "test"
    helper_pid = None
    restarts = 0

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self.fails = False
        self.hangs = False
        self.born: list[subprocess.Popen[bytes]] = []
        self.report: asyncio.Future[socket.socket] = asyncio.Future()
        """The governor's end of the report socket, once it is born."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def launch(self, request: LaunchRequest) -> Launched:
        await self._moments.come(Moment.LAUNCHING)
        if self.fails:
            raise LaunchFailed("the launcher is gone")
        if self.hangs:
            await asyncio.Event().wait()
        child = self.bear(request.folder)
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.report.set_result(theirs)
        return Launched(child.pid, Pidfd(os.pidfd_open(child.pid)), Line(report))

    def make_ready(self, standing: dict[str, Any]) -> None:
        pass

    def bear(self, folder: Path) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sleep", "600"], cwd=folder)
        self.born.append(child)
        return child


FLAGS = socket.MSG_PEEK | socket.MSG_DONTWAIT


class NoOrphans(Children):
    """The children of a test's process are not all those of its supervision."""

    def orphans(self) -> list[int]:
        return []


@dataclass
class Supervised:
    """A run's first attempt, and what it is made of."""

    case: StoreCase
    parts: Parts
    moments: Moments
    disk: TellingDisk
    launcher: Governors
    run_id: int
    supervision: Supervision
    bus: socket.socket

    @property
    def was_asked(self) -> bool:
        """Whether the governor was asked for anything, to start for example."""
        if select.select([self.bus], [], [], 0)[0]:
            return True
        report = self.launcher.report
        with suppress(BlockingIOError):
            return report.done() and bool(report.result().recv(1, FLAGS))
        return False

    async def launch(self) -> None:
        """Live the attempt to its end."""
        async with asyncio.timeout(60):
            await self.supervision.launch(TOKEN)

    async def adopted(self) -> tuple[subprocess.Popen[bytes], Coroutine[Any, Any, None]]:
        """A governor that an earlier daemon launched, and the life that its adoption is."""
        folder = Spool(self.parts.spool.root).make_attempt(self.run_id, 1)
        child = self.launcher.bear(folder.path)
        await self.case.store.grant(self.run_id, 1, token_sha256=TOKEN_SHA256)
        await self.case.store.started(self.run_id, 1, at=utc_now(), pid=child.pid)
        claim = ClaimRecord(
            pid=child.pid, start_time=start_time(child.pid) or 0, boot_id=boot_id(),
            token_sha256=TOKEN_SHA256, cgroup=None,
        )  # fmt: skip
        lock = folder.claim(claim)
        assert lock is not None
        os.close(lock)
        [live] = await self.case.store.live()
        return child, self.supervision.adopt(live, claim, Pidfd(os.pidfd_open(child.pid)))

    async def cancel(self) -> None:
        """As `cancel` does: the wish is recorded, then passed on."""
        done = await self.case.store.request_stop(
            [self.run_id], outcome=CANCEL.outcome, reason=CANCEL.reason
        )
        if done.runs[0].state is RunState.STOPPING:
            self.supervision.stop(CANCEL)


@asynccontextmanager
async def supervised(
    folder: Path, *, kind: type[SqliteStore] = SqliteStore, **settings: object
) -> AsyncIterator[Supervised]:
    """A queued run, about to be launched."""
    moments = Moments()
    disk, launcher = TellingDisk(moments), Governors(moments)
    (folder / "spool").mkdir()
    with _bus() as (bus, endpoint):
        async with opened(folder, kind=kind) as case:
            parts = _parts(
                case, folder, endpoint, disk, launcher, Settings.model_validate(settings)
            )
            run_id = await case.add()
            supervision = Supervision(
                parts, run_id=run_id, attempt=1, queue="default",
                token_sha256=TOKEN_SHA256,
            )  # fmt: skip
            try:
                yield Supervised(case, parts, moments, disk, launcher, run_id, supervision, bus)
            finally:
                if launcher.report.done():
                    launcher.report.result().close()
                for child in launcher.born:
                    child.kill()
                    child.wait()


@contextmanager
def _bus() -> Iterator[tuple[socket.socket, str]]:
    """Where a broker could be, and its address."""
    with (
        tempfile.TemporaryDirectory(prefix="it-") as folder,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        listening.bind(f"{folder}/bus")
        listening.listen()
        yield listening, f"ipc://{folder}/bus"


def _parts(
    case: StoreCase, folder: Path, endpoint: str, disk: Disk, launcher: Launcher, settings: Settings
) -> Parts:
    children = NoOrphans()
    return Parts(
        settings=settings,
        state_dir=folder,
        private_endpoint=endpoint,
        store=case.store,
        spool=Spool(folder / "spool", disk),
        children=children,
        broker=BrokerLink(BrokerConfig((Endpoint(endpoint, True),)), children, None),
        launcher=launcher,
        governors=ConnectionPool(endpoint),
        cgroup_home=None,
        umask=0o077,
        is_embedded=False,
        client_endpoint=endpoint,
        troubles=Troubles(utc_now),
        reserve=Reserve(folder),
        slot_freed=lambda: None,
    )
