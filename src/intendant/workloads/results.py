"""What a call leaves: its result in a file, and in one line why there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from intendant.errors import InvalidRequest
from intendant.store.disk import DISK, closing

MAX_RESULT_BYTES = 64 * 1024 * 1024
MAX_REASON = 500

Encoding = Literal["json", "pickle"]

_VERY_LONG_NUMBER = re.compile(rb"[0-9]{4301}")
"""Beyond what Python reads (`sys.set_int_max_str_digits`), if it is not inside a text."""


def to_json(value: object) -> bytes:
    """A value as JSON; what the standard library does not know goes to pydantic.

    Not-a-number and the infinities, which JSON has not (RFC 8259, section 6), become the texts
    "NaN", "Infinity" and "-Infinity", from which `float` makes them again.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        from pydantic_core import PydanticSerializationError, to_jsonable_python
        from pydantic_core import to_json as dump

        try:
            # In two steps: in one a model would have its own way with them, by default null.
            data = dump(to_jsonable_python(value), inf_nan_mode="strings")
            if _VERY_LONG_NUMBER.search(data):
                json.loads(data)  # it says why nobody will be able to read it
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"{type(value).__qualname__} as JSON: {error}") from error
        return data


def keep(folder: Path, encoding: Encoding, data: bytes) -> None:
    """Put a result on disk under its name, whole or not at all."""
    if len(data) > MAX_RESULT_BYTES:
        raise InvalidRequest(
            f"{len(data)} bytes, at most {MAX_RESULT_BYTES} are kept: write a file and return its "
            "name"
        )
    temporary = folder / f".result.{encoding}.new"
    with closing(DISK.open(temporary)) as descriptor:
        DISK.write(descriptor, data)
        DISK.sync(descriptor)
    DISK.rename(temporary, folder / f"result.{encoding}")
    DISK.sync_folder(folder)


def reason(code: str, text: str) -> str:
    """`code: text` on one line: control characters as escapes, never long."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{code}: {text}"[:MAX_REASON])
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"
