"""A pipeline from its order to its outcome: the database, the models of execution, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intendant import logs
from intendant.process.readiness import wait_readable
from intendant.protocol.building import without_plugins
from intendant.protocol.bulk import uncollected
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_records import StepReport, Usage
from intendant.protocol.step_states import StepOutcome
from intendant.workloads.calling import Refusal, find_function
from intendant.workloads.nursery import Nursery
from intendant.workloads.pipeline.caching import Caching
from intendant.workloads.pipeline.callbacks import Callbacks
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.graph_executor import GraphExecutor, PipelineRun, StepRunner
from intendant.workloads.pipeline.processes import InlineRunner, ProcessRunner, read_report
from intendant.workloads.pipeline.records import Records
from intendant.workloads.pipeline.step_process import GREETING

RUNS_AT_ONCE = 64
"""Steps that are submitted at a time: each is waited for over a stream, of which there are few."""


def conduct(
    order: dict[str, Any], calls: Mapping[str, str], zygote: socket.socket, life_fd: int
) -> tuple[str | None, bool]:
    """Why the pipeline failed, if it did, and whether it was asked to end."""
    logs.configure("info", role="pipeline")
    with uncollected(), without_plugins():
        pipeline = PipelineSpec.model_validate(order["spec"])
    run = PipelineRun(pipeline, order["label"], Path(order["run_folder"]), Path.cwd(), calls)
    caching = Caching(pipeline, run.folder, run.cwd)
    failure, is_asked = asyncio.run(_conduct(run, caching, zygote, life_fd))
    caching.prune()
    return failure, is_asked


def _graph_executor(pipeline: PipelineSpec) -> type[GraphExecutor]:
    """Our own class, or the user's that takes its place."""
    if pipeline.graph_executor is None:
        return GraphExecutor
    sys.path.insert(0, str(Path.cwd()))
    found = find_function(pipeline.graph_executor)
    if not (isinstance(found, type) and issubclass(found, GraphExecutor)):
        raise TypeError(f"{pipeline.graph_executor} is {found!r}, expected a GraphExecutor")
    return found


async def _conduct(
    run: PipelineRun, caching: Caching, zygote: socket.socket, life_fd: int
) -> tuple[str | None, bool]:
    """Carry the graph out, with its database, records and callbacks."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    nursery = Nursery(zygote, greeting=GREETING)
    inline = InlineRunner(nursery)
    models = {run.pipeline.execution_of(step) for step in run.pipeline.steps}
    if "inline" in models:
        inline.make_ready()  # it comes to life while the database is read
    if "processes" in models:
        nursery.make_ready()  # so does the first of these
    _rehearse()
    try:
        with uncollected():
            store = open_store(run.pipeline, run.folder)
    except Refusal as error:
        await inline.close()
        await nursery.close()
        return str(error), False
    inline.on_log = store.tell_readers
    runners: dict[str, StepRunner] = {"processes": ProcessRunner(nursery), "inline": inline}
    if "runs" in models:
        from intendant.workloads.pipeline.runs import RunsRunner

        runners["runs"] = RunsRunner(run.label)
    with store, Callbacks(run.pipeline) as callbacks:
        caching.settle(store)
        records = Records(run, store)
        with uncollected():
            executor = _graph_executor(run.pipeline)(
                run, store, runners=runners, room=room_for(run.pipeline),
                callbacks=callbacks, watchers=[caching, records],
            )  # fmt: skip
        failure, is_asked = await _carry_out(executor, nursery, asked, life_fd)
        records.end(failure)
    return failure, is_asked


def _rehearse() -> None:
    """Have all that reports need built by now: the first step that ends would wait for that."""
    with without_plugins():
        usage = Usage(user_s=0, system_s=0, max_rss_kib=0)
        report = StepReport(outcome=StepOutcome.SUCCEEDED, usage=usage)
        read_report(report.model_dump_json(exclude_defaults=True).encode())


async def _carry_out(
    executor: GraphExecutor, nursery: Nursery, asked: asyncio.Event, life_fd: int
) -> tuple[str | None, bool]:
    """Until it is over or has been asked to end."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(_stop_when_asked(executor, asked, life_fd), name="life")
        failure = await executor.run()
        await nursery.close()
        is_asked = life.done()
        life.cancel()
    return failure, is_asked


def room_for(pipeline: PipelineSpec) -> dict[str, int]:
    """How many steps at once there are in each model of execution."""
    at_once = pipeline.processes or os.cpu_count() or 1
    return {"processes": at_once, "inline": 1, "runs": RUNS_AT_ONCE}


async def _stop_when_asked(executor: GraphExecutor, asked: asyncio.Event, life_fd: int) -> None:
    """SIGTERM, which sets `asked`, or end-of-file of the pipe asks for the end."""
    async with asyncio.TaskGroup() as tasks:
        pipe = tasks.create_task(_then(wait_readable(life_fd), asked), name="pipe")
        await asked.wait()
        pipe.cancel()
    executor.stop()


async def _then(wait: Any, event: asyncio.Event) -> None:
    await wait
    event.set()
