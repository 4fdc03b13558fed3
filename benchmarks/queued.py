"""A daemon with up to a million queued runs: what it picks, lists, needs to start, and takes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import apsw

from benchmarks.command_line import IMPORTS, INTENDANT, command_ms
from benchmarks.daemons import Served, served
from benchmarks.floors import TRUE
from benchmarks.processes import pss_mb
from benchmarks.row import Contest, median_of
from benchmarks.runs import QUEUE
from intendant import Client
from intendant.protocol.folders import DATABASE
from intendant.protocol.specs import Submission
from intendant.store import control, queries
from intendant.store.database import BUSY_TIMEOUT_S, open_reader, prepare
from intendant.store.submit import submit
from intendant.store.transaction import Transaction

FEW = 1000
PICKS = 200
PAGES = 20
SLOTS = 8
_RUN = "account, name, kind, queue, priority, state, submitted_at, spec"
_COPY_RUNS = f"""
    WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
    INSERT INTO run ({_RUN}) SELECT {_RUN} FROM number, (SELECT * FROM run WHERE id = 1)
"""
_COPY_EVENTS = """
    INSERT INTO event (run_id, seq, at, attempt, event, before, after, detail)
    SELECT run.id, 1, at, event.attempt, event, before, after, detail
    FROM run, event WHERE event.id = 1 AND run.id > 1
"""


def fill(state_dir: Path, count: int) -> None:
    """So many runs of a queue that is paused, as if each had been submitted.

    One is; the others are copied, with its event. A million by requests would take minutes.
    """
    state_dir.mkdir(mode=0o700)
    spec = {"workload": {"kind": "command", "argv": [TRUE], "cwd": "/"}, "queue": QUEUE}
    with (
        closing(prepare(state_dir / DATABASE, busy_timeout_s=BUSY_TIMEOUT_S)) as connection,
        connection,
    ):
        transaction = Transaction(connection, lambda: datetime.now(UTC))
        control.queue_set(transaction, QUEUE, slots=SLOTS)
        control.queue_pause(transaction, QUEUE, True)
        submit(transaction, [Submission.model_validate({"spec": spec})], account="bench")
        connection.execute(_COPY_RUNS, (count,))
        connection.execute(_COPY_EVENTS)


def picks(count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """What may start next on eight slots, asked of a store with so many queued; µs.

    The peer is the same store with a thousand, or one row by its id.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with ExitStack() as stack:
            large = stack.enter_context(_store(folder / "large", count))
            if count == FEW:
                yield partial(_us, partial(_pick, large)), partial(_us, partial(_row, large))
                return
            small = stack.enter_context(_store(folder / "small", FEW))
            yield partial(_us, partial(_pick, large)), partial(_us, partial(_pick, small))

    return contest


@contextmanager
def _store(state_dir: Path, count: int) -> Iterator[apsw.Connection]:
    fill(state_dir, count)
    path = state_dir / DATABASE
    with closing(open_reader(path, busy_timeout_s=BUSY_TIMEOUT_S)) as connection:
        yield connection


def _us(work: Callable[[], object]) -> float:
    def samples() -> Iterator[float]:
        for _ in range(PICKS):
            began = time.perf_counter()
            work()
            yield 1e6 * (time.perf_counter() - began)

    return median_of(samples())


def _pick(connection: apsw.Connection) -> None:
    found = queries.candidates(
        connection.execute, {QUEUE: SLOTS}, exclude=(), now=datetime.now(UTC)
    )
    assert [one.run_id for one in found] == list(range(1, SLOTS + 1))


def _row(connection: apsw.Connection) -> None:
    assert connection.execute("SELECT spec FROM run WHERE id = ?", (FEW // 2,)).fetchone()


def pages(count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """A page of the newest runs, as a client gets it from a daemon with so many queued; ms.

    The peer is a daemon with a thousand, or the question how the daemon is.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with ExitStack() as stack:
            large = stack.enter_context(_client(folder / "large", count))
            if count == FEW:
                yield partial(_ms, large.runs), partial(_ms, large.status)
                return
            small = stack.enter_context(_client(folder / "small", FEW))
            yield partial(_ms, large.runs), partial(_ms, small.runs)

    return contest


def _ms(ask: Callable[[], object]) -> float:
    def samples() -> Iterator[float]:
        for _ in range(PAGES):
            began = time.perf_counter()
            assert ask()
            yield 1000 * (time.perf_counter() - began)

    return median_of(samples())


@contextmanager
def _client(folder: Path, count: int) -> Iterator[Client]:
    with _served(folder, count) as daemon:
        daemon.start()
        with daemon.client() as client:
            yield client


@contextmanager
def _served(folder: Path, count: int) -> Iterator[Served]:
    """A daemon, not running yet, on a state with so many queued."""
    folder.mkdir()
    if count:
        fill(folder / "state", count)
    with served(folder) as daemon:
        yield daemon


def start_up(count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From the start of a daemon until it serves; ms. The peer has nothing queued."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _served(folder / "large", count) as large, _served(folder / "empty", 0) as empty:
            yield partial(_start_ms, large), partial(_start_ms, empty)

    return contest


def _start_ms(daemon: Served) -> float:
    began = time.perf_counter()
    daemon.start()
    took_s = time.perf_counter() - began
    daemon.end(signal.SIGTERM)
    return 1000 * took_s


def ls_cold(count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """`intendant ls` from its start to its end, with so many queued; ms."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _served(folder / "large", count) as daemon:
            daemon.start()
            ls = [INTENDANT, "--endpoint", daemon.endpoint, "ls"]
            yield lambda: median_of(command_ms(ls)), lambda: median_of(command_ms(IMPORTS))

    return contest


def memory(count: int) -> Callable[[Path], AbstractContextManager[Contest]]:
    """Executor, broker and zygote after a few lists, with so many queued; MB.

    The peer is a daemon with nothing queued.
    """

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with _served(folder / "large", count) as large, _served(folder / "empty", 0) as empty:
            yield _memory(large), _memory(empty)

    return contest


def _memory(daemon: Served) -> Callable[[], float]:
    daemon.start()
    with daemon.client() as client:
        status = client.status()
    helpers = status["broker"]["pid"], status["zygote"]["pid"]
    pids = [status["pid"], *filter(None, helpers)]

    def measure() -> float:
        with daemon.client() as client:
            for _ in range(PAGES):
                client.runs()
        return pss_mb(pids)

    return measure
