"""A call of a Python function as a submission asks for it: by its name, or the function itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from intendant.errors import InvalidRequest

_NAMES = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_TARGET = f"{_NAMES}:{_NAMES}"

MAX_PICKLE_BYTES = 1024 * 1024
"""What the daemon takes: data belongs into files."""

CallArguments = Sequence[object] | Mapping[str, object]


def is_target(text: str) -> bool:
    """Whether a text can name a function: `package.module:function`."""
    return re.fullmatch(_TARGET, text) is not None


@dataclass(frozen=True, slots=True)
class Call:
    """A function, named as `package.module:function` or itself, and its arguments.

    A name takes arguments that JSON knows, and gives a result in JSON unless told otherwise. A
    function travels with its arguments as a pickle, and so does its result.
    """

    function: str | Callable[..., object]
    args: CallArguments = ()
    map: Sequence[CallArguments] | None = None
    processes: int | None = None
    result: Literal["json", "pickle"] | None = None
    python: str | Path | None = None
    cwd: str | Path | None = None
    env: Mapping[str, str] | None = None
    umask: int | None = None
    timeout_s: float | None = None
    grace_s: float | None = None
    shutdown_grace_s: float | None = None
    pickle: str | None = field(init=False, repr=False, default=None)
    """The function and its arguments as they travel, if it is no name."""

    def __post_init__(self) -> None:
        if isinstance(self.function, str):
            return
        if self.map is not None:
            raise InvalidRequest("map takes a function by its name: package.module:function")
        from intendant.client.pickles import pack_call

        data = (
            pack_call(self.function, (), self.args)
            if isinstance(self.args, Mapping)
            else pack_call(self.function, self.args, {})
        )
        object.__setattr__(self, "pickle", encode_pickle(data))

    def spec(self) -> dict[str, object]:
        """A run spec that holds this call and what was said about it."""
        workload = {
            "kind": "call",
            **self._what(),
            "processes": self.processes,
            "python": None if self.python is None else str(self.python),
            "cwd": None if self.cwd is None else str(self.cwd),
            "env": dict(self.env) if self.env else None,
            "umask": self.umask,
        }
        limits = {
            "timeout_s": self.timeout_s,
            "grace_s": self.grace_s,
            "shutdown_grace_s": self.shutdown_grace_s,
        }
        return _said({"workload": _said(workload), **limits})

    def _what(self) -> dict[str, object]:
        if self.pickle is not None:
            return {"pickle_sha256": digest(self.pickle), "result": self.result or "pickle"}
        several = None if self.map is None else [_plain(args) for args in self.map]
        args = _plain(self.args) if self.args else None
        return {"target": self.function, "args": args, "map": several, "result": self.result}


def encode_pickle(data: bytes) -> str:
    """A pickled call as it travels; `InvalidRequest` if it is too large to."""
    if len(data) > MAX_PICKLE_BYTES:
        raise InvalidRequest(
            f"the function and its arguments have {len(data)} bytes as a pickle; at most "
            f"{MAX_PICKLE_BYTES} are taken: let it read a file"
        )
    return base64.b64encode(data).decode()


def digest(pickle: str) -> str:
    """What the spec says of a pickle that travels beside it."""
    return sha256_of(base64.b64decode(pickle))


def sha256_of(data: bytes) -> str:
    """The same of a pickle that has not been made to travel."""
    import hashlib  # with OpenSSL: two milliseconds, which only a pickle is worth

    return hashlib.sha256(data).hexdigest()


def _plain(args: CallArguments) -> object:
    return dict(args) if isinstance(args, Mapping) else list(args)


def _said(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
