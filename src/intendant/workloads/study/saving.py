"""Copies of checkpoints: on disk as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from intendant.store.disk import DISK, closing


def save(source: Path, target: Path) -> None:
    """Copy a folder (or one file) to the folder `target`; `OSError` or `shutil.Error` otherwise.

    Where the source has the target in it, the copies beside that are left out: it may be the
    trial's own folder, or the folder of the run.
    Blocks for as long as it takes: call it in a thread.
    """
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            shutil.copytree(source, draft, symlinks=True, ignore=_all_but(target.parent))
        else:
            draft.mkdir()
            shutil.copy2(source, draft)
        _sync(draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        DISK.sync_folder(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _all_but(copies: Path) -> Callable[[str, list[str]], set[str]]:
    """What `copytree` is to leave out."""
    home, name = os.path.split(os.path.realpath(copies))

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name} if name in names and os.path.realpath(folder) == home else set()

    return ignored


def drop(folder: Path) -> None:
    """Remove a checkpoint; that it is gone already is no news."""
    shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    for home, _, files in os.walk(folder):
        for name in files:
            with (
                suppress(FileNotFoundError),
                closing(os.open(Path(home, name), os.O_RDONLY | os.O_NOFOLLOW)) as descriptor,
            ):
                os.fsync(descriptor)
        DISK.sync_folder(Path(home))
