"""What others may see of a run: not its secrets, not its files, not its arguments; and no port."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import suppress

import apsw
import psutil
import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

MARKED = "marked-secret-8c1f"
INHERITED = "inherited-secret-77ab"
NAMED = "named-secret-31d4"
ARGUMENT = "an-argument-5d02"
SECRETS = [
    pytest.param(MARKED, id="--secret-env"),
    pytest.param(INHERITED, id="environment"),
    pytest.param(NAMED, id="--env *_KEY"),
]


@pytest.fixture(scope="module")
def told(served: Daemon) -> Iterator[Daemon]:
    """A daemon that knows secrets of one run that has ended and one that is running."""
    script = (
        'printf %s "$TOKEN $INHERITED $API_KEY" | wc -c; touch "$1"; '
        "until test -e go; do sleep 0.05; done"
    )
    for number in (1, 2):
        done = served.run(
            "submit", "--secret-env", f"TOKEN={MARKED}", "--env", f"API_KEY={NAMED}",
            "--retry", "1",
            "--", "sh", "-c", script, ARGUMENT, f"ready-{number}",
            environment={b"INHERITED": INHERITED.encode()},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        wait_for("it runs", (served.home / f"ready-{number}").exists)
        if number == 1:
            (served.home / "go").touch()
            served.wait_state(1, "ended")
            (served.home / "go").unlink()
    # A refusal must not quote them either.
    refused = served.run(
        "submit", "--key", "k", "--secret-env", f"TOKEN={MARKED}\udcff", "--", "true", "--json"
    )
    assert refused.returncode == 1
    assert MARKED not in refused.stderr
    yield served
    (served.home / "go").touch()


def test_the_run_itself_gets_its_secrets(told: Daemon) -> None:
    assert int(told.run("logs", "1").stdout) == len(f"{MARKED} {INHERITED} {NAMED}")


@pytest.mark.parametrize("secret", SECRETS)
def test_no_answer_holds_a_secret(told: Daemon, secret: str) -> None:
    answers = [
        told.run(*arguments).stdout
        for arguments in (
            ["show", "1"], ["show", "1", "--json"], ["show", "2", "--json"], ["ls", "--json"],
            ["wait", "1", "--json"], ["status", "--json"], ["cancel", "1", "--json"],
        )
    ]  # fmt: skip

    assert all(answers)
    assert secret not in "".join(answers)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_log_holds_a_secret(told: Daemon, secret: str) -> None:
    logs = [path for path in told.state_dir.rglob("*.log") if path.name != "stdout.log"]

    assert {"governor.log"} <= {path.name for path in logs}
    assert secret not in told.log_text()
    assert not [path for path in logs if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_event_holds_a_secret(told: Daemon, secret: str) -> None:
    events = "".join(event.model_dump_json() for event in told.events())

    assert "submitted" in events
    assert secret not in events


@pytest.mark.parametrize("secret", SECRETS)
def test_the_database_keeps_secrets_apart_from_runs_attempts_and_events(
    told: Daemon, secret: str
) -> None:
    connection = apsw.Connection(
        str(told.state_dir / "intendant.db"), flags=apsw.SQLITE_OPEN_READONLY
    )
    try:
        for table in ("run", "attempt", "event"):
            rows = repr(connection.execute(f"SELECT * FROM {table}").fetchall())
            assert rows != "[]"
            assert secret not in rows
    finally:
        connection.close()


@pytest.mark.parametrize("secret", SECRETS)
def test_no_process_shows_a_secret_in_its_title(told: Daemon, secret: str) -> None:
    titles = [title_of(process) for process in processes(told)]

    assert secret not in "\n".join(titles)


def test_the_start_token_is_out_of_the_workloads_sight(told: Daemon) -> None:
    """It is found neither in its environment nor in its folder."""
    claim = told.claim(2)
    workload = next(process for process in processes(told) if ARGUMENT in title_of(process))

    seen = b"".join(path.read_bytes() for path in told.attempt_folder(2).rglob("*"))
    seen += repr(workload.environ()).encode()

    tokens = {word for word in re.findall(rb"[0-9a-f]{32,}", seen) if len(word) == 32}
    assert claim["token_sha256"].encode() in seen
    assert not tokens - {claim["boot_id"].replace("-", "").encode()}


def test_e6_titles_say_role_run_and_attempt_and_no_arguments(told: Daemon) -> None:
    titles = {
        title
        for process in processes(told)
        if (title := title_of(process).strip()).startswith("intendant: ")
    }

    assert {"intendant: broker", "intendant: zygote", "intendant: governor 2.1"} <= titles
    assert any(title.startswith("intendant: executor") for title in titles)
    assert not [title for title in titles if ARGUMENT in title or str(told.home) in title]


def test_nothing_listens_on_the_network_unless_asked_for(told: Daemon) -> None:
    status = told.status()
    pids = [told.pid, status["broker"]["pid"], status["zygote"]["pid"], told.claim(2)["pid"]]

    assert [psutil.Process(pid).net_connections(kind="inet") for pid in pids] == [[], [], [], []]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_folders_are_0700_and_files_0600_whatever_the_umask(folders: Daemon, umask: int) -> None:
    folders.state_dir.rmdir()
    folders.start(umask=umask)
    assert folders.run("submit", "--wait", "--", "echo", "x").returncode == 0
    folders.stop()

    found = [folders.state_dir, folders.runtime_dir]
    found += [path for folder in found for path in folder.rglob("*")]

    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in found}
    assert {modes[path] for path in found if path.is_dir()} == {0o700}
    assert not [path for path, mode in modes.items() if mode & 0o077]
    assert {path.name for path in found} >= {"intendant.db", "claim", "exit.json", "stdout.log"}


def test_folders_that_others_could_enter_are_closed_to_them(folders: Daemon) -> None:
    folders.runtime_dir.mkdir(mode=0o755)
    folders.state_dir.chmod(0o755)

    folders.start()

    for folder in (folders.runtime_dir, folders.state_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def title_of(process: psutil.Process) -> str:
    """Its arguments; nothing of one that has ended since it was listed."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def processes(daemon: Daemon) -> list[psutil.Process]:
    """Every process of a daemon, itself included."""
    executor = psutil.Process(daemon.pid)
    return [executor, *executor.children(recursive=True)]
