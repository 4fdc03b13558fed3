"""What is known of runs in a state folder that no daemon need serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from intendant.client.result import RunResult
from intendant.errors import InvalidRequest, RunNotFound
from intendant.executor.results import read_result
from intendant.protocol.folders import DATABASE
from intendant.protocol.selectors import parse_selection
from intendant.store import queries
from intendant.store.cells import Execute
from intendant.store.database import BUSY_TIMEOUT_S, database_errors, open_reader
from intendant.store.spool import Spool
from intendant.store.steps import STEPS_FILE, read_steps

_NOTHING = (b"", b"null", b"{}")


def newest_run(state_dir: Path) -> int:
    """The run that `last` means, whether it ever started or not."""
    with _reading(state_dir) as execute:
        return queries.newest_id(execute)


def kept_result(state_dir: Path, run: str) -> RunResult:
    """How a run ended (an id, or `last`), and the bytes of what it left."""
    ids = parse_selection([run]).ids
    with _reading(state_dir) as execute:
        record = queries.run(execute, ids[0] if ids else queries.newest_id(execute))
    if record.outcome is None:
        raise InvalidRequest(f"run {record.id} is {record.state}; expected one that has ended")
    folder = Spool(state_dir / "spool").attempt(record.id, record.attempt)
    piece = read_result(folder, record.spec.workload, 0)
    data = piece.data
    while more := read_result(folder, record.spec.workload, len(data)).data:
        data += more
    return RunResult(
        record.id, record.outcome, record.reason, record.exit_code, piece.encoding, data
    )


def has_result(state_dir: Path, run_id: int) -> bool:
    """Whether there is anything to look at; the steps of a pipeline may have left pickles alone."""
    if kept_result(state_dir, str(run_id)).data not in _NOTHING:
        return True
    steps = read_steps(Spool(state_dir / "spool").run_folder(run_id) / STEPS_FILE)
    return any(step.report is not None and step.report.encoding is not None for step in steps)


@contextmanager
def _reading(state_dir: Path) -> Iterator[Execute]:
    path = state_dir / DATABASE
    if not path.exists():
        raise RunNotFound(f"{state_dir}: found no runs, expected a state folder")
    connection = open_reader(path, busy_timeout_s=BUSY_TIMEOUT_S)
    with closing(connection), database_errors(path):
        yield connection.execute
