"""What a run is asked to be: the workload, its limits, its place in the queue.

A spec is what the owner may see again. What nobody may see again (the submitter's environment,
values marked secret) travels beside it in `Secrets` and is kept apart from it in the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cache
from typing import Annotated, NewType

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from intendant.protocol.environment import check_environment
from intendant.protocol.fields import (
    Argv,
    KnownRun,
    Model,
    Name,
    Priority,
    QueueName,
    RetryPolicy,
    Seconds,
    Variables,
)
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.study import StudySpec
from intendant.protocol.workloads import CallSpec, CommandSpec

MAX_SPEC_BYTES = 2 * 1024 * 1024
"""As JSON without defaults: with room to spare in a frame, in which it is also shown."""
MAX_ENVIRONMENT_BYTES = 1024 * 1024
MAX_PICKLE_BYTES = 1024 * 1024

RunId = NewType("RunId", int)

Workload = Annotated[CommandSpec | CallSpec | PipelineSpec | StudySpec, Field(discriminator="kind")]
"""Every kind of workload."""


@cache
def _no_retry() -> RetryPolicy:
    """That of most runs: one for all of them, which is immutable."""
    return RetryPolicy()


class RunSpec(Model):
    """One run as its owner asked for it."""

    name: Name | None = None
    queue: QueueName = "default"
    priority: Priority = Field(default=0, description="higher starts first")
    workload: Workload
    timeout_s: Seconds | None = Field(default=None, description="longest time from start to end")
    grace_s: float = Field(
        default=3.0, ge=0, le=86400, allow_inf_nan=False, description="from SIGTERM to SIGKILL"
    )
    shutdown_grace_s: float = Field(
        default=5.0, ge=0, le=86400, allow_inf_nan=False,
        description="from the request to SIGTERM, for workloads that can be asked",
    )  # fmt: skip
    retry: RetryPolicy = Field(default_factory=_no_retry)
    restartable: bool = Field(default=False, description="may start again after `interrupted`")
    hold: bool = Field(default=False, description="wait in `held` until released")
    after: list[Name] = Field(
        default_factory=list,
        max_length=1000,
        description="names of runs of the same submission that must succeed first",
    )
    on_end: Argv | None = Field(
        default=None,
        description="command that the daemon runs when the run has ended, its JSON on stdin",
    )
    retry_of: KnownRun | None = Field(
        default=None, description="the run that this one tries again; set by `retry`"
    )

    @property
    def kind(self) -> str:
        """The kind of the workload."""
        return self.workload.kind

    @property
    def holds_slot(self) -> bool:
        """Whether it takes up a slot; one that only waits for other runs does not."""
        return not (isinstance(self.workload, PipelineSpec) and self.workload.only_waits)

    def graces_s(self, grace_s: float | None = None) -> tuple[float, float]:
        """How long the workload is asked to end before SIGTERM, and then until SIGKILL.

        `grace_s` stands for the latter, and bounds the former, where somebody wants another one.
        """
        asking_s = self.shutdown_grace_s if self.workload.can_be_asked else 0.0
        if grace_s is None:
            return asking_s, self.grace_s
        return min(asking_s, grace_s), grace_s


EncodedEnvironment = Annotated[
    str,
    StringConstraints(max_length=MAX_ENVIRONMENT_BYTES * 4 // 3 + 4),
    AfterValidator(check_environment),
]
"""Base64 of an environment: K=V entries, each ended by NUL."""


def _encoded_pickle(text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"the pickle is no base64: {error}") from error
    if size > MAX_PICKLE_BYTES:
        raise ValueError(f"the pickle has {size} bytes; at most {MAX_PICKLE_BYTES} are taken")
    return text


EncodedPickle = Annotated[
    str,
    StringConstraints(max_length=MAX_PICKLE_BYTES * 4 // 3 + 4),
    AfterValidator(_encoded_pickle),
]


class Secrets(Model):
    """What a run needs and nobody is shown: kept out of `repr`, events, logs and replies."""

    environment: EncodedEnvironment | None = Field(
        default=None,
        repr=False,
        description="base64 of the submitter's environment, K=V entries ended by NUL; "
        "the daemon's own when left out",
    )
    env: Variables = Field(default_factory=dict, repr=False, description="secret variables")
    pickle: EncodedPickle | None = Field(
        default=None,
        repr=False,
        description="base64 of a pickled function with its arguments; opened by the run alone",
    )

    def pickle_bytes(self) -> bytes | None:
        """The pickle itself."""
        return None if self.pickle is None else base64.b64decode(self.pickle)


class Submission(Model):
    """One run of a submission: spec, secrets, and the key that makes sending it twice harmless."""

    spec: RunSpec
    secrets: Secrets = Field(default_factory=Secrets, repr=False)
    submission_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _pickle_is_the_one(self) -> Submission:
        """The spec, which decides whether two submissions are the same, vouches for the pickle."""
        workload, pickle = self.spec.workload, self.secrets.pickle_bytes()
        expected = None
        if isinstance(workload, CallSpec | PipelineSpec | StudySpec):
            expected = workload.pickle_sha256
        found = None if pickle is None else hashlib.sha256(pickle).hexdigest()
        if found != expected:
            raise ValueError("the pickle in the secrets is not the one that the spec names")
        return self


def check_dependencies(runs: list[tuple[str | None, list[str]]]) -> None:
    """Refuse unknown, ambiguous and circular `after`; each error names the run and the name."""
    if not any(after for _, after in runs):
        return
    names = [name for name, _ in runs if name is not None]
    parents: dict[str, list[str]] = {}
    for name, after in runs:
        who = f"run {name!r}" if name else "a run without a name"
        for parent in after:
            if parent not in names:
                raise ValueError(f"{who} comes after {parent!r}, which is no run here")
            if names.count(parent) > 1:
                raise ValueError(f"{who} comes after {parent!r}, a name that two runs have")
        if name is not None:
            parents[name] = after
    if cycle := _find_cycle(parents):
        raise ValueError(f"runs wait for each other in a circle: {' → '.join(cycle)}")


def _find_cycle(parents: dict[str, list[str]]) -> list[str] | None:
    """The first circle in the graph, its first name repeated at the end."""
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return None
