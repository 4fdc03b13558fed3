"""Where the daemon is, and whether it lives."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from intendant.client.endpoint import (
    daemon_lives,
    is_local,
    require_life,
    resolve_address,
    resolve_endpoint,
)
from intendant.errors import SettingsError, Unreachable


def environ_of(folder: Path, **more: str) -> dict[str, str]:
    """An environment whose settings and sockets are in `folder`."""
    return {"CONFIGURATION_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder), **more}


def write_daemon_file(folder: Path, pid: int, start_time: int) -> None:
    """What a daemon leaves beside its socket."""
    text = json.dumps({"pid": pid, "start_time": start_time})
    (folder / "daemon.json").write_text(text)


def own_start_time() -> int:
    """Field 22 of our own stat."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def test_an_endpoint_named_outright_wins(tmp_path: Path) -> None:
    environ = environ_of(tmp_path, INTENDANT_ENDPOINT="tcp://127.0.0.1:1")
    assert resolve_endpoint("ipc:///a", environ) == "ipc:///a"


def test_what_is_no_endpoint_is_refused_wherever_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="endpoint: found 'xx', expected ipc://PATH"):
        resolve_address(environ_of(tmp_path, INTENDANT_ENDPOINT="xx"))


def test_the_environment_wins_over_the_settings(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('endpoint = "ipc:///of/settings"')
    environ = environ_of(tmp_path, INTENDANT_ENDPOINT="tcp://127.0.0.1:1")
    assert resolve_endpoint(None, environ) == "tcp://127.0.0.1:1"


def test_the_settings_win_over_the_runtime_folder(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('endpoint = "ipc:///of/settings"')
    assert resolve_endpoint(None, environ_of(tmp_path)) == "ipc:///of/settings"


def test_the_users_own_endpoint_is_in_the_runtime_folder(tmp_path: Path) -> None:
    assert resolve_endpoint(None, environ_of(tmp_path)) == f"ipc://{tmp_path}/client.sock"


@pytest.mark.parametrize("text", ["endpoint = 5", 'endpoint = ""', "endpoint = ", "\n"])
def test_settings_that_make_no_sense_are_refused_by_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"settings\.toml: "):
        resolve_endpoint(None, environ_of(tmp_path))


@pytest.mark.parametrize(("endpoint", "expected"), [("ipc:///a", True), ("tcp://h:1", False)])
def test_only_ipc_is_local(endpoint: str, *, expected: bool) -> None:
    assert is_local(endpoint) is expected


def test_no_socket_and_no_daemon_is_unreachable_at_once(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/client.sock"
    with pytest.raises(Unreachable, match=endpoint):
        require_life(endpoint)


def test_no_socket_but_a_live_daemon_is_worth_waiting_for(tmp_path: Path) -> None:
    write_daemon_file(tmp_path, os.getpid(), own_start_time())
    require_life(f"ipc://{tmp_path}/client.sock")


def test_a_path_that_no_socket_can_have_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="too long"):
        require_life(f"ipc://{tmp_path}/{'x' * 108}/client.sock")


def test_a_process_that_took_over_the_number_is_not_the_daemon(tmp_path: Path) -> None:
    write_daemon_file(tmp_path, os.getpid(), own_start_time() - 1)
    assert not daemon_lives(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"pid": "a", "start_time": 1}'])
def test_a_broken_daemon_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    assert not daemon_lives(tmp_path)
