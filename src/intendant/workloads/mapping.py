"""`map`: one function called with many arguments at once, in several processes.

Each process imports the function and makes its results into bytes; a coroutine function shares its
process with others of its kind, but no process takes more than its part while another has nothing
to do; any other function has its process alone while it runs.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from intendant.errors import WorkloadError
from intendant.process.pool import Part, Pool
from intendant.workloads.calling import (
    Refusal,
    bound_call,
    encoded,
    find_function,
    flush_each_line,
    from_users_code,
)
from intendant.workloads.results import Encoding

COROUTINES_AT_ONCE = 16
"""In one process, at most."""

_RESULT = b"r"
_REFUSAL = b"x"


async def map_calls(order: Mapping[str, Any], encoding: Encoding) -> bytes:
    """All results, in the order of the arguments; the first exception ends it all."""
    count = len(order["map"])
    processes = max(min(order["processes"] or os.cpu_count() or 1, count), 1)
    results = [b""] * count

    def take(at: int, answer: bytes) -> None:
        results[at] = _read(answer)

    at_once = min(COROUTINES_AT_ONCE, -(-count // processes))
    async with Pool(part, dict(order), encoding, at_once, processes=processes) as pool:
        await pool.answer(count, take)
    return _joined(results, encoding)


def part(order: Mapping[str, Any], encoding: Encoding, coroutines: int) -> Part:
    """What one process does, so many `coroutines` at once; made in it, once."""
    import setproctitle

    setproctitle.setproctitle(f"intendant: call {order['label']} (map)")
    flush_each_line()
    try:
        function = find_function(order["target"])
    except Exception as error:  # noqa: BLE001  the edge around the user's code
        return Part(partial(_raised, error), at_once=1)
    is_async = inspect.iscoroutinefunction(function)

    async def answer(at: int) -> bytes:
        return await _answer(function, order["map"][at], encoding)

    return Part(answer, at_once=coroutines if is_async else 1)


async def _raised(error: Exception, at: int) -> bytes:  # noqa: ARG001  whatever was asked for
    from intendant.client.pickles import pack_exception

    return pack_exception(error)


async def _answer(function: Callable[..., object], given: object, encoding: Encoding) -> bytes:
    """A result or an exception, each as bytes."""
    from intendant.client.pickles import pack_exception

    try:
        result = bound_call(function, given)()
        if inspect.isawaitable(result):
            result = await _awaited(result)
        return _RESULT + encoded(result, encoding)
    except Refusal as error:
        return _REFUSAL + str(error).encode()
    except Exception as error:  # noqa: BLE001  the edge around the user's code
        return pack_exception(error.with_traceback(from_users_code(error.__traceback__)))


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _read(answer: bytes) -> bytes:
    """The result in an answer; or raises what stands in its place."""
    kind, content = answer[:1], answer[1:]
    if kind == _RESULT:
        return content
    if kind == _REFUSAL:
        raise Refusal(content.decode())
    from intendant.client.pickles import open_result

    open_result(answer, failure=WorkloadError("a call of the map raised an exception"))
    raise AssertionError("an answer that is no result raises")


def _joined(results: list[bytes], encoding: Encoding) -> bytes:
    """One result of many."""
    if encoding == "json":
        return b"[" + b", ".join(results) + b"]"
    from intendant.client.pickles import open_result, pack_value

    failure = WorkloadError("a call of the map left no value")
    return pack_value([open_result(result, failure=failure) for result in results])
