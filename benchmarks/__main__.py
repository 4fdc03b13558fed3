"""`python -m benchmarks [ROW...]`: measure, print a table, write the results and a page of them."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks import report
from benchmarks.row import REPEATS, Result, Row, measure, not_measured
from benchmarks.rows import ROWS

RESULTS = Path(__file__).with_name("results.json")
SCRATCH = "/var/tmp"
"""On a disk, as the state of a daemon is; the temporary folder may be memory."""
_BY_NAME = {row.name: row for row in ROWS}


def main(words: list[str]) -> int:
    """Measure the named rows, or all; the exit status."""
    wanted = _parser().parse_args(words)
    if wanted.list:
        print(report.listing(ROWS))
        return 0
    # An installed program has its bytecode on disk; without it every start would compile.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = [_BY_NAME[name] for name in wanted.rows] or ROWS
    results = []
    for row in rows:
        results.append(_measure(row, wanted.repeats))
        report.write(RESULTS, results)  # whatever becomes of the next
    print(report.table(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the daemon costs, each row beside a floor or a peer.",
        epilog=f"The results go to {RESULTS.name} and {RESULTS.stem}.html beside this program. "
        "Rows that were measured before stay there while machine and commit are the same.",
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", type=_row_name, help="rows to measure; default: all"
    )
    parser.add_argument("--list", action="store_true", help="say which rows there are, and go")
    parser.add_argument(
        "--repeats",
        type=_positive,
        default=REPEATS,
        metavar="N",
        help="how often ours and the peer are measured in turn (default: %(default)s)",
    )
    return parser


def _row_name(text: str) -> str:
    if text not in _BY_NAME:
        raise argparse.ArgumentTypeError(f"found {text!r}; --list says which rows there are")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1 on")
    return int(text)


def _measure(row: Row, repeats: int) -> Result:
    """The row's result. One that fails is marked, and told of; the others are measured."""
    print(f"{row.name} …", file=sys.stderr)
    try:
        with tempfile.TemporaryDirectory(prefix="intendant-bench-", dir=SCRATCH) as folder:
            return measure(row, Path(folder), repeats=repeats)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's
        traceback.print_exc()
        return not_measured(row, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
