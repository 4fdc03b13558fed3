"""Studies written in Python: an objective, a space of parameters, how to search it.

    from intendant import Study, space, trial

    def objective(rate, layers):
        model = Model(rate, layers)
        for _ in range(20):
            if trial.report(loss=model.train()) is not trial.Decision.CONTINUE:
                return

    where = {"rate": space.loguniform(1e-5, 0.1), "layers": space.integer(1, 4)}
    study = Study(objective, where, metric="loss", trials=40, search="tpe", scheduler="asha")
    found = study.run()                     # under a private daemon; or client.submit(study)
    print(found.best["params"])

A function travels as a pickle, by its name where it can be imported; it is opened by the processes
of the study's trials alone. The objective can also be named (`package.module:function`), or be a
command, as a list of arguments in which `${NAME}` stands for a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, cast

from intendant.client.command import said
from intendant.client.study_result import StudyResult, run_embedded
from intendant.protocol.shorthand import whole_method, whole_parameter

Objective: TypeAlias = Callable[..., object] | str | Sequence[str]
Method: TypeAlias = str | Mapping[str, object]
"""A name, or a table: `{"method": "tpe", "seed": 1, "options": {…}}`."""


@dataclass
class Study:
    """A search for the parameters with which the objective does best.

    What is left out has its default; the options are those of a run file's `study`, and what each
    means is said in `intendant.protocol.study`.
    """

    objective: Objective
    space: Mapping[str, object]
    _: KW_ONLY
    metric: str
    name: str | None = None
    mode: Literal["min", "max"] | None = None
    further_metrics: Mapping[str, Literal["min", "max"]] | None = None
    trials: int | None = None
    at_once: int | None = None
    resources: Mapping[str, float] | None = None
    available: Mapping[str, float] | None = None
    search: Method | None = None
    scheduler: Method | None = None
    stop: Sequence[str] | None = None
    stop_study: Sequence[str] | None = None
    stopper: str | None = None
    trial_timeout_s: float | None = None
    time_limit_s: float | None = None
    trial_grace_s: float | None = None
    max_failures: int | None = None
    fail_fast: bool | None = None
    reuse: bool | None = None
    pause: Literal["memory", "disk"] | None = None
    checkpoints: Mapping[str, object] | None = None
    snapshot: str | Path | None = None
    checkpoint_period_s: float | None = None
    resume: Mapping[str, object] | None = None
    callbacks: Sequence[str] | None = None
    python: str | Path | None = None
    cwd: str | Path | None = None
    env: Mapping[str, str] | None = None
    timeout_s: float | None = None

    def spec(self) -> dict[str, object]:
        """The run spec that holds this study."""
        workload = {
            "kind": "study",
            **self._objective(),
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
            "space": {name: whole_parameter(value) for name, value in self.space.items()},
            "search": whole_method(self.search),
            "scheduler": whole_method(self.scheduler),
            "snapshot": None if self.snapshot is None else str(self.snapshot),
            "python": None if self.python is None else str(self.python),
            "cwd": None if self.cwd is None else str(self.cwd),
        }
        return said({"name": self.name, "timeout_s": self.timeout_s, "workload": said(workload)})

    @cached_property
    def pickle(self) -> str | None:
        """The objective as it travels, if it is a function."""
        if not callable(self.objective):
            return None
        from intendant.client.call import encode_pickle
        from intendant.client.pickles import pack_call

        return encode_pickle(pack_call(self.objective, (), {}))

    def run(self, *, state_dir: str | Path | None = None, slots: int | None = None) -> StudyResult:
        """Carry it out under a private daemon; the best trial, and all of them.

        `RunFailed` if it did not succeed. State, and with it checkpoints, are kept where
        `state_dir` is given.
        """
        return run_embedded(self, None if state_dir is None else Path(state_dir), slots=slots)

    def _objective(self) -> dict[str, object]:
        if isinstance(self.objective, str):
            return {"target": self.objective}
        if self.pickle is None:
            return {"argv": list(cast("Sequence[str]", self.objective))}
        from intendant.client.call import digest

        return {"pickle_sha256": digest(self.pickle)}


_SAID_OTHERWISE = {
    "objective", "name", "space", "search", "scheduler", "snapshot", "python", "cwd", "timeout_s",
}  # fmt: skip
_AS_THEY_ARE = [each.name for each in fields(Study) if each.name not in _SAID_OTHERWISE]
