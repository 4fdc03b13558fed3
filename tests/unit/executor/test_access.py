"""Refusals that tell of somebody who went too far are put on record, others are not."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from intendant.errors import AccessDenied, InvalidRequest, RequestRefused, RunNotFound
from intendant.executor.access import Audit
from intendant.protocol.roles import Caller, Role

BOB = Caller("bob", Role.SUBMIT)


def borrowing() -> InvalidRequest:
    """What a submission gets that takes a step from a run beyond its reach."""
    error = InvalidRequest("step 'a': base: no run 17")
    error.__cause__ = RunNotFound("no run 17")
    return error


@pytest.mark.parametrize(
    ("error", "caller", "lines"),
    [
        (AccessDenied("no"), BOB, 1),
        (RunNotFound("no run 17"), BOB, 1),
        (borrowing(), BOB, 1),
        (borrowing(), Caller("oscar", Role.OPERATE), 0),
        (InvalidRequest("nonsense"), BOB, 0),
    ],
)
def test_what_went_too_far_is_put_on_record(
    error: RequestRefused, caller: Caller, lines: int
) -> None:
    with capture_logs() as log:
        Audit().note(error, caller, None)
    assert [line["event"] for line in log] == ["request_refused"] * lines
