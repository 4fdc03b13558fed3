"""The zygote by its own protocol; what both launchers make of it is in `test_launchers`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.ground_truth import is_alive
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
ENTRY = "tests.helpers.launched:main"


@contextmanager
def zygote(*preload: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A zygote that is ready, and our end of its control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "intendant.process.zygote", str(theirs.fileno()), ENTRY]
    with (
        ours,
        subprocess.Popen([*command, *preload], pass_fds=[theirs.fileno()], cwd=ROOT) as process,
    ):
        theirs.close()
        ours.settimeout(60)
        try:
            assert ours.recv(16) == b"ready"
            yield process, ours
        finally:
            process.kill()


def ask(control: socket.socket, folder: Path) -> socket.socket:
    """Send a request; our end of its report socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    request = {"folder": str(folder), "environment": {}, "order": {}}
    with theirs:
        socket.send_fds(control, [json.dumps(request).encode()], [theirs.fileno()])
    return ours


def test_the_session_exists_before_the_pid_is_told(tmp_path: Path) -> None:
    with zygote() as (_, control), ask(control, tmp_path) as report:
        pid = json.loads(report.recv(4096))["pid"]
        assert os.getsid(pid) == os.getpgid(pid) == pid
        kill(pid)


def test_a_governor_is_the_child_of_the_zygotes_parent_from_its_birth(tmp_path: Path) -> None:
    with zygote() as (process, control), ask(control, tmp_path) as report:
        pid = json.loads(report.recv(4096))["pid"]
        assert pid in children_of(os.getpid())
        assert children_of(process.pid) == []
        kill(pid)


def test_where_clone3_is_refused_a_middle_process_waits_until_the_pid_was_seen(
    tmp_path: Path,
) -> None:
    refusing = zygote("tests.helpers.no_clone3")
    with refusing as (process, control), ask(control, tmp_path) as report:
        pid = json.loads(report.recv(4096))["pid"]
        [middle] = children_of(process.pid)
        assert children_of(middle) == [pid]
        report.send(b"seen")
        wait_for("the middle is gone and reaped", lambda: not children_of(process.pid))
        assert is_alive(pid)
        os.kill(pid, 9)


def test_a_fork_that_the_kernel_refuses_is_reported_and_the_zygote_lives(tmp_path: Path) -> None:
    with zygote("tests.helpers.no_more_processes") as (process, control):
        for _ in range(2):
            with ask(control, tmp_path) as report:
                assert json.loads(report.recv(4096)) == {
                    "error": "fork: Resource temporarily unavailable"
                }
                assert report.recv(4096) == b""
        assert process.poll() is None


def test_it_ends_with_its_control_socket() -> None:
    with zygote() as (process, control):
        control.close()
        assert process.wait(60) == 0


def kill(child: int) -> None:
    os.kill(child, 9)
    os.waitpid(child, 0)


def children_of(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
