"""What every verb works with: where the daemon is, and how to reach it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from intendant.client.client import Client, Connection, connect
from intendant.client.endpoint import Address, resolve_address


@dataclass(slots=True)
class Session:
    """One call of the command line."""

    environ: Mapping[str, str]
    endpoint: str | None = None
    key_file: str | None = None
    server_key: str | None = None
    connect: Callable[[Address], Connection] = connect

    def client(self, *, timeout_s: float = 30.0) -> Client:
        """A client of the daemon that was asked for; an answer may take `timeout_s`."""
        address = resolve_address(
            self.environ,
            endpoint=self.endpoint,
            key_file=self.key_file,
            server_key=self.server_key,
        )
        return Client(address, timeout_s=timeout_s, connect=self.connect)
