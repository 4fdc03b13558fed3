"""The daemon's body: brings the parts up, obeys orders, and takes the parts down again.

The task tree (ending it ends the daemon; there is no other way out):

    Executor.run
    ├── broker          keeps the broker's process alive
    ├── launcher        keeps the zygote (or the portable launcher's helper) alive
    ├── executor x 64   workers for short requests
    ├── stream x 2…256  workers for streams
    ├── scheduler       grants slots
    ├── stops           tells live runs of wishes that only the store knows of
    ├── settings        reads the settings again at SIGHUP
    ├── announce        says that the daemon serves, once the broker does
    ├── on-end          runs the commands that are told of ends
    ├── report          tells the service manager how the daemon is
    ├── life-line       (embedded) waits for the owner's end
    ├── stop / hurry    (ending) tells the runs
    └── run-<id>.<n>    one for each live attempt: supervise.Supervision
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from intendant.broker.client import ConnectionPool
from intendant.broker.config import BrokerConfig
from intendant.broker.link import BrokerLink, BrokerProcess
from intendant.broker.worker import Worker
from intendant.errors import Busy, HelperLost, SettingsError, StoreError
from intendant.executor.configuration import Configuration
from intendant.executor.desk import Desk
from intendant.executor.handlers import answer
from intendant.executor.hub import Hub
from intendant.executor.lifecycle import Lifecycle, Order
from intendant.executor.obey import obey_orders
from intendant.executor.on_end import EndCommands, is_wanted
from intendant.executor.parts import Parts, utc_now
from intendant.executor.recover import recover
from intendant.executor.scheduler import Scheduler
from intendant.executor.selecting import NOT_ENDED
from intendant.executor.service import ServiceReport
from intendant.executor.streams import StreamPool
from intendant.executor.troubles import Troubles
from intendant.launch.registry import make_launcher
from intendant.logs import set_level
from intendant.process.cgroup import Cgroup, make_child, own_cgroup
from intendant.process.children import Children
from intendant.process.identity import start_time
from intendant.process.readiness import wait_readable
from intendant.process.subreaper import become_subreaper
from intendant.process.waits import first_of
from intendant.protocol.executor_states import Cause, ExecutorEvent, ExecutorState, Policy
from intendant.protocol.folders import DAEMON_FILE, DATABASE, client_endpoint
from intendant.settings import NEEDS_RESTART, Settings
from intendant.store.base import Store
from intendant.store.database import outdated_sqlite
from intendant.store.reserve import Reserve
from intendant.store.rows import RunRow
from intendant.store.spool import Spool
from intendant.store.sqlite import SqliteStore

log = structlog.get_logger()

GOVERNOR_ENTRY = "intendant.governor.main:main"
PRELOAD = (
    "intendant.governor.footprint:lay_names",
    "intendant.governor.forgone:forgo_libraries",
    "intendant.protocol.building:forgo_plugins",
    "intendant.governor.main",
    "intendant.governor.preloaded",
    "intendant.workloads.command",
    "intendant.governor.footprint:lay_functions",
    "intendant.governor.warmth:warm_up",
)
GOVERNOR_CONNECTIONS = 1024


class Executor:
    """One daemon. `run()` is its whole life and gives the exit status; the folders are its own."""

    def __init__(
        self,
        configuration: Configuration,
        broker: BrokerProcess | None,
        broker_config: BrokerConfig,
        *,
        state_dir: Path,
        runtime_dir: Path,
        reload: Callable[[], Configuration],
        on_ready: Callable[[], None],
        report: ServiceReport,
        life_line: int | None,
        umask: int,
    ) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._broker = broker
        self._broker_config = broker_config
        self._state_dir = state_dir
        self._runtime_dir = runtime_dir
        self._reload = reload
        self._on_ready = on_ready
        self._report = report
        self._life_line = life_line
        self._umask = umask
        self._hub = Hub()
        self._lifecycle = Lifecycle()
        self._desk: Desk | None = None
        self._schedule_wanted = asyncio.Event()
        self._settings_wanted = asyncio.Event()
        self._stops_wanted = asyncio.Event()
        self._on_end_wanted = asyncio.Event()

    async def run(self) -> int:
        """Serve until an order ends it."""
        become_subreaper()
        with Children([] if self._broker is None else self._broker.pids) as children:
            self._write_daemon_file()
            store = await SqliteStore.open(
                self._state_dir / DATABASE, now=utc_now, on_change=self._on_change
            )
            if (outdated := outdated_sqlite()) is not None:
                log.warning("library_outdated", detail=outdated)
            try:
                await _require_own(self._state_dir, store)
                await self._serve(store, children)
            finally:
                await store.close()
                (self._runtime_dir / DAEMON_FILE).unlink(missing_ok=True)
        log.info("daemon_exited", cause=self._lifecycle.cause, status=self._lifecycle.exit_status)
        return self._lifecycle.exit_status

    # --- up, on, down ----------------------------------------------------------------------------

    async def _serve(self, store: SqliteStore, children: Children) -> None:
        self._desk = desk = self._make_desk(store, children)
        parts = desk.parts
        parts.broker.on_presence = desk.notice
        parts.broker.on_restart = desk.expect_words
        on_end = EndCommands(
            parts, endpoint=client_endpoint(self._runtime_dir), wanted=self._on_end_wanted
        )
        await store.want_ends(of_all=self._settings.on_end is not None)
        inherited = await recover(desk)
        if not parts.is_embedded:  # whose state goes with it, or is pruned by nobody
            parts.reserve.lay()
        await self._apply_queues(desk)
        self._heed_signals(desk)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._keep_broker(parts), name="broker"),
                    tasks.create_task(parts.launcher.run(), name="launcher"),
                ]
                streams = StreamPool(desk, tasks)
                scheduler = Scheduler(desk, tasks)
                aides = [
                    tasks.create_task(scheduler.run(), name="scheduler"),
                    tasks.create_task(desk.follow_stops(), name="stops"),
                    tasks.create_task(self._follow_settings(desk), name="settings"),
                    tasks.create_task(on_end.run(), name="on-end"),
                    tasks.create_task(self._announce(desk), name="announce"),
                    tasks.create_task(self._report.run(desk), name="report"),
                    tasks.create_task(self._follow_owner(desk), name="life-line"),
                    *(
                        tasks.create_task(_work(desk), name="executor")
                        for _ in range(self._workers)
                    ),
                ]
                streams.fill()
                for life in inherited:
                    scheduler.resume(life)
                await obey_orders(desk, on_end, self._report, tasks)
                await _finish(on_end, self._lifecycle)
                await _ended(*aides, *streams.workers, *scheduler.lives)
                await _ended(*helpers)
        finally:
            parts.governors.close()

    @property
    def _workers(self) -> int:
        return self._settings.request_workers

    def _make_desk(self, store: SqliteStore, children: Children) -> Desk:
        settings = self._settings
        private = self._broker_config.endpoints[0].uri
        parts = Parts(
            settings=settings,
            state_dir=self._state_dir,
            private_endpoint=private,
            store=store,
            spool=Spool(self._state_dir / "spool"),
            children=children,
            broker=BrokerLink(self._broker_config, children, self._broker),
            launcher=make_launcher(
                settings.launcher, entry=GOVERNOR_ENTRY, preload=PRELOAD, children=children
            ),
            governors=ConnectionPool(private, size=GOVERNOR_CONNECTIONS),
            cgroup_home=_cgroup_home(settings),
            umask=self._umask,
            is_embedded=self._life_line is not None,
            client_endpoint=client_endpoint(self._runtime_dir),
            troubles=Troubles(utc_now),
            reserve=Reserve(self._state_dir),
            slot_freed=self._schedule_wanted.set,
        )
        return Desk(
            parts, self._hub, self._lifecycle, self._runtime_dir, utc_now(),
            schedule_wanted=self._schedule_wanted, stops_wanted=self._stops_wanted,
        )  # fmt: skip

    async def _announce(self, desk: Desk) -> None:
        """Serving begins when broker and launcher do; recovery lies behind us by then."""
        await desk.parts.broker.ready.wait()
        if desk.lifecycle.state is not ExecutorState.PRISTINE:
            desk.schedule_wanted.set()  # who drains since its start has steps' runs to start, too
            return
        desk.lifecycle.on(ExecutorEvent.HELPERS_READY)
        desk.lifecycle.on(ExecutorEvent.RECOVERED)
        desk.schedule_wanted.set()
        self._report.ready()
        self._report.note_change()
        self._on_end_wanted.set()  # an earlier daemon may have left some
        self._on_ready()

    async def _keep_broker(self, parts: Parts) -> None:
        try:
            await parts.broker.run()
        except HelperLost as error:
            log.critical("broker_given_up", error=str(error))
            policy = Policy.STOP if parts.is_embedded else Policy.LEAVE
            self._lifecycle.order(Order(policy, Cause.BROKER_LOST))

    async def _follow_owner(self, desk: Desk) -> None:
        """Embedded: the end of the life-line is the end of the owner, and of this daemon."""
        if self._life_line is None:
            return
        await wait_readable(self._life_line)
        cause = Cause.COMMAND
        try:
            counts = await desk.parts.store.counts()
            if not any(counts.get(state) for state in NOT_ENDED):
                cause = Cause.IDLE
        except StoreError as error:  # it ends all the same
            log.error("runs_not_counted", error=str(error))
        self._lifecycle.order(Order(Policy.STOP, cause))

    # --- orders ----------------------------------------------------------------------------------

    def _heed_signals(self, desk: Desk) -> None:
        """From here on a signal is an order on the queue, and nothing else."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):
            loop.add_signal_handler(signum, self._on_signal, desk, signum)
        loop.add_signal_handler(signal.SIGHUP, self._settings_wanted.set)

    def _on_signal(self, desk: Desk, signum: int) -> None:
        self._lifecycle.order_by_signal(signum, Policy(desk.parts.settings.on_signal))

    # --- settings --------------------------------------------------------------------------------

    async def _follow_settings(self, desk: Desk) -> None:
        """Read the settings again at each SIGHUP; a faulty file changes nothing."""
        while True:
            await self._settings_wanted.wait()
            self._settings_wanted.clear()
            try:
                await self._apply_settings(desk, self._reload())
            except (SettingsError, StoreError, Busy) as error:
                log.error("settings_refused", error=str(error))
                desk.doubt_queues()

    async def _apply_settings(self, desk: Desk, configuration: Configuration) -> None:
        old, settings = desk.parts.settings, configuration.settings
        late = sorted(key for key in NEEDS_RESTART if getattr(old, key) != getattr(settings, key))
        for key in late:
            log.warning("setting_needs_restart", key=key)
        kept = {key: getattr(old, key) for key in NEEDS_RESTART}
        desk.parts.settings = settings.model_copy(update=kept)
        set_level(settings.log_level)
        desk.parts.broker.set_log_level(settings.log_level)
        desk.parts.broker.authorize(configuration.authorized)
        self._settings = desk.parts.settings
        await desk.parts.store.want_ends(of_all=settings.on_end is not None)
        await self._apply_queues(desk)
        log.info(
            "settings_applied",
            slots=settings.slots,
            queues=sorted(settings.queues),
            keys=len(configuration.authorized),
        )

    async def _apply_queues(self, desk: Desk) -> None:
        """Queues named in the settings get the slots set there; the others keep theirs."""
        store = desk.parts.store
        for name, queue in desk.parts.settings.queues.items():
            await store.queue_set(name, slots=queue.slots)
        for record in await store.queues():
            desk.note_queue(record)

    # --- small things ----------------------------------------------------------------------------

    def _on_change(self, rows: list[RunRow]) -> None:
        """After each commit: tell those who wait, and see whether a run may start now."""
        self._hub.publish(rows)
        self._report.note_change()
        if self._desk is not None:
            self._desk.note_runs(rows)
        if any(row.kind == "pipeline" and row.outcome is not None for row in rows):
            self._stops_wanted.set()  # of the runs of its steps, cancelled with it
        if any(is_wanted(row, self._settings) for row in rows):
            self._on_end_wanted.set()

    def _write_daemon_file(self) -> None:
        """Who the daemon is, for clients that wonder whether to wait for it."""
        path = self._runtime_dir / DAEMON_FILE
        fresh = path.with_suffix(".new")
        found = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
        fresh.write_text(json.dumps(found), encoding="ascii")
        fresh.replace(path)


async def _require_own(state_dir: Path, store: Store) -> None:
    """`StoreError` if the spool holds runs of another database, lost or newer than this one."""
    last_run_id = await store.last_run_id()
    spool = Spool(state_dir / "spool")
    if (text := await asyncio.to_thread(spool.unknown_to, last_run_id)) is not None:
        raise StoreError(text)


async def _work(desk: Desk) -> None:
    """One worker for short requests."""
    settings = desk.parts.settings
    worker = Worker(
        desk.parts.private_endpoint,
        b"executor",
        partial(answer, desk),
        heartbeat_s=settings.heartbeat_s,
        liveness=settings.liveness,
    )
    await worker.run()


async def _finish(on_end: EndCommands, lifecycle: Lifecycle) -> None:
    """Let the commands that run come to their end, unless a further order comes."""
    on_end.hold()
    while not on_end.is_over and lifecycle.take_order() is None:
        await first_of(lifecycle.wait_order(), on_end.wait_over())


async def _ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _cgroup_home(settings: Settings) -> Cgroup | None:
    """Where attempts get cgroups of their own, if one can be made and the settings allow it."""
    if settings.tree == "subreaper":
        return None
    home = own_cgroup()
    probe = None if home is None else make_child(home, f"intendant-probe.{os.getpid()}")
    if probe is not None:
        probe.remove()
        return home
    if settings.tree == "cgroup":
        raise SettingsError(
            "tree: found 'cgroup', expected 'auto' or 'subreaper': "
            "no cgroup v2 folder can be written here"
        )
    return None
