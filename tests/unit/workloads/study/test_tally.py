from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from intendant.protocol.study import Mode
from intendant.workloads.results import to_json
from intendant.workloads.study import tally as module
from intendant.workloads.study.keeping import found_as_json
from intendant.workloads.study.tally import MAX_FRONT_BYTES, Best, Tally
from intendant.workloads.study.trials import Metric, Params, Result


def ended(number: int, value: float, *, is_complete: bool = True) -> Best:
    return Best(number, {}, (value,), Result(1, 1, {}, 0.0), None, is_complete)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_equal_trials_the_first_is_the_best_whichever_ended_first(mode: Mode) -> None:
    tally = Tally({"loss": mode})
    for number in (2, 0, 1):
        tally.consider(ended(number, 0.5))
    tally.consider(ended(3, 0.1 if mode == "min" else 0.9, is_complete=False))
    assert tally.best is not None
    assert tally.best.number == 0


def test_with_several_metrics_those_are_kept_that_no_other_one_beats() -> None:
    tally = Tally({"loss": "min", "size": "max"})
    for number, values in enumerate([(2.0, 2.0), (1.0, 1.0), (2.0, 1.0), (3.0, 9.0), (1.0, 1.0)]):
        tally.consider(several(number, values))
    assert [each.number for each in tally.front] == [1, 4, 0, 3]
    tally.consider(several(5, (0.0, 3.0)))
    assert [each.number for each in tally.front] == [5, 3]
    assert tally.best is None
    assert tally.has_result


def test_what_is_complete_beats_whatever_was_cut_short() -> None:
    tally = Tally({"loss": "min", "size": "min"})
    tally.consider(several(0, (0.0, 0.0), is_complete=False))
    tally.consider(several(1, (9.0, 9.0)))
    tally.consider(several(2, (1.0, 1.0), is_complete=False))
    assert [each.number for each in tally.front] == [1]


def test_a_front_has_an_end_and_what_beats_it_comes_in_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_FRONT", 20)
    tally = Tally({"loss": "min", "size": "min"})
    for number in range(30):
        tally.consider(several(number, (float(number), float(-number))))
    assert len(tally.front) == 20
    tally.consider(several(9999, (-1.0, -5000.0)))
    assert [each.number for each in tally.front] == [9999]


def several(number: int, values: tuple[float, ...], *, is_complete: bool = True) -> Best:
    return Best(number, {}, values, Result(1, 1, {}, 0.0), None, is_complete)


def test_of_a_trial_on_the_front_the_studys_metrics_are_kept_and_what_fits_beside_them() -> None:
    tally = Tally({"loss": "min", "size": "min"})
    before: dict[str, Metric] = {f"m{at}": "x" * 1000 for at in range(20)}
    metrics = {**before, "page": "x" * 60_000, "loss": 0.5, "size": 1.0, "note": "short"}
    for number in range(2):
        result = Result(1, 1, metrics, 0.0)
        tally.consider(Best(number, {}, (number, -number), result, None, is_complete=True))
    for best in tally.front:
        assert {"loss", "size", "note"} < set(best.result.metrics)
        assert "page" not in best.result.metrics
        assert len(to_json(dict(best.result.metrics))) < MAX_FRONT_BYTES + 1000
        assert best.left_out == len(metrics) - len(best.result.metrics) > 0


def test_of_a_trial_on_the_front_those_parameters_are_kept_that_fit() -> None:
    tally = Tally({"loss": "min", "size": "min"})
    params: Params = {"rate": 0.1, "prompt": "x" * 60_000, "layers": 3}
    tally.consider(Best(0, params, (1.0, 1.0), Result(1, 1, {}, 0.0), None, is_complete=True))
    [best] = tally.front
    assert (best.params, best.params_left_out) == ({"rate": 0.1, "layers": 3}, 1)
    [told] = cast("list[dict[str, object]]", found_as_json(tally, Path("run"))["front"])
    assert (told["params_left_out"], "metrics_left_out" in told) == (1, False)


def test_a_trial_that_is_beaten_at_once_has_none_of_its_metrics_measured() -> None:
    tally = Tally({"loss": "min", "size": "min"})
    tally.consider(several(0, (0.0, 0.0)))
    result = Result(1, 1, {"x": object()}, 0.0)  # type: ignore[dict-item]  # nothing for JSON
    tally.consider(Best(1, {}, (1.0, 1.0), result, None, is_complete=True))
    assert [each.number for each in tally.front] == [0]


def test_the_best_trial_keeps_all_of_its_metrics() -> None:
    tally = Tally({"loss": "min"})
    result = Result(1, 1, {"loss": 0.5, "page": "x" * 60_000}, 0.0)
    tally.consider(Best(0, {}, (0.5,), result, None, is_complete=True))
    assert tally.best is not None
    assert (tally.best.result, tally.best.left_out) == (result, 0)
