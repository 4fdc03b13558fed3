"""What roles allow."""

from __future__ import annotations

import pytest

from intendant.protocol.roles import RANKED, Caller, Role, governor, local


@pytest.mark.parametrize("role", RANKED)
def test_each_role_allows_what_those_before_it_do_and_nothing_beyond(role: Role) -> None:
    at = RANKED.index(role)
    caller = Caller("ann", role)
    assert [caller.may(needed) for needed in RANKED] == [rank <= at for rank in range(len(RANKED))]


def test_a_governor_speaks_for_its_attempt_alone() -> None:
    caller = governor("governor.1.1")
    assert [caller.may(role) for role in RANKED] == [False] * 4
    assert caller.may(Role.GOVERN)


@pytest.mark.parametrize("role", [Role.OBSERVE, Role.SUBMIT, Role.OPERATE])
def test_nobody_from_afar_speaks_for_an_attempt(role: Role) -> None:
    assert not Caller("ann", role).may(Role.GOVERN)


def test_the_daemons_own_user_may_do_everything() -> None:
    assert all(local("ann").may(role) for role in Role)


@pytest.mark.parametrize(
    "caller", [Caller("ann", Role.SUBMIT, sees_all=False), local("a:b"), governor("governor.1.1")]
)
def test_a_caller_arrives_as_it_was_sent(caller: Caller) -> None:
    assert Caller.decode(caller.encode()) == caller


@pytest.mark.parametrize("text", ["", "ann", "admin:all", "root:all:ann"])
def test_what_names_no_caller_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Caller.decode(text)
