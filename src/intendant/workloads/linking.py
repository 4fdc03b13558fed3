"""The same files under other names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_tree(source: Path, target: Path) -> None:
    """The files of a folder in another one, too; copied where they can't be linked."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True, symlinks=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:  # from a try that was cut short
        return
    except OSError:
        shutil.copy2(source, target)
