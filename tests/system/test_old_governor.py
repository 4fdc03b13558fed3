"""A governor of an earlier version lives on under this daemon: shown, cancelled, recorded."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import apsw

from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

GOVERNOR = Path(__file__).parents[1] / "compat" / "governor_v1.py"
TOKEN = "frozen"


def test_a_governor_of_version_1_is_adopted_shown_cancelled_and_recorded(folders: Daemon) -> None:
    folders.start()
    run_id = folders.submit("sleep", "600")
    folders.wait_state(run_id, "running")
    folders.kill()
    _end_todays_governor(folders, run_id)
    folder = folders.attempt_folder(run_id)
    endpoint = f"ipc://{folders.runtime_dir}/private.sock"
    with subprocess.Popen(
        [sys.executable, str(GOVERNOR), endpoint, str(folder), str(run_id), "1", TOKEN],
        cwd=folder,
        start_new_session=True,
    ) as governor:
        wait_for("the old governor has claimed", (folder / "claim").exists)

        folders.start()
        assert folders.wait_state(run_id, "running")["attempt"] == 1
        assert folders.run("cancel", str(run_id), "--reason", "enough").returncode == 0
        run = folders.wait_state(run_id, "ended")

        assert run["outcome"] == "cancelled"
        assert run["reason"].endswith("enough")
        assert run["signal"] == signal.SIGTERM
        assert governor.wait(60) == 0
    assert folders.stop() == 143


def _end_todays_governor(daemon: Daemon, run_id: int) -> None:
    """Make room for the old one: its token in the database, no claim in the spool."""
    claim = daemon.claim(run_id)
    for pid in (claim["pid"], *daemon.processes()):
        with suppress(ProcessLookupError):  # those of the daemon's helpers go by themselves
            os.kill(pid, signal.SIGKILL)
    wait_for("nobody is left", lambda: not daemon.processes())
    (daemon.attempt_folder(run_id) / "claim").unlink()
    connection = apsw.Connection(str(daemon.state_dir / "intendant.db"))
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    connection.execute("UPDATE attempt SET token_sha256 = ? WHERE run_id = ?", (digest, run_id))
    connection.close()
