"""`${NAME}` in the arguments of a command that is the objective of a study.

Loaded before every fork of a trial, so it imports little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_PLACEHOLDER = re.compile(r"\$\$|\$\{([^{}]*)\}")


def filled(argv: Iterable[str], params: Mapping[str, object]) -> list[str]:
    """The arguments with each `${NAME}` replaced, and `$$` by a dollar sign.

    An argument that names a parameter which this trial has not is left out.
    """
    return [
        _PLACEHOLDER.sub(lambda match: _text(match, params), argument)
        for argument in argv
        if all(name in params for name in names_in(argument))
    ]


def names_in(argument: str) -> list[str]:
    """The parameters that an argument names."""
    return [match[1] for match in _PLACEHOLDER.finditer(argument) if match[0] != "$$"]


def _text(match: re.Match[str], params: Mapping[str, object]) -> str:
    if match[0] == "$$":
        return "$"
    value = params[match[1]]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
