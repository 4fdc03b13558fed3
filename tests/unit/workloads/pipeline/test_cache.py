"""Results that are kept: found again only while they are what they were."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from intendant.protocol.pipelines import StepSpec
from intendant.protocol.step_records import Artifact, StepReport
from intendant.protocol.step_states import StepOutcome
from intendant.workloads.pipeline.cache import Cache, CacheMiss, code_of, find_source
from intendant.workloads.pipeline.leavings import describe


def an_attempt(folder: Path, outputs: str = "5") -> StepReport:
    """What a step left in its folder, and its report about it."""
    folder.mkdir(parents=True)
    (folder / "outputs.json").write_text(outputs)
    (folder / "table.csv").write_text("a,b")
    inside = Artifact.model_validate(describe("inside", folder / "table.csv"))
    return StepReport(outcome=StepOutcome.SUCCEEDED, encoding="json", artifacts={"inside": inside})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with one entry, `k`."""
    cache = Cache(tmp_path / "cache")
    report = an_attempt(tmp_path / "17/steps/a/1")
    cache.keep("k", "a", tmp_path / "17/steps/a/1", report)
    return cache


def test_p10_what_was_kept_is_there_for_another_run(cache: Cache, tmp_path: Path) -> None:
    target = tmp_path / "18/steps/a/1"
    report = cache.find("k").take(target)
    assert (target / "outputs.json").read_text() == "5"
    assert report.artifacts["inside"].path == str(target / "table.csv")
    assert Path(report.artifacts["inside"].path).read_text() == "a,b"


def test_what_left_no_files_is_kept_and_taken_all_the_same(cache: Cache, tmp_path: Path) -> None:
    cache.keep("silent", "b", tmp_path / "17/steps/b/1", StepReport(outcome=StepOutcome.SUCCEEDED))
    report = cache.find("silent").take(tmp_path / "18/steps/b/1")
    assert report.outcome is StepOutcome.SUCCEEDED


def test_what_was_never_kept_is_a_miss(cache: Cache) -> None:
    with pytest.raises(CacheMiss, match="no cached result"):
        cache.find("other")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "files/outputs.json").write_text("6"),
        lambda folder: (folder / "files/outputs.json").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text('{"report": {"outcome": "x"}}'),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff\x00"),
    ],
)
def test_a_damaged_entry_is_a_miss_never_a_wrong_value(cache: Cache, damage: Any) -> None:
    damage(cache.folder / "k")
    with pytest.raises(CacheMiss, match="damaged"):
        cache.find("k")


def test_a_damaged_entry_is_replaced_by_the_next_result(cache: Cache, tmp_path: Path) -> None:
    (cache.folder / "k/manifest.json").write_text("{")
    cache.keep("k", "a", tmp_path / "17/steps/a/1", cache_report(tmp_path))
    assert cache.find("k").report.encoding == "json"


def cache_report(tmp_path: Path) -> StepReport:
    return an_attempt(tmp_path / "19/steps/a/1")


def test_an_artifact_that_lies_elsewhere_must_be_what_it_was(tmp_path: Path) -> None:
    outside = tmp_path / "model.bin"
    outside.write_bytes(b"1")
    folder = tmp_path / "1/steps/a/1"
    an_attempt(folder)
    artifact = Artifact.model_validate(describe("model", outside))
    cache = Cache(tmp_path / "cache")
    report = StepReport(outcome=StepOutcome.SUCCEEDED, artifacts={"model": artifact})
    cache.keep("k", "a", folder, report)
    cache.find("k")
    outside.write_bytes(b"2")
    with pytest.raises(CacheMiss, match="model"):
        cache.find("k")


def test_entries_go_by_age_and_then_by_size_the_least_recently_used_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    for name, age_s in (("old", 1000), ("older", 2000), ("new", 10)):
        folder = tmp_path / name
        cache.keep(name, "a", folder, an_attempt(folder, outputs="5" * 100_000))
        os.utime(cache.folder / name, (time.time() - age_s,) * 2)
    assert cache.prune(max_age_s=1500, max_bytes=10**9) == 1
    assert {each.name for each in cache.folder.iterdir()} == {"old", "new"}
    assert cache.prune(max_age_s=1500, max_bytes=150_000) == 1
    assert {each.name for each in cache.folder.iterdir()} == {"new"}


def test_p11_the_code_of_a_call_is_the_file_of_its_module_found_without_importing_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "package/steps.py").write_text("def f(): return 1")
    assert find_source("package.steps", [str(tmp_path)]) == tmp_path / "package/steps.py"
    spec = a_step({"kind": "call", "target": "package.steps:f"})
    before = code_of(spec, tmp_path, [])
    (tmp_path / "package/steps.py").write_text("def f(): return 2")
    assert code_of(spec, tmp_path, []) != before


def test_a_script_and_the_files_that_a_step_names_are_its_code(tmp_path: Path) -> None:
    (tmp_path / "crunch.sh").write_text("1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1")
    spec = a_step({"kind": "command", "argv": ["./crunch.sh"]}, cache_files=["data"])
    before = code_of(spec, tmp_path, [])
    assert list(before) == ["./crunch.sh", "data"]
    (tmp_path / "data/b.csv").write_text("2")
    assert code_of(spec, tmp_path, [])["data"] != before["data"]


def test_a_step_whose_code_is_not_found_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(CacheMiss, match="no module nowhere"):
        code_of(a_step({"kind": "call", "target": "nowhere:f"}), tmp_path, [])
    command = {"kind": "command", "argv": ["true"]}
    with pytest.raises(CacheMiss, match="can't be read"):
        code_of(a_step(command, cache_files=["gone"]), tmp_path, [])


def a_step(workload: dict[str, Any], **fields: Any) -> StepSpec:
    whole = {"name": "a", "workload": workload, "cache": True, **fields}
    return StepSpec.model_validate(json.loads(json.dumps(whole)))
