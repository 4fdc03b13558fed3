"""What a step leaves beside its outputs: artifacts (files or folders), and models that it names.

A function says so through `intendant.this_step`, a class of the user's own through
`StepExecutor.leavings`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intendant.workloads.calling import Refusal
from intendant.workloads.results import reason

_HASHED_AT_ONCE = 1024 * 1024


class Leavings:
    """Collects what one attempt at a step leaves."""

    def __init__(self) -> None:
        self.models: dict[str, list[dict[str, str]]] = {}
        self._artifacts: dict[str, Path] = {}

    def add_artifact(self, name: str, path: str | Path) -> None:
        """Name a file or folder that the step has made."""
        self._artifacts[name] = Path(path)

    def add_model(self, side: str, fields: Mapping[str, str]) -> None:
        """Name a model that the step has read (`input`) or made (`output`)."""
        self.models.setdefault(side, []).append(dict(fields))

    def collect(self, promised: Mapping[str, str], *, folder: str) -> dict[str, Any]:
        """Each artifact by name, as the report says it; those promised must be there."""
        found: dict[str, str | Path] = {**promised, **self._artifacts}
        return {name: describe(name, Path(folder, path)) for name, path in found.items()}


def describe(name: str, path: Path) -> dict[str, Any]:
    """One artifact; `Refusal` if it is not there."""
    path = path.absolute()
    try:
        if path.is_dir():
            return {"path": str(path), "url": path.as_uri()}
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(_HASHED_AT_ONCE):
                digest.update(piece)
            size = file.tell()
    except OSError as error:
        raise Refusal(reason("artifact", f"{name}: {path}: {error.strerror}")) from error
    return {"path": str(path), "url": path.as_uri(), "size": size, "sha256": digest.hexdigest()}
