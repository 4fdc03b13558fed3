"""One cgroup per attempt, where cgroup v2 can be written (cgroups(7), kernel: cgroup-v2.rst).

A process can leave its session, its group and its parent, but not its cgroup: `cgroup.kill` ends
all of them at once and `cgroup.events` says when none is left. The tree may be mounted anywhere,
so it is looked up in mountinfo; that it can't be written is normal, and callers then do without.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from intendant.process.readiness import wait_readable


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One group, by its folder."""

    path: Path

    def join(self) -> None:
        """Move this process in; what it forks is born here."""
        (self.path / "cgroup.procs").write_bytes(b"0")

    def kill(self) -> None:
        """SIGKILL to every process in it and below, at once; harmless when there is none."""
        with suppress(FileNotFoundError, OSError):
            (self.path / "cgroup.kill").write_bytes(b"1")

    def is_empty(self) -> bool:
        """Whether no live process is left in it or below; a group that is gone is empty."""
        try:
            return b"populated 0" in (self.path / "cgroup.events").read_bytes()
        except (FileNotFoundError, OSError):
            return not self.path.exists()

    def members(self) -> list[int]:
        """The pids directly in it."""
        try:
            return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]
        except (FileNotFoundError, OSError):
            return []

    async def wait_empty(self) -> None:
        """Return once it is empty: the kernel marks a change of cgroup.events with POLLPRI."""
        try:
            descriptor = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with _Changes(descriptor) as changes:
            while not self.is_empty():
                await changes.wait_change()

    def remove(self) -> None:
        """Remove the group and those the workload made below it; harmless if it is gone."""
        with suppress(OSError):
            for folder, _, _ in os.walk(self.path, topdown=False):
                Path(folder).rmdir()


class _Changes:
    """POLLPRI of one file as something to wait for; epoll itself is readable when it has events."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._epoll = select.epoll()
        self._epoll.register(descriptor, select.EPOLLPRI | select.EPOLLET)

    def __enter__(self) -> _Changes:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        os.close(self._descriptor)

    async def wait_change(self) -> None:
        try:
            await wait_readable(self._epoll.fileno())
        finally:
            self._epoll.poll(0)


def own_cgroup() -> Cgroup | None:
    """The cgroup v2 group of this process, if it can be written and knows `cgroup.kill`."""
    mount = _mount_point(Path("/proc/self/mountinfo"))
    own = _own_path(Path("/proc/self/cgroup"))
    if mount is None or own is None:
        return None
    path = mount / own.lstrip("/")
    if not os.access(path, os.W_OK) or not os.access(path / "cgroup.procs", os.W_OK):
        return None
    return Cgroup(path)


def make_child(parent: Cgroup, name: str) -> Cgroup | None:
    """A new group below `parent`; `None` where it can't be had. An old one of that name is used."""
    child = Cgroup(parent.path / name)
    try:
        child.path.mkdir(mode=0o755, exist_ok=True)
    except OSError:
        return None
    if not (child.path / "cgroup.kill").exists():
        child.remove()
        return None
    return child


def _mount_point(mountinfo: Path) -> Path | None:
    """Where cgroup2 is mounted (proc_pid_mountinfo(5): fields before and after the lone dash)."""
    with suppress(OSError):
        for line in mountinfo.read_text().splitlines():
            before, _, after = line.partition(" - ")
            if after.split(" ")[0] == "cgroup2":
                return Path(before.split(" ")[4].encode().decode("unicode_escape"))
    return None


def _own_path(cgroup: Path) -> str | None:
    with suppress(OSError):
        for line in cgroup.read_text().splitlines():
            if line.startswith("0::"):
                return line.removeprefix("0::")
    return None
