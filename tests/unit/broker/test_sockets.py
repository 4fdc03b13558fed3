"""What is said of a connection that never comes about."""

from __future__ import annotations

import pytest

from intendant.broker.sockets import unreachable
from intendant.errors import AccessDenied, Unreachable

SERVER = "tcp://server.example:5555"


@pytest.mark.parametrize(
    ("has_key", "why"),
    [(True, "its key is not the one we expect"), (False, "it lets keys in alone")],
)
def test_who_is_hung_up_on_is_told_what_may_be_wrong_with_the_key_or_that_there_is_none(
    has_key: bool, why: str
) -> None:
    told = unreachable(SERVER, hung_up=True, has_key=has_key)
    assert isinstance(told, AccessDenied)
    assert f"{SERVER} ends each handshake; {why}, or " in str(told)


def test_where_nobody_answers_no_key_is_at_fault() -> None:
    told = unreachable(SERVER, hung_up=False, has_key=False)
    assert isinstance(told, Unreachable)
    assert str(told) == f"no daemon answers at {SERVER}"
