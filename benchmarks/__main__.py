"""`python -m benchmarks [ROW...]`: measure, print a table, write `benchmarks/results.json`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.row import Result, Row, measure
from benchmarks.rows import ROWS

RESULTS = Path(__file__).with_name("results.json")
SCRATCH = "/var/tmp"
"""On a disk, as the state of a daemon is; the temporary folder may be memory."""


def main(names: list[str]) -> int:
    """Measure the named rows, or all; the exit status."""
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in names if name not in known]:
        print(f"found {', '.join(unknown)}, expected of: {', '.join(known)}", file=sys.stderr)
        return 2
    # An installed program has its bytecode on disk; without it every start would compile.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = [known[name] for name in names] or list(ROWS)
    results = [_measure(row) for row in rows]
    print(report.table(results))
    report.write(RESULTS, results)
    return 0


def _measure(row: Row) -> Result:
    print(f"{row.name} …", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="intendant-bench-", dir=SCRATCH) as folder:
        return measure(row, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
