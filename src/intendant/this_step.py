"""What a Python function that is a step of a pipeline can say of itself, beside what it returns.

    from intendant import this_step

    def train(table):
        if not rows(table):
            this_step.skip("no rows")
        model = fit(table)
        model.save("model.pt")
        this_step.add_artifact("model", "model.pt")
        this_step.add_model(name="forest", url="file:///srv/models/forest", framework="sklearn")

Later steps refer to them as `${train.artifacts.model}` and `${train.models.output.-1.url}`. Outside
of a pipeline all of it works too: what is named is forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn, Protocol

from intendant.errors import InvalidRequest

__all__ = ["StepSkipped", "add_artifact", "add_model", "folder", "name", "skip"]


class StepSkipped(Exception):
    """The step says that it is not wanted, and so are those after it; nothing has failed."""


class Leavings(Protocol):
    """Who keeps what the step leaves."""

    def add_artifact(self, name: str, path: str | Path) -> None: ...

    def add_model(self, side: str, fields: dict[str, str]) -> None: ...


_leavings: Leavings | None = None
_name: str | None = None
_folder: Callable[[], Path] | None = None


def skip(reason: str = "") -> NoReturn:
    """End the step as `skipped`: those after it are skipped too, and the pipeline goes on."""
    raise StepSkipped(reason)


def add_artifact(name: str, path: str | os.PathLike[str]) -> None:
    """Name a file or folder that the step has made; it must be there when the step ends."""
    if not name:
        raise InvalidRequest("found an empty name, expected one for the artifact")
    if _leavings is not None:
        _leavings.add_artifact(name, Path(path).absolute())


def add_model(
    *,
    side: Literal["input", "output"] = "output",
    id: str | None = None,
    name: str | None = None,
    url: str | None = None,
    framework: str | None = None,
    comment: str | None = None,
) -> None:
    """Name a model that the step has made, or (`side="input"`) has read."""
    if side not in ("input", "output"):
        raise InvalidRequest(f"found {side!r}, expected input or output")
    fields = {"id": id, "name": name, "url": url, "framework": framework, "comment": comment}
    said = {key: value for key, value in fields.items() if value is not None}
    if strange := [key for key, value in said.items() if not isinstance(value, str)]:
        raise InvalidRequest(f"{strange[0]}: found {said[strange[0]]!r}, expected a text")
    if _leavings is not None:
        _leavings.add_model(side, said)


def name() -> str | None:
    """The step's name; None outside of a pipeline."""
    return _name


def folder() -> Path | None:
    """The attempt's own folder, which stays as long as the run; None outside of a pipeline."""
    return None if _folder is None else _folder()


@contextmanager
def being(step: str, attempt_folder: Callable[[], Path], leavings: Leavings) -> Iterator[None]:
    """For whoever carries the step out: what is said now is of this one."""
    global _leavings, _name, _folder
    _leavings, _name, _folder = leavings, step, attempt_folder
    try:
        yield
    finally:
        _leavings = _name = _folder = None
