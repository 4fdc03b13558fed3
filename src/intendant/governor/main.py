"""The governor's process: what the zygote calls in a fresh child.

What needs no order is done before there is one: a governor that has waited for its order starts the
workload in half the time.
"""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import asyncio
import hashlib
import os
import socket
from pathlib import Path

import setproctitle
import structlog

from intendant.governor.governor import Governor
from intendant.process.birth import Birth
from intendant.process.cgroup import Cgroup, make_child
from intendant.process.line import Line
from intendant.process.stub import Stub
from intendant.process.subreaper import become_subreaper
from intendant.protocol.order import GovernorOrder, Standing, cgroup_name


def main(birth: Birth) -> int:
    """Wait for an order and govern its attempt, if one comes; the process's exit status."""
    standing = Standing.model_validate(birth.standing)
    os.umask(standing.umask)  # for cgroup and workload; our own files say their modes
    # The stub comes first of all: what was written to before a fork is copied when it is written to
    # again. One that is to be born in a cgroup has to wait until that has a name.
    stub = Stub.fork(None) if standing.cgroup_home is None else None
    setproctitle.setproctitle("intendant: spare governor")
    logs.configure(standing.log_level, role="governor", to_file=True)
    become_subreaper()
    # Not asyncio.run(): nobody takes a loop apart whose process is about to end.
    loop = asyncio.new_event_loop()
    found = birth.wait_order()
    if found is None:
        if stub is not None:
            stub.dismiss()
        return 0
    order = GovernorOrder.model_validate({**birth.standing, **found})
    cgroup = _make_cgroup(order)
    stub = stub or Stub.fork(cgroup)
    try:
        birth.settle_in()
        setproctitle.setproctitle(f"intendant: governor {order.run_id}.{order.attempt}")
        structlog.contextvars.bind_contextvars(run_id=order.run_id, attempt=order.attempt)
        return loop.run_until_complete(_govern(order, birth.report, stub, cgroup))
    finally:
        stub.dismiss()
        if cgroup is not None:
            cgroup.remove()


async def _govern(
    order: GovernorOrder, report: socket.socket, stub: Stub, cgroup: Cgroup | None
) -> int:
    return await Governor(order, Path.cwd(), line=Line(report), stub=stub, cgroup=cgroup).run()


def _make_cgroup(order: GovernorOrder) -> Cgroup | None:
    if order.cgroup_home is None:
        return None
    token_sha256 = hashlib.sha256(order.token.encode()).hexdigest()
    return make_child(Cgroup(Path(order.cgroup_home)), cgroup_name(order.service, token_sha256))
