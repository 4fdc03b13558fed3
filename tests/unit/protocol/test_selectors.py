from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.protocol.selectors import MAX_RUN_ID, Selection, parse_selection

run_ids = st.integers(min_value=1, max_value=MAX_RUN_ID)


@pytest.mark.parametrize(
    ("texts", "selection"),
    [
        (["3"], Selection(ids=(3,))),
        (["1,3,5-8"], Selection(ids=(1, 3), ranges=((5, 8),))),
        (["1", "3, 5-8"], Selection(ids=(1, 3), ranges=((5, 8),))),
        (["7,7,2,7"], Selection(ids=(7, 2))),
        (["4-4"], Selection(ranges=((4, 4),))),
        (["last"], Selection(last=True)),
        (["all"], Selection(all=True)),
        (["last,3", "all"], Selection(ids=(3,), last=True, all=True)),
        ([str(MAX_RUN_ID)], Selection(ids=(MAX_RUN_ID,))),
    ],
)
def test_selectors_are_read_together(texts: list[str], selection: Selection) -> None:
    assert parse_selection(texts) == selection


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("3,", "''"),
        ("x", "'x'"),
        ("1,zwei", "'zwei'"),
        ("-3", "'-3'"),
        ("1-", "'1-'"),
        ("1-2-3", "'1-2-3'"),
        ("0", "'0'"),
        ("0-5", "'0-5'"),
        ("8-5", "'8-5'"),
        ("+1", "'+1'"),
        ("1.0", "'1.0'"),
        ("٣", "'٣'"),
        ("LAST", "'LAST'"),
        (str(MAX_RUN_ID + 1), repr(str(MAX_RUN_ID + 1))),
        ("9" * 20, repr("9" * 20)),
    ],
)
def test_the_part_that_names_no_run_is_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match="is no run: ") as refused:
        parse_selection([text])

    assert str(refused.value).startswith(part)


def test_no_selector_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no run was named"):
        parse_selection([])


@given(st.lists(st.text(st.sampled_from("0123456789-, lastx"), max_size=30), max_size=4))
def test_any_text_selects_something_or_is_refused(texts: list[str]) -> None:
    try:
        selection = parse_selection(texts)
    except ValueError:
        return
    assert selection != Selection()
    assert all(1 <= run_id <= MAX_RUN_ID for run_id in selection.ids)
    assert all(1 <= first <= last <= MAX_RUN_ID for first, last in selection.ranges)


@given(
    st.lists(run_ids, unique=True),
    st.lists(st.tuples(run_ids, run_ids).map(lambda pair: (min(pair), max(pair)))),
)
def test_what_was_written_is_what_is_selected(
    ids: list[int], ranges: list[tuple[int, int]]
) -> None:
    parts = [*map(str, ids), *(f"{first}-{last}" for first, last in ranges), "last"]

    assert parse_selection([",".join(parts)]) == Selection(tuple(ids), tuple(ranges), last=True)
