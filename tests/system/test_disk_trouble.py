"""A disk that fails under a running daemon and its governors, and works again.

The first tests let the store and the spool refuse by themselves, with each error that a disk has
(`intendant.process.diskpoints`); the last ones have a real file system, and fill it up.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from intendant.process.diskpoints import VARIABLE
from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.ground_truth import is_alive, run_rows
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Gate, Witness

ERRORS = ["EIO", "EROFS", "ENOSPC"]


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


def start(daemon: Daemon) -> None:
    daemon.start("--slots", "4", environment={VARIABLE: str(trouble_file(daemon))})


def trouble_file(daemon: Daemon) -> Path:
    return daemon.home / "trouble"


@contextmanager
def trouble(daemon: Daemon, name: str) -> Iterator[None]:
    """The disk refuses what daemon and governors write."""
    fresh = trouble_file(daemon).with_suffix(".new")
    fresh.write_text(name)
    fresh.rename(trouble_file(daemon))
    try:
        yield
    finally:
        trouble_file(daemon).unlink()


@pytest.mark.parametrize("name", ERRORS)
def test_a_disk_that_fails_acknowledges_nothing_harms_no_run_and_serves_again(
    folders: Daemon, witness: Witness, name: str
) -> None:
    start(folders)
    with Gate(folders.home / "gate") as gate:
        [run_id] = folders.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        folders.wait_state(run_id, "running")
        governor = folders.claim(run_id)["pid"]
        with trouble(folders, name):
            refused = folders.run("submit", "--", "true")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert os.strerror(getattr(errno, name)) in refused.stderr
            assert folders.run("ls").returncode == 0
            assert is_alive(pid)
            gate.open()
            wait_for("it has ended", lambda: not is_alive(pid))
            has_record = (folders.attempt_folder(run_id) / "exit.json").exists
            if name == "ENOSPC":  # there was room for this, since before the start
                wait_for("the record is there", has_record)
            else:
                wait_for("the governor has tried", lambda: "not_recorded" in log_of(folders))
                assert is_alive(governor)
            assert folders.show(run_id)["state"] == "running"
        run = folders.wait_state(run_id, "ended")
    assert (run["outcome"], run["exit_code"], run["attempt"]) == ("failed", 3, 1)
    assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5
    assert folders.stop() == 143
    assert folders.run("fsck").returncode == 0
    assert [*run_rows(folders.state_dir)] == [run_id, run_id + 1]


def log_of(daemon: Daemon, run_id: int = 1) -> str:
    return (daemon.attempt_folder(run_id) / "governor.log").read_text()


def test_a_governor_whose_disk_fails_before_its_claim_starts_nothing(
    folders: Daemon, witness: Witness
) -> None:
    start(folders)
    zygote = folders.ready_zygote()
    os.kill(zygote, signal.SIGSTOP)
    [run_id] = folders.submit_scripts(witness.says("start"))
    folders.wait_state(run_id, "starting")
    with trouble(folders, "EIO"):
        os.kill(zygote, signal.SIGCONT)
        wait_for("it is tried again", lambda: "not_recorded" in folders.log_text())
        assert not witness.lines()
    assert folders.wait_state(run_id, "ended")["outcome"] == "succeeded"
    assert [line.attempt for line in witness.lines("start")] == [2]


def test_settings_that_the_disk_refuses_at_sighup_are_refused_and_can_be_read_again(
    folders: Daemon,
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("slots = 2\n")
    folders.start("--config", str(config), environment={VARIABLE: str(trouble_file(folders))})
    config.write_text("slots = 3\n[queues.gpu]\nslots = 1\n")
    with trouble(folders, "ENOSPC"):
        folders.send(signal.SIGHUP)
        wait_for("they are refused", lambda: "settings_refused" in folders.log_text())
        assert folders.run("status").returncode == 0
    folders.send(signal.SIGHUP)
    wait_for("they are applied", lambda: "settings_applied" in folders.log_text())
    assert [queue["name"] for queue in folders.json("queue", "ls")] == ["default", "gpu"]


def test_an_end_that_cannot_be_recorded_keeps_no_worker_from_other_requests(
    folders: Daemon, witness: Witness
) -> None:
    """There is one worker alone, and the governor has it wait for the disk."""
    config = folders.home / "settings.toml"
    config.write_text("slots = 1\nrequest_workers = 1\n")
    folders.start("--config", str(config), environment={VARIABLE: str(trouble_file(folders))})
    with Gate(folders.home / "gate") as gate:
        [run_id] = folders.submit_scripts(witness.patient(gate, status=3))
        witness.wait_started()
        folders.wait_state(run_id, "running")
        with trouble(folders, "ENOSPC"):
            gate.open()
            wait_for("it can't be recorded", lambda: "not_recorded" in folders.log_text())
            assert folders.run("status").returncode == 0
            assert run_rows(folders.state_dir)[run_id]["state"] == "running"
        assert folders.wait_state(run_id, "ended")["exit_code"] == 3


def test_an_embedded_daemon_whose_database_is_lost_still_ends_with_its_owner(
    folders: Daemon,
) -> None:
    life_line_end, life_line = os.pipe()
    with folders.log.open("ab") as log:
        folders.process = subprocess.Popen(
            [INTENDANT, "serve", "--life-line", str(life_line_end)], pass_fds=[life_line_end],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=folders.environment,
            start_new_session=True,
        )  # fmt: skip
    os.close(life_line_end)
    wait_for("the daemon serves", folders.serves)
    folders.submit("true", flags=["--hold"])
    for name in ("intendant.db", "intendant.db-wal"):
        os.truncate(folders.state_dir / name, 0)
    os.close(life_line)
    assert folders.wait() == 0
    assert "runs_not_counted" in folders.log_text()


# --- a real one ----------------------------------------------------------------------------------

SIZE = "4m"
MOUNT = f'mount -t tmpfs -o size={SIZE},mode=700 none "$INTENDANT_STATE_DIR"'


def namespace() -> list[str] | None:
    """What gives a command mounts of its own, if this user may have any (unshare(1))."""
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


needs_mounts = pytest.mark.skipif(namespace() is None, reason="nobody here may mount anything")


def start_on_its_own_disk(daemon: Daemon) -> Path:
    """Start it on a small file system that only it sees; its state folder, seen from here."""
    command = namespace()
    assert command is not None
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            [*command, "sh", "-c", f"{MOUNT} && exec {INTENDANT} serve --slots 4"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=daemon.environment,
            start_new_session=True,
        )  # fmt: skip
    wait_for("the daemon serves", daemon.serves)
    return Path(f"/proc/{daemon.pid}/root{daemon.state_dir}")


@needs_mounts
def test_a_file_system_that_is_full_loses_no_end(folders: Daemon, witness: Witness) -> None:
    state = start_on_its_own_disk(folders)
    with Gate(folders.home / "gate") as gate:
        [run_id] = folders.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        folders.wait_state(run_id, "running")
        fill(state / "filler")
        refused = folders.run("submit", "--", "true")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "full" in refused.stderr
        gate.open()
        wait_for("it has ended", lambda: not is_alive(pid))
        record = state / "spool" / str(run_id) / "1" / "exit.json"
        wait_for("its record is there", record.exists)
        assert folders.show(run_id)["state"] == "running"
        (state / "filler").unlink()
        run = folders.wait_state(run_id, "ended")
    assert (run["outcome"], run["exit_code"], run["attempt"]) == ("failed", 3, 1)
    assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5


@needs_mounts
def test_where_the_disk_is_full_a_run_can_be_ended_and_others_forgotten_which_makes_room(
    folders: Daemon, witness: Witness
) -> None:
    state = start_on_its_own_disk(folders)
    old = folders.submit_scripts("head -c 30000 /dev/zero", times=10)
    for run_id in old:
        folders.wait_state(run_id, "ended")
    wait_for("their governors are gone", lambda: folders.status()["live"] == 0)
    [live] = folders.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    folders.wait_state(live, "running")
    fill(state / "filler")

    refused = folders.run("cancel", str(live))
    assert refused.returncode == 1
    assert "full; 1 run that lives is told to end all the same" in refused.stderr
    wait_for("it has ended", lambda: not is_alive(pid))
    assert folders.run("prune", "--older", "0", f"{old[0]}-{old[-1]}").stdout == "pruned 10 runs\n"

    run = folders.wait_state(live, "ended")
    assert (run["outcome"], run["exit_code"], run["signal"]) == ("cancelled", None, 15)
    assert [int(folder.name) for folder in (state / "spool").iterdir()] == [live]
    assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5


def fill(path: Path) -> None:
    """Leave no room, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    continue
