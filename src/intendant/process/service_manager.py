"""What a service manager is told: sd_notify(3), a datagram for each message.

The variables that lead to it are taken out of the environment, so that no other process speaks
in the daemon's name.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

_BEATS_A_PERIOD = 2
"""sd_watchdog_enabled(3) recommends a sign of life every half of the time."""


class ServiceManager:
    """Who started us and wants to know; where nobody does, telling is harmless."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self.beat_s = None if watchdog_s is None else watchdog_s / _BEATS_A_PERIOD
        """How often it wants a sign of life; `None`: never."""

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """The one that `environ` names; its variables are gone from there afterwards."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us = environ.pop("WATCHDOG_USEC", "")
        meant_for = environ.pop("WATCHDOG_PID", "")
        is_watched = period_us.isdecimal() and int(period_us) > 0
        if not is_watched or meant_for not in ("", str(os.getpid())):
            return cls(address or None)
        return cls(address or None, int(period_us) / 1_000_000)

    @property
    def is_there(self) -> bool:
        """Whether anybody wants to hear anything."""
        return self._address is not None

    def tell(self, *assignments: str) -> None:
        """Send `NAME=value`s as one message. A manager that does not listen is not waited for."""
        if self._address is None:
            return
        # A leading @ stands for the NUL byte of an abstract address (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.setblocking(False)
            channel.sendto("\n".join(assignments).encode(), address)
