"""Verbs against an executor in memory, which checks every request against the models."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from intendant.cli.main import VERBS, run
from intendant.cli.session import Session
from intendant.client.endpoint import Address
from intendant.errors import Busy, Unreachable
from intendant.protocol import messages as m
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.workloads import CommandSpec
from tests.helpers.fake_executor import Ending, FakeConnection, FakeExecutor
from tests.helpers.shell import Shell

RUN_KEYS = [
    "id", "name", "kind", "state", "outcome", "reason", "exit_code", "signal", "attempt", "queue",
    "priority", "account", "submitted_at", "started_at", "finished_at", "spec",
]  # fmt: skip
TWO_RUNS = '[[runs]]\nname = "a"\nargv = ["true"]\n[[runs]]\nafter = ["a"]\nargv = ["true"]\n'


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(shell: Shell, verb: str) -> None:
    status, out, _ = shell(verb, "--help")
    assert status == 0
    assert f"Examples:\n    intendant {verb}" in out


def test_submit_prints_the_id_alone(shell: Shell) -> None:
    assert shell("submit", "--", "echo", "--", "--json") == (0, "1\n", "")
    [submission] = shell.executor.submissions
    assert isinstance(submission.spec.workload, CommandSpec)
    assert submission.spec.workload.argv == ["echo", "--", "--json"]
    assert submission.spec.workload.cwd == os.getcwd()  # noqa: PTH109  as text, as it is


def test_every_option_of_submit_arrives(shell: Shell) -> None:
    options = "-n b -q cpu --priority -5 --timeout 2m --grace 0 --retry 2 --restartable --key k"
    more = [
        *("--hold", "--env", "A=1=2", "--secret-env", "T=x", "--cwd", "sub", "--on-end"),
        "mail -s 'the end' me",
    ]
    status, _, err = shell("submit", *options.split(), *more, "--", "make")
    assert (status, err) == (0, "")
    [submission] = shell.executor.submissions
    spec = submission.spec
    assert (spec.name, spec.queue, spec.priority) == ("b", "cpu", -5)
    assert (spec.timeout_s, spec.grace_s, spec.retry.attempts) == (120.0, 0.0, 2)
    assert (spec.restartable, spec.hold, submission.submission_key) == (True, True, "k")
    assert (spec.workload.env, submission.secrets.env) == ({"A": "1=2"}, {"T": "x"})
    assert spec.workload.cwd == str(Path.cwd() / "sub")
    assert spec.on_end == ["mail", "-s", "the end", "me"]


def test_submit_prints_the_ids_of_a_files_runs_one_a_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(TWO_RUNS)
    assert shell("submit", str(tmp_path / "two.toml")) == (0, "1\n2\n", "")
    assert shell.executor.submissions[1].spec.after == ["a"]


def test_submit_json_prints_the_run(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(TWO_RUNS)
    assert list(json.loads(shell("submit", "--json", "--", "true")[1])) == RUN_KEYS
    found = json.loads(shell("submit", "--json", str(tmp_path / "two.toml"))[1])
    assert [one["id"] for one in found] == [2, 3]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(), 0),
        (Ending(Outcome.FAILED, 3), 3),
        (Ending(Outcome.FAILED, None, 9), 137),
        (Ending(Outcome.TIMED_OUT, None, 15), 124),
    ],
)
def test_submit_wait_has_the_status_of_the_run(shell: Shell, ending: Ending, expected: int) -> None:
    shell.executor.ending = ending
    assert shell("submit", "--wait", "--", "true")[:2] == (expected, "1\n")


def test_ctrl_c_detaches_from_a_run_and_says_so(shell: Shell) -> None:
    shell.interrupt_after = 1
    status, out, err = shell("submit", "--wait", "--", "sleep", "9")
    assert (status, out) == (130, "1\n")
    assert "detached; run 1 goes on: intendant wait 1" in err
    assert shell.executor.runs[1].outcome is None


class Interrupting:
    """A stdout at which Ctrl-C is hit as soon as something has been printed."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]  # there is one
        raise KeyboardInterrupt

    def flush(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("verb", [["submit", "--wait"], ["submit"]])
def test_ctrl_c_before_the_waiting_begins_is_ctrl_c_while_waiting(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Interrupting())
    status, _, err = shell(*verb, "--", "sleep", "9")
    assert (status, err.lstrip()) == (130, "intendant: detached; run 1 goes on: intendant wait 1\n")


class Mute(FakeConnection):
    """No answer comes: Ctrl-C is hit, or the time is up."""

    end: BaseException = KeyboardInterrupt()

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]:
        raise self.end


@pytest.mark.parametrize(
    ("end", "status"), [(KeyboardInterrupt(), 130), (TimeoutError("no answer in time"), 75)]
)
def test_who_gets_no_answer_is_told_that_the_run_may_be_queued(
    capfd: pytest.CaptureFixture[str], end: BaseException, status: int
) -> None:
    mute = Mute(FakeExecutor())
    mute.end = end
    session = Session(environ={"INTENDANT_ENDPOINT": "ipc:///nowhere"}, connect=lambda _: mute)
    assert run(["submit", "--", "sleep", "9"], session) == status
    out, err = capfd.readouterr()
    assert (out, "may be queued all the same" in err) == ("", True)
    assert run(["submit", "--json", "--", "sleep", "9"], session) == status
    out, err = capfd.readouterr()
    assert (out, "may be queued all the same" in json.loads(err)["error"]["message"]) == ("", True)


def test_ctrl_c_while_retry_prints_its_ids_names_them(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("submit", "--wait", "--", "true")
    monkeypatch.setattr(sys, "stdout", Interrupting())
    status, _, err = shell("retry", "1")
    assert (status, err.strip()) == (130, "intendant: queued all the same: 2")


def test_ctrl_c_on_wait_says_how_to_wait_again(shell: Shell) -> None:
    for _ in range(3):
        shell("submit", "--", "true")
    shell.interrupt_after = 1
    status, out, err = shell("wait", "1,3", "2")
    told = "detached; the runs go on: intendant wait 1,3 2"
    assert (status, out, err.strip()) == (130, "", f"intendant: {told}")
    _, out, err = shell("wait", "1,3", "2", "--json")
    assert (out, json.loads(err)) == ("", {"error": {"code": "interrupted", "message": told}})


def test_wait_gives_the_highest_status(shell: Shell) -> None:
    shell("submit", "--", "true")
    shell("submit", "--", "true")
    shell.executor.end(1, Ending(Outcome.FAILED, 4))
    assert shell("wait", "1-2") == (4, "", "intendant: run 1 failed (4)\n")


def test_of_all_runs_those_are_waited_for_that_have_not_ended(shell: Shell) -> None:
    shell("submit", "--", "true")
    shell.executor.end(1, Ending(Outcome.FAILED, 4))
    assert shell("wait", "all") == (0, "", "")
    assert shell("wait", "last")[0] == 4
    shell("submit", "--", "true")
    assert shell("wait", "all") == (0, "", "")


def test_why_a_run_did_not_succeed_is_told_where_a_person_waits(shell: Shell) -> None:
    shell.executor.ending = Ending(Outcome.FAILED, 3)
    assert shell("submit", "--wait", "--", "true")[2] == "intendant: run 1 failed (3)\n"
    assert shell("submit", "--wait", "--json", "--", "true")[2] == ""
    assert shell("wait", "1", "--json")[2] == ""


def test_wait_any_counts_only_what_has_ended(shell: Shell) -> None:
    shell("submit", "--", "true")
    shell("submit", "--", "true")
    status, out, _ = shell("wait", "1,2", "--any", "--json")
    assert (status, json.loads(out)["id"]) == (0, 1)


def test_wait_gives_up_after_its_time_out(shell: Shell) -> None:
    shell("submit", "--", "true")
    shell.executor.ending = None
    assert shell("wait", "1", "--timeout", "0.1")[0] == 75


def test_ls_lists_the_newest_first(shell: Shell) -> None:
    shell("submit", "-n", "old", "--", "true")
    shell("submit", "-n", "new", "--", "true")
    _, out, err = shell("ls")
    assert [line.split()[1] for line in out.splitlines()] == ["NAME", "new", "old"]
    assert err == ""


def test_ls_json_is_an_array_of_runs(shell: Shell) -> None:
    shell("submit", "--", "true")
    [found] = json.loads(shell("ls", "--json")[1])
    assert list(found) == RUN_KEYS


def test_ls_passes_its_filters_on(shell: Shell) -> None:
    shell("ls", "--state", "held", "--outcome", "failed", "-q", "gpu", "--limit", "7")
    [request] = shell.executor.requests
    assert request == m.RunListRequest(
        states=[RunState.HELD], outcomes=[Outcome.FAILED], queue="gpu", limit=8
    )


def test_ls_says_how_to_go_on_where_there_is_more(shell: Shell) -> None:
    for _ in range(3):
        shell("submit", "--", "true")
    _, out, err = shell("ls", "--limit", "2")
    assert [line.split()[0] for line in out.splitlines()] == ["ID", "3", "2"]
    assert err == "intendant: older ones: --before 2\n"
    _, out, err = shell("ls", "--limit", "2", "--before", "2")
    assert [line.split()[0] for line in out.splitlines()] == ["ID", "1"]
    assert err == ""
    _, out, err = shell("ls", "--limit", "2", "--json")
    assert ([run["id"] for run in json.loads(out)], err) == ([3, 2], "")


def test_a_secret_variable_can_have_the_value_that_it_has_here(shell: Shell) -> None:
    shell("submit", "--secret-env", "INTENDANT_ENDPOINT", "--", "true")
    [submission] = shell.executor.submissions
    assert submission.secrets.env == {"INTENDANT_ENDPOINT": "ipc:///nowhere"}


def test_show_json_has_the_keys_of_a_run(shell: Shell) -> None:
    shell("submit", "--", "true")
    assert list(json.loads(shell("show", "last", "--json")[1])) == RUN_KEYS


def test_show_tells_about_the_attempts(shell: Shell) -> None:
    shell("submit", "-n", "build", "--", "make")
    shell.executor.end(1, Ending(Outcome.FAILED, 2, None, "exit code 2"))
    _, out, _ = shell("show", "1")
    assert "name       build\nstate      failed (2)\nreason     exit code 2\n" in out
    assert "ATTEMPT  OUTCOME" in out


def test_logs_are_raw_bytes_where_there_is_no_terminal(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    executor = FakeExecutor(log={"stdout": b"\x1b[2J\xff\0", "stderr": b"oh"})
    environ = {"INTENDANT_ENDPOINT": "ipc:///nowhere"}
    session = Session(environ, connect=lambda _: FakeConnection(executor))
    run(["submit", "--", "true"], session)
    capfdbinary.readouterr()
    run(["logs", "1"], session)
    assert capfdbinary.readouterr().out == b"\x1b[2J\xff\0"
    run(["logs", "-f", "--stderr", "--attempt", "2", "1"], session)
    assert capfdbinary.readouterr().out == b"oh"


def test_cancel_says_what_became_of_each(shell: Shell) -> None:
    shell("submit", "--", "true")
    shell("submit", "--", "true")
    shell.executor.end(2, Ending())
    status, out, _ = shell("cancel", "1-2", "--reason", "wrong")
    assert (status, out) == (0, "1: cancelled\n2: succeeded, nothing to do\n")
    assert shell.executor.runs[1].reason == "wrong"


def test_where_no_run_is_meant_there_is_nothing_to_do(shell: Shell) -> None:
    for verb in ("cancel", "hold", "release"):
        assert shell(verb, "all") == (0, "nothing to do\n", "")
    assert shell("retry", "all") == (0, "", "")


def test_cancel_now_says_so_to_the_daemon(shell: Shell) -> None:
    shell("submit", "--", "true")
    found = json.loads(shell("cancel", "1", "--now", "--json")[1])
    assert found[0]["outcome"] == "cancelled"
    assert shell.executor.requests[-1] == m.RunCancelRequest(selection=["1"], now=True)


def test_queues_are_listed_and_changed(shell: Shell) -> None:
    assert shell("queue", "ls")[1].split()[:5] == ["QUEUE", "SLOTS", "LIVE", "QUEUED", "STATE"]
    assert json.loads(shell("queue", "set", "gpu", "--slots", "2", "--json")[1])["slots"] == 2
    assert "gpu    all" in shell("queue", "set", "gpu", "--slots", "all")[1]
    assert shell.executor.requests[-1] == m.QueueSetRequest(name="gpu", slots=None)
    assert shell("queue", "rm", "gpu") == (0, "gpu: removed\n", "")
    assert "paused" in shell("queue", "pause", "gpu")[1]
    assert "open" in shell("queue", "resume", "gpu")[1]


def test_status_is_for_people_or_json(shell: Shell) -> None:
    assert "pid 42, restarted once" in shell("status")[1]
    assert json.loads(shell("status", "--json")[1])["state"] == "running"


@pytest.mark.parametrize(
    ("args", "policy"),
    [([], "stop"), (["--drain"], "drain"), (["--leave"], "leave"), (["--now"], "now")],
)
def test_shutdown_passes_its_policy_on(shell: Shell, args: list[str], policy: str) -> None:
    assert shell("shutdown", *args)[0] == 0
    assert shell.executor.requests == [m.ShutdownRequest.model_validate({"policy": policy})]


@pytest.mark.parametrize(
    ("args", "found", "expected"),
    [
        (["ls", "--state", "asleep"], "asleep", "'held', 'queued'"),
        (["ls", "--limit", "0"], "'0'", "a whole number from 1"),
        (["ls", "--limit", "1", "--all"], "--all", "one of them"),
        (["queue", "set", "a", "--slots", "-1"], "-1", "a whole number from 1 to 100000"),
        (
            ["queue", "set", "a", "--slots", "none"],
            "'none'",
            "a whole number from 1 to 100000, or all",
        ),
        (["submit", "--timeout", "0", "--", "true"], "0", "more than 0"),
        (["submit", "--timeout", "soon", "--", "true"], "soon", "1.5s"),
        (["submit", "--timeout", "9999999d", "--", "true"], "9999999d", "at most"),
        (["submit", "--retry", "-1", "--", "true"], "-1", "a whole number from 0 to 1000"),
        (["submit", "--env", "A", "--", "true"], "'A'", "K=V"),
        (["submit", "--secret-env", "NOWHERE", "--", "true"], "'NOWHERE'", "one that is set"),
        (["submit", "--secret-env", "=1", "--", "true"], "'=1'", "K[=V]"),
        (["submit", "--env", "=1", "--", "true"], "'=1'", "K=V"),
        (["submit", "--"], "nothing behind --", "a command"),
        (["submit", "--", ""], "nothing behind --", "a command"),
        (["submit"], "no command", "a run file or -- ARGV"),
        (["submit", "a.toml", "--", "true"], "'a.toml'", "options alone"),
        (["submit", "-q", "x", "--hold", "a.toml"], "--queue, --hold", "inside the file"),
        (["wait", "one"], "'one'", "an id, 1,3,5-8, last or all ('intendant ls' shows the ids)"),
        (["wait", "0"], "'0'", "start at 1"),
        (["wait"], "Missing argument", "ID..."),
        (["show", "1,2"], "'1,2'", "one run"),
        (["logs", "all"], "'all'", "one run"),
        (["logs", "--attempt", "0", "1"], "'0'", "a whole number from 1"),
        (["shutdown", "--drain", "--now"], "--drain and --now", "one of them"),
        (["ls", "--endpoint", "localhost"], "'localhost'", "ipc://PATH"),
        (["run"], "nothing to run", "a run file"),
        (["run", "--continue"], "--continue", "--state-dir"),
        (["run", "--check", "--", "true"], "a command", "alone"),
        (["submit", "--key", "", "--", "true"], "found ''", "a text that is not empty"),
        (["submit", "-"], "found no suffix", "a run file"),
        (["ls", "--endpoint", "tcp://127.0.0.1:99999"], "127.0.0.1:99999", "from 1 to 65535"),
        (
            ["run", "-n", "x", "--timeout", "1", "a.toml"],
            "--name, --timeout",
            "a command behind --",
        ),
        (["submit", "--on-end", "'", "--", "true"], "No closing quotation", "a command"),
        (["submit", "--on-end", "", "--", "true"], "nothing", "a command"),
        (["frobnicate"], "frobnicate", "a verb"),
        (["sbumit"], "'sbumit'", "'intendant submit' perhaps"),
        (["kill", "17"], "'kill'", "'intendant cancel' perhaps"),
        (["serve", "--slots", "0"], "0", "a whole number from 1 to 100000"),
    ],
)
def test_wrong_usage_exits_2_with_what_was_found_and_expected(
    shell: Shell, args: list[str], found: str, expected: str
) -> None:
    status, out, err = shell(*args)
    assert (status, out) == (2, "")
    assert found in err
    assert expected in err
    assert shell.executor.requests == []


def test_files_beside_continue_are_refused_and_not_ignored(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "intendant.db").touch()
    status, _, err = shell("run", "--continue", "--state-dir", str(tmp_path), "a.toml")
    assert status == 2
    assert "found 'a.toml' with --continue, expected it alone" in err


def test_a_wrong_run_file_exits_2(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('argv = ["true"]\ntimeout = 0')
    status, _, err = shell("submit", str(tmp_path / "a.toml"))
    assert status == 2
    assert "timeout" in err


def test_check_refuses_a_run_that_no_daemon_would_take(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "big.json").write_text(json.dumps({"argv": ["true", *["x" * 100_000] * 21]}))
    status, out, err = shell("run", "--check", str(tmp_path / "big.json"))
    assert (status, out) == (2, "")
    assert "expected at most 2097152" in err


def test_check_says_which_queues_only_another_daemon_can_have(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('runs = [{argv = ["a"], queue = "gpu"}, {argv = ["a"], queue = "default"}]')
    assert shell("run", "--check", str(path)) == (
        0,
        f"{path}: ok, 2 runs\n",
        f"{path}: for a daemon with the queue gpu; that of 'intendant run' has only 'default'\n",
    )


def test_check_counts_the_runs_of_each_file_and_names_what_is_wrong(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "two.toml").write_text(TWO_RUNS)
    (tmp_path / "bad.toml").write_text("argv = 5")
    (tmp_path / "one.json").write_text('{"argv": ["true"]}')
    files = [str(tmp_path / name) for name in ("two.toml", "bad.toml", "one.json")]
    status, out, err = shell("run", "--check", *files)
    assert status == 2
    assert out == f"{files[0]}: ok, 2 runs\n{files[2]}: ok, 1 run\n"
    assert err.startswith(f"{files[1]}: argv")


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        (["show", "9", "--json"], 1, "run_not_found"),
        (["wait", "9", "--json"], 1, "run_not_found"),
        (["ls", "--state", "asleep", "--json"], 2, "usage"),
        (["submit", "--json", "missing.toml"], 2, "settings_error"),
    ],
)
def test_with_json_an_error_is_one_object_on_stderr(
    shell: Shell, args: list[str], status: int, code: str
) -> None:
    found, out, err = shell(*args)
    assert (found, out) == (status, "")
    assert json.loads(err)["error"]["code"] == code
    assert json.loads(err)["error"]["message"]


def test_busy_means_try_again_later(shell: Shell) -> None:
    shell.executor.refusal = Busy("too many")
    assert shell("ls") == (75, "", "intendant: too many\n")


def test_a_json_flag_of_the_command_is_not_ours(shell: Shell) -> None:
    shell.executor.refusal = Busy("too many")
    assert shell("submit", "--", "tool", "--json")[2] == "intendant: too many\n"


@pytest.mark.parametrize(
    "args", [["--endpoint", "ipc:///x", "ls"], ["ls", "--endpoint", "ipc:///x"]]
)
def test_the_endpoint_may_stand_before_the_verb_or_behind_it(
    capfd: pytest.CaptureFixture[str], args: list[str]
) -> None:
    def connect(address: Address) -> FakeConnection:
        raise Unreachable(f"no daemon answers at {address.endpoint}")

    assert run(args, Session({}, connect=connect)) == 69
    assert capfd.readouterr().err == "intendant: no daemon answers at ipc:///x\n"


def test_show_tells_what_a_run_was_asked_besides(shell: Shell) -> None:
    shell("submit", "--timeout", "90s", "--retry", "2", "--restartable", "--", "make")
    _, out, _ = shell("show", "1")
    assert "timeout    1m30s\nretry      2 times at most\nrestart    after an interr" in out
    shell("submit", "--", "make")
    assert "retry" not in shell("show", "2")[1]


@pytest.mark.parametrize(
    ("stream", "args"),
    [
        ("stdout", ["--help"]),
        ("stdout", ["--version"]),
        ("stdout", ["ls", "--help"]),
        ("stdout", ["queue", "--help"]),
        ("stdout", ["ls"]),
        ("stderr", ["frobnicate"]),
        ("stderr", ["show", "9"]),
    ],
)
def test_who_writes_to_a_reader_that_has_gone_ends_without_a_word_as_by_sigpipe(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, stream: str, args: list[str]
) -> None:
    shell("submit", "--", "true")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with suppress(BrokenPipeError), os.fdopen(write_end, "w") as unread:
        monkeypatch.setattr(sys, stream, unread)
        assert shell(*args) == (128 + signal.SIGPIPE, "", "")
