"""JSON Schemas of all that travels or lies on disk, made from the models.

`python -m intendant.protocol.schemas`, run at the root of the repository, writes them to
`protocol/schemas` and draws the state diagrams of two documents anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from intendant.protocol import messages
from intendant.protocol.diagrams import with_diagrams
from intendant.protocol.records import (
    AttemptRecord,
    ClaimRecord,
    DaemonRecord,
    EventRecord,
    ExitRecord,
    QueueRecord,
    RunRecord,
    TombstoneRecord,
)
from intendant.protocol.runfile import RunFile, RunTable
from intendant.protocol.specs import RunSpec

Schema = dict[str, Any]

WITH_DIAGRAMS = ("ARCHITECTURE.md", "protocol/states.md")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

RECORDS: dict[str, TypeAdapter[Any]] = {
    "attempt_record": TypeAdapter(AttemptRecord),
    "claim": TypeAdapter(Annotated[ClaimRecord | TombstoneRecord, Field(discriminator="kind")]),
    "daemon_record": TypeAdapter(DaemonRecord),
    "event_record": TypeAdapter(EventRecord),
    "exit_record": TypeAdapter(ExitRecord),
    "queue_record": TypeAdapter(QueueRecord),
    "run_file": TypeAdapter(RunFile | RunTable),
    "run_record": TypeAdapter(RunRecord),
    "run_spec": TypeAdapter(RunSpec),
}


def unions() -> dict[str, TypeAdapter[Any]]:
    """The unions of messages, one for each direction, by name."""
    return {
        name.lower(): value
        for name, value in vars(messages).items()
        if isinstance(value, TypeAdapter) and not name.startswith("_")
    }


def kinds() -> dict[str, TypeAdapter[Any]]:
    """Every kind of message, and of what lies in a claim file, with what parses it."""
    discriminated = {**unions(), "claim": RECORDS["claim"]}
    return {
        kind: adapter
        for name, adapter in discriminated.items()
        for kind in schemas()[name]["discriminator"]["mapping"]
    }


@cache
def schemas() -> Mapping[str, Schema]:
    """Every schema, by the name of its file; made once, so leave them as they are."""
    adapters = {**unions(), **RECORDS}
    return {name: _schema(name, adapter) for name, adapter in sorted(adapters.items())}


def as_file(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(root: Path) -> None:
    """Put the schemas and the diagrams of the repository at `root` in step with the models."""
    folder = root / "protocol" / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    current = {folder / f"{name}.json": as_file(schema) for name, schema in schemas().items()}
    for path in set(folder.glob("*.json")) - current.keys():
        path.unlink()
    for path, text in current.items():
        path.write_text(text, encoding="utf-8")
    for document in (root / name for name in WITH_DIAGRAMS):
        if document.exists():
            text = document.read_text(encoding="utf-8")
            document.write_text(with_diagrams(text), encoding="utf-8")


def _schema(name: str, adapter: TypeAdapter[Any]) -> Schema:
    schema = {"$schema": DIALECT, "title": name, **adapter.json_schema()}
    for member in schema.get("discriminator", {}).get("mapping", {}).values():
        _require_kind(schema["$defs"][member.removeprefix("#/$defs/")])
    return schema


def _require_kind(definition: Schema) -> None:
    """The models give `kind` a default for whoever makes a message; on the wire it must stand."""
    definition["required"] = ["kind", *(definition.get("required", []))]


if __name__ == "__main__":
    here = Path.cwd()
    if not (here / "protocol").is_dir():
        sys.exit("there is no folder `protocol` here: run this at the root of the repository")
    write(here)
