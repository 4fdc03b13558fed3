"""Scheduling of steps: order, limits, what a failure spreads to, how it all ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_states import StepOutcome as Out
from intendant.workloads.pipeline.schedule import Schedule, Settlement
from tests.unit.workloads.pipeline.simulator import RAN, graphs, is_failed, pipeline, simulate


def schedule(spec: PipelineSpec, *, room: int = 100, **options: Any) -> Schedule:
    lanes = {step.name: "processes" for step in spec.steps}
    return Schedule(spec.steps, spec.graph, lanes=lanes, room={"processes": room}, **options)


def chain(text: str, **flags: Any) -> PipelineSpec:
    """`a>b,c` says that b and c come after a; `flags` by step's name."""
    parents: dict[str, list[str]] = {}
    for part in text.split():
        before, _, after = part.partition(">")
        parents.setdefault(before, [])
        for name in filter(None, after.split(",")):
            parents.setdefault(name, []).append(before)
    return pipeline(
        [
            {"name": name, "after": after, "workload": {"kind": "command", "argv": ["do"]}}
            | flags.get(name, {})
            for name, after in parents.items()
        ]
    )


def names(settled: list[Settlement]) -> dict[str, Out]:
    return {each.step: each.outcome for each in settled}


def test_c17_p4_a_step_starts_when_all_its_parents_have_succeeded_not_before() -> None:
    plan = schedule(chain("a>c b>c"))
    assert plan.take() == ["a", "b"]
    plan.end("a", Out.SUCCEEDED)
    assert plan.take() == []
    plan.end("b", Out.SUCCEEDED)
    assert plan.take() == ["c"]


def test_c17_p3_p16_all_ready_steps_start_at_once_within_the_limit() -> None:
    plan = schedule(chain("a b c d"), room=3)
    assert plan.take() == ["a", "b", "c"]
    plan.end("b", Out.SUCCEEDED)
    assert plan.take() == ["d"]


def test_the_best_priority_starts_first_then_the_order_of_the_pipeline() -> None:
    plan = schedule(chain("a b c", c={"priority": 5}, a={"priority": -1}), room=1)
    order = []
    while not plan.is_over:
        [name] = plan.take()
        order.append(name)
        plan.end(name, Out.SUCCEEDED)
    assert order == ["c", "b", "a"]


def test_c19_p5_a_failure_spreads_to_all_descendants_and_nobody_else() -> None:
    plan = schedule(chain("a>b b>c x>y"))
    plan.take()
    assert names(plan.end("a", Out.FAILED)) == {"b": Out.NOT_RUN, "c": Out.NOT_RUN}
    plan.end("x", Out.SUCCEEDED)
    assert plan.take() == ["y"]
    plan.end("y", Out.SUCCEEDED)
    assert plan.is_over
    assert plan.culprits == ["a"]


def test_c20_after_a_time_out_no_child_starts() -> None:
    plan = schedule(chain("a>b"))
    plan.take()
    assert names(plan.end("a", Out.TIMED_OUT)) == {"b": Out.NOT_RUN}
    assert plan.culprits == ["a"]


def test_c18_a_skipped_step_skips_those_after_it_and_fails_nothing() -> None:
    plan = schedule(chain("a>b b>c"))
    plan.take()
    assert names(plan.end("a", Out.SKIPPED)) == {"b": Out.SKIPPED, "c": Out.SKIPPED}
    assert plan.culprits == []


@pytest.mark.parametrize(
    ("flag", "outcome", "child", "culprits"),
    [
        ({}, Out.FAILED, Out.NOT_RUN, ["a"]),
        ({"continue_on_fail": True}, Out.FAILED, Out.NOT_RUN, []),
        ({"skip_children_on_fail": False}, Out.FAILED, None, ["a"]),
        ({"continue_on_abort": True}, Out.FAILED, Out.NOT_RUN, ["a"]),
        ({}, Out.ABORTED, Out.NOT_RUN, ["a"]),
        ({"continue_on_abort": True}, Out.ABORTED, Out.NOT_RUN, []),
        ({"skip_children_on_abort": False}, Out.ABORTED, None, ["a"]),
        ({"skip_children_on_fail": False}, Out.ABORTED, Out.NOT_RUN, ["a"]),
    ],
)
def test_the_four_flags_say_what_a_failure_and_an_abort_mean(
    flag: dict[str, bool], outcome: Out, child: Out | None, culprits: list[str]
) -> None:
    plan = schedule(chain("a>b", a=flag))
    plan.take()
    assert names(plan.end("a", outcome)).get("b") is child
    assert plan.culprits == culprits


def test_fail_fast_starts_nothing_more() -> None:
    plan = schedule(chain("a b>c d"), room=2, fail_fast=True)
    assert plan.take() == ["a", "b"]
    assert names(plan.end("a", Out.FAILED)) == {"c": Out.NOT_RUN, "d": Out.NOT_RUN}
    assert plan.is_stopped
    assert plan.running == {"b"}
    plan.end("b", Out.ABORTED)
    assert plan.is_over


def test_what_was_kept_is_not_run_again() -> None:
    plan = schedule(chain("a>b b>c"), kept={"a": Out.SUCCEEDED, "b": Out.CACHED})
    assert plan.take() == ["c"]


def test_a_step_that_pauses_gives_its_room_to_another() -> None:
    plan = schedule(chain("a b"), room=1)
    assert plan.take() == ["a"]
    plan.leave("a")
    assert plan.take() == ["b"]
    plan.put_back("a")
    assert plan.take() == []
    plan.end("b", Out.SUCCEEDED)
    assert plan.take() == ["a"]


@given(steps=graphs(), room=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_any_pipeline_ends_as_the_rules_say(
    steps: list[dict[str, Any]], room: int, seed: int
) -> None:
    drive(pipeline(steps), room, random.Random(seed))


@settings(max_examples=3)
@given(seed=st.integers(0, 2**16))
def test_graphs_of_a_thousand_steps_end_as_the_rules_say(seed: int) -> None:
    chance = random.Random(seed)
    steps = [
        {
            "name": f"s{n}",
            "after": sorted(
                {f"s{chance.randrange(n)}" for _ in range(min(n, chance.randint(0, 3)))}
            ),
            "workload": {"kind": "command", "argv": ["do"]},
            "skip_children_on_fail": chance.random() < 0.8,
        }
        for n in range(1000)
    ]
    drive(pipeline(steps), 8, chance)


def drive(spec: PipelineSpec, room: int, chance: random.Random) -> None:
    """Carry a pipeline out in a random order of ends, and compare with the simulation."""
    weights = [10, 2, 1, 1, 1]
    fates = {step.name: chance.choices(RAN, weights)[0] for step in spec.steps}
    expected = simulate(spec, fates)
    plan = schedule(spec, room=room)
    ends: dict[str, Out] = {}
    running: list[str] = []
    while not plan.is_over:
        for name in plan.take():
            assert all(parent in ends for parent in spec.graph.parents[name]), "order"
            running.append(name)
        assert len(running) <= room
        assert running, "it is not over, so something runs"
        name = running.pop(chance.randrange(len(running)))
        ends[name] = fates[name]
        for each in plan.end(name, fates[name]):
            assert each.step not in ends
            ends[each.step] = each.outcome
    assert ends == expected
    assert bool(plan.culprits) == is_failed(spec, ends)
