"""Runs described in files: three syntaxes, order among runs, and what is wrong with a file."""

from __future__ import annotations

import json

import pytest

from tests.helpers.daemon import Daemon

TOML = """
[[runs]]
name = "first"
argv = ["sh", "-c", "echo $GREETING"]
env = { GREETING = "hello" }
timeout = "1m"

[[runs]]
argv = ["true"]
queue = "other"
priority = 3
after = ["first"]
"""
YAML = """
runs:
  - name: first
    argv: [sh, -c, echo $GREETING]
    env: {GREETING: hello}
    timeout: 1m
  - argv: ["true"]
    queue: other
    priority: 3
    after: [first]
"""
JSON = json.dumps(
    {
        "runs": [
            {
                "name": "first",
                "argv": ["sh", "-c", "echo $GREETING"],
                "env": {"GREETING": "hello"},
                "timeout": "1m",
            },
            {"argv": ["true"], "queue": "other", "priority": 3, "after": ["first"]},
        ]
    }
)

FAULTS = [
    pytest.param("f.toml", "", "expected a table", id="empty TOML"),
    pytest.param("f.yaml", "", "expected a table", id="empty YAML"),
    pytest.param("f.json", "", "line 1", id="empty JSON"),
    pytest.param("f.toml", "argv = [\n'true'\n", "line 2", id="malformed TOML"),
    pytest.param("f.yaml", "argv: [true\n", "line", id="malformed YAML"),
    pytest.param("f.json", '{"argv": \n]', "line 2", id="malformed JSON"),
    pytest.param("f.toml", "argv = ['true']\nqueu = 'q'", "queu: found an unknown key", id="key"),
    pytest.param(
        "f.yaml", "runs: [{argv: ['true'], tiemout: 3}]", "runs[0].tiemout: ", id="key in a run"
    ),
    pytest.param("f.toml", "name = 'x'", "argv: found nothing", id="no command"),
    pytest.param("f.toml", "argv = []", "argv: ", id="empty command"),
    pytest.param("f.toml", "argv = 'true'", "argv: found 'true', expected a list", id="a line"),
    pytest.param("f.json", '{"argv": ["a\\u0000b"]}', "argv", id="NUL in an argument"),
    pytest.param("f.toml", "argv = ['true']\ntimeout = 0", "timeout: found 0", id="timeout 0"),
    pytest.param("f.toml", "argv = ['true']\ntimeout = '5 y'", "timeout: ", id="unknown unit"),
    pytest.param("f.toml", "argv = ['true']\nafter = ['x']", "after[0]: found 'x'", id="after"),
    pytest.param("f.ini", "argv = true", "expected a run file", id="unknown suffix"),
]


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("yaml", YAML), ("json", JSON)])
def test_a_run_file_says_the_same_in_every_syntax(served: Daemon, suffix: str, text: str) -> None:
    served.run("queue", "set", "other", "--slots", "4")
    (served.home / f"file.{suffix}").write_text(text)

    done = served.run("submit", f"file.{suffix}", "--wait", "--json")

    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["name"], first["spec"]["timeout_s"]) == ("first", 60.0)
    assert (second["queue"], second["priority"]) == ("other", 3)
    assert second["started_at"] >= first["finished_at"]
    assert served.run("logs", str(first["id"])).stdout == "hello\n"


def test_a_file_of_one_run_needs_no_list(served: Daemon) -> None:
    (served.home / "one.toml").write_text('argv = ["sh", "-c", "exit 3"]\n')

    assert served.run("submit", "one.toml", "--wait").returncode == 3


def test_a_run_waits_for_all_that_it_comes_after(served: Daemon) -> None:
    write_runs(
        served,
        {"name": "slow", "argv": ["sleep", "0.4"]},
        {"name": "quick", "argv": ["true"]},
        {"name": "last", "argv": ["true"], "after": ["slow", "quick"]},
    )

    slow, quick, last = json.loads(served.run("submit", "runs.json", "--wait", "--json").stdout)

    assert last["started_at"] >= max(slow["finished_at"], quick["finished_at"])
    assert {run["outcome"] for run in (slow, quick, last)} == {"succeeded"}


def test_what_comes_after_a_failure_ends_interrupted_for_its_dependency(served: Daemon) -> None:
    write_runs(
        served,
        {"name": "bad", "argv": ["false"]},
        {"name": "child", "argv": ["true"], "after": ["bad"]},
        {"name": "grandchild", "argv": ["true"], "after": ["child"]},
        {"name": "stranger", "argv": ["true"]},
    )

    done = served.run("submit", "runs.json", "--wait", "--json")

    bad, child, grandchild, stranger = json.loads(done.stdout)
    assert done.returncode == 125
    assert (bad["outcome"], stranger["outcome"]) == ("failed", "succeeded")
    for run in (child, grandchild):
        assert run["outcome"] == "interrupted"
        assert run["reason"].startswith("dependency")
        assert (run["attempt"], run["started_at"]) == (0, None)


def test_what_comes_after_a_cancelled_run_never_starts(served: Daemon) -> None:
    write_runs(
        served,
        {"name": "parent", "argv": ["sleep", "600"]},
        {"argv": ["true"], "after": ["parent"]},
    )
    parent, child = map(int, served.run("submit", "runs.json").stdout.split())
    served.wait_state(parent, "running")

    served.run("cancel", str(parent))

    assert served.wait_state(child, "ended")["outcome"] == "interrupted"


@pytest.mark.parametrize(("name", "text", "says"), FAULTS)
def test_a_faulty_run_file_gives_2_with_the_file_and_the_place(
    served: Daemon, name: str, text: str, says: str
) -> None:
    (served.home / name).write_text(text)

    done = served.run("run", "--check", name)

    assert done.returncode == 2
    assert done.stdout == ""
    assert name in done.stderr
    assert says in done.stderr


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_of_a_faulty_run_file_nothing_is_run(served: Daemon, verb: str) -> None:
    write_runs(served, {"argv": ["touch", "trace"]}, {"argv": ["true"], "queu": "x"})
    before = served.run_count()

    done = served.run(verb, "runs.json")

    assert done.returncode == 2
    assert "runs.json: runs[1].queu: " in done.stderr
    assert served.run_count() == before
    assert not (served.home / "trace").exists()


def test_a_file_with_a_queue_that_does_not_exist_is_refused_whole(served: Daemon) -> None:
    write_runs(served, {"argv": ["touch", "trace"]}, {"argv": ["true"], "queue": "nowhere"})
    before = served.run_count()

    done = served.run("submit", "runs.json")

    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert served.run_count() == before


def test_a_file_that_does_not_exist_gives_2(served: Daemon) -> None:
    done = served.run("submit", "none.toml")

    assert done.returncode == 2
    assert "none.toml" in done.stderr


def test_e21_sound_files_are_said_to_be_sound_and_nothing_is_run(served: Daemon) -> None:
    (served.home / "one.toml").write_text('argv = ["touch", "trace"]\n')
    (served.home / "two.toml").write_text(TOML)

    done = served.run("run", "--check", "one.toml", "two.toml")

    assert done.returncode == 0
    assert done.stdout == "one.toml: ok, 1 run\ntwo.toml: ok, 2 runs\n"
    assert not (served.home / "trace").exists()


def test_e21_of_several_files_each_is_checked(served: Daemon) -> None:
    (served.home / "good.toml").write_text('argv = ["true"]\n')
    (served.home / "bad.toml").write_text("argv = 3\n")

    done = served.run("run", "--check", "bad.toml", "good.toml")

    assert done.returncode == 2
    assert done.stdout == "good.toml: ok, 1 run\n"
    assert "bad.toml: argv: " in done.stderr


def test_options_of_one_run_are_refused_beside_a_file(served: Daemon) -> None:
    (served.home / "good.toml").write_text('argv = ["true"]\n')

    done = served.run("submit", "--priority", "3", "good.toml")

    assert done.returncode == 2
    assert "--priority" in done.stderr


def write_runs(daemon: Daemon, *runs: dict[str, object]) -> None:
    """A run file `runs.json`."""
    (daemon.home / "runs.json").write_text(json.dumps({"runs": runs}))
