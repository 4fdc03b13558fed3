"""Launchers by their names in the settings. To add one: a module here, a line in `_LAUNCHERS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from intendant.launch.base import Launcher
from intendant.launch.local import LocalLauncher
from intendant.launch.portable import PortableLauncher
from intendant.process.children import Children

LauncherName = Literal["zygote", "portable"]

_LAUNCHERS: dict[LauncherName, type[LocalLauncher | PortableLauncher]] = {
    "zygote": LocalLauncher,
    "portable": PortableLauncher,
}


def make_launcher(
    name: LauncherName, *, entry: str, preload: Sequence[str], children: Children
) -> Launcher:
    """The launcher of this name."""
    return _LAUNCHERS[name](entry=entry, preload=preload, children=children)
