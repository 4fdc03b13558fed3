"""What a broker process is told at its start; plain values, so that it can be sent to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from intendant.protocol import mdp
from intendant.protocol.roles import Caller

PRIVATE_HWM = 1000
CLIENT_HWM = 64
"""Messages on their way to or from one client: of a log 64 KiB each."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key, which others know us by, and the secret one that proves it."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen at; `private`: for the executor and the governors of this machine."""

    uri: str
    private: bool = False
    earlier: str | None = None
    """Where an earlier broker listened when the system chose the port; tried first."""

    @property
    def is_local(self) -> bool:
        """Whether it is a socket of this machine, at a path."""
        return self.uri.startswith("ipc:")

    @property
    def high_water_mark(self) -> int:
        """How many messages may wait until one peer reads them."""
        return PRIVATE_HWM if self.private else CLIENT_HWM


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Everything the broker's behaviour depends on."""

    endpoints: tuple[Endpoint, ...] = ()
    heartbeat_s: float = mdp.HEARTBEAT_S
    liveness: int = mdp.LIVENESS
    open_registration: bool = False
    daemon_pid: int | None = None
    patience_s: float = 30.0
    request_ttl_s: float = 60.0
    max_queue: int = 10_000
    max_streams: int = 256
    redeliver: frozenset[bytes] = frozenset()
    log_level: str = "info"
    system_log: Path | None = None
    server_key: KeyPair | None = field(default=None, repr=False)
    """With it, whoever comes by tcp must have one of the `authorized` keys."""
    authorized: Mapping[str, Caller] = field(default_factory=dict)
    max_connections: int = 1024
    """Of each tcp endpoint."""
    memory_bytes: int | None = None
    """How large the broker's process may grow."""

    @property
    def expiry_s(self) -> float:
        """The silence after which a worker counts as gone (RFC 18: liveness x interval)."""
        return self.heartbeat_s * self.liveness

    @property
    def waiting_s(self) -> float:
        """How long a request waits for a worker."""
        return self.request_ttl_s if self.open_registration else self.patience_s
