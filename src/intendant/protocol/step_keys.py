"""What tells a step from one that is asked to do something else, and keys of cached results; pure.

A key is a digest of everything that a step's result depends on as far as is known before it runs:
its code, what it is asked to do, and the keys of all steps that it comes after. What a step reads
besides (files, the network, the clock) is not in it, but for the files in its `cache_files`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.references import PIPELINE, references_in

_VERSION = "1"
_NOT_ASKED = {"name", "cache", "cache_files", "reload", "priority", "queue", "execution", "retry"}
"""Fields of a step that have no part in its result, or one of their own in the key."""

_NOT_IN_FINGERPRINT = {"cache", "reload"}

Code = Mapping[str, str]
"""What the code of a step consists of: files, each with its SHA-256; the version of Python."""


@dataclass(frozen=True, slots=True)
class StepKey:
    """The key of a step's result, and what is in it."""

    key: str
    code: Code
    parameters: Mapping[str, object]
    """Of the pipeline, those that the step refers to."""
    parents: Mapping[str, str]


def fingerprints(pipeline: PipelineSpec) -> dict[str, str]:
    """What tells each step from one that is asked to do something else."""
    return {step.name: _fingerprint(step, pipeline.parameters) for step in pipeline.steps}


def _fingerprint(step: StepSpec, parameters: Mapping[str, object]) -> str:
    """A digest of the step and of the pipeline's parameters that it refers to."""
    left_out = _NOT_IN_FINGERPRINT if step.cache or step.reload else None  # to say so takes time
    text = step.model_dump_json(exclude_defaults=True, exclude=left_out)
    digest = hashlib.sha256(text.encode())
    if "${" in text:
        for name, value in _meant(step, parameters).items():
            digest.update(f"\0{name}={value!r}".encode())
    return digest.hexdigest()


def _meant(step: StepSpec, parameters: Mapping[str, object]) -> dict[str, object]:
    """The pipeline's parameters that a step refers to."""
    return {
        reference.path[0]: parameters.get(reference.path[0])
        for _, value in step.texts()
        for reference in references_in(value)
        if reference.step == PIPELINE
    }


def step_keys(pipeline: PipelineSpec, code_of: Callable[[StepSpec], Code]) -> dict[str, StepKey]:
    """The key of every step; `code_of` says what the code of one consists of."""
    steps = {step.name: step for step in pipeline.steps}
    keys: dict[str, StepKey] = {}
    for name in pipeline.graph.order():
        parents = {parent: keys[parent].key for parent in sorted(pipeline.graph.parents[name])}
        parameters = _meant(steps[name], pipeline.parameters)
        code = dict(code_of(steps[name]))
        asked = steps[name].model_dump(mode="json", exclude_defaults=True, exclude=_NOT_ASKED)
        about = [_VERSION, name, asked, parameters, code, parents, pipeline.env]
        text = json.dumps(about, sort_keys=True, separators=(",", ":"))
        keys[name] = StepKey(_sha256(text), code, parameters, parents)
    return keys


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a step will run, and why, or why not."""

    runs: bool
    reason: str


def decide(
    pipeline: PipelineSpec, look_up: Callable[[str], str | None], *, kept: Set[str] = frozenset()
) -> dict[str, Decision]:
    """What becomes of each step, in order: a step that runs makes all that come after it run.

    `look_up` says why there is no cached result of a step, None if there is one; `kept` are the
    steps that were done before, in a pipeline that goes on.
    """
    steps = {step.name: step for step in pipeline.steps}
    decisions: dict[str, Decision] = {}
    for name in pipeline.graph.order():
        again = [parent for parent in pipeline.graph.parents[name] if decisions[parent].runs]
        decisions[name] = (
            Decision(runs=False, reason="done before")
            if name in kept
            else _decision(steps[name], again, look_up, is_forced=pipeline.force)
        )
    return decisions


def _decision(
    step: StepSpec, again: list[str], look_up: Callable[[str], str | None], *, is_forced: bool
) -> Decision:
    if not step.cache:
        return Decision(runs=True, reason="not cached")
    if is_forced or step.reload:
        return Decision(runs=True, reason="force" if is_forced else "reload")
    if again:
        return Decision(runs=True, reason=f"{again[0]} runs")
    missing = look_up(step.name)
    return Decision(runs=missing is not None, reason=missing or "cached")
