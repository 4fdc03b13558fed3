"""The client for programs with a loop, against a real daemon."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing

import pytest

from intendant.client.async_client import AsyncClient
from intendant.client.call import Call
from intendant.errors import InvalidRequest, RunFailed, RunNotFound, Unreachable
from tests.helpers.daemon import Daemon


@pytest.fixture
def endpoint(daemon: Daemon) -> str:
    return daemon.client().endpoint


async def test_a_command_and_a_call_give_their_results(endpoint: str) -> None:
    async with AsyncClient(endpoint) as client:
        command = await client.submit(["sh", "-c", "echo hello"], name="greeting")
        call = await client.submit(Call("math:sqrt", args=[16]))
        function = await client.submit(Call(sum, args=[[1, 2, 3]]))
        assert [await run.result() for run in (command, call, function)] == [0, 4.0, 6]
        assert b"".join([piece async for piece in command.logs(follow=True)]) == b"hello\n"
        assert (await command.info())["name"] == "greeting"
        with pytest.raises(RunFailed, match="exit_code: 3"):
            await (await client.submit(["sh", "-c", "exit 3"])).result()


async def test_requests_can_be_under_way_at_once(endpoint: str) -> None:
    async with AsyncClient(endpoint) as client:
        runs = await asyncio.gather(*(client.submit(["true"]) for _ in range(40)))
        ended = await asyncio.gather(*(run.wait() for run in runs))
        assert {info["outcome"] for info in ended} == {"succeeded"}
        assert len(await client.runs(limit=None)) == 40


async def test_runs_and_queues_can_be_asked_and_told(endpoint: str) -> None:
    async with AsyncClient(endpoint) as client:
        await client.queue_set("gpu", slots=1)
        await client.queue_pause("gpu")
        one = await client.submit(["true"], queue="gpu")
        [two] = await client.submit_all([{"workload": {"kind": "command", "argv": ["true"]}}])
        await two.wait(timeout_s=60)
        assert (await client.explain(one.id))["code"] == "queue_paused"
        assert (await client.hold(one.id))["changed"] == [one.id]
        assert (await client.release(one.id))["changed"] == [one.id]
        assert (await client.set_priority(one.id, 5))["runs"][0]["priority"] == 5
        assert await one.cancel() is True
        assert await one.cancel() is False
        assert [(await run.wait())["id"] for run in await client.retry(two.id)] == [3]
        await client.queue_resume("gpu")
        assert [queue["name"] for queue in await client.queues()] == ["default", "gpu"]
        assert (await client.status())["slots"] == 4
        assert [ids async for ids in client.prune(older_s=0.0)]
        with pytest.raises(RunNotFound):
            await client.run(99)
        held = await client.submit(["true"], hold=True)
        with pytest.raises(TimeoutError, match=rf"not ended within 0.2 s: run {held.id}"):
            await held.wait(timeout_s=0.2)
        with pytest.raises(InvalidRequest, match="is held"):
            await client.result(held.id)


async def test_without_a_daemon_it_says_so(daemon: Daemon) -> None:
    client = AsyncClient(daemon.client().endpoint)
    daemon.stop()
    with pytest.raises(Unreachable):
        await client.status()
    with pytest.raises(Unreachable):
        await anext(aiter(client.events(follow=True)))


async def test_events_keep_their_place_over_a_restart_of_the_broker(endpoint: str) -> None:
    """Each event once and in order, although the broker is killed again and again."""
    async with AsyncClient(endpoint) as client:
        after_id = await client.last_event_id()
        ids: list[int] = []
        ended: set[int] = set()
        async with (
            asyncio.timeout(100),
            aclosing(client.events(after_id=after_id, follow=True)) as events,
        ):
            runs = [await client.submit(["sleep", "0.3"]) for _ in range(12)]
            async for event in events:
                ids.append(event["id"])
                if event["after"] == "ended":
                    ended.add(event["run_id"])
                    if len(ended) in (3, 6):
                        broker = (await client.status())["broker"]["pid"]
                        assert broker is not None
                        os.kill(broker, signal.SIGKILL)
                if ended == {run.id for run in runs}:
                    break
    assert ids == list(range(after_id + 1, after_id + 1 + len(ids)))


async def test_shutdown_ends_the_daemon(daemon: Daemon, endpoint: str) -> None:
    async with AsyncClient(endpoint) as client:
        await client.shutdown()
    assert daemon.wait() == 0
