"""What a governor is told at its launch; it travels from the executor through the zygote."""

from __future__ import annotations

from pydantic import Field

from intendant.protocol.fields import Model


class GovernorKeys(Model):
    """What a governor afar connects with: a pair of its attempt alone, and the server's key."""

    public_key: str
    secret_key: str = Field(repr=False)
    server_key: str


class Standing(Model):
    """What all orders of a daemon have in common: where it is, and how it wants things done."""

    endpoint: str
    client_endpoint: str | None = Field(
        default=None, description="where the workload finds the daemon, if it is on its machine"
    )
    state_dir: str
    start_deadline_s: float = Field(gt=0)
    heartbeat_s: float = Field(gt=0)
    liveness: int = Field(ge=1)
    log_level: str
    umask: int = Field(description="what a workload inherits unless its spec says otherwise")
    cgroup_home: str | None = Field(
        description="cgroup v2 folder in which the workload gets a group; null: no cgroup"
    )
    daemon: tuple[int, int] | None = Field(
        description="pid and start time of who launched it; null: on another machine"
    )
    is_embedded: bool = Field(description="whether the run must not outlive that daemon")


class GovernorOrder(Standing):
    """One attempt."""

    run_id: int
    attempt: int
    token: str = Field(repr=False, description="proof towards broker and executor")
    keys: GovernorKeys | None = Field(default=None, description="where the endpoint is far away")

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
