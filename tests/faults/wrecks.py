"""What a power cut can leave of a few files and folders, told from the journal of what was done.

`JournalingDisk` does what `intendant.store.disk.Disk` does and keeps a journal of it; `wrecks`
gives every state in which a cut after the journal's last entry can leave the folders. No more is
taken for granted than fsync(2) says: content is on disk after its file's sync, a name after its
folder's, in any order and in any part before that. Only a rename is one step (rename(2)).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intendant.store.disk import Disk


class Killed(BaseException):
    """The process died here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: a method of `_State`, and what it is called with."""

    act: str
    arguments: tuple[Any, ...]

    @property
    def is_sync(self) -> bool:
        return self.act in ("sync", "sync_folder")


class JournalingDisk(Disk):
    """A disk that notes what was done; after `lasts` entries the process that does it dies."""

    def __init__(self, journal: list[Entry], lasts: int | None = None) -> None:
        self._journal = journal
        self._lasts = lasts
        self._paths: dict[int, Path] = {}

    def _note(self, act: str, *arguments: object) -> None:
        self._live_on()
        self._journal.append(Entry(act, arguments))

    def _live_on(self) -> None:
        if self._lasts is not None:
            if self._lasts == 0:
                raise Killed
            self._lasts -= 1

    def make_folder(self, path: Path) -> None:
        self._note("make_folder", path)
        super().make_folder(path)

    def create(self, path: Path) -> int:
        self._note("make_file", path)
        return self._remember(super().create(path), path)

    def open(self, path: Path) -> int:
        self._note("make_file", path)
        return self._remember(super().open(path), path)

    def _remember(self, descriptor: int, path: Path) -> int:
        self._paths[descriptor] = path
        return descriptor

    def reserve(self, descriptor: int, size_bytes: int) -> None:
        self._note("write", self._paths[descriptor], bytes(size_bytes))
        super().reserve(descriptor, size_bytes)

    def write(self, descriptor: int, data: bytes) -> None:
        self._note("write", self._paths[descriptor], data)
        super().write(descriptor, data)

    def link(self, path: Path, name: Path) -> None:
        self._live_on()
        super().link(path, name)
        self._journal.append(Entry("link", (path, name)))  # one that failed is none

    def rename(self, path: Path, name: Path) -> None:
        self._note("rename", path, name)
        super().rename(path, name)

    def remove(self, path: Path) -> None:
        self._note("remove", path)
        super().remove(path)

    def sync(self, descriptor: int) -> None:
        self._note("sync", self._paths[descriptor])

    def sync_folder(self, path: Path) -> None:
        self._note("sync_folder", path)


# --- what is left --------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """A file: its content on disk, and what was written to it since."""

    content: bytes = b""
    changes: list[bytes] = field(default_factory=list)

    def sync(self) -> None:
        self.content = self.changes[-1] if self.changes else self.content
        self.changes.clear()

    def outcomes(self) -> set[bytes]:
        """Every content that a cut can leave."""
        found = {self.content}
        for data in self.changes:
            found |= {torn for content in found for torn in _torn(content, data)}
        return found


def _torn(content: bytes, data: bytes) -> Iterator[bytes]:
    """A file whose content was to become `data`, of which only a part reached the disk."""
    half = len(data) // 2
    yield data
    yield bytes(len(data))  # the size alone
    yield data[:half] + bytes(len(data) - half)
    yield data + content[len(data) :]  # all but the size


_Node = _File | None
"""A file, or (None) a folder."""
_Names = dict[Path, _Node]
_Change = Callable[[_Names], None]


@dataclass(slots=True)
class _Folder:
    """The names in a folder that are on disk, and what was done to them since."""

    names: _Names = field(default_factory=dict)
    changes: list[_Change] = field(default_factory=list)

    def outcomes(self) -> Iterator[_Names]:
        """Every set of names that a cut can leave."""
        for kept in itertools.product((False, True), repeat=len(self.changes)):
            names = dict(self.names)
            for change in itertools.compress(self.changes, kept):
                change(names)
            yield names

    def sync(self) -> None:
        for change in self.changes:
            change(self.names)
        self.changes.clear()


@dataclass(slots=True)
class _State:
    """The folders as they are on disk and as processes see them."""

    folders: dict[Path, _Folder] = field(default_factory=dict)
    seen: _Names = field(default_factory=dict)

    def make_folder(self, path: Path) -> None:
        if path not in self.seen:
            self._name(path, None)

    def make_file(self, path: Path) -> None:
        if path not in self.seen:
            self._name(path, _File())

    def write(self, path: Path, data: bytes) -> None:
        self._file(path).changes.append(data)

    def link(self, path: Path, name: Path) -> None:
        self._name(name, self._file(path))

    def rename(self, path: Path, name: Path) -> None:
        self._change(path, _renaming(path, name, self._file(path)))

    def remove(self, path: Path) -> None:
        self._change(path, _removing(path))

    def sync(self, path: Path) -> None:
        self._file(path).sync()

    def sync_folder(self, path: Path) -> None:
        if path in self.folders:
            self.folders[path].sync()

    def _name(self, path: Path, node: _Node) -> None:
        self._change(path, lambda names: names.update({path: node}))

    def _change(self, path: Path, change: _Change) -> None:
        """Change names in the folder of `path`: at once for processes, some time for the disk."""
        change(self.seen)
        self.folders.setdefault(path.parent, _Folder()).changes.append(change)

    def _file(self, path: Path) -> _File:
        file = self.seen[path]
        assert file is not None
        return file


def _removing(path: Path) -> _Change:
    def remove(names: _Names) -> None:
        names.pop(path, None)

    return remove


def _renaming(path: Path, name: Path, file: _File) -> _Change:
    def rename(names: _Names) -> None:
        names.pop(path, None)
        names[name] = file

    return rename


Wreck = dict[Path, bytes | None]
"""Files by path, and folders (None). What isn't reachable isn't there."""


def wrecks(journal: Sequence[Entry], root: Path) -> Iterator[Wreck]:
    """Every state in which a power cut after these entries can leave what is in `root`."""
    state = _State()
    for entry in journal:
        getattr(state, entry.act)(*entry.arguments)
    for choice in itertools.product(*(folder.outcomes() for folder in state.folders.values())):
        names = {path: node for part in choice for path, node in part.items()}
        reachable = {path: node for path, node in names.items() if _is_reachable(path, root, names)}
        yield from _with_contents(reachable)


def _with_contents(names: _Names) -> Iterator[Wreck]:
    """Every content that files of these names can have."""
    files = {path: node for path, node in names.items() if node is not None}
    folders: Wreck = dict.fromkeys(names.keys() - files.keys())
    for contents in itertools.product(*(file.outcomes() for file in files.values())):
        yield {**folders, **dict(zip(files, contents, strict=True))}


def _is_reachable(path: Path, root: Path, names: _Names) -> bool:
    above = itertools.takewhile(lambda folder: folder != root, path.parents)
    return all(folder in names for folder in above)
