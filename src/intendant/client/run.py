"""A run as the program that asked for it sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from intendant.client import wire
from intendant.client.shapes import Change, RunDetails, RunInfo
from intendant.errors import RunFailed

Stream = Literal["stdout", "stderr"]
Selection = int | str | Sequence[int | str]
"""Which runs: an id, selectors as on the command line (`1,3,5-8`, `last`, `all`), or several."""


def texts(selection: Selection) -> list[str]:
    """A selection as it travels; the daemon is the one who reads it."""
    several = [selection] if isinstance(selection, int | str) else selection
    ids = [one for one in several if isinstance(one, int)]
    return [one for one in several if isinstance(one, str)] + wire.selectors(ids)


class RunService(Protocol):
    """What a run asks of its client."""

    def show(self, selection: Selection) -> RunDetails: ...

    def wait(
        self, selection: Selection, *, any: bool = False, timeout_s: float | None = None
    ) -> list[RunInfo]: ...

    def logs(
        self,
        selection: Selection,
        *,
        follow: bool = False,
        stream: Stream = "stdout",
        attempt: int | None = None,
    ) -> Iterator[bytes]: ...

    def cancel(
        self, selection: Selection, *, reason: str | None = None, now: bool = False
    ) -> Change: ...


class Run:
    """One run: its id, and what the daemon said about it last."""

    def __init__(self, service: RunService, run_id: int, info: RunInfo | None = None) -> None:
        self.id = run_id
        self._service = service
        self._info = info

    def __repr__(self) -> str:
        return f"Run({self.id})"

    @property
    def info(self) -> RunInfo:
        """What the daemon said last; it is asked the first time."""
        return self._info or self.refresh()

    def refresh(self) -> RunInfo:
        """Ask the daemon again."""
        self._info = self._service.show(self.id)["run"]
        return self._info

    def wait(self, timeout_s: float | None = None) -> RunInfo:
        """The run once it has ended, however; `TimeoutError` if that takes longer."""
        [self._info] = self._service.wait(self.id, timeout_s=timeout_s)
        return self._info

    def result(self, timeout_s: float | None = None) -> int | None:
        """Wait, then give the exit code of a run that succeeded; `RunFailed` if it did not."""
        info = self.wait(timeout_s)
        if info["outcome"] != "succeeded":
            raise RunFailed(
                self.id,
                outcome=info["outcome"] or info["state"],
                reason=info["reason"],
                exit_code=info["exit_code"],
            )
        return info["exit_code"]

    def logs(
        self, *, follow: bool = False, stream: Stream = "stdout", attempt: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of its output, in pieces as they come."""
        return self._service.logs(self.id, follow=follow, stream=stream, attempt=attempt)

    def cancel(self, reason: str | None = None, *, now: bool = False) -> bool:
        """End the run; whether there was anything left to end."""
        return self.id in self._service.cancel(self.id, reason=reason, now=now)["changed"]
