"""Conducting a study: what happens goes into the loop, what comes out of it is written and done.

    reports, ends, saves, orders from outside, time ──▶ StudyLoop ──▶ TrialStore, then processes

Everything that has happened by the time the event loop comes round is written in one transaction;
nothing is answered or started before that is on disk.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import structlog

from intendant.process.file_changes import FileChanges
from intendant.protocol.study import StudySpec
from intendant.protocol.trial_records import TrialOrder
from intendant.protocol.trial_states import Decision
from intendant.store.disk import DISK
from intendant.store.trial_orders import ORDERS_FOLDER, forget_order, waiting_orders
from intendant.store.trials import TrialStore
from intendant.workloads.nursery import Nursery
from intendant.workloads.study import saving
from intendant.workloads.study.actions import (
    Action,
    Answer,
    Drop,
    End,
    Finish,
    Refuse,
    Save,
    Start,
)
from intendant.workloads.study.hearing import Hear, report_in
from intendant.workloads.study.keeping import write
from intendant.workloads.study.loop import StudyLoop
from intendant.workloads.study.processes import TrialProcess
from intendant.workloads.study.trials import Checkpoint

log = structlog.get_logger()

TRIALS_FOLDER = "trials"
BY_HAND = "by hand"
AFTER_STOP_GRACE_S = 1.0
"""From SIGTERM to SIGKILL for a trial that has not stopped although it was told to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study is at home."""

    label: str
    run_folder: Path
    cwd: Path
    socket: Path
    """At which commands report."""


class Conductor:
    """Conducts one study to its end."""

    def __init__(
        self,
        spec: StudySpec,
        loop: StudyLoop,
        store: TrialStore,
        nursery: Nursery,
        place: Place,
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._store = store
        self._nursery = nursery
        self._place = place
        self.on_written: Callable[[], None] = lambda: None
        self._orders = place.run_folder / ORDERS_FOLDER
        self._obeyed: dict[str, tuple[TrialOrder, int | None]] = {}
        """By their keys: orders that were acted on, but not on disk, and the trials they added."""
        self._running: dict[int, TrialProcess] = {}
        self._warm: list[TrialProcess] = []
        self._starting: set[int] = set()
        self._early_ends: dict[int, float] = {}
        """The graces of trials that were to end before they had a process."""
        self._graces: dict[int, asyncio.TimerHandle] = {}
        self._over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._is_woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._aside: dict[int, Hear] = {}
        """Trials that report over the study's socket, and who waits for the answer there."""

    async def conduct(self) -> str | None:
        """To the end; why the study failed, if it did."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            orders = tasks.create_task(self._obey(), name="orders")
            self._loop.begin()
            self.wake()
            error = await self._over
            orders.cancel()
            for process in self._warm:
                await process.dismiss()
            if self._timer is not None:
                self._timer.cancel()
        return error

    def wake(self) -> None:
        """Something has happened to the loop: look what follows, once for all that comes now."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._follow)

    def hear(self, number: int, said: Mapping[str, Any], answer: Hear) -> None:
        """A report over the study's socket; it is answered there."""
        if number not in self._running or number in self._aside:
            answer({"refused": f"trial {number} does not wait for an answer just now"})
            return
        self._aside[number] = answer
        self._on_said(number, said)

    def stop(self, reason: str) -> None:
        """End the study with what it has."""
        self._loop.stop_study(reason)
        self.wake()

    async def _obey(self) -> None:
        """Act on what is asked from outside: what waits in the folder, and each that comes."""
        DISK.make_folder(self._orders)
        with FileChanges(self._orders) as changes:
            while not self._over.done():
                for order in waiting_orders(self._orders):
                    self._act(order)
                self.wake()
                await changes.wait_change()

    def _act(self, order: TrialOrder) -> None:
        if order.key in self._obeyed:
            return
        number = None
        if self._store.has_order(order.key):
            pass  # its file was not removed in time
        elif order.params is not None:
            number = self._loop.add_trial(order.params)
        elif order.number is not None:
            self._loop.stop_trial(order.number, BY_HAND)
        else:
            self._loop.stop_study(BY_HAND)
        self._obeyed[order.key] = (order, number)

    # --- what follows ----------------------------------------------------------------------------

    def _follow(self) -> None:
        self._is_woken = False
        try:
            changes, actions = self._loop.take()
            obeyed, self._obeyed = self._obeyed, {}
            orders = [(key, number) for key, (_, number) in obeyed.items()]
            write(self._store, self._loop, changes, actions, orders)
            for order, _ in obeyed.values():
                forget_order(self._orders, order)
            self.on_written()
            for action in actions:
                self._do(action)
            self._set_timer()
        except Exception as error:  # noqa: BLE001  nothing may go on that is not on disk
            if not self._over.done():
                self._over.set_exception(error)

    def _do(self, action: Action) -> None:
        match action:
            case Start():
                self._starting.add(action.number)
                self._tasks.create_task(self._carry_out(action), name=f"trial-{action.number}")
            case Answer():
                self._answer(action)
            case Refuse():
                self._say(action.number, {"refused": action.reason})
            case Save():
                self._tasks.create_task(self._save(action), name=f"save-{action.number}")
            case End():
                self._end(action.number, self._spec.trial_grace_s)
            case Drop():
                folder = self._place.run_folder / action.checkpoint.path
                self._tasks.create_task(asyncio.to_thread(saving.drop, folder), name="drop")
            case Finish():
                self._over.set_result(action.error)
            case _:
                assert_never(action)

    def _answer(self, answer: Answer) -> None:
        self._say(answer.number, {"decision": answer.decision})
        if answer.decision is not Decision.CONTINUE and answer.number not in self._graces:
            self._graces[answer.number] = asyncio.get_running_loop().call_later(
                self._spec.trial_grace_s, self._end, answer.number, AFTER_STOP_GRACE_S
            )

    def _say(self, number: int, what: Mapping[str, Any]) -> None:
        aside = self._aside.pop(number, None)
        if aside is not None:
            aside(what)
        elif number in self._running:
            self._running[number].answer(what)

    def _end(self, number: int, grace_s: float) -> None:
        if number in self._running:
            self._running[number].end(grace_s)
        elif number in self._starting:
            self._early_ends[number] = grace_s

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._loop.next_time()
        self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._loop.on_time()
        self.wake()

    # --- trials ----------------------------------------------------------------------------------

    async def _carry_out(self, start: Start) -> None:
        """One start of a trial, from its process to its end."""
        number = start.number
        process = self._warm.pop() if self._warm else await self._make_process()
        self._running[number] = process
        self._starting.discard(number)
        process.hear = lambda said: self._on_said(number, said)
        if (grace_s := self._early_ends.pop(number, None)) is not None:
            process.end(grace_s)
        ending = await process.carry_out(self._order(start))
        del self._running[number]
        self._say(number, {"refused": f"trial {number} has ended"})  # if somebody waits aside
        if (grace := self._graces.pop(number, None)) is not None:
            grace.cancel()
        if process.is_warm:
            self._warm.append(process)
        self._loop.on_ended(number, ending)
        self.wake()

    async def _make_process(self) -> TrialProcess:
        return await TrialProcess.make(self._nursery, is_last=not self._loop.has_more_to_start)

    def _order(self, start: Start) -> dict[str, Any]:
        folder = self._place.run_folder / TRIALS_FOLDER / str(start.number)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = start.checkpoint
        return {
            "label": self._place.label,
            "trial": start.number,
            "start": start.start,
            "params": start.params,
            "step": start.step,
            "checkpoint": checkpoint and str(self._place.run_folder / checkpoint.path),
            "target": self._spec.target,
            "argv": self._spec.argv,
            "metric": self._spec.metric,
            "folder": str(folder),
            "cwd": str(self._place.cwd),
            "socket": str(self._place.socket),
            "is_last": not self._spec.reuse,
        }

    def _on_said(self, number: int, said: Mapping[str, Any]) -> None:
        report = report_in(said)
        if isinstance(report, str):
            self._loop.on_unreadable(number, report)
        else:
            self._loop.on_report(number, report)
        self.wake()

    async def _save(self, action: Save) -> None:
        """Keep a copy of a checkpoint."""
        path = f"{TRIALS_FOLDER}/{action.number}/checkpoints/{action.result.seq}"
        source = self._place.cwd / action.source
        try:
            await asyncio.to_thread(saving.save, source, self._place.run_folder / path)
        except (OSError, shutil.Error, ValueError, RecursionError) as error:  # whatever it names
            self._loop.on_save_failed(action.number, f"{source}: {error}")
        else:
            self._loop.on_saved(action.number, Checkpoint(path, action.result))
        self.wake()
