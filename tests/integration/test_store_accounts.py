"""Accounts: what one of them knows of, and how much it may have waiting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from intendant.errors import Busy, IllegalTransition, InvalidRequest, RunNotFound
from intendant.executor.access import Asker
from intendant.executor.bases import require_origin
from intendant.executor.desk import Desk
from intendant.protocol.roles import Caller, Role
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.selectors import Selection
from intendant.protocol.specs import Submission
from intendant.store.spool import Spool
from tests.helpers.stores import StoreCase, opened, submission


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[StoreCase]:
    """Runs 1 and 3 are Ada's, run 2 is Bob's."""
    async with opened(tmp_path) as case:
        for account in ("ada", "bob", "ada"):
            await case.store.submit([submission(account)], account=account)
        yield case


async def test_an_account_lists_its_own_runs_alone(shared: StoreCase) -> None:
    runs, has_more = await shared.store.runs(owner="ada", limit=2)
    assert ([run.id for run in runs], has_more) == ([3, 1], False)
    runs, _ = await shared.store.runs(owner="ada", selection=Selection(last=True))
    assert [run.id for run in runs] == [3]


def a_pipeline(**spec: Any) -> Submission:
    work = {"kind": "command", "argv": ["true"]}
    steps = [{"name": "a", "workload": work}]
    pipeline = {"kind": "pipeline", "execution": "runs", "steps": steps}
    return submission(workload=pipeline, **spec)


async def test_the_run_of_a_step_is_its_pipelines_accounts_and_ends_with_it(
    tmp_path: Path,
) -> None:
    keys = ["pipeline/1/a/1", "pipeline/1/b/1", "pipeline/11/a/1", "pipeline/1"]
    async with opened(tmp_path) as case:
        store = case.store
        await store.submit([a_pipeline(restartable=True)], account="ada")
        await case.start(1)
        steps = [submission(key=key) for key in keys]
        assert await store.submit(steps, account="root", for_parents=True) == [2, 3, 4, 5]
        assert await store.submit(steps[:1], account="bob") == [6]
        assert await store.submit(steps, account="root", for_parents=True) == [2, 3, 4, 5]
        found = [await store.run(run_id) for run_id in (2, 3, 4, 5, 6)]
        assert [run.account for run in found] == ["ada", "ada", "root", "root", "bob"]
        assert [run.spec.restartable for run in found] == [True, True, False, False, False]
        limits = {"default": 9}
        assert [one.run_id for one in await store.candidates(limits, of=[1])] == [2, 3]
        assert [one.run_id for one in await store.candidates(limits, of=[4])] == []
        await case.start(2)

        await case.end(1, Outcome.FAILED, exit_code=1)

        states = [(await store.run(run_id)).state for run_id in (2, 3, 4, 5, 6)]
        assert states == ["stopping", "ended", "queued", "queued", "queued"]
        stopped = await store.run(3)
        reason = "cancelled: run 1, whose step it is, has ended"
        assert (stopped.outcome, stopped.reason) == (Outcome.CANCELLED, reason)
        assert [live.stop_reason for live in await store.live()] == [reason]
        late = submission(key="pipeline/1/c/1")
        with pytest.raises(IllegalTransition, match="run 1 has ended"):
            await store.submit([late], account="root", for_parents=True)


async def test_pipelines_that_only_wait_are_offered_beside_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        for what in (a_pipeline(), a_pipeline(), submission("a"), submission("b")):
            await case.store.submit([what], account="ada")

        offered = [
            [(one.run_id, one.only_waits) for one in found]
            for found in (
                await case.store.candidates({"default": 1}, parents=1),
                await case.store.candidates({"default": 2}, parents=0),
            )
        ]

        assert offered == [[(1, True), (3, False)], [(3, False), (4, False)]]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(ids=(2,)), [2]),
        (Selection(ranges=((1, 3),)), [2]),
        (Selection(last=True), [2]),
        (Selection(all=True), [2]),
    ],
)
async def test_a_selection_means_an_accounts_own_runs(
    shared: StoreCase, selection: Selection, found: list[int]
) -> None:
    assert await shared.store.select(selection, owner="bob") == found


@pytest.mark.parametrize("selection", [Selection(ids=(1,)), Selection(ranges=((1, 1),))])
async def test_anothers_run_is_refused_like_one_that_does_not_exist(
    shared: StoreCase, selection: Selection
) -> None:
    unknown = [Selection(ids=(9,)), Selection(ranges=((9, 9),))][bool(selection.ranges)]
    for look in (shared.store.select, shared.store.logged):
        refusals = []
        for one in (selection, unknown):
            with pytest.raises(RunNotFound) as refused:
                await look(one, owner="bob")
            refusals.append(str(refused.value))
        assert refusals[0].replace("1", "9") == refusals[1]


async def test_an_account_without_runs_has_no_last_one(shared: StoreCase) -> None:
    with pytest.raises(RunNotFound, match="no run yet"):
        await shared.store.select(Selection(last=True), owner="carol")


async def test_an_account_reads_the_events_of_its_own_runs_alone(shared: StoreCase) -> None:
    events = await shared.store.events(0, owner="bob")
    assert {event.run_id for event in events} == {2}
    assert await shared.store.events(0, run_ids=[1, 3], owner="bob") == []


async def test_an_account_prunes_its_own_runs_alone(shared: StoreCase) -> None:
    for run_id in (1, 2, 3):
        await shared.start(run_id)
        await shared.end(run_id, Outcome.SUCCEEDED)
    page = await shared.store.prunable(None, before=shared.clock(), after_id=0, owner="ada")
    assert page.run_ids == [1, 3]


async def test_more_runs_of_an_account_than_may_wait_are_refused_all_of_them(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        await case.store.submit([submission()] * 3, account="ada", limit=4)
        with pytest.raises(Busy, match="5 runs of ada would wait; at most 4"):
            await case.store.submit([submission()] * 2, account="ada", limit=4)
        assert await case.store.submit([submission()], account="bob", limit=4) == [4]

        await case.start(1)  # no longer waits

        assert len(await case.store.submit([submission()] * 2, account="ada", limit=4)) == 2


async def test_at_the_bound_a_known_key_still_gives_its_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        [run_id] = await case.store.submit([submission(key="k")], account="ada", limit=1)
        assert await case.store.submit([submission(key="k")], account="ada", limit=1) == [run_id]
        with pytest.raises(Busy):
            await case.store.submit([submission(key="l")], account="ada", limit=1)


async def test_a_retry_counts_as_well(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        await case.end(run_id, Outcome.FAILED)
        await case.add()
        with pytest.raises(Busy):
            await case.store.retry([run_id], account="ada", limit=1)


async def test_a_spec_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        argv = ["x" * 100_000] * 25
        with pytest.raises(InvalidRequest, match=r"the spec has 25\d+ bytes .* at most 2097152"):
            await case.add(argv=argv)
        assert await case.add(argv=argv[:20]) == 1


def a_study(**resume: object) -> dict[str, object]:
    space = {"x": {"type": "uniform", "low": 0, "high": 1}}
    study = {"kind": "study", "trials": 1, "space": space, "metric": "loss", "argv": ["true"]}
    return study | {"resume": resume}


@pytest.mark.parametrize(
    "going_on",
    [
        {"kind": "pipeline", "continues": {"run_id": 1}, "steps": [
            {"name": "a", "workload": {"kind": "command", "argv": ["true"]}}]},
        a_study(run_id=1),
        a_study(source="SPOOL/1"),
        a_study(source="file://SPOOL/2/../1/"),
        {**a_study(source="../spool/1/trials"), "cwd": "SPOOL"},
    ],
)  # fmt: skip
async def test_nobody_goes_on_from_anothers_run(
    shared: StoreCase, going_on: dict[str, Any]
) -> None:
    spool = Spool(shared.path.parent / "spool")
    desk = cast(Desk, SimpleNamespace(parts=SimpleNamespace(store=shared.store, spool=spool)))
    text = json.dumps({"spec": {"workload": going_on}}).replace("SPOOL", str(spool.root))
    run = Submission.model_validate_json(text)
    ada, bob = (Asker(Caller(name, Role.SUBMIT), owner=name) for name in ("ada", "bob"))
    await require_origin(desk, run, ada)
    with pytest.raises(InvalidRequest, match="no run 1"):
        await require_origin(desk, run, bob)


async def test_an_account_counts_its_own_runs_alone(shared: StoreCase) -> None:
    found = [
        (await shared.store.counts(owner=who))[RunState.QUEUED] for who in ("ada", "eve", None)
    ]
    assert found == [2, 0, 3]


@pytest.mark.parametrize("source", ["s3://bucket/1", "/elsewhere/1", "1"])
async def test_a_study_goes_on_from_what_is_no_run_of_the_daemons(
    shared: StoreCase, source: str
) -> None:
    spool = Spool(shared.path.parent / "spool")
    desk = cast(Desk, SimpleNamespace(parts=SimpleNamespace(store=shared.store, spool=spool)))
    run = Submission.model_validate({"spec": {"workload": a_study(source=source)}})

    await require_origin(desk, run, Asker(Caller("bob", Role.SUBMIT), owner="bob"))
