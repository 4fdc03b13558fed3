"""Functions of the user's that are told of steps, in the pipeline's process.

They run in one thread of their own, one after another, so that none holds up what runs and each
step's story is told in order. What one of them raises makes a step fail only before its start.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import StepChange
from intendant.workloads.calling import find_function

log = structlog.get_logger()

SKIP = "skip"

Function = Callable[..., object]


@dataclass(frozen=True, slots=True)
class CallbackFailed:
    """What a callback raised before a step's start."""

    text: str


class Callbacks:
    """The pipeline's callbacks; those that it has not are nothing."""

    def __init__(self, pipeline: PipelineSpec) -> None:
        targets = (
            pipeline.on_step_created,
            pipeline.on_step_completed,
            pipeline.on_step_status,
        )
        if any(targets):
            sys.path.insert(0, str(Path.cwd()))
        self._created, self._completed, self._status = map(_found, targets)
        self._states: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="callbacks")

    @property
    def wants_creations(self) -> bool:
        """Whether anybody wants to know of a step before it starts."""
        return self._created is not None

    async def ask(self, step: str, parameters: dict[str, Any]) -> str | CallbackFailed | None:
        """Whether the step is to be skipped, or can't even be asked about; None: it may start."""
        assert self._created is not None  # noqa: S101  the caller has asked
        try:
            said = await self._call(self._created, {"step": step}, parameters)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the edge around the user's code
            return CallbackFailed(f"{type(error).__name__}: {error}")
        return SKIP if said is False or said == SKIP else None

    async def tell(self, changes: list[StepChange]) -> None:
        """What has happened to steps, once it is on disk."""
        for change in changes if self._completed or self._status else ():
            story = _story(change)
            previous = self._states.get(change.step, "pending")
            self._states[change.step] = story["state"]
            if self._status is not None and previous != story["state"]:
                await self._tell(self._status, story, previous)
            if self._completed is not None and story["state"] == "ended":
                await self._tell(self._completed, story)

    def __enter__(self) -> Callbacks:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    async def _tell(self, function: Function, *args: object) -> None:
        try:
            await self._call(function, *args)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the edge around the user's code
            log.warning("callback_failed", error=f"{type(error).__name__}: {error}")

    async def _call(self, function: Function, *args: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _found(target: str | None) -> Function | None:
    return None if target is None else find_function(target)


def _story(change: StepChange) -> dict[str, Any]:
    """A change as a callback is told of it."""
    states = {"started": "running", "retried": "pending", "ended": "ended", "reset": "pending"}
    outcome = change.columns.get("outcome")
    return {
        "step": change.step,
        "state": states[change.event],
        "outcome": None if outcome is None else StepOutcome(str(outcome)).value,
        "reason": change.columns.get("reason"),
        "at": change.at.isoformat(),
    }
