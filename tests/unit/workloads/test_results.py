"""What a call leaves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel

from intendant.errors import InvalidRequest
from intendant.workloads import results
from intendant.workloads.results import MAX_REASON, keep, reason, to_json


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    x: int


class Measure(BaseModel):
    x: float


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": [1, 2.5, "é", True]}, {"a": [1, 2.5, "é", True]}),
        ((1, 2), [1, 2]),
        (Model(x=1), {"x": 1}),
        ([Point(1), Colour.RED], [{"x": 1}, "red"]),
        ({"at": datetime(2026, 3, 14, tzinfo=UTC)}, {"at": "2026-03-14T00:00:00Z"}),
        (Path("/srv"), "/srv"),
        (math.nan, "NaN"),
        ([1, math.inf, Point(-math.inf)], [1, "Infinity", {"x": "-Infinity"}]),
        ({"a": Measure(x=math.nan)}, {"a": {"x": "NaN"}}),
    ],
)
def test_a_value_becomes_json(value: object, expected: object) -> None:
    assert json.loads(to_json(value)) == expected


def test_a_value_that_has_no_json_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="object as JSON: Unable to serialize"):
        to_json(object())


def test_a_value_that_nobody_could_read_again_is_refused() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, {"a": {10**5000}}, deep):
        with pytest.raises(InvalidRequest, match="as JSON: "):
            to_json(value)


def test_a_text_of_very_many_digits_is_no_number() -> None:
    assert json.loads(to_json([Path("7" * 5000)])) == ["7" * 5000]


def test_a_circle_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(InvalidRequest, match="list as JSON"):
        to_json(circle)


def test_a_result_is_in_its_file_and_nothing_beside_it(tmp_path: Path) -> None:
    keep(tmp_path, "json", b"[1]")
    keep(tmp_path, "json", b"2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("result.json", b"2")
    ]
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o600


def test_a_result_beyond_the_bound_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MAX_RESULT_BYTES", 3)
    with pytest.raises(InvalidRequest, match="4 bytes, at most 3"):
        keep(tmp_path, "pickle", b"1234")
    assert list(tmp_path.iterdir()) == []


def test_a_reason_is_one_printable_line() -> None:
    assert reason("exception", "ValueError: \x1b[31mred\r\nline é\u202e") == (
        "exception: ValueError: \\x1b[31mred\\r\\nline é\\u202e"
    )


def test_a_reason_is_never_long() -> None:
    assert len(reason("exception", "\n" * 10_000)) == MAX_REASON
