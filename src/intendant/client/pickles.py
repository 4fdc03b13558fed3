"""Pickles: functions on their way to a run, results and exceptions on their way back.

A pickle is a program, so it is opened in two places only: a function in the run's own process, a
result in the program that submitted the function. Whatever lies between passes bytes on.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from intendant.errors import InvalidRequest, RemoteTraceback

_PROTOCOL = 5
_VALUE = b"v"
_EXCEPTION = b"e"
_PYTHON = sys.version_info[:2]


class PackedCall(NamedTuple):
    """A function and its arguments, ready to be called."""

    function: Callable[..., object]
    args: Sequence[object]
    kwargs: Mapping[str, object]


def pack_call(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> bytes:
    """The call as bytes: by value what can't be imported, with the path to import the rest."""
    import cloudpickle

    call = cloudpickle.dumps((function, tuple(args), dict(kwargs)), protocol=_PROTOCOL)
    return pickle.dumps((_PYTHON, sys.path, call), protocol=_PROTOCOL)


def open_call(data: bytes) -> PackedCall:
    """What was packed; only for the process that is there to run it."""
    python, path, call = pickle.loads(data)  # noqa: S301  to run this is what the process is for
    if python != _PYTHON:  # a function's code fits one version of Python
        found, expected = (".".join(map(str, version)) for version in (python, _PYTHON))
        raise InvalidRequest(f"the function is from Python {found}, the run's is {expected}")
    sys.path += [entry for entry in path if entry not in sys.path]
    return PackedCall(*pickle.loads(call))  # noqa: S301  as above


def pack_calls(calls: Mapping[str, bytes]) -> bytes:
    """Several packed calls, by name."""
    return pickle.dumps(dict(calls), protocol=_PROTOCOL)


def open_calls(data: bytes) -> dict[str, bytes]:
    """The calls, each still packed; only for the process that is there to run them."""
    calls: dict[str, bytes] = pickle.loads(data)  # noqa: S301  as above
    return calls


def call_each(function: Callable[..., object], several: Sequence[tuple[Any, ...]]) -> list[object]:
    """A chunk of a `map`, called in the run."""
    return [function(*args) for args in several]


def pack_value(value: object) -> bytes:
    """A result as bytes; raises whatever the value raises when it can't be pickled."""
    return _VALUE + _dumps(value)


def pack_exception(error: BaseException) -> bytes:
    """An exception with its traceback; one that can't be pickled travels as text alone."""
    import traceback

    from tblib import pickling_support

    text = "".join(traceback.format_exception(error))
    try:
        pickling_support.install(error)
        packed: bytes | None = _dumps(error)
        if packed is not None:
            pickle.loads(packed)  # noqa: S301  our own; many fail only on this side
    except Exception:  # noqa: BLE001  the exception's class is the user's code
        packed = None
    return _EXCEPTION + pickle.dumps((packed, text), protocol=_PROTOCOL)


def open_result(data: bytes, *, failure: Exception) -> object:
    """The value; or raises the exception, its cause the traceback from over there.

    `failure` stands for an exception that can't be had itself.
    """
    kind, content = data[:1], data[1:]
    if kind == _VALUE:
        return pickle.loads(content)  # noqa: S301  of a call that this program submitted
    packed, text = pickle.loads(content)  # noqa: S301  as above
    raise _unpacked(packed) or failure from RemoteTraceback(text)


def is_value(data: bytes) -> bool:
    """Whether a packed result is a value."""
    return data[:1] == _VALUE


def _unpacked(packed: bytes | None) -> BaseException | None:
    if packed is None:
        return None
    try:
        error = pickle.loads(packed)  # noqa: S301  as above
    except Exception:  # noqa: BLE001  the exception's class is the user's code
        return None
    return error if isinstance(error, BaseException) else None


def _dumps(value: object) -> bytes:
    """Pickled; by value where that is the only way."""
    try:
        return pickle.dumps(value, protocol=_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle

        data: bytes = cloudpickle.dumps(value, protocol=_PROTOCOL)
        return data
