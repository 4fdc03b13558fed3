"""The results as a table on the terminal and as a file for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.page import figure, page
from benchmarks.row import Result, Row

_LIST_HEADINGS = ("row", "unit", "aim", "peer")
HEADINGS = (
    "row", "unit", "ours", "min", "max", "peer", "ratio", "aim", "met", "peer is",
)  # fmt: skip
_AS_COMMIT = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
_MET = {True: "yes", False: "no", None: ""}


def table(results: Sequence[Result]) -> str:
    """A line for each result; figures to the right."""
    return _aligned([HEADINGS, *map(_cells, results)], to_the_right=range(2, 7))


def listing(rows: Sequence[Row]) -> str:
    """A line for each row there is."""
    told = [(row.name, row.unit, row.aim.text if row.aim else "", row.peer_name) for row in rows]
    return _aligned([_LIST_HEADINGS, *told])


def _aligned(lines: Sequence[Sequence[str]], *, to_the_right: Collection[int] = ()) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in to_the_right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(result: Result) -> tuple[str, ...]:
    figures = (result.ours, result.min, result.max, result.peer, result.ratio)
    return (
        result.name, result.unit, *map(_figure, figures),
        result.aim or "", _MET[result.aim_met], result.peer_name,
    )  # fmt: skip


def _figure(value: float | None) -> str:
    return "-" if value is None else figure(value)


def write(path: Path, results: Sequence[Result]) -> None:
    """The results as JSON, and as a page beside it.

    Rows of an earlier run stay if they are of this machine and commit.
    """
    origin: dict[str, Any] = {"machine": machine(), "commit": commit()}
    rows = {row["name"]: row for row in _earlier(path, origin)}
    rows |= {result.name: _rounded(asdict(result)) for result in results}
    found = {**origin, "rows": list(rows.values())}
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(page(found), encoding="utf-8")


def _earlier(path: Path, origin: dict[str, Any]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = found.pop("rows")
    return rows if found == origin else []


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()
    }


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str | None:
    """The commit that was measured, marked where files differ from it; `None` outside git."""
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "--no-optional-locks", "describe", *_AS_COMMIT],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None
