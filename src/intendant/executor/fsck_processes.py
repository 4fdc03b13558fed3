"""The processes that `fsck` holds against the attempts they may belong to."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from intendant.process.identity import process_stat
from intendant.protocol.records import ClaimRecord


@dataclass(frozen=True, slots=True)
class Processes:
    """Every live process that may belong to an attempt, seen in one pass over /proc."""

    sessions: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By the session's number, its members."""
    in_folders: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By run and attempt, those that work in the attempt's folder: its governor does."""
    told_so: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By run and attempt, those whose environment says that they belong to it."""

    def left_in(self, session: int) -> list[int]:
        """Who is still in the session of a leader that is dead.

        A leader that was seen alive has died since, or was another's: the kernel gives a number out
        again only when its session has no members (credentials(7)).
        """
        members = self.sessions.get(session, [])
        return [] if session in members else [pid for pid in members if is_in(session, pid)]


def lives(claim: ClaimRecord) -> bool:
    """Whether the governor that made this claim, in this boot, is still there."""
    stat = process_stat(claim.pid)
    return stat is not None and stat.start_time == claim.start_time and stat.state != "Z"


def is_in(session: int, pid: int) -> bool:
    """Whether this process lives, in this session."""
    stat = process_stat(pid)
    return stat is not None and stat.session == session and stat.state != "Z"


def find_processes(spool: Path) -> Processes:
    """The live processes, by session and by the attempt in whose folder they work."""
    found = Processes()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or (stat := process_stat(pid := int(entry.name))) is None:
            continue
        if stat.state == "Z" or pid == os.getpid():
            continue
        found.sessions[stat.session].append(pid)
        with suppress(OSError, ValueError):  # gone, another user's, or somewhere else
            inside = (entry / "cwd").readlink().relative_to(spool.resolve()).parts
            found.in_folders[int(inside[0]), int(inside[1])].append(pid)
        if (attempt := _attempt_in_environment(entry / "environ", spool.parent)) is not None:
            found.told_so[attempt].append(pid)
    return found


def _attempt_in_environment(environ: Path, state_dir: Path) -> tuple[int, int] | None:
    """The attempt whose workload, or what that started, has this environment."""
    try:
        pairs = (pair.partition(b"=") for pair in environ.read_bytes().split(b"\0"))
        variables = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
        if not Path(variables["INTENDANT_STATE_DIR"]).samefile(state_dir):
            return None
        return int(variables["INTENDANT_RUN_ID"]), int(variables["INTENDANT_ATTEMPT"])
    except (OSError, KeyError, ValueError):  # gone, another user's, or none of ours
        return None
