"""What is said to the daemon, without anything that carries it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from intendant.client import conversations as talk
from intendant.client.result import RunResult
from intendant.errors import InvalidRequest, ProtocolError
from intendant.protocol import messages as m
from intendant.protocol.run_states import Outcome


def piece(offset: int, data: bytes, *, size: int) -> list[bytes]:
    """An answer to a request for a result."""
    response = m.RunResultResponse(
        run_id=7, attempt=1, outcome=Outcome.SUCCEEDED, encoding="json", offset=offset, size=size
    )
    return [m.encode(response), data]


def carried(conversation: Any, answers: list[list[bytes]]) -> tuple[object, list[dict[str, Any]]]:
    """What the conversation comes to, and what was asked; the answers come in order."""
    asked: list[dict[str, Any]] = []
    body = next(conversation)
    for answer in answers:
        asked.append(json.loads(body[0]))
        try:
            body = conversation.send(answer)
        except StopIteration as end:
            return end.value, asked
    raise AssertionError("the conversation wants to know more")


def test_a_result_is_fetched_piece_by_piece() -> None:
    found, asked = carried(talk.result(7), [piece(0, b"[1,", size=5), piece(3, b"2]", size=5)])
    assert isinstance(found, RunResult)
    assert found.data == b"[1,2]"
    assert [request.get("offset", 0) for request in asked] == [0, 3]


def test_a_result_that_ends_early_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="ends at 3 of 5 bytes"):
        carried(talk.result(7), [piece(0, b"[1,", size=5), piece(3, b"", size=5)])


def test_a_refusal_is_raised() -> None:
    refusal = m.encode(m.ErrorResponse(code="invalid_request", message="run 7 is queued"))
    with pytest.raises(InvalidRequest, match="run 7 is queued"):
        carried(talk.result(7), [[refusal]])


def test_a_cancel_says_only_what_was_said() -> None:
    asked = json.loads(next(talk.cancel([1, 2, 3]))[0])
    assert m.EXECUTOR_REQUEST.validate_python(asked) == m.RunCancelRequest(selection=["1-3"])
    asked = json.loads(next(talk.cancel(1, grace_s=0.5, only_waiting=True))[0])
    assert (asked["grace_s"], asked["only_waiting"]) == (0.5, True)


def test_runs_that_had_no_room_in_the_answer_to_a_change_are_listed() -> None:
    answers = [
        {"kind": "run_cancel_response", "runs": [{"id": 1}], "changed": [1, 2, 3], "more": [2, 3]},
        {"kind": "run_list_response", "runs": [{"id": 3}, {"id": 2}], "has_more": False},
    ]
    found, asked = carried(talk.cancel("all"), [[json.dumps(each).encode()] for each in answers])
    assert found == {"runs": [{"id": 1}, {"id": 2}, {"id": 3}], "changed": [1, 2, 3]}
    assert asked[1]["selection"] == ["2-3"]
