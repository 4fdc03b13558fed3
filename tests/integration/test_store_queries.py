"""Questions to a real database: pages, selections, candidates, the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from intendant.errors import RunNotFound
from intendant.protocol.run_states import LIVE, Outcome, RunState
from intendant.protocol.selectors import Selection, parse_selection
from intendant.store import queries
from intendant.store.database import prepare
from tests.helpers.stores import ManualClock, StoreCase, opened, submission


async def make_one_of_each(case: StoreCase) -> dict[str, int]:
    """A run in each state, and one ended with each outcome, by the word for it."""
    ids = {"held": await case.add(hold=True), "queued": await case.add()}
    for outcome in Outcome:
        ids[outcome] = await case.add()
        await case.complete(ids[outcome], outcome)
    ids["starting"], ids["running"], ids["stopping"] = [await case.add() for _ in range(3)]
    await case.grant(ids["starting"])
    await case.start(ids["running"])
    await case.start(ids["stopping"])
    await case.store.request_stop([ids["stopping"]], outcome=Outcome.CANCELLED, reason="by ada")
    return ids


async def test_counts_know_every_state(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        assert await case.store.counts() == dict.fromkeys(RunState, 0)

        await make_one_of_each(case)

        assert await case.store.counts() == dict.fromkeys(RunState, 1) | {RunState.ENDED: 5}


@pytest.mark.parametrize(
    ("states", "outcomes", "expected"),
    [
        ([], [], ["stopping", "running", "starting", *reversed(Outcome), "queued", "held"]),
        (["queued"], [], ["queued"]),
        (["held", "running"], [], ["running", "held"]),
        (["ended"], [], [*reversed(Outcome)]),
        ([], ["failed"], ["failed"]),
        (["ended", "queued"], ["failed", "cancelled"], ["cancelled", "failed"]),
        (["ended", "queued"], [], [*reversed(Outcome), "queued"]),
        (["queued"], ["failed"], []),
    ],
)
async def test_a_list_holds_what_was_asked_for_newest_first(
    tmp_path: Path, states: list[str], outcomes: list[str], expected: list[str]
) -> None:
    async with opened(tmp_path) as case:
        ids = await make_one_of_each(case)

        runs, has_more = await case.store.runs(
            states=[RunState(state) for state in states],
            outcomes=[Outcome(outcome) for outcome in outcomes],
        )

        assert [run.id for run in runs] == [ids[name] for name in expected]
        assert not has_more


async def test_a_list_comes_in_pages(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.store.submit([submission()] * 5, account="ada")

        first, more_after_first = await case.store.runs(limit=2)
        second, more_after_second = await case.store.runs(limit=2, before_id=first[-1].id)
        third, more_after_third = await case.store.runs(limit=2, before_id=second[-1].id)

        assert [run.id for run in (*first, *second, *third)] == [5, 4, 3, 2, 1]
        assert [more_after_first, more_after_second, more_after_third] == [True, True, False]


async def test_a_list_knows_one_queue_from_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.store.queue_set("gpu", slots=1)
        await case.add()
        on_gpu = await case.add(queue="gpu")

        for states in ([], [RunState.QUEUED]):
            runs, _ = await case.store.runs(queue="gpu", states=states)
            assert [run.id for run in runs] == [on_gpu]


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["2"], [2]),
        (["5,1"], [5, 1]),
        (["2-4", "3-6", "17"], [6, 5, 4, 3, 2]),
        (["1", "last"], [9, 1]),
        (["all"], [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (["40-50"], []),
    ],
)
async def test_a_list_keeps_to_a_selection(
    tmp_path: Path, selectors: list[str], expected: list[int]
) -> None:
    async with opened(tmp_path) as case:
        await case.store.submit([submission()] * 9, account="ada")

        runs, _ = await case.store.runs(selection=parse_selection(selectors))
        page, has_more = await case.store.runs(selection=parse_selection(selectors), limit=1)

        assert [run.id for run in runs] == expected
        assert [run.id for run in page] == expected[:1]
        assert has_more == (len(expected) > 1)


async def test_the_last_of_no_runs_is_an_empty_list(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        assert await case.store.runs(selection=Selection(last=True)) == ([], False)


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["3,1"], [1, 3]),
        (["2-9"], [2, 3, 4]),
        (["2-3", "3"], [2, 3]),
        (["last"], [4]),
        (["all"], [3, 4]),
        (["all", "1"], [1, 3, 4]),
    ],
)
async def test_a_selection_gives_ids(
    tmp_path: Path, selectors: list[str], expected: list[int]
) -> None:
    async with opened(tmp_path) as case:
        for _ in range(2):
            await case.complete(await case.add(), Outcome.SUCCEEDED)
        await case.add()
        await case.start(await case.add())

        found = await case.store.select(
            parse_selection(selectors), among_all=[RunState.QUEUED, *LIVE]
        )

        assert found == expected


async def test_all_means_every_run_unless_states_are_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        ids = await make_one_of_each(case)

        assert await case.store.select(Selection(all=True)) == sorted(ids.values())
        assert await case.store.select(Selection(all=True), among_all=[]) == []


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        (["17"], "no run 17"),
        (["1,17,18"], "no run 17"),
        (["5-8"], "no run in 5-8"),
        (["9223372036854775807"], "no run 9223372036854775807"),
    ],
)
async def test_what_a_selection_names_must_exist(
    tmp_path: Path, selectors: list[str], message: str
) -> None:
    async with opened(tmp_path) as case:
        await case.add()

        with pytest.raises(RunNotFound, match=message):
            await case.store.select(parse_selection(selectors))


async def test_there_is_no_last_run_before_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with pytest.raises(RunNotFound, match="no run yet"):
            await case.store.select(Selection(last=True))
        with pytest.raises(RunNotFound):
            await case.store.run(1)
        with pytest.raises(RunNotFound):
            await case.store.attempts(1)


async def test_higher_priority_starts_first_then_the_older_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        priorities = [0, 5, 0, -1, 5]
        await case.store.submit([submission(priority=p) for p in priorities], account="ada")

        candidates = await case.store.candidates({"default": 9})

        assert [c.run_id for c in candidates] == [2, 5, 1, 3, 4]
        assert [c.priority for c in candidates] == [5, 5, 0, 0, -1]


async def test_a_run_whose_back_off_is_over_stands_where_its_priority_puts_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        policy = {"attempts": 1, "backoff_s": 5}
        middle, low, high = [await case.add(priority=p, retry=policy) for p in (1, 0, 2)]
        await case.complete(middle, Outcome.FAILED)
        before = await case.store.candidates({"default": 9})
        case.clock.advance(5)

        after = await case.store.candidates({"default": 9})

        assert [c.run_id for c in before] == [high, low]
        assert [c.run_id for c in after] == [high, middle, low]
        assert after[1].attempt == 1


async def test_each_queue_has_its_limit_and_the_best_over_all_comes_first(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as case:
        await case.store.queue_set("gpu", slots=1)
        await case.store.submit([submission()] * 3, account="ada")
        await case.store.submit([submission(queue="gpu", priority=1)] * 3, account="ada")

        both = await case.store.candidates({"default": 2, "gpu": 1})
        one = await case.store.candidates({"gpu": 1}, exclude={4, 5})

        assert [(c.run_id, c.queue) for c in both] == [(4, "gpu"), (1, "default"), (2, "default")]
        assert [c.run_id for c in one] == [6]


async def test_the_next_back_off_is_the_one_that_ends_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        for backoff_s in (30, 10, 20):
            run_id = await case.add(retry={"attempts": 1, "backoff_s": backoff_s})
            await case.complete(run_id, Outcome.FAILED)
        start = case.clock()

        assert await case.store.next_eligible_at() == start + timedelta(seconds=10)
        case.clock.advance(10)
        assert await case.store.next_eligible_at() == start + timedelta(seconds=20)


async def test_events_are_read_on_from_the_last_one_seen(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first, second = await case.add(), await case.add()
        await case.complete(first, Outcome.SUCCEEDED)
        await case.complete(second, Outcome.SUCCEEDED)

        events = await case.store.events(2, limit=3)
        of_second = await case.store.events(0, run_ids=[second])
        of_both = await case.store.events(3, run_ids=[first, second], limit=2)

        assert [event.id for event in events] == [3, 4, 5]
        assert [event.seq for event in of_second] == [1, 2, 3, 4]
        assert [event.id for event in of_both] == [4, 5]
        assert await case.store.last_event_id() == 8
        assert await case.store.events(8) == []


# --- how the database finds its answers ----------------------------------------------------------

BIG = 20_000


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """Many queued runs, the most urgent of which wait for a back-off or for others."""
    connection = prepare(tmp_path_factory.mktemp("big") / "store.db", busy_timeout_s=5)
    spec = json.dumps({"workload": {"kind": "command", "argv": ["true"]}})
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO run "
            "(account, kind, queue, priority, state, not_before, open_dependencies, "
            "submitted_at, spec) "
            "SELECT 'ada', 'command', 'default', iif(i % 10 < 2, 9, i % 3), 'queued', "
            "iif(i % 10 = 0, ?, NULL), iif(i % 10 = 1, 1, 0), i, ? FROM n",
            (BIG, 2**52, spec),
        )
    yield connection
    connection.close()


def steps_of(connection: apsw.Connection, ask: object) -> int:
    """About how many steps of SQLite's machine a question takes."""
    steps = [0]

    def count() -> bool:
        steps[0] += 1
        return False

    connection.set_progress_handler(count, 10)
    try:
        assert callable(ask)
        ask()
    finally:
        connection.set_progress_handler(None)
    return steps[0] * 10


def test_a_pick_does_not_look_at_the_whole_queue(big: apsw.Connection) -> None:
    now = ManualClock()()

    steps = steps_of(
        big, lambda: queries.candidates(big.execute, {"default": 4}, exclude={3}, now=now)
    )

    assert steps < 500


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"states": [RunState.QUEUED, RunState.RUNNING]},
        {"states": [RunState.ENDED]},
        {"outcomes": [Outcome.FAILED]},
        {"selection": parse_selection(["5,9,100-20000"])},
    ],
)
def test_a_page_does_not_look_at_every_run(
    big: apsw.Connection, wanted: dict[str, list[RunState]]
) -> None:
    steps = steps_of(big, lambda: queries.runs(big.execute, limit=10, **wanted))  # type: ignore[arg-type]

    assert steps < 2000


def test_other_questions_do_not_look_at_every_run_either(big: apsw.Connection) -> None:
    now = ManualClock()()
    asked = [
        lambda: queries.counts(big.execute),
        lambda: queries.queue_records(big.execute),
        lambda: queries.live(big.execute),
        lambda: queries.next_eligible_at(big.execute, now=now),
        lambda: queries.last_event_id(big.execute),
        lambda: queries.select(big.execute, parse_selection(["17", "last"])),
    ]

    assert max(steps_of(big, ask) for ask in asked) < 500
