"""A daemon whose governor of run 1 misbehaves: `python -m tests.helpers.odd_governor serve …`.

It answers its start request with something that is no answer to one, and starts nothing. Every
other run gets a governor as it should be.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import setproctitle

from intendant.executor import executor
from intendant.governor.main import main as govern
from intendant.process.birth import Birth
from intendant.process.line import Line, Reply
from intendant.protocol.messages import RunShutdownResponse, encode
from intendant.protocol.order import GovernorOrder


class _Peeking(Birth):
    """One that goes astray at the order for run 1."""

    def wait_order(self) -> dict[str, Any] | None:
        found = super().wait_order()
        if found is not None and found["run_id"] == 1:
            order = GovernorOrder.model_validate({**self.standing, **found})
            self.settle_in()
            setproctitle.setproctitle(f"intendant: governor {order.run_id}.{order.attempt}")
            asyncio.run(_misbehave(self.report, order))
        return found


def main(birth: Birth) -> int:
    """The governor's process."""
    return govern(_Peeking(birth.standing, birth.report))


async def _misbehave(report: socket.socket, order: GovernorOrder) -> None:
    def answer(_: bytes, reply: Reply) -> None:
        reply(encode(RunShutdownResponse(run_id=order.run_id, attempt=order.attempt)))

    Line(report).hear(answer, lambda: None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    from intendant.cli import main as command_line

    executor.GOVERNOR_ENTRY = "tests.helpers.odd_governor:main"
    sys.argv[0] = "intendant"
    command_line()
