"""References in a pipeline: `${step.outputs.x}` in a text stands for what a step left.

    ${step.outputs.a.b}             what it returned, or put into its outputs; below it by key,
                                    position or attribute; `${step.outputs}` is all of it
    ${step.parameters.x}            the value that its parameter had
    ${step.artifacts.a.b}           a file that it left: `.url`, `.path`, `.size`, `.sha256`
    ${step.models.output.-1.url}    the last of the models that it named
    ${step.id}                      what identifies it: `17/collect`
    ${pipeline.x}                   a parameter of the pipeline
    ${parameters.x}                 a parameter of the step in which the reference stands

A dot inside a name is written `\\.`, and `$${` is a plain `${`. A text that is one reference and
nothing else takes the value with its type; in any other text the value is put as text. A value is
never looked through for further references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PIPELINE = "pipeline"
OWN = "parameters"
RESERVED = frozenset({PIPELINE, OWN})
"""Names that no step can have."""

KINDS = ("outputs", "parameters", "artifacts", "models", "id")
MODEL_SIDES = ("input", "output")
MODEL_PROPERTIES = ("id", "name", "url", "framework", "comment")

MAX_EXPANDED = 64 * 1024 * 1024
"""Characters that references put into one text."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_DOT = re.compile(r"(?<!\\)\.")


class ReferencesTooLarge(ValueError):
    """What references stand for is more than a text can take."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference. `step` is `pipeline` or `parameters` where it is not about a step."""

    text: str
    step: str
    kind: str
    path: tuple[str, ...]

    @property
    def is_of_step(self) -> bool:
        """Whether it is about what another step left."""
        return self.step not in RESERVED


def parse_reference(text: str) -> Reference:
    """What `${…}` means; `ValueError` says what is wrong with it."""
    first, *rest = [part.replace("\\.", ".") for part in _DOT.split(text[2:-1])]
    if not rest or not all((first, *rest)):
        raise ValueError(f"{text} is no reference: expected ${{step.kind}} ($${{ is a plain ${{)")
    if first in RESERVED:
        return Reference(text, first, OWN, tuple(rest))
    kind, *path = rest
    if kind not in KINDS:
        raise ValueError(f"{text}: found {kind!r}, expected one of {', '.join(KINDS)}")
    _check_path(text, kind, path)
    return Reference(text, first, kind, tuple(path))


def _check_path(text: str, kind: str, path: Sequence[str]) -> None:
    if kind == "id" and path:
        raise ValueError(f"{text}: found {path[0]!r} behind id, expected nothing")
    if kind in ("parameters", "artifacts") and not path:
        raise ValueError(f"{text}: expected a name behind {kind}")
    if kind == "models":
        _check_model(text, path)


def _check_model(text: str, path: Sequence[str]) -> None:
    side, index, prop, *more = (*path, *[""] * (3 - len(path)))
    if side not in MODEL_SIDES:
        raise ValueError(f"{text}: found {side!r}, expected input or output behind models")
    if re.fullmatch(r"-?[0-9]{1,9}", index) is None:
        raise ValueError(f"{text}: found {index!r}, expected a whole number behind {side}")
    if prop not in MODEL_PROPERTIES:
        raise ValueError(
            f"{text}: found {prop!r}, expected one of {', '.join(MODEL_PROPERTIES)} behind {index}"
        )
    if more:
        raise ValueError(f"{text}: found {more[0]!r} behind {prop}, expected nothing")


def references_in(value: object) -> Iterator[Reference]:
    """Every reference in a text, and in the texts of lists and tables; keys are not looked at."""
    for text in _texts_in(value):
        if "${" in text:
            for match in _REFERENCE.finditer(text):
                if match[1] is not None:
                    yield parse_reference(match[0])


def expand(value: object, look_up: Callable[[Reference], object]) -> object:
    """The value with every reference replaced by what `look_up` finds; the rest untouched."""
    match value:
        case str():
            return _expand_text(value, look_up)
        case list():
            return [expand(each, look_up) for each in value]
        case dict():
            return {key: expand(each, look_up) for key, each in value.items()}
        case _:
            return value


def expand_to_text(value: str, look_up: Callable[[Reference], object]) -> str:
    """The same where only a text will do: in an argument, a variable, a path."""
    return as_text(_expand_text(value, look_up))


def as_text(value: object) -> str:
    """A value inside a text: a text as it is, anything else as JSON, or what `str` says of it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def escape(value: Any) -> Any:
    """The value such that expanding it gives it back: texts in lists and tables too."""
    match value:
        case str():
            return value.replace("${", "$${")
        case list():
            return [escape(each) for each in value]
        case dict():
            return {key: escape(each) for key, each in value.items()}
        case _:
            return value


def walk(value: object, path: Sequence[str]) -> object:
    """What lies at a path below a value: by key, then position, then attribute.

    `LookupError` says which part is not there.
    """
    for at, part in enumerate(path):
        try:
            value = _below(value, part)
        except (LookupError, ValueError, AttributeError):
            so_far = ".".join(path[:at]) or "the value"
            raise LookupError(f"{so_far} has no {part!r}") from None
    return value


def _below(value: object, part: str) -> object:
    if isinstance(value, Mapping):
        return value[part]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value[int(part)]
    if part.startswith("_"):
        raise LookupError(part)
    found: object = getattr(value, part)
    return found


def _expand_text(text: str, look_up: Callable[[Reference], object]) -> object:
    if "${" not in text:
        return text
    alone = _REFERENCE.fullmatch(text)
    if alone is not None and alone[1] is not None:
        return look_up(parse_reference(text))

    room = MAX_EXPANDED

    def put(match: re.Match[str]) -> str:
        nonlocal room
        put = "${" if match[1] is None else as_text(look_up(parse_reference(match[0])))
        room -= len(put)
        if room < 0:
            text = f"with its references a text has more than {MAX_EXPANDED} characters"
            raise ReferencesTooLarge(text)
        return put

    return _REFERENCE.sub(put, text)


def _texts_in(value: object) -> Iterator[str]:
    """Every text in a value, without recursion: depth is the caller's to bound."""
    todo = [value]
    while todo:
        match todo.pop():
            case str() as text:
                yield text
            case list() as items:
                todo += reversed(items)
            case dict() as table:
                todo += reversed(table.values())
            case _:
                continue
