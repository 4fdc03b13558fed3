"""Commands, started through a stub as a governor does it: in a process with a single thread."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from intendant.errors import WorkloadNotStarted
from intendant.process.stub import Stub
from intendant.protocol.workloads import CommandSpec
from intendant.workloads.base import Surroundings
from intendant.workloads.command import CommandWorkload
from tests.helpers.processes import settable

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def govern(folder: Path, spec: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """What a governor would learn: the exit status, or why it was not started."""
    stub = Stub.fork(None)
    surroundings = Surroundings(
        stdout=folder / "stdout.log",
        stderr=folder / "stderr.log",
        environment={os.fsencode(name): os.fsencode(text) for name, text in environment.items()},
        folder=folder,
        stub=stub,
        attempt_folder=folder,
        label="1.1",
    )
    try:
        pid = CommandWorkload(CommandSpec.model_validate(spec)).start(surroundings)
    except WorkloadNotStarted as error:
        return {"reason": error.reason, "exit_code": error.exit_code}
    finally:
        stub.dismiss()
    leads = os.getpgid(pid) == pid
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "leads": leads}


def run(
    folder: Path, *argv: str, environment: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """Govern one command in a process of its own; its outputs are in the folder."""
    base = environment or {"PATH": os.environ["PATH"]}
    order = [str(folder), {"kind": "command", "argv": argv, **spec}, base]
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_command_workload", json.dumps(order)],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def out(folder: Path) -> str:
    return (folder / "stdout.log").read_text()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
def test_the_status_is_the_commands_own(tmp_path: Path, script: str, status: int) -> None:
    assert run(tmp_path, "sh", "-c", script)["status"] == status


def test_a_command_leads_a_process_group_of_its_own(tmp_path: Path) -> None:
    assert run(tmp_path, "true")["leads"]


def test_arguments_arrive_as_they_were_given(tmp_path: Path) -> None:
    strange = ["a b", "$HOME", "`id`", "; false", "", "ü", "-n", 'it\'s "it"', "a\nb"]
    run(tmp_path, "sh", "-c", 'for a in "$@"; do printf "<%s>" "$a"; done', "sh", *strange)
    expected = "".join(f"<{text}>" for text in strange)
    assert (tmp_path / "stdout.log").read_bytes() == os.fsencode(expected)


def test_output_and_errors_go_to_files_of_their_own_for_the_owner_alone(tmp_path: Path) -> None:
    run(tmp_path, "sh", "-c", "echo out; echo err >&2")
    assert out(tmp_path) == "out\n"
    assert (tmp_path / "stderr.log").read_text() == "err\n"
    for name in ("stdout.log", "stderr.log"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_second_attempt_at_the_same_file_appends(tmp_path: Path) -> None:
    run(tmp_path, "echo", "one")
    run(tmp_path, "echo", "two")
    assert out(tmp_path) == "one\ntwo\n"


def test_a_planted_link_in_the_place_of_an_output_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "stdout.log").symlink_to(victim)
    with pytest.raises(AssertionError, match=r"stdout\.log"):
        run(tmp_path, "echo", "theirs")
    assert victim.read_text() == "mine"


def test_the_environment_is_what_was_given_and_the_specs_own_goes_over_it(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "A": "given", "B": "given"}
    run(tmp_path, "env", environment=environment, env={"B": "own", "C": "own"})
    lines = {line for line in out(tmp_path).splitlines() if not line.startswith("PATH=")}
    assert lines == {"A=given", "B=own", "C=own"}


def test_the_program_is_looked_up_on_the_runs_own_path(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "only-here"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    run(tmp_path, "only-here", environment={"PATH": str(program.parent)})
    assert out(tmp_path) == "found\n"


def test_folder_mask_and_input_are_as_the_spec_says(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "input").write_text("hello")
    run(tmp_path, "sh", "-c", "pwd; umask; cat", cwd="sub", umask=0o027, stdin="input")
    assert out(tmp_path) == f"{tmp_path}/sub\n0027\nhello"


def test_without_an_input_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert run(tmp_path, "cat")["status"] == 0
    assert out(tmp_path) == ""


def test_a_command_inherits_no_descriptor_no_mask_and_no_ignored_signal(tmp_path: Path) -> None:
    script = "ls /proc/self/fd; grep -E 'SigBlk|SigIgn' /proc/self/status"
    run(tmp_path, "sh", "-c", script)
    *descriptors, blocked, ignored = out(tmp_path).split("\n")[:-1]
    assert descriptors == ["0", "1", "2", "3"]  # the last one is that of `ls` itself
    assert int(blocked.split()[1], 16) == 0
    assert settable(int(ignored.split()[1], 16)) == set()


def test_what_the_daemon_was_started_ignoring_or_blocking_the_command_is_not(
    tmp_path: Path,
) -> None:
    earlier = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        run(tmp_path, "grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGQUIT, earlier)
    blocked, ignored = (int(line.split()[1], 16) for line in out(tmp_path).splitlines())
    assert (settable(blocked), settable(ignored)) == (set(), set())


@pytest.mark.parametrize(
    ("argv", "spec", "reason", "exit_code"),
    [
        (["no-such-command"], {}, "command_not_found: no-such-command", 127),
        (["./missing"], {}, "command_not_found: ./missing", 127),
        (["./plain"], {}, "not_executable: ./plain", 126),
        (["./folder"], {}, "not_executable: ./folder", 126),
        (["./orphan"], {}, "interpreter_not_found: the one that ./orphan names", 127),
        (["true"], {"cwd": "missing"}, "folder_missing: ", None),
        (["true"], {"cwd": "plain"}, "folder_missing: ", None),
        (["true"], {"stdin": "missing"}, "stdin_missing: ", None),
    ],
)
def test_what_can_not_be_started_says_why(
    tmp_path: Path, argv: list[str], spec: dict[str, Any], reason: str, exit_code: int | None
) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "folder").mkdir()
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    found = run(tmp_path, *argv, **{"cwd": str(tmp_path), **spec})
    assert found["reason"].startswith(reason)
    assert found["exit_code"] == exit_code


if __name__ == "__main__":
    _folder, _spec, _environment = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(govern(Path(_folder), _spec, _environment)))
