"""Where the daemon is, and whether it makes sense to wait for it.

A zmq socket connects to an endpoint that does not exist as gladly as to one that does, and waits.
So an ipc endpoint is looked at first: when nothing listens there and `daemon.json` beside it names
no live process, nobody will ever answer. While the daemon lives, its broker may be starting again.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from intendant.errors import SettingsError, Unreachable
from intendant.protocol.folders import DAEMON_FILE, client_endpoint, runtime_dir, settings_files

_IPC = "ipc://"


def resolve_endpoint(explicit: str | None, environ: Mapping[str, str]) -> str:
    """The daemon's endpoint: named outright, in the environment, in the settings, or the user's."""
    return (
        explicit
        or environ.get("INTENDANT_ENDPOINT")
        or _endpoint_of_settings(environ)
        or client_endpoint(runtime_dir(environ))
    )


def is_local(endpoint: str) -> bool:
    """Whether the daemon shares this machine: folders and environments mean the same to both."""
    return endpoint.startswith(_IPC)


def require_life(endpoint: str) -> None:
    """Raise `Unreachable` where waiting is in vain: no socket and no live daemon."""
    if not is_local(endpoint):
        return
    path = Path(endpoint.removeprefix(_IPC))
    if not (_is_listening(path) or daemon_lives(path.parent)):
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
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            return probe.connect_ex(str(path)) in (0, errno.EAGAIN, errno.EINPROGRESS)
        except OSError as error:  # the path is longer than a socket's address can be
            raise Unreachable(f"no daemon can answer at {_IPC}{path}: {error}") from error


def _endpoint_of_settings(environ: Mapping[str, str]) -> str | None:
    """The key `endpoint` of the first settings file that has it; the daemon checks the rest."""
    for path in settings_files(environ):
        if (endpoint := _read_settings(path).get("endpoint")) is None:
            continue
        if not isinstance(endpoint, str) or not endpoint:
            raise SettingsError(f"{path}: endpoint: found {endpoint!r}, expected ipc:// or tcp://")
        return endpoint
    return None


def _read_settings(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error
    import tomllib  # most have no such file

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
