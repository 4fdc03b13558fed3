"""What comes between the steps of a start: the attempt ends once, and as it was wished."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
from contextlib import closing
from datetime import datetime
from pathlib import Path

import apsw
import pytest

from intendant.broker.client import ConnectionPool
from intendant.errors import LeftToRecovery
from intendant.executor import troubles
from intendant.executor.parts import utc_now
from intendant.executor.stop import DAEMON_STOPPING, Stop
from intendant.process.line import Line
from intendant.protocol.messages import (
    RunFinishedRequest,
    RunStartRequest,
    RunStartResponse,
    encode,
)
from intendant.protocol.records import ExitRecord
from intendant.protocol.run_states import Outcome
from tests.helpers.doubt import commits_in_doubt
from tests.helpers.supervised import CANCEL, TOKEN, TOKEN_SHA256, Moment, Supervised, supervised

SHUTDOWN = Stop(Outcome.INTERRUPTED, f"{DAEMON_STOPPING}: sigterm")
KILL = dataclasses.replace(SHUTDOWN, now=True, is_final=True)


@pytest.mark.parametrize("launch", ["succeeds", "fails", "hangs"])
@pytest.mark.parametrize("moment", Moment)
async def test_a_run_that_is_cancelled_at_any_step_of_its_start_ends_cancelled(
    tmp_path: Path, moment: Moment, launch: str
) -> None:
    async with supervised(tmp_path, start_deadline_s=0.3) as attempt:
        attempt.launcher.fails = launch == "fails"
        attempt.launcher.hangs = launch == "hangs"
        attempt.moments.acts[moment] = attempt.cancel

        await attempt.launch()

        run = await attempt.case.store.run(attempt.run_id)
        assert (run.state, run.outcome, run.reason) == ("ended", "cancelled", CANCEL.reason)
        assert run.started_at is None
        is_too_late = moment in (Moment.GIVING_UP, Moment.GIVEN_UP)  # after the start deadline
        assert attempt.was_asked is (is_too_late and launch == "succeeds")


async def test_a_cancel_that_could_not_be_recorded_before_the_start_ends_the_run_for_good(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:

        async def cancel_unrecorded() -> None:
            attempt.supervision.stop(CANCEL)

        attempt.moments.acts[Moment.LAUNCHING] = cancel_unrecorded

        await attempt.launch()

        run = await attempt.case.store.run(attempt.run_id)
        assert (run.state, run.outcome, run.reason) == ("ended", "cancelled", CANCEL.reason)


@pytest.mark.parametrize("moment", Moment)
async def test_a_run_that_the_daemon_stops_at_any_step_of_a_failing_start_stays_queued(
    tmp_path: Path, moment: Moment
) -> None:
    async with supervised(tmp_path) as attempt:

        async def stop_twice() -> None:
            attempt.supervision.stop(SHUTDOWN)
            attempt.supervision.stop(KILL)

        attempt.launcher.fails = True
        attempt.moments.acts[moment] = stop_twice

        await attempt.launch()

        found = await attempt.case.store.circumstances(attempt.run_id, queues=["default"])
        assert (found.run.state, found.not_before) == ("queued", None)


async def test_a_run_that_is_held_while_its_intent_is_written_is_not_launched(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:
        attempt.moments.acts[Moment.FOLDER_MADE] = lambda: attempt.case.store.hold([attempt.run_id])

        await attempt.launch()

        assert (await attempt.case.store.run(attempt.run_id)).state == "held"
        assert attempt.launcher.born == []


async def test_a_launch_that_failed_on_a_broken_disk_is_left_by_a_daemon_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "LEAVE_S", 0.1)
    async with supervised(tmp_path) as attempt:
        attempt.launcher.fails = attempt.disk.is_broken = True
        attempt.parts.troubles.hurry()

        with pytest.raises(LeftToRecovery):
            await attempt.launch()

        assert (await attempt.case.store.run(attempt.run_id)).state == "starting"


async def test_a_run_whose_intent_is_on_disk_though_that_was_reported_failed_starts(
    tmp_path: Path,
) -> None:
    with commits_in_doubt() as doubt:
        async with supervised(tmp_path) as attempt:
            attempt.moments.acts[Moment.LAUNCHING] = attempt.cancel
            doubt.commits = 1

            await attempt.launch()

            assert len(attempt.launcher.born) == 1
            run = await attempt.case.store.run(attempt.run_id)
            assert (run.state, run.outcome, run.attempt) == ("ended", "cancelled", 1)


async def test_a_governor_that_was_heard_of_after_two_new_brokers_is_not_called_silent(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path, heartbeat_s=0.01, liveness=2) as attempt:
        attempt.supervision.expect_word()
        attempt.supervision.expect_word()
        attempt.supervision.notice(is_present=True)

        await asyncio.sleep(0.05)  # both would have called it silent by now

        assert attempt.supervision.is_present


async def test_an_adopted_run_can_be_ended_while_the_database_is_locked(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt:
        child, adopt = await attempt.adopted()
        with closing(apsw.Connection(str(attempt.case.path))) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.TaskGroup() as tasks:
                adoption = tasks.create_task(adopt)
                attempt.supervision.stop(KILL)
                assert await asyncio.to_thread(child.wait, 20) == -signal.SIGKILL
                assert not adoption.done()
                other.execute("ROLLBACK")

        run = await attempt.case.store.run(attempt.run_id)
        assert (run.state, run.outcome) == ("ended", "interrupted")
        told = await attempt.case.told(attempt.run_id)
        assert "adopted" in told


async def test_a_last_word_by_the_line_is_answered_once_the_end_is_recorded(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt, asyncio.TaskGroup() as tasks:
        tasks.create_task(attempt.launch())

        answer = await told(attempt, last_word(attempt))

        assert answer is not None
        assert b"run_finished_response" in answer
        run = await attempt.case.store.run(attempt.run_id)
        assert (run.state, run.outcome) == ("ended", "succeeded")
        attempt.launcher.born[0].kill()


async def test_an_end_that_overtakes_the_start_is_recorded_after_it(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt, asyncio.TaskGroup() as tasks:

        class Overtaken(ConnectionPool):
            """Brings the answer to the start when the end has long been told by the line."""

            async def request(self, service: bytes, body: list[bytes]) -> list[bytes]:
                asked = RunStartRequest.model_validate_json(body[0])
                end = asyncio.create_task(line.ask(last_word(attempt, started_at=utc_now())))
                ended.set_result(end)
                for _turn in range(20):
                    await asyncio.sleep(0)
                answer = RunStartResponse(
                    run_id=asked.run_id, attempt=asked.attempt, pid=17, started_at=utc_now()
                )
                return [encode(answer)]

        ended: asyncio.Future[asyncio.Task[bytes | None]] = asyncio.Future()
        attempt.parts.governors = Overtaken("ipc:///nowhere")
        tasks.create_task(attempt.launch())
        line = Line(await attempt.launcher.report)
        line.hear(lambda _, reply: reply(b""), lambda: None)  # which leads to the bus
        answer = await (await ended)
        assert answer is not None
        assert b"run_finished_response" in answer

        said = await attempt.case.told(attempt.run_id)
        assert said[-2:] == ["started", "tree_empty"]
        attempt.launcher.born[0].kill()


@pytest.mark.parametrize("fault", ["token", "attempt", "no message"])
async def test_a_line_that_brings_something_else_is_closed_and_ends_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    async with supervised(tmp_path) as attempt, asyncio.TaskGroup() as tasks:
        tasks.create_task(attempt.launch())
        word = {
            "token": last_word(attempt, token="0" * 32),
            "attempt": last_word(attempt, number=2),
            "no message": json.dumps({"token": TOKEN}).encode(),
        }[fault]

        assert await told(attempt, word) is None

        assert (await attempt.case.store.run(attempt.run_id)).state == "starting"
        said = "".join(capfd.readouterr())
        assert "report_invalid" in said
        assert TOKEN not in said
        await attempt.cancel()


def last_word(
    attempt: Supervised, *, token: str = TOKEN, number: int = 1, started_at: datetime | None = None
) -> bytes:
    """What a governor says of its end."""
    record = ExitRecord(
        run_id=attempt.run_id,
        attempt=number,
        token_sha256=TOKEN_SHA256,
        outcome=Outcome.SUCCEEDED,
        started_at=started_at,
        finished_at=utc_now(),
    )
    return encode(RunFinishedRequest(token=token, record=record))


async def told(attempt: Supervised, word: bytes) -> bytes | None:
    """The answer to the governor's word by the line, which it has from its birth."""
    line = Line(await attempt.launcher.report)
    line.hear(lambda *_: None, lambda: None)
    async with asyncio.timeout(60):
        return await line.ask(word)
