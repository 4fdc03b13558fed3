"""What the steps of a pipeline returned, for the program that has built it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from intendant.client.client import Client
from intendant.client.embedded import EmbeddedDaemon, death_explained
from intendant.client.shapes import RunInfo, StepInfo
from intendant.errors import RunFailed, WorkloadError

if TYPE_CHECKING:
    from intendant.client.pipelines import Pipeline


class PipelineResults(Mapping[str, object]):
    """By step's name, what it returned; opened when it is asked for.

    A step that has not ended well is not in it; `steps` has all of them, with how they ended.
    """

    def __init__(
        self, run: RunInfo, steps: Mapping[str, StepInfo], outputs: Mapping[str, tuple[str, bytes]]
    ) -> None:
        self.run = run
        self.steps = steps
        self._outputs = outputs

    @classmethod
    def load(cls, folder: str | Path, *, expect: Pipeline | None = None) -> PipelineResults:
        """The results in a pipeline's folder (`intendant show` names it), now or much later.

        `expect` is the pipeline that they should be of: `ValueError` names the steps that were
        asked for something else. Values that are pickles are opened when they are asked for: load
        no folder that somebody else has written.
        """
        return _loaded(Path(folder), expect)

    def __getitem__(self, step: str) -> object:
        if step not in self.steps or self.steps[step].get("outcome") not in _GOOD:
            raise KeyError(step)
        encoding, data = self._outputs.get(step, ("json", b"null"))
        if encoding == "json":
            return json.loads(data)
        from intendant.client.pickles import open_result

        return open_result(data, failure=WorkloadError(f"step {step!r} left no value"))

    def __iter__(self) -> Iterator[str]:
        return (name for name, info in self.steps.items() if info.get("outcome") in _GOOD)

    def __len__(self) -> int:
        return sum(1 for _ in self)


ENDING_S = 60.0
"""How long a pipeline whose daemon has died may take to end."""
_RECORD = "pipeline.yaml"
_GOOD = ("succeeded", "cached")


def _loaded(folder: Path, expect: Pipeline | None) -> PipelineResults:
    import yaml

    path = folder / _RECORD
    try:
        text = path.read_text(encoding="utf-8")
        record = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        steps = {str(step["name"]): cast(StepInfo, step) for step in record["steps"] or []}
        run_id, _, attempt = str(record["run"]).partition(".")
    except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: is no record of a pipeline: {error}") from error
    if expect is not None:
        _check_same(expect, steps, path)
    outputs = {name: found for name, step in steps.items() if (found := _read(folder, step))}
    run = {"id": int(run_id), "attempt": int(attempt), "kind": "pipeline", "folder": str(folder)}
    told = {name: record.get(name) for name in ("outcome", "reason")}
    return PipelineResults(cast(RunInfo, {**run, **told}), steps, outputs)


def _check_same(expect: Pipeline, steps: Mapping[str, StepInfo], path: Path) -> None:
    from intendant.protocol.pipelines import PipelineSpec
    from intendant.protocol.step_keys import fingerprints

    wanted = fingerprints(PipelineSpec.model_validate(expect.spec()["workload"]))
    found = {name: step.get("fingerprint") for name, step in steps.items()}
    if different := [name for name in wanted | found if wanted.get(name) != found.get(name)]:
        raise ValueError(f"{path}: steps of another pipeline: {', '.join(sorted(different)[:10])}")


def run_embedded(
    pipeline: Pipeline, state_dir: Path | None, *, slots: int | None, resume: bool = False
) -> PipelineResults:
    """Carry a pipeline out under a private daemon; what its steps returned.

    `RunFailed` says what failed; its `results` are what there is all the same.
    """
    go_on = None if state_dir is None else f"run(state_dir={str(state_dir)!r}, resume=True)"
    with (
        EmbeddedDaemon(state_dir, slots=slots) as daemon,
        death_explained(daemon, go_on=go_on),
        daemon.client() as client,
    ):
        earlier = _newest(client, pipeline.name) if resume else None
        work = pipeline if earlier is None else _Resumed(pipeline, earlier)
        return cast(PipelineResults, client.submit(work).result())


@dataclass(frozen=True, slots=True)
class _Resumed:
    """A pipeline that goes on from where a run got to."""

    pipeline: Pipeline
    run_id: int

    def spec(self) -> dict[str, object]:
        spec = self.pipeline.spec()
        workload = cast("dict[str, object]", spec["workload"])
        return {**spec, "workload": {**workload, "continues": {"run_id": self.run_id}}}

    @property
    def pickle(self) -> str | None:
        return self.pipeline.pickle


def _newest(client: Client, name: str) -> int | None:
    """The newest pipeline of this name that has begun, once nothing of it runs any more."""
    for info in client.runs(limit=None):
        if info["kind"] == "pipeline" and info["name"] == name:
            run = client.run(info["id"])
            run.cancel("it goes on in another run")
            run.wait(ENDING_S)
            if client.steps(run.id):
                return run.id
    return None


def results_in(folder: Path, info: RunInfo, steps: Sequence[StepInfo]) -> PipelineResults:
    """What the steps of a run that has ended left in its folder.

    `RunFailed` says what failed; its `results` are what there is all the same.
    """
    by_name = {step["name"]: step for step in steps}
    outputs = {name: found for name, step in by_name.items() if (found := _read(folder, step))}
    results = PipelineResults(info, by_name, outputs)
    if info["outcome"] != "succeeded":
        failure = RunFailed(
            info["id"],
            outcome=str(info["outcome"]),
            reason=info["reason"],
            exit_code=info["exit_code"],
        )
        failure.results = results
        raise failure
    return results


def _read(folder: Path, step: StepInfo) -> tuple[str, bytes] | None:
    """The bytes of a step's outputs and how they are encoded, if it left any."""
    report = step.get("report", {})
    encoding, outputs = report.get("encoding"), report.get("outputs")
    if not isinstance(encoding, str):
        return None
    if isinstance(outputs, str):
        return encoding, outputs.encode()
    return encoding, (folder / step["folder"] / f"outputs.{encoding}").read_bytes()
