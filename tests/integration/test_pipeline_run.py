"""`Pipeline.run()`: a pipeline written in Python, carried out under a private daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant import Pipeline, step
from intendant.errors import RunFailed


@step
def double(number: int) -> int:
    return 2 * number


@step
def refuse(number: int) -> int:
    raise ValueError(f"{number} is not wanted")


def test_run_gives_what_the_steps_returned(tmp_path: Path) -> None:
    with Pipeline("doubling", processes=1) as pipeline:
        double.options(name="second")(double.options(name="first")(3))
    results = pipeline.run(state_dir=tmp_path)
    assert (results["first"], results["second"]) == (6, 12)


def test_run_raises_where_a_step_failed(tmp_path: Path) -> None:
    with Pipeline("refusing", processes=1) as pipeline:
        refuse(3)
    with pytest.raises(RunFailed):
        pipeline.run(state_dir=tmp_path)
