"""What runs wrote, read from a state folder that no daemon need serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from intendant.client.run import Stream
from intendant.client.wire import selectors
from intendant.errors import RunNotFound
from intendant.protocol.selectors import parse_selection
from intendant.store.spool import Spool
from intendant.store.steps import STEPS_FILE, read_step, step_folder

_PIECE_BYTES = 256 * 1024


def kept_log(
    state_dir: Path,
    run: str,
    *,
    stream: Stream,
    attempt: int | None,
    step: str | None = None,
) -> Iterator[bytes]:
    """The bytes of a run's output (an id, or `last`), of one attempt or the newest, in pieces.

    `step`: those of this step of a pipeline, and of its attempts.
    """
    spool = Spool(state_dir / "spool")
    run_ids = spool.run_ids() if spool.root.is_dir() else []
    ids = parse_selection([run]).ids or _newest(state_dir)
    if ids[0] not in run_ids:
        found = f"the runs {','.join(selectors(run_ids))}" if run_ids else "no runs"
        raise RunNotFound(f"{state_dir}: found {found}, expected run {ids[0]}")
    if step is not None:
        return _step_log(spool.run_folder(ids[0]), step, stream=stream, attempt=attempt)
    attempts = spool.attempts(ids[0])
    chosen = attempt or max(attempts, default=0)
    if chosen not in attempts:
        found = f"the attempts {','.join(selectors(attempts))}" if attempts else "no attempt"
        raise RunNotFound(
            f"run {ids[0]}: found {found}, expected {f'attempt {attempt}' if attempt else 'one'}"
        )
    return _pieces(spool.attempt(ids[0], chosen).log(stream))


def _newest(state_dir: Path) -> tuple[int, ...]:
    """The last run that was queued, which may not have a folder yet."""
    from intendant.cli.kept_runs import newest_run

    return (newest_run(state_dir),)


def _step_log(
    run_folder: Path, step: str, *, stream: Stream, attempt: int | None
) -> Iterator[bytes]:
    info = read_step(run_folder / STEPS_FILE, step)
    if info is None or (attempt or 0) > info.attempt:
        what = f"attempt {attempt} at step {step}" if info else f"step {step!r}"
        raise RunNotFound(f"run {run_folder.name}: found no {what}")
    return _pieces(step_folder(run_folder, step, attempt or info.attempt) / f"{stream}.log")


def _pieces(path: Path) -> Iterator[bytes]:
    """A file that may be missing: what was not started has written nothing."""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except FileNotFoundError:
        return
