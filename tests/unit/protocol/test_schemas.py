from __future__ import annotations

from pathlib import Path

import pytest

from intendant.protocol.diagrams import diagrams, with_diagrams
from intendant.protocol.schemas import WITH_DIAGRAMS, as_file, schemas, unions, write

ROOT = Path(__file__).parents[3]
SCHEMAS = schemas()
REMEDY = "run `make schemas`"


def in_repository() -> dict[str, str]:
    folder = ROOT / "protocol" / "schemas"
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_in_the_repository_are_those_of_the_models(name: str) -> None:
    assert in_repository().get(name) == as_file(SCHEMAS[name]), REMEDY


def test_no_schema_in_the_repository_outlived_its_model() -> None:
    assert set(in_repository()) == set(SCHEMAS), REMEDY


@pytest.mark.parametrize("name", WITH_DIAGRAMS)
def test_the_diagrams_in_the_repository_are_those_of_the_tables(name: str) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")

    assert document == with_diagrams(document), REMEDY
    for name, diagram in diagrams().items():
        assert diagram in document, f"the markers of the diagram `{name}` are missing"


def test_every_union_and_every_record_has_a_schema() -> None:
    assert set(SCHEMAS) == {
        *("executor_request", "stream_request", "governor_request", "response"),
        *("run_spec", "run_record", "attempt_record", "event_record", "exit_record"),
        *("queue_record", "daemon_record", "claim", "run_file"),
    }


@pytest.mark.parametrize("name", [*unions(), "claim"])
def test_a_schema_of_a_union_demands_the_kind(name: str) -> None:
    schema = SCHEMAS[name]
    members = schema["discriminator"]["mapping"]

    for kind, reference in members.items():
        definition = schema["$defs"][reference.removeprefix("#/$defs/")]
        assert "kind" in definition["required"]
        assert definition["properties"]["kind"]["const"] == kind


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_takes_no_field_that_its_model_does_not_know(name: str) -> None:
    schema = SCHEMAS[name]

    objects = [part for part in (schema, *schema.get("$defs", {}).values()) if "properties" in part]

    assert objects
    assert all(part["additionalProperties"] is False for part in objects)


def test_writing_replaces_what_is_stale_and_removes_what_has_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "protocol" / "schemas"
    folder.mkdir(parents=True)
    (folder / "run_spec.json").write_text("{}")
    (folder / "gone.json").write_text("{}")
    (tmp_path / "ARCHITECTURE.md").write_text("<!-- states:run:begin --><!-- states:run:end -->")

    write(tmp_path)

    assert {path.stem for path in folder.iterdir()} == set(SCHEMAS)
    assert (folder / "run_spec.json").read_text(encoding="utf-8") == as_file(SCHEMAS["run_spec"])
    assert diagrams()["run"] in (tmp_path / "ARCHITECTURE.md").read_text(encoding="utf-8")
