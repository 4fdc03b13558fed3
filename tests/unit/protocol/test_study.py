"""What a study may be asked to be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from intendant.protocol.placeholders import filled
from intendant.protocol.study import MAX_TRIALS, StudySpec, parse_condition


def study(**fields: Any) -> StudySpec:
    given: dict[str, Any] = {
        "kind": "study",
        "target": "some.module:objective",
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "metric": "loss",
        "trials": 10,
    }
    return StudySpec.model_validate({**given, **fields})


def integers(count: int) -> dict[str, Any]:
    return {f"p{at}": {"type": "integer", "low": 1, "high": 1000} for at in range(count)}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"target": None}, "either a target or an argv"),
        ({"argv": ["train"]}, "either a target or an argv"),
        ({"space": {"x": {"type": "uniform", "low": 1, "high": 0}}}, "low = 1 above high = 0"),
        ({"space": {"x": {"type": "uniform", "low": float("nan"), "high": 0}}}, "finite"),
        ({"space": {"x": {"type": "uniform", "low": 0, "high": float("inf")}}}, "finite"),
        ({"space": {"x": {"type": "uniform", "low": -1e308, "high": 1e308}}}, "wider"),
        ({"space": {"x": {"type": "uniform", "low": 0, "high": 1, "step": 0}}}, "greater than 0"),
        ({"space": {"x": {"type": "loguniform", "low": 0, "high": 1}}}, "greater than 0"),
        ({"space": {"x": {"type": "integer", "low": 0, "high": 5, "log": True}}}, "above 0"),
        ({"space": {"x": {"type": "choice", "values": []}}}, "at least 1"),
        ({"space": {"x": {"type": "choice", "values": [1, 1]}}}, "twice"),
        ({"space": {"x": {"type": "choice", "values": [float("nan")]}}}, "not finite"),
        ({"space": {"x": {"type": "normal"}}}, "uniform"),
        ({"space": {"x": {"type": "fixed", "value": 1, "when": {"y": 1}}}}, "'y' is no parameter"),
        ({"trials": None}, "would never end"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"metric": "step"}, "reports have this word"),
        ({"further_metrics": {"loss": "max"}}, "loss is the metric already"),
        ({"further_metrics": {"step": "max"}}, "reports have this word"),
        ({"further_metrics": {"size": "low"}}, "'min' or 'max'"),
        ({"further_metrics": {f"m{at}": "min" for at in range(10)}}, "at most 9"),
        (
            {"further_metrics": {"size": "min"}, "search": {"method": "cmaes"}},
            "the search cmaes knows one metric, found 2",
        ),
        (
            {"further_metrics": {"size": "min"}, "scheduler": {"method": "asha"}},
            "the scheduler asha compares trials by one metric, found 2",
        ),
        (
            {"further_metrics": {"size": "min"}, "scheduler": {"method": "pbt"}},
            "the scheduler pbt compares trials by one metric",
        ),
        ({"stop": ["loss is small"]}, "a condition such as"),
        ({"stop": ["loss <= nan"]}, "a condition such as"),
        ({"resources": {"gpu": 1}}, "of which available says nothing"),
        ({"resources": {"gpu": 2}, "available": {"gpu": 1}}, "none could ever start"),
        ({"search": {"method": "custom"}}, "needs it"),
        ({"search": {"method": "random", "options": {"a": 1}}}, "takes no options"),
        ({"scheduler": {"method": "fifo", "options": {"a": 1}}}, "takes no options"),
        ({"search": {"method": "grid"}}, "real number"),
        ({"space": {"x": {"type": "grid", "values": [1]}}}, "does not walk"),
        ({"checkpoints": {"keep": 1, "by": "loss"}}, "go together"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        study(**fields)


def test_a_grid_of_a_million_million_points_needs_a_bound() -> None:
    huge = integers(4)
    with pytest.raises(ValidationError, match="up to 1000000000000 points"):
        study(space=huge, search={"method": "grid"}, trials=None)
    assert study(space=huge, search={"method": "grid"}, trials=MAX_TRIALS).trials == MAX_TRIALS
    study(space=huge, search={"method": "grid"}, trials=None, time_limit_s=60)


def test_parameters_that_wait_for_each_other_are_named() -> None:
    space = {
        "a": {"type": "choice", "values": [1, 2], "when": {"b": 1}},
        "b": {"type": "choice", "values": [1, 2], "when": {"a": 1}},
    }
    with pytest.raises(ValidationError, match=r"in a circle: .*a.* → .*b"):
        study(space=space)


def test_a_condition_that_is_never_met_is_refused() -> None:
    space = {
        "kind": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": "SGD"}},
    }
    with pytest.raises(ValidationError, match="'kind' is never 'SGD'"):
        study(space=space)


def test_placeholders_are_filled_and_an_argument_without_its_parameter_is_left_out() -> None:
    argv = ["train", "--lr=${lr}", "--momentum=${momentum}", "$$HOME", "${layers}"]
    assert filled(argv, {"lr": 0.1, "layers": [3, 4]}) == ["train", "--lr=0.1", "$HOME", "[3,4]"]


def test_a_placeholder_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"\$\{y\} in argv is no parameter"):
        study(target=None, argv=["train", "${y}"])


def test_a_command_has_its_own_process_always() -> None:
    with pytest.raises(ValidationError, match="reuse is for functions"):
        study(target=None, argv=["train", "${x}"], reuse=True)


def test_a_condition_is_metric_comparison_and_bound() -> None:
    assert parse_condition("valid/accuracy>=.9") == ("valid/accuracy", ">=", 0.9)
