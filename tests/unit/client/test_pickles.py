"""Pickles there and back."""

from __future__ import annotations

import pickle
import sys
import traceback

import pytest

from intendant.client.pickles import open_call, open_result, pack_call, pack_exception, pack_value
from intendant.errors import InvalidRequest, RemoteTraceback

NOT_TO_BE_HAD = ValueError("the exception itself is not to be had")


class Picky(Exception):
    """Made from two arguments that its own `args` do not hold."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.left = left


class Unpicklable(Exception):
    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("no way")


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_function_travels_with_its_arguments() -> None:
    offset = 10
    call = open_call(pack_call(lambda a, b: a + b + offset, [1], {"b": 2}))
    assert call.function(*call.args, **call.kwargs) == 13


def test_a_function_of_another_python_is_refused() -> None:
    _, path, call = pickle.loads(pack_call(len, [()], {}))
    with pytest.raises(InvalidRequest, match=r"from Python 2\.7, the run's is 3"):
        open_call(pickle.dumps(((2, 7), path, call)))


def test_the_way_to_its_modules_travels_with_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/somewhere/else"])
    packed = pack_call(len, [()], {})
    monkeypatch.setattr(sys, "path", sys.path[:-1])
    open_call(packed)
    assert sys.path[-1] == "/somewhere/else"


@pytest.mark.parametrize("value", [None, {"a": (1, 2)}, b"bytes"])
def test_a_value_comes_back(value: object) -> None:
    assert open_result(pack_value(value), failure=NOT_TO_BE_HAD) == value


def test_an_exception_comes_back_as_itself_with_its_traceback() -> None:
    packed = pack_exception(raised(KeyError("k")))
    with pytest.raises(KeyError, match="k") as caught:
        open_result(packed, failure=NOT_TO_BE_HAD)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "raise error" in str(caught.value.__cause__)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "raised"


def test_an_exception_with_arguments_of_its_own_comes_back() -> None:
    with pytest.raises(Picky) as caught:
        open_result(pack_exception(raised(Picky(1, 2))), failure=NOT_TO_BE_HAD)
    assert (caught.value.left, str(caught.value)) == (1, "1 and 2")


def test_an_exception_that_can_not_be_pickled_leaves_its_text() -> None:
    packed = pack_exception(raised(Unpicklable("sorry")))
    with pytest.raises(ValueError, match="not to be had") as caught:
        open_result(packed, failure=NOT_TO_BE_HAD)
    assert "Unpicklable: sorry" in str(caught.value.__cause__)
