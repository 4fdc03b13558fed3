"""What a backup holds of a state folder, and what it does not."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import apsw
import pytest

from intendant.errors import StoreError
from intendant.executor.fsck import examine
from intendant.protocol.folders import DATABASE
from intendant.protocol.records import RESTORED, ClaimRecord
from intendant.store.backup import Padded, back_up
from intendant.store.spool import Spool
from tests.helpers.stores import ManualClock, opened

TOKEN = "0" * 64


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder with one live run."""
    folder = tmp_path / "state"
    folder.mkdir()
    async with opened(folder) as case:
        run_id = await case.add()
        attempt = Spool(folder / "spool")
        attempt.root.mkdir()
        claimed = attempt.make_attempt(run_id, 1)
        await case.store.grant(run_id, 1, token_sha256=TOKEN)
        record = ClaimRecord(pid=1, start_time=1, boot_id="this boot", token_sha256=TOKEN)
        descriptor = claimed.claim(record)
        assert descriptor is not None
        os.close(descriptor)
        claimed.log("stdout").write_bytes(b"so far\n")
        await case.store.started(run_id, 1, at=ManualClock().at, pid=1)
    case.path.rename(folder / DATABASE)
    return folder


def restored(state: Path, file: Path) -> Path:
    """The folder that a backup of `state` unpacks to."""
    back_up(state, file)
    folder = file.parent / "restored"
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="tar")
    return folder


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz", "b.tgz"])
def test_a_backup_holds_database_and_spool(state: Path, tmp_path: Path, name: str) -> None:
    folder = restored(state, tmp_path / name)

    assert Spool(folder / "spool").attempt(1, 1).log("stdout").read_bytes() == b"so far\n"
    assert examine(folder).is_sound
    with tarfile.open(tmp_path / name) as archive:
        assert archive.next().name == DATABASE  # type: ignore[union-attr]  # it holds something
    magic = (tmp_path / name).read_bytes()[:2]
    assert (magic == b"\x1f\x8b") is (name != "b.tar")


def test_a_claim_is_kept_as_one_of_another_boot(state: Path, tmp_path: Path) -> None:
    folder = restored(state, tmp_path / "b.tar")

    claim = Spool(folder / "spool").attempt(1, 1).read_claim()
    assert isinstance(claim, ClaimRecord)
    assert (claim.boot_id, claim.token_sha256) == (RESTORED, TOKEN)


def test_an_attempt_that_the_database_does_not_know_is_left_out(
    state: Path, tmp_path: Path
) -> None:
    Spool(state / "spool").make_attempt(1, 2)
    Spool(state / "spool").make_attempt(7, 1)

    folder = restored(state, tmp_path / "b.tar")

    assert [path.name for path in (folder / "spool").iterdir()] == ["1"]
    assert [path.name for path in (folder / "spool" / "1").iterdir()] == ["1"]


def test_a_database_in_the_spool_is_copied_as_it_is_at_one_moment(
    state: Path, tmp_path: Path
) -> None:
    path = state / "spool" / "1" / "steps.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE step (name TEXT); INSERT INTO step VALUES ('first')")

    folder = restored(state, tmp_path / "b.tar")

    assert [one.name for one in (folder / "spool" / "1").glob("steps*")] == ["steps.db"]
    copy = apsw.Connection(str(folder / "spool" / "1" / "steps.db"))
    assert copy.execute("SELECT name FROM step").fetchall() == [("first",)]
    copy.close()
    connection.close()


def test_what_a_run_left_is_kept_as_it_is(state: Path, tmp_path: Path) -> None:
    """Databases of its own are files like others, whole or not; nobody follows its links."""
    checkpoint = state / "spool" / "1" / "1" / "checkpoint"
    checkpoint.mkdir()
    left = {".config": b"dots", "own.db": b"SQLite format 3\0 broken", "own.db-wal": b"journal"}
    for name, content in left.items():
        (checkpoint / name).write_bytes(content)
    (tmp_path / "secret").write_text("of somebody else")
    (checkpoint / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(checkpoint / "pipe")

    kept = restored(state, tmp_path / "b.tar") / "spool" / "1" / "1" / "checkpoint"

    assert (kept / "link").readlink() == tmp_path / "secret"
    (kept / "link").unlink()
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == left


def test_a_backup_that_is_there_already_is_not_touched(state: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")

    with pytest.raises(StoreError, match="exists already"):
        back_up(state, tmp_path / "b.tar")

    assert (tmp_path / "b.tar").read_text() == "precious"


def test_a_backup_that_cannot_be_written_leaves_nothing(state: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be written"):
        back_up(state, tmp_path / "nowhere" / "b.tar")
    with pytest.raises(StoreError, match="no database"):
        back_up(tmp_path, tmp_path / "b.tar")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_file_that_shrinks_meanwhile_is_filled_up(tmp_path: Path) -> None:
    with (tmp_path / "short").open("w+b") as file:
        file.write(b"abc")
        file.seek(0)
        assert Padded(file).read(5) == b"abc\0\0"
