"""Code that is laid together does what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from intendant.process.sharing import lay_together


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
