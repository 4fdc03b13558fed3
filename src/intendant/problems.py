"""What is wrong with a file or a setting, one line for each problem: place, found, expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import custom_error_schema

if TYPE_CHECKING:
    import tomllib

Key = tuple[int | str, ...]
Source = str | Callable[[Key], str]
"""The file's name; or, where values come from several places, what names the place of a key."""

MAX_SHOWN = 80
_TOML_PLACE = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "in_words": "{words}",
    "invalid_key": "text as a key",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "missing": "a value",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "union_tag_invalid": "one of {expected_tags}",
    "union_tag_not_found": "a value",
}
"""What a person should write, by pydantic's type of error and with the figures of its context."""


@dataclass(frozen=True, slots=True)
class InWords:
    """Put last into an `Annotated`: what is expected, where its constraints would be shown."""

    words: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The schema so far, with one error instead of all of its own (pydantic's protocol)."""
        return custom_error_schema(
            handler(source),
            custom_error_type="in_words",
            custom_error_message="Input should be {words}",
            custom_error_context={"words": self.words},
        )


QUEUE_NAME = InWords(
    "a name of 1 to 64 letters, digits, '_', '.' or '-', the first a letter, a digit or '_'"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it is, and a sentence of what was found and expected."""

    key: Key
    text: str

    def line(self, source: Source) -> str:
        """`FILE: runs[2].timeout: found 0, expected …`; without a key, the whole is meant."""
        place = source if isinstance(source, str) else source(self.key)
        return ": ".join(part for part in (place, dotted(self.key), self.text) if part)


def explain_validation_error(
    error: ValidationError, *, source: Source, model: type[BaseModel] | None = None
) -> str:
    """Every problem of `error`, one a line; `model` has the keys that a misspelt one may mean."""
    return "\n".join(problem.line(source) for problem in problems_of(error, model=model))


def explain_toml_error(error: tomllib.TOMLDecodeError, text: str, *, source: str) -> str:
    """`FILE: line 3: what is wrong there`."""
    place = _TOML_PLACE.search(str(error))
    line = place[1] if place and place[1] else str(max(len(text.splitlines()), 1))
    return f"{source}: line {line}: {_TOML_PLACE.sub('', str(error))}"


def problems_of(error: ValidationError, *, model: type[BaseModel] | None = None) -> list[Problem]:
    """The problems that pydantic found, in its order."""
    return [_problem(details, model) for details in error.errors(include_url=False)]


def keys_beside(key: Key, model: type[BaseModel]) -> list[str]:
    """The keys of the table in which `key` stands; of each that it may be, where several may."""
    tables = [model]
    for part in key[:-1]:
        fields = [table.model_fields[str(part)] for table in tables if part in table.model_fields]
        # What is no field is a place in a list, or a key that people choose.
        tables = [one for field in fields for one in _models_in(field.annotation)] or tables
    return sorted({name for table in tables for name in table.model_fields})


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def dotted(key: Key) -> str:
    """A key as people write it: `runs[2].retry.on[0]`; positions count from 0."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return "".join(parts).removeprefix(".")


def found(value: object, expected: str) -> str:
    """The usual sentence."""
    return f"found {shown(value)}, expected {expected}"


def shown(value: object) -> str:
    """A value as a message shows it: on one line, with escapes, never long.

    Of a table nothing is shown: who reads it knows where it is, and there may be secrets in it.
    """
    match value:
        case None:
            return "nothing"
        case dict():
            return "a table"
        case [dict(), *_]:
            return "a list of tables"
        case _:
            text = repr(value)
            return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _problem(details: ErrorDetails, model: type[BaseModel] | None) -> Problem:
    key = details["loc"]
    match details["type"]:
        case "missing":
            return Problem(key, found(None, _expected(details)))
        case "extra_forbidden":
            return Problem(key, f"found an unknown key, expected {_known_key(key, model)}")
        case "union_tag_invalid":
            return Problem((*key, _tag(details)), found(details["ctx"]["tag"], _expected(details)))
        case "union_tag_not_found":
            return Problem((*key, _tag(details)), found(None, _expected(details)))
        case "value_error":
            return Problem(key, _own_words(str(details["ctx"]["error"]), details["input"]))
        case _:
            return Problem(key, found(details["input"], _expected(details)))


def _tag(details: ErrorDetails) -> str:
    """The key that says which of several tables one is."""
    return str(details["ctx"]["discriminator"]).strip("'")


def _known_key(key: Key, model: type[BaseModel] | None) -> str:
    """What to write instead of an unknown key: what comes near it, or whatever there is."""
    if model is None:
        return "a key that exists"
    known = keys_beside(key, model)
    near = get_close_matches(str(key[-1]), known, n=1)
    return f"{near[0]!r} perhaps" if near else f"one of {', '.join(known)}"


def _own_words(message: str, value: object) -> str:
    """The sentence of a validator of ours; where it ends in `expected …`, in the usual form.

    What is said of a whole table names the part that is meant, so it stays as it is.
    """
    before, is_usual, expected = message.partition("expected ")
    is_of_a_part = isinstance(value, dict | list) and before
    return found(value, expected) if is_usual and not is_of_a_part else message


def _expected(details: ErrorDetails) -> str:
    """In our words where the table has them, else in pydantic's."""
    words = _EXPECTED.get(details["type"])
    if words is None:
        return details["msg"].removeprefix("Input should be ")
    figures = {name: _plain(value) for name, value in details.get("ctx", {}).items()}
    return words.format(**figures)


def _plain(figure: object) -> object:
    """A bound as people write it: `3`, not `3.0`."""
    return int(figure) if isinstance(figure, float) and figure.is_integer() else figure
