"""Getting parameters out of a searcher: as many as are wanted, and not waiting for it for ever."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from pydantic_core import to_json

from intendant.protocol.durations import format_duration
from intendant.workloads.study.hooks import Hooks, Searcher
from intendant.workloads.study.trials import Params, Trial

log = structlog.get_logger()

PATIENCE_S = 600.0
"""How long a searcher may propose nothing while nothing runs."""
ASK_AGAIN_S = 0.1
ASK_AGAIN_MAX_S = 10.0


class Proposals:
    """What a searcher proposes, up to a number of trials."""

    def __init__(
        self, searcher: Searcher, hooks: Hooks, clock: Callable[[], float], limit: int | None
    ) -> None:
        self._searcher = searcher
        self._hooks = hooks
        self._clock = clock
        self._limit = limit
        self._silent_since: float | None = None
        self._pause_s = ASK_AGAIN_S
        self.count = 0
        self.error: str | None = None
        """Why there will be none any more."""
        self.ask_again_at: float | None = None
        """When to ask again although nothing has happened."""

    def may_come(self) -> bool:
        """Whether there may be another one, now or later."""
        if self.error is not None or (self._limit is not None and self.count >= self._limit):
            return False
        return not self._hooks.call_quietly(self._searcher.is_finished)

    def end(self) -> None:
        """Want none any more."""
        self._limit = self.count
        self.ask_again_at = None
        self._hooks.call_quietly(self._searcher.set_finished)

    def next_for(self, trial: Trial) -> Params | None:
        """Parameters for the trial, if the searcher has any just now."""
        try:
            params: object = self._hooks.call(self._searcher.suggest, trial)
            if params is not None and not isinstance(params, dict):
                raise TypeError(f"proposed {type(params).__name__}, expected a dict")  # noqa: TRY301
            to_json(params)  # whatever can't be written down is the searcher's trouble
        except Exception as error:
            log.warning("searcher_failed", exc_info=True)
            self.error = f"searcher: {type(error).__name__}: {error}"
            self.end()
            return None
        if params is None:
            return None
        self._silent_since = self.ask_again_at = None
        self.count += 1
        return params

    def bear_silence(self) -> str | None:
        """Nothing runs and nothing is proposed: ask again later. Why not, after a long time."""
        now = self._clock()
        if self._silent_since is None:
            self._silent_since, self._pause_s = now, ASK_AGAIN_S
        if now - self._silent_since >= PATIENCE_S:
            return f"searcher: nothing proposed for {format_duration(PATIENCE_S)}"
        if self.ask_again_at is None or now >= self.ask_again_at:
            self.ask_again_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, ASK_AGAIN_MAX_S)
        return None
