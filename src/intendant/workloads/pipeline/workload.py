"""A pipeline, seen from its governor: a fresh interpreter that carries the graph out."""

from __future__ import annotations

from intendant.protocol.bulk import uncollected
from intendant.protocol.pipelines import PipelineSpec
from intendant.workloads.base import Surroundings
from intendant.workloads.interpreter import Interpreter

CONDUCTOR = "intendant.workloads.pipeline.main"


class PipelineWorkload:
    """A graph of steps under a process of its own."""

    def __init__(self, spec: PipelineSpec, *, pickle: str | None) -> None:
        self._spec = spec
        self._pickle = pickle
        self._interpreter = Interpreter(CONDUCTOR)

    def start(self, surroundings: Surroundings) -> int:
        """Start the interpreter."""
        with uncollected():
            return self._interpreter.start(
                lambda: self._order(surroundings), self._spec, surroundings
            )

    def ask(self) -> None:
        """It ends the steps that run, in order, and starts no more."""
        self._interpreter.ask()

    def failure(self, status: int) -> str | None:
        """Its own reason; `no_result` where it ended well without a word."""
        return self._interpreter.failure(status)

    def _order(self, surroundings: Surroundings) -> dict[str, object]:
        return {
            "label": surroundings.label,
            "run_folder": str(surroundings.attempt_folder.parent),
            "spec": self._spec.model_dump(mode="json", exclude_defaults=True),
            "pickle": self._pickle,
        }
