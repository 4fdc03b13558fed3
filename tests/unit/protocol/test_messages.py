from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from intendant.protocol.fields import Model
from intendant.protocol.messages import (
    EXECUTOR_REQUEST,
    GOVERNOR_REQUEST,
    RESPONSE,
    STREAM_REQUEST,
    ErrorResponse,
    Message,
    RunCancelRequest,
    RunFinishedRequest,
    RunListRequest,
    RunStartRequest,
    RunSubmitRequest,
    StatusRequest,
    encode,
    encode_start,
)
from intendant.protocol.records import ExitRecord
from intendant.protocol.run_states import Outcome
from intendant.protocol.schemas import kinds, schemas, unions
from intendant.protocol.specs import RunSpec, Secrets, Submission
from intendant.protocol.version import PROTOCOL_VERSION
from intendant.protocol.workloads import CommandSpec

MESSAGES = Message.__subclasses__()
SPEC = RunSpec(workload=CommandSpec(kind="command", argv=["make"]))


def all_models(base: type[Model] = Model) -> list[type[Model]]:
    below = [model for leaf in base.__subclasses__() for model in all_models(leaf)]
    return [*base.__subclasses__(), *below]


def kind_of(message: type[Message]) -> str:
    return str(message.model_fields["kind"].default)


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.__name__)
def test_every_model_is_closed_and_immutable(model: type[Model]) -> None:
    assert model.model_config.get("extra") == "forbid"
    assert model.model_config.get("frozen") is True


@pytest.mark.parametrize("message", MESSAGES, ids=kind_of)
def test_a_message_is_called_what_its_kind_says(message: type[Message]) -> None:
    assert kind_of(message) == re.sub(r"(?<!^)(?=[A-Z])", "_", message.__name__).lower()


def test_every_message_belongs_to_one_union() -> None:
    members = [kind for name in unions() for kind in schemas()[name]["discriminator"]["mapping"]]

    assert sorted(members) == sorted(kind_of(message) for message in MESSAGES)
    assert set(members) | {"claim", "tombstone"} == set(kinds())


def test_fields_at_their_default_stay_at_home_but_not_kind_and_version() -> None:
    assert json.loads(encode(RunListRequest())) == {
        "kind": "run_list_request",
        "protocol_version": PROTOCOL_VERSION,
    }


def test_fields_that_say_something_travel() -> None:
    sent = RunListRequest(outcomes=[Outcome.TIMED_OUT], queue="gpu", limit=5)

    assert json.loads(encode(sent)) == {
        "kind": "run_list_request",
        "protocol_version": PROTOCOL_VERSION,
        "outcomes": ["timed_out"],
        "queue": "gpu",
        "limit": 5,
    }


def test_a_version_of_another_time_travels_as_it_is() -> None:
    assert json.loads(encode(StatusRequest(protocol_version=7)))["protocol_version"] == 7


def test_a_workload_keeps_its_kind_on_the_wire() -> None:
    sent = RunSubmitRequest(runs=[Submission(spec=SPEC)])

    (run,) = json.loads(encode(sent))["runs"]

    assert run == {"spec": {"workload": {"kind": "command", "argv": ["make"]}}}
    assert EXECUTOR_REQUEST.validate_json(encode(sent)) == sent


def test_a_message_arrives_as_it_was_sent() -> None:
    at = datetime(2026, 3, 14, 8, 0, 0, 151_000, tzinfo=UTC)
    sent = RunFinishedRequest(
        token="secret",
        record=ExitRecord(
            run_id=17, attempt=2, token_sha256="00", outcome=Outcome.SUCCEEDED, finished_at=at
        ),
    )

    assert EXECUTOR_REQUEST.validate_json(encode(sent)) == sent


def test_a_start_request_is_the_same_with_a_spec_that_is_at_hand_as_text() -> None:
    secrets = Secrets(env={"TOKEN": "none"})
    sent = RunStartRequest(run_id=17, attempt=2, spec=SPEC, secrets=secrets)

    word = encode_start(sent, SPEC.model_dump_json(exclude_defaults=True))

    assert json.loads(word) == json.loads(encode(sent))
    assert GOVERNOR_REQUEST.validate_json(word) == sent


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"kind": "status"}',
        b'{"kind": "run_start_request"}',
        b'{"kind": "status_request", "verbose": true}',
        b'{"kind": "status_request", "protocol_version": "one"}',
        b'{"kind": "run_cancel_request", "selection": []}',
        b'{"kind": "run_list_request", "limit": 1001}',
        b'{"kind": "queue_set_request", "name": "gpu", "slots": 0}',
        b'{"kind": "run_submit_request", "runs": []}',
    ],
)
def test_what_is_no_request_to_the_executor_is_refused(unreadable: bytes) -> None:
    with pytest.raises(ValidationError):
        EXECUTOR_REQUEST.validate_json(unreadable)


def test_a_submission_whose_runs_wait_for_each_other_is_refused() -> None:
    runs = [
        Submission(spec=SPEC.model_copy(update={"name": name, "after": [other]}))
        for name, other in (("a", "b"), ("b", "a"))
    ]

    with pytest.raises(ValidationError, match="in a circle"):
        RunSubmitRequest(runs=runs)


def test_a_message_never_changes() -> None:
    message = RunCancelRequest(selection=["3"])

    with pytest.raises(ValidationError, match="frozen"):
        message.now = True  # type: ignore[misc]  # this is what must not work


def test_tokens_and_secrets_are_not_in_what_is_printed_of_a_message() -> None:
    start = RunStartRequest(
        run_id=17, attempt=1, spec=SPEC, secrets=Secrets(env={"TOKEN": "hunter2"})
    )
    finished = RunFinishedRequest(
        token="hunter2",
        record=ExitRecord(
            run_id=17,
            attempt=1,
            token_sha256="00",
            outcome=Outcome.FAILED,
            finished_at=datetime(2026, 3, 14, tzinfo=UTC),
        ),
    )

    assert "hunter2" not in f"{start!r} {start} {finished!r} {finished}"
    assert b"hunter2" in encode(start)


def test_each_service_takes_its_own_requests_alone() -> None:
    request = encode(StatusRequest())

    assert EXECUTOR_REQUEST.validate_json(request) == StatusRequest()
    for other in (STREAM_REQUEST, GOVERNOR_REQUEST, RESPONSE):
        with pytest.raises(ValidationError, match="kind"):
            other.validate_json(request)


def test_an_error_of_the_future_can_still_be_read() -> None:
    sent = ErrorResponse(code="from_the_future", message="not today")

    assert RESPONSE.validate_json(encode(sent)) == sent


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "event_list_request", "after_id": %d}',
        '{"kind": "log_request", "selection": ["1"], "offset": %d}',
    ],
)
def test_a_number_beyond_the_largest_row_is_malformed(text: str) -> None:
    STREAM_REQUEST.validate_json(text % (2**63 - 1))
    with pytest.raises(ValidationError):
        STREAM_REQUEST.validate_json(text % 2**63)
