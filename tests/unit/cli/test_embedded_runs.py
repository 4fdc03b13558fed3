"""What `intendant run` plans, and what it concludes."""

from __future__ import annotations

import signal
from collections.abc import Mapping

import pytest

from intendant.cli.embedded_runs import Account, guilty, make_plan, private_queues_explained
from intendant.client.client import Client
from intendant.errors import QueueNotFound, unknown_queue
from intendant.protocol.run_states import Outcome
from tests.helpers.fake_executor import DroppedClient, Ending, FakeConnection, FakeExecutor


def spec(name: str | None, *after: str) -> Mapping[str, object]:
    """A run of a file."""
    named = {"name": name} if name else {}
    return {**named, "after": list(after), "workload": {"kind": "command", "argv": ["true"]}}


def client_of(executor: FakeExecutor) -> Client:
    return DroppedClient("ipc:///nowhere", connect=lambda _: FakeConnection(executor))


def test_the_results_are_those_that_no_run_comes_after() -> None:
    specs = [spec("a"), spec("b", "a"), spec("c"), spec(None, "b")]
    plan = make_plan(client_of(FakeExecutor()), [specs])
    assert (plan.run_ids, plan.leaves) == ([1, 2, 3, 4], [3, 4])


def test_the_same_name_in_another_file_is_another_run() -> None:
    plan = make_plan(client_of(FakeExecutor()), [[spec("a"), spec(None, "a")], [spec("a")]])
    assert plan.leaves == [2, 3]


def test_unfinished_runs_of_an_earlier_call_go_on_first() -> None:
    executor = FakeExecutor()
    client_of(executor).submit_all([spec("done"), spec("left"), spec("then", "left")])
    executor.end(1, Ending())
    plan = make_plan(client_of(executor), [[spec("new")]])
    assert (plan.run_ids, plan.leaves) == ([2, 3, 4], [3, 4])


@pytest.mark.parametrize(
    ("ending", "number", "status"),
    [
        (Ending(), None, 0),
        (Ending(Outcome.FAILED, 3), None, 3),
        (Ending(), signal.SIGINT, 130),
        (Ending(Outcome.FAILED, 3), signal.SIGTERM, 143),
    ],
)
def test_the_status_is_the_signals_or_the_runs(
    ending: Ending, number: int | None, status: int
) -> None:
    executor = FakeExecutor(ending=ending)
    run = client_of(executor).submit(["true"])
    account = Account(runs={run.id: run.wait()}, interrupted_by=number)
    assert account.status == status


def test_only_a_run_that_started_is_named_for_what_it_wrote() -> None:
    run = client_of(FakeExecutor(ending=Ending(Outcome.FAILED, 3))).submit(["true"]).wait()
    started = {**run, "id": 2, "started_at": run["submitted_at"]}
    never = {**run, "id": 1, "started_at": None}
    assert guilty(Account(runs={1: never, 2: started})) == 2  # type: ignore[dict-item]  # a copy of one
    assert guilty(Account(runs={1: never})) is None  # type: ignore[dict-item]  # the same


def test_nobody_is_told_to_make_a_queue_of_a_private_daemon() -> None:
    with pytest.raises(QueueNotFound) as caught, private_queues_explained():
        raise unknown_queue("nope", ["default"])
    assert str(caught.value) == "no queue 'nope'; a private daemon has only the queue 'default'"
