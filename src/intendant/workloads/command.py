"""A command: arguments for execve(2), never a shell's line."""

from __future__ import annotations

from intendant.protocol.workloads import CommandSpec
from intendant.workloads.base import Surroundings
from intendant.workloads.spawning import spawn


class CommandWorkload:
    """A program with arguments, environment, folder, file mode mask and input."""

    def __init__(self, spec: CommandSpec) -> None:
        self._spec = spec

    def start(self, surroundings: Surroundings) -> int:
        """Start the program; `WorkloadNotStarted` carries 127 or 126 where a shell would."""
        return spawn(self._spec.argv, self._spec, surroundings, stdin=self._spec.stdin)

    def ask(self) -> None:
        """A command can't be asked: it gets signals."""

    def failure(self, status: int) -> str | None:  # noqa: ARG002  its exit status says it all
        """Nothing beyond its exit status."""
        return None
