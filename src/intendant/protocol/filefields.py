"""What the tables of a run file are made of: durations, masks and retries as people write them.

Nothing is guessed: `"5"` is no number, a duration has its unit, a mask is octal.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from intendant.protocol.durations import parse_duration
from intendant.protocol.fields import MAX_DURATION_S, Model
from intendant.protocol.run_states import Outcome

MAX_WAIT_S = 86400.0
"""The longest grace or back-off that `RunSpec` takes."""

_OCTAL = re.compile(r"(0o)?0?[0-7]{1,3}")


def _duration(value: object) -> float:
    """Seconds from a duration in the file; `ValueError` if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected 90, 1.5s, 2m, 3h or 1d")  # noqa: TRY004  what pydantic catches
    return parse_duration(value)


def _wait(value: object) -> float:
    """Seconds from a duration that may be nothing, but is no longer than a spec allows."""
    duration_s = _duration(value)
    if duration_s > MAX_WAIT_S:
        raise ValueError("expected at most 1d")
    return duration_s


def _limit(value: object) -> float:
    """Seconds from a duration that is not nothing and no longer than a spec allows."""
    duration_s = _duration(value)
    if not 0 < duration_s <= MAX_DURATION_S:
        raise ValueError("expected more than 0 and at most 3650d")
    return duration_s


def _umask(value: object) -> object:
    """A file mode mask, from octal text or as it is."""
    if not isinstance(value, str):
        return value
    if _OCTAL.fullmatch(value) is None:
        raise ValueError("expected octal digits, 000 to 777")
    return int(value, 8)


def _retry(value: object) -> object:
    """A bare number of attempts stands for the table that holds only this."""
    if isinstance(value, bool) or not isinstance(value, int | dict):
        raise ValueError("expected a number or a table")  # noqa: TRY004  what pydantic catches
    if isinstance(value, int):
        return {"attempts": value}
    # YAML 1.1 reads a bare `on` as true (https://yaml.org/type/bool.html); here it is a key.
    return {"on" if key is True else key: content for key, content in value.items()}


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*[smhdSMHD]?\s*$"},
        {"type": "number", "minimum": 0},
    ]
}
_UMASK_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": f"^{_OCTAL.pattern}$"},
        {"type": "integer", "minimum": 0, "maximum": 0o777},
    ]
}

Wait = Annotated[float, BeforeValidator(_wait), WithJsonSchema(_DURATION_SCHEMA)]
Limit = Annotated[float, BeforeValidator(_limit), WithJsonSchema(_DURATION_SCHEMA)]
Umask = Annotated[int, BeforeValidator(_umask), WithJsonSchema(_UMASK_SCHEMA)]


class FileModel(Model):
    """A table in a file: nothing is converted that the file's own syntax can say."""

    model_config = ConfigDict(strict=True)


class RetryTable(FileModel):
    """When a run that ended badly is queued again by itself."""

    attempts: int = Field(description="attempts after the first")
    on: list[Annotated[Outcome, Field(strict=False)]] | None = None
    backoff: Wait | None = Field(default=None, description="wait before the second")
    backoff_max: Wait | None = Field(default=None, description="the wait doubles up to")


Retry = Annotated[
    RetryTable,
    BeforeValidator(
        _retry,
        json_schema_input_type=Annotated[int, Field(ge=0)] | RetryTable,
    ),
]
