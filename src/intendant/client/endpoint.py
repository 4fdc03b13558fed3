"""Where the daemon is, by which keys it is reached, and whether it makes sense to wait for it.

A zmq socket connects to an endpoint that does not exist as gladly as to one that does, and waits.
So an ipc endpoint is looked at first: when nothing listens there and `daemon.json` beside it names
no live process, nobody will ever answer. While the daemon lives, its broker may be starting again.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from intendant.errors import SettingsError, Unreachable
from intendant.protocol.folders import (
    CLIENT_KEY_FILE,
    DAEMON_FILE,
    client_endpoint,
    configuration_dir,
    runtime_dir,
    settings_files,
)

if TYPE_CHECKING:
    from intendant.broker.keys import ClientKeys

_IPC = "ipc://"
MAX_PORT = 65535
_SCHEMES = (_IPC, "tcp://")


@dataclass(frozen=True, slots=True)
class Address:
    """A daemon's endpoint, and the keys for it if it is far away."""

    endpoint: str
    keys: ClientKeys | None = field(default=None, repr=False)


def resolve_address(
    environ: Mapping[str, str],
    *,
    endpoint: str | Address | None = None,
    key_file: str | Path | None = None,
    server_key: str | None = None,
) -> Address:
    """The daemon's endpoint, and for tcp the keys: named outright, in the environment or settings.

    A key file that is nowhere named is `client.key` in the settings' folder. `SettingsError` if
    there is a key but not the server's, or the other way round.
    """
    if isinstance(endpoint, Address):
        return endpoint
    endpoint = resolve_endpoint(endpoint, environ)
    if not endpoint.startswith(_SCHEMES):
        raise SettingsError(f"endpoint: found {endpoint!r}, expected ipc://PATH or tcp://HOST:PORT")
    if is_local(endpoint):
        return Address(endpoint)
    _check_port(endpoint)
    named = (
        str(key_file or "")
        or environ.get("INTENDANT_KEY_FILE")
        or _of_settings("key_file", "a path", environ)
    )
    expected = (
        server_key
        or environ.get("INTENDANT_SERVER_KEY")
        or _of_settings("server_key", "a public key", environ)
    )
    folder = configuration_dir(environ)
    if expected is None:
        if named:
            raise SettingsError(
                f"server_key: found none beside the key file {named}, expected the public key of "
                f"the daemon at {endpoint} (--server-key, INTENDANT_SERVER_KEY or settings)"
            )
        return Address(endpoint)
    from intendant.broker.keys import ClientKeys, is_key, read_pair  # most have no keys

    if not is_key(expected):
        raise SettingsError(f"server_key: found {expected!r}, expected 40 characters of Z85")
    return Address(endpoint, ClientKeys(read_pair(folder / (named or CLIENT_KEY_FILE)), expected))


def resolve_endpoint(explicit: str | None, environ: Mapping[str, str]) -> str:
    """The daemon's endpoint: named outright, in the environment, in the settings, or the user's."""
    return (
        explicit
        or environ.get("INTENDANT_ENDPOINT")
        or _of_settings("endpoint", "ipc:// or tcp://", environ)
        or client_endpoint(runtime_dir(environ))
    )


def _check_port(endpoint: str) -> None:
    port = endpoint.rpartition(":")[2]
    if port.isdecimal() and not 0 < int(port[:6]) <= MAX_PORT:
        raise SettingsError(f"endpoint: found {endpoint!r}, expected a port from 1 to {MAX_PORT}")


def is_local(endpoint: str) -> bool:
    """Whether the daemon shares this machine: folders and environments mean the same to both."""
    return endpoint.startswith(_IPC)


def require_life(endpoint: str) -> None:
    """Raise `Unreachable` where waiting is in vain: no socket and no live daemon."""
    if not is_local(endpoint):
        return
    path = Path(endpoint.removeprefix(_IPC))
    if not (daemon_lives(path.parent) or _is_listening(path)):
        raise Unreachable(f"no daemon answers at {endpoint}: start one with 'intendant serve'")


def daemon_lives(runtime: Path) -> bool:
    """Whether the process that `daemon.json` names is still the one that wrote it."""
    try:
        found = json.loads((runtime / DAEMON_FILE).read_bytes())
        pid, start_time = int(found["pid"]), int(found["start_time"])
        return _start_time(pid) == start_time
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _start_time(pid: int) -> int:
    """Clock ticks from boot to the start of a process, field 22 of proc_pid_stat(5)."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    # The name, field 2, may hold spaces and parentheses: count from its last closing one.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def _is_listening(path: Path) -> bool:
    import socket  # a daemon that lives needs no such look

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            return probe.connect_ex(str(path)) in (0, errno.EAGAIN, errno.EINPROGRESS)
        except OSError as error:  # the path is longer than a socket's address can be
            raise Unreachable(f"no daemon can answer at {_IPC}{path}: {error}") from error


def _of_settings(key: str, expected: str, environ: Mapping[str, str]) -> str | None:
    """The text at `key` in the first settings file that has it; the daemon checks the rest."""
    for path in settings_files(environ):
        if (found := _read_settings(path).get(key)) is None:
            continue
        if not isinstance(found, str) or not found:
            raise SettingsError(f"{path}: {key}: found {found!r}, expected {expected}")
        return found
    return None


def _read_settings(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error
    if path.is_file() and not content.strip():
        raise SettingsError(f"{path}: found an empty file, expected settings or comments")
    import tomllib  # most have no such file

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
