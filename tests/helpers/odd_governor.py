"""A daemon whose governor of run 1 misbehaves: `python -m tests.helpers.odd_governor serve …`.

It answers its start request with something that is no answer to one, and starts nothing. Every
other run gets a governor as it should be.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

import setproctitle

from intendant.broker.worker import Request, Worker
from intendant.executor import executor
from intendant.governor.main import main as govern
from intendant.protocol.messages import RunShutdownResponse, encode
from intendant.protocol.order import GovernorOrder


def main(order: dict[str, Any], report: socket.socket, settle_in: Callable[[], None]) -> int:
    """The governor's process."""
    mine = GovernorOrder.model_validate(order)
    if mine.run_id != 1:
        return govern(order, report, settle_in)
    settle_in()
    setproctitle.setproctitle(f"intendant: governor {mine.run_id}.{mine.attempt}")
    asyncio.run(_misbehave(mine))
    return 0


async def _misbehave(order: GovernorOrder) -> None:
    async def answer(_: Request) -> list[bytes]:
        return [encode(RunShutdownResponse(run_id=order.run_id, attempt=order.attempt))]

    await Worker(order.endpoint, f"{order.service}.{order.token}".encode(), answer).run()


if __name__ == "__main__":
    from intendant.cli import main as command_line

    executor.GOVERNOR_ENTRY = "tests.helpers.odd_governor:main"
    sys.argv[0] = "intendant"
    command_line()
