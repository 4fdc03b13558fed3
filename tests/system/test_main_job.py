"""The main job: submit a command, see how it ended."""

from __future__ import annotations

from tests.helpers.daemon import Daemon


def test_wait_exits_with_the_commands_own_status(daemon: Daemon) -> None:
    assert daemon.run("submit", "--wait", "--", "sh", "-c", "exit 7").returncode == 7


def test_a_signal_that_ended_the_command_gives_128_plus_its_number(daemon: Daemon) -> None:
    assert daemon.run("submit", "--wait", "--", "sh", "-c", "kill -9 $$").returncode == 137
