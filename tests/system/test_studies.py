"""Studies through the installed command: outcome, trials, processes, what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from intendant import Study
from intendant.protocol.trial_records import TrialInfo
from intendant.store.trials import TRIALS_FILE, read_trials, reading
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

SPACE = {"x": {"type": "uniform", "low": 0, "high": 1}}


def submit(
    daemon: Daemon, *, wait: bool = True, hold: bool = False, retry: Any = None, **study: Any
) -> int:
    """The id of a run that is a study, when it has ended."""
    run = a_run(hold=hold, **study) | ({"retry": retry} if retry else {})
    return submit_all(daemon, [run], wait=wait)[0]


def a_run(*, hold: bool = False, **study: Any) -> dict[str, Any]:
    """A run as a run file has it."""
    function = study.pop("call", "square")
    given: dict[str, Any] = {
        "metric": "loss", "trials": 4, "at_once": 2, "space": SPACE,
        "search": {"method": "random", "seed": 1}, **study,
    }  # fmt: skip
    if "argv" not in given:
        given["call"] = f"tests.helpers.objectives:{function}"
    return {"study": given, "cwd": str(Path(__file__).parents[2]), "hold": hold}


def submit_all(daemon: Daemon, runs: list[dict[str, Any]], *, wait: bool = True) -> list[int]:
    """The ids of some runs, when all have ended."""
    (daemon.home / "study.json").write_text(json.dumps({"runs": runs}))
    done = daemon.run("submit", "study.json", *(["--wait"] if wait else []))
    assert done.stdout, done.stderr
    return [int(each) for each in done.stdout.split()]


def trials_of(daemon: Daemon, run_id: int) -> list[TrialInfo]:
    return read_trials(database(daemon, run_id))


def database(daemon: Daemon, run_id: int) -> Path:
    return daemon.attempt_folder(run_id).parent / TRIALS_FILE


def result_of(daemon: Daemon, run_id: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((daemon.attempt_folder(run_id) / "result.json").read_text())
    return found


def outcomes(daemon: Daemon, run_id: int) -> list[str | None]:
    return [trial.outcome for trial in trials_of(daemon, run_id)]


def reason_of_first(daemon: Daemon, run_id: int) -> str:
    return str(trials_of(daemon, run_id)[0].reason)


def test_the_best_of_some_functions_calls_is_the_result(served: Daemon) -> None:
    run_id = submit(served, trials=8)
    assert served.show(run_id)["outcome"] == "succeeded"
    trials = trials_of(served, run_id)
    best = min(trials, key=lambda trial: trial.value or 0)
    result = result_of(served, run_id)
    assert result["trials"] == {"completed": 8}
    assert result["best"]["trial"] == best.number
    assert result["best"]["params"] == best.params


def test_a_command_in_any_language_reports_lines_and_by_the_command(served: Daemon) -> None:
    command = f"{sys.executable} -m intendant trial report"
    script = (
        "set -e; "  # a line that nobody reads to its end is refused, and the trial goes on
        "{ head -c 1200000 /dev/zero | tr '\\0' x; echo; } >&$INTENDANT_TRIAL_FD; "
        """echo '{"loss": 1, "step": 1, "over": 2, "checkpoint": "a\\u0000"}'"""
        " >&$INTENDANT_TRIAL_FD;"
        f' test "$({command} loss=0.5 step=2)" = continue;'
        f" {command} loss=${{x}} step=3; echo done ${{x}}"
    )
    run_id = submit(served, argv=["bash", "-c", script], trials=2)
    assert served.show(run_id)["outcome"] == "succeeded"
    for trial in trials_of(served, run_id):
        assert trial.value == trial.params["x"]
        assert (trial.step, trial.results) == (3, 3)
        folder = served.attempt_folder(run_id).parent / "trials" / str(trial.number)
        assert (folder / "stdout.log").read_text().endswith(f"done {trial.params['x']}\n")


def test_a_command_that_can_not_be_found_fails_its_trials_and_the_study(served: Daemon) -> None:
    run_id = submit(served, argv=["no-such-program", "${x}"], trials=1)
    assert served.show(run_id)["outcome"] == "failed"
    assert reason_of_first(served, run_id) == "command_not_found: no-such-program"


def test_t8_asha_stops_trials_that_heed_it_and_may_export_before(served: Daemon) -> None:
    # One after the other: which are given up depends on who has reported before.
    run_id = submit(served, call="curve", trials=9, at_once=1, scheduler={"method": "asha",
                    "options": {"min_resource": 1, "reduction_factor": 3}})  # fmt: skip
    found = outcomes(served, run_id)
    assert set(found) == {"completed", "pruned"}
    folder = served.attempt_folder(run_id).parent / "trials"
    exported = [(folder / str(number) / "model").exists() for number in range(9)]
    assert exported == [outcome == "pruned" for outcome in found]
    assert served.show(run_id)["outcome"] == "succeeded"
    assert served.run("report", str(run_id), "-o", "report.html").returncode == 0
    assert "Parallel coordinates" in (served.home / "report.html").read_text()


def test_with_several_metrics_the_result_is_what_no_other_trial_beats(served: Daemon) -> None:
    run_id = submit(served, call="two_sided", trials=12, metric="speed", mode="max", reuse=True,
                    search={"method": "nsgaii", "seed": 1},
                    further_metrics={"size": "min"})  # fmt: skip
    run = str(run_id)
    result = result_of(served, run_id)
    assert result["best"] is None
    sides = [(best["metrics"]["speed"], best["metrics"]["size"]) for best in result["front"]]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) == len(sides) > 1
    listed = served.json("trial", "ls", run, "--front", "--json")
    assert [each["number"] for each in listed] == [best["trial"] for best in result["front"]]
    table = served.run("trial", "ls", run, "--all", "--csv").stdout.splitlines()
    assert "metric:speed,metric:size,param:x" in table[0]
    assert len(table) == 13
    assert served.run("report", run, "-o", "report.html").returncode == 0
    assert "speed and size" in (served.home / "report.html").read_text()


def test_population_training_goes_on_from_the_best_ones_checkpoint(served: Daemon) -> None:
    # They take turns, two steps each: the fourth is the worst by far of those compared.
    run_id = submit(served, call="counted", trials=4, at_once=1, search="grid",
                    space={"x": {"type": "grid", "values": [1, 1.1, 1.2, 100]}, "steps": 8},
                    scheduler={"method": "pbt", "options": {"interval": 2}})  # fmt: skip
    assert outcomes(served, run_id) == ["completed"] * 4
    trials = trials_of(served, run_id)
    assert trials[3].starts > 1
    assert all(trial.step == 8 for trial in trials)


def test_warm_processes_are_used_again_unless_something_is_left_running(served: Daemon) -> None:
    reused = submit(served, call="process", trials=6, at_once=1, reuse=True)
    assert len(pids(served, reused)) == 1
    fresh = submit(served, call="process", trials=3, at_once=1)
    assert len(pids(served, fresh)) == 3
    leaving = submit(served, call="leaves", trials=2, at_once=1, reuse=True)
    assert outcomes(served, leaving) == ["completed", "completed"]
    assert [title for title in served.processes().values() if "sleep" in title] == []


def pids(daemon: Daemon, run_id: int) -> set[float]:
    return {row[3]["pid"] for row in rows(daemon, run_id)}


def test_a_stopped_trial_takes_no_other_with_it_that_has_its_process(served: Daemon) -> None:
    run_id = submit(served, call="lingering", trials=2, at_once=1, reuse=True, wait=False,
                    trial_grace="0.3s")  # fmt: skip
    running = partial(served.json, "trial", "ls", str(run_id), "--json")
    wait_for("the first runs", lambda: [one for one in running() if one["state"] == "running"])
    served.run("trial", "stop", str(run_id), "0")
    assert served.run("wait", str(run_id)).returncode == 0
    assert outcomes(served, run_id) == ["stopped", "completed"]
    assert [one.starts for one in trials_of(served, run_id)] == [1, 1]


def test_a_stop_that_came_before_the_study_began_ends_it(served: Daemon) -> None:
    run_id = submit(served, call="lingering", trials=1, wait=False, hold=True)
    assert served.run("trial", "stop", str(run_id)).returncode == 0
    served.run("release", str(run_id))
    served.wait_state(run_id, "ended")
    assert outcomes(served, run_id) == ["cancelled"]


def test_a_trial_that_ignores_everything_is_killed_with_all_it_started(served: Daemon) -> None:
    run_id = submit(served, call="deaf", trials=1, stop=["step >= 3"], trial_grace="0.2s")
    assert outcomes(served, run_id) == ["completed"]
    assert [title for title in served.processes().values() if "sleep" in title] == []


def test_t12_and_t13_one_trials_trouble_is_its_own_and_says_where_it_was(served: Daemon) -> None:
    raising = submit(served, call="failing", trials=3)
    assert outcomes(served, raising) == ["failed", "completed", "completed"]
    assert reason_of_first(served, raising).startswith("exception: ValueError: no luck with ")
    assert served.show(raising)["outcome"] == "succeeded"
    dying = submit(served, call="killed", trials=3)
    assert outcomes(served, dying) == ["completed", "failed", "completed"]
    lost = str(trials_of(served, dying)[1].reason)
    assert re.fullmatch(rf"signal: SIGKILL \(process \d+ on {socket.gethostname()}\)", lost)


def test_t16_fail_fast_ends_the_study_and_says_why(served: Daemon) -> None:
    run_id = submit(served, call="failing", trials=50, fail_fast=True)
    run = served.show(run_id)
    assert run["outcome"] == "failed"
    assert run["reason"].startswith("study: fail_fast: trial 0: exception: ValueError")


def test_t1_and_t14_time_limits_hold_and_a_trial_that_died_goes_on_where_it_was(
    served: Daemon,
) -> None:
    slow, late, dying = submit_all(served, [
        a_run(call="lingering", trials=1, trial_timeout="0.2s"),
        a_run(call="lingering", trials=1, time_limit="0.2s"),
        a_run(call="dies_once", trials=1, max_failures=1),
    ])  # fmt: skip
    assert (outcomes(served, slow), outcomes(served, late)) == (["failed"], ["cancelled"])
    for run_id in (slow, late):
        assert reason_of_first(served, run_id).startswith("time_limit: 0.2")
    [trial] = trials_of(served, dying)
    assert (trial.outcome, trial.starts, trial.failures, trial.step) == ("completed", 2, 1, 4)
    steps = served.attempt_folder(dying).parent / "trials/0/steps.log"
    assert steps.read_text().split() == ["1", "2", "3", "4"]


def test_what_objectives_do_wrong_is_said(served: Daemon) -> None:
    refused = "exception: intendant.errors.ReportRefused: "
    said = {
        "nan": "metric_not_finite: loss is nan",
        "inf": "metric_not_finite: loss is inf",
        "missing": "metric_missing: expected the number 'loss', found accuracy",
        "text": "result: the objective returned 'good', expected a number",
        "nothing": "no_result: ",
        "lengthy": f"{refused}the report has ",
        "backwards": f"{refused}step 4 comes after step 5",
        "exits": "process_lost: it exited without a word",
    }
    runs = [
        a_run(call=how, trials=1)
        if how in ("backwards", "exits")
        else a_run(call="odd", trials=1, space={**SPACE, "how": how})
        for how in said
    ]
    for run_id, reason in zip(submit_all(served, runs), said.values(), strict=True):
        assert served.show(run_id)["outcome"] == "failed"
        assert reason_of_first(served, run_id).startswith(reason)


def test_a_checkpoint_that_vanished_and_a_copy_that_is_left_cost_no_trial(served: Daemon) -> None:
    runs = [a_run(call=call, trials=1) for call in ("vanished", "multiplies")]
    for run_id in submit_all(served, runs):
        assert outcomes(served, run_id) == ["completed"]


def test_searchers_schedulers_and_callbacks_of_ones_own(served: Daemon) -> None:
    mine = "tests.helpers.objectives"
    run_id = submit(served, call="curve", trials=3, at_once=2, callbacks=[f"{mine}:Diary"],
                    space={**SPACE, "steps": 3},
                    search={"method": "custom", "call": f"{mine}:Stairs"},
                    scheduler={"method": "custom", "call": f"{mine}:PausingOnce"})  # fmt: skip
    assert outcomes(served, run_id) == ["completed"] * 3
    assert [trial.params for trial in trials_of(served, run_id)] == [
        {"x": 0.9},
        {"x": 0.8},
        {"x": 0.7},
    ]
    diary = (served.attempt_folder(run_id).parent / "diary").read_text().split("\n")
    assert sorted(diary[:3]) == ["0 completed", "1 completed", "2 completed"]
    assert diary[3] == "end"
    failing = submit(served, search={"method": "custom", "call": f"{mine}:raising"})
    assert served.show(failing)["reason"] == "study: RuntimeError: no searcher for loss"


def test_a_cancelled_study_cancels_its_trials_and_leaves_nothing(daemon: Daemon) -> None:
    run_id = submit(daemon, call="counted", wait=False, space={**SPACE, "pause_s": 30})
    daemon.wait_state(run_id, "running")
    daemon.run("cancel", str(run_id))
    assert daemon.run("wait", str(run_id)).returncode == 130
    assert set(outcomes(daemon, run_id)) <= {"cancelled"}
    daemon.stop()
    daemon.assert_nothing_left()


def test_t3_and_t18_trials_are_listed_added_and_stopped_from_outside(daemon: Daemon) -> None:
    run_id = submit(daemon, call="counted", wait=False, trials=2, at_once=4, available={"cpu": 4},
                    space={**SPACE, "pause_s": 0.2, "steps": 1000})  # fmt: skip
    run = str(run_id)

    def running() -> set[int]:
        listed = daemon.json("trial", "ls", run, "--by-number", "--json")
        return {trial["number"] for trial in listed if trial["state"] == "running"}

    wait_for("both run", lambda: running() == {0, 1})
    assert daemon.run("trial", "add", run, "x=0.5").returncode == 0
    wait_for("the third runs", lambda: running() == {0, 1, 2})
    refused = daemon.run("trial", "add", run, "x=7")
    assert (refused.returncode, "no number from 0 to 1" in refused.stderr) == (1, True)
    unknown = daemon.run("trial", "stop", run, "2", "999")
    assert (unknown.returncode, f"run {run} has no trial 999" in unknown.stderr) == (1, True)
    assert running() == {0, 1, 2}
    daemon.run("trial", "stop", run, "2")
    wait_for("the third is stopped", lambda: running() == {0, 1})
    assert "stopped" in daemon.run("trial", "ls", run).stdout
    daemon.run("trial", "stop", run)
    assert daemon.run("wait", run).returncode == 0
    assert outcomes(daemon, run_id) == ["cancelled", "cancelled", "stopped"]
    late = daemon.run("trial", "add", run, "x=0.5")
    assert "has ended" in late.stderr
    daemon.stop()
    daemon.assert_nothing_left()


@pytest.mark.timeout(300)
def test_three_kills_change_nothing_about_the_results_of_the_example(daemon: Daemon) -> None:
    """The study's process and all its trials die three times; each result is there once."""
    study = {
        "call": "study:objective", "metric": "accuracy", "mode": "max", "trials": 6, "at_once": 2,
        "space": {"learning_rate": {"type": "loguniform", "low": 0.001, "high": 0.1},
                  "hidden": [20], "batch_size": [200]},
        "search": {"method": "random", "seed": 1}, "checkpoints": {"keep": 1},
    }  # fmt: skip
    examples = Path(__file__).parents[2] / "examples"
    run = {"cwd": str(examples), "env": {"OPENBLAS_NUM_THREADS": "1"}, "study": study}
    disturbed = {**run, "retry": {"attempts": 3, "on": ["failed"], "backoff": 0}}
    (daemon.home / "both.json").write_text(json.dumps({"runs": [run, disturbed]}))
    undisturbed_id, run_id = map(int, daemon.run("submit", "both.json").stdout.split())
    for attempt in (1, 2, 3):
        done = partial(has_rows, daemon, run_id, 8 * attempt)
        wait_for("it has done something", done, within_s=100)
        find = partial(study_pid, daemon, run_id, attempt)
        os.kill(wait_for("the study is there", find), signal.SIGKILL)
    assert daemon.run("wait", str(undisturbed_id), str(run_id), within_s=250).returncode == 0
    assert daemon.show(run_id)["attempt"] == 4
    found = rows(daemon, run_id)
    assert sorted(found) == sorted(rows(daemon, undisturbed_id))
    assert len({(trial, step) for trial, step, _, _ in found}) == len(found) == 6 * 27
    daemon.stop()
    daemon.assert_nothing_left()


def test_t19_and_t21_a_study_goes_on_from_a_snapshot_as_another_run(served: Daemon) -> None:
    there = str(served.home / "snapshot")
    first = submit(served, trials=3, snapshot=there, checkpoint_period=0)
    second = submit(served, trials=5, resume={"source": there})
    assert served.show(second)["outcome"] == "succeeded"
    before, after = values(served, first), values(served, second)
    assert {number: after[number] for number in before} == before
    assert len(after) == 5
    third = submit(served, trials=5, resume={"source": "/nowhere"})
    assert served.show(third)["reason"].startswith("study: resume: /nowhere holds no study")


def test_a_study_that_failed_goes_on_where_it_was(served: Daemon) -> None:
    needed = served.home / "needed"
    failed = submit(served, call="needy", trials=4, at_once=1, fail_fast=True,
                    space={**SPACE, "needs": str(needed)})  # fmt: skip
    assert served.show(failed)["outcome"] == "failed"
    needed.touch()
    goes_on = int(served.run("retry", "--continue", str(failed)).stdout)
    assert served.run("wait", str(goes_on)).returncode == 0
    trials = trials_of(served, goes_on)
    assert [trial.outcome for trial in trials] == ["completed"] * 4
    assert [trial.starts for trial in trials] == [1, 2, 1, 1]


def values(daemon: Daemon, run_id: int) -> dict[int, float | None]:
    return {trial.number: trial.value for trial in trials_of(daemon, run_id)}


def rows(daemon: Daemon, run_id: int) -> list[tuple[int, int, float, dict[str, Any]]]:
    """Trial, step, value and metrics of every result."""
    with reading(database(daemon, run_id)) as connection:
        if connection is None:
            return []
        found: Any = connection.execute("SELECT trial, step, value, metrics FROM result")
        return [(*row[:3], json.loads(row[3])) for row in found]


def has_rows(daemon: Daemon, run_id: int, count: int) -> bool:
    return len(rows(daemon, run_id)) >= count


def study_pid(daemon: Daemon, run_id: int, attempt: int) -> int:
    """The process of an attempt once it is a study; 0 while it is a stub."""
    below = psutil.Process(daemon.claim(run_id, attempt)["pid"]).children()
    return next((each.pid for each in below if "study" in title(each)), 0)


def title(process: psutil.Process) -> str:
    """What a process says it is; nothing once it is gone."""
    try:
        return "".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.timeout(300)
def test_the_example_finds_better_parameters_than_the_default_ones(daemon: Daemon) -> None:
    root = Path(__file__).parents[2]
    one_thread = {b"OPENBLAS_NUM_THREADS": b"1"}
    state = daemon.home / "embedded"
    done = daemon.run("run", "examples/study.toml", "--state-dir", str(state), cwd=root,
                      within_s=180, environment=one_thread)  # fmt: skip
    assert done.returncode == 0, done.stderr
    program = subprocess.run(
        [sys.executable, "examples/study.py"], cwd=root, capture_output=True, text=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    baseline, tuned = (float(line.rpartition(" ")[2]) for line in program.stdout.splitlines())
    assert tuned > baseline
    results = list(state.glob("spool/*/1/result.json"))
    assert len(results) == 2
    for result in results:
        assert json.loads(result.read_text())["best"]["value"] > baseline


def test_a_study_of_a_programs_own_function_runs_and_leaves_its_best_trial(served: Daemon) -> None:
    factor = 3

    def objective(x: float, y: int) -> float:
        return factor * x + y

    study = Study(objective, {"x": [0.5, 2.0], "y": [1]}, metric="loss", search="grid", name="own")
    with served.client() as client:
        run = client.submit(study)
        found = cast("dict[str, Any]", run.result())
    assert found["best"]["params"] == {"x": 0.5, "y": 1}
    assert found["best"]["value"] == 2.5
    assert found["trials"] == {"completed": 2}


def test_t21_a_study_that_prompts_goes_on_only_when_it_is_told_to(served: Daemon) -> None:
    (served.home / "study.json").write_text(json.dumps({
        "cwd": str(Path(__file__).parents[2]),
        "study": {"call": "tests.helpers.objectives:square", "metric": "loss", "space": SPACE,
                  "trials": 2, "snapshot": str(served.home / "kept"), "resume": "prompt"},
    }))  # fmt: skip

    def submitted(*flags: str) -> dict[int, float | None]:
        done = served.run("submit", "study.json", "--wait", *flags)
        assert done.returncode == 0, done.stderr
        return values(served, int(done.stdout))

    first = submitted()  # nothing there that somebody would have to be asked about
    refused = served.run("submit", "study.json")
    assert refused.returncode != 0
    assert "--resume" in refused.stderr
    assert "--no-resume" in refused.stderr
    assert submitted("--resume") == first
    assert submitted("--no-resume") != first
