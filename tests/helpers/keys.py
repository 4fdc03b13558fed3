"""Keys for tests: pairs in files, and a daemon that lets them in."""

from __future__ import annotations

from pathlib import Path

from intendant.broker.config import KeyPair
from intendant.broker.keys import ClientKeys, make_pair, write_pair
from intendant.client.endpoint import Address
from tests.helpers.daemon import Daemon


class Keys:
    """A server's key, clients' keys and the file that authorizes them, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = make_pair()
        self.clients: dict[str, KeyPair] = {}
        write_pair(folder / "server.key", self.server)
        self.authorized_file = folder / "authorized_keys.toml"
        self._lines: dict[str, str] = {}
        self._write()

    def authorize(
        self, name: str, role: str = "submit", *, account: str = "", more: str = ""
    ) -> None:
        """Make a client's key (once) and let it in."""
        self.make(name)
        entry = f'account = "{account or name}", role = "{role}"{more}'
        self._lines[name] = f'"{self.clients[name].public}" = {{ {entry} }}'
        self._write()

    def make(self, name: str) -> None:
        """Make a client's key, without letting it in."""
        if name not in self.clients:
            self.clients[name] = make_pair()
            write_pair(self.folder / f"{name}.key", self.clients[name])

    def remove(self, name: str) -> None:
        """Let a client in no more."""
        del self._lines[name]
        self._write()

    def of(self, name: str) -> ClientKeys:
        """What a client connects with."""
        return ClientKeys(self.clients[name], self.server.public)

    def address(self, name: str, endpoint: str) -> Address:
        """Where a client connects to, and with what."""
        return Address(endpoint, self.of(name))

    def flags(self, name: str, endpoint: str) -> list[str]:
        """The same for the command line."""
        return [
            "--endpoint", endpoint, "--key-file", str(self.folder / f"{name}.key"),
            "--server-key", self.server.public,
        ]  # fmt: skip

    def _write(self) -> None:
        self.authorized_file.write_text("\n".join(self._lines.values()) + "\n")
        self.authorized_file.chmod(0o600)


def listening(
    daemon: Daemon,
    keys: Keys,
    *flags: str,
    host: str = "127.0.0.1",
    environment: dict[str, str] | None = None,
) -> str:
    """Start the daemon with these keys at a port that the system chooses; the endpoint."""
    daemon.start(
        "--listen", f"tcp://{host}:0", "--server-key-file", str(keys.folder / "server.key"),
        "--authorized-keys", str(keys.authorized_file), *flags, environment=environment,
    )  # fmt: skip
    endpoint: str = daemon.status()["endpoints"][-1]
    return endpoint
