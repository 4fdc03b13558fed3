"""A study, seen from its governor: a fresh interpreter that conducts it."""

from __future__ import annotations

from intendant.protocol.study import StudySpec
from intendant.workloads.base import Surroundings
from intendant.workloads.interpreter import Interpreter

CONDUCTOR = "intendant.workloads.study.main"


class StudyWorkload:
    """Trials under a process of their own."""

    def __init__(self, spec: StudySpec, *, pickle: str | None) -> None:
        self._spec = spec
        self._pickle = pickle
        self._interpreter = Interpreter(CONDUCTOR)

    def start(self, surroundings: Surroundings) -> int:
        """Start the interpreter."""
        return self._interpreter.start(lambda: self._order(surroundings), self._spec, surroundings)

    def ask(self) -> None:
        """It ends the trials that run, in order, and starts no more."""
        self._interpreter.ask()

    def failure(self, status: int) -> str | None:
        """Its own reason; `no_result` where it ended well without a word."""
        return self._interpreter.failure(status)

    def _order(self, surroundings: Surroundings) -> dict[str, object]:
        return {
            "label": surroundings.label,
            "run_folder": str(surroundings.attempt_folder.parent),
            "attempt_folder": str(surroundings.attempt_folder),
            "spec": self._spec.model_dump(mode="json", exclude_defaults=True),
            "pickle": self._pickle,
        }
