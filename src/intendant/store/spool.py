"""The spool: a folder for each run, and in it one for each attempt.

    spool/<run>/<attempt>/claim         who may start the attempt, or that nobody may
    spool/<run>/<attempt>/exit.json     how it ended, written before anybody is told
    spool/<run>/<attempt>/stdout.log    the workload's own output
    spool/<run>/<attempt>/stderr.log
    spool/<run>/<attempt>/governor.log
    spool/<run>/<attempt>/result.json   what a call returned (or .pickle, which nobody opens here)

Claim and tombstone are the same name, made whole under another one and then linked: link(2) fails
with EEXIST where the name exists, so of all who try exactly one wins, and what stands there has
been on disk, complete and (a claim) locked, since before it could be seen. The file decides who
owns an attempt; no time-out ever does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.store.disk import DISK, Disk, closing

_CLAIM: TypeAdapter[ClaimRecord | TombstoneRecord] = TypeAdapter(
    Annotated[ClaimRecord | TombstoneRecord, Field(discriminator="kind")],
    config=ConfigDict(defer_build=True),
)
_PROOFS = frozenset({"claim", "exit.json"})
_RESERVED_BYTES = 8192
"""Room for an exit record, taken before the claim so that a full disk can't lose it."""


@dataclass(frozen=True, slots=True)
class DamagedClaim:
    """Something stands at the claim's name that says nothing: the attempt may have started."""

    error: str


class Spool:
    """The folders of all runs."""

    def __init__(self, root: Path, disk: Disk = DISK) -> None:
        self.root = root
        self._disk = disk

    def run_folder(self, run_id: int) -> Path:
        """A run's folder, whether it exists or not."""
        return self.root / str(run_id)

    def attempt(self, run_id: int, attempt: int) -> AttemptFolder:
        """An attempt's folder, whether it exists or not."""
        return AttemptFolder(self.run_folder(run_id) / str(attempt), self._disk)

    def make_attempt(self, run_id: int, attempt: int) -> AttemptFolder:
        """Make an attempt's folder and the run's; on disk, names and all, when this returns."""
        folder = self.attempt(run_id, attempt)
        for path in (folder.path.parent, folder.path):
            self._disk.make_folder(path)
            self._disk.sync_folder(path.parent)  # also where it is: its maker may have died here
        return folder

    def run_ids(self) -> list[int]:
        """The runs that have a folder here, whether the store knows them or not."""
        return _numbers(self.root)

    def unknown_to(self, last_run_id: int) -> str | None:
        """What is wrong if a database that gave ids up to this one is not that of these folders.

        An id is on disk before its folder is made: so the database was lost, or is an older copy,
        and would give the ids of these runs to others.
        """
        later = [run_id for run_id in self.run_ids() if run_id > last_run_id]
        unknown = [run_id for run_id in later if not self.run_folder(run_id).is_symlink()]
        if not unknown:
            return None
        return (
            f"{self.root} holds {len(unknown)} runs that the database does not know, the newest is "
            f"run {unknown[-1]}; the highest id that it ever gave is {last_run_id}: it is not the "
            f"database of these runs. Put that back (from a backup), or move {self.root} elsewhere"
        )

    def attempts(self, run_id: int) -> list[int]:
        """The attempts of a run that have a folder here."""
        return _numbers(self.run_folder(run_id))

    def empty_run(self, run_id: int) -> None:
        """Remove what a run has written, all but what proves how its attempts ended.

        No link is followed: what stands behind one is nobody's business here.
        """
        with suppress(FileNotFoundError, NotADirectoryError):
            for _, _, names, descriptor in os.fwalk(self.run_folder(run_id)):
                for name in set(names) - _PROOFS:
                    os.unlink(name, dir_fd=descriptor)

    def remove_run(self, run_id: int) -> None:
        """Remove a run's folder and all below it; of a planted link the link, never its target."""
        folder = self.run_folder(run_id)
        if not shutil.rmtree.avoids_symlink_attacks:
            raise NotImplementedError(f"{folder}: this system can't remove a tree safely")
        try:
            if folder.is_symlink():
                folder.unlink()
            else:
                # Opens each folder without following links, and looks again at what it opened.
                shutil.rmtree(folder)
        except FileNotFoundError:
            return


def _numbers(folder: Path) -> list[int]:
    """The entries of a folder that are named by a number."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


class AttemptFolder:
    """One attempt's folder."""

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self.path = path
        self._disk = disk
        self.claim_path = path / "claim"
        self.exit_path = path / "exit.json"
        self._reserved_path = path / ".exit.json.new"

    def log(self, stream: str) -> Path:
        """The file that holds the workload's `stdout` or `stderr`."""
        return self.path / f"{stream}.log"

    def claim(self, record: ClaimRecord) -> int | None:
        """Take the attempt: an open, locked descriptor to hold for life; `None` if it is taken."""
        self._reserve_exit()  # before the claim: a full disk then burns the attempt and ends no run
        return self._link_claim(record.model_dump_json().encode())

    def entomb(self, *, by: str, at: datetime) -> bool:
        """Give the attempt up for everybody; False if a claim (or tombstone) was there first."""
        descriptor = self._link_claim(TombstoneRecord(by=by, at=at).model_dump_json().encode())
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def read_claim(self) -> ClaimRecord | TombstoneRecord | DamagedClaim | None:
        """What stands at the claim's name; `None` if nothing does."""
        try:
            return _CLAIM.validate_json(self.claim_path.read_bytes())
        except FileNotFoundError:
            return None
        except (IsADirectoryError, ValidationError) as error:
            return DamagedClaim(type(error).__name__)

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
        with closing(self._disk.open(self._reserved_path)) as descriptor:
            self._disk.write(descriptor, record.model_dump_json().encode())
            self._disk.sync(descriptor)
        self._disk.rename(self._reserved_path, self.exit_path)
        self._disk.sync_folder(self.path)

    def read_exit(self) -> ExitRecord | None:
        """The exit record; `None` if there is none that can be trusted."""
        try:
            return ExitRecord.model_validate_json(self.exit_path.read_bytes())
        except (FileNotFoundError, IsADirectoryError, ValidationError):
            return None

    def result(self, encoding: str) -> Path:
        """The file that holds a call's result as `json` or `pickle`, where there is one."""
        return self.path / f"result.{encoding}"

    def _link_claim(self, data: bytes) -> int | None:
        """Link `data` at the claim's name; the locked descriptor, or `None` if the name exists."""
        temporary = self.path / f".claim.{os.getpid()}.{datetime.now(UTC).timestamp()}"
        descriptor = self._disk.create(temporary)
        try:
            self._disk.write(descriptor, data)
            self._disk.sync(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._disk.link(temporary, self.claim_path)
        except FileExistsError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            self._disk.remove(temporary)
        self._disk.sync_folder(self.path)
        return descriptor

    def _reserve_exit(self) -> None:
        with closing(self._disk.open(self._reserved_path)) as descriptor:
            self._disk.reserve(descriptor, _RESERVED_BYTES)
