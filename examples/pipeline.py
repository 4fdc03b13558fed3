"""A census of the Python standard library as a pipeline: collect, parse packages, merge, report.

    python examples/pipeline.py                 each step a process of its own
    python examples/pipeline.py inline          all steps in one process, one after another
    python examples/pipeline.py runs            each step a run of its own, in the daemon's queue

The functions are those of examples/pipeline.toml, which says the same without Python.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from pathlib import Path

from intendant import Pipeline, step

PACKAGES = ("asyncio", "concurrent", "ctypes", "email", "http", "importlib", "json", "logging",
            "multiprocessing", "unittest", "urllib", "xml")  # fmt: skip


@step
def collect(packages: list[str]) -> dict[str, list[str]]:
    """The source files of each package."""
    library = Path(sysconfig.get_paths()["stdlib"])
    return {name: sorted(map(str, (library / name).rglob("*.py"))) for name in packages}


@step(retry=1, timeout_s=120)
def parse(files: list[str]) -> dict[str, int]:
    """Files, lines, functions and classes of one package."""
    counts = {"files": len(files), "lines": 0, "functions": 0, "classes": 0}
    for name in files:
        source = Path(name).read_bytes()
        counts["lines"] += source.count(b"\n")
        for node in ast.walk(ast.parse(source)):
            counts["functions"] += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            counts["classes"] += isinstance(node, ast.ClassDef)
    return counts


@step
def merge(packages: list[str], counts: list[dict[str, int]]) -> dict[str, dict[str, int]]:
    """The packages with their counts, the largest first, and their sum."""
    found = sorted(zip(packages, counts, strict=True), key=lambda pair: -pair[1]["lines"])
    total = {key: sum(count[key] for count in counts) for key in counts[0]}
    return {**dict(found), "all": total}


@step
def report(census: dict[str, dict[str, int]]) -> None:
    """Print the table."""
    columns = ("files", "lines", "functions", "classes")
    print(f"{'PACKAGE':<16}" + "".join(f"{name.upper():>11}" for name in columns))
    for package, counts in census.items():
        print(f"{package:<16}" + "".join(f"{counts[name]:>11,}" for name in columns))


def make(execution: str) -> Pipeline:
    """The pipeline: a step's result is another's parameter, and so comes before it."""
    packages = list(PACKAGES)
    with Pipeline("census", execution=execution) as pipeline:
        files = collect(packages)
        counts = [parse.options(name=f"parse-{name}")(files[name]) for name in packages]
        report(merge(packages, counts))
    return pipeline


if __name__ == "__main__":
    results = make(sys.argv[1] if sys.argv[1:] else "processes").run()
    report(results["merge"])
