"""Specs as run files: the way back from `protocol.runfile`."""

from __future__ import annotations

from typing import Any

from intendant.protocol.runfile import IN_FILE
from intendant.protocol.specs import RunSpec


def table_of(spec: RunSpec) -> dict[str, Any]:
    """A run's table, from which a run file's reader makes the same spec.

    Functions that travel as pickles have no name that a file could give: `ValueError` names the
    step.
    """
    table = _flat(spec.model_dump(mode="json", exclude_defaults=True))
    if "steps" in table:
        table["steps"] = [_flat(step) for step in table["steps"]]
        for step in table["steps"]:
            if "pickle_sha256" in step:
                raise ValueError(
                    f"step {step['name']!r} is a pickled function, not one with a name"
                )
    return table


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Without a table for the workload, under the names that people write."""
    workload = {name: value for name, value in fields.pop("workload").items() if name != "kind"}
    flat = {IN_FILE.get(name, name): value for name, value in {**fields, **workload}.items()}
    if isinstance(flat.get("retry"), dict):
        flat["retry"] = {IN_FILE.get(name, name): each for name, each in flat["retry"].items()}
    if isinstance(flat.get("umask"), int):
        flat["umask"] = f"{flat['umask']:03o}"
    return flat
