"""Requests about the trials of a study: its database is read, what is asked of it is left for it.

The study's own process acts on orders, also on those that came while it did not run
(`workloads/study/conductor.py`); so they are files in the run's folder.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from intendant.errors import InvalidRequest
from intendant.executor.access import Asker
from intendant.executor.answers import fitting
from intendant.executor.desk import Desk
from intendant.executor.selecting import select_one
from intendant.protocol.messages import (
    Message,
    TrialAddRequest,
    TrialListRequest,
    TrialListResponse,
    TrialOrderResponse,
    TrialStopRequest,
)
from intendant.protocol.space import completed
from intendant.protocol.study import StudySpec
from intendant.protocol.trial_records import TrialOrder
from intendant.store.trial_orders import ORDERS_FOLDER, leave_orders
from intendant.store.trials import TRIALS_FILE, read_trial_page, strange_trials


async def on_trial_list(desk: Desk, request: TrialListRequest, who: Asker) -> Message:
    """A page of a study's trials."""
    run_id, study = await _study(desk, request, who)
    folder = desk.parts.spool.run_folder(run_id)
    page = await asyncio.to_thread(
        read_trial_page,
        folder / TRIALS_FILE,
        offset=request.offset,
        limit=request.limit,
        best_of=study.mode if request.best_first else None,
        further=list(study.further_metrics),
    )
    return TrialListResponse(
        run_id=run_id,
        folder=str(folder),
        metric=study.metric,
        mode=study.mode,
        further_metrics=study.further_metrics,
        trials=fitting(page.trials)[0],
        counts=page.counts,
        total=page.total,
    )


async def on_trial_add(desk: Desk, request: TrialAddRequest, who: Asker) -> Message:
    """One more trial."""
    run_id, study = await _live_study(desk, request, who)
    try:
        params = completed(study.space, request.params)
    except ValueError as error:
        raise InvalidRequest(f"params: {error}") from error
    await _leave(desk, run_id, [TrialOrder(key=request.key, params=params)])
    return TrialOrderResponse(run_id=run_id)


async def on_trial_stop(desk: Desk, request: TrialStopRequest, who: Asker) -> Message:
    """The end of some trials, or of the study."""
    run_id, _ = await _live_study(desk, request, who)
    path = desk.parts.spool.run_folder(run_id) / TRIALS_FILE
    if strange := await asyncio.to_thread(strange_trials, path, request.numbers):
        raise InvalidRequest(
            f"run {run_id} has no trial {strange[0]}: 'intendant trial ls {run_id}' lists them"
        )
    orders = [
        TrialOrder(key=_key_of(request.key, number), number=number) for number in request.numbers
    ]
    await _leave(desk, run_id, orders or [TrialOrder(key=request.key)])
    return TrialOrderResponse(run_id=run_id)


async def _leave(desk: Desk, run_id: int, orders: list[TrialOrder]) -> None:
    folder: Path = desk.parts.spool.run_folder(run_id) / ORDERS_FOLDER
    await asyncio.to_thread(leave_orders, folder, orders)


def _key_of(key: str, number: int) -> str:
    """A key of its own for one of a request's orders, no longer than a key may be."""
    return hashlib.sha256(f"{key}-{number}".encode()).hexdigest()


async def _study(
    desk: Desk, request: TrialListRequest | TrialAddRequest | TrialStopRequest, who: Asker
) -> tuple[int, StudySpec]:
    run_id = await select_one(desk, request.selection, who)
    workload = (await desk.parts.store.run(run_id)).spec.workload
    if not isinstance(workload, StudySpec):
        raise InvalidRequest(f"run {run_id} is a {workload.kind}: only a study has trials")
    return run_id, workload


async def _live_study(
    desk: Desk, request: TrialAddRequest | TrialStopRequest, who: Asker
) -> tuple[int, StudySpec]:
    run_id, study = await _study(desk, request, who)
    run = await desk.parts.store.run(run_id)
    if run.outcome is not None:
        raise InvalidRequest(f"run {run_id} has ended: {run.outcome}")
    return run_id, study
