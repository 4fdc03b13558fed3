"""The process of a pipeline, without a daemon: steps as processes, endings, retries, callbacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import StepOutcome as Out
from intendant.store.steps import STEPS_FILE, read_step_events, read_steps
from tests.helpers.waiting import wait_for

LAB = """
import atexit, os, signal, subprocess, sys, threading, time
from pathlib import Path

from intendant import this_step
from intendant.workloads.pipeline.step_executor import StepExecutor

LOADED = os.getpid()

def add(a: int, b: int = 1): return a + b
def where(): return {"loaded": LOADED, "pid": os.getpid()}
def table(): return {"x": [1, {"y.z": "deep"}], "text": "${a.outputs}"}
def boom(): raise ValueError("on fire")
def unprintable():
    class Odd(Exception):
        def __str__(self): raise RuntimeError("no text")
    raise Odd
def opaque(): return object()
class Witnessed:
    def __reduce__(self): return loaded, ()
def loaded():
    with open("loaded", "a") as file: file.write("loaded\\n")
    return "the value"
def witnessed(): return Witnessed()
def large(size): return "x" * size
def length(text): return len(text)
def chatty(size): sys.stdout.write("x" * size); sys.stdout.flush()
def speaks():
    sys.stdout.write("by Python\\n")
    os.write(1, b"by descriptor\\n")
    subprocess.run(["sh", "-c", "echo by a child; echo alarm >&2"])
def keeps(): (this_step.folder() / "kept").touch()
def last_words(): os.write(2, b"last words\\n"); os._exit(3)
def speaks_and_hangs(): print("still here", flush=True); time.sleep(600)
def dies(code): os._exit(code)
def forks_and_dies():
    if os.fork() == 0: return "of the copy" * 1000
    os.wait()
    os._exit(0)
def dies_at_exit(): atexit.register(os._exit, 3)
def late_thread():
    threading.Thread(target=lambda: (time.sleep(0.1), Path("late").touch())).start()
def hang(path): Path(path).touch(); time.sleep(600)
def cleans_up(path):
    try: hang(path)
    finally: Path(path + ".cleaned").touch()
def leaves_daemon():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path("stray").write_text(str(child.pid))
def flaky(path):
    first = not os.path.exists(path)
    Path(path).touch()
    if first: raise OSError("not yet")
    return "at last"
def exits(code): sys.exit(code)
def keeper(busy_s=0):
    began = time.process_time()
    while time.process_time() - began < busy_s: pass
    return os.getppid()
def leaves():
    Path("table.csv").write_text("1,2,3")
    this_step.add_artifact("table", "table.csv")
    this_step.add_model(side="input", id="old")
    this_step.add_model(name="forest", url="file:///forest")
    return this_step.name()
def names_nothing_there(): this_step.add_artifact("table", "nowhere.csv")
def not_today(): this_step.skip("no rows")
async def later(): return "later"

def created(step, parameters):
    with open("created", "a") as file: file.write(f"{step['step']} {parameters}\\n")
    if step["step"] == "bad": raise RuntimeError("no such thing")
    if step["step"] == "quits": sys.exit(0)
    return parameters.get("answer")
def completed(step):
    if step["step"] == "quits": sys.exit(0)
    with open("completed", "a") as file: file.write(f"{step['step']} {step['outcome']}\\n")
def status(step, previous):
    with open("status", "a") as file: file.write(f"{step['step']} {previous} {step['state']}\\n")

class Loud(StepExecutor):
    def set_up_logging(self): self.note("set_up_logging"); super().set_up_logging()
    def refresh_inputs(self): self.note("refresh_inputs"); super().refresh_inputs()
    def make_step(self): self.note("make_step"); return super().make_step()
    def run_step(self, step): self.note("run_step"); return super().run_step(step)
    def save_outputs(self, value): self.note("save_outputs"); return super().save_outputs(value)
    def note(self, hook):
        with open("hooks", "a") as file: file.write(hook + "\\n")
"""

GRAPHS = """
import os
from pathlib import Path

from intendant.workloads.pipeline.graph_executor import GraphExecutor

def completed(step):
    with open("open", "a") as file: file.write(f"{len(os.listdir('/proc/self/fd'))}\\n")

class Noting:
    def __init__(self, model): self.model = model
    async def run(self, attempt, stop):
        with open("noted", "a") as file: file.write(attempt.step + "\\n")
        return await self.model.run(attempt, stop)
    async def close(self): await self.model.close()

class Mine(GraphExecutor):
    def __init__(self, *args, runners, **more):
        super().__init__(*args, runners={name: Noting(runners[name]) for name in runners}, **more)

class Crashing(GraphExecutor):
    async def run(self): raise RuntimeError("no such graph")
"""


class Conducted:
    """One pipeline's process, its folder, and what became of its steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_folder = folder / "17"
        self.run_folder.mkdir()
        (folder / "lab.py").write_text(LAB)
        (folder / "graphs.py").write_text(GRAPHS)
        self.process: subprocess.Popen[bytes] | None = None
        self._life: int | None = None
        self._report = folder / "report"

    def start(self, *steps: dict[str, Any], **fields: Any) -> None:
        """Start it; `steps` as specs, a text for its workload names a function of the lab."""
        spec = {"kind": "pipeline", "steps": [_step(step) for step in steps], **fields}
        order = {"label": "17.1", "run_folder": str(self.run_folder), "spec": spec, "pickle": None}
        reading_end, self._life = os.pipe()
        with tempfile.TemporaryFile() as file, self._report.open("wb") as report:
            file.write(json.dumps(order).encode())
            file.seek(0)
            fds = (file.fileno(), report.fileno(), reading_end)
            module = "intendant.workloads.pipeline.main"
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, fds)],
                cwd=self.folder, pass_fds=fds, stdin=subprocess.DEVNULL, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        os.close(reading_end)

    def run(self, *steps: dict[str, Any], **fields: Any) -> int:
        """Carry it out; its exit status."""
        self.start(*steps, **fields)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        with self.process as process:
            _, said = process.communicate(timeout=100)
        sys.stderr.write(said.decode())
        self.ask()
        return process.returncode

    def ask(self) -> None:
        """Ask it to end, as a governor does."""
        if self._life is not None:
            os.close(self._life)
            self._life = None

    @property
    def reason(self) -> str | None:
        said: dict[str, str] = json.loads(self._report.read_bytes() or b"{}")
        return said.get("reason")

    @property
    def steps(self) -> dict[str, StepInfo]:
        return {info.name: info for info in read_steps(self.run_folder / STEPS_FILE)}

    @property
    def outcomes(self) -> dict[str, Out | None]:
        return {name: info.outcome for name, info in self.steps.items()}

    def outputs(self, step: str) -> Any:
        info = self.steps[step]
        assert info.report is not None
        if info.report.outputs is not None:
            return json.loads(info.report.outputs)
        return json.loads((self.run_folder / str(info.folder) / "outputs.json").read_bytes())

    def log(self, step: str, stream: str = "stdout") -> str:
        folder = self.steps[step].folder
        assert folder is not None
        return (self.run_folder / folder / f"{stream}.log").read_text()

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def processes(self) -> list[psutil.Process]:
        """Every process that works in the folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _step(step: dict[str, Any]) -> dict[str, Any]:
    work = step["workload"]
    if isinstance(work, str):
        work = {"kind": "call", "target": f"lab:{work}"}
    elif isinstance(work, list):
        work = {"kind": "command", "argv": work}
    return {**step, "workload": work}


def call(name: str, function: str, *after: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "workload": function, "after": list(after), **fields}


@pytest.fixture
def conducted(tmp_path: Path) -> Iterator[Conducted]:
    """A pipeline's process; whatever of it is left fails the test."""
    found = Conducted(tmp_path)
    yield found
    found.ask()
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.wait()
    wait_for("nothing is left", lambda: not found.processes())


@pytest.mark.parametrize("execution", ["processes", "inline"])
def test_values_go_from_step_to_step_the_same_way_in_each_model(
    conducted: Conducted, execution: str
) -> None:
    status = conducted.run(
        call("a", "table"),
        call("b", "add", parameters={"a": "${a.outputs.x.0}", "b": 41}),
        call("c", "later", "b"),
        {"name": "d", "workload": ["sh", "-c", "echo ${a.outputs.x.1.y\\.z} ${c.outputs} ${b.id}"]},
        call("e", "add", parameters={"a": "${b.parameters.b}"}, fresh=True),
        {"name": "f", "workload": ["echo", "${a.outputs.text}"]},
        execution=execution,
    )
    assert (status, conducted.reason) == (0, None)
    assert set(conducted.outcomes.values()) == {Out.SUCCEEDED}
    assert [conducted.outputs(step) for step in "bce"] == [42, "later", 42]
    assert conducted.log("d") == "deep later 17/b\n"
    assert conducted.log("f") == "${a.outputs}\n", "a value is never looked through"


def test_callables_fork_from_a_process_that_has_imported_the_module_once(
    conducted: Conducted,
) -> None:
    conducted.run(
        call("a", "where"), call("b", "where"), call("new", "where", fresh=True),
    )  # fmt: skip
    a, b, new = map(conducted.outputs, ("a", "b", "new"))
    assert a["loaded"] == b["loaded"]
    assert a["pid"] != b["pid"]
    assert new["loaded"] == new["pid"]


def test_inline_steps_share_a_process_until_one_ends_it(conducted: Conducted) -> None:
    conducted.run(
        call("a", "where"), call("b", "where"),
        call("dies", "dies", parameters={"code": 3}), call("c", "where"),
        execution="inline",
    )  # fmt: skip
    pids = [conducted.outputs(step)["pid"] for step in "abc"]
    assert pids[0] == pids[1] != pids[2]
    assert conducted.steps["dies"].reason == "exit_code: 3"


def test_what_inline_steps_print_is_in_their_logs_at_once_and_one_that_is_silent_leaves_no_file(
    conducted: Conducted,
) -> None:
    conducted.start(
        call("silent", "chatty", parameters={"size": 0}), call("speaks", "speaks"),
        call("keeps", "keeps"), call("dies", "last_words"), call("now", "speaks_and_hangs"),
        execution="inline",
    )  # fmt: skip
    folder = conducted.run_folder / "steps"
    log = folder / "now/1/stdout.log"
    wait_for("what it prints is there", lambda: log.exists() and log.read_text() == "still here\n")
    conducted.ask()
    conducted.wait()
    spoken = conducted.log("speaks").splitlines()
    assert sorted(spoken) == ["by Python", "by a child", "by descriptor"]
    assert conducted.log("speaks", "stderr") == "alarm\n"
    assert conducted.log("dies", "stderr") == "last words\n"
    assert [path.name for path in (folder / "keeps/1").iterdir()] == ["kept"]
    assert not (folder / "silent").exists()
    assert conducted.outcomes["silent"] == Out.SUCCEEDED


def test_pyperunner_p10_a_cached_value_is_loaded_only_by_a_step_that_runs_and_needs_it(
    conducted: Conducted,
) -> None:
    work = {"kind": "call", "target": "lab:witnessed", "result": "pickle"}
    value = {"name": "value", "workload": work, "cache": True}

    def carry_out(run: str, **parameters: str) -> list[Out | None]:
        conducted.run_folder = conducted.folder / run
        conducted.run_folder.mkdir()
        child = call("child", "length", "value", cache=True, parameters={"text": "", **parameters})
        assert conducted.run(value, child, cache_dir="cache") == 0
        return list(conducted.outcomes.values())

    witness = conducted.folder / "loaded"
    assert carry_out("18") == [Out.SUCCEEDED, Out.SUCCEEDED]
    assert carry_out("19", text="unrelated") == [Out.CACHED, Out.SUCCEEDED]
    assert not witness.exists(), "a step that runs, and does not need it"
    assert carry_out("20", text="${value.outputs}") == [Out.CACHED, Out.SUCCEEDED]
    assert conducted.outputs("child") == len("the value")
    assert witness.read_text() == "loaded\n"
    assert carry_out("21", text="${value.outputs}") == [Out.CACHED, Out.CACHED]
    assert witness.read_text() == "loaded\n", "nobody runs that needs it"


def test_pyperunner_p8_p9_results_without_json_and_exits_in_atexit_are_failures_that_say_why(
    conducted: Conducted,
) -> None:
    status = conducted.run(
        call("boom", "boom"),
        call("unprintable", "unprintable"),
        call("opaque", "opaque"),
        call("dies", "dies", parameters={"code": 0}),
        call("forks", "forks_and_dies"),
        call("dies_at_exit", "dies_at_exit"),
        call("dies_badly", "dies", parameters={"code": 3}),
        call("after_death", "table", "dies_badly"),
        call("after_that", "table", "after_death"),
        call("after_unprintable", "table", "unprintable"),
        call("exits", "exits", parameters={"code": 4}),
        call("arguments", "add", parameters={"a": "many"}),
        call("nothing", "no_such_function"),
        {"name": "missing", "workload": ["no-such-program"]},
        {"name": "signal", "workload": ["sh", "-c", "kill -11 $$"]},
        {"name": "outputs", "workload": ["sh", "-c", "echo [] > $INTENDANT_OUTPUTS"]},
        {"name": "artifact", "workload": ["true"], "artifacts": {"a": "nowhere.txt"}},
        call("reference", "add", parameters={"a": "${good.outputs.z}"}),
        call("unnamed", "names_nothing_there"),
        call("good", "table"),
    )
    assert status == 1
    reasons = {name: str(info.reason) for name, info in conducted.steps.items()}
    assert reasons.pop("good") == "None"
    expected = {
        "boom": "exception: ValueError: on fire",
        "unprintable": "exception: lab.unprintable.<locals>.Odd: <exception str() failed>",
        "opaque": "result: object as JSON",
        "dies": "no_result",
        "forks": "no_result",
        "dies_at_exit": "exit_code: 3",
        "dies_badly": "exit_code: 3",
        "after_death": "parent: dies_badly failed",
        "after_that": "parent: after_death not_run",
        "after_unprintable": "parent: unprintable failed",
        "exits": "exit_code: 4",
        "arguments": "arguments: a: found 'many', expected a whole number",
        "nothing": "exception: AttributeError",
        "missing": "command_not_found: no-such-program",
        "signal": "signal: SIGSEGV",
        "outputs": "outputs: found list, expected an object",
        "artifact": "artifact: a: ",
        "unnamed": "artifact: table: ",
        "reference": "reference: ${good.outputs.z}: the value has no 'z'",
    }
    assert {name: reasons[name][: len(text)] for name, text in expected.items()} == expected
    not_run = {name for name, outcome in conducted.outcomes.items() if outcome is Out.NOT_RUN}
    assert not_run == {"after_death", "after_that", "after_unprintable"}
    assert {*conducted.outcomes.values()} == {Out.FAILED, Out.NOT_RUN, Out.SUCCEEDED}
    assert "ValueError: on fire" in conducted.log("boom", "stderr")
    assert "Odd" in conducted.log("unprintable", "stderr")
    assert not list(conducted.folder.rglob("forks/*/outputs*")), "a copy saves nothing"
    assert str(conducted.reason).startswith("steps_failed: ")


def test_pyperunner_p7_large_results_and_100_mb_of_output_block_nothing(
    conducted: Conducted,
) -> None:
    conducted.run(
        call("large", "large", parameters={"size": 20_000_000}),
        call("chatty", "chatty", parameters={"size": 100_000_000}),
        call("inline", "chatty", parameters={"size": 100_000_000}, execution="inline"),
        call("given", "length", parameters={"text": "${large.outputs}"}),
        {"name": "unsaid", "workload": ["echo", "${given.parameters.text}"]},
    )
    assert conducted.steps["unsaid"].reason == (
        "reference: ${given.parameters.text}: the value has no 'text'"
    )
    assert conducted.outputs("given") == 20_000_000
    assert {*conducted.outcomes.values()} == {Out.SUCCEEDED, Out.FAILED}
    assert len(conducted.outputs("large")) == 20_000_000
    for step in ("chatty", "inline"):
        log = conducted.run_folder / str(conducted.steps[step].folder) / "stdout.log"
        assert log.stat().st_size == 100_000_000


def test_a_steps_threads_end_before_it_does(conducted: Conducted) -> None:
    conducted.run(call("a", "late_thread"))
    assert (conducted.folder / "late").exists()


def test_clearml_c20_a_time_limit_ends_the_whole_tree_and_fails_the_step(
    conducted: Conducted,
) -> None:
    script = "setsid sleep 600 & sleep 600"
    status = conducted.run(
        {"name": "slow", "workload": ["sh", "-c", script], "timeout_s": 0.5, "grace_s": 0.1},
        call("deaf", "hang", parameters={"path": "h"}, timeout_s=0.5),
        call("child", "table", "slow"),
        processes=4,
    )
    assert status == 1
    assert conducted.outcomes == {
        "slow": Out.TIMED_OUT, "deaf": Out.TIMED_OUT, "child": Out.NOT_RUN,
    }  # fmt: skip
    assert conducted.steps["slow"].reason == "time_limit: 0.5 s"
    assert conducted.processes() == []


def test_what_does_not_heed_sigterm_is_killed_wherever_it_went(conducted: Conducted) -> None:
    deaf = "trap '' TERM; touch begun; while :; do sleep 600; done"
    script = f"trap '' TERM; setsid sh -c \"{deaf}\" & while :; do sleep 600; done"
    conducted.run({"name": "a", "workload": ["sh", "-c", script], "timeout_s": 3.0, "grace_s": 0.1})
    assert conducted.outcomes == {"a": Out.TIMED_OUT}
    assert (conducted.folder / "begun").exists()
    assert conducted.processes() == []


def test_an_inline_step_that_takes_too_long_is_ended_and_the_next_one_runs(
    conducted: Conducted,
) -> None:
    conducted.run(
        call("slow", "hang", parameters={"path": "h"}, timeout_s=0.5, grace_s=0.1),
        call("next", "table"),
        execution="inline",
    )
    assert conducted.outcomes == {"slow": Out.TIMED_OUT, "next": Out.SUCCEEDED}


def test_what_a_step_leaves_running_ends_with_it(conducted: Conducted) -> None:
    conducted.run(call("a", "leaves_daemon"))
    assert not psutil.pid_exists(int(conducted.text("stray")))


def test_pyperunner_p18_a_retry_follows_a_failure_and_the_steps_story_has_both(
    conducted: Conducted,
) -> None:
    conducted.run(
        call("a", "flaky", parameters={"path": "mark"}, retry={"attempts": 2, "backoff_s": 0.01}),
        call("b", "add", parameters={"a": 1, "b": "${a.attempt}"}) | {"parameters": {"a": 1}},
    )
    info = conducted.steps["a"]
    assert (info.outcome, info.attempt, conducted.outputs("a")) == (Out.SUCCEEDED, 2, "at last")
    events = read_step_events(conducted.run_folder / STEPS_FILE)
    assert [each.event for each in events if each.step == "a"] == [
        "started", "retried", "started", "ended",
    ]  # fmt: skip


def test_fail_fast_ends_what_runs_and_starts_nothing_more(conducted: Conducted) -> None:
    conducted.run(
        call("hang", "hang", parameters={"path": "begun"}),
        {"name": "bad", "workload": ["sh", "-c", "until [ -e begun ]; do sleep 0.1; done; exit 1"]},
        call("later", "table", "hang"),
        fail_fast=True, processes=2,
    )  # fmt: skip
    assert conducted.outcomes == {"hang": Out.ABORTED, "bad": Out.FAILED, "later": Out.NOT_RUN}


def test_clearml_c22_asked_to_end_it_lets_steps_clean_up_and_says_so(conducted: Conducted) -> None:
    conducted.start(call("a", "cleans_up", parameters={"path": "begun"}), call("b", "table", "a"))
    wait_for("the step begins", (conducted.folder / "begun").exists)
    conducted.ask()
    assert conducted.wait() == 128 + signal.SIGTERM
    assert conducted.outcomes == {"a": Out.ABORTED, "b": Out.NOT_RUN}
    assert (conducted.folder / "begun.cleaned").exists()


@pytest.mark.parametrize("victim", ["pipeline", "steps", "step"])
def test_whoever_is_killed_nothing_outlives_the_pipeline_and_it_goes_on_later(
    conducted: Conducted, victim: str
) -> None:
    steps = (
        call("a", "table"),
        {"name": "b", "workload": ["sh", "-c", "touch begun; [ -e go ] || sleep 600"]},
        call("c", "table", "b"),
    )
    conducted.start(*steps, processes=1)
    wait_for("the step begins", (conducted.folder / "begun").exists)
    titles = (f"intendant: {victim} 17.1", f"intendant: {victim} 17.1 b")
    found = [each for each in conducted.processes() if each.cmdline()[0].strip() in titles][-1]
    found.kill()
    if victim == "steps":
        conducted.ask()
    conducted.wait()
    wait_for("nothing is left", lambda: not conducted.processes())
    before = conducted.steps["a"]
    assert before.outcome is Out.SUCCEEDED
    (conducted.folder / "go").touch()
    assert conducted.run(*steps) == 0
    assert set(conducted.outcomes.values()) == {Out.SUCCEEDED}
    assert conducted.steps["a"] == before, "what was done is not done again"
    assert conducted.steps["b"].attempt == 2


@pytest.mark.parametrize("execution", ["processes", "inline"])
def test_clearml_c9_c18_a_function_names_its_artifacts_and_models_and_can_skip_itself(
    conducted: Conducted, execution: str
) -> None:
    texts = "${a.artifacts.table.size} ${a.models.output.-1.url} ${a.models.input.0.id}"
    status = conducted.run(
        call("a", "leaves"),
        {"name": "b", "workload": ["echo", texts]},
        call("c", "not_today"),
        call("after_c", "table", "c"),
        call("next", "table"),
        execution=execution,
    )
    assert (status, conducted.outputs("a"), conducted.log("b")) == (
        0, "a", "5 file:///forest old\n",
    )  # fmt: skip
    assert (conducted.outcomes["c"], conducted.steps["c"].reason) == (Out.SKIPPED, "step: no rows")
    assert conducted.outcomes["after_c"] is Out.SKIPPED
    assert conducted.outcomes["next"] is Out.SUCCEEDED


def test_clearml_c18_callbacks_hear_of_steps_and_can_skip_one(conducted: Conducted) -> None:
    conducted.run(
        call("a", "add", parameters={"a": "${z.outputs.x.0}"}),
        call("b", "add", parameters={"answer": "skip"}),
        call("c", "add", parameters={"answer": False}),
        call("after_b", "table", "b"),
        call("bad", "table"),
        call("quits", "table"),
        call("z", "table"),
        on_step_created="lab:created", on_step_completed="lab:completed",
        on_step_status="lab:status", processes=1,
    )  # fmt: skip
    assert conducted.outcomes == {
        "a": Out.SUCCEEDED, "b": Out.SKIPPED, "c": Out.SKIPPED, "after_b": Out.SKIPPED,
        "bad": Out.FAILED, "quits": Out.FAILED, "z": Out.SUCCEEDED,
    }  # fmt: skip
    assert "a {'a': 1}" in conducted.text("created").splitlines()
    assert "after_b" not in conducted.text("created")
    assert conducted.steps["bad"].reason == "callback: RuntimeError: no such thing"
    assert conducted.steps["quits"].reason == "callback: SystemExit: 0"
    assert "after_b skipped" in conducted.text("completed").splitlines()
    assert conducted.text("status").splitlines().count("a running ended") == 1


def test_lsst_l4_l5_the_five_hooks_are_called_in_order_in_each_model(conducted: Conducted) -> None:
    hooks = ["set_up_logging", "refresh_inputs", "make_step", "run_step", "save_outputs"]
    conducted.run(
        call("a", "table"),
        {"name": "b", "workload": ["true"], "after": ["a"], "execution": "inline"},
        call("c", "table", "b", fresh=True),
        step_executor="lab:Loud",
    )
    assert conducted.text("hooks").split() == hooks * 3


def test_lsst_l6_a_class_of_the_users_carries_the_graph_out_in_every_model(
    conducted: Conducted,
) -> None:
    steps = [call("a", "table"), call("b", "table", "a", execution="inline")]
    assert conducted.run(*steps, graph_executor="graphs:Mine") == 0
    assert conducted.text("noted").split() == ["a", "b"]


def test_clearml_c27_a_crash_of_what_carries_the_graph_out_fails_the_run(
    conducted: Conducted,
) -> None:
    assert conducted.run(call("a", "table"), graph_executor="graphs:Crashing") == 1
    assert "RuntimeError: no such graph" in str(conducted.reason)
    assert conducted.outcomes == {"a": None}, "nothing is said to have run"


def test_pyperunner_p17_ended_steps_leave_no_descriptor_open(conducted: Conducted) -> None:
    steps = [call(f"s{number}", "where") for number in range(40)]
    assert conducted.run(*steps, on_step_completed="graphs:completed", processes=2) == 0
    counts = [int(line) for line in conducted.text("open").split()]
    assert len(counts) == 40
    assert max(counts) - min(counts) < 20, "less than one for each step"


def test_a_few_keepers_take_all_steps_and_say_of_each_what_it_has_used(
    conducted: Conducted,
) -> None:
    names = [f"s{number}" for number in range(8)]
    steps = [
        call(name, "keeper", *names[max(at - 1, 0) : at], parameters={"busy_s": 0.3 * (at == 0)})
        for at, name in enumerate(names)
    ]
    assert conducted.run(*steps) == 0
    assert len({conducted.outputs(name) for name in names}) <= 3
    used = []
    for name in names:
        report = conducted.steps[name].report
        assert report is not None
        assert report.usage is not None
        used.append(report.usage.user_s + report.usage.system_s)
    assert used[0] >= 0.3
    assert max(used[1:]) < used[0], "not what was used before by others"


def test_a_module_that_ends_its_process_ends_the_steps_that_import_it_alone(
    conducted: Conducted,
) -> None:
    (conducted.folder / "gone.py").write_text("import os\nos._exit(0)\n")
    gone = {"kind": "call", "target": "gone:f"}
    conducted.run({"name": "a", "workload": gone}, call("b", "later"), fail_fast=False)
    assert conducted.outcomes == {"a": Out.FAILED, "b": Out.SUCCEEDED}
