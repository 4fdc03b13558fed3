"""Code that is laid together does what it did; what huge pages may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from intendant.process.sharing import huge_ranges, lay_together


def _counter(start: int) -> Callable[[], Iterator[int]]:
    def count(step: int = 2) -> Iterator[int]:
        nonlocal start
        start += step
        yield from (start + each for each in range(step))

    return count


def test_functions_do_what_they_did_once_their_code_was_laid_together() -> None:
    made_before = _counter(10)
    code, inner = _counter.__code__, made_before.__code__

    lay_together({(__name__, "_counter"), (__name__, "_counter.<locals>.count")})

    assert _counter.__code__ is not code
    assert made_before.__code__ is not inner
    assert [list(made_before()), list(made_before()), list(_counter(0)())] == [
        [12, 13],
        [14, 15],
        [2, 3],
    ]


def test_functions_with_other_names_keep_their_code() -> None:
    code = _counter.__code__
    lay_together({(__name__, "count"), ("elsewhere", "_counter")})
    assert _counter.__code__ is code


MAPS = b"""\
55d8cc100000-55d8cc9ff000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
7f0000600000-7f0000900000 r--p 00000000 00:00 0
7f0000a00000-7f0000e00000 rw-p 00000000 08:01 1234                       /usr/lib/a\x0b\xe9 b.so
7f0001100000-7f00013fffff rw-p 00000000 00:00 0
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_huge_pages_hold_whole_pieces_of_a_process_own_data_alone() -> None:
    assert huge_ranges(MAPS) == [
        (0x55D8CC200000, 0x55D8CC800000),
        (0x7F0000000000, 0x7F0000400000),
    ]
