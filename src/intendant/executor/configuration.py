"""Settings and the keys that they name, read together: at the start and at SIGHUP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from intendant.broker.addresses import check_address
from intendant.broker.config import BrokerConfig, Endpoint, KeyPair
from intendant.errors import SettingsError
from intendant.protocol.folders import (
    AUTHORIZED_KEYS_FILE,
    SERVER_KEY_FILE,
    client_endpoint,
    system_log,
)
from intendant.protocol.roles import Caller
from intendant.settings import Settings

PRIVATE_SOCKET = "private.sock"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a daemon is told from outside."""

    settings: Settings
    server_key: KeyPair | None = field(default=None, repr=False)
    authorized: Mapping[str, Caller] = field(default_factory=dict)


def configuration(settings: Settings, folder: Path) -> Configuration:
    """The settings with their keys, whose paths start at `folder`.

    `SettingsError` if an endpoint may not be listened at, or a key file can't be used. No tcp
    address is listened at without keys: on a loopback one every user of the machine would get in.
    """
    if not any(uri.startswith("tcp:") for uri in settings.listen):
        check_endpoints(settings.listen, check_address)
        return Configuration(settings)
    server = folder / (settings.server_key_file or SERVER_KEY_FILE)
    authorized = folder / (settings.authorized_keys or AUTHORIZED_KEYS_FILE)
    for key, path in (("server_key_file", server), ("authorized_keys", authorized)):
        if getattr(settings, key) is None and not path.exists():
            raise SettingsError(
                f"listen: found {' '.join(settings.listen)}, but no {path} ({key}): without keys "
                "nothing but sockets is listened at, not even a loopback address "
                f"('intendant keygen --server' makes the one, README says what is in {authorized})"
            )
    check_endpoints(settings.listen, partial(check_address, has_keys=True))
    # Most daemons have no keys, and start without what reads them.
    from intendant.broker.authorized_keys import read_authorized_keys
    from intendant.broker.keys import read_pair

    return Configuration(settings, read_pair(server), read_authorized_keys(authorized))


def check_endpoints(listen: Iterable[str], check: Callable[[str], None]) -> None:
    """Have each endpoint checked; `SettingsError` says whose key in the settings it is."""
    for uri in listen:
        try:
            check(uri)
        except SettingsError as error:
            raise SettingsError(f"listen: {error}") from error


def broker_config(told: Configuration, *, state_dir: Path, runtime_dir: Path) -> BrokerConfig:
    """What the broker of this process is told at its start; its first endpoint is ours alone."""
    settings = told.settings
    public = (client_endpoint(runtime_dir), *settings.listen)
    return BrokerConfig(
        endpoints=(
            Endpoint(f"ipc://{runtime_dir / PRIVATE_SOCKET}", private=True),
            *map(Endpoint, public),
        ),
        heartbeat_s=settings.heartbeat_s,
        liveness=settings.liveness,
        daemon_pid=os.getpid(),
        patience_s=settings.start_deadline_s,
        max_streams=settings.max_streams,
        system_log=system_log(state_dir),
        log_level=settings.log_level,
        server_key=told.server_key,
        authorized=told.authorized,
        max_connections=settings.max_connections,
        memory_bytes=settings.broker_memory_mib * 1024 * 1024,
    )
