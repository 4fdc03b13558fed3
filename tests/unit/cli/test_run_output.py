"""What runs write, copied to our own stdout and stderr."""

from __future__ import annotations

import pytest

from intendant.cli.inbox import Failed, Inbox, OutputDone
from intendant.cli.progress import NoProgress
from intendant.cli.run_output import LiveOutput, OrderedOutput, tail
from intendant.client.client import Client
from intendant.client.shapes import RunInfo
from intendant.errors import Busy, StoreError
from intendant.protocol.run_states import Outcome
from tests.helpers.fake_executor import DroppedClient, Ending, FakeConnection, FakeExecutor

FAILURE = Ending(Outcome.FAILED, 1)
LOG = {"stdout": b"<out>", "stderr": b"<err>"}


def client_of(executor: FakeExecutor) -> Client:
    return DroppedClient("ipc:///nowhere", connect=lambda _: FakeConnection(executor))


def ended(executor: FakeExecutor, ending: Ending = Ending()) -> RunInfo:  # noqa: B008  frozen
    """A run that has ended."""
    run = client_of(executor).submit(["true"])
    executor.end(run.id, ending)
    return run.refresh()


def asked_for(executor: FakeExecutor) -> list[tuple[str, str]]:
    """The logs that were read: run and stream."""
    logs = [one for one in executor.requests if one.kind == "log_request"]
    return [(log.selection[0], log.stream) for log in logs]


def test_results_come_in_file_order_whatever_ends_first(
    capfd: pytest.CaptureFixture[str],
) -> None:
    executor = FakeExecutor(log=LOG)
    inbox = Inbox()
    runs = [ended(executor) for _ in range(3)]
    output = OrderedOutput(lambda: client_of(executor), inbox, [1, 3], NoProgress())
    for run in (runs[2], runs[1], runs[0]):
        output.on_changed(run)
    output.on_all_ended()
    assert inbox.get() == OutputDone()
    assert asked_for(executor) == [
        ("3", "stderr"), ("1", "stderr"), ("1", "stdout"), ("3", "stdout"),
    ]  # fmt: skip
    assert capfd.readouterr() == ("<out><out>", "<err><err>")


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (LOG, "failed (1); its stderr:\n<err>\n"),
        ({"stdout": b"<out>", "stderr": b""}, "failed (1); its stdout:\n<out>\n"),
        ({}, ""),
    ],
)
def test_a_run_that_failed_shows_why_even_if_others_come_after(
    capfd: pytest.CaptureFixture[str], log: dict[str, bytes], shown: str
) -> None:
    executor = FakeExecutor(log=log)
    inbox = Inbox()
    output = OrderedOutput(lambda: client_of(executor), inbox, [], NoProgress())
    output.on_changed(ended(executor, FAILURE))
    output.on_changed(ended(executor))
    output.on_all_ended()
    assert inbox.get() == OutputDone()
    assert capfd.readouterr() == ("", shown and f"intendant: run 1 {shown}")


def test_the_end_of_a_long_log_is_its_last_lines() -> None:
    pieces = [b"%d\n%d" % (at, at) for at in range(10_000)]
    assert tail(pieces).splitlines()[-2:] == [b"99989999", b"9999"]
    assert len(tail(pieces).splitlines()) == 20
    assert len(tail([b"x" * 100_000])) < 10_000


def test_a_run_that_never_started_has_no_output_to_wait_for() -> None:
    executor = FakeExecutor()
    inbox = Inbox()
    output = OrderedOutput(lambda: client_of(executor), inbox, [1], NoProgress())
    run = ended(executor)
    run["started_at"] = None
    output.on_changed(run)
    output.on_all_ended()
    assert inbox.get() == OutputDone()
    assert asked_for(executor) == []


def test_live_output_follows_both_streams_of_each_attempt_once() -> None:
    executor = FakeExecutor(log=LOG)
    inbox = Inbox()
    output = LiveOutput(lambda: client_of(executor), inbox)
    run = ended(executor)
    output.on_changed(run)
    output.on_changed(run)
    assert not output.is_done
    for _ in range(2):
        assert inbox.get() == OutputDone()
        output.on_done()
    assert output.is_done
    assert sorted(asked_for(executor)) == [("1", "stderr"), ("1", "stdout")]


@pytest.mark.parametrize("error", [Busy("full"), StoreError("no space"), BrokenPipeError()])
def test_what_goes_wrong_in_a_thread_is_an_event(error: Exception) -> None:
    inbox = Inbox()

    def fail() -> None:
        raise error

    inbox.start("failing", fail)
    assert inbox.get() == Failed(error)
