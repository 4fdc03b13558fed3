"""`intendant backup` of a daemon that runs, and of one that does not; and what comes back."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon, daemon_folders


@pytest.fixture
def elsewhere() -> Iterator[Daemon]:
    """The folders of a daemon that is restored."""
    with daemon_folders() as other:
        yield other


def unpack(file: Path, other: Daemon) -> None:
    """Restore a backup as the help says it."""
    with tarfile.open(file) as archive:
        archive.extractall(other.state_dir, filter="tar")
    done = other.run("fsck", "--state-dir", str(other.state_dir))
    assert done.returncode == 0, done.stdout


def test_a_running_daemon_is_backed_up_and_comes_back_elsewhere(
    folders: Daemon, elsewhere: Daemon
) -> None:
    folders.start("--slots", "1")
    done = folders.submit("echo", "kept")
    folders.run("wait", str(done))
    live = folders.submit("sleep", "600")
    folders.wait_state(live, "running")
    waiting = folders.submit("echo", "later")
    file = folders.home / "backup.tar.gz"

    made = folders.run("backup", str(file))

    assert (made.returncode, made.stdout) == (0, "")
    assert "3 runs" in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    unpack(file, elsewhere)
    elsewhere.start("--slots", "1")
    assert elsewhere.run("logs", str(done)).stdout == "kept\n"
    run = elsewhere.wait_state(live, "ended")
    assert (run["outcome"], run["reason"]) == ("interrupted", "restored")
    assert elsewhere.wait_state(waiting, "ended")["outcome"] == "succeeded"
    assert folders.show(live)["state"] == "running"  # nobody touched the original


def test_a_daemon_that_does_not_run_is_backed_up(folders: Daemon, elsewhere: Daemon) -> None:
    folders.start()
    run_id = folders.submit("sh", "-c", "echo kept; exit 3")
    folders.run("wait", str(run_id))
    folders.kill()
    file = folders.home / "backup.tar"

    made = folders.run("backup", "--json", str(file))

    assert made.returncode == 0, made.stderr
    unpack(file, elsewhere)
    elsewhere.start()
    assert elsewhere.show(run_id)["exit_code"] == 3
    assert elsewhere.run("logs", str(run_id)).stdout == "kept\n"
    assert folders.run("backup", str(file)).returncode == 1
