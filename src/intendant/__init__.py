"""Intendant: an executor daemon for long runs.

`Client`, `AsyncClient`, `Command`, `Call`, `Pipeline`, `step`, `Study` and `Run` are the interface
for programs; `errors` holds what they raise. A step's function speaks through `this_step`, a
trial's through `trial`; `space` is for the parameters of a study. All are imported when first used:
the daemon's processes carry none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intendant import errors as errors
    from intendant import space as space
    from intendant import this_step as this_step
    from intendant import trial as trial
    from intendant.client.async_client import AsyncClient as AsyncClient
    from intendant.client.async_client import AsyncRun as AsyncRun
    from intendant.client.call import Call as Call
    from intendant.client.client import Client as Client
    from intendant.client.command import Command as Command
    from intendant.client.pipeline_results import PipelineResults as PipelineResults
    from intendant.client.pipelines import Pipeline as Pipeline
    from intendant.client.pipelines import step as step
    from intendant.client.run import Run as Run
    from intendant.client.studies import Study as Study
    from intendant.client.study_result import StudyResult as StudyResult

__all__ = [
    "AsyncClient",
    "AsyncRun",
    "Call",
    "Client",
    "Command",
    "Pipeline",
    "PipelineResults",
    "Run",
    "Study",
    "StudyResult",
    "__version__",
    "errors",
    "space",
    "step",
    "this_step",
    "trial",
]
__version__ = "0.1.0"

_MODULES = frozenset({"errors", "space", "this_step", "trial"})
_HOMES = {
    "AsyncClient": "intendant.client.async_client",
    "AsyncRun": "intendant.client.async_client",
    "Call": "intendant.client.call",
    "Client": "intendant.client.client",
    "Command": "intendant.client.command",
    "Pipeline": "intendant.client.pipelines",
    "PipelineResults": "intendant.client.pipeline_results",
    "Run": "intendant.client.run",
    "Study": "intendant.client.studies",
    "StudyResult": "intendant.client.study_result",
    "step": "intendant.client.pipelines",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"intendant.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'intendant' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
