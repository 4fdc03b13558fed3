"""A call of a Python function: a fresh interpreter (`workloads.interpreter`) that makes it.

The result itself goes to a file in the attempt's folder.
"""

from __future__ import annotations

from intendant.protocol.workloads import CallSpec
from intendant.workloads.base import Surroundings
from intendant.workloads.interpreter import Interpreter

CALLEE = "intendant.workloads.callee"


class CallWorkload:
    """A function, named or pickled, in an interpreter of its own."""

    def __init__(self, spec: CallSpec, *, pickle: str | None) -> None:
        self._spec = spec
        self._pickle = pickle
        self._interpreter = Interpreter(CALLEE)

    def start(self, surroundings: Surroundings) -> int:
        """Start the interpreter."""
        return self._interpreter.start(lambda: self._order(surroundings), self._spec, surroundings)

    def ask(self) -> None:
        """The callee raises `SystemExit` in its function, or cancels it."""
        self._interpreter.ask()

    def failure(self, status: int) -> str | None:
        """The callee's own reason; `no_result` where it ended well without a word."""
        return self._interpreter.failure(status)

    def _order(self, surroundings: Surroundings) -> dict[str, object]:
        spec = self._spec
        return {
            "label": surroundings.label,
            "folder": str(surroundings.attempt_folder),
            "target": spec.target,
            "pickle": self._pickle,
            "args": spec.args,
            "map": spec.map,
            "processes": spec.processes,
            "result": spec.result,
        }
