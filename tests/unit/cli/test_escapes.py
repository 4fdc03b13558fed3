"""Text of others on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.cli.escapes import LogFilter, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 漢", "plain, ünïcode 漢"),
        ("two\nlines\t", r"two\x0alines\x09"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u202eb\u200b", r"a\u202eb\u200b"),
        ("caf\udce9", r"caf\udce9"),
        ("a\ufff9b\U000e0041\U0001f600", "a\\ufff9b\\U000e0041\U0001f600"),
    ],
)
def test_what_does_not_print_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\tb\r\n", "a\tb\r\n"),
        (b"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        (b"\x1b[2Jgone", r"\x1b[2Jgone"),
        (b"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        (b"caf\xe9", r"caf\xe9"),
        (b"end\x1b", r"end\x1b"),
        (b"end\x1b[3", r"end\x1b[3"),
    ],
)
def test_a_log_keeps_lines_tabs_and_colours(data: bytes, shown: str) -> None:
    assert LogFilter().feed(data, final=True) == shown


@given(
    st.lists(st.sampled_from(["a", "é", "\n", "\x1b[31m", "\x1b[", "\x1b", "m", "1;", "\x07"])),
    st.integers(1, 5),
)
def test_where_a_log_is_cut_makes_no_difference(parts: list[str], size: int) -> None:
    data = "".join(parts).encode()
    log_filter = LogFilter()
    pieces = [log_filter.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join(pieces) + log_filter.feed(b"", final=True) == LogFilter().feed(data, final=True)


def test_a_line_without_an_end_is_shown_as_it_comes() -> None:
    log_filter = LogFilter()
    piece = b"x" * 64 * 1024
    assert {log_filter.feed(piece) for _ in range(16)} == {piece.decode()}


def test_a_colour_without_an_end_does_not_wait_for_ever() -> None:
    log_filter = LogFilter()
    assert log_filter.feed(b"\x1b[" + b"1;" * 100) != ""
