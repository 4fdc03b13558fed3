"""From a name and JSON to a call, and from its value to bytes; what `call` and `map` share."""

from __future__ import annotations

import atexit
import base64
import importlib
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from intendant.errors import InvalidRequest
from intendant.workloads.results import Encoding, reason, to_json

if TYPE_CHECKING:
    from intendant.client.pickles import PackedCall


class Refusal(Exception):
    """The call failed, but not by an exception of the user's: this is the run's reason."""


def flush_each_line() -> None:
    """Let `logs -f` see each line when it is printed, and a crash lose none."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def find_function(target: str) -> Callable[..., object]:
    """What `package.module:function` names; raises what the import raises."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{target} is no function: {found!r}")
    return cast(Callable[..., object], found)


@cache
def opened_call(encoded_call: str) -> PackedCall:
    """A function that travelled as base64 of a pickle; opened once where a zygote did it."""
    from intendant.client.pickles import open_call

    return open_call(base64.b64decode(encoded_call))


def bound_call(function: Callable[..., object], given: Any) -> Callable[[], object]:
    """The call of a function with JSON arguments, made to fit its annotations."""
    from intendant.workloads.arguments import bind

    try:
        args, kwargs = bind(function, given)
    except InvalidRequest as error:
        raise Refusal(reason("arguments", str(error))) from error
    return lambda: function(*args, **kwargs)


def encoded(value: object, encoding: Encoding) -> bytes:
    """A result in one of the two encodings; `Refusal` if it has no JSON."""
    if encoding == "pickle":
        from intendant.client.pickles import pack_value

        return pack_value(value)
    try:
        return to_json(value)
    except InvalidRequest as error:
        raise Refusal(reason("result", str(error))) from error


def why_it_failed(error: BaseException) -> str:
    """Why a call failed, in one line, after the user's own exception has been printed."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, SystemExit):
        return f"exit_code: {_exit_code(error.code)}"
    import traceback

    try:
        error.__traceback__ = from_users_code(error.__traceback__)
        traceback.print_exception(error)
        text = "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # noqa: BLE001  an exception that can't even be printed is still one
        text = type(error).__name__
    return reason("exception", text)


def is_success(error: BaseException) -> bool:
    """Whether it is `sys.exit()` with a status that means that all went well."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def wind_up() -> None:
    """End as an interpreter does: threads first, then what was registered with atexit.

    Before the last word is said, since what happens here can still go wrong.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter itself calls
    atexit._run_exitfuncs()
    flush()


def flush() -> None:
    """Write out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _exit_code(code: object) -> int:
    """`sys.exit(3)`, or `sys.exit("some text")`, which is printed."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def from_users_code(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not ours or the standard library's."""
    ours = Path(__file__).parents[1]
    library = Path(os.__file__).parent
    first = frames
    while first is not None:
        file = Path(first.tb_frame.f_code.co_filename)
        if not _is_machinery(file, ours=ours, library=library):
            return first
        first = first.tb_next
    return frames


def _is_machinery(file: Path, *, ours: Path, library: Path) -> bool:
    in_library = file.is_relative_to(library) and "site-packages" not in file.parts
    return file.is_relative_to(ours) or in_library or str(file).startswith("<frozen ")
