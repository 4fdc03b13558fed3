"""A process that plays the executor after a governor's death: `python -m tests.helpers.orphanage`.

    orphanage KIND MARKER-OF-THE-LOST READY-FILE MARKER-OF-THE-SPARED

It starts a governor with an unruly workload, and a known child with a child of its own; kills the
governor; ends the orphans; and says which of its children are left, and how many zombies.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from intendant.process.children import Children
from intendant.process.pidfd import Pidfd
from intendant.process.subreaper import become_subreaper
from tests.helpers import unruly
from tests.helpers.ground_truth import zombies_of
from tests.helpers.waiting import wait_for


def start_governor(arguments: list[str]) -> int:
    """A child in a session of its own, with the workload below it."""
    pid = os.fork()
    if pid != 0:
        return pid
    os.setsid()
    become_subreaper()
    command = [sys.executable, "-S", "-E", unruly.__file__, *arguments]
    subprocess.Popen(command, process_group=0)
    while True:
        signal.pause()


def start_spared(marker: str) -> int:
    """A known child with a child."""
    script = f"sh -c 'sleep 600; :' {marker} & sleep 600; :"
    return subprocess.Popen(["sh", "-c", script, marker], start_new_session=True).pid


async def end_orphans(governor: int, spared: int) -> dict[str, object]:
    """Kill the governor and end what it leaves."""
    with Children() as children, Pidfd(os.pidfd_open(governor)) as pidfd:
        children.know(governor)
        children.know(spared)
        os.kill(governor, signal.SIGKILL)
        await pidfd.wait_exit()
        children.forget(governor, is_reaped=pidfd.reap() is not None)
        async with asyncio.timeout(60):
            await children.end_orphans(governor)
        return {"orphans": children.orphans(), "zombies": zombies_of(os.getpid())}


def main(lost: list[str], marker: str) -> None:
    """All of it, in order."""
    become_subreaper()
    governor, spared = start_governor(lost), start_spared(marker)
    wait_for("the workload is ready", Path(lost[-1]).exists)
    said = asyncio.run(end_orphans(governor, spared))
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:4], sys.argv[4])
