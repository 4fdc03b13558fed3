"""A run as the program that asked for it sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from intendant.client import wire

if TYPE_CHECKING:
    from intendant.client.shapes import Change, RunDetails, RunInfo

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

    def worth(self, info: RunInfo, *, is_own: bool) -> object: ...

    def logs(
        self,
        selection: Selection,
        *,
        follow: bool = False,
        stream: Stream = "stdout",
        attempt: int | None = None,
    ) -> Iterator[bytes]: ...

    def cancel(
        self,
        selection: Selection,
        *,
        reason: str | None = None,
        now: bool = False,
        grace_s: float | None = None,
    ) -> Change: ...


class Run:
    """One run: its id, and what the daemon said about it last.

    `is_own`: this program submitted it, so that a pickled result is its own.
    """

    def __init__(
        self,
        service: RunService,
        run_id: int,
        info: RunInfo | None = None,
        *,
        is_own: bool = False,
    ) -> None:
        self.id = run_id
        self._service = service
        self._info = info
        self._is_own = is_own

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

    def result(self, timeout_s: float | None = None) -> object:
        """Wait, then give what a call returned or a study has found, or a command's exit code.

        Of a pipeline: what its steps returned, by their names. That are `PipelineResults` where
        this program submitted it to a daemon on its own machine; elsewhere what is small and JSON.
        `RunFailed` says how it failed; an exception that travelled as a pickle is raised itself.
        """
        return self._service.worth(self.wait(timeout_s), is_own=self._is_own)

    def logs(
        self, *, follow: bool = False, stream: Stream = "stdout", attempt: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of its output, in pieces as they come."""
        return self._service.logs(self.id, follow=follow, stream=stream, attempt=attempt)

    def cancel(
        self, reason: str | None = None, *, now: bool = False, grace_s: float | None = None
    ) -> bool:
        """End the run; whether there was anything left to end."""
        change = self._service.cancel(self.id, reason=reason, now=now, grace_s=grace_s)
        return self.id in change["changed"]
