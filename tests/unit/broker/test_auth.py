"""Answers to libzmq's questions (RFC 27): who is let in, and that nothing else is."""

from __future__ import annotations

import pytest
from zmq.utils import z85

from intendant.broker.auth import Keyring, zap_answer
from intendant.broker.keys import make_pair
from intendant.protocol.roles import Caller, Role, governor

KEY = make_pair().public
RAW = z85.decode(KEY)
ANN = Caller("ann", Role.SUBMIT, sees_all=False)
QUESTION = [b"1.0", b"7", b"intendant", b"10.0.0.1", b"", b"CURVE", RAW]


def changed(at: int, frame: bytes) -> list[bytes]:
    return [*QUESTION[:at], frame, *QUESTION[at + 1 :]]


def test_a_known_key_is_let_in_and_becomes_the_user_id() -> None:
    answer = zap_answer(QUESTION, Keyring({KEY: ANN}))
    assert answer == [b"1.0", b"7", b"200", b"OK", KEY.encode(), b""]


def test_an_unknown_key_is_refused() -> None:
    assert zap_answer(QUESTION, Keyring({make_pair().public: ANN}))[:3] == [b"1.0", b"7", b"400"]


@pytest.mark.parametrize(
    "question",
    [
        [],
        [b""],
        QUESTION[:1],
        QUESTION[:6],
        [*QUESTION, b"more"],
        changed(0, b"2.0"),
        changed(2, b""),
        changed(2, b"another"),
        changed(5, b"NULL"),
        changed(5, b"PLAIN"),
        changed(6, RAW[:31]),
        changed(6, RAW + b"\0"),
        [b"\xff" * 40] * 7,
    ],
)
def test_a_malformed_question_is_answered_400(question: list[bytes]) -> None:
    answer = zap_answer(question, Keyring({KEY: ANN}))
    assert (len(answer), answer[2], answer[4]) == (6, b"400", b"")


def test_replaced_keys_tell_which_do_not_stand_for_the_same_any_more() -> None:
    gone, changed, kept = (make_pair().public for _ in range(3))
    keyring = Keyring({gone: ANN, changed: ANN, kept: ANN})

    now = {changed: Caller("ann", Role.OBSERVE), kept: ANN, KEY: ANN}

    assert keyring.replace(now) == {gone, changed}
    assert [keyring.caller(key) for key in (gone, changed, kept, KEY)] == [
        None, Caller("ann", Role.OBSERVE), ANN, ANN,
    ]  # fmt: skip


def test_a_lent_key_stands_for_its_governor_until_it_is_taken_back() -> None:
    keyring = Keyring({})
    keyring.lend(KEY, "governor.1.1")

    assert keyring.caller(KEY) == governor("governor.1.1")
    assert keyring.take_back("governor.1.2") == set()
    assert keyring.take_back("governor.1.1") == {KEY}
    assert keyring.caller(KEY) is None
