"""Why an attempt is being stopped, and how gently: a person's cancel, or the daemon's own end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from intendant.protocol.run_states import Outcome
from intendant.store.base import LiveAttempt

DAEMON_STOPPING = "daemon_stopping"


@dataclass(frozen=True, slots=True)
class Stop:
    """The wish that an attempt end."""

    outcome: Outcome
    reason: str
    now: bool = False
    is_final: bool = False
    """The daemon is being killed: who does not follow at once is not waited for."""
    grace_s: float | None = None
    """Instead of the graces of the run's spec; forgotten if this daemon dies."""

    @property
    def is_by_daemon(self) -> bool:
        """Whether nobody asked for it: the daemon ends, and the attempt with it."""
        return self.outcome is Outcome.INTERRUPTED and self.reason.startswith(DAEMON_STOPPING)

    def after(self, earlier: Stop | None) -> Stop:
        """Both wishes as one: a cancel outranks the system's, the harder one a grace."""
        if earlier is None:
            return self
        is_outranked = self.outcome is Outcome.CANCELLED and earlier.outcome is not self.outcome
        first = self if is_outranked else earlier
        return replace(
            first,
            now=earlier.now or self.now,
            is_final=earlier.is_final or self.is_final,
            grace_s=earlier.grace_s if self.grace_s is None else self.grace_s,
        )


def stop_of(live: LiveAttempt) -> Stop | None:
    """Who wanted the attempt to end before this daemon started."""
    if live.stop_outcome is None:
        return None
    return Stop(live.stop_outcome, live.stop_reason or "stopped")
