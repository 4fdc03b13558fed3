"""Database, spool and processes that do not fit, and that are found not to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from intendant.errors import FolderLocked, StoreError
from intendant.executor.fsck import Report, examine, fsck
from intendant.executor.fsck_processes import find_processes
from intendant.process.identity import boot_id, start_time
from intendant.protocol.folders import DATABASE
from intendant.protocol.records import ClaimRecord, ExitRecord
from intendant.protocol.run_states import Outcome
from intendant.store.lock import lock_folder
from intendant.store.spool import Spool
from tests.helpers.stores import ManualClock, StoreCase, opened
from tests.helpers.waiting import wait_for

TOKEN = hashlib.sha256(b"token").hexdigest()
NOBODY = 2**22 + 1
"""A pid that no process can have (proc(5): pid_max)."""


@dataclass
class State:
    """A state folder with one run that succeeded, one that is running and one that was burnt.

    The governor of the one that runs is this very process.
    """

    folder: Path
    spool: Spool

    def examine(self) -> Report:
        return examine(self.folder)

    def codes(self) -> list[tuple[str, int | None, bool]]:
        return [(one.code, one.run_id, one.is_fault) for one in self.examine().findings]

    def claim(
        self,
        run_id: int,
        *,
        pid: int = NOBODY,
        started: int = 1,
        token: str = TOKEN,
        boot: str | None = None,
    ) -> None:
        """Link a claim in the place of what is there."""
        folder = self.spool.attempt(run_id, 1)
        folder.claim_path.unlink(missing_ok=True)
        boot = boot or boot_id()
        record = ClaimRecord(pid=pid, start_time=started, boot_id=boot, token_sha256=token)
        descriptor = folder.claim(record)
        assert descriptor is not None
        os.close(descriptor)

    def write_exit(self, run_id: int, *, exit_code: int = 0, token: str = TOKEN) -> None:
        record = ExitRecord(
            run_id=run_id, attempt=1, token_sha256=token, outcome=Outcome.SUCCEEDED,
            exit_code=exit_code, finished_at=ManualClock().at,
        )  # fmt: skip
        self.spool.attempt(run_id, 1).write_exit(record)


async def grant(case: StoreCase, run_id: int) -> None:
    await case.store.grant(run_id, 1, token_sha256=TOKEN)


@pytest.fixture
async def state(tmp_path: Path) -> State:
    state = State(tmp_path, Spool(tmp_path / "spool"))
    state.spool.root.mkdir()
    async with opened(tmp_path) as case:
        ids = [await case.add() for _ in range(3)]
        for run_id in ids:
            state.spool.make_attempt(run_id, 1)
            await grant(case, run_id)
        started = start_time(os.getpid())
        assert started is not None
        state.claim(1)
        state.claim(2, pid=os.getpid(), started=started)
        for run_id in ids[:2]:
            await case.store.started(run_id, 1, at=case.clock(), pid=NOBODY)
        state.write_exit(1)
        await case.end(1, Outcome.SUCCEEDED, exit_code=0)
        state.spool.attempt(3, 1).entomb(by="test", at=case.clock())
        await case.store.tombstoned(3, 1, reason="test")
    case.path.rename(tmp_path / DATABASE)
    return state


def test_what_fits_has_no_findings(state: State) -> None:
    report = fsck(state.folder)

    assert (report.findings, report.runs, report.is_sound) == ([], 3, True)


def test_a_success_needs_its_own_exit_record(state: State) -> None:
    state.write_exit(1, token="of-another")

    assert state.codes() == [("exit_record", 1, True)]


def test_an_exit_record_that_says_something_else_is_found(state: State) -> None:
    state.write_exit(1, exit_code=3)

    [found] = state.examine().findings
    assert found.text == (
        "attempt 1.1 is recorded as succeeded with exit code 0, "
        "its exit record says succeeded with exit code 3"
    )


def test_an_end_that_nobody_recorded_is_noted(state: State) -> None:
    state.write_exit(2)

    assert state.codes() == [("not_recorded", 2, False)]
    assert state.examine().is_sound


@pytest.mark.parametrize("token", [None, "of-another"])
def test_what_has_started_was_claimed(state: State, token: str | None) -> None:
    state.spool.attempt(2, 1).claim_path.unlink()
    if token is not None:
        state.claim(2, token=token)

    assert ("claim", 2, True) in state.codes()


def test_what_was_given_up_was_not_claimed(state: State) -> None:
    state.claim(3)

    assert state.codes() == [("claim", 3, True)]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0", ("stray_folder", 0, False)),
        ("surprise", ("stray_folder", None, False)),
        ("1/3", ("stray_folder", 1, True)),
        ("1/1/.claim.77.1", ("stray_file", 1, False)),
    ],
)
def test_what_belongs_to_nobody_is_found(
    state: State, name: str, found: tuple[str, int | None, bool]
) -> None:
    (state.spool.root / name).mkdir()

    assert state.codes() == [found]


def test_a_spool_with_runs_that_the_database_never_knew_is_that_of_another(state: State) -> None:
    (state.spool.root / "99").mkdir()

    assert state.codes() == [("database_lost", None, True)]


def test_a_planted_link_is_found(state: State) -> None:
    (state.spool.root / "99").symlink_to("/")

    assert state.codes() == [("link", 99, True)]


def test_a_governor_of_an_attempt_that_is_over_is_found(state: State) -> None:
    folder = state.spool.attempt(1, 1).path
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=folder
    ) as one:
        started = start_time(one.pid)
        assert started is not None
        state.claim(1, pid=one.pid, started=started)
        texts = [found.text for found in state.examine().findings]
        one.kill()

    assert texts == [
        f"attempt 1.1 is over, its governor lives: pid {one.pid}",
        f"process {one.pid} works for attempt 1.1, which is over",
    ]
    state.write_exit(1)


def test_what_is_left_of_a_governors_session_is_found(state: State) -> None:
    program = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    leader = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    started = start_time(leader.pid)
    left, _ = (leader.stdout.readline() if leader.stdout else "", leader.wait())
    try:
        assert started is not None
        state.claim(1, pid=leader.pid, started=started)
        [found] = state.examine().findings
    finally:
        os.kill(int(left), 9)
        if leader.stdout:
            leader.stdout.close()
    assert found.text == f"attempt 1.1 is over, processes of its session live: pid {left.strip()}"
    wait_for("nothing is left of it", lambda: start_time(int(left)) is None)


def test_a_session_whose_leader_was_seen_alive_is_nobodys_remains(tmp_path: Path) -> None:
    """A stranger that got a dead governor's number and ended during the search."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        seen = find_processes(tmp_path)
        assert stranger.pid in seen.sessions[stranger.pid]
        stranger.kill()
    assert seen.left_in(stranger.pid) == []


@pytest.mark.parametrize(("run_id", "is_found"), [(1, True), (2, False)])
def test_what_an_attempt_started_and_what_left_its_session_is_found(
    state: State, run_id: int, is_found: bool
) -> None:
    environment = {
        "INTENDANT_STATE_DIR": str(state.folder),
        "INTENDANT_RUN_ID": str(run_id),
        "INTENDANT_ATTEMPT": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE, cwd="/", env=environment, start_new_session=True,
    ) as one:  # fmt: skip
        texts = [found.text for found in state.examine().findings]
        one.kill()

    text = f"process {one.pid} was started by attempt 1.1, which is over"
    assert texts == ([text] if is_found else [])


def test_a_governor_of_a_live_attempt_is_as_it_should_be(state: State) -> None:
    folder = state.spool.attempt(2, 1).path
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=folder
    ) as one:
        started = start_time(one.pid)
        assert started is not None
        state.claim(2, pid=one.pid, started=started)
        found = state.examine().findings
        one.kill()

    assert found == []


def test_a_run_whose_governor_is_gone_is_noted_with_what_becomes_of_it(state: State) -> None:
    state.claim(2)

    assert state.codes() == [("governor_gone", 2, False)]
    report = state.examine()
    assert report.is_sound
    assert report.findings[0].text == (
        "run 2 is running, and the governor of attempt 2.1 is gone; the next daemon ends what is "
        "left of it and records it as interrupted"
    )


def test_a_governor_of_another_boot_is_gone_whoever_has_its_number_now(state: State) -> None:
    state.claim(2, pid=os.getpid(), started=start_time(os.getpid()) or 0, boot="another")

    assert state.codes() == [("governor_gone", 2, False)]


@pytest.mark.parametrize(
    ("is_claimed", "is_cancelled", "text"),
    [
        (False, False, "nobody has claimed attempt 1.1; the next daemon gives that up and queues"),
        (False, True, "nobody has claimed attempt 1.1; the next daemon gives that up and ends"),
        (True, False, "governor of attempt 1.1 is gone; the next daemon ends what is left of it"),
        (True, True, "records it as cancelled"),
    ],
)
async def test_a_run_that_was_starting_is_noted_with_what_becomes_of_it(
    tmp_path: Path, is_claimed: bool, is_cancelled: bool, text: str
) -> None:
    state = State(tmp_path, Spool(tmp_path / "spool"))
    state.spool.root.mkdir()
    async with opened(tmp_path) as case:
        run_id = await case.add()
        state.spool.make_attempt(run_id, 1)
        await grant(case, run_id)
        if is_cancelled:
            await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="test")
    case.path.rename(tmp_path / DATABASE)
    if is_claimed:
        state.claim(run_id)

    [found] = state.examine().findings
    assert (found.code, found.is_fault) == ("governor_gone" if is_claimed else "starting", False)
    assert text in found.text


def test_a_folder_in_use_is_left_alone(state: State) -> None:
    with (
        lock_folder(state.folder),
        pytest.raises(FolderLocked, match=f"daemon with pid {os.getpid()}; fsck needs it stopped"),
    ):
        fsck(state.folder)


def test_a_folder_without_a_database_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no database of ours"):
        fsck(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_database_that_can_not_be_read_is_a_finding(state: State) -> None:
    for path in state.folder.glob(f"{DATABASE}*"):
        path.write_bytes(b"no database at all" * 1000)

    assert state.codes() == [("database", None, True)]
