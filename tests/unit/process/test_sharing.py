"""Code that is laid together: it does what it did, and takes fewer pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType

import pytest

from intendant.process.sharing import lay_together

PAGE_BYTES = 4096


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


@pytest.mark.parametrize("lines", [1, 8], ids=["small", "large"])
def test_code_that_was_spread_out_takes_fewer_pages(lines: int) -> None:
    module = ModuleType("spread_out")
    for number in range(1000):
        body = "".join(f"    x = f(x, {number}, {line})\n" for line in range(lines))
        exec(f"def f{number}(x):\n{body}", module.__dict__)
    functions = [getattr(module, f"f{number}") for number in range(0, 1000, 10)]

    spread = _pages(functions)
    lay_together({("spread_out", function.__name__) for function in functions})

    assert _pages(functions) < spread / 2


def _pages(functions: Sequence[FunctionType]) -> int:
    """On how many pages references to their code are counted."""
    return len({id(function.__code__) // PAGE_BYTES for function in functions})
