"""What a step's function says of itself, where it is no step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from intendant import this_step
from intendant.errors import InvalidRequest
from intendant.workloads.pipeline.leavings import Leavings


def test_outside_of_a_pipeline_what_is_named_is_forgotten() -> None:
    this_step.add_artifact("table", "table.csv")
    this_step.add_model(name="forest")
    assert (this_step.name(), this_step.folder()) == (None, None)


def test_what_is_said_is_of_the_step_that_is_carried_out(tmp_path: Path) -> None:
    leavings = Leavings()
    with this_step.being("train", lambda: tmp_path, leavings):
        assert (this_step.name(), this_step.folder()) == ("train", tmp_path)
        this_step.add_model(name="forest", url="file:///forest")
        with pytest.raises(this_step.StepSkipped, match="no rows"):
            this_step.skip("no rows")
    this_step.add_model(name="another")
    assert leavings.models == {"output": [{"name": "forest", "url": "file:///forest"}]}


@pytest.mark.parametrize("fields", [{"side": "both"}, {"name": 3}, {"url": b"x"}])
def test_what_is_no_model_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        this_step.add_model(**cast(Any, fields))


def test_an_artifact_needs_a_name() -> None:
    with pytest.raises(InvalidRequest, match="expected one for the artifact"):
        this_step.add_artifact("", "table.csv")
