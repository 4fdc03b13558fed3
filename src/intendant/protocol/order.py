"""What a governor is told at its launch; it travels from the executor through the zygote."""

from __future__ import annotations

from pydantic import Field

from intendant.protocol.fields import Model


class GovernorOrder(Model):
    """One attempt, and where its executor is."""

    run_id: int
    attempt: int
    token: str = Field(repr=False, description="proof towards broker and executor")
    endpoint: str
    state_dir: str
    start_deadline_s: float = Field(gt=0)
    heartbeat_s: float = Field(gt=0)
    liveness: int = Field(ge=1)
    log_level: str
    umask: int = Field(description="what a workload inherits unless its spec says otherwise")
    cgroup_home: str | None = Field(
        description="cgroup v2 folder in which the workload gets a group; null: no cgroup"
    )
    daemon: tuple[int, int] = Field(description="pid and start time of who launched it")
    is_embedded: bool = Field(description="whether the run must not outlive that daemon")

    @property
    def service(self) -> str:
        """The service it offers."""
        return governor_service(self.run_id, self.attempt)


def cgroup_name(service: str, token_sha256: str) -> str:
    """What an attempt's cgroup is called: no other daemon's attempt has the same name."""
    return f"{service}.{token_sha256[:8]}"


def governor_service(run_id: int, attempt: int) -> str:
    """The name under which one attempt's governor is found on the bus."""
    return f"governor.{run_id}.{attempt}"
