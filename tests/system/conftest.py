"""Fixtures of the system tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.daemon import Daemon, daemon_folders


@pytest.fixture
def folders() -> Iterator[Daemon]:
    """A daemon that is not running yet."""
    with daemon_folders() as daemon:
        yield daemon


@pytest.fixture
def daemon(folders: Daemon) -> Daemon:
    """A running daemon with four slots."""
    folders.start("--slots", "4")
    return folders
