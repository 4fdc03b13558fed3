"""JSON arguments for a Python function, made into what its annotations ask for.

A parameter without an annotation, or with one that can't be looked up (a name that only a type
checker imports), gets the JSON as it is.
"""

from __future__ import annotations

import inspect
import json
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias, SimpleNamespace
from typing import Any

from intendant.errors import InvalidRequest

_PLAIN = (bool, int, float, str)
_UNCHECKED = (object, Any)
_SHOWN = 3

Arguments = Sequence[object] | Mapping[str, object]


def bind(
    function: Callable[..., object], given: Arguments
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Arguments by position and by name; `InvalidRequest` names the parameter that is wrong."""
    args, kwargs = ((), dict(given)) if isinstance(given, Mapping) else (tuple(given), {})
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some functions in C have none
        return args, kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidRequest(str(error)) from None
    for name, value in bound.arguments.items():
        bound.arguments[name] = _converted(function, signature.parameters[name], value)
    return bound.args, bound.kwargs


def _converted(
    function: Callable[..., object], parameter: inspect.Parameter, value: object
) -> object:
    annotation = _annotation(function, parameter)
    if annotation in _UNCHECKED or (annotation in _PLAIN and type(value) is annotation):
        return value  # and nobody waits for pydantic
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            return _validated(parameter.name, GenericAlias(tuple, (annotation, ...)), value)
        case inspect.Parameter.VAR_KEYWORD:
            return _validated(parameter.name, GenericAlias(dict, (str, annotation)), value)
        case _:
            return _validated(parameter.name, annotation, value)


def _annotation(function: Callable[..., object], parameter: inspect.Parameter) -> object:
    """What stands at the parameter, texts looked up where the function was written."""
    if parameter.annotation is inspect.Parameter.empty:
        return object
    home = sys.modules.get(getattr(function, "__module__", None) or "")
    names = getattr(inspect.unwrap(function), "__globals__", None) or vars(home or object())
    stub = SimpleNamespace(__annotations__={"parameter": parameter.annotation})
    try:
        return typing.get_type_hints(stub, globalns=names, include_extras=True)["parameter"]
    except (NameError, AttributeError, TypeError):
        return object


def _validated(name: str, annotation: Any, value: object) -> object:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError

    from intendant.problems import dotted, problems_of

    try:
        try:
            return TypeAdapter(annotation).validate_json(json.dumps(value))
        except PydanticSchemaGenerationError:  # a class that is nothing to pydantic
            config = ConfigDict(arbitrary_types_allowed=True)
            return TypeAdapter(annotation, config=config).validate_python(value)
    except ValidationError as error:
        problems = problems_of(error)[:_SHOWN]
        texts = [f"{dotted((name, *problem.key))}: {problem.text}" for problem in problems]
        raise InvalidRequest("; ".join(texts)) from None
