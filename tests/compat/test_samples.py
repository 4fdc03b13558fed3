"""Messages and files of every protocol version so far: each must be understood for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from intendant.protocol.messages import Message, encode
from intendant.protocol.records import ExitRecord
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.schemas import kinds
from intendant.protocol.version import PROTOCOL_VERSION

SAMPLES = Path(__file__).parents[2] / "protocol" / "samples"
KINDS = kinds()
WITHOUT_KIND = {"exit_record", "run_file"}
OF_A_KIND = sorted(path for path in SAMPLES.glob("v*/*.json") if path.stem not in WITHOUT_KIND)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", OF_A_KIND, ids=name_of)
def test_a_sample_is_understood_and_nothing_of_it_is_lost(path: Path) -> None:
    sample = json.loads(path.read_bytes())

    parsed = KINDS[path.stem].validate_json(path.read_bytes())

    assert parsed.kind == path.stem
    if isinstance(parsed, Message):
        assert json.loads(encode(parsed)) == sample
    else:
        assert parsed.model_dump(mode="json") == sample


@pytest.mark.parametrize("path", OF_A_KIND, ids=name_of)
def test_a_sample_with_a_field_that_nobody_knows_is_refused(path: Path) -> None:
    sample = {**json.loads(path.read_bytes()), "surprise": 1}

    with pytest.raises(ValidationError, match="surprise"):
        KINDS[path.stem].validate_json(json.dumps(sample))


def test_every_kind_has_a_sample_of_the_current_version() -> None:
    folder = SAMPLES / f"v{PROTOCOL_VERSION}"

    assert {path.stem for path in folder.glob("*.json")} == set(KINDS) | WITHOUT_KIND


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("v*/exit_record.json")), ids=name_of)
def test_an_exit_record_is_understood(path: Path) -> None:
    record = ExitRecord.model_validate_json(path.read_bytes())

    assert record.model_dump(mode="json") == json.loads(path.read_bytes())


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("v*/run_file.json")), ids=name_of)
def test_a_run_file_is_understood(path: Path) -> None:
    build, tests = parse_run_file(json.loads(path.read_bytes()), source=path.name)

    assert (build.timeout_s, build.workload.umask, build.retry.backoff_max_s) == (3600, 0o22, 120)
    assert tests.after == [build.name]
