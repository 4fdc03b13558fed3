"""The spool: a folder for each run, and in it one for each attempt.

    spool/<run>/<attempt>/claim         who may start the attempt, or that nobody may (DESIGN 3.4)
    spool/<run>/<attempt>/exit.json     how it ended, written before anybody is told
    spool/<run>/<attempt>/stdout.log    the workload's own output
    spool/<run>/<attempt>/stderr.log
    spool/<run>/<attempt>/governor.log

Claim and tombstone are the same name, made whole under another one and then linked: link(2) fails
with EEXIST where the name exists, so of all who try exactly one wins, and what stands there has
been on disk, complete and (a claim) locked, since before it could be seen. The file decides who
owns an attempt; no time-out ever does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord

_CLAIM: TypeAdapter[ClaimRecord | TombstoneRecord] = TypeAdapter(
    Annotated[ClaimRecord | TombstoneRecord, Field(discriminator="kind")]
)
_RESERVED_BYTES = 8192
"""Room for an exit record, taken at the claim so that a full disk can't lose it."""


class Spool:
    """The folders of all runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run_folder(self, run_id: int) -> Path:
        """A run's folder, whether it exists or not."""
        return self.root / str(run_id)

    def attempt(self, run_id: int, attempt: int) -> AttemptFolder:
        """An attempt's folder, whether it exists or not."""
        return AttemptFolder(self.run_folder(run_id) / str(attempt))

    def make_attempt(self, run_id: int, attempt: int) -> AttemptFolder:
        """Make an attempt's folder and the run's; on disk, names and all, when this returns."""
        folder = self.attempt(run_id, attempt)
        for path in (folder.path.parent, folder.path):
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
                _sync_folder(path.parent)
        return folder


class AttemptFolder:
    """One attempt's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.claim_path = path / "claim"
        self.exit_path = path / "exit.json"
        self._reserved_path = path / ".exit.json.new"

    def log(self, stream: str) -> Path:
        """The file that holds the workload's `stdout` or `stderr`."""
        return self.path / f"{stream}.log"

    def claim(self, record: ClaimRecord) -> int | None:
        """Take the attempt: an open, locked descriptor to hold for life; `None` if it is taken."""
        descriptor = self._link_claim(record.model_dump_json().encode())
        if descriptor is not None:
            self._reserve_exit()
        return descriptor

    def entomb(self, *, by: str, at: datetime) -> bool:
        """Give the attempt up for everybody; False if a claim (or tombstone) was there first."""
        descriptor = self._link_claim(TombstoneRecord(by=by, at=at).model_dump_json().encode())
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def read_claim(self) -> ClaimRecord | TombstoneRecord | None:
        """What stands at the claim's name; `None` if nothing does."""
        try:
            return _CLAIM.validate_json(self.claim_path.read_bytes())
        except FileNotFoundError:
            return None

    def is_claim_locked(self) -> bool:
        """Whether the claim's maker still lives: the kernel frees its lock with it (flock(2))."""
        try:
            descriptor = os.open(self.claim_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def write_exit(self, record: ExitRecord) -> None:
        """Put the exit record on disk under its name, whole or not at all."""
        with _open_new(self._reserved_path, os.O_WRONLY | os.O_CREAT) as descriptor:
            data = record.model_dump_json().encode()
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
            os.fsync(descriptor)
        self._reserved_path.rename(self.exit_path)
        _sync_folder(self.path)

    def read_exit(self) -> ExitRecord | None:
        """The exit record; `None` if there is none that can be trusted."""
        try:
            return ExitRecord.model_validate_json(self.exit_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _link_claim(self, data: bytes) -> int | None:
        """Link `data` at the claim's name; the locked descriptor, or `None` if the name exists."""
        temporary = self.path / f".claim.{os.getpid()}.{datetime.now(UTC).timestamp()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.link(temporary, self.claim_path)
        except FileExistsError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            temporary.unlink()
        _sync_folder(self.path)
        return descriptor

    def _reserve_exit(self) -> None:
        with _open_new(self._reserved_path, os.O_WRONLY | os.O_CREAT) as descriptor:
            os.posix_fallocate(descriptor, 0, _RESERVED_BYTES)


@contextmanager
def _open_new(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Put the names in a folder on disk (fsync(2): the file's own fsync does not)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
