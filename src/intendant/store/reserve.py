"""Room on the disk that is given up once there is no other: to make more takes some as well."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from intendant.store.disk import DISK, closing

RESERVE_NAME = "reserve"
SIZE_BYTES = 1024 * 1024
"""What forgetting a few runs takes in the database's log, many times over."""


class Reserve:
    """A file in the state folder that holds nothing but its place."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / RESERVE_NAME

    def lay(self) -> None:
        """Take the room, as far as there is any; harmless where it is taken."""
        with suppress(OSError), closing(DISK.open(self._path)) as descriptor:
            DISK.reserve(descriptor, SIZE_BYTES)

    def give_up(self) -> None:
        """Let others have it; harmless where it is given up."""
        with suppress(OSError):
            self._path.unlink()
