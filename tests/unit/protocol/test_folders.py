"""Where things are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.protocol.folders import client_endpoint, runtime_dir, settings_files, state_dir


def test_systemds_folder_wins_over_ours() -> None:
    environ = {"RUNTIME_DIRECTORY": "/run/a", "INTENDANT_RUNTIME_DIR": "/run/b"}
    assert runtime_dir(environ) == Path("/run/a")


def test_the_first_of_several_folders_of_systemd_counts() -> None:
    assert state_dir({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a")


def test_our_own_variable_comes_second() -> None:
    assert state_dir({"INTENDANT_STATE_DIR": "/srv/state"}) == Path("/srv/state")


def test_an_empty_variable_says_nothing() -> None:
    environ = {"STATE_DIRECTORY": "", "INTENDANT_STATE_DIR": "/srv/state"}
    assert state_dir(environ) == Path("/srv/state")


def test_a_relative_folder_is_seen_from_here() -> None:
    assert state_dir({"INTENDANT_STATE_DIR": "state"}) == Path.cwd() / "state"


def test_without_a_word_the_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert "intendant" in runtime_dir({}).parts
    assert "intendant" in state_dir({}).parts


def test_settings_of_systemds_folder_come_before_the_sites() -> None:
    first, *others = settings_files({"CONFIGURATION_DIRECTORY": "/etc/a"})
    assert first == Path("/etc/a/settings.toml")
    assert others


def test_the_endpoint_for_clients_is_a_socket_in_the_runtime_folder() -> None:
    assert client_endpoint(Path("/run/a")) == "ipc:///run/a/client.sock"
