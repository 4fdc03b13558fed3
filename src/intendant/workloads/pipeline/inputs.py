"""What references stand for, looked up in what the steps before have left.

What a step left lies in the run's folder and is described in the order, so it is the same whether
that step has just ended or in an attempt long ago. Outputs are loaded when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from intendant.protocol.references import OWN, PIPELINE, Reference, walk


class InputMissing(Exception):
    """A reference to something that is not there."""


class Inputs:
    """What the references of one step can be about.

    `left` holds, by step: `id`, `parameters`, `artifacts`, `models`, `outputs` (a path, or none),
    `value` (them as JSON, where no file has them) and `is_good`, whether it ended well; of one that
    did not, everything is None.
    """

    def __init__(
        self,
        pipeline: Mapping[str, object],
        left: Mapping[str, Mapping[str, Any]],
        own: Mapping[str, object] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._left = left
        self._own = own

    def with_own(self, parameters: Mapping[str, object]) -> Inputs:
        """The same for a step whose own parameters are known."""
        return Inputs(self._pipeline, self._left, parameters)

    def look_up(self, reference: Reference) -> object:
        """What the reference stands for; `InputMissing` names what is not there."""
        try:
            if reference.step == PIPELINE:
                return _named(self._pipeline, reference.path)
            if reference.step == OWN:
                return _named(self._own or {}, reference.path)
            return self._left_by(self._left[reference.step], reference)
        except (LookupError, OSError, ValueError) as error:
            raise InputMissing(f"{reference.text}: {error}") from error

    def _left_by(self, left: Mapping[str, Any], reference: Reference) -> object:
        if reference.kind == "id":
            return left["id"]
        if not left["is_good"]:
            return None
        match reference.kind:
            case "parameters":
                return _named(left["parameters"], reference.path)
            case "outputs":
                return walk(_outputs(left), reference.path)
            case "models":
                side, index, prop = reference.path
                return walk(_at(left["models"].get(side, []), int(index)), [prop])
            case _:
                return _named_or_path(left["artifacts"], reference.path)


def _named(table: Mapping[str, object], path: tuple[str, ...]) -> object:
    """A parameter by its whole name, which may hold dots; or what lies below one."""
    name = ".".join(path)
    return table[name] if name in table else walk(table, path)


def _named_or_path(artifacts: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """Something about an artifact; the artifact alone is its path."""
    found = walk(artifacts, path)
    return found["path"] if isinstance(found, dict) and "path" in found else found


def _at(models: list[Any], index: int) -> object:
    if not -len(models) <= index < len(models):
        raise LookupError(f"there are {len(models)} models")
    model: dict[str, Any] = models[index]
    return dict.fromkeys(("id", "name", "url", "framework", "comment")) | model


def _outputs(left: Mapping[str, Any]) -> object:
    if (value := left.get("value")) is not None:
        return json.loads(value)
    path = left["outputs"]
    return None if path is None else load_outputs(path)


@cache
def load_outputs(path: str) -> object:
    """The outputs in a file, as its name says they were written. A pickle of this run's own."""
    data = Path(path).read_bytes()
    if path.endswith(".json"):
        return json.loads(data)
    from intendant.client.pickles import open_result
    from intendant.errors import WorkloadError

    return open_result(data, failure=WorkloadError(f"{path} holds no value"))
