"""What every verb works with: where the daemon is, and how to reach it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from intendant.client.client import Client, Connection, connect
from intendant.client.endpoint import resolve_endpoint


@dataclass(slots=True)
class Session:
    """One call of the command line."""

    environ: Mapping[str, str]
    endpoint: str | None = None
    connect: Callable[[str], Connection] = connect

    def client(self) -> Client:
        """A client of the daemon that was asked for."""
        endpoint = resolve_endpoint(self.endpoint, self.environ)
        return Client(endpoint, connect=self.connect)
