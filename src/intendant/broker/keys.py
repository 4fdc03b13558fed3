"""CURVE keys (RFC 26): pairs in files that are their owner's alone.

A pair's file is TOML with `public_key` and `secret_key`, 40 characters of Z85 (RFC 32) each.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from intendant.broker.config import KeyPair
from intendant.errors import SettingsError

_Z85_KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_MAX_FILE_BYTES = 1024 * 1024
_FILE = """\
# A key of Intendant. Whoever can read this file is you: keep it to yourself.
public_key = "{pair.public}"
secret_key = "{pair.secret}"
"""


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What connecting takes: a pair of one's own, and the public key of the server one means."""

    pair: KeyPair
    server: str


def is_key(text: object) -> bool:
    """Whether `text` has the form of a key: 40 characters of Z85, which are 32 bytes."""
    return isinstance(text, str) and _Z85_KEY.fullmatch(text) is not None


def make_pair() -> KeyPair:
    """A new pair."""
    import zmq

    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def write_pair(path: Path, pair: KeyPair) -> None:
    """Write a new file for its owner alone; one that is there is left alone and refused."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError as error:
        raise SettingsError(f"{path}: there is a file already, expected none") from error
    except OSError as error:
        raise SettingsError(f"{path}: can't be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        file.write(_FILE.format(pair=pair))
        file.flush()
        os.fsync(descriptor)


def read_pair(path: Path) -> KeyPair:
    """The pair in a file; `SettingsError` if it is none, or if others can read it."""
    found = read_closed(path, forbidden=0o077, why="others must not be able to read or change it")
    unknown = sorted(found.keys() - {"public_key", "secret_key"})
    if unknown:
        raise SettingsError(f"{path}: {unknown[0]}: found an unknown key")
    for name in ("public_key", "secret_key"):
        if not is_key(found.get(name)):  # what was found instead may be a secret: it is not said
            raise SettingsError(f"{path}: {name}: expected a key, 40 characters of Z85")
    pair = KeyPair(str(found["public_key"]), str(found["secret_key"]))
    import zmq

    if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
        raise SettingsError(f"{path}: public_key: found one that is not the secret key's")
    return pair


def read_closed(path: Path, *, forbidden: int, why: str) -> dict[str, object]:
    """A TOML file on whose mode something depends; `SettingsError` if it is too open or no TOML."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise SettingsError(
            f"{path}: found mode {mode:04o}, expected {mode & ~forbidden:04o}: {why}"
        )
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(f"{path}: found the file of user {status.st_uid}, expected our own")
    if len(content) > _MAX_FILE_BYTES:
        raise SettingsError(f"{path}: found more than {_MAX_FILE_BYTES} bytes")
    import tomllib  # most clients have no keys

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
