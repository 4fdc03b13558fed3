"""Times as they are stored, and rows from their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import JsonValue

from intendant.errors import IllegalTransition, StoreError
from intendant.protocol.records import EventRecord
from intendant.protocol.run_states import RunEvent, RunNote, RunState
from intendant.protocol.specs import RunSpec
from intendant.store.cells import micros, moment
from intendant.store.rows import LARGE_SPEC, detail_of, keep_spec, known_text, replay, replayable

AT = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)


def event(
    seq: int,
    name: str,
    before: RunState | None,
    after: RunState,
    *,
    attempt: int = 0,
    detail: dict[str, JsonValue] | None = None,
) -> EventRecord:
    return EventRecord(
        id=seq + 10,
        run_id=7,
        seq=seq,
        at=AT,
        attempt=attempt,
        event=name,
        before=before,
        after=after,
        detail=detail or {},
    )


SUBMITTED = event(
    1,
    RunNote.SUBMITTED,
    None,
    RunState.QUEUED,
    detail={"account": "ada", "priority": 3, "submitted_at": "2024-02-29T23:59:59.999999Z"},
)


@pytest.mark.parametrize(
    "at",
    [
        AT,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_a_time_comes_back_to_the_microsecond(at: datetime) -> None:
    assert moment(micros(at)) == at


def test_a_time_of_another_zone_comes_back_in_utc() -> None:
    east = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))

    assert moment(micros(east)).isoformat() == "2024-01-01T03:00:00+00:00"


def test_details_tell_times_in_rfc_3339_and_leave_out_what_each_event_has_anyway() -> None:
    told = detail_of({"state": "ended", "attempt": 2, "finished_at": micros(AT), "exit_code": 0})

    assert told == {"finished_at": "2024-02-29T23:59:59.999999Z", "exit_code": 0}


def test_replay_gives_the_row_that_the_events_tell() -> None:
    granted = event(
        2, RunEvent.SLOT_GRANTED, RunState.QUEUED, RunState.STARTING, attempt=1, detail={}
    )

    row = replay([SUBMITTED, granted])

    assert row["id"] == 7
    assert row["state"] == "starting"
    assert row["attempt"] == 1
    assert row["account"] == "ada"
    assert row["submitted_at"] == micros(AT)
    assert row["outcome"] is None


def test_replay_takes_no_column_from_an_event_that_changes_nothing() -> None:
    note = event(
        2, RunNote.ADOPTED, RunState.QUEUED, RunState.QUEUED, detail={"priority": 99, "tries": 4}
    )

    assert replay([SUBMITTED, note]) == replay([SUBMITTED])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        pytest.param(
            event(3, RunNote.ADOPTED, RunState.QUEUED, RunState.QUEUED),
            "found event 3, expected event 2",
            id="a gap",
        ),
        pytest.param(
            event(2, RunEvent.STARTED, RunState.STARTING, RunState.RUNNING),
            "before is starting, not queued",
            id="a leap",
        ),
        pytest.param(
            event(2, RunNote.ADOPTED, RunState.QUEUED, RunState.RUNNING),
            "adopted can't give running",
            id="a note that moves",
        ),
        pytest.param(
            event(2, RunEvent.HELD, RunState.QUEUED, RunState.ENDED),
            "held can't give ended",
            id="a wrong end of a move",
        ),
    ],
)
def test_replay_refuses_events_that_make_no_sense(second: EventRecord, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        replay([SUBMITTED, second])


def test_replay_refuses_a_move_that_the_table_does_not_know() -> None:
    with pytest.raises(IllegalTransition):
        replay([SUBMITTED, event(2, RunEvent.STARTED, RunState.QUEUED, RunState.RUNNING)])


def test_replay_refuses_a_log_without_its_beginning() -> None:
    with pytest.raises(StoreError, match="begins with adopted"):
        replay([event(1, RunNote.ADOPTED, None, RunState.QUEUED)])


def test_a_row_is_compared_by_the_digest_of_its_spec() -> None:
    row = replayable({"id": 1, "open_dependencies": 3, "spec": "{}"})

    assert row == {
        "id": 1,
        "spec_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }


def test_the_text_of_a_large_spec_is_at_hand_for_that_spec_alone() -> None:
    argv = ["true", *(["x"] * LARGE_SPEC)]
    spec, other = (
        RunSpec.model_validate({"workload": {"kind": "command", "argv": argv}}) for _ in range(2)
    )
    text = spec.model_dump_json(exclude_defaults=True)
    keep_spec(text, spec)
    assert (known_text(spec) is text, known_text(other)) == (True, None)
