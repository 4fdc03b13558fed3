"""What people see of a pipeline: its steps while it runs and afterwards, what each has written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.helpers.daemon import Daemon

STEPS = """
name = "seen"

[[steps]]
name = "a"
argv = ["sh", "-c", "until [ -e go ]; do sleep 0.02; done; echo from a"]

[[steps]]
name = "b"
argv = ["sh", "-c", "echo oops >&2; exit 3"]
after = ["a"]

[[steps]]
name = "c"
argv = ["echo", "${a.id} done"]
"""


def test_c23_steps_are_seen_while_they_run_and_afterwards(daemon: Daemon) -> None:
    (daemon.home / "seen.toml").write_text(STEPS)
    run_id = int(daemon.run("submit", "seen.toml").stdout)
    seen = []
    with daemon.client() as client:
        for step in client.watch_steps([run_id], timeout_s=60):
            seen.append((step["name"], step["state"]))
            if step["state"] == "running":
                (daemon.home / "go").touch()
        assert ("a", "running") in seen
        assert ("b", "ended") in seen
        assert [step["name"] for step in client.steps([run_id])] == ["a", "b", "c"]

    again = daemon.run("wait", str(run_id))
    assert again.returncode == 1
    shown = daemon.run("show", str(run_id)).stdout
    assert "3 steps: 2 succeeded, 1 failed" in shown
    [a, b, _] = json.loads(daemon.run("show", str(run_id), "--steps", "--json").stdout)
    assert (a["outcome"], b["reason"]) == ("succeeded", "exit_code: 3")

    assert daemon.run("logs", str(run_id), "--step", "a").stdout == "from a\n"
    assert daemon.run("logs", str(run_id), "--step", "b", "--stderr").stdout == "oops\n"
    kept = daemon.run("logs", "--state-dir", str(daemon.state_dir), str(run_id), "--step", "a")
    assert kept.stdout == "from a\n"


def test_logs_of_a_step_that_is_not_there_are_refused(daemon: Daemon) -> None:
    (daemon.home / "one.json").write_text(
        json.dumps({"name": "one", "steps": [{"name": "a", "argv": ["true"]}]})
    )
    run_id = daemon.run("submit", "one.json", "--wait").stdout.strip()
    for arguments, complaint in (
        (["--step", "z"], "has no step 'z'"),
        (["--step", "z", "-f"], "has no step 'z'"),
        (["--step", "a", "--attempt", "7"], "has no attempt 7"),
        (["--step", "a", "--attempt", "7", "-f"], "has no attempt 7"),
    ):
        refused = daemon.run("logs", run_id, *arguments)
        assert (refused.returncode, complaint in refused.stderr) == (1, True), refused.stderr


FOLLOWED = """
name = "followed"
execution = "EXECUTION"

[[steps]]
name = "gated"
argv = ["sh", "-c", "until [ -e EXECUTION.go ]; do sleep 0.02; done; true"]

[[steps]]
name = "twice"
call = "followed:twice"
args = ["EXECUTION.go-on"]
after = ["gated"]
retry = { attempts = 1, backoff = 0 }
"""
TWICE = """
import os, sys, time

def twice(gate):
    time.sleep(0.2)  # so that whoever follows has seen the step, but no log of it
    print("begun", flush=True)
    while not os.path.exists(gate): time.sleep(0.02)
    print("over", flush=True)
    sys.exit(1)
"""


def test_a_step_is_followed_from_before_it_begins_to_its_last_attempt_in_every_model(
    daemon: Daemon,
) -> None:
    (daemon.home / "followed.py").write_text(TWICE)
    for execution in ("processes", "inline", "runs"):
        (daemon.home / "followed.toml").write_text(FOLLOWED.replace("EXECUTION", execution))
        run_id = daemon.run("submit", "followed.toml").stdout.strip()
        following = daemon.popen("logs", "-f", run_id, "--step", "twice")
        assert following.stdout is not None
        (daemon.home / f"{execution}.go").touch()
        assert following.stdout.readline() == "begun\n", execution
        first = daemon.popen("logs", "-f", run_id, "--step", "twice", "--attempt", "1")
        (daemon.home / f"{execution}.go-on").touch()
        assert following.communicate(timeout=60)[0] == "over\nbegun\nover\n", execution
        assert first.communicate(timeout=60)[0] == "begun\nover\n", execution
    own = daemon.run("logs", run_id)
    assert (own.returncode, own.stdout) == (0, "")
    assert f"intendant logs {run_id} --step NAME" in own.stderr


def test_run_shows_each_end_and_the_output_of_the_last_steps(daemon: Daemon) -> None:
    (daemon.home / "go").touch()
    (daemon.home / "seen.toml").write_text(STEPS)
    done = daemon.run("run", "seen.toml")
    assert done.returncode == 1
    assert done.stdout == "1/a done\n", "b has failed, a is not the last"
    assert "[1/3] step a succeeded" in done.stderr
    assert "its stderr:\noops\n" in done.stderr


RESULTS = """
name = "results"

[[steps]]
name = "text"
argv = ["sh", "-c", '''echo '{"n": 5}' > $INTENDANT_OUTPUTS''']

[[steps]]
name = "double"
call = "operator:mul"
args = ["${text.outputs.n}", 2]

[[steps]]
name = "pickled"
call = "operator:neg"
args = ["${double.outputs}"]
result = "pickle"
"""


def test_what_the_steps_of_a_private_daemon_left_can_be_looked_up_afterwards(
    folders: Daemon,
) -> None:
    (folders.home / "results.toml").write_text(RESULTS)
    done = folders.run("run", "results.toml")
    assert done.returncode == 0, done.stderr
    [hint] = re.findall(r"what run 1 returned: intendant (result --state-dir (\S+) 1)$",
                        done.stderr, re.MULTILINE)  # fmt: skip
    state = Path(hint[1])
    try:
        found = folders.run(*hint[0].split())
        assert json.loads(found.stdout) == {"text": {"n": 5}, "double": 10}, found.stderr
        last = folders.run("result", "--state-dir", str(state), "last", "--json")
        assert json.loads(last.stdout)["result"]["double"] == 10
        unknown = folders.run("result", "--state-dir", str(state), "2")
        assert (unknown.returncode, unknown.stderr) == (1, "intendant: no run 2\n")
    finally:
        shutil.rmtree(state.parent)


def test_where_the_steps_left_nothing_nothing_is_kept(folders: Daemon) -> None:
    (folders.home / "tmp").mkdir()
    (folders.home / "nothing.toml").write_text('steps = [{ name = "a", argv = ["true"] }]')
    done = folders.run("run", "nothing.toml", environment={b"TMPDIR": bytes(folders.home / "tmp")})
    assert (done.returncode, "returned" in done.stderr) == (0, False), done.stderr
    assert list((folders.home / "tmp").iterdir()) == []


def test_a_report_is_one_page_about_a_pipeline_and_refused_of_anything_else(
    daemon: Daemon,
) -> None:
    (daemon.home / "go").touch()
    (daemon.home / "seen.toml").write_text(STEPS)
    run_id = daemon.run("submit", "seen.toml", "--wait").stdout.strip()
    assert daemon.run("report", run_id, "-o", "report.html").returncode == 0
    page = (daemon.home / "report.html").read_text()
    assert "3 steps: 2 succeeded, 1 failed" in page
    assert f"{run_id}/steps/b/1/stderr.log" in page
    command = str(daemon.submit("true", flags=["--wait"]))
    refused = daemon.run("report", command, "-o", "other.html")
    assert (refused.returncode, (daemon.home / "other.html").exists()) == (1, False)
    assert "is a command, expected a pipeline" in refused.stderr
