"""A study from its order to its outcome: the database, what was before, the end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from intendant import logs
from intendant.process.readiness import wait_readable
from intendant.protocol.building import without_plugins
from intendant.protocol.study import StudySpec
from intendant.store.trials import TRIALS_FILE, StudyRow, TrialStore
from intendant.trial import MAX_LINE_BYTES
from intendant.workloads.calling import find_function
from intendant.workloads.nursery import Nursery
from intendant.workloads.results import keep, to_json
from intendant.workloads.study.conductor import Conductor, Place
from intendant.workloads.study.hearing import serve_reports
from intendant.workloads.study.hooks import Callbacks, Stopper
from intendant.workloads.study.keeping import Past, Policy, found_as_json
from intendant.workloads.study.loop import StudyLoop
from intendant.workloads.study.making import make_searcher_and_scheduler
from intendant.workloads.study.resources import Resources

SOCKET = "reports.sock"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the study ended: why it failed, if it did, and whether it was asked to end."""

    failure: str | None
    is_asked: bool = False


def conduct(order: dict[str, Any], zygote: socket.socket, life_fd: int) -> Outcome:
    """Conduct the study of an order, from where its database says that it is."""
    logs.configure("info", role="study")
    with without_plugins():
        spec = StudySpec.model_validate(order["spec"])
    run_folder, attempt_folder = Path(order["run_folder"]), Path(order["attempt_folder"])
    sys.path[:0] = [str(Path.cwd())]
    _fetch_once(spec, run_folder)
    with TrialStore(run_folder / TRIALS_FILE) as store:
        loop = _make_loop(spec, store)
        place = Place(order["label"], run_folder, Path.cwd(), attempt_folder / SOCKET)
        outcome = asyncio.run(_conduct(spec, loop, store, place, zygote, life_fd))
    if outcome.failure is None and not outcome.is_asked:
        keep(attempt_folder, "json", to_json(_result(loop, run_folder)))
    return outcome


def _fetch_once(spec: StudySpec, run_folder: Path) -> None:
    """Fetch what the study resumes, the first time."""
    if spec.resume is None or (run_folder / TRIALS_FILE).exists():
        return
    from intendant.workloads.study.snapshots import fetch

    source = spec.resume.source or str(run_folder.parent / str(spec.resume.run_id))
    policy = Policy(spec.resume.finished, spec.resume.unfinished, spec.resume.errored)
    fetch(source, run_folder, fingerprint=_fingerprint(spec), policy=policy)


def _make_loop(spec: StudySpec, store: TrialStore) -> StudyLoop:
    study = store.study()
    is_new = study is None
    if study is None:
        study = StudyRow(_fingerprint(spec), spec.metric, spec.mode, seed=_seed(spec))
        store.begin(study)
    searcher, scheduler = make_searcher_and_scheduler(spec, seed=study.seed)
    loop = StudyLoop(
        spec,
        searcher=searcher,
        scheduler=scheduler,
        resources=Resources(
            spec.resources, {"cpu": float(os.cpu_count() or 1), **spec.available}, spec.at_once
        ),
        clock=time.monotonic,
        callbacks=[cast(Callbacks, find_function(target)(spec)) for target in spec.callbacks],
        stopper=None if spec.stopper is None else cast(Stopper, find_function(spec.stopper)),
        elapsed_s=study.elapsed_s,
    )
    if not is_new:
        _go_on(loop, spec, store, study)
    return loop


def _go_on(loop: StudyLoop, spec: StudySpec, store: TrialStore, study: StudyRow) -> None:
    """Take up what there was. What can't be taken up is an error, and never a fresh start."""
    past = Past(store, spec, Policy())
    if study.searcher is not None:
        loop.searcher.restore(study.searcher, past.histories())
    if study.scheduler is not None:
        loop.scheduler.restore(study.scheduler, past.histories())
    loop.admit(past.unfinished(), past.tally(), proposed=study.proposed)


async def _conduct(
    spec: StudySpec,
    loop: StudyLoop,
    store: TrialStore,
    place: Place,
    zygote: socket.socket,
    life_fd: int,
) -> Outcome:
    nursery = Nursery(zygote)
    conductor = Conductor(spec, loop, store, nursery, place)
    async with (
        asyncio.TaskGroup() as tasks,
        _reports(conductor, place.socket),
        _snapshots(spec, conductor, place.run_folder),
    ):
        asked = tasks.create_task(_stop_when_asked(conductor, life_fd), name="life")
        failure = await conductor.conduct()
        is_asked = asked.done()
        asked.cancel()
        await nursery.close()
    return Outcome(failure, is_asked)


@asynccontextmanager
async def _snapshots(
    spec: StudySpec, conductor: Conductor, run_folder: Path
) -> AsyncIterator[None]:
    """Copies of the state while the study goes on, and one of how it ended."""
    if spec.snapshot is None:
        yield
        return
    from intendant.workloads.study.snapshots import Place as Storage
    from intendant.workloads.study.snapshots import Snapshots

    snapshots = Snapshots(Storage(spec.snapshot), run_folder, period_s=spec.checkpoint_period_s)
    conductor.on_written = snapshots.on_written
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(snapshots.keep(), name="snapshots")
        yield
        keeping.cancel()
    await snapshots.make()


@asynccontextmanager
async def _reports(conductor: Conductor, path: Path) -> AsyncIterator[None]:
    """The socket at which commands report; however long its path is: unix(7) takes 107 bytes."""
    home = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path.unlink(missing_ok=True)  # noqa: ASYNC240  one name, at once
        server = await asyncio.start_unix_server(
            partial(serve_reports, conductor),
            f"/proc/self/fd/{home}/{path.name}",
            limit=MAX_LINE_BYTES,
        )
        async with server:
            yield
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240
        os.close(home)


async def _stop_when_asked(conductor: Conductor, life_fd: int) -> None:
    """End-of-file of the pipe, or SIGTERM, asks for the end."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    async with asyncio.TaskGroup() as tasks:
        waits = [
            tasks.create_task(_then(wait_readable(life_fd), asked), name="pipe"),
            tasks.create_task(asked.wait(), name="signal"),
        ]
        await asked.wait()
        for wait in waits:
            wait.cancel()
    conductor.stop("the run was asked to end")


async def _then(wait: Any, event: asyncio.Event) -> None:
    await wait
    event.set()


def _result(loop: StudyLoop, run_folder: Path) -> dict[str, object]:
    """What the run leaves as its result."""
    return {
        **found_as_json(loop.tally, run_folder),
        "trials": {outcome.value: count for outcome, count in loop.tally.outcomes.items()},
        "elapsed_s": round(loop.elapsed_s, 3),
    }


def _fingerprint(spec: StudySpec) -> str:
    """What tells a study from one that searches something else."""
    told_by = {"space", "metric", "mode", "target", "argv"}
    if spec.further_metrics:
        told_by.add("further_metrics")
    text = spec.model_dump_json(include=told_by)
    return hashlib.sha256(text.encode()).hexdigest()


def _seed(spec: StudySpec) -> int:
    if spec.search.seed is not None:
        return spec.search.seed
    return random.SystemRandom().randrange(2**32)
