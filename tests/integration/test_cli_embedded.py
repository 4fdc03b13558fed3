"""`intendant run` and `EmbeddedDaemon` with a program that plays the daemon's part."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from intendant import Study, space
from intendant.client.embedded import EmbeddedDaemon
from intendant.errors import SupervisionError

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
TWO_RUNS = '[[runs]]\nname = "a"\nargv = ["a"]\n[[runs]]\nname = "b"\nargv = ["b"]\nafter = ["a"]\n'

Tell = Callable[..., None]


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tell]:
    """The daemon's part is played by a helper; calling this tells it how."""
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.helpers.fake_daemon "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    def tell(**how: object) -> None:
        monkeypatch.setenv("FAKE_DAEMON", json.dumps(how))

    with tempfile.TemporaryDirectory(prefix="it-") as short:  # a longer path takes no socket
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr("tempfile.tempdir", None)
        yield tell


async def start(*args: str) -> asyncio.subprocess.Process:
    """`intendant run`, whose own `sys.executable` is the helper."""
    code = (
        f"import sys; sys.executable = {sys.executable!r}; from intendant.cli import main; main()"
    )
    real = Path(sys.prefix) / "bin" / "python"
    return await asyncio.create_subprocess_exec(
        real, "-c", code, "run", *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(*args: str) -> tuple[int | None, str, str]:
    """Exit status, stdout, stderr."""
    process = await start(*args)
    async with asyncio.timeout(LIMIT_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for this signal (proc_pid_status(5): SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def left_behind() -> list[Path]:
    """What is in the temporary folder."""
    return list(Path(os.environ["TMPDIR"]).iterdir())


async def test_a_single_run_writes_to_our_own_streams(tell: Tell) -> None:
    tell(log={"stdout": "result\n", "stderr": "warning\n"})
    assert await run("--", "true") == (0, "result\n", "warning\n")
    assert left_behind() == []


async def test_a_failure_keeps_the_state_and_says_where(tell: Tell) -> None:
    tell(exit_code=3)
    status, _, err = await run("--", "false")
    [home] = left_behind()
    assert status == 3
    assert f"the state is kept in {home / 'state'}\n" in err
    assert f"intendant logs --state-dir {home / 'state'} 1, its errors with --stderr\n" in err
    assert [path.name for path in home.iterdir()] == ["state"]


async def test_of_several_runs_only_the_last_ones_print(tell: Tell, tmp_path: Path) -> None:
    tell(log={"stdout": "result\n"})
    (tmp_path / "two.toml").write_text(TWO_RUNS)
    status, out, err = await run(str(tmp_path / "two.toml"))
    assert (status, out) == (0, "result\n")
    assert [line.split()[:3] for line in err.splitlines()] == [
        ["ID", "NAME", "OUTCOME"], ["1", "a", "succeeded"], ["2", "b", "succeeded"],
    ]  # fmt: skip


async def test_a_signal_ends_the_daemon_and_says_how_to_go_on(tell: Tell, tmp_path: Path) -> None:
    tell(blocks=True)
    process = await start("--state-dir", str(tmp_path / "state"), "--", "sleep", "9")
    async with asyncio.timeout(LIMIT_S):
        while not catches(process.pid, signal.SIGTERM):
            await asyncio.sleep(0.01)
        while not (children := psutil.Process(process.pid).children()):
            await asyncio.sleep(0.01)
        [daemon] = children
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert f"--continue --state-dir {tmp_path / 'state'}" in err.decode()
    assert not daemon.is_running()


async def test_nothing_left_to_continue_is_a_success(tell: Tell, tmp_path: Path) -> None:
    tell()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "intendant.db").touch()
    status, out, err = await run("--continue", "--state-dir", str(tmp_path / "state"))
    assert (status, out, err) == (0, "", "intendant: nothing is left to do\n")


async def test_a_daemon_that_does_not_start_is_our_failure(tell: Tell) -> None:
    tell(fails=True)
    status, _, err = await run("--", "true")
    assert status == 125
    assert "the disk is on fire" in err
    assert left_behind() == []


async def test_a_daemon_that_dies_is_named_whatever_it_was_asked_at_that_moment(tell: Tell) -> None:
    tell(dies=True)
    status, _, err = await run("--", "true")
    [home] = left_behind()
    assert status == 125
    assert "ended before its runs, with status -9" in err
    assert f"to go on: intendant run --continue --state-dir {home / 'state'}\n" in err


def test_a_study_whose_daemon_dies_says_so(tell: Tell) -> None:
    tell(dies=True)
    with pytest.raises(SupervisionError, match="ended before its runs, with status -9"):
        Study("json:loads", {"s": space.choice(["1"])}, metric="loss").run()
    assert left_behind() == []


def test_an_embedded_daemon_answers_and_leaves_nothing(tell: Tell) -> None:
    tell()
    with EmbeddedDaemon() as daemon:
        with daemon.client() as client:
            assert client.status()["state"] == "running"
        assert daemon.state_dir.stat().st_mode & 0o777 == 0o700
        pid = daemon.pid
    assert not psutil.pid_exists(pid)
    assert left_behind() == []


def test_an_embedded_daemon_is_in_a_session_of_its_own(tell: Tell) -> None:
    tell()
    with EmbeddedDaemon() as daemon:
        assert os.getsid(daemon.pid) == daemon.pid


def test_a_named_state_folder_stays(tell: Tell, tmp_path: Path) -> None:
    tell()
    with EmbeddedDaemon(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine" / "daemon.log").exists()
    assert left_behind() == []


def test_a_failed_start_shows_the_log_and_leaves_nothing(tell: Tell) -> None:
    tell(fails=True)
    with pytest.raises(SupervisionError, match="on fire"), EmbeddedDaemon():
        pass
    assert left_behind() == []
