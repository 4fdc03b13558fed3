"""Addresses to listen at: which are refused, and making sure that nobody else listens there."""

from __future__ import annotations

import ipaddress
import socket as unix
import stat
from pathlib import Path

from intendant.errors import SettingsError

MAX_IPC_PATH_BYTES = 107
MAX_PORT = 65_535


def check_address(uri: str, *, has_keys: bool = False) -> None:
    """Refuse what would let strangers in, and what can't be listened at."""
    scheme, _, rest = uri.partition("://")
    if scheme == "ipc":
        _check_path(uri, rest)
    elif scheme == "tcp":
        host, _, port = rest.rpartition(":")
        if not host or not (port == "*" or (port.isdecimal() and int(port) <= MAX_PORT)):
            raise SettingsError(
                f"{uri!r}: expected tcp://HOST:PORT, a PORT of 0 to {MAX_PORT} or *"
            )
        if not has_keys:
            _check_loopback(uri, host)
    else:
        raise SettingsError(f"{uri!r} is no endpoint: expected ipc://PATH or tcp://HOST:PORT")


def _check_path(uri: str, path: str) -> None:
    if not path.startswith("/"):
        raise SettingsError(f"{uri!r}: expected the absolute path of a socket")
    if len(path.encode()) > MAX_IPC_PATH_BYTES:
        raise SettingsError(
            f"{uri!r}: the path has {len(path.encode())} bytes; a socket's path (unix(7)) ends at "
            f"{MAX_IPC_PATH_BYTES}"
        )


def _check_loopback(uri: str, host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingsError(f"{uri!r}: without keys only a loopback address may be listened at")


def check_free(uri: str) -> None:
    """Refuse an endpoint where somebody else listens already."""
    path = path_of(uri)
    if path is not None:
        _check_path_free(path)
        return
    host, _, port = uri.removeprefix("tcp://").rpartition(":")
    if not port.isdecimal():  # one that the system chooses
        return
    host = "0.0.0.0" if host == "*" else host  # noqa: S104 that was asked for
    family = unix.AF_INET6 if host.startswith("[") else unix.AF_INET
    with unix.socket(family, unix.SOCK_STREAM) as probe:
        probe.setsockopt(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)  # as libzmq does
        try:
            probe.bind((host.strip("[]"), int(port)))
        except unix.gaierror as error:
            if host in (name for _, name in unix.if_nameindex()):  # which libzmq knows how to read
                return
            raise SettingsError(
                f"can't listen at {uri}: {host} is neither an address nor an interface of this host"
            ) from error
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SettingsError(f"can't listen at {uri}: {reason}") from error


def claim_path(path: Path) -> None:
    """Make room for a socket at `path`: its folder, for its owner alone, and no dead socket in it.

    A path can be taken even from a broker that is alive; so ask first who answers there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_path_free(path)
    path.unlink(missing_ok=True)


def _check_path_free(path: Path) -> None:
    """Nothing is at `path`, or a socket at which nobody listens."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingsError(f"can't listen at {path}: there is a file that is no socket")
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
    raise SettingsError(f"can't listen at {path}: another broker does")


def path_of(uri: str) -> Path | None:
    """Where an ipc endpoint's socket is."""
    return Path(uri.removeprefix("ipc://")) if uri.startswith("ipc://") else None
