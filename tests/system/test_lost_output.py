"""Commands whose output goes nowhere: closed streams, a full disk, folders that are gone."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.helpers.daemon import INTENDANT, Daemon

LIMIT_S = 60.0


def shell(daemon: Daemon, script: str) -> subprocess.CompletedProcess[str]:
    """A line of shell; `$I` is the command."""
    return subprocess.run(
        ["sh", "-c", script],
        env=daemon.environment | {"I": INTENDANT},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_run_ends_as_its_command_did_whatever_stream_is_closed(
    folders: Daemon, closed: str
) -> None:
    done = shell(folders, f'"$I" run -- sh -c "echo out; echo err >&2; exit 3" {closed}')
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert ("out" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_a_verb_with_a_closed_stdout_prints_nowhere_else(served: Daemon) -> None:
    assert shell(served, '"$I" submit --wait -- echo hello >&-').returncode == 0
    done = shell(served, '"$I" logs last >&-')
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_run_says_in_a_line_that_its_output_found_no_room(folders: Daemon) -> None:
    done = shell(folders, '"$I" run -- echo hello > /dev/full')
    assert done.returncode == 1
    assert done.stderr == "intendant: No space left on device\n"


@pytest.mark.parametrize("verb", ["events -f --all", "logs -f last"])
def test_who_follows_ends_with_the_reader_though_nothing_more_is_written(
    served: Daemon, verb: str
) -> None:
    run_id = served.submit("sh", "-c", "echo hello; exec sleep 600")
    served.wait_state(run_id, "running")

    follower = served.popen(*verb.split())
    assert follower.stdout is not None
    assert follower.stdout.readline()
    follower.stdout.close()

    assert follower.wait(LIMIT_S) == 128 + signal.SIGPIPE
    served.run("cancel", "--now", str(run_id))
    served.wait_state(run_id, "ended")


@pytest.mark.parametrize("verb", ["ls", "status", "--help", "logs last", "show last"])
def test_a_verb_says_in_a_line_that_its_output_found_no_room(served: Daemon, verb: str) -> None:
    shell(served, '"$I" submit --wait -- echo hello')
    done = shell(served, f'"$I" {verb} > /dev/full')
    assert (done.returncode, done.stderr) == (1, "intendant: No space left on device\n")
    assert shell(served, f'"$I" {verb} > /dev/full 2>&1').returncode == 1


def test_the_id_of_a_queued_run_is_told_where_stdout_does_not_take_it(served: Daemon) -> None:
    done = shell(served, '"$I" submit --hold -- true > /dev/full')
    assert done.returncode == 1
    [named, reason] = done.stderr.splitlines()
    run_id = named.removeprefix("intendant: queued all the same: ")
    assert reason == "intendant: No space left on device"
    assert shell(served, f'"$I" cancel {run_id}').returncode == 0


def test_a_result_that_can_not_be_written_says_where(served: Daemon) -> None:
    shell(served, '"$I" submit --wait os:getpid')
    done = shell(served, '"$I" result last -o /nonexistent/result')
    assert done.returncode == 1
    assert done.stderr == "intendant: /nonexistent/result: No such file or directory\n"


def test_a_state_folder_that_is_a_file_is_named(folders: Daemon) -> None:
    done = shell(folders, '"$I" run --state-dir /dev/null -- true')
    assert done.returncode == 1
    assert done.stderr == "intendant: /dev/null: File exists\n"


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_working_folder_that_is_gone_is_said(served: Daemon, verb: str) -> None:
    done = shell(served, f'mkdir "$INTENDANT_STATE_DIR/gone"; cd "$INTENDANT_STATE_DIR/gone"; '
                         f'rmdir "$INTENDANT_STATE_DIR/gone"; "$I" {verb} -- true')  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("intendant: the working directory does not exist any more")
