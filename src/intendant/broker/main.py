"""The broker of a daemon: what the executor starts a process for, before much else is loaded."""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import os
import socket

import structlog
from setproctitle import setproctitle

from intendant.broker.config import BrokerConfig
from intendant.errors import SettingsError
from intendant.process.limits import limit_memory

log = structlog.get_logger()


async def main(config: BrokerConfig, control: socket.socket) -> None:
    """Be the broker until a signal comes or the executor is gone."""
    from intendant.broker.control import serve

    setproctitle("intendant: broker")
    logs.configure(config.log_level, role="broker", system_log=config.system_log)
    os.umask(0o077)
    if config.memory_bytes is not None:
        limit_memory(config.memory_bytes)
    try:
        await serve(config, control)
    except SettingsError as error:
        log.critical("broker_failed", error=str(error))
        raise SystemExit(1) from error
