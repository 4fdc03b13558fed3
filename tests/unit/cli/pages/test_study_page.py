"""The page about a study: complete, true, and whatever it is about, harmless."""

from __future__ import annotations

import math
import random
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from intendant.cli.pages.importances import MIN_TRIALS, importances
from intendant.cli.pages.scales import Numbers, Places, scale_of
from intendant.cli.pages.study_charts import Point, parallel_coordinates
from intendant.cli.pages.study_page import study_page
from intendant.cli.pages.timeline import Span, timeline
from intendant.client.shapes import RunDetails, TrialInfo, TrialPage
from intendant.protocol.space import Parameter

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"
SPACE = {
    "rate": {"type": "loguniform", "low": 1e-5, "high": 0.1},
    "kind": {"type": "choice", "values": ["plain", HOSTILE]},
    "momentum": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": HOSTILE}},
}


def details(name: str = "digits") -> RunDetails:
    workload = {"kind": "study", "target": "a:b", "metric": "loss", "trials": 9, "space": SPACE}
    run = {
        "id": 17, "name": name, "kind": "study", "state": "running", "outcome": None,
        "reason": None, "exit_code": None, "signal": None, "attempt": 1,
        "started_at": "2026-03-14T08:00:00Z", "finished_at": None, "spec": {"workload": workload},
    }  # fmt: skip
    return cast(RunDetails, {"run": run, "attempts": [], "folder": "/spool/17"})


def trial(number: int, outcome: str | None = "completed", **fields: Any) -> TrialInfo:
    params: dict[str, object] = {"rate": 10.0 ** -(1 + number % 5), "kind": "plain"}
    if number % 2:
        params |= {"kind": HOSTILE, "momentum": number / 100}
    state = {"state": "running"} if outcome is None else {"state": "ended", "outcome": outcome}
    times = {
        "started_at": f"2026-03-14T08:{number % 60:02}:00Z",
        "finished_at": f"2026-03-14T08:{number % 60:02}:40Z",
    }
    said = {"number": number, "starts": 1, "params": params, "value": float(number % 7)}
    return cast(TrialInfo, {**said, **state, **times, **fields})


def a_page(*trials: TrialInfo, total: int | None = None, name: str = "digits") -> str:
    page = {
        "run_id": 17, "folder": "/spool/17 <x>", "metric": "loss", "mode": "min",
        "trials": list(trials), "counts": {"completed": len(trials)},
        "total": len(trials) if total is None else total,
    }  # fmt: skip
    best = sorted(trials, key=lambda each: each.get("value", math.inf))
    return study_page(details(name), cast(TrialPage, page), best, now=NOW)


class Tags(HTMLParser):
    """The tags of a page, and what its attributes refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links |= {str(text) for name, text in attrs if name in ("href", "src", "data")}


def test_the_page_has_history_coordinates_importances_timeline_and_a_table() -> None:
    text = a_page(*(trial(number) for number in range(20)))
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == [
        "History", "Parallel coordinates", "Importances", "Timeline", "Trials, the best first",
    ]  # fmt: skip
    assert text.count("<svg") == 4
    assert text.count("<circle") == 20
    assert "best: loss 0 in trial 0 (rate=0.1, kind=plain)" in text
    assert "file:///spool/17%20%3Cx%3E/trials/3/stdout.log" in Tags(text).links


def test_text_is_data_whatever_it_looks_like_and_nothing_is_fetched() -> None:
    found = Tags(text := a_page(trial(1, reason=HOSTILE), trial(2), name=HOSTILE))
    assert not {"img", "script"} & found.names
    assert all(link.startswith("file://") for link in found.links)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [trial(0, "failed", value=None)],
        [trial(0, None, value=None, started_at=None)],
        [trial(0), trial(1, value=0.0)],
        [trial(0, params={"rate": 0.002}), trial(1, params={"rate": 0.003})],
        [trial(0, value=1e300), trial(1, value=-1e300), trial(2, value=5e-324)],
        [trial(0, value=math.nan), trial(1, value=math.inf)],
        [trial(0, params={"kind": [1, {"a": None}]}), trial(1, params={"rate": 10**400})],
        [trial(0, params={}), trial(1, params={})],
    ],
    ids=[
        "none",
        "no value",
        "not started",
        "the same",
        "one decade",
        "far apart",
        "endless",
        "odd",
        "no space",
    ],
)
def test_any_study_has_a_page(trials: list[TrialInfo]) -> None:
    text = a_page(*trials)
    assert text.endswith("</html>\n")
    assert not re.search(r'="[^"]*\b(nan|inf)\b', text)


def test_the_page_says_what_it_leaves_out() -> None:
    text = a_page(trial(0), trial(1), total=9000)
    assert "9000 trials" in text
    assert "shown are the first 2" in text
    assert "and 8998 more" in text


def test_a_parameter_that_a_trial_has_not_got_is_drawn_below_its_axis() -> None:
    assert ">absent</text>" in a_page(*(trial(number) for number in range(6)))
    assert ">absent</text>" not in a_page(*(trial(number) for number in (1, 3, 5)))


def test_the_parameter_that_decides_is_the_most_important_one() -> None:
    dice = random.Random(1)
    params: list[dict[str, object]] = []
    for number in range(200):
        params.append({"rate": dice.uniform(-5, 0), "layers": dice.randint(1, 4), "seed": number})
        if dice.random() < 0.5:
            params[-1]["extra"] = 1
    values = [
        (float(str(each["rate"])) + 2) ** 2 + 0.5 * ("extra" in each) + dice.gauss(0, 0.1)
        for each in params
    ]
    found = importances(params, values)
    assert list(found)[:2] == ["rate", "extra"]
    assert found["rate"] > 0.8
    assert found["layers"] < 0.05
    assert found["seed"] < 0.1


def test_a_few_trials_say_nothing_about_importances_and_a_constant_has_none() -> None:
    assert importances([{"a": at} for at in range(MIN_TRIALS - 1)], [1.0] * (MIN_TRIALS - 1)) == {}
    assert importances([{"a": 1}] * MIN_TRIALS, [float(at) for at in range(MIN_TRIALS)]) == {}


def test_numbers_to_choose_from_have_places_at_equal_distances() -> None:
    space = TypeAdapter(dict[str, Parameter]).validate_python(
        {"size": {"type": "choice", "values": [16, 32, 128]}}
    )
    points = [Point(at, "completed", at, {"size": size}) for at, size in enumerate((16, 32, 128))]
    text = parallel_coordinates(points, space, metric="loss", mode="min")
    heights = [float(y) for y in re.findall(r'points="[\d.]+,([\d.]+)', text)]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_numbers_far_apart_are_drawn_by_their_logarithm() -> None:
    scale = scale_of([1, 10, 10_000])
    assert isinstance(scale, Numbers)
    assert scale.at(100) == pytest.approx(0.5)
    assert [text for _, text in scale.ticks()] == ["1", "10", "100", "1000", "1e+04"]
    assert scale_of([0, 10_000]).at(100) == pytest.approx(0.01)


def test_what_is_no_number_has_a_place_of_its_own() -> None:
    scale = scale_of(["b", "a", None])
    assert isinstance(scale, Places)
    assert [text for _, text in scale.ticks()] == ["a", "b", "null"]
    assert scale.at("a") == pytest.approx(1 / 6)
    assert scale.at("c") is None


def test_trials_that_are_many_share_the_rows_of_the_timeline() -> None:
    spans = [
        Span(f"trial {at}", "completed", "#000", NOW + timedelta(seconds=at),
             NOW + timedelta(seconds=at + 2))
        for at in range(100)
    ]  # fmt: skip
    rows = set(re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', timeline(spans, height=500)))
    assert len(rows) == 2
    assert len(set(re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', timeline(spans)))) == 100


def test_of_several_metrics_the_page_shows_what_one_costs_of_the_other() -> None:
    trials = [trial(at, value=float(at), further={"size": float(at % 7)}) for at in range(20)]
    page = {
        "run_id": 17, "folder": "/spool/17", "metric": "loss", "mode": "min",
        "further_metrics": {"size": "max"}, "trials": trials, "counts": {}, "total": 20,
    }  # fmt: skip
    text = study_page(details(), cast(TrialPage, page), trials, now=NOW)
    assert "no other one beats 7 trials: 0, 1, 2, 3, 4, 5, 6<" in text
    many = [trial(at, value=float(at), further={"size": float(at)}) for at in range(30)]
    more = study_page(details(), cast(TrialPage, {**page, "trials": many}), many, now=NOW)
    assert re.search(r"beats 30 trials: 0, [\d, ]*19 and 10 more<", more)
    assert re.findall("<h2>(.*?)</h2>", text)[:2] == ["loss and size", "History"]
    assert text.count('r="5"') == 7
    assert "<th>loss</th><th>size</th>" in text
