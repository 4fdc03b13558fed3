"""What a pipeline leaves behind for people and for Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest
import yaml

from intendant import Pipeline, PipelineResults, step
from intendant.errors import RunFailed
from tests.helpers.daemon import Daemon


@step
def collect(top: int) -> list[int]:
    sys.stdout.write("collecting\n")
    return list(range(top))


@step
def add(numbers: list[int], start: int) -> int:
    if start < 0:
        raise ValueError("no negative start")
    return sum(numbers, start)


def census(start: int) -> Pipeline:
    with Pipeline("census", env={"VISIBLE": "1"}) as pipeline:
        add(collect(4), start)
    return pipeline


def carried_out(daemon: Daemon, pipeline: Pipeline) -> Path:
    with daemon.client() as client:
        run = client.submit(pipeline, secret_env={"HIDDEN": "s3cret"})
        if run.wait()["outcome"] == "succeeded":
            assert dict(cast(PipelineResults, run.result())) == {
                "collect": [0, 1, 2, 3],
                "add": 106,
            }
        else:
            with pytest.raises(RunFailed) as failed:
                run.result()
            assert dict(cast(PipelineResults, failed.value.results)) == {"collect": [0, 1, 2, 3]}
        return Path(client.show([run.id])["folder"])


def test_p12_p13_p14_a_run_leaves_its_record_logs_picture_and_results(daemon: Daemon) -> None:
    folder = carried_out(daemon, census(100))
    record: dict[str, Any] = yaml.safe_load((folder / "pipeline.yaml").read_text())
    assert record["outcome"] == "succeeded"
    assert record["environment"]["VISIBLE"] == "1"
    assert "HIDDEN" in record["other_variables"]
    assert "s3cret" not in (folder / "pipeline.yaml").read_text()
    assert record["versions"]["packages"]["apsw"]
    assert record["host"]["cpus"]
    collected, added = record["steps"]
    assert added["parents"] == ["collect"]
    assert added["report"]["parameters"] == {"numbers": [0, 1, 2, 3], "start": 100}
    assert len(collected["fingerprint"]) == 64
    assert "INFO  collect: collecting" in (folder / "pipeline.log").read_text()
    picture = (folder / "status.svg").read_text()
    assert "2 succeeded" in picture
    assert "pending" not in picture
    ElementTree.fromstring(picture)

    results = PipelineResults.load(folder, expect=census(100))
    assert dict(results) == {"collect": [0, 1, 2, 3], "add": 106}
    with pytest.raises(ValueError, match="steps of another pipeline: add"):
        PipelineResults.load(folder, expect=census(5))
    with pytest.raises(ValueError, match="no record of a pipeline"):
        PipelineResults.load(daemon.home)


def test_p12_an_exception_is_in_the_logs_with_its_traceback(daemon: Daemon) -> None:
    folder = carried_out(daemon, census(-1))
    exceptions = (folder / "exception.log").read_text()
    assert "Traceback" in exceptions
    assert "ValueError: no negative start" in exceptions
    assert "ERROR add: ValueError: no negative start" in (folder / "pipeline.log").read_text()
    assert dict(PipelineResults.load(folder)) == {"collect": [0, 1, 2, 3]}
    reports = [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]
    assert [(each["step"], each["attempt"], each["outcome"]) for each in reports] == [
        ("collect", 1, "succeeded"),
        ("add", 1, "failed"),
    ]
    assert reports[1]["reason"] == "exception: ValueError: no negative start"
    assert reports[1]["parameters"]["start"] == -1
    assert reports[0]["finished_at"] > reports[0]["started_at"]
    assert reports[0]["usage"]["max_rss_kib"] > 0
