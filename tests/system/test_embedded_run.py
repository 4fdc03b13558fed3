"""`intendant run`: a private daemon for one command line."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.waiting import wait_for

STUBBORN = "trap '' TERM INT; echo $$ > pid; while :; do sleep 0.05; done"


@pytest.fixture
def home(folders: Daemon) -> Iterator[Daemon]:
    """Folders in which nothing runs, and a temporary folder of its own; nothing stays running."""
    (folders.home / "tmp").mkdir()
    yield folders
    folders.assert_nothing_left()


def test_e4_it_returns_by_itself_with_the_output_and_status_of_its_run(home: Daemon) -> None:
    done = run(home, "--", "sh", "-c", "echo result; echo warning >&2; exit 7")

    assert done.returncode == 7
    assert done.stdout == "result\n"
    assert "warning\n" in done.stderr


def test_after_success_nothing_is_left(home: Daemon) -> None:
    assert run(home, "--", "true").returncode == 0

    assert temporary(home) == []


def test_after_a_failure_the_state_is_kept_and_its_place_is_said(home: Daemon) -> None:
    done = run(home, "--", "sh", "-c", "echo why >&2; exit 3")

    [kept] = temporary(home)
    assert done.returncode == 3
    assert f"the state is kept in {kept}/state" in done.stderr
    said = re.search(r"what run 1 wrote: intendant (logs --state-dir \S+ 1),", done.stderr)
    assert said is not None
    assert home.run(*said[1].split(), "--stderr").stdout == "why\n"


def test_the_output_of_a_file_is_that_of_its_last_runs(home: Daemon) -> None:
    write_runs(
        home,
        {"name": "part", "argv": ["sh", "-c", "echo part; echo 42 > answer"]},
        {"argv": ["cat", "answer"], "after": ["part"]},
    )

    done = run(home, "runs.json")

    assert (done.returncode, done.stdout) == (0, "42\n")
    assert temporary(home) == []


def test_several_runs_end_with_the_highest_status_and_a_summary(home: Daemon) -> None:
    write_runs(
        home,
        {"name": "good", "argv": ["true"]},
        {"name": "bad", "argv": ["sh", "-c", "echo the reason; exit 5"]},
        {"name": "orphan", "argv": ["true"], "after": ["bad"]},
    )

    done = run(home, "runs.json")

    assert done.returncode == 125
    rows = {line.split()[1]: line for line in done.stderr.splitlines() if line[:1].isdigit()}
    assert "succeeded" in rows["good"]
    assert "failed" in rows["bad"]
    assert "dependency" in rows["orphan"]
    assert "run 2 (bad) failed (5): exit_code: 5; its stdout:\nthe reason\n" in done.stderr
    assert "intendant: not started for that: 3 (orphan)\n" in done.stderr


def test_files_of_several_formats_can_be_given_at_once(home: Daemon) -> None:
    (home.home / "a.toml").write_text('argv = ["echo", "a"]\n')
    (home.home / "b.yaml").write_text("argv: [echo, b]\n")

    done = run(home, "a.toml", "b.yaml")

    assert (done.returncode, done.stdout) == (0, "a\nb\n")


def test_a_named_state_folder_is_kept_and_can_be_gone_on_with(home: Daemon) -> None:
    script = "test -e go && echo done || { echo $$ > pid; exec sleep 60; }"
    write_runs(home, {"name": "a", "argv": ["sh", "-c", script], "restartable": True})
    first = start(home, "--state-dir", "kept", "runs.json")
    wait_for("the run is running", (home.home / "pid").exists)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    (home.home / "go").touch()

    second = run(home, "--state-dir", "kept", "--continue")

    assert first.returncode == 143
    assert "intendant run --continue --state-dir" in said
    assert (second.returncode, second.stdout) == (0, "done\n")
    assert (home.home / "kept/spool/1/2/stdout.log").read_text() == "done\n"
    assert temporary(home) == []


def test_what_ctrl_c_cancelled_and_what_waited_for_it_is_done_by_continue(home: Daemon) -> None:
    write_runs(
        home,
        {"name": "first", "argv": ["sh", "-c", "echo x >> firsts"]},
        {"name": "a", "argv": ["sh", "-c", "test -e go || { echo $$ > pid; exec sleep 60; }"],
         "after": ["first"]},
        {"name": "b", "argv": ["echo", "done"], "after": ["a"]},
    )  # fmt: skip
    first = start(home, "--state-dir", "kept", "runs.json")
    wait_for("the run is running", (home.home / "pid").exists)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    (home.home / "go").touch()

    second = run(home, "--state-dir", "kept", "--continue")

    assert "intendant run --continue --state-dir" in said
    assert (second.returncode, second.stdout) == (0, "done\n")
    assert (home.home / "firsts").read_text() == "x\n"
    third = run(home, "--state-dir", "kept", "--continue")
    assert (third.returncode, "nothing is left to do" in third.stderr) == (0, True)


def test_continue_where_no_runs_are_is_refused_and_makes_no_folder(home: Daemon) -> None:
    done = run(home, "--state-dir", "mistyped", "--continue")

    assert done.returncode == 2
    assert "found no runs in mistyped, expected those of an earlier 'intendant run'" in done.stderr
    assert not (home.home / "mistyped").exists()


def test_a_state_folder_without_anything_to_do_says_so(home: Daemon) -> None:
    assert run(home, "--state-dir", "kept", "--", "true").returncode == 0

    done = run(home, "--state-dir", "kept", "--continue")

    assert done.returncode == 0
    assert "nothing is left to do" in done.stderr


def test_the_runs_have_the_callers_folder_and_environment(home: Daemon) -> None:
    (home.home / "sub").mkdir()

    done = home.run(
        "run", "--", "sh", "-c", 'printf "%s %s" "$PWD" "$COLOUR"',
        cwd=home.home / "sub", environment=surroundings(home) | {b"COLOUR": b"red"},
    )  # fmt: skip

    assert done.stdout == f"{home.home}/sub red"


def test_ctrl_c_ends_every_run_in_order_and_exits_130(home: Daemon) -> None:
    polite = "trap 'echo bye; exit' TERM; echo $$ > pid; echo up; while :; do sleep 0.05; done"
    running = start(home, "--state-dir", "kept", "--", "sh", "-c", polite)
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    pid = read_pid(home)

    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)

    assert running.returncode == 130
    assert out == "bye\n"
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_private_daemon_starts_is_heeded(
    home: Daemon, number: int, status: int
) -> None:
    running = start(home, "--state-dir", "kept", "--", "sleep", "600")
    wait_for("its daemon is about to start", (home.home / "kept" / "daemon.log").exists)

    running.send_signal(number)
    running.communicate(timeout=60)

    assert running.returncode == status
    assert temporary(home) == []


def test_ctrl_c_cancels_what_runs_and_interrupts_what_may_go_on(home: Daemon) -> None:
    script = "touch $0; exec sleep 60"
    write_runs(
        home,
        {"name": "once", "argv": ["sh", "-c", script, "one"]},
        {"name": "again", "argv": ["sh", "-c", script, "two"], "restartable": True},
    )
    running = start(home, "--state-dir", "kept", "runs.json")
    for name in ("one", "two"):
        wait_for("the runs are running", (home.home / name).exists)

    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    rows = {line.split()[1]: line for line in said.splitlines() if line[:1].isdigit()}
    assert "cancelled" in rows["once"]
    assert "cancelled: by Ctrl-C" in rows["once"]
    assert "queued" in rows["again"]
    assert "intendant run --continue --state-dir" in said


def test_what_can_be_said_of_a_run_can_be_said_with_its_command(home: Daemon) -> None:
    told = home.home / "told"
    options = [
        "-n",
        "b",
        "--env",
        "A=1",
        "--secret-env",
        "T=x",
        "--cwd",
        "tmp",
        "--timeout",
        "2s",
    ]
    on_end = f"tee {told}"

    done = run(home, *options, "--on-end", on_end, "--", "sh", "-c", "echo $A $T $PWD; sleep 90")

    assert (done.returncode, done.stdout) == (124, f"1 x {home.home}/tmp\n")
    assert "run 1 (b) timed_out" in done.stderr
    assert json.loads(told.read_text())["name"] == "b"


def test_a_second_ctrl_c_kills_at_once_what_does_not_want_to_end(home: Daemon) -> None:
    running = start(home, "--grace", "5m", "--", "sh", "-c", STUBBORN)
    pid = read_pid(home)
    running.send_signal(signal.SIGINT)
    wait_for("the run is being ended", lambda: "stopping" in embedded_log(home))

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)

    assert running.returncode == 130
    assert not psutil.pid_exists(pid)


def test_a_second_ctrl_c_ends_it_where_nobody_reads_what_it_says(home: Daemon) -> None:
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    script = "echo $$ > pid; exec 1>&2; head -c 300000 /dev/zero; exec sleep 600"
    process = start(home, "--", "sh", "-c", script, stdout=writer, stderr=writer)
    os.close(writer)
    pid = read_pid(home)
    wait_for("there is no room for what it says", lambda: unread(reader) >= size)

    process.send_signal(signal.SIGINT)
    wait_for("its run has ended", lambda: not psutil.pid_exists(pid))
    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 130
    os.close(reader)
    [kept] = temporary(home)
    assert [path.name for path in kept.iterdir()] == ["state"]


def unread(pipe: int) -> int:
    """How many bytes nobody has taken yet (ioctl_tty(2): FIONREAD)."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["SIGTERM", "SIGHUP"]
)
def test_other_signals_end_it_too(home: Daemon, number: int, status: int) -> None:
    running = start(home, "--", "sh", "-c", "echo $$ > pid; exec sleep 60")
    pid = read_pid(home)

    running.send_signal(number)
    running.communicate(timeout=60)

    assert running.returncode == status
    assert not psutil.pid_exists(pid)


def test_when_the_command_line_is_killed_its_daemon_and_runs_go_with_it(home: Daemon) -> None:
    running = start(home, "--", "sh", "-c", "echo $$ > pid; exec sleep 60")
    pid = read_pid(home)

    running.kill()
    running.communicate(timeout=60)

    wait_for("the run is gone", lambda: not psutil.pid_exists(pid))
    home.assert_nothing_left()


def test_a_terminal_sees_progress_and_its_ctrl_c_ends_the_runs(home: Daemon) -> None:
    write_runs(
        home,
        {"name": "waits", "argv": ["sh", "-c", "echo $$ > pid; exec sleep 60"]},
        {"name": "comes-later", "argv": ["true"], "after": ["waits"]},
    )
    with Terminal(home, "run", "--state-dir", "kept", "runs.json") as terminal:
        wait_for("progress is shown", lambda: "0/2 waits" in terminal.text())
        pid = read_pid(home)

        terminal.type(b"\x03")

        assert terminal.wait() == 130
    assert not psutil.pid_exists(pid)


def test_two_at_once_do_not_meet(home: Daemon) -> None:
    (home.home / "a").mkdir()
    first = start(home, "--", "sh", "-c", "echo $$ > pid; until test -e go; do sleep 0.05; done")
    read_pid(home)

    second = run(home, "--", "echo", "second")
    (home.home / "go").touch()
    first.communicate(timeout=60)

    assert (second.returncode, second.stdout) == (0, "second\n")
    assert first.returncode == 0


def test_two_cannot_share_a_state_folder(home: Daemon) -> None:
    script = "echo $$ > pid; until test -e go; do sleep 0.05; done"
    first = start(home, "--state-dir", "kept", "--", "sh", "-c", script)
    read_pid(home)
    holder = (home.home / "kept" / "daemon.lock").read_text().strip()

    second = run(home, "--state-dir", "kept", "--", "touch", "trace")
    (home.home / "go").touch()
    first.communicate(timeout=60)

    assert second.returncode == 125
    assert second.stderr == (
        f"intendant: the embedded daemon did not start: {home.home / 'kept'} is in use by a daemon "
        f"with pid {holder}\n"
    )
    assert not (home.home / "trace").exists()
    assert first.returncode == 0


class Terminal:
    """A command line with a terminal of its own (pty(7)), and all that it shows."""

    def __init__(self, home: Daemon, *arguments: str) -> None:
        self._controller, theirs = os.openpty()
        self._shown = bytearray()
        environment = home.environment | {"TMPDIR": str(home.home / "tmp"), "TERM": "xterm"}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", INTENDANT, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=home.home,
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Terminal:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        os.close(self._controller)

    def _read(self) -> None:
        try:
            while data := os.read(self._controller, 4096):
                self._shown += data
        except OSError:  # EIO: the other end is closed
            return

    def text(self) -> str:
        """What was written to it, without colours and other control sequences (ECMA-48, CSI)."""
        return re.sub(r"\x1b\[[0-?]*[@-~]", "", self._shown.decode(errors="replace"))

    def type(self, keys: bytes) -> None:
        os.write(self._controller, keys)

    def wait(self) -> int:
        return self._process.wait(60)


def run(home: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`intendant run`, to its end."""
    return home.run("run", *arguments, environment=surroundings(home))


def start(home: Daemon, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """`intendant run`, while it runs."""
    environment = home.environment | {"TMPDIR": str(home.home / "tmp")}
    return home.popen("run", *arguments, env=environment, **options)


def surroundings(home: Daemon) -> dict[bytes, bytes]:
    return {b"TMPDIR": bytes(home.home / "tmp")}


def temporary(home: Daemon) -> list[Path]:
    """What is in the temporary folder."""
    return list((home.home / "tmp").iterdir())


def embedded_log(home: Daemon) -> str:
    """What the private daemon has logged."""
    logs = (home.home / "tmp").glob("*/state/daemon.log")
    return "".join(log.read_text() for log in logs)


def read_pid(home: Daemon) -> int:
    """The pid that the workload has written."""
    path = home.home / "pid"
    return int(wait_for("the workload runs", lambda: path.exists() and path.read_text()))


def write_runs(home: Daemon, *runs: dict[str, object]) -> None:
    """A run file `runs.json`."""
    (home.home / "runs.json").write_text(json.dumps({"runs": runs}))
