"""The verbs that change, explain and tell about runs, against an executor in memory."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from intendant.cli.parameters import ALL_RUNS, ONE_RUN, SEVERAL_RUNS
from intendant.protocol import messages as m
from intendant.protocol.records import EventRecord, LogLine
from intendant.protocol.run_states import RunState
from tests.helpers.fake_executor import BEGIN, Ending
from tests.helpers.shell import Shell


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """A shell in which two runs have been submitted."""
    shell("submit", "-n", "one", "--", "true")
    shell("submit", "-n", "two", "--", "true")
    return shell


def event(event_id: int, **fields: object) -> EventRecord:
    known = {
        "id": event_id, "run_id": 1, "seq": event_id, "at": BEGIN, "attempt": 0,
        "event": "submitted", "before": None, "after": RunState.QUEUED,
    }  # fmt: skip
    return EventRecord.model_validate({**known, **fields})


def test_hold_and_release_say_where_each_run_is(shell: Shell) -> None:
    assert shell("hold", "1-2") == (0, "1: held\n2: held\n", "")
    assert shell("hold", "2") == (0, "2: held, nothing to do\n", "")
    found = json.loads(shell("release", "1", "--json")[1])
    assert [(one["id"], one["state"]) for one in found] == [(1, "queued")]


@pytest.mark.parametrize("priority", [7, -7])
def test_a_priority_may_be_negative(shell: Shell, priority: int) -> None:
    assert shell("priority", "1", str(priority)) == (0, f"1: priority {priority}\n", "")
    assert json.loads(shell("priority", "--json", "1", "3")[1])["priority"] == 3


def test_retry_prints_the_new_ids_one_a_line(shell: Shell) -> None:
    assert shell("retry", "1,2") == (0, "3\n4\n", "")
    [*_, request] = shell.executor.requests
    assert isinstance(request, m.RunRetryRequest)
    assert request.retry_key


def test_retry_json_prints_the_new_runs(shell: Shell) -> None:
    [found] = json.loads(shell("retry", "1", "--json")[1])
    assert (found["id"], found["spec"]["retry_of"]) == (3, 1)


def test_explain_is_one_line_that_harms_no_terminal(shell: Shell) -> None:
    assert shell("explain", "1") == (0, "1: about \\x1b[2J\n", "")


def test_explain_json_has_stable_keys(shell: Shell) -> None:
    found = json.loads(shell("explain", "last", "--json")[1])
    assert sorted(found) == ["code", "run_id", "since", "state", "text", "until", "waits_for"]
    assert (found["run_id"], found["code"], found["until"], found["waits_for"]) == (
        2, "next", None, []
    )  # fmt: skip


def test_events_are_a_line_each(shell: Shell) -> None:
    shell.executor.events = [
        event(1, detail={"account": "ada", "spec_sha256": "0" * 64}),
        event(2, attempt=1, event="started", before="starting", after="running",
              detail={"pid": 7, "why": "a \x1b[2Jb"}),
    ]  # fmt: skip
    _, out, _ = shell("events", "1")
    first, second = out.splitlines()
    assert first.split(maxsplit=3)[3] == "1      queued               submitted account=ada"
    assert (first[0], second[0]) == ("1", "2"), "for --after"
    assert second.split(maxsplit=3)[3] == (
        '1.1    starting -> running  started pid=7 why="a \\u001b[2Jb"'
    )


def test_events_json_is_one_array_and_following_one_object_a_line(shell: Shell) -> None:
    shell.executor.events = [event(number) for number in (1, 2, 3)]
    assert [one["id"] for one in json.loads(shell("events", "--json")[1])] == [1, 2, 3]
    followed = shell("events", "-f", "--json", "--after", "1")[1].splitlines()
    assert [json.loads(line)["id"] for line in followed] == [2, 3]


@pytest.mark.parametrize(("args", "after_id"), [([], 3), (["--all"], 0), (["--after", "1"], 1)])
def test_events_are_followed_from_now_on_unless_the_place_is_named(
    shell: Shell, args: list[str], after_id: int
) -> None:
    shell.executor.events = [event(number) for number in (1, 2, 3)]
    shell("events", "-f", *args)
    assert shell.executor.requests[-1] == m.EventListRequest(after_id=after_id, follow=True)


def test_prune_counts_what_is_gone_over_all_pages(shell: Shell) -> None:
    for run_id in (1, 2):
        shell.executor.end(run_id, Ending())
    assert shell("prune", "--older", "30d", "1-9") == (0, "pruned 2 runs\n", "")
    first, second = shell.executor.requests[-2:]
    assert first == m.RunPruneRequest(older_s=30 * 86400, selection=["1-9"])
    assert second == m.RunPruneRequest(older_s=30 * 86400, selection=["1-9"], after_id=1)
    assert json.loads(shell("prune", "--older", "0", "--json")[1]) == {"pruned": []}


def test_the_system_log_is_for_people_or_json(shell: Shell) -> None:
    said = {"event": "governor_lost", "run_id": 17, "level": "error", "timestamp": "x"}
    shell.executor.system_log = [
        LogLine(at=BEGIN, level="error", source="executor", text=json.dumps(said)),
        LogLine(at=BEGIN + timedelta(seconds=1), level="error", source="governor 17.1",
                text="Traceback \x1b[2J"),
    ]  # fmt: skip
    _, out, _ = shell("logs", "--system", "--level", "error", "17")
    assert [line.split(maxsplit=2)[2] for line in out.splitlines()] == [
        "error    executor       governor_lost run_id=17",
        "error    governor 17.1  Traceback \\x1b[2J",
    ]
    assert shell.executor.requests[-1] == m.SystemLogRequest(selection=["17"], level="error")
    found = json.loads(shell("logs", "--system", "--json")[1])
    assert [list(one) for one in found] == [["at", "level", "source", "text"]] * 2


def test_ls_takes_several_states_and_outcomes(shell: Shell) -> None:
    shell("ls", "--state", "held", "--state", "ended", "--outcome", "failed", "--all")
    [*_, request] = shell.executor.requests
    assert isinstance(request, m.RunListRequest)
    assert (request.states, request.outcomes, request.limit) == (
        ["held", "ended"],
        ["failed"],
        1000,
    )


@pytest.mark.parametrize(
    ("args", "found", "expected"),
    [
        (["priority", "1"], "Missing argument", "N"),
        (["priority", "1", "soon"], "'soon'", "a whole number"),
        (["priority", "1", "2", "--bogus"], "--bogus", "extra"),
        (["priority", "1-2", "3"], "'1-2'", "one run"),
        (["hold"], "Missing argument", "ID..."),
        (["retry", "x"], "'x'", "an id"),
        (["retry", "--continue", "--set", "top=[1,", "1"], "'top=[1,'", "JSON, or a text"),
        (["rerun", "--from", "a", "--set", "a:x={y}", "1"], "'a:x={y}'", "JSON, or a text"),
        (["events", "x"], "'x'", "an id"),
        (["events", "--after", "-1"], "-1", "a whole number from 0"),
        (["events", "--after", "9" * 20], "9" * 20, "a whole number from 0"),
        (["events", "-f", "--all", "--after", "1"], "--all and --after", "one of them"),
        (["submit", "-n", "a\nb", "--", "true"], "'a\\nb'", "on one line"),
        (["submit", "-n", "", "--", "true"], "''", "1 to 200 characters"),
        (["submit", "--secret-arg", "2", "--", "cp", "a"], "--secret-arg 2", "1 is the first"),
        (["prune"], "Missing option", "--older"),
        (["prune", "--older", "soon"], "soon", "1.5s"),
        (["logs"], "no run", "an ID"),
        (["logs", "1", "2"], "'1,2'", "one run"),
        (["logs", "--level", "info", "1"], "--level", "with --system"),
        (["logs", "--json", "1"], "--json", "with --system"),
        (["logs", "--system", "--stderr"], "--stderr with --system", "without"),
        (["logs", "--system", "--level", "loud"], "loud", "'warning'"),
    ],
)
def test_wrong_usage_exits_2_and_asks_nobody(
    shell: Shell, args: list[str], found: str, expected: str
) -> None:
    asked = len(shell.executor.requests)
    status, out, err = shell(*args)
    assert (status, out) == (2, "")
    assert found in err
    assert expected in err
    assert len(shell.executor.requests) == asked


def test_fsck_refuses_a_folder_that_is_none_of_ours(shell: Shell, tmp_path: Path) -> None:
    status, out, err = shell("fsck", "--state-dir", str(tmp_path), "--json")
    assert (status, out) == (1, "")
    assert json.loads(err)["error"]["code"] == "store_error"


def test_the_help_says_how_to_have_completion(shell: Shell) -> None:
    _, out, _ = shell("--help")
    for name in ("bash", "zsh", "fish"):
        assert f"_INTENDANT_COMPLETE={name}_source intendant" in out
    assert out.index("compinit") < out.index("zsh_source"), "zsh's needs it"


@pytest.mark.parametrize(
    ("verbs", "named"),
    [
        (["cancel", "events", "hold", "logs", "prune", "release", "wait"], ALL_RUNS),
        (["retry"], SEVERAL_RUNS),
        (["explain", "priority", "report", "rerun", "result", "show"], ONE_RUN),
        (["trial ls", "trial add", "trial stop", "trial export"], ONE_RUN),
    ],
)
def test_the_help_of_a_verb_says_how_runs_are_named(
    shell: Shell, verbs: list[str], named: str
) -> None:
    for verb in verbs:
        _, out, _ = shell(*verb.split(), "--help")
        assert named in " ".join(out.split()), verb
