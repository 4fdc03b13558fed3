# ruff: noqa: N802 - the methods' names are SQLite's
"""A disk in memory that loses what was not synced when its power is cut, as a VFS of SQLite.

What a process reads is what it wrote; what a power cut leaves is what was synced, and of the rest
whatever the disk pleases: nothing, any part of the writes in any order, or single sectors of them.
A name that was made is on disk with its file's first sync, as SQLite's own VFS does it for journals
and `intendant.store.database` for the database; one that was removed may be back until a sync of
the folder, which goes with those.

The power is cut by count: after so many operations every further one fails.

The files of a VFS in Python have no shared memory, so each connection must be an exclusive one
(sqlite.org/wal.html#noshm): `power_cuts` sees to that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import apsw

SECTOR = 512
_NAME = "power-cut"


class Loss(StrEnum):
    """What becomes of writes that were not synced."""

    ALL = "all"
    SOME = "some"
    TORN = "torn"


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes put somewhere into a file."""

    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self) -> Iterator[Write]:
        """The same as writes that a disk does one at a time."""
        for at in range(0, len(self.data), SECTOR):
            yield Write(self.offset + at, self.data[at : at + SECTOR])


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut off at a size."""

    size: int

    def apply(self, content: bytearray) -> None:
        del content[self.size :]

    def sectors(self) -> Iterator[Truncate]:
        yield self


@dataclass(slots=True)
class File:
    """What processes see of a file, and what is on disk of it."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)
    is_named: bool = False
    """Whether its name is on disk."""

    def change(self, change: Write | Truncate) -> None:
        change.apply(self.content)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable[:] = self.content
        self.pending.clear()

    def after_cut(self, loss: Loss, chance: random.Random) -> File:
        content = bytearray(self.durable)
        if loss is not Loss.ALL:
            for change in self.pending:
                for part in change.sectors() if loss is Loss.TORN else [change]:
                    if chance.random() < 0.5:
                        part.apply(content)
        return File(content, bytearray(content), is_named=True)


@dataclass(slots=True)
class SimulatedDisk:
    """Files by name. `lasts` is the number of operations until the power is cut."""

    files: dict[str, File] = field(default_factory=dict)
    removed: dict[str, File] = field(default_factory=dict)
    lasts: int | None = None
    operations: int = 0
    ignores_syncs: bool = False

    def works(self) -> bool:
        """Count an operation; whether there was power for it."""
        self.operations += 1
        return not self.has_failed

    @property
    def has_failed(self) -> bool:
        """Whether an operation came after the power had gone."""
        return self.lasts is not None and self.operations > self.lasts

    def open(self, name: str) -> File:
        return self.files.setdefault(name, File())

    def sync(self, file: File) -> None:
        """Put a file on disk; with a new one its folder, and what was removed from there."""
        if not file.is_named:
            file.is_named = True
            self.removed.clear()
        if not self.ignores_syncs:
            file.sync()

    def remove(self, name: str, *, is_synced: bool) -> None:
        file = self.files.pop(name, None)
        if file is not None and file.is_named and not is_synced:
            self.removed[name] = file
        else:
            self.removed.pop(name, None)

    def after_cut(self, loss: Loss, chance: random.Random) -> SimulatedDisk:
        """What is found when the power is back."""
        candidates = {
            **{name: file for name, file in self.removed.items() if chance.random() < 0.5},
            **{name: file for name, file in self.files.items() if file.is_named},
        }
        return SimulatedDisk(
            {name: file.after_cut(loss, chance) for name, file in candidates.items()},
            ignores_syncs=self.ignores_syncs,
        )


class OpenFile:
    """A file as SQLite handles it (sqlite.org/c3ref/io_methods.html)."""

    def __init__(self, disk: SimulatedDisk, file: File) -> None:
        self._disk = disk
        self._file = file

    def _need_power(self) -> None:
        if not self._disk.works():
            raise apsw.IOError("no power")

    def xRead(self, amount: int, offset: int) -> bytes:
        self._need_power()
        return bytes(self._file.content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._need_power()
        self._file.change(Write(offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._need_power()
        self._file.change(Truncate(size))

    def xSync(self, _flags: int) -> None:
        self._need_power()
        self._disk.sync(self._file)

    def xFileSize(self) -> int:
        return len(self._file.content)

    def xLock(self, _level: int) -> None:
        """One connection at a time: there is nobody to lock out."""

    def xUnlock(self, _level: int) -> None:
        """See `xLock`."""

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE  # as SQLite takes it on Linux

    def xClose(self) -> None:
        """Nothing is synced by it."""


class PowerCutVfs(apsw.VFS):
    """The disk of the hour, as SQLite's default VFS."""

    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__(_NAME, base="", makedefault=True)
        self.disk = disk

    def xOpen(  # type: ignore[override]  # apsw takes any object with the methods of a VFSFile
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> OpenFile:
        if not self.disk.works():
            raise apsw.CantOpenError("no power")
        if isinstance(name, apsw.URIFilename):
            name = name.filename()
        flags[1] = flags[0]
        return OpenFile(self.disk, File() if name is None else self.disk.open(name))

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if not self.disk.works():
            raise apsw.IOError("no power")
        self.disk.remove(filename, is_synced=syncdir)

    def xAccess(self, pathname: str, _flags: int) -> bool:
        return pathname in self.disk.files

    def xFullPathname(self, name: str) -> str:
        return str(Path(name).absolute())


@contextmanager
def power_cuts() -> Iterator[PowerCutVfs]:
    """Every connection that is opened meanwhile has its files on the disk of the hour."""
    vfs = PowerCutVfs(SimulatedDisk())
    apsw.connection_hooks.append(_be_alone)
    try:
        yield vfs
    finally:
        apsw.connection_hooks.remove(_be_alone)
        vfs.unregister()


def _be_alone(connection: apsw.Connection) -> None:
    connection.pragma("locking_mode", "exclusive")
