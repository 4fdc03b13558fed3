from __future__ import annotations

import asyncio
import signal

import pytest

from intendant.errors import IllegalTransition
from intendant.executor.lifecycle import Lifecycle, Order
from intendant.protocol.executor_states import Cause, ExecutorEvent, ExecutorState, Policy

S = ExecutorState
STOP = Order(Policy.STOP, Cause.COMMAND)


@pytest.fixture
def running() -> Lifecycle:
    """A daemon that serves."""
    lifecycle = Lifecycle()
    lifecycle.on(ExecutorEvent.HELPERS_READY)
    lifecycle.on(ExecutorEvent.RECOVERED)
    return lifecycle


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        (Policy.STOP, S.STOPPING),
        (Policy.DRAIN, S.DRAINING),
        (Policy.LEAVE, S.EXITED),
        (Policy.NOW, S.KILLING),
    ],
)
def test_each_policy_leads_to_a_state_of_its_own(
    running: Lifecycle, policy: Policy, state: ExecutorState
) -> None:
    assert running.obey(Order(policy, Cause.COMMAND)) is state


@pytest.mark.parametrize(
    ("signum", "cause", "status"),
    [
        (signal.SIGINT, Cause.SIGINT, 130),
        (signal.SIGTERM, Cause.SIGTERM, 143),
        (signal.SIGABRT, Cause.SIGABRT, 134),
    ],
)
def test_each_signal_has_a_cause_and_an_exit_status_of_its_own(
    running: Lifecycle, signum: int, cause: Cause, status: int
) -> None:
    running.order_by_signal(signum, Policy.STOP)
    obey_all(running)

    assert (running.cause, running.exit_status) == (cause, status)


@pytest.mark.parametrize(
    ("cause", "status"), [(Cause.COMMAND, 0), (Cause.IDLE, 0), (Cause.BROKER_LOST, 70)]
)
def test_each_other_cause_has_its_exit_status(
    running: Lifecycle, cause: Cause, status: int
) -> None:
    running.obey(Order(Policy.STOP, cause))

    assert running.exit_status == status


def test_the_first_cause_stays(running: Lifecycle) -> None:
    running.obey(STOP)
    running.order_by_signal(signal.SIGTERM, Policy.STOP)
    obey_all(running)

    assert running.cause is Cause.COMMAND


@pytest.mark.parametrize(
    ("policy", "state"),
    [(Policy.STOP, S.KILLING), (Policy.DRAIN, S.KILLING), (Policy.LEAVE, S.EXITED)],
)
def test_a_second_signal_kills_unless_the_policy_is_to_leave(
    running: Lifecycle, policy: Policy, state: ExecutorState
) -> None:
    running.obey(Order(Policy.STOP, Cause.COMMAND))

    running.order_by_signal(signal.SIGINT, policy)
    obey_all(running)

    assert running.state is state


def test_a_second_request_to_stop_kills_nobody(running: Lifecycle) -> None:
    assert running.obey(STOP) is running.obey(STOP) is S.STOPPING


def test_a_request_may_be_harder_than_the_one_before(running: Lifecycle) -> None:
    policies = [Policy.DRAIN, Policy.STOP, Policy.NOW]

    states = [running.obey(Order(policy, Cause.COMMAND)) for policy in policies]

    assert states == [S.DRAINING, S.STOPPING, S.KILLING]


def test_a_gentler_request_changes_nothing_any_more(running: Lifecycle) -> None:
    running.obey(STOP)

    assert running.obey(Order(Policy.DRAIN, Cause.COMMAND)) is S.STOPPING


def test_an_order_before_the_daemon_serves_concerns_the_runs_that_it_found() -> None:
    assert Lifecycle().obey(STOP) is S.STOPPING


def test_an_exited_daemon_obeys_nobody(running: Lifecycle) -> None:
    running.obey(Order(Policy.LEAVE, Cause.COMMAND))

    with pytest.raises(IllegalTransition):
        running.obey(STOP)


@pytest.mark.parametrize(
    ("policy", "takes"), [(Policy.DRAIN, True), (Policy.STOP, False), (Policy.NOW, False)]
)
def test_runs_are_taken_until_the_daemon_stops(
    running: Lifecycle, policy: Policy, takes: bool
) -> None:
    assert running.takes_submissions

    running.obey(Order(policy, Cause.COMMAND))

    assert running.takes_submissions is takes


def test_orders_are_taken_in_the_order_of_their_arrival() -> None:
    lifecycle = Lifecycle()
    orders = [STOP, Order(Policy.NOW, Cause.SIGINT), Order(Policy.LEAVE, Cause.BROKER_LOST)]
    for order in orders:
        lifecycle.order(order)

    assert [lifecycle.take_order() for _ in range(4)] == [*orders, None]


def test_a_flood_of_orders_is_bounded() -> None:
    lifecycle = Lifecycle()
    for _ in range(10_000):
        lifecycle.order(STOP)

    taken = 0
    while lifecycle.take_order() is not None:
        taken += 1

    assert 0 < taken < 100


async def test_waiting_for_an_order_ends_with_the_order() -> None:
    lifecycle = Lifecycle()
    waiting = asyncio.ensure_future(lifecycle.wait_order())
    await asyncio.sleep(0)
    was_waiting = not waiting.done()

    lifecycle.order(STOP)
    async with asyncio.timeout(1):
        await waiting

    assert was_waiting


async def test_after_the_last_order_there_is_something_to_wait_for_again() -> None:
    lifecycle = Lifecycle()
    lifecycle.order(STOP)
    lifecycle.take_order()
    lifecycle.take_order()
    waiting = asyncio.ensure_future(lifecycle.wait_order())
    await asyncio.sleep(0)

    assert not waiting.done()

    waiting.cancel()


def obey_all(lifecycle: Lifecycle) -> None:
    """What the executor does with the orders on the queue."""
    while (order := lifecycle.take_order()) is not None:
        lifecycle.obey(order)
