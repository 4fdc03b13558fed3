"""What a run's result means to its client."""

from __future__ import annotations

import pytest

from intendant.client.pickles import pack_exception, pack_value
from intendant.client.result import RunResult
from intendant.errors import InvalidRequest, RunFailed


def result(outcome: str, encoding: str | None, data: bytes = b"") -> RunResult:
    return RunResult(7, outcome, "because", 0, encoding, data)


def test_json_gives_the_value() -> None:
    assert result("succeeded", "json", b'{"a": 1}').value(may_unpickle=False) == {"a": 1}


def test_a_pickle_of_ones_own_gives_the_value() -> None:
    assert result("succeeded", "pickle", pack_value({1})).value(may_unpickle=True) == {1}


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_pickle_of_somebody_else_is_not_opened(outcome: str) -> None:
    with pytest.raises(InvalidRequest, match="only the program opens"):
        result(outcome, "pickle", pack_value(1)).value(may_unpickle=False)


def test_an_exception_is_raised_as_itself() -> None:
    with pytest.raises(KeyError, match="k"):
        result("failed", "pickle", pack_exception(KeyError("k"))).value(may_unpickle=True)


@pytest.mark.parametrize(
    ("outcome", "encoding", "data"),
    [
        ("failed", None, b""),
        ("failed", "pickle", pack_value(1)),
        ("cancelled", "pickle", pack_value(1)),
        ("interrupted", "json", b"1"),
    ],
)
def test_what_did_not_succeed_gives_no_value(
    outcome: str, encoding: str | None, data: bytes
) -> None:
    with pytest.raises(RunFailed, match=f"run 7 {outcome}: because"):
        result(outcome, encoding, data).value(may_unpickle=True)


def test_without_a_result_there_is_the_exit_code() -> None:
    assert result("succeeded", None).value(may_unpickle=False) == 0
