"""How a run ended and what it left, as its client sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from intendant.client.shapes import RunInfo
from intendant.errors import InvalidRequest, RunFailed

WITH_RESULT = frozenset({"call", "pipeline", "study"})
"""Kinds of runs that leave more than an exit code."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run, and the bytes of its result if it left one (`encoding` says what of)."""

    run_id: int
    outcome: str
    reason: str | None
    exit_code: int | None
    encoding: str | None
    data: bytes = field(repr=False)

    def value(self, *, may_unpickle: bool) -> object:
        """What the call returned, or the exit code of a command; raises what made it fail.

        A pickle is a program: open only what this program submitted itself.
        """
        failure = RunFailed(
            self.run_id, outcome=self.outcome, reason=self.reason, exit_code=self.exit_code
        )
        is_ours = self.encoding == "pickle" and self.outcome in ("succeeded", "failed")
        if is_ours and not may_unpickle:
            raise InvalidRequest(
                f"the result of run {self.run_id} is a pickle, which only the program opens that "
                "submitted the function"
            )
        if is_ours:
            return self._unpickled(failure)
        if self.outcome != "succeeded":
            raise failure
        return self.exit_code if self.encoding is None else json.loads(self.data)

    def _unpickled(self, failure: RunFailed) -> object:
        from intendant.client.pickles import is_value, open_result

        if is_value(self.data) and self.outcome != "succeeded":
            raise failure
        return open_result(self.data, failure=failure)


def result_of(info: RunInfo) -> RunResult:
    """The end of a run that leaves no more than an exit code."""
    return RunResult(
        info["id"],
        outcome=info["outcome"] or info["state"],
        reason=info["reason"],
        exit_code=info["exit_code"],
        encoding=None,
        data=b"",
    )
