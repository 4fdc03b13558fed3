"""Lines of JSON from a trial, however they come in pieces."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

from intendant.trial import MAX_LINE_BYTES, as_line, too_long
from intendant.workloads.study.hearing import report_in
from intendant.workloads.study.processes import _Lines

LONGEST = as_line(
    {"loss": 1, "text": "x" * (MAX_LINE_BYTES - len(as_line({"loss": 1, "text": ""})))}
)


def heard(data: bytes, *, piece: int) -> list[Mapping[str, Any]]:
    """What is heard of some bytes that come in pieces."""
    found: list[Mapping[str, Any]] = []
    with socket.socket() as nobodys:
        lines = _Lines(nobodys, found.append)
        for at in range(0, len(data), piece):
            lines.data_received(data[at : at + piece])
    return found


@pytest.mark.parametrize("piece", [65536, 65537, 10**7])
def test_a_line_that_is_too_long_is_refused_and_the_next_one_is_heard(piece: int) -> None:
    long = b'"' + b"x" * (3 * MAX_LINE_BYTES) + b'"\n'

    first, second = heard(long + b'{"loss": 1}\n', piece=piece)

    assert report_in(first) == too_long(len(long))
    assert second == {"loss": 1}


@pytest.mark.parametrize("piece", [65536, MAX_LINE_BYTES - 1, 10**7])
def test_the_longest_line_is_heard_and_one_byte_more_is_refused(piece: int) -> None:
    assert len(LONGEST) == MAX_LINE_BYTES

    first, second = heard(LONGEST + b" " + LONGEST, piece=piece)

    assert first["loss"] == 1
    assert report_in(second) == too_long(MAX_LINE_BYTES + 1)


def test_what_is_no_object_is_refused_with_what_was_found() -> None:
    [said] = heard(b"loss=1\n", piece=100)

    assert report_in(said) == "found 'loss=1', expected a JSON object on one line"
