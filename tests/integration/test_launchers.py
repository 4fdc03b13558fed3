"""Both launchers: how a governor is born, what it finds, whom it outlives."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intendant.process.identity import process_stat
from tests.helpers.ground_truth import is_alive, none_alive, zombies_of
from tests.helpers.launch_host import Host, host_of
from tests.helpers.waiting import wait_for

LAUNCHERS = ("zygote", "portable")


@pytest.fixture(scope="module", params=LAUNCHERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def host(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One for the whole module: leave it as it was."""
    with host_of(name, cwd=tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def doomed(name: str, tmp_path: Path) -> Iterator[Host]:
    """One that may come to harm."""
    with host_of(name, cwd=tmp_path) as host:
        yield host


def facts(folder: Path) -> dict[str, Any]:
    """What the governor in this folder has found."""
    wait_for("the governor has told", (folder / "facts").exists)
    found: dict[str, Any] = json.loads((folder / "facts").read_text())
    return found


def test_a_governor_leads_a_session_of_its_own_and_is_the_executors_child(
    host: Host, tmp_path: Path
) -> None:
    pid = host.launch(tmp_path / "1")

    found = facts(tmp_path / "1")
    assert found["pid"] == found["sid"] == found["pgid"] == pid
    assert parent_of(pid) == host.pid


def test_a_governor_gets_its_order_its_environment_and_its_folder(
    host: Host, tmp_path: Path
) -> None:
    host.launch(tmp_path / "1", {"token": "t1"}, environment={"A": "1"})
    host.launch(tmp_path / "2", {"token": "t2"}, environment={"B": "2"})

    for number, variables in (("1", {"A": "1"}), ("2", {"B": "2"})):
        found = facts(tmp_path / number)
        assert found["order"] == {"token": f"t{number}"}
        assert {**found["environment"], "LC_CTYPE": ""} == {**variables, "LC_CTYPE": ""}
        assert found["folder"] == str(tmp_path / number)


def test_a_token_is_neither_in_the_arguments_nor_in_the_environment_that_others_may_see(
    host: Host, tmp_path: Path
) -> None:
    pid = host.launch(tmp_path / "1", {"token": "a-token-to-hide"})

    helper = host.look()
    for each in (pid, helper["helper"], *helper["below"]):
        for name in ("cmdline", "environ"):
            assert b"a-token-to-hide" not in Path(f"/proc/{each}/{name}").read_bytes()


def test_a_governor_inherits_no_descriptor_but_its_report_socket_no_thread_and_no_signal_setting(
    host: Host, tmp_path: Path
) -> None:
    host.launch(tmp_path / "1")

    found = facts(tmp_path / "1")
    log = str(tmp_path / "1" / "governor.log")
    [report, *others] = [number for number in found["descriptors"] if number not in ("0", "1", "2")]
    assert found["descriptors"].pop(report).startswith("socket:")
    assert not others
    assert not found["is_report_inheritable"]
    assert found["descriptors"] == {"0": "/dev/null", "1": log, "2": log}
    assert found["threads"] == 1
    assert found["blocked"] == []
    assert all(found["is_default"])


def test_what_a_governor_needs_is_imported_before_it_is_forked(host: Host, tmp_path: Path) -> None:
    host.launch(tmp_path / "1")

    assert facts(tmp_path / "1")["has_preloaded"]


@pytest.mark.parametrize(
    ("order", "expected"), [({"exit": 0}, 0), ({"exit": 3}, 3), ({"fail": "on purpose"}, 70)]
)
def test_the_exit_status_is_the_executors_to_have(
    host: Host, tmp_path: Path, order: dict[str, object], expected: int
) -> None:
    pid = host.launch(tmp_path / "1", order)
    facts(tmp_path / "1")

    assert host.ask("reap", pid) == expected
    assert zombies_of(host.pid) == []


def test_a_governor_that_fails_says_why_in_its_log(host: Host, tmp_path: Path) -> None:
    host.ask("reap", host.launch(tmp_path / "1", {"fail": "on purpose"}))

    assert "ValueError: on purpose" in (tmp_path / "1" / "governor.log").read_text()


def test_a_signal_that_ends_a_governor_is_told(host: Host, tmp_path: Path) -> None:
    pid = host.launch(tmp_path / "1")

    assert host.ask("reap", pid, int(signal.SIGTERM)) == -signal.SIGTERM


def test_governors_come_to_life_at_the_same_time(host: Host, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(20)]
    for folder in folders:
        folder.mkdir()

    answers = host.ask("launch_all", [str(folder) for folder in folders])

    pids = [answer["pid"] for answer in answers]
    host.governors += pids
    assert [facts(folder)["pid"] for folder in folders] == pids


def test_a_folder_that_is_missing_fails_the_launch_and_no_other(host: Host, tmp_path: Path) -> None:
    answer = host.ask("launch", str(tmp_path / "missing"), {}, {}, {})

    assert answer == {"failed": "governor: No such file or directory"}
    assert is_alive(host.launch(tmp_path / "1"))


def test_a_request_that_is_too_large_is_refused(host: Host, tmp_path: Path) -> None:
    answer = host.ask("launch", str(tmp_path), {"large": "x" * 200_000}, {}, {})

    assert "bytes, over" in answer["failed"]
    assert is_alive(host.launch(tmp_path / "1"))


def test_many_launches_leave_nothing_in_the_helper(host: Host, tmp_path: Path) -> None:
    def launch_and_reap() -> None:
        host.ask("reap", host.launch(tmp_path / "1", {"exit": 0}))

    launch_and_reap()
    helper = host.look()["helper"]
    descriptors = count_descriptors(helper)
    for _ in range(20):
        launch_and_reap()

    wait_for("descriptors are as before", lambda: count_descriptors(helper) <= descriptors)
    wait_for("no middle process is left", lambda: zombies_of(helper) == [])


# --- a governor that is born ahead of its order --------------------------------------------------


def test_a_governor_that_waits_takes_the_next_order(host: Host, tmp_path: Path) -> None:
    waiting = host.make_ready()

    assert host.launch(tmp_path / "1", {"token": "t1"}, environment={"A": "1"}) == waiting
    found = facts(tmp_path / "1")
    assert found["order"] == {"token": "t1"}
    assert found["environment"]["A"] == "1"
    assert found["folder"] == str(tmp_path / "1")
    assert found["sid"] == waiting
    assert host.launch(tmp_path / "2") != waiting


def test_one_governor_waits_however_often_that_is_wanted(host: Host, tmp_path: Path) -> None:
    waiting = host.make_ready()
    for _ in range(3):
        host.ask("make_ready", {})

    assert host.launch(tmp_path / "1") == waiting
    facts(tmp_path / "1")  # it bears its new title by then
    assert host.waiting() == []


def test_one_that_was_told_something_else_at_its_birth_is_let_go(
    host: Host, tmp_path: Path
) -> None:
    waiting = host.make_ready({"log_level": "info"})

    assert host.launch(tmp_path / "1", standing={"log_level": "debug"}) != waiting
    wait_for("it is gone, and reaped", lambda: process_stat(waiting) is None)

    waiting = host.make_ready({"log_level": "info"})
    other = host.make_ready({"log_level": "debug"})
    wait_for("the first is gone, and reaped", lambda: process_stat(waiting) is None)
    assert host.launch(tmp_path / "2", standing={"log_level": "debug"}) == other


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_killed_while_it_waits_is_reaped_and_missed_by_nobody(
    host: Host, tmp_path: Path, signum: signal.Signals
) -> None:
    waiting = host.make_ready()

    os.kill(waiting, signum)
    wait_for("it is reaped", lambda: process_stat(waiting) is None)

    assert is_alive(host.launch(tmp_path / "1"))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_dies_or_stands_still_as_it_gets_its_order_is_replaced(
    host: Host, tmp_path: Path, signum: signal.Signals
) -> None:
    waiting = host.make_ready()
    os.kill(waiting, signal.SIGSTOP)
    launched: list[int] = []
    launching = threading.Thread(target=lambda: launched.append(host.launch(tmp_path / "1")))
    launching.start()
    wait_for("it has been taken", lambda: (tmp_path / "1").exists())
    os.kill(waiting, signum)
    launching.join(120)

    assert launched != [waiting]
    assert facts(tmp_path / "1")["pid"] in launched
    wait_for("it is reaped", lambda: process_stat(waiting) is None)


def test_a_folder_that_is_missing_fails_the_launch_though_a_governor_waited(host: Host) -> None:
    waiting = host.make_ready()

    answer = host.ask("launch", "/nowhere", {}, {}, {})

    assert answer == {"failed": "governor: No such file or directory"}
    wait_for("it is reaped", lambda: process_stat(waiting) is None)


@pytest.mark.parametrize("end", ["killed", "in order"])
def test_a_governor_that_waits_ends_with_its_executor(doomed: Host, end: str) -> None:
    waiting = doomed.make_ready()

    if end == "killed":
        doomed.process.kill()
        doomed.process.wait()
        wait_for("it is gone", lambda: none_alive([waiting]))
    else:
        assert doomed.end() == 0
        assert none_alive([waiting])


# --- who outlives whom ---------------------------------------------------------------------------


def test_governors_outlive_the_executor_and_its_helpers_do_not(
    doomed: Host, tmp_path: Path
) -> None:
    governors = [doomed.launch(tmp_path / "1"), doomed.launch(tmp_path / "2")]
    facts(tmp_path / "2")
    helpers = all_helpers(doomed, governors)
    assert helpers

    doomed.process.kill()
    doomed.process.wait()

    wait_for("the helpers are gone", lambda: none_alive(helpers))
    assert all(map(is_alive, governors))


def test_at_its_orderly_end_the_executor_leaves_governors_and_no_helpers(
    doomed: Host, tmp_path: Path
) -> None:
    governor = doomed.launch(tmp_path / "1")
    facts(tmp_path / "1")
    helpers = all_helpers(doomed, [governor])

    assert doomed.end() == 0

    wait_for("the helpers are gone", lambda: none_alive(helpers))
    assert is_alive(governor)


def test_a_helper_that_is_killed_is_started_again_and_its_governors_live(
    doomed: Host, tmp_path: Path
) -> None:
    governor = doomed.launch(tmp_path / "1")
    before = doomed.look()

    os.kill(before["helper"], signal.SIGKILL)
    wait_for(
        "another helper is there", lambda: doomed.look()["helper"] not in (None, before["helper"])
    )

    assert is_alive(doomed.launch(tmp_path / "2"))
    assert doomed.look()["restarts"] == 1
    assert doomed.ask("reap", governor, int(signal.SIGKILL)) == -signal.SIGKILL
    wait_for("the old one left nothing", lambda: none_alive(before["below"]))
    wait_for("and no zombie", lambda: doomed.look()["orphans"] == [])


def test_a_forkserver_that_is_killed_is_started_again_with_its_helper(tmp_path: Path) -> None:
    with host_of("portable", cwd=tmp_path) as host:
        governor = host.launch(tmp_path / "1")
        before = host.look()
        [forkserver] = [pid for pid in before["below"] if "forkserver" in title(pid)]

        os.kill(forkserver, signal.SIGKILL)
        wait_for("it is noticed", lambda: host.look()["restarts"] == 1)

        assert is_alive(host.launch(tmp_path / "2"))
        assert is_alive(governor)
        assert not is_alive(before["helper"])


def test_helpers_ignore_the_signals_of_a_terminal(host: Host, tmp_path: Path) -> None:
    host.launch(tmp_path / "1")
    helpers = [host.look()["helper"], *host.look()["below"]]

    assert all(os.getsid(pid) == helpers[0] for pid in helpers)
    for pid in helpers:
        os.kill(pid, signal.SIGINT)

    assert is_alive(host.launch(tmp_path / "2"))
    assert host.look()["restarts"] == 0


# --- where the daemon is -------------------------------------------------------------------------


def test_files_named_like_modules_are_not_imported_from_the_daemons_folder(
    name: str, tmp_path: Path
) -> None:
    trap = "from pathlib import Path\nPath('sprung').touch()\n"
    for module in ("setproctitle", "zmq", "pydantic", "intendant"):
        (tmp_path / f"{module}.py").write_text(trap)
    with host_of(name, cwd=tmp_path) as host:
        assert is_alive(host.launch(tmp_path / "1"))

    assert not list(tmp_path.rglob("sprung"))


def parent_of(pid: int) -> int | None:
    stat = process_stat(pid)
    return None if stat is None else stat.parent


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def count_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def all_helpers(host: Host, governors: list[int]) -> list[int]:
    """Every process below the host but its governors."""
    look = host.look()
    tracker = [
        pid
        for pid in map(int, Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split())
        if pid not in governors
    ]
    return sorted({look["helper"], *look["below"], *tracker})
