"""The page that `make bench` writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

from benchmarks.page import page

MEASURED: dict[str, Any] = {
    "name": "hops", "unit": "µs", "ours": 30.0, "peer": 60.0, "peer_name": "<others> & co",
    "ratio": 0.5, "min": 20.0, "max": 40.0, "peer_min": 50.0, "peer_max": 80.0, "repeats": 5,
    "aim": "≤ 1 x peer", "aim_met": True,
}  # fmt: skip
MISSING = dict.fromkeys(("ours", "peer", "ratio", "min", "max", "peer_min", "peer_max", "aim_met"))


def found(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"machine": {"cpus": 2}, "commit": "abc", "rows": rows}


def plots(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]


def test_a_row_has_a_bar_for_ours_and_one_for_the_peer_on_one_scale() -> None:
    [plot] = plots(page(found(MEASURED)))
    ours, peer = (float(bar.attrib["width"]) for bar in plot.findall("rect"))
    assert 2 * ours == peer


def test_a_row_that_was_not_measured_has_no_plot_and_no_figure() -> None:
    text = page(found(MEASURED | MISSING | {"peer_name": "others; not measured: no compiler"}))
    assert plots(text) == []
    assert "not measured: no compiler" in text


def test_a_peer_that_is_not_there_has_no_bar() -> None:
    alone = {"peer": None, "peer_min": None, "peer_max": None, "ratio": None, "aim_met": None}
    [plot] = plots(page(found(MEASURED | alone)))
    assert [bar.attrib["class"] for bar in plot.findall("rect")] == ["ours"]


def test_the_page_fetches_nothing_and_says_names_as_they_are() -> None:
    fetching: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            fetching.extend(name for name, _ in attrs if name in {"src", "href"})

    text = page(found(MEASURED))
    Reader().feed(text)
    assert fetching == []
    assert "url(" not in text
    assert "&lt;others&gt; &amp; co" in text
