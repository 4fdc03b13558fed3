"""Runs that are tried again by a person, against a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.errors import IllegalTransition, RunNotFound
from intendant.protocol.environment import encode_environment
from intendant.protocol.pipelines import ContinueOrder, child_key
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import Secrets, Submission
from intendant.protocol.study import ResumeSpec, StudySpec
from tests.helpers.stores import opened, submission

SECRETS = Secrets(environment=encode_environment({b"A": b"1"}), env={"TOKEN": "x"})
FAILED = Outcome.FAILED


async def test_a_retry_is_a_new_run_with_the_spec_and_secrets_that_names_the_old(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        old = await case.add("build", secrets=SECRETS, priority=3)
        await case.complete(old, FAILED, exit_code=2)

        [new] = await case.store.retry([old], account="bob")

        before, after = await case.store.run(old), await case.store.run(new)
        assert after.spec == before.spec.model_copy(update={"retry_of": old})
        assert (after.state, after.attempt, after.account) == (RunState.QUEUED, 0, "bob")
        await case.grant(new)
        assert (await case.store.grant_info(new)).secrets == SECRETS
        assert (before.state, before.outcome) == (RunState.ENDED, FAILED)


async def test_a_hold_is_not_repeated(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        old = await case.add(hold=True)
        await case.store.request_stop([old], outcome=Outcome.CANCELLED, reason="by ada")

        [new] = await case.store.retry([old], account="ada")

        assert (await case.store.run(new)).state is RunState.QUEUED


async def test_only_what_has_ended_is_tried_again_and_all_or_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        ended, queued = await case.add(), await case.add()
        await case.complete(ended, FAILED)

        with pytest.raises(IllegalTransition, match=f"run {queued} is queued; expected one"):
            await case.store.retry([ended, queued], account="ada")
        with pytest.raises(RunNotFound, match="no run 17"):
            await case.store.retry([ended, 17], account="ada")

        assert len((await case.store.runs())[0]) == 2


async def test_the_same_key_gives_the_same_new_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        ids = [await case.add(), await case.add()]
        for run_id in ids:
            await case.complete(run_id, FAILED)

        first = await case.store.retry(ids, account="ada", key="k")
        # The second time `last` would be one of the new ones.
        again = await case.store.retry([first[-1]], account="ada", key="k")
        others = await case.store.retry(ids, account="ada", key="k/")

        assert first == again == [3, 4]
        assert others == [5, 6]


async def test_runs_tried_again_together_wait_for_each_other_as_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        runs = [submission("test", after=["build"]), submission("build")]
        test, build = await case.store.submit(runs, account="ada")
        await case.complete(build, FAILED)
        assert (await case.store.run(test)).reason == "dependency"

        new_test, new_build = await case.store.retry([test, build], account="ada")

        assert [one.run_id for one in await case.store.candidates({"default": 9})] == [new_build]
        await case.complete(new_build, Outcome.SUCCEEDED)
        assert [one.run_id for one in await case.store.candidates({"default": 9})] == [new_test]


async def test_what_is_tried_again_alone_waits_for_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        runs = [submission("test", after=["build"]), submission("build")]
        test, build = await case.store.submit(runs, account="ada")
        await case.complete(build, FAILED)

        [new] = await case.store.retry([test], account="ada")

        assert (await case.store.run(new)).spec.after == []
        assert [one.run_id for one in await case.store.candidates({"default": 9})] == [new]


async def test_a_study_that_has_done_nothing_begins_as_it_was_to_begin(tmp_path: Path) -> None:
    workload = {
        "kind": "study", "argv": ["true"], "metric": "loss", "mode": "min", "trials": 1,
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
    }  # fmt: skip
    async with opened(tmp_path) as case:
        [old] = await case.store.submit(
            [Submission.model_validate({"spec": {"workload": workload}})], account="ada"
        )
        await case.store.request_stop([old], outcome=Outcome.CANCELLED, reason="by ada")

        order = ContinueOrder()
        [anew] = await case.store.retry([old], account="ada", continuing=order, nothing_done=[old])
        [on] = await case.store.retry([old], account="ada", continuing=order)

        resumes = [(await case.store.run(run_id)).spec.workload for run_id in (anew, on)]
        assert [isinstance(each, StudySpec) and each.resume for each in resumes] == [
            None, ResumeSpec(run_id=old, errored="resume"),
        ]  # fmt: skip


async def test_a_submission_that_names_anothers_run_as_tried_again_has_nothing_of_it(
    tmp_path: Path,
) -> None:
    steps = [{"name": "a", "workload": {"kind": "command", "argv": ["true"]}}]
    work = {"kind": "pipeline", "execution": "runs", "steps": steps}
    async with opened(tmp_path) as case:
        store = case.store
        await store.submit([submission(workload=work)], account="ada")
        await case.start(1)
        step = submission(key=child_key(1, "a", "1"))
        await store.submit([step], account="ada", for_parents=True)
        curious = submission(workload=work, retry_of=1, hold=True)
        [run_id] = await store.submit([curious], account="bob")
        assert (await store.circumstances(run_id, queues=["default"])).waits_for == []


async def test_a_pipeline_that_goes_on_waits_for_the_end_of_the_steps_that_still_run(
    tmp_path: Path,
) -> None:
    steps = [{"name": "a", "workload": {"kind": "command", "argv": ["true"]}}]
    work = {"kind": "pipeline", "execution": "runs", "steps": steps}
    going_on = {**work, "continues": {"run_id": 1}}
    async with opened(tmp_path) as case:
        store = case.store
        await store.submit([submission(workload=work)], account="ada")
        await case.start(1)
        key = child_key(1, "a", "1")
        [step] = await store.submit([submission(key=key)], account="ada", for_parents=True)
        await case.start(step)
        await case.end(1, FAILED, exit_code=1)

        again = await store.retry([1], account="ada", continuing=ContinueOrder())
        again += await store.submit([submission(workload=going_on)], account="ada")
        # One that has begun nothing goes on from the first as well.
        await store.request_stop(again[:1], outcome=Outcome.CANCELLED, reason="by ada")
        again += await store.retry(
            again[:1], account="ada", continuing=ContinueOrder(), nothing_done=again[:1]
        )
        assert (await store.run(step)).state is RunState.STOPPING
        assert await store.candidates({"default": 9}) == []

        await case.end(step, Outcome.CANCELLED)

        offered = await store.candidates({"default": 9})
        assert [one.run_id for one in offered] == again[1:]
        # Tried again together with the step's run, it does not come after that one's success.
        await store.request_stop(again[1:2], outcome=Outcome.CANCELLED, reason="by ada")
        [_, last] = await store.retry([step, again[1]], account="ada", continuing=ContinueOrder())
        assert last in [one.run_id for one in await store.candidates({"default": 9})]
