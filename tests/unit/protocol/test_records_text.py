"""Records as YAML."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from intendant.protocol.records_text import yaml_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUE, st.lists(st.dictionaries(TEXT, VALUE, max_size=3), min_size=1, max_size=3))
def test_whatever_is_recorded_is_read_again(value: object, rows: list[dict[str, object]]) -> None:
    text = yaml_of({"head": value}, "rows", rows)
    assert json.dumps(yaml.safe_load(text)) == json.dumps({"head": value, "rows": rows})


def test_no_rows_are_no_list() -> None:
    assert yaml.safe_load(yaml_of({"a": {}}, "rows", [])) == {"a": {}, "rows": None}
