"""A shell in the tests' own process: command lines against an executor in memory."""

from __future__ import annotations

import pytest

from intendant.cli.main import run
from intendant.cli.session import Session
from tests.helpers.fake_executor import FakeConnection, FakeExecutor


class Shell:
    """Types command lines and reads what they print."""

    def __init__(self, capfd: pytest.CaptureFixture[str], executor: FakeExecutor) -> None:
        self.executor = executor
        self.interrupt_after: int | None = None
        self._capfd = capfd

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        session = Session(
            environ={"INTENDANT_ENDPOINT": "ipc:///nowhere"},
            connect=lambda _: FakeConnection(self.executor, interrupt_after=self.interrupt_after),
        )
        status = run(args, session)
        return (status, *self._capfd.readouterr())
