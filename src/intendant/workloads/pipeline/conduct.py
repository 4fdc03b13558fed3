"""A pipeline from its order to its outcome: the database, the models of execution, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from intendant import logs
from intendant.process.readiness import wait_readable
from intendant.protocol.bulk import uncollected
from intendant.protocol.pipelines import Execution, PipelineSpec
from intendant.store.steps import StepStore
from intendant.workloads.calling import Refusal, find_function
from intendant.workloads.nursery import Nursery
from intendant.workloads.pipeline.caching import Caching
from intendant.workloads.pipeline.callbacks import Callbacks
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.graph_executor import GraphExecutor, PipelineRun, StepRunner
from intendant.workloads.pipeline.processes import InlineRunner, ProcessRunner
from intendant.workloads.pipeline.records import Records
from intendant.workloads.pipeline.runs import RUNS_AT_ONCE, RunsRunner


def conduct(
    order: dict[str, Any], calls: Mapping[str, str], zygote: socket.socket, life_fd: int
) -> tuple[str | None, bool]:
    """Why the pipeline failed, if it did, and whether it was asked to end."""
    logs.configure("info", role="pipeline")
    with uncollected():
        pipeline = PipelineSpec.model_validate(order["spec"])
    run = PipelineRun(pipeline, order["label"], Path(order["run_folder"]), Path.cwd(), calls)
    try:
        with uncollected():
            store = open_store(pipeline, run.folder)
    except Refusal as error:
        return str(error), False
    caching = Caching(pipeline, run.folder, run.cwd)
    with store, Callbacks(pipeline) as callbacks:
        caching.settle(store)
        records = Records(run, store)
        make_executor = partial(
            _graph_executor(pipeline), run, store, callbacks=callbacks, watchers=[caching, records]
        )
        failure, is_asked = asyncio.run(
            _conduct(run, store, partial(Nursery, zygote), make_executor, life_fd)
        )
        records.end(failure)
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
    run: PipelineRun,
    store: StepStore,
    make_nursery: Callable[[], Nursery],
    make_executor: Callable[..., GraphExecutor],
    life_fd: int,
) -> tuple[str | None, bool]:
    """Carry the graph out, until it is over or has been asked to end."""
    nursery = make_nursery()
    inline = InlineRunner(nursery, on_log=store.tell_readers)
    if any(run.pipeline.execution_of(step) == "inline" for step in run.pipeline.steps):
        inline.make_ready()
    runners: dict[str, StepRunner] = {
        "processes": ProcessRunner(nursery),
        "inline": inline,
        "runs": RunsRunner(run.label),
    }
    with uncollected():
        executor = make_executor(runners=runners, room=room_for(run.pipeline))
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_stop_when_asked(executor, life_fd), name="life")
        failure = await executor.run()
        await nursery.close()
        is_asked = asked.done()
        asked.cancel()
    return failure, is_asked


def room_for(pipeline: PipelineSpec) -> dict[Execution, int]:
    """How many steps at once there are in each model of execution."""
    at_once = pipeline.processes or os.cpu_count() or 1
    return {"processes": at_once, "inline": 1, "runs": RUNS_AT_ONCE}


async def _stop_when_asked(executor: GraphExecutor, life_fd: int) -> None:
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
    executor.stop()


async def _then(wait: Any, event: asyncio.Event) -> None:
    await wait
    event.set()
