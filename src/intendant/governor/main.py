"""The governor's process: what the zygote calls in a fresh child."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import setproctitle
import structlog

from intendant import logs
from intendant.governor.governor import Governor
from intendant.process.subreaper import become_subreaper
from intendant.protocol.order import GovernorOrder


def main(order: dict[str, Any]) -> int:
    """Govern one attempt in the current folder; the process's exit status."""
    mine = GovernorOrder.model_validate(order)
    setproctitle.setproctitle(f"intendant: governor {mine.run_id}.{mine.attempt}")
    logs.configure(mine.log_level, role="governor")
    structlog.contextvars.bind_contextvars(run_id=mine.run_id, attempt=mine.attempt)
    os.umask(mine.umask)  # the workload inherits it; our own files say their modes themselves
    become_subreaper()
    return asyncio.run(_govern(mine))


async def _govern(order: GovernorOrder) -> int:
    return await Governor(order, Path.cwd()).run()
