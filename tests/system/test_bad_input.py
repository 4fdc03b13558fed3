"""What can't be done is refused, or fails with its reason; never half done."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from intendant.client.command import Command
from intendant.errors import InvalidRequest
from intendant.protocol.folders import client_endpoint
from tests.helpers.daemon import Daemon
from tests.helpers.keys import Keys
from tests.helpers.waiting import SLOWNESS_S

MIB = 1024 * 1024


# --- commands that can't be started --------------------------------------------------------------


def no_such_command(_: Path) -> list[str]:
    return ["no-such-command"]


def no_such_path(folder: Path) -> list[str]:
    return [str(folder / "none")]


def not_executable(folder: Path) -> list[str]:
    path = folder / "plain.txt"
    path.write_text("echo\n")
    return [str(path)]


def a_folder(folder: Path) -> list[str]:
    return [str(folder)]


def no_interpreter(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    return [str(path)]


def no_format(folder: Path) -> list[str]:
    path = folder / "garbage"
    path.write_bytes(b"\x7fELF, but no further")
    path.chmod(0o755)
    return [str(path)]


@pytest.mark.parametrize(
    ("argv", "flags", "reason", "exit_code"),
    [
        (no_such_command, [], "command_not_found: no-such-command", 127),
        (no_such_path, [], "command_not_found: ", 127),
        (not_executable, [], "not_executable: ", 126),
        (a_folder, [], "not_executable: ", 126),
        (no_interpreter, [], "interpreter_not_found: ", 127),
        (no_format, [], "not_executable: ", 126),
        (lambda _: ["true"], ["--cwd", "no/such/folder"], "folder_missing: ", None),
        (lambda _: ["true"], ["--cwd", "/etc/passwd"], "folder_missing: ", None),
    ],
    ids=[
        "command not found", "path not found", "not executable", "a folder", "bad interpreter",
        "bad format", "folder missing", "a file for a folder",
    ],
)  # fmt: skip
def test_what_cannot_be_started_fails_within_a_second_with_the_reason(
    served: Daemon,
    argv: Callable[[Path], list[str]],
    flags: list[str],
    reason: str,
    exit_code: int | None,
) -> None:
    done = served.run("submit", "--wait", "--json", *flags, "--", *argv(served.home))

    run = json.loads(done.stdout)
    assert (run["state"], run["outcome"]) == ("ended", "failed")
    assert run["reason"].startswith(reason)
    assert run["exit_code"] == exit_code
    assert took_s(run) < 1.0 + SLOWNESS_S
    assert done.returncode == exit_code or exit_code is None


def test_a_missing_file_for_stdin_fails_with_that_reason(served: Daemon) -> None:
    with served.client() as client:
        run = client.submit(Command(["cat"], stdin="none")).wait()

    assert run["outcome"] == "failed"
    assert str(run["reason"]).startswith("stdin_missing: ")


def test_e8_one_that_cannot_be_started_harms_nobody_else(served: Daemon) -> None:
    with served.client() as client:
        runs = [client.submit([name]) for name in ["no-such-command", "true"] * 5]
        outcomes = [run.wait()["outcome"] for run in runs]

    assert outcomes == ["failed", "succeeded"] * 5


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "x"], "'x'"),
        (["show", "0"], "0"),
        (["show", "1-3"], "one run"),
        (["show", "all"], "one run"),
        (["wait", "3-1"], "'3-1'"),
        (["wait", ""], "''"),
        (["cancel", "1,,2"], "''"),
        (["cancel", "99999999999999999999"], "99999999999999999999"),
        (["logs", "-1"], "-1"),
        (["wait"], "ID"),
        (["queue", "set", "q", "--slots", "-1"], "-1"),
        (["queue", "set", "q", "--slots", "0"], "0"),
        (["serve", "--slots", "-1"], "-1"),
        (["submit", "--timeout", "0", "--", "true"], "found 0"),
        (["submit", "--timeout", "soon", "--", "true"], "soon"),
        (["submit", "--priority", "high", "--", "true"], "high"),
        (["submit", "--env", "NOVALUE", "--", "true"], "K=V"),
        (["submit", "--retry", "-1", "--", "true"], "-1"),
        (["submit"], "--"),
        (["submit", "--"], "expected a command"),
        (["submit", "--", ""], "expected a command"),
        (["ls", "--state", "asleep"], "asleep"),
        (["ls", "--limit", "0"], "0"),
        (["no-such-verb"], "no-such-verb"),
        (["--endpoint", "http://x", "ls"], "http://x"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_gives_2_and_says_what_was_found(
    served: Daemon, arguments: list[str], says: str
) -> None:
    done = served.run(*arguments)

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["show", "424242"], ["wait", "424242"], ["cancel", "424242"], ["logs", "424242"],
     ["queue", "pause", "nowhere"], ["submit", "-q", "nowhere", "--", "true"]],
    ids=" ".join,
)  # fmt: skip
def test_what_does_not_exist_gives_1_and_is_named(served: Daemon, arguments: list[str]) -> None:
    done = served.run(*arguments)

    assert done.returncode == 1
    assert "424242" in done.stderr or "nowhere" in done.stderr


def test_if_one_of_several_runs_does_not_exist_none_is_touched(served: Daemon) -> None:
    run_id = served.submit("sleep", "600")

    done = served.run("cancel", f"{run_id},424242")

    assert done.returncode == 1
    assert served.show(run_id)["state"] in ("queued", "starting", "running")
    served.run("cancel", str(run_id))


WRONG_SPECS: list[tuple[str, dict[str, Any], str]] = [
    ("NUL in an argument", {"argv": ["echo", "a\0b"]}, "NUL"),
    ("NUL in a variable", {"argv": ["env"], "env": {"A": "a\0b"}}, "NUL"),
    ("NUL in the folder", {"argv": ["true"], "cwd": "/tmp\0"}, "NUL"),
    ("a name with =", {"argv": ["env"], "env": {"A=B": "c"}}, "A=B"),
    ("an argument of 2 MiB", {"argv": ["echo", "x" * 2 * MIB]}, "at most 131071"),
    ("a variable of 2 MiB", {"argv": ["env"], "env": {"A": "x" * 2 * MIB}}, "at most 131071"),
    ("no arguments", {"argv": []}, "argv"),
    ("an empty program", {"argv": [""]}, "empty"),
    ("no time", {"argv": ["true"], "timeout_s": 0}, "timeout_s: found 0, expected more than 0"),
    ("less than no time", {"argv": ["true"], "timeout_s": -1}, "timeout_s"),
    ("no number", {"argv": ["true"], "timeout_s": float("inf")}, "number"),
    ("a half surrogate", {"argv": ["echo", "\udcff"]}, "UTF-8"),
]


@pytest.mark.parametrize(
    ("what", "says"),
    [pytest.param(what, says, id=name) for name, what, says in WRONG_SPECS],
)
def test_a_spec_that_no_process_could_be_given_is_refused_at_once(
    served: Daemon, what: dict[str, Any], says: str
) -> None:
    before = served.run_count()
    with served.client() as client:
        with pytest.raises(InvalidRequest) as refused:
            client.submit(Command(**what))

        assert says in str(refused.value)
    assert served.run_count() == before


def test_negative_slots_are_refused_by_the_daemon_too(served: Daemon) -> None:
    with served.client() as client, pytest.raises(InvalidRequest, match="slots: found -1"):
        client.queue_set("q", slots=-1)


def test_an_argument_that_is_no_utf_8_is_refused(served: Daemon) -> None:
    before = served.run_count()

    done = served.run("submit", "--", "echo", b"\xff")

    assert done.returncode == 1
    assert "UTF-8" in done.stderr
    assert served.run_count() == before


# --- passed on verbatim --------------------------------------------------------------------------


def test_the_longest_argument_that_the_kernel_takes_arrives(served: Daemon) -> None:
    longest = "x" * 131_071

    with served.client() as client:
        run = client.submit(["sh", "-c", "printf %s ${#1}", "sh", longest])

        assert run.wait()["outcome"] == "succeeded"
        assert b"".join(run.logs()) == b"131071"


def test_arguments_arrive_as_they_are(served: Daemon) -> None:
    odd = ["", " ", "a b", "*", "$HOME", "'\"", "\\", "\n", "-n", "--", "ü", "\x1b[31m", "\x7f"]

    with served.client() as client:
        run = client.submit([sys.executable, "-c", "import sys; print(sys.argv[1:])", *odd])
        run.wait()

        assert b"".join(run.logs()).decode() == f"{odd}\n"


def test_an_environment_that_is_no_utf_8_arrives_as_it_is(served: Daemon) -> None:
    done = served.run(
        "submit", "--wait", "--", "sh", "-c", "printf %s \"$ODD\" | od -An -tx1",
        environment={b"ODD": b"\xff\xfe\x80=\n"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert served.run("logs", done.stdout.strip()).stdout.strip() == "ff fe 80 3d 0a"


def test_a_run_has_its_submitters_environment_and_five_variables_more(served: Daemon) -> None:
    ours = {b"A": b"1", b"EMPTY": b"", b"OVERRIDDEN": b"by --env"}

    run_id = served.run(
        "submit", "--wait", "--env", "OVERRIDDEN=yes", "--", "env", "-0", environment=ours
    ).stdout.strip()

    submitters = {os.fsencode(key): os.fsencode(text) for key, text in served.environment.items()}
    with served.client() as client:
        entries = b"".join(client.logs(run_id)).split(b"\0")[:-1]
    found = {name: text for name, _, text in (entry.partition(b"=") for entry in entries)}
    assert found == submitters | ours | {
        b"OVERRIDDEN": b"yes",
        b"INTENDANT_RUN_ID": run_id.encode(),
        b"INTENDANT_ATTEMPT": b"1",
        b"INTENDANT_RUN_DIR": bytes(served.state_dir / "spool" / run_id),
        b"INTENDANT_STATE_DIR": bytes(served.state_dir),
        b"INTENDANT_ENDPOINT": client_endpoint(served.runtime_dir).encode(),
    }


def test_a_run_reads_nothing_unless_it_is_given_a_file(served: Daemon) -> None:
    (served.home / "input").write_text("what is read\n")

    with served.client() as client:
        deaf = client.submit(["cat"])
        fed = client.submit(Command(["cat"], stdin=served.home / "input"))
        outcomes = deaf.wait()["outcome"], fed.wait()["outcome"]

        assert outcomes == ("succeeded", "succeeded")
        assert (b"".join(deaf.logs()), b"".join(fed.logs())) == (b"", b"what is read\n")


def test_a_run_has_the_file_mode_mask_that_it_asks_for(served: Daemon) -> None:
    made = served.home / "made"

    with served.client() as client:
        client.submit(Command(["touch", str(made)], umask=0o027)).wait()

    assert stat.S_IMODE(made.stat().st_mode) == 0o640


# --- no daemon, or two ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["status"], ["show", "1"], ["wait", "1"], ["logs", "1"], ["cancel", "1"],
     ["queue", "ls"], ["shutdown"], ["submit", "--", "true"]],
    ids=" ".join,
)  # fmt: skip
def test_without_a_daemon_every_verb_gives_69_and_names_the_endpoint(
    folders: Daemon, arguments: list[str]
) -> None:
    done = folders.run(*arguments)

    assert done.returncode == 69
    assert f"ipc://{folders.runtime_dir}/client.sock" in done.stderr


def test_a_port_where_nobody_listens_gives_69_and_is_named(folders: Daemon) -> None:
    done = folders.run("--endpoint", "tcp://127.0.0.1:1", "ls")

    assert done.returncode == 69
    assert "tcp://127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("shared", ["--state-dir", "--runtime-dir"])
def test_a_second_daemon_on_the_same_folder_is_refused_and_the_first_is_unharmed(
    served: Daemon, shared: str
) -> None:
    other = {"--state-dir": "--runtime-dir", "--runtime-dir": "--state-dir"}[shared]
    busy = served.state_dir if shared == "--state-dir" else served.runtime_dir
    run_id = served.submit("sh", "-c", "until test -e go; do sleep 0.05; done; echo unharmed")

    done = served.run("serve", shared, str(busy), other, str(served.home / "elsewhere"))
    (served.home / "go").touch()

    assert done.returncode not in (0, 2)
    assert str(busy) in done.stderr
    assert served.run("wait", str(run_id)).returncode == 0
    assert served.run("logs", str(run_id)).stdout == "unharmed\n"
    assert served.run("submit", "--wait", "--", "true").returncode == 0
    (served.home / "go").unlink()


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found an empty file"),
        ("slots = [", "line 1"),
        ("slots = 'many'", "slots: found 'many', expected a whole number"),
        ("slots = -1", "slots: found -1, expected at least 1"),
        ("slotz = 3", "slotz: found an unknown key, expected 'slots' perhaps"),
        ("queues.a.slots = 0", "queues.a.slots: found 0, expected at least 1"),
        ("listen = ['tcp://0.0.0.0:5555']", "listen: "),
        ("listen = ['smoke://signals']", "listen: "),
    ],
)
def test_e21_faulty_settings_give_2_with_file_and_key(
    folders: Daemon, text: str, says: str
) -> None:
    path = folders.home / "settings.toml"
    path.write_text(text)

    done = folders.run("serve", "--config", str(path))

    assert done.returncode == 2
    assert says in done.stderr
    assert str(path) in done.stderr or says == "listen: "


def test_e21_a_settings_file_that_was_named_must_exist(folders: Daemon) -> None:
    done = folders.run("serve", "--config", "none.toml")

    assert done.returncode == 2
    assert "none.toml" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"), [("INTENDANT_SLOTS", "many"), ("INTENDANT_ON_SIGNAL", "panic")]
)
def test_e21_a_faulty_variable_gives_2_with_its_key(folders: Daemon, name: str, text: str) -> None:
    done = folders.run("serve", environment={name.encode(): text.encode()})

    assert done.returncode == 2
    assert f"environment: {name.removeprefix('INTENDANT_').lower()}: found '{text}'" in done.stderr


def took_s(run: dict[str, Any]) -> float:
    """From the submission to the end."""
    begin, end = (datetime.fromisoformat(run[key]) for key in ("submitted_at", "finished_at"))
    return (end - begin).total_seconds()


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_an_endpoint_where_somebody_listens_already_is_refused_at_the_start(
    folders: Daemon, scheme: str
) -> None:
    family = socket.AF_INET if scheme == "tcp" else socket.AF_UNIX
    with socket.socket(family) as other:
        other.bind(("127.0.0.1", 0) if scheme == "tcp" else str(folders.home / "taken"))
        other.listen()
        taken = other.getsockname()
        uri = f"tcp://127.0.0.1:{taken[1]}" if scheme == "tcp" else f"ipc://{taken}"

        keys = Keys(folders.home)
        files = ["--server-key-file", str(keys.folder / "server.key")]
        files += ["--authorized-keys", str(keys.authorized_file)]
        done = folders.run("serve", "--listen", uri, *files)

    assert done.returncode == 2
    assert done.stderr.startswith("intendant: listen: can't listen at ")
    assert "Address already in use" in done.stderr or "another broker does" in done.stderr
