"""The page about a pipeline: complete, and whatever it is about, harmless."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest

from intendant.cli.pages.html import log_links
from intendant.cli.pages.pipeline_page import pipeline_page
from intendant.cli.pages.sankey import sankey_figure
from intendant.cli.pages.timeline import Span, timeline
from intendant.client.shapes import RunDetails, StepInfo
from intendant.protocol.pipelines import PipelineSpec

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


def a_spec(names: dict[str, list[str]]) -> dict[str, Any]:
    steps = [
        {"name": name, "after": after, "workload": {"kind": "command", "argv": ["true"]}}
        for name, after in names.items()
    ]
    return {"kind": "pipeline", "steps": steps}


def details(names: dict[str, list[str]], name: str = "census") -> RunDetails:
    run = {
        "id": 17, "name": name, "kind": "pipeline", "state": "ended", "outcome": "failed",
        "reason": HOSTILE, "exit_code": 1, "signal": None, "attempt": 1,
        "started_at": "2026-03-14T08:00:00Z", "finished_at": "2026-03-14T08:01:00Z",
        "spec": {"workload": a_spec(names)},
    }  # fmt: skip
    return cast(RunDetails, {"run": run, "attempts": [], "folder": "/spool/17 <x>"})


def ended(name: str, outcome: str, **fields: Any) -> StepInfo:
    return cast(
        StepInfo,
        {
            "name": name,
            "state": "ended",
            "outcome": outcome,
            "attempt": 1,
            "started_at": "2026-03-14T08:00:00Z",
            "finished_at": "2026-03-14T08:00:30Z",
            "folder": f"steps/{name}/1",
            **fields,
        },
    )


STEPS = [
    ended("collect", "succeeded", report={"parameters": {"top": "x" * 100, "evil": HOSTILE}}),
    ended("parse", "failed", reason=HOSTILE),
    cast(StepInfo, {"name": "merge", "state": "pending"}),
]
GRAPH = {"collect": [], "parse": ["collect"], "merge": ["parse"]}


class Tags(HTMLParser):
    """Every tag of a page, and what its attributes refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links |= {str(text) for name, text in attrs if name in ("href", "src", "data")}


def a_page(name: str = "census", *, with_sankey: bool = False) -> str:
    return pipeline_page(details(GRAPH, name), STEPS, with_sankey=with_sankey, now=NOW)


def test_c26_the_table_cuts_values_at_24_characters() -> None:
    text = a_page()
    assert f"top={'x' * 24}…" in text
    assert "x" * 25 not in text


def test_c26_the_table_has_what_a_step_was_given_and_the_run_that_carried_it_out() -> None:
    work = {"kind": "call", "target": "lab:f", "args": {"files": "${a.outputs}"}}
    steps = [
        {"name": "a", "workload": {"kind": "command", "argv": ["true"]}, "parameters": {"x": 1}},
        {"name": "b", "workload": work, "parameters": {"y": "${a.id}"}},
    ]
    found = details({})
    found["run"]["spec"] = {"workload": {"kind": "pipeline", "steps": steps}}
    infos = [
        ended("a", "succeeded", run_id=21, report={"parameters": {"x": 5}}),
        cast(StepInfo, {"name": "b", "state": "pending"}),
    ]
    text = pipeline_page(found, infos, with_sankey=False, now=NOW)
    assert "<th>Step</th><th>Run</th>" in text
    assert '<td class="short">a</td><td class="short">21</td>' in text
    assert ">x=5<" in text
    assert "files=${a.outputs}, y=${a.id}" in text
    assert "<th>Run</th>" not in a_page()


def test_a_page_which_is_handed_on_has_no_secret_argument() -> None:
    work = {
        "kind": "call", "target": "lab:f", "args": {"user": "ann", "token": "t0ps"},
        "secret_args": ["token", "pin"],
    }  # fmt: skip
    found = details({})
    steps = [{"name": "a", "workload": work, "parameters": {"pin": "4711"}}]
    found["run"]["spec"] = {"workload": {"kind": "pipeline", "steps": steps}}
    for parameters in ({}, {"pin": "4712"}):
        infos = [ended("a", "succeeded", report={"parameters": parameters})]
        text = pipeline_page(found, infos, with_sankey=False, now=NOW)
        assert ">user=ann, token=***, pin=***<" in text
        assert not re.search("t0ps|471[12]", text)


def test_the_page_has_graph_timeline_table_and_links_to_logs() -> None:
    text = a_page()
    assert text.count("<svg") == 2
    assert "collect: succeeded, 30" in text
    assert "file:///spool/17%20%3Cx%3E/steps/collect/1/stdout.log" in Tags(text).links
    assert "3 steps: 1 succeeded, 1 failed, 1 pending" in text


def test_text_is_data_whatever_it_looks_like() -> None:
    found = Tags(a_page(HOSTILE))
    assert "img" not in found.names
    assert "script" not in found.names


def test_a_browser_fetches_nothing_for_the_page() -> None:
    text = a_page()
    assert all(link.startswith("file://") for link in Tags(text).links)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_c26_the_sankey_picture_is_in_the_page_and_its_data_can_not_end_the_script() -> None:
    text = a_page(HOSTILE, with_sankey=True)
    data = text[text.rindex("<script>") :]
    assert "Plotly.newPlot" in data
    assert data.count("</script>") == 1


def test_c26_sankey_has_a_colour_for_each_status_and_single_steps_as_dots() -> None:
    pipeline = PipelineSpec.model_validate(a_spec({**GRAPH, "alone": []}))
    standings = {"collect": "succeeded", "parse": "failed", "alone": "running"}
    figure = sankey_figure(pipeline, standings, STEPS)
    flow, dots = figure["data"]
    assert flow["domain"]["y"][0] == figure["layout"]["yaxis"]["domain"][1], "one above the other"
    assert flow["node"]["label"] == ["collect", "parse", "merge"]
    assert flow["node"]["color"] == ["#4169e1", "#c0392b", "#b0c4de"]
    assert list(zip(flow["link"]["source"], flow["link"]["target"], strict=True)) == [
        (0, 1),
        (1, 2),
    ]
    assert (dots["text"], dots["marker"]["color"]) == (["alone"], ["#2e8b57"])


def test_c26_sankey_has_room_for_every_label() -> None:
    names = [f"{number:03}-{'x' * 40}" for number in range(500)]

    def drawn(after: dict[str, list[str]]) -> dict[str, Any]:
        return sankey_figure(PipelineSpec.model_validate(a_spec(after)), {}, [])

    chain = drawn({name: names[max(number - 1, 0) : number] for number, name in enumerate(names)})
    assert {len(label) for label in chain["data"][0]["node"]["label"]} == {25}, "cut, as values are"
    assert chain["layout"]["width"] > 500 * 25 * 7, "it is scrolled"
    fan = drawn({name: names[:1] if number else [] for number, name in enumerate(names)})
    assert "width" not in fan["layout"]
    assert fan["layout"]["height"] > 499 * 14
    [dots] = drawn({name: [] for name in names})["data"]
    few = drawn({"a": [], "b": ["a"], "c" * 40: ["b"], "d": ["c" * 40]})
    assert "width" not in few["layout"], "one long name does not make every column as wide"
    assert len(set(zip(dots["x"], dots["y"], strict=True))) == 500
    assert max(dots["x"]) < 8


def test_a_log_that_was_never_written_is_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "steps/a/1"
    folder.mkdir(parents=True)
    (folder / "stdout.log").touch()
    assert log_links(folder, tmp_path) == f'<a href="{(folder / "stdout.log").as_uri()}">stdout</a>'


@pytest.mark.parametrize("count", [2001, 1])
def test_a_graph_that_nobody_could_read_is_not_drawn(count: int) -> None:
    names: dict[str, list[str]] = {f"s{number}": [] for number in range(count)}
    text = pipeline_page(details(names), [], with_sankey=True, now=NOW)
    assert ("too many to be drawn" in text) == (count > 2000)
    assert ("Plotly" in text) == (count == 1)


@pytest.mark.parametrize(
    ("total_s", "expected"),
    [
        (0.001, ["0ms", "0.2ms", "0.4ms", "0.6ms", "0.8ms", "1ms"]),
        (1.03, ["0s", "0.2s", "0.4s", "0.6s", "0.8s", "1s"]),
        (250, ["0s", "1m00s", "2m00s", "3m00s", "4m00s"]),
        (86400 * 30, ["0s", "5d00h", "10d00h", "15d00h", "20d00h", "25d00h", "30d00h"]),
    ],
)
def test_the_marks_of_a_timeline_are_round_times(total_s: float, expected: list[str]) -> None:
    end = NOW + timedelta(seconds=total_s)
    text = timeline([Span("a", "succeeded", "#000000", NOW, end)])
    assert re.findall(r'text-anchor="middle"[^>]*>([^<]*)<', text) == expected
