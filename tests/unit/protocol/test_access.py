"""The table of who may ask for what."""

from __future__ import annotations

from typing import get_args

import pytest

from intendant.protocol.access import RULES, Reach
from intendant.protocol.messages import ExecutorRequest, Message, StreamRequest
from intendant.protocol.roles import Role

REQUESTS = {
    request
    for union in (ExecutorRequest, StreamRequest)
    for request in get_args(get_args(union)[0])
}


def test_every_request_has_a_rule_and_every_rule_a_request() -> None:
    assert set(RULES) == REQUESTS


@pytest.mark.parametrize("request_", list(RULES))
def test_what_an_observer_may_ask_for_changes_nothing_and_shows_no_output(
    request_: type[Message],
) -> None:
    rule = RULES[request_]
    looks = request_.__name__ in {
        "StatusRequest", "QueueListRequest", "RunListRequest", "RunShowRequest",
        "RunExplainRequest", "RunWaitRequest", "EventListRequest",
    }  # fmt: skip
    assert (rule.role is Role.OBSERVE) == looks


def test_a_request_that_names_runs_reaches_some_alone() -> None:
    about_runs = {each for each in REQUESTS if "selection" in each.model_fields}
    everybodys = {each for each in about_runs if RULES[each].reach is Reach.NONE}
    assert {each.__name__ for each in everybodys} == {"SystemLogRequest"}
    assert all(RULES[each].role in (Role.OPERATE, Role.ADMIN) for each in everybodys)
