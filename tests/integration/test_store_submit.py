"""Submissions against a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import apsw
import pytest

from intendant.errors import KeyConflict, QueueNotFound
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import Secrets, Submission
from tests.helpers.stores import opened, rows, submission


async def test_a_run_is_kept_as_it_was_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        wanted = submission("build", priority=5, argv=["make", "-j", "ü", ""])

        [run_id] = await case.store.submit([wanted], account="ada")

        run = await case.store.run(run_id)
        assert run.spec == wanted.spec
        assert (run.name, run.kind, run.queue, run.priority) == ("build", "command", "default", 5)
        assert (run.state, run.outcome, run.attempt) == (RunState.QUEUED, None, 0)
        assert (run.account, run.submitted_at) == ("ada", case.clock())
        assert await case.told(run_id) == ["submitted"]
        assert case.changes == [run]


async def test_ids_come_in_the_order_of_the_request(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        assert await case.store.submit([submission()] * 3, account="ada") == [1, 2, 3]


async def test_a_run_to_be_held_is_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run = await case.store.run(await case.add(hold=True))

        assert run.state is RunState.HELD


async def test_the_same_key_and_spec_give_the_same_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first = await case.add("a", key="k")

        again = await case.add("a", key="k", secrets=Secrets(env={"TOKEN": "another"}))

        assert again == first
        assert await case.store.counts() == dict.fromkeys(RunState, 0) | {RunState.QUEUED: 1}
        assert await case.told(first) == ["submitted"]


async def test_a_key_is_known_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first = await case.add("a", key="k")
        await case.complete(first, Outcome.SUCCEEDED)

    async with opened(tmp_path) as case:
        assert await case.add("a", key="k") == first


async def test_the_same_key_with_another_spec_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first = await case.add("a", key="k")

        with pytest.raises(KeyConflict, match=f"'k' belongs to run {first}"):
            await case.add("a", key="k", priority=1)


async def test_accounts_have_keys_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        ours = await case.store.submit([submission("a", key="k")], account="ada")
        theirs = await case.store.submit([submission("b", key="k")], account="bob")

        assert ours != theirs


async def test_the_same_key_at_the_same_time_gives_one_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        ids = await asyncio.gather(*(case.add("a", key="k") for _ in range(50)))

        assert set(ids) == {1}


async def test_a_key_twice_in_a_batch_gives_one_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        twice = [submission("a", key="k"), submission("a", key="k")]

        assert await case.store.submit(twice, account="ada") == [1, 1]


async def test_a_batch_with_one_bad_run_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with pytest.raises(QueueNotFound, match="no queue 'gpu'; there are default"):
            await case.store.submit([submission(), submission(queue="gpu")], account="ada")

        assert await case.store.runs() == ([], False)
        assert await case.store.last_event_id() == 0
        assert case.changes == []


async def test_a_bad_submission_does_not_harm_its_neighbours(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.add("a", key="k")
        good = [case.add() for _ in range(20)]
        bad = [case.add("another", key="k") for _ in range(20)]

        mixed = [call for pair in zip(good, bad, strict=True) for call in pair]
        results = await asyncio.gather(*mixed, return_exceptions=True)

        assert sorted(result for result in results if isinstance(result, int)) == [*range(2, 22)]
        assert sum(isinstance(result, KeyConflict) for result in results) == 20


async def test_a_run_waits_for_those_that_it_comes_after_whatever_their_order(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        batch = [submission("last", after=["first", "first"]), submission("first")]
        last, first = await case.store.submit(batch, account="ada")

        assert [c.run_id for c in await case.store.candidates({"default": 9})] == [first]
        await case.complete(first, Outcome.SUCCEEDED)
        assert [c.run_id for c in await case.store.candidates({"default": 9})] == [last]


async def test_a_run_after_one_that_is_known_and_has_failed_ends_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        known = await case.add("first", key="k")
        await case.complete(known, Outcome.FAILED)

        batch = [
            submission("third", after=["second"]),
            submission("second", after=["first"]),
            submission("first", key="k"),
        ]
        third, second, first = await case.store.submit(batch, account="ada")

        assert first == known
        for run_id in (second, third):
            run = await case.store.run(run_id)
            assert (run.outcome, run.reason) == (Outcome.INTERRUPTED, "dependency")


async def test_a_run_after_one_that_is_known_and_has_succeeded_may_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        known = await case.add("first", key="k")
        await case.complete(known, Outcome.SUCCEEDED)

        batch = [submission("second", after=["first"]), submission("first", key="k")]
        second, _ = await case.store.submit(batch, account="ada")

        assert [c.run_id for c in await case.store.candidates({"default": 9})] == [second]


SECRETS = Secrets(environment="Q0FOQVJZPTEA", env={"TOKEN": "canary-value"})


async def test_secrets_come_back_with_the_grant_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(secrets=SECRETS)
        grant = await case.store.grant(run_id, 1, token_sha256="0" * 64)

        assert grant.secrets == SECRETS
        assert (await case.store.grant_info(run_id)).secrets == SECRETS
        shown = [
            repr(grant),
            repr(await case.store.run(run_id)),
            repr(await case.store.events(0)),
            repr(await case.store.live()),
            repr(case.changes),
        ]
        for text in shown:
            assert "canary" not in text
            assert "Q0FOQVJZ" not in text


async def test_a_pickle_comes_back_with_the_grant_and_with_a_retry(tmp_path: Path) -> None:
    workload = {"kind": "call", "pickle_sha256": hashlib.sha256(b"p").hexdigest()}
    secrets = Secrets(pickle=base64.b64encode(b"p").decode())
    submission = Submission.model_validate({"spec": {"workload": workload}, "secrets": secrets})
    async with opened(tmp_path) as case:
        [run_id] = await case.store.submit([submission], account="ada")
        await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")
        [again] = await case.store.retry([run_id], account="ada")

        grant = await case.store.grant(again, 1, token_sha256="0")

        assert grant.secrets == secrets
        assert "pickle=" not in repr(grant.secrets)


async def test_a_run_without_secrets_has_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        assert (await case.store.grant(run_id, 1, token_sha256="0")).secrets == Secrets()


async def test_the_same_environment_is_kept_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        for _ in range(3):
            await case.add(secrets=SECRETS)

        connection = apsw.Connection(str(case.path))
        assert len(rows(connection, "SELECT * FROM environment")) == 1
        assert len(rows(connection, "SELECT * FROM secret")) == 3
        connection.close()
