"""What supervision and recovery work with: made once at the start, handed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from intendant.broker.client import ConnectionPool
from intendant.broker.link import BrokerLink
from intendant.executor.troubles import Troubles
from intendant.launch.base import Launcher
from intendant.process.cgroup import Cgroup
from intendant.process.children import Children
from intendant.protocol.order import cgroup_name, governor_service
from intendant.settings import Settings
from intendant.store.base import Store
from intendant.store.reserve import Reserve
from intendant.store.spool import Spool


@dataclass(slots=True)
class Parts:
    """The daemon's parts. Only `settings` is ever replaced."""

    settings: Settings
    state_dir: Path
    private_endpoint: str
    store: Store
    spool: Spool
    children: Children
    broker: BrokerLink
    launcher: Launcher
    governors: ConnectionPool
    cgroup_home: Cgroup | None
    """Where attempts get cgroups of their own; without one a subreaper keeps their trees."""
    umask: int
    """What the daemon was started with: what runs inherit. Its own is stricter."""
    is_embedded: bool
    """Whether its runs must not outlive this daemon."""
    client_endpoint: str
    """Where runs find the daemon that carries them out."""
    troubles: Troubles
    reserve: Reserve
    slot_freed: Callable[[], None]
    """To be called when a run that lives turns out to hold no slot."""

    def cgroup_of(self, run_id: int, attempt: int, token_sha256: str) -> Cgroup | None:
        """The group in which an attempt's workload is, or would have been."""
        if self.cgroup_home is None:
            return None
        service = governor_service(run_id, attempt)
        return Cgroup(self.cgroup_home.path / cgroup_name(service, token_sha256))


def utc_now() -> datetime:
    """The wall clock: for what people read, never for durations."""
    return datetime.now(UTC)
