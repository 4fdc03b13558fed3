"""The process of one call: `python -m intendant.workloads.callee ORDER REPORT LIFE`.

Its arguments are descriptors; what they are stands in `workloads.call`. It starts in milliseconds:
asyncio, pydantic, cloudpickle and the rest are imported when a call needs them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from intendant.errors import InvalidRequest
from intendant.process.title import set_title
from intendant.workloads.asking import Asking
from intendant.workloads.calling import (
    Refusal,
    bound_call,
    encoded,
    find_function,
    flush_each_line,
    from_users_code,
)
from intendant.workloads.results import Encoding, keep, reason

FAILED = 1


def main(order_fd: int, report_fd: int, life_fd: int) -> int:
    """Carry the order out; the exit status."""
    for descriptor in (order_fd, report_fd, life_fd):
        os.set_inheritable(descriptor, False)
    with open(order_fd, encoding="utf-8") as file:
        order: dict[str, Any] = json.load(file)
    set_title(f"intendant: call {order['label']}")
    flush_each_line()
    sys.argv = [order["target"] or "<function>"]
    sys.path.insert(0, str(Path.cwd()))
    word = Word(Path(order["folder"]), cast(Encoding, order["result"]), report_fd)
    try:
        asking = Asking(life_fd)
        failure = _failure(order, word, asking)
        with asking.held_off():
            word.report(failure)
    except Refusal as error:
        sys.stderr.write(f"{error}\n")
        word.report(str(error))
        return FAILED
    return 0 if failure is None else FAILED


class Word:
    """What the call leaves: its result, and a report of how it ended.

    Only the process that made it has a say, none of the copies that a function may have forked.
    """

    def __init__(self, folder: Path, encoding: Encoding, report_fd: int) -> None:
        self.encoding = encoding
        self._folder = folder
        self._report_fd = report_fd
        self._owner = os.getpid()

    def keep(self, data: bytes) -> None:
        """Put the result on disk; `Refusal` if that can't be done."""
        if os.getpid() != self._owner:
            return
        try:
            keep(self._folder, self.encoding, data)
        except (InvalidRequest, OSError) as error:
            raise Refusal(reason("result", str(error))) from error

    def report(self, failure: str | None) -> None:
        """Say that it went well, or why not."""
        if os.getpid() != self._owner:
            return
        report = {} if failure is None else {"reason": failure}
        os.pwrite(self._report_fd, json.dumps(report).encode(), 0)


def _failure(order: Mapping[str, Any], word: Word, asking: Asking) -> str | None:
    """Call, and keep the result; the reason if the user's code raised an exception."""
    try:
        data = _called(order, word.encoding, asking)
        with asking.held_off():
            _flush()
            word.keep(data)
    except (SystemExit, Refusal):
        raise
    except BaseException as error:  # noqa: BLE001  the edge around the user's code
        with asking.held_off():
            return _explained(error, word)
    return None


def _explained(error: BaseException, word: Word) -> str:
    """The reason, after the exception has been printed and, if it is wanted, kept."""
    import traceback

    error.__traceback__ = from_users_code(error.__traceback__)
    traceback.print_exception(error)
    if word.encoding == "pickle":
        from intendant.client.pickles import pack_exception

        word.keep(pack_exception(error))
    return reason("exception", "".join(traceback.format_exception_only(error)).strip())


def _called(order: Mapping[str, Any], encoding: Encoding, asking: Asking) -> bytes:
    """The result of the call as its file will hold it."""
    if order["map"] is not None:
        from intendant.errors import HelperLost
        from intendant.workloads.mapping import map_calls

        try:
            return asking.run(map_calls(order, encoding))
        except HelperLost as error:
            raise Refusal(reason("process_lost", str(error))) from error
    call = _pickled(order["pickle"]) if order["target"] is None else _named(order)
    result = call()
    if isinstance(result, Awaitable):
        result = asking.run(_awaited(result))
    return encoded(result, encoding)


def _named(order: Mapping[str, Any]) -> Callable[[], object]:
    return bound_call(find_function(order["target"]), order["args"])


def _pickled(encoded_call: str) -> Callable[[], object]:
    import base64

    from intendant.client.pickles import open_call

    try:
        call = open_call(base64.b64decode(encoded_call))
    except InvalidRequest as error:
        raise Refusal(reason("python", str(error))) from error
    return lambda: call.function(*call.args, **call.kwargs)


async def _awaited(result: Any) -> object:
    return await result


def _flush() -> None:
    """Write out what was printed: what is lost after this line nobody would hear of."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4])))
