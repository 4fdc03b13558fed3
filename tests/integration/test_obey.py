"""Orders to end the daemon, while it can't be known whether a run is to start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.errors import StoreError
from intendant.executor import troubles
from intendant.executor.configuration import Configuration
from intendant.executor.desk import Desk
from intendant.executor.executor import Executor
from intendant.executor.hub import Hub
from intendant.executor.lifecycle import Lifecycle, Order
from intendant.executor.obey import obey_orders
from intendant.executor.on_end import EndCommands
from intendant.executor.parts import utc_now
from intendant.executor.scheduler import Scheduler
from intendant.executor.service import ServiceReport
from intendant.process.service_manager import ServiceManager
from intendant.protocol.executor_states import Cause, Policy
from intendant.store.base import Grant
from intendant.store.sqlite import SqliteStore
from tests.helpers.supervised import Supervised, supervised
from tests.integration.test_scheduler import serving, until


class DoubtfulStore(SqliteStore):
    """A grant is on disk, and reported failed as long as the disk `fails`."""

    fails = True
    tries = 0

    async def grant(self, *args: Any, **kwargs: Any) -> Grant:
        grant = await super().grant(*args, **kwargs)
        self.tries += 1
        if self.fails:
            raise StoreError("disk I/O error")
        return grant


@dataclass
class InDoubt:
    """A daemon that can't learn whether the start of its only run is written down."""

    attempt: Supervised
    desk: Desk
    store: DoubtfulStore
    obeying: asyncio.Task[None]

    def order(self, policy: Policy) -> None:
        self.desk.lifecycle.order(Order(policy, Cause.COMMAND))

    async def wait_tries(self, count: int) -> None:
        """Wait until it was tried so often, or is not any more."""
        await until(lambda: self.store.tries >= count or not self.desk.live)


@asynccontextmanager
async def in_doubt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InDoubt]:
    monkeypatch.setattr(troubles, "LEAVE_S", 0.0)
    async with supervised(folder, kind=DoubtfulStore, slots=1) as attempt:
        desk, store = serving(attempt), attempt.parts.store
        assert isinstance(store, DoubtfulStore)
        on_end = EndCommands(attempt.parts, endpoint="", wanted=asyncio.Event())
        report = ServiceReport(ServiceManager())
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            scheduler = Scheduler(desk, tasks)
            scheduling = tasks.create_task(scheduler.run())
            obeying = tasks.create_task(obey_orders(desk, on_end, report, tasks))
            await until(lambda: store.tries > 0)
            yield InDoubt(attempt, desk, store, obeying)
            for task in (scheduling, obeying, *scheduler.lives):
                task.cancel()


async def test_a_daemon_that_drains_leaves_no_run_between_queued_and_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_doubt(tmp_path, monkeypatch) as daemon:
        daemon.order(Policy.DRAIN)
        await daemon.wait_tries(4)

        daemon.store.fails = False

        await until(lambda: bool(daemon.attempt.launcher.born) or not daemon.desk.live)
        assert [*daemon.desk.live] == [daemon.attempt.run_id]
        assert not daemon.obeying.done()


async def test_a_daemon_that_is_to_end_after_all_leaves_it_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_doubt(tmp_path, monkeypatch) as daemon:
        daemon.order(Policy.DRAIN)
        daemon.order(Policy.STOP)

        await daemon.obeying

        assert daemon.attempt.launcher.born == []
        assert (await daemon.attempt.case.store.run(daemon.attempt.run_id)).state == "stopping"


async def test_a_daemon_that_drains_since_its_start_looks_for_what_may_start_once_it_can(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:
        parts, lifecycle = attempt.parts, Lifecycle()
        desk = Desk(parts, Hub(), lifecycle, tmp_path, utc_now())
        executor = Executor(
            Configuration(parts.settings), None, BrokerConfig((Endpoint("ipc:///bus", True),)),
            state_dir=tmp_path, runtime_dir=tmp_path, life_line=None, umask=0o22,
            reload=lambda: Configuration(parts.settings), on_ready=lambda: None,
            report=ServiceReport(ServiceManager()),
        )  # fmt: skip
        lifecycle.obey(Order(Policy.DRAIN, Cause.SIGTERM))
        desk.schedule_wanted.clear()
        parts.broker.ready.set()

        await executor._announce(desk)

        assert desk.schedule_wanted.is_set()
