"""Fixtures of the system tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.daemon import Daemon, daemon_folders
from tests.helpers.waiting import wait_for


@pytest.fixture
def folders() -> Iterator[Daemon]:
    """A daemon that is not running yet."""
    with daemon_folders() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def served() -> Iterator[Daemon]:
    """A running daemon with four slots, one for a whole module: leave it as it was."""
    with daemon_folders() as daemon:
        daemon.start("--slots", "4")
        # The first run would wait for it, and tests look at how long things take.
        wait_for("its launcher is ready", lambda: "launcher_ready" in daemon.log_text())
        yield daemon


@pytest.fixture
def daemon(folders: Daemon) -> Daemon:
    """A running daemon with four slots."""
    folders.start("--slots", "4")
    return folders
