"""Claims, tombstones and exit records on a real disk, against real rivals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome
from intendant.store.reserve import RESERVE_NAME, SIZE_BYTES, Reserve
from intendant.store.spool import AttemptFolder, Spool
from tests.helpers.claimants import record
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
NOW = datetime(2030, 1, 1, tzinfo=UTC)
EXIT = ExitRecord(
    run_id=1, attempt=1, token_sha256="0" * 64, outcome=Outcome.SUCCEEDED, exit_code=0,
    finished_at=NOW,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    return Spool(tmp_path).make_attempt(1, 1)


@contextmanager
def claimants(
    folder: AttemptFolder, times: int
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """So many rivals that have all tried, and the numbers of those who won."""
    command = [sys.executable, "-m", "tests.helpers.claimants", str(folder.path), str(times)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())


# --- the claim -----------------------------------------------------------------------------------


def test_exactly_one_of_many_rivals_wins(folder: AttemptFolder) -> None:
    with claimants(folder, 24) as (_, winners):
        [winner] = winners
        stands = folder.read_claim()
        is_claim = winner % 2 == 0
        assert isinstance(stands, ClaimRecord if is_claim else TombstoneRecord)
        assert folder.is_claim_locked() is is_claim
    assert [path.name for path in folder.path.glob(".claim.*")] == []


def test_the_lock_is_free_as_soon_as_its_holder_was_killed(folder: AttemptFolder) -> None:
    with claimants(folder, 1) as (process, winners):
        assert winners == [0]
        assert folder.is_claim_locked()
        claim = folder.read_claim()
        assert isinstance(claim, ClaimRecord)
        os.kill(claim.pid, signal.SIGKILL)
        wait_for("it is dead and reaped", lambda: process.poll() is not None)
        assert not folder.is_claim_locked()
        assert folder.read_claim() == claim


def test_who_comes_second_gets_nothing_and_changes_nothing(folder: AttemptFolder) -> None:
    descriptor = folder.claim(record())
    assert descriptor is not None
    before = folder.claim_path.read_bytes()
    assert folder.claim(record()) is None
    assert folder.entomb(by="a test", at=NOW) is False
    assert folder.claim_path.read_bytes() == before
    os.close(descriptor)


def test_a_tombstone_keeps_everybody_out(folder: AttemptFolder) -> None:
    assert folder.entomb(by="a test", at=NOW)
    assert folder.claim(record()) is None
    assert folder.read_claim() == TombstoneRecord(by="a test", at=NOW)
    assert not folder.is_claim_locked()


def test_a_torn_temporary_file_is_nothing(folder: AttemptFolder) -> None:
    (folder.path / ".claim.4711.0").write_bytes(b'{"kind":"cl')
    assert folder.read_claim() is None
    descriptor = folder.claim(record())
    assert descriptor is not None
    assert folder.is_claim_locked()
    os.close(descriptor)


def test_a_claim_that_is_a_planted_link_is_not_followed(
    folder: AttemptFolder, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    folder.claim_path.symlink_to(victim)
    assert folder.claim(record()) is None
    assert not victim.exists()


# --- the exit record -----------------------------------------------------------------------------


def test_an_exit_record_is_read_as_it_was_written(folder: AttemptFolder) -> None:
    assert folder.read_exit() is None
    folder.write_exit(EXIT)
    assert folder.read_exit() == EXIT
    assert [path.name for path in folder.path.iterdir()] == ["exit.json"]


@pytest.mark.parametrize("length", [0, 1, 40])
def test_a_torn_exit_record_counts_as_none(folder: AttemptFolder, length: int) -> None:
    folder.exit_path.write_bytes(EXIT.model_dump_json().encode()[:length])
    assert folder.read_exit() is None


def test_a_reserved_exit_record_is_not_there_yet(folder: AttemptFolder) -> None:
    descriptor = folder.claim(record())
    assert descriptor is not None
    assert folder.read_exit() is None
    folder.write_exit(EXIT)
    assert json.loads(folder.exit_path.read_bytes())["exit_code"] == 0
    assert sorted(path.name for path in folder.path.iterdir()) == ["claim", "exit.json"]
    os.close(descriptor)


# --- a disk that is full -------------------------------------------------------------------------


@contextmanager
def files_no_longer_than(size_bytes: int) -> Iterator[None]:
    """Writing beyond fails with EFBIG, as it does with ENOSPC on a full disk (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_claim_without_room_for_the_exit_record_fails_and_is_not_there(
    folder: AttemptFolder,
) -> None:
    with files_no_longer_than(4096), pytest.raises(OSError, match="too large"):
        folder.claim(record())
    assert folder.read_claim() is None
    assert folder.entomb(by="a test", at=NOW)


def test_a_tombstone_that_can_not_be_written_is_not_there(folder: AttemptFolder) -> None:
    with files_no_longer_than(10), pytest.raises(OSError, match="too large"):
        folder.entomb(by="a test", at=NOW)
    assert folder.read_claim() is None
    assert list(folder.path.iterdir()) == []


def test_an_exit_record_that_can_not_be_written_is_not_there(folder: AttemptFolder) -> None:
    with files_no_longer_than(10), pytest.raises(OSError, match="too large"):
        folder.write_exit(EXIT)
    assert folder.read_exit() is None


# --- making room ---------------------------------------------------------------------------------


def test_of_a_run_that_is_emptied_the_proofs_of_its_ends_stay_and_no_link_is_followed(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path / "spool")
    spool.root.mkdir()
    mine, others = spool.make_attempt(1, 1), spool.make_attempt(2, 1)
    for folder in (mine, others):
        folder.log("stdout").write_bytes(bytes(5000))
    descriptor = mine.claim(record())
    assert descriptor is not None
    os.close(descriptor)
    mine.write_exit(EXIT)
    step = mine.path.parent / "steps" / "one"
    step.mkdir(parents=True)
    (step / "stdout.log").write_bytes(bytes(5000))
    (step / "elsewhere").symlink_to(others.path)
    (mine.path.parent / "2").symlink_to(others.path)

    spool.empty_run(1)

    left = [
        path for path in mine.path.parent.rglob("*") if path.is_file() and path.parent == mine.path
    ]
    assert sorted(left) == [mine.claim_path, mine.exit_path]
    assert not (step / "stdout.log").exists()
    assert others.log("stdout").exists()
    assert mine.read_exit() == EXIT


def test_a_run_without_a_folder_or_with_a_link_in_its_place_has_nothing_to_be_emptied(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    spool = Spool(tmp_path / "spool")
    spool.root.mkdir()
    (spool.root / "7").symlink_to(tmp_path / "elsewhere")

    spool.empty_run(7)
    spool.empty_run(8)

    assert (tmp_path / "elsewhere" / "file").exists()


def test_a_reserve_takes_its_room_and_gives_it_up(tmp_path: Path) -> None:
    reserve, file = Reserve(tmp_path), tmp_path / RESERVE_NAME
    reserve.give_up()
    reserve.lay()
    reserve.lay()
    assert file.stat().st_blocks * 512 >= SIZE_BYTES
    assert file.stat().st_mode & 0o777 == 0o600
    reserve.give_up()
    assert not file.exists()
