"""When a run gets another attempt."""

from __future__ import annotations

import pytest

from intendant.protocol.fields import RetryPolicy
from intendant.protocol.retry import MAX_BURNT, counts_as_try, launch_delay_s, retry_delay_s
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import RunSpec
from intendant.protocol.workloads import CommandSpec

O = Outcome  # noqa: E741 - a table reads better with short words


def spec(*, restartable: bool = False, **policy: object) -> RunSpec:
    return RunSpec(
        workload=CommandSpec(kind="command", argv=["true"]),
        retry=RetryPolicy.model_validate(policy),
        restartable=restartable,
    )


@pytest.mark.parametrize(
    ("policy", "outcome", "stopped_by", "tries", "delay_s"),
    [
        pytest.param({}, O.FAILED, None, 1, None, id="no policy, no retry"),
        pytest.param({"attempts": 1}, O.FAILED, None, 1, 1.0, id="one more after a failure"),
        pytest.param({"attempts": 1}, O.TIMED_OUT, None, 1, 1.0, id="one more after a time-out"),
        pytest.param({"attempts": 1}, O.FAILED, None, 2, None, id="not two more"),
        pytest.param({"attempts": 9}, O.SUCCEEDED, None, 1, None, id="never after success"),
        pytest.param({"attempts": 9}, O.CANCELLED, None, 1, None, id="never after a cancel"),
        pytest.param({"attempts": 9}, O.FAILED, O.CANCELLED, 1, None, id="never when cancelled"),
        pytest.param({"attempts": 9}, O.INTERRUPTED, None, 1, None, id="not after interrupted"),
        pytest.param(
            {"attempts": 9, "on": ["interrupted"]}, O.INTERRUPTED, None, 1, 1.0, id="unless asked"
        ),
        pytest.param({"attempts": 9, "on": []}, O.FAILED, None, 1, None, id="only what is asked"),
        pytest.param({"restartable": True}, O.INTERRUPTED, None, 3, 4.0, id="restartable"),
        pytest.param({"restartable": True}, O.INTERRUPTED, None, 4, None, id="but for a bound"),
        pytest.param(
            {"restartable": True, "attempts": 4}, O.INTERRUPTED, None, 4, 8.0, id="or what is asked"
        ),
        pytest.param({"restartable": True}, O.FAILED, None, 1, None, id="not after a failure"),
        pytest.param(
            {"restartable": True}, O.INTERRUPTED, O.INTERRUPTED, 99, 0.0, id="after a shutdown"
        ),
        pytest.param(
            {"restartable": True}, O.FAILED, O.INTERRUPTED, 1, None, id="failed in a shutdown"
        ),
        pytest.param({}, O.INTERRUPTED, O.INTERRUPTED, 1, None, id="a shutdown ends the others"),
        pytest.param(
            {"restartable": True}, O.INTERRUPTED, O.CANCELLED, 1, None, id="cancel beats restart"
        ),
    ],
)
def test_the_policy_decides_on_the_next_attempt(
    policy: dict[str, object],
    outcome: Outcome,
    stopped_by: Outcome | None,
    tries: int,
    delay_s: float | None,
) -> None:
    is_restartable = bool(policy.get("restartable"))
    rest = {name: value for name, value in policy.items() if name != "restartable"}
    wanted = spec(restartable=is_restartable, **rest)

    assert retry_delay_s(wanted, outcome, stopped_by=stopped_by, tries=tries) == delay_s


def test_the_wait_doubles_up_to_its_limit() -> None:
    patient = spec(attempts=1000, backoff_s=2.0, backoff_max_s=15.0)

    waits = [
        retry_delay_s(patient, O.FAILED, stopped_by=None, tries=tries)
        for tries in (1, 2, 3, 4, 5, 1000)
    ]

    assert waits == [2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


def test_only_what_the_daemon_took_down_is_no_try() -> None:
    no_tries = [
        (outcome, stopped_by)
        for outcome in Outcome
        for stopped_by in (None, *Outcome)
        if not counts_as_try(outcome, stopped_by=stopped_by)
    ]

    assert no_tries == [(O.INTERRUPTED, O.INTERRUPTED)]


def test_a_launch_that_fails_is_tried_five_times_with_a_doubling_wait() -> None:
    waits = [launch_delay_s(burnt) for burnt in range(1, MAX_BURNT + 1)]

    assert waits == [0.1, 0.2, 0.4, 0.8, None]
