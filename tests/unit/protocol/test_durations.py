from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.protocol.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("3h", 10800.0),
        ("1d", 86400.0),
        (" 2 M ", 120.0),
        (".5", 0.5),
        ("2.m", 120.0),
        ("0", 0.0),
        (90, 90.0),
        (0.25, 0.25),
        (1e-5, 1e-5),
    ],
)
def test_a_duration_is_read_as_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", ".", "-1", "+1", "1w", "1m30s", "1e3", "1,5s", "٣s", "inf", "nan", "9" * 400,
     "1\n2", -1, -0.5, math.inf, math.nan],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_what_was_found(text: str | float) -> None:
    with pytest.raises(ValueError, match="is no duration: expected 90,") as got:
        parse_duration(text)

    assert str(got.value).startswith(repr(text))
    assert str(got.value).endswith("expected 90, 1.5s, 2m, 3h or 1d")


@given(st.text())
def test_any_text_is_a_length_of_time_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < math.inf


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_a_number_is_its_own_seconds(number: float) -> None:
    assert parse_duration(number) == number


@given(st.integers(min_value=0, max_value=10**9), st.sampled_from([("m", 60), ("h", 3600)]))
def test_a_unit_multiplies(count: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{count}{unit[0]}") == count * unit[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00s"),
        (0.35, "0.35s"),
        (12, "12.0s"),
        (60, "1m00s"),
        (125, "2m05s"),
        (3600, "1h00m"),
        (11_220, "3h07m"),
        (86_400, "1d00h"),
        (187_200, "2d04h"),
    ],
)
def test_a_duration_is_shown_with_two_units_at_most(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
