"""What every launcher does: bring a governor to life, and say so only when it can be watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from intendant.process.line import Line
from intendant.process.pidfd import Pidfd


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One governor: the attempt's folder, which it works in, and its order (JSON types).

    `standing` is what it has in common with the next one.
    """

    folder: Path
    order: dict[str, Any] = field(repr=False)  # holds the start token
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    standing: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launched:
    """A governor that lives in a session of its own, pinned down.

    Whoever takes it closes `pidfd` and `line`.
    """

    pid: int
    pidfd: Pidfd
    line: Line


class Launcher(Protocol):
    """How a governor comes to life."""

    @property
    def name(self) -> str:
        """What `status` calls it."""
        ...

    @property
    def helper_pid(self) -> int | None:
        """The pid of the process that helps to launch, while there is one."""
        ...

    @property
    def restarts(self) -> int:
        """How often that helper had to be started again."""
        ...

    async def run(self) -> None:
        """Keep the launcher in working order until cancelled; then end its helper."""
        ...

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start a governor; `LaunchFailed` says why none lives. Callers bound the wait."""
        ...

    def make_ready(self, standing: dict[str, Any]) -> None:
        """Have a governor come to life for whoever launches the next one, if none waits."""
        ...
