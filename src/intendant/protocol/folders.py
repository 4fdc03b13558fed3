"""Where things are kept, for the daemon and its clients alike.

systemd's variables first (systemd.exec(5): RUNTIME_DIRECTORY=), then our own, then the
platform's customs; root gets the system's folders, as a shared temporary folder is no place
for its sockets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from intendant.errors import SettingsError

APPLICATION = "intendant"
SETTINGS_FILE = "settings.toml"
CLIENT_SOCKET = "client.sock"
DAEMON_FILE = "daemon.json"
CLIENT_KEY_FILE = "client.key"
SERVER_KEY_FILE = "server.key"
AUTHORIZED_KEYS_FILE = "authorized_keys.toml"
DATABASE = "intendant.db"
MAX_SOCKET_PATH_BYTES = 107
"""What fits into an address of a unix socket (unix(7): 108 bytes with the final NUL)."""


def runtime_dir(environ: Mapping[str, str]) -> Path:
    """The folder of sockets and of `daemon.json`; gone after a reboot."""
    return _folder(environ, "RUNTIME_DIRECTORY", "INTENDANT_RUNTIME_DIR", _platform_runtime_dir)


def state_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the store and the spool; kept."""
    return _folder(environ, "STATE_DIRECTORY", "INTENDANT_STATE_DIR", _platform_state_dir)


def settings_files(environ: Mapping[str, str]) -> list[Path]:
    """Where settings may be, the strongest first: systemd's or the user's, then the site's."""
    import platformdirs

    site = Path(platformdirs.site_config_dir(APPLICATION))
    return [folder / SETTINGS_FILE for folder in dict.fromkeys((configuration_dir(environ), site))]


def configuration_dir(environ: Mapping[str, str]) -> Path:
    """The folder of systemd's or the user's settings, and of keys."""
    return _folder(environ, "CONFIGURATION_DIRECTORY", None, _platform_config_dir)


def client_endpoint(runtime: Path) -> str:
    """The ipc endpoint for this user's clients in a runtime folder."""
    return f"ipc://{runtime / CLIENT_SOCKET}"


def system_log(state: Path) -> Path:
    """What daemon and broker log, in a folder of its own so that it can be watched alone."""
    return state / "log" / "system.log"


def _folder(
    environ: Mapping[str, str], systemd: str, own: str | None, fallback: Callable[[], str]
) -> Path:
    # systemd gives several folders as one text, separated by colons; ours is the first.
    chosen = environ.get(systemd, "").split(":")[0] or (environ.get(own) if own else None)
    return Path(chosen or fallback()).absolute()


def _platform_runtime_dir() -> str:
    import platformdirs

    with warnings.catch_warnings():
        # It warns where XDG_RUNTIME_DIR is missing; its fall-back is a private folder all the same.
        warnings.simplefilter("ignore")
        try:
            return platformdirs.user_runtime_dir(APPLICATION, use_site_for_root=True)
        except PermissionError as error:
            raise SettingsError(
                f"no runtime folder: {error}; set INTENDANT_RUNTIME_DIR to a folder of your own"
            ) from error


def _platform_state_dir() -> str:
    import platformdirs

    return platformdirs.user_state_dir(APPLICATION, use_site_for_root=True)


def _platform_config_dir() -> str:
    import platformdirs

    return platformdirs.user_config_dir(APPLICATION, use_site_for_root=True)
