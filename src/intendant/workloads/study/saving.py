"""Copies of checkpoints: on disk as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from intendant.store.disk import DISK, closing


def save(source: Path, target: Path) -> None:
    """Copy a folder (or one file) to the folder `target`; `OSError` or `shutil.Error` otherwise.

    Blocks for as long as it takes: call it in a thread.
    """
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            shutil.copytree(source, draft, symlinks=True)
        else:
            draft.mkdir()
            shutil.copy2(source, draft)
        _sync(draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        DISK.sync_folder(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
