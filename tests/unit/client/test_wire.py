"""Messages as plain dictionaries."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.client import wire
from intendant.errors import Busy, InvalidRequest, ProtocolError, RequestRefused
from intendant.protocol import messages as m
from intendant.protocol.mdp import MAX_FRAME_BYTES
from intendant.protocol.selectors import parse_selection
from intendant.protocol.version import PROTOCOL_VERSION

BUSY = b'{"kind": "error_response", "protocol_version": 1, "code": "busy", "message": "full"}'
NEW_CODE = b'{"kind": "error_response", "code": "on_strike", "message": "no"}'


def test_a_request_leaves_out_what_is_none() -> None:
    [frame] = wire.request("run_cancel_request", selection=["1"], reason=None)
    assert json.loads(frame) == {
        "kind": "run_cancel_request",
        "protocol_version": PROTOCOL_VERSION,
        "selection": ["1"],
    }


def test_the_version_is_the_one_of_the_models() -> None:
    assert m.StatusRequest().protocol_version == PROTOCOL_VERSION


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        wire.request("run_cancel_request", reason="caf\udce9")


def test_a_number_that_json_has_not_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="number"):
        wire.request("run_cancel_request", reason=float("nan"))


def test_a_request_that_no_frame_can_hold_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most"):
        wire.request("run_cancel_request", reason="x" * MAX_FRAME_BYTES)


def test_an_error_response_is_raised_as_what_it_stands_for() -> None:
    with pytest.raises(Busy, match="full"):
        wire.response([BUSY], "status_response")


def test_an_unknown_code_is_a_refusal_that_keeps_it() -> None:
    with pytest.raises(RequestRefused) as caught:
        wire.response([NEW_CODE], "status_response")
    assert caught.value.code == "on_strike"


@pytest.mark.parametrize(
    "body", [[], [b""], [b"\xff"], [b"[1]"], [b"null"], [b'{"kind": "other"}'], [b"{}"]]
)
def test_what_is_no_expected_message_is_a_protocol_error(body: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        wire.response(body, "status_response")


def test_neighbours_become_a_range() -> None:
    assert wire.selectors([3, 1, 2, 7, 9, 10, 3]) == ["1-3,7,9-10"]


@given(st.lists(st.integers(1, 2**63 - 1), max_size=300))
def test_selectors_name_exactly_the_ids_and_fit_a_message(ids: list[int]) -> None:
    texts = wire.selectors(ids)
    assert all(len(text) <= 4096 for text in texts)
    if ids:
        chosen = parse_selection(texts)
        named = set(chosen.ids)
        for low, high in chosen.ranges:
            named.update(range(low, high + 1))
        assert named == set(ids)


def test_fresh_keys_differ_and_begin_with_the_time() -> None:
    before = time.time_ns()
    keys = {wire.fresh_key() for _ in range(3)}
    assert len(keys) == 3
    assert all(before <= int(key[:16], 16) <= time.time_ns() for key in keys)
