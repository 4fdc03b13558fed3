"""Who asks, whether they may, and about whose runs; refusals are put on record.

The record is the system log: `intendant logs --system` shows the events `request_refused`, with
account, role, request and code. Each account has so many lines a minute; the rest is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from intendant.errors import AccessDenied, RequestRefused, RunNotFound, StaleAttempt
from intendant.logs import Sparingly
from intendant.protocol import redaction
from intendant.protocol.access import RULES, Reach
from intendant.protocol.messages import Message
from intendant.protocol.order import governor_service
from intendant.protocol.records import RunRecord
from intendant.protocol.roles import Caller, Role

log = structlog.get_logger()

_PER_MINUTE = 30
_MAX_ACCOUNTS = 10_000


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and whose runs it may be about."""

    caller: Caller
    owner: str | None = None
    """The account whose runs may be meant; `None`: anybody's."""

    @property
    def account(self) -> str:
        """Whose request it is."""
        return self.caller.account

    def shown(self, record: RunRecord) -> RunRecord:
        """What the asker is shown of a run."""
        is_own = record.account == self.account and self.caller.may(Role.SUBMIT)
        is_full = is_own or self.caller.owns_all
        hide = redaction.for_owner if is_full else redaction.for_others
        spec = hide(record.spec)
        return record if spec is record.spec else record.model_copy(update={"spec": spec})

    def require_attempt(self, run_id: int, attempt: int) -> None:
        """Refuse a governor from afar that speaks for another attempt than its own."""
        service = governor_service(run_id, attempt)
        if self.caller.role is Role.GOVERN and self.account != service:
            raise StaleAttempt(f"{self.account} can't speak for attempt {run_id}.{attempt}")


def admit(message: Message, caller: Caller) -> Asker:
    """Who asks, if the role allows the request at all; `AccessDenied` if it does not."""
    rule = RULES[type(message)]
    if not caller.may(rule.role):
        kind = str(getattr(message, "kind", "")).removesuffix("_request").replace("_", " ")
        raise AccessDenied(
            f"access denied: {kind} takes the role {rule.role}, {caller.account} has {caller.role}"
        )
    is_any = caller.owns_all or (rule.reach is Reach.SEEN and caller.sees_all)
    return Asker(caller, None if is_any or rule.reach is Reach.NONE else caller.account)


class Audit:
    """Puts refusals on record."""

    def __init__(self) -> None:
        self._sparingly: dict[str, Sparingly] = {}

    def note(self, error: RequestRefused, caller: Caller, message: Message | None) -> None:
        """Log `error` if it tells of somebody who went too far, or may have."""
        names_foreign = isinstance(error.__cause__ or error, RunNotFound | StaleAttempt)
        is_foreign = names_foreign and not caller.owns_all
        if not (isinstance(error, AccessDenied) or is_foreign):
            return
        if len(self._sparingly) > _MAX_ACCOUNTS:
            self._sparingly.clear()
        lines = self._sparingly.setdefault(caller.account, Sparingly(_PER_MINUTE))
        if (left_out := lines.take()) is not None:
            log.warning(
                "request_refused",
                account=caller.account,
                role=caller.role,
                request=getattr(message, "kind", None),
                selection=getattr(message, "selection", None),
                code=error.code,
                left_out=left_out,
            )
