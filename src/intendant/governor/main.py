"""The governor's process: what the zygote calls in a fresh child."""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import asyncio
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import setproctitle
import structlog

from intendant.governor.governor import Governor
from intendant.process.cgroup import Cgroup, make_child
from intendant.process.stub import Stub
from intendant.process.subreaper import become_subreaper
from intendant.protocol.order import GovernorOrder, cgroup_name


def main(
    order: dict[str, Any],
    report: socket.socket | None = None,
    settle_in: Callable[[], None] = lambda: None,
) -> int:
    """Govern one attempt in the folder that it settles in; the process's exit status.

    `report` leads to the executor that had it launched, where that is on this machine.
    """
    mine = GovernorOrder.model_validate(order)
    os.umask(mine.umask)  # for the cgroup and the workload; our own files say their modes
    # First of all, and before there is an event loop or a zmq Context, which no fork would survive.
    cgroup = _make_cgroup(mine)
    stub = Stub.fork(cgroup, title=f"intendant: stub {mine.run_id}.{mine.attempt}")
    try:
        settle_in()
        setproctitle.setproctitle(f"intendant: governor {mine.run_id}.{mine.attempt}")
        logs.configure(mine.log_level, role="governor")
        structlog.contextvars.bind_contextvars(run_id=mine.run_id, attempt=mine.attempt)
        become_subreaper()
        # Not asyncio.run(): nobody takes a loop apart whose process is about to end.
        return asyncio.new_event_loop().run_until_complete(_govern(mine, report, stub, cgroup))
    finally:
        stub.dismiss()
        if cgroup is not None:
            cgroup.remove()


async def _govern(
    order: GovernorOrder, report: socket.socket | None, stub: Stub, cgroup: Cgroup | None
) -> int:
    return await Governor(order, Path.cwd(), report=report, stub=stub, cgroup=cgroup).run()


def _make_cgroup(order: GovernorOrder) -> Cgroup | None:
    if order.cgroup_home is None:
        return None
    token_sha256 = hashlib.sha256(order.token.encode()).hexdigest()
    return make_child(Cgroup(Path(order.cgroup_home)), cgroup_name(order.service, token_sha256))
