from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from intendant.protocol.records import ClaimRecord, ExitRecord, StepRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome
from intendant.protocol.schemas import RECORDS

CLAIM: TypeAdapter[ClaimRecord | TombstoneRecord] = RECORDS["claim"]
AT = datetime(2026, 3, 14, 8, 0, 0, 151_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "record",
    [
        ClaimRecord(pid=4301, start_time=918273, boot_id="5e0d", token_sha256="9f86"),
        ClaimRecord(pid=1, start_time=0, boot_id="5e0d", token_sha256="9f86", cgroup="/user/17.1"),
        TombstoneRecord(by="executor", at=AT),
    ],
)
def test_a_claim_file_says_whether_it_is_a_claim_or_a_tombstone(
    record: ClaimRecord | TombstoneRecord,
) -> None:
    assert CLAIM.validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "claim"}', '{"kind": "tombstone", "pid": 3}'])
def test_half_a_claim_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        CLAIM.validate_json(text)


def test_an_exit_record_comes_back_from_disk_to_the_microsecond() -> None:
    record = ExitRecord(
        run_id=17,
        attempt=2,
        token_sha256="9f86",
        outcome=Outcome.TIMED_OUT,
        reason="time_limit: 3600s",
        signal=15,
        started_at=AT - timedelta(hours=1, microseconds=1),
        finished_at=AT,
        steps=[StepRecord(event="term_sent", at=AT)],
    )

    assert ExitRecord.model_validate_json(record.model_dump_json()) == record


def test_the_same_moment_is_equal_whatever_its_time_zone() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert StepRecord(event="adopted", at=elsewhere) == StepRecord(event="adopted", at=AT)
