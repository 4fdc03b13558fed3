from __future__ import annotations

import asyncio

import pytest

from intendant.executor.hub import Hub, Subscription
from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import RunState
from tests.helpers.rows import a_row


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def test_a_subscription_hears_of_its_runs_alone(hub: Hub) -> None:
    with hub.subscribe([1, 3]) as subscription:
        hub.publish([a_row(1), a_row(2), a_row(3)])

        assert [run.id for run in await changes(subscription)] == [1, 3]


async def test_of_each_run_only_the_newest_record_is_kept(hub: Hub) -> None:
    with hub.subscribe([1]) as subscription:
        hub.publish([a_row(1, RunState.STARTING)])
        hub.publish([a_row(1, RunState.RUNNING), a_row(1, RunState.ENDED)])

        assert [run.state for run in await changes(subscription)] == [RunState.ENDED]


async def test_who_waits_for_ends_hears_of_nothing_else(hub: Hub) -> None:
    with hub.subscribe([1, 2], ends_only=True) as subscription:
        hub.publish([a_row(1, RunState.RUNNING), a_row(2, RunState.STARTING)])
        assert await is_silent(subscription)
        hub.publish([a_row(1, RunState.ENDED), a_row(2, RunState.RUNNING)])

        assert [run.id for run in await changes(subscription)] == [1]


async def test_changes_come_in_the_order_of_the_last_of_each_run(hub: Hub) -> None:
    with hub.subscribe([1, 2]) as subscription:
        hub.publish([a_row(1), a_row(2), a_row(1)])

        assert [run.id for run in await changes(subscription)] == [2, 1]


async def test_what_was_heard_is_not_heard_again(hub: Hub) -> None:
    with hub.subscribe([1]) as subscription:
        hub.publish([a_row(1)])
        await changes(subscription)

        assert await is_silent(subscription)


async def test_one_waits_until_something_changes(hub: Hub) -> None:
    with hub.subscribe([1]) as subscription:
        waiting = asyncio.ensure_future(subscription.wait_changes())
        await asyncio.sleep(0)
        was_waiting = not waiting.done()
        hub.publish([a_row(1)])

        assert [run.id for run in await waiting] == [1]
        assert was_waiting


async def test_about_every_run_one_hears_only_that_something_happened(hub: Hub) -> None:
    with hub.subscribe(None) as subscription:
        hub.publish([a_row(number) for number in range(1, 1000)])

        assert await changes(subscription) == []
        assert await is_silent(subscription)


async def test_every_subscription_hears_for_itself(hub: Hub) -> None:
    with hub.subscribe([1]) as first, hub.subscribe([1]) as second:
        hub.publish([a_row(1)])
        await changes(first)

        assert [run.id for run in await changes(second)] == [1]


async def test_after_its_block_a_subscription_hears_nothing(hub: Hub) -> None:
    with hub.subscribe([1]) as subscription:
        pass
    hub.publish([a_row(1)])

    assert await is_silent(subscription)


async def changes(subscription: Subscription) -> list[RunRecord]:
    """The changes that are there already."""
    async with asyncio.timeout(1):
        return await subscription.wait_changes()


async def is_silent(subscription: Subscription) -> bool:
    """Whether there is nothing to hear."""
    waiting = asyncio.ensure_future(subscription.wait_changes())
    await asyncio.sleep(0)
    return not waiting.done() and waiting.cancel()
