"""One file that holds a daemon's state, made while the daemon runs or while it does not.

The database comes first, as it is at one moment (sqlite.org/backup.html), then the spool, of the
attempts that this database knows. What ends meanwhile has an exit record in the spool that is newer
than its row, which is what a daemon finds after a crash too.

A claim is kept without the boot it was made in: whoever restores it finds that its governor is of
another time, signals nobody and starts nothing a second time.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from intendant.errors import StoreError
from intendant.protocol.folders import DATABASE
from intendant.protocol.records import RESTORED, ClaimRecord
from intendant.store.database import (
    BUSY_TIMEOUT_S,
    copy_database,
    database_errors,
    is_full,
    open_reader,
)
from intendant.store.disk import DISK
from intendant.store.spool import AttemptFolder, Spool
from intendant.store.steps import STEPS_FILE
from intendant.store.trials import TRIALS_FILE

_SPOOL = "spool"
_DATABASES = (STEPS_FILE, TRIALS_FILE)
_COMPANIONS = tuple(f"{name}{end}" for name in _DATABASES for end in ("-wal", "-shm", "-journal"))
_COMPRESSED = (".gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    runs: int
    size_bytes: int


def back_up(state_dir: Path, file: Path) -> Backup:
    """Write the state in `state_dir` to the archive `file`, whole or not at all.

    Compressed if the name ends in `.gz` or `.tgz`. `StoreError`: there is no state, or there is
    such a file already, or it can't be written.
    """
    if not (state_dir / DATABASE).is_file():
        raise StoreError(f"{state_dir} holds no database of ours")
    if file.exists():
        raise StoreError(f"{file} exists already")
    try:
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=file.parent) as scratch:
            return _write(state_dir, Path(scratch), file)
    except StoreError as error:
        if not is_full(error):  # the state is only read: it is the copy that has no room
            raise
        reason = os.strerror(errno.ENOSPC)
        raise StoreError(f"{file} can't be written: {reason}") from error
    except OSError as error:
        raise StoreError(f"{file} can't be written: {error.strerror or error}") from error


def _write(state_dir: Path, scratch: Path, file: Path) -> Backup:
    snapshot, made = scratch / DATABASE, scratch / "archive"
    copy_database(state_dir / DATABASE, snapshot)
    spool = Spool(state_dir / _SPOOL)
    runs = 0
    with made.open("xb") as raw:
        mode = "w:gz" if file.suffix in _COMPRESSED else "w"
        with tarfile.open(fileobj=raw, mode=mode) as archive:  # type: ignore[call-overload]  # both are modes
            packer = _Packer(archive, scratch)
            packer.add_file(snapshot, DATABASE)
            packer.add_folder(spool.root, _SPOOL)
            for run_id, newest in _runs(snapshot):
                packer.add_run(spool, run_id, newest)
                runs += 1
        raw.flush()
        os.fsync(raw.fileno())
        size_bytes = raw.tell()
    made.rename(file)
    DISK.sync_folder(file.parent)
    return Backup(runs, size_bytes)


def _runs(database: Path) -> Iterator[tuple[int, int]]:
    """Every run and the number of its newest attempt."""
    with (
        database_errors(database),
        closing(open_reader(database, busy_timeout_s=BUSY_TIMEOUT_S)) as connection,
    ):
        yield from connection.execute("SELECT id, attempt FROM run ORDER BY id")


class _Packer:
    """Puts files and folders into an archive while others write to them, or remove them."""

    def __init__(self, archive: tarfile.TarFile, scratch: Path) -> None:
        self._archive = archive
        self._scratch = scratch

    def add_run(self, spool: Spool, run_id: int, newest: int) -> None:
        """A run's folder, but for attempts that began after the database was copied."""
        folder = spool.run_folder(run_id)

        for path in self._inside(folder, f"{_SPOOL}/{run_id}"):
            name = f"{_SPOOL}/{run_id}/{path.name}"
            if path.name in _DATABASES:
                self._add_database(path, name)
            elif path.name not in _COMPANIONS and not _is_later(path, newest):
                self._add_any(path, name)

    def add_file(self, path: Path, name: str) -> None:
        """A file, as long as it is now; a run's database as a copy of its own."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # it is gone, or something that we do not follow
            return
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            if path.name == "claim":
                self._add_claim(path, name, status)
            else:
                self._add(file, name, status, status.st_size)

    def add_folder(self, path: Path, name: str) -> None:
        """A folder without what is in it."""
        found = _info(name, path.stat(), size=0)
        found.type = tarfile.DIRTYPE
        self._archive.addfile(found)

    def _inside(self, folder: Path, name: str) -> list[Path]:
        """What is in a folder, once that itself is in the archive; nothing if it was pruned."""
        try:
            inside = sorted(folder.iterdir())
            self.add_folder(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return inside

    def _add_any(self, path: Path, name: str) -> None:
        """A link, a file, or a folder with all that is in it: what a run left is left as it was."""
        if path.is_symlink():
            self._add_link(path, name)
        elif path.is_dir():
            for inner in self._inside(path, name):
                self._add_any(inner, f"{name}/{inner.name}")
        elif not _is_draft(path.name):
            self.add_file(path, name)

    def _add_link(self, path: Path, name: str) -> None:
        """A link as what it says; whoever restores it decides whether to follow it."""
        found = _info(name, path.lstat(), size=0)
        found.type, found.linkname = tarfile.SYMTYPE, str(path.readlink())
        self._archive.addfile(found)

    def _add_database(self, path: Path, name: str) -> None:
        copy = self._scratch / "copy.db"
        copy_database(path, copy)
        self.add_file(copy, name)
        copy.unlink()

    def _add_claim(self, path: Path, name: str, status: os.stat_result) -> None:
        claim = AttemptFolder(path.parent).read_claim()
        text = path.read_bytes()
        if isinstance(claim, ClaimRecord):
            text = claim.model_copy(update={"boot_id": RESTORED}).model_dump_json().encode()
        self._add(io.BytesIO(text), name, status, len(text))

    def _add(self, file: BinaryIO, name: str, status: os.stat_result, size: int) -> None:
        self._archive.addfile(_info(name, status, size=size), Padded(file))
        self._archive.getmembers().clear()  # the list would grow with every file


class Padded:
    """A file that is never shorter than it was: what was cut off meanwhile reads as zeros."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes."""
        return self._file.read(size).ljust(size, b"\0")


def _is_later(path: Path, newest: int) -> bool:
    """Whether it is the folder of an attempt that the copied database does not know."""
    return path.name.isdecimal() and int(path.name) > newest


def _is_draft(name: str) -> bool:
    """Whether it is a file of ours that has not got its name yet."""
    return name.startswith(".") and (name.startswith(".claim.") or name.endswith(".new"))


def _info(name: str, status: os.stat_result, *, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    found.mode = stat.S_IMODE(status.st_mode)
    found.mtime = int(status.st_mtime)
    found.uid, found.gid = status.st_uid, status.st_gid
    return found
