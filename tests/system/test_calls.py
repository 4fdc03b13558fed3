"""Calls of Python functions through the daemon: results, failures, endings."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from intendant.client.call import Call
from intendant.client.client import Client
from intendant.client.run import Run
from intendant.errors import InvalidRequest, RunFailed
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

LAB = """
import asyncio, os, sys, time

def add(a: int, b: int = 1): return a + b
async def later(x: int):
    await asyncio.sleep(0.01)
    return x
def boom(): raise ValueError("on fire")
def nothing_said(): os._exit(0)
def crash(): os.kill(os.getpid(), 11)
def leave(code): sys.exit(code)
def chatty(count):
    for _ in range(count): sys.stdout.write("x" * 999 + "\\n")
def large(size): return "x" * size
def patient(path):
    try:
        open(path, "w").close()
        time.sleep(600)
    finally:
        print("cleaned up")
def stubborn(path):
    open(path, "w").close()
    while True:
        try: time.sleep(600)
        except SystemExit: pass
def flaky(path):
    first = not os.path.exists(path)
    open(path, "w").close()
    if first: raise OSError("not yet")
    return "at last"
"""


@pytest.fixture
def lab(served: Daemon) -> Daemon:
    """A running daemon, and the functions above in its home."""
    (served.home / "lab.py").write_text(LAB)
    return served


def steps(daemon: Daemon, run_id: int) -> list[str]:
    record = json.loads((daemon.attempt_folder(run_id) / "exit.json").read_bytes())
    return [step["event"] for step in record["steps"]]


def started(client: Client, daemon: Daemon, name: str, **said: float) -> Run:
    """A run of one of the functions that make a file when they begin, once it did."""
    path = daemon.home / f"{name}.begun"
    path.unlink(missing_ok=True)
    run = client.submit(Call(f"lab:{name}", args=[str(path)], cwd=daemon.home, **said))  # type: ignore[arg-type]  # graces alone
    wait_for(f"{name} begins", path.exists)
    return run


def test_the_command_line_submits_a_function_and_prints_its_result(lab: Daemon) -> None:
    done = lab.run("submit", "lab:add", "--args", '{"a": 40, "b": 2}', "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert lab.run("result", done.stdout.strip()).stdout == "42\n"


def test_a_run_file_can_hold_calls(lab: Daemon) -> None:
    (lab.home / "two.toml").write_text(
        '[[runs]]\nname = "a"\ncall = "lab:later"\nargs = [5]\n'
        '[[runs]]\nafter = ["a"]\ncall = "lab:add"\nmap = [[1], [2]]\nprocesses = 2\n'
    )
    done = lab.run("submit", "two.toml", "--wait")
    assert done.returncode == 0
    found = [lab.run("result", run_id).stdout for run_id in done.stdout.split()]
    assert found == ["5\n", "[2, 3]\n"]


@pytest.mark.parametrize(
    ("name", "args", "reason", "exit_code", "signal"),
    [
        ("boom", [], "exception: ValueError: on fire", 1, None),
        ("add", ["x"], "arguments: a: found 'x', expected a whole number", 1, None),
        ("nothing_said", [], "no_result", 0, None),
        ("crash", [], "signal: SIGSEGV", None, 11),
        ("leave", [3], "exit_code: 3", 3, None),
        ("leave", [0], "no_result", 0, None),
    ],
)
def test_a_failure_ends_as_what_it_is(
    lab: Daemon, name: str, args: list[object], reason: str, exit_code: int | None, signal: int
) -> None:
    with lab.client() as client:
        run = client.submit(Call(f"lab:{name}", args=args, cwd=lab.home))
        with pytest.raises(RunFailed, match="failed"):
            run.result(timeout_s=60)
    found = run.info
    assert (found["reason"], found["exit_code"], found["signal"]) == (reason, exit_code, signal)


def test_a_traceback_is_on_stderr_and_an_exception_exits_with_1(lab: Daemon) -> None:
    done = lab.run("submit", "lab:boom", "--wait")
    assert done.returncode == 1
    assert "ValueError: on fire" in lab.run("logs", "--stderr", done.stdout.strip()).stdout


def test_a_hundred_megabytes_of_prints_are_all_there(lab: Daemon) -> None:
    with lab.client() as client:
        run = client.submit(Call("lab:chatty", args=[100_000], cwd=lab.home))
        assert run.result(timeout_s=60) is None
    assert (lab.attempt_folder(run.id) / "stdout.log").stat().st_size == 100_000_000


def test_a_result_of_many_megabytes_arrives_whole(lab: Daemon) -> None:
    with lab.client() as client:
        run = client.submit(Call("lab:large", args=[9_000_000], cwd=lab.home))
        assert run.result(timeout_s=60) == "x" * 9_000_000


def test_a_call_that_is_cancelled_is_asked_first_and_cleans_up(lab: Daemon) -> None:
    with lab.client() as client:
        run = started(client, lab, "patient")
        run.cancel()
        assert run.wait(timeout_s=60)["outcome"] == "cancelled"
        assert b"".join(run.logs()) == b"cleaned up\n"
    assert steps(lab, run.id) == ["asked_to_end"]


def test_a_call_that_does_not_listen_gets_the_signals(lab: Daemon) -> None:
    with lab.client() as client:
        run = started(client, lab, "stubborn", shutdown_grace_s=0.2)
        run.cancel()
        assert run.wait(timeout_s=60)["signal"] == 15
    assert steps(lab, run.id) == ["asked_to_end", "term_sent"]


def test_a_grace_with_the_cancel_stands_for_the_runs_own(lab: Daemon) -> None:
    with lab.client() as client:
        run = started(client, lab, "stubborn", shutdown_grace_s=300)
        run.cancel(grace_s=0.2)
        assert run.wait(timeout_s=60)["outcome"] == "cancelled"


def test_a_call_beyond_its_time_is_asked_too(lab: Daemon) -> None:
    begun = lab.home / "begun"
    with lab.client() as client:
        for limit_s in (1, 20):  # on a busy machine it may not have begun within the first
            call = Call("lab:patient", args=[str(begun)], cwd=lab.home)
            run = client.submit(call, timeout_s=limit_s)
            assert run.wait(timeout_s=60)["outcome"] == "timed_out"
            if begun.exists():
                break
    assert begun.exists()
    assert steps(lab, run.id) == ["time_limit_reached", "asked_to_end"]


def test_a_call_is_tried_again_and_gives_the_last_result(lab: Daemon) -> None:
    with lab.client() as client:
        call = Call("lab:flaky", args=[str(lab.home / "flag")], cwd=lab.home)
        run = client.submit(call, retry=1)
        assert run.result(timeout_s=60) == "at last"
        assert run.info["attempt"] == 2


def test_a_run_that_has_not_ended_has_no_result(lab: Daemon) -> None:
    with lab.client() as client:
        run = client.submit(Call("lab:add", args=[1]), hold=True)
        with pytest.raises(InvalidRequest, match=f"run {run.id} is held"):
            client.result(run.id)
        run.cancel()


def test_a_command_has_no_result_to_print(lab: Daemon) -> None:
    run_id = lab.run("submit", "--wait", "--", "true").stdout.strip()
    done = lab.run("result", run_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert "left no result" in done.stderr


def test_a_pickle_is_opened_by_the_run_alone(lab: Daemon) -> None:
    """A canary writes down in which process it is opened: only in the callee's, never here."""
    witness = lab.home / "opened"
    with lab.client() as client:
        run = client.submit(Call(_leave_a_canary, args=[str(witness), _Canary(str(witness))]))
        run.wait(timeout_s=60)
        client.show(run.id)
        [again] = client.retry(run.id)
        again.wait(timeout_s=60)
        with pytest.raises(InvalidRequest, match="only the program opens"):
            client.run(run.id).result(timeout_s=60)
    for verb in ("show", "logs", "events"):
        lab.run(verb, str(run.id))
    assert lab.run("result", str(run.id)).returncode == 1
    assert lab.run("result", str(run.id), "-o", "saved").returncode == 0
    assert witness.read_text().split() == ["callee", "callee"], "the run, and its retry"


class _Canary:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return _sing, (self.path,)


def _sing(path: str) -> _Canary:
    import sys

    who = "callee" if "intendant.workloads.asking" in sys.modules else f"another:{os.getpid()}"
    with Path(path).open("a") as file:
        file.write(f"{who}\n")
    return _Canary(path)


def _leave_a_canary(_: str, canary: _Canary) -> _Canary:
    return canary


def test_nothing_of_a_call_is_in_arguments_or_titles(lab: Daemon) -> None:
    with lab.client() as client:
        run = started(client, lab, "patient")
        listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
        assert "patient.begun" not in listed.stdout
        assert f"intendant: call {run.id}.1" in listed.stdout
        run.cancel(now=True)
        run.wait(timeout_s=60)
