"""A process that keeps a tree as a governor does: `python -m tests.helpers.tree_keeper …`.

    tree_keeper METHOD GRACE_S KIND MARKER READY-FILE

Starts the unruly workload, ends it when a line comes on stdin, and says how that went: one JSON
object on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

from intendant.governor.escalation import Escalation
from intendant.process.cgroup import Cgroup, make_child, own_cgroup
from intendant.process.readiness import wait_readable
from intendant.process.reaper import Reaper
from intendant.process.subreaper import become_subreaper
from intendant.process.tree import WorkloadTree
from tests.helpers import unruly


def start(arguments: list[str]) -> int:
    """The workload, in a process group of its own."""
    command = [sys.executable, "-S", "-E", unruly.__file__, *arguments]
    child = subprocess.Popen(command, process_group=0, stdin=subprocess.DEVNULL)
    child.returncode = 0  # the reaper's to reap
    return child.pid


def start_inside(cgroup: Cgroup | None, home: Cgroup | None, arguments: list[str]) -> int:
    """The workload, born in its cgroup where there is one."""
    if cgroup is None or home is None:
        return start(arguments)
    cgroup.join()
    try:
        return start(arguments)
    finally:
        home.join()


async def keep(method: str, grace_s: float, arguments: list[str]) -> dict[str, object]:
    """Start, wait for the word, end; what there is to say of it."""
    home = own_cgroup() if method == "cgroup" else None
    cgroup = None if home is None else make_child(home, f"intendant-test.{os.getpid()}")
    notes: list[str] = []
    with Reaper() as reaper:
        leader = start_inside(cgroup, home, arguments)
        reaper.watch(leader)
        await wait_readable(sys.stdin.fileno())
        tree = WorkloadTree(leader, reaper=reaper, cgroup=cgroup)
        escalation = Escalation(tree, leader=leader, reaper=reaper, note=notes.append)
        began = time.monotonic()
        await escalation.end(grace_s=grace_s)
        took_s = time.monotonic() - began
        is_empty = tree.is_empty()
    if cgroup is not None:
        cgroup.remove()
    return {"method": tree.method, "took_s": took_s, "notes": notes, "is_empty": is_empty}


if __name__ == "__main__":
    become_subreaper()
    said = asyncio.run(keep(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
    sys.stdout.write(json.dumps(said))
