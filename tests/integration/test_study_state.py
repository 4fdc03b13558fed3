"""A study's state on disk: going on from it, copies of it elsewhere (T19 to T22)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import optuna
import pytest

from intendant.errors import InvalidRequest, StoreError
from intendant.protocol.trial_states import Decision, TrialOutcome, TrialState
from intendant.store.trials import (
    TRIALS_FILE,
    StudyRow,
    TrialStore,
    read_trial_page,
    read_trials,
)
from intendant.workloads.study.exporting import _storage, export
from intendant.workloads.study.keeping import (
    AS_WITHIN_A_RUN,
    LEFT_OUT,
    Past,
    Policy,
    settle,
    write,
)
from intendant.workloads.study.saving import save
from intendant.workloads.study.snapshots import LATEST, Place, Snapshots, fetch
from tests.unit.workloads.study.studies import Desk, a_study, answered, make_spec, only, started

STUDY = StudyRow("fingerprint", "loss", "min", seed=7)


def keep(study: Desk, store: TrialStore) -> None:
    """Write down everything that the desk has seen so far, once."""
    for changes in study.changes:
        write(store, study.loop, changes, [])
    study.changes.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "17"
    home.mkdir()
    return home


def some_trials(folder: Path) -> None:
    """0 is complete, 1 has failed, 2 was cancelled, 3 ran with a checkpoint, 4 waited."""
    with TrialStore(folder / TRIALS_FILE) as store:
        store.begin(STUDY)
        study = a_study(proposals=4, at_once=4, max_failures=0)
        study.report(0, loss=0.5)
        study.returns(0)
        study.fails(1, "exit_code: 3")
        study.loop.trials.get(2)
        (folder / "trials/3/checkpoints").mkdir(parents=True)
        (folder / "trials/3/checkpoints/1").mkdir()
        (folder / "trials/3/checkpoints/1/model").write_text("weights")
        actions = study.report(3, 5, loss=0.25, checkpoint="trials/3/checkpoints/1")
        study.save(actions)
        study.report(3, 6, loss=0.2)
        study.loop.add_trial({"x": 0.75})
        study.take()
        keep(study, store)


def test_t20_a_study_goes_on_with_its_searchers_and_schedulers_state(folder: Path) -> None:
    some_trials(folder)
    with TrialStore(folder / TRIALS_FILE) as store:
        row = store.study()
    assert row is not None
    assert row.searcher == b"searcher"
    assert row.proposed == 4


def test_a_reason_that_is_half_a_character_is_written_down_all_the_same(folder: Path) -> None:
    with TrialStore(folder / TRIALS_FILE) as store:
        store.begin(STUDY)
        study = a_study(RuntimeError("oops \udc80"))
        study.report(0, loss=1.0)
        study.fails(0)
        keep(study, store)
    assert read_trials(folder / TRIALS_FILE)[0].reason == "processing: RuntimeError: oops \\udc80"


@pytest.mark.parametrize("source", [".", "trials/3"])
def test_a_checkpoint_of_a_folder_that_holds_its_own_copies_leaves_them_out(
    folder: Path, source: str
) -> None:
    copies = folder / "trials/3/checkpoints"
    (folder / "trials/3").mkdir(parents=True)
    (folder / "trials/3/model").write_text("weights")
    for seq in (1, 2):
        save(folder / source, copies / str(seq))
        kept = copies / str(seq) / Path("trials/3").relative_to(source)
        assert [path.name for path in kept.iterdir()] == ["model"]


def test_a_hook_that_can_not_save_its_state_does_not_end_the_study(folder: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no state")

    some_trials(folder)
    with TrialStore(folder / TRIALS_FILE) as store:
        study = a_study(proposals=1)
        study.loop.searcher.save = fail  # type: ignore[method-assign]  # a custom one may do so
        keep(study, store)
        row = store.study()
    assert row is not None
    assert row.searcher == b"searcher"


def go_on(folder: Path) -> Desk:
    """The study that goes on from the folder, begun."""
    study = a_study(proposals=0, at_once=9, begin=False)
    with TrialStore(folder / TRIALS_FILE) as store:
        past = Past(store, study.loop.spec, AS_WITHIN_A_RUN)
        study.loop.admit(past.unfinished(), past.tally(), proposed=4)
        study.loop.begin()
        study.take()
        keep(study, store)
    return study


def test_t21_unfinished_trials_go_on_the_one_changed_last_first(folder: Path) -> None:
    some_trials(folder)
    study = go_on(folder)
    assert started(study.taken)[:2] == [4, 3]
    assert set(started(study.taken)) == {2, 3, 4}
    assert study.loop.tally.next_number == 5
    assert study.loop.tally.outcomes == {TrialOutcome.COMPLETED: 1, TrialOutcome.FAILED: 1}
    assert study.loop.tally.best is not None
    assert study.loop.tally.best.values == (0.5,)


def test_t21_a_trial_goes_on_from_its_checkpoint_and_what_came_after_is_forgotten(
    folder: Path,
) -> None:
    some_trials(folder)
    study = go_on(folder)
    [start] = [start for start in study.taken if getattr(start, "number", None) == 3]
    assert (start.checkpoint.path, start.step) == ("trials/3/checkpoints/1", 5)  # type: ignore[union-attr]
    with TrialStore(folder / TRIALS_FILE) as store:
        assert store.values_of(3) == {5: 0.25}
    assert answered(study.report(3, 6, loss=0.2)) == [(3, Decision.CONTINUE)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), {2: 0, 3: 5, 4: 0}),
        (Policy(unfinished="restart"), {2: 0, 3: 0, 4: 0}),
        (Policy(unfinished="skip", errored="resume"), {1: 0}),
        (Policy(unfinished="skip", finished="restart"), {0: 0}),
    ],
)
def test_t22_what_happens_to_finished_unfinished_and_errored_trials(
    folder: Path, policy: Policy, expected: dict[int, int]
) -> None:
    some_trials(folder)
    other = folder.with_name("18")
    other.mkdir()
    fetch(str(folder), other, fingerprint="fingerprint", policy=policy)
    again = shutil.copytree(other, folder.with_name("19"))  # killed before it wrote anything
    fetch_again = folder.with_name("20")
    fetch_again.mkdir()
    fetch(str(again), fetch_again, fingerprint="fingerprint")  # by another run
    from intendant.workloads.study.actions import Start

    for place in (other, again, fetch_again):
        study = go_on(place)
        assert {start.number: start.step for start in only(Start, study.taken)} == expected


def test_t22_a_trial_that_is_left_out_has_ended(folder: Path) -> None:
    some_trials(folder)
    with TrialStore(folder / TRIALS_FILE) as store:
        settle(store, Policy(unfinished="skip", errored="resume"))
    trials = read_trials(folder / TRIALS_FILE)
    assert [trial.outcome for trial in trials] == [
        TrialOutcome.COMPLETED, None, *[TrialOutcome.STOPPED] * 3
    ]  # fmt: skip
    assert [trial.state for trial in trials if trial.finished_at is None] == [TrialState.PENDING]
    assert trials[3].reason == LEFT_OUT


def test_t16_cancelled_trials_go_on_and_stopped_ones_do_not(folder: Path) -> None:
    with TrialStore(folder / TRIALS_FILE) as store:
        store.begin(STUDY)
        study = a_study(proposals=2)
        study.loop.stop_trial(0, "by hand")
        study.take()
        study.fails(0)
        study.loop.stop_study("the run was asked to end")
        study.take()
        study.fails(1)
        keep(study, store)
    assert [trial.outcome for trial in read_trials(folder / TRIALS_FILE)][:2] == [
        TrialOutcome.STOPPED,
        TrialOutcome.CANCELLED,
    ]
    assert started(go_on(folder).taken) == [1]


def test_trials_are_listed_page_by_page_by_number_or_the_best_first(folder: Path) -> None:
    some_trials(folder)
    path = folder / TRIALS_FILE
    assert [trial.number for trial in read_trial_page(path, offset=1, limit=2).trials] == [1, 2]
    best = read_trial_page(path, best_of="min")
    assert [trial.number for trial in best.trials][:2] == [3, 0]
    assert (
        best.counts == {"completed": 1, "failed": 1, "pending": 0, "running": 3} or best.total == 5
    )
    assert read_trial_page(folder / "nowhere.db").total == 0


async def snapshot(folder: Path, place: Path) -> None:
    await Snapshots(Place(str(place)), folder, period_s=0).make()


async def test_t19_a_snapshot_brings_a_study_to_another_place(folder: Path, tmp_path: Path) -> None:
    some_trials(folder)
    await snapshot(folder, tmp_path / "there")
    shutil.rmtree(folder)
    other = tmp_path / "18"
    other.mkdir()
    fetch(str(tmp_path / "there"), other, fingerprint="fingerprint")
    assert started(go_on(other).taken)[:2] == [4, 3]
    assert (other / "trials/3/checkpoints/1/model").read_text() == "weights"


async def test_t19_what_a_try_that_was_cut_short_has_fetched_is_fetched_anew(
    folder: Path, tmp_path: Path
) -> None:
    some_trials(folder)
    await snapshot(folder, tmp_path / "there")
    other = tmp_path / "18"
    half = other / "trials/3/checkpoints/1"
    half.mkdir(parents=True)
    (half / "model").write_text("wei")
    (half / "other").touch()
    (other / ".resumed.db-wal").write_text("of another database")
    fetch(str(tmp_path / "there"), other, fingerprint="fingerprint")
    assert [(path.name, path.read_text()) for path in half.iterdir()] == [("model", "weights")]
    assert len(read_trials(other / TRIALS_FILE)) == 5


async def test_t19_only_the_latest_snapshot_is_kept(folder: Path, tmp_path: Path) -> None:
    some_trials(folder)
    snapshots = Snapshots(Place(str(tmp_path / "there")), folder, period_s=0)
    for _ in range(3):
        await snapshots.make()
    assert len(list((tmp_path / "there/state").iterdir())) == 1
    assert len(list((tmp_path / "there/checkpoints").iterdir())) == 1


async def test_t19_snapshots_are_made_at_most_once_in_a_period(
    folder: Path, tmp_path: Path
) -> None:
    some_trials(folder)
    there = tmp_path / "there"
    snapshots = Snapshots(Place(str(there)), folder, period_s=3600)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(snapshots.keep())
        snapshots.on_written()
        while not (there / LATEST).exists():
            await asyncio.sleep(0.01)
        first = (there / LATEST).read_bytes()
        snapshots.on_written()
        await asyncio.sleep(0)
        keeping.cancel()
    assert (there / LATEST).read_bytes() == first
    await snapshots.make()  # as in the end, whatever the period
    assert (there / LATEST).read_bytes() != first


async def test_t19_a_snapshot_in_any_storage_that_fsspec_knows(folder: Path) -> None:
    some_trials(folder)
    place = Place("memory://studies/one")
    await Snapshots(place, folder, period_s=0).make()
    other = folder.parent / "18"
    other.mkdir()
    fetch("memory://studies/one", other, fingerprint="fingerprint")
    assert (other / "trials/3/checkpoints/1/model").read_text() == "weights"


async def test_t19_a_snapshot_that_fails_is_no_trouble_and_the_one_before_counts(
    folder: Path, tmp_path: Path
) -> None:
    some_trials(folder)
    there = tmp_path / "there"
    await snapshot(folder, there)
    before = (there / LATEST).read_bytes()
    (there / "state").chmod(0o500)
    shutil.move(there / "state", there / "elsewhere")
    (there / "state").write_text("in the way")
    await snapshot(folder, there)
    assert (there / LATEST).read_bytes() == before


@pytest.mark.parametrize("content", [None, b"no json", b"{}", b'{"state": "state/gone.db"}'])
def test_t21_what_can_not_be_resumed_is_an_error_and_never_a_fresh_start(
    folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    if content is not None:
        (there / LATEST).write_bytes(content)
    with pytest.raises(StoreError, match="resume: "):
        fetch(str(there), folder, fingerprint="fingerprint")
    assert not (folder / TRIALS_FILE).exists()


def test_t21_another_search_is_not_resumed(folder: Path, tmp_path: Path) -> None:
    some_trials(folder)
    other = tmp_path / "18"
    other.mkdir()
    with pytest.raises(StoreError, match="searches something else"):
        fetch(str(folder), other, fingerprint="another")


def test_t21_the_folder_of_another_run_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    some_trials(folder)
    other = tmp_path / "18"
    other.mkdir()
    fetch(str(folder), other, fingerprint="fingerprint")
    assert (other / "trials/3/checkpoints/1/model").read_text() == "weights"
    states = {trial.number: trial.state for trial in read_trials(other / TRIALS_FILE)}
    assert states[3] is TrialState.RUNNING


@pytest.mark.parametrize("storage", ["sqlite:///{}/o.db", "{}/o.journal"])
def test_a_study_can_be_opened_by_optuna(folder: Path, tmp_path: Path, storage: str) -> None:
    some_trials(folder)
    place = storage.format(tmp_path)
    assert export(folder, make_spec(), storage=place, name="ours") == 5
    study = optuna.load_study(study_name="ours", storage=_storage(place))
    assert [trial.state.name for trial in study.trials] == [
        "COMPLETE", "FAIL", "RUNNING", "RUNNING", "RUNNING",
    ]  # fmt: skip
    assert study.best_value == 0.5
    assert study.trials[3].intermediate_values == {5: 0.25, 6: 0.2}
    with pytest.raises(InvalidRequest, match="has a study 'ours' already"):
        export(folder, make_spec(), storage=place, name="ours")


def test_several_metrics_are_listed_resumed_and_exported(folder: Path, tmp_path: Path) -> None:
    further = {"size": "max", "text": "min"}
    with TrialStore(folder / TRIALS_FILE) as store:
        store.begin(STUDY)
        study = a_study(proposals=5, at_once=5, further_metrics=further)
        study.report(0, loss=0.5, size=1)
        study.returns(0, loss=0.25, size=2.5, text=1)
        study.returns(1, loss=0.75, size=1, text=1)
        study.report(2, loss=0.5, size=3, text="x")
        study.report(4, loss=0.5, size=True, text=10**400)
        study.take()
        keep(study, store)
        past = Past(store, study.loop.spec, AS_WITHIN_A_RUN)
        assert [best.number for best in past.tally().front] == [0]
        assert [each.further for each in past.histories()] == [
            (2.5, 1.0),
            (1.0, 1.0),
            None,
            (),
            None,
        ]
    shown = read_trial_page(folder / TRIALS_FILE, further=list(further)).trials
    assert [each.further for each in shown] == [
        {"size": 2.5, "text": 1}, {"size": 1, "text": 1}, {"size": 3}, {}, {},
    ]  # fmt: skip
    place = str(tmp_path / "o.journal")
    export(folder, study.loop.spec, storage=place, name="ours")
    theirs = optuna.load_study(study_name="ours", storage=_storage(place))
    assert [direction.name for direction in theirs.directions] == [
        "MINIMIZE", "MAXIMIZE", "MINIMIZE",
    ]  # fmt: skip
    assert [trial.values for trial in theirs.best_trials] == [[0.25, 2.5, 1.0]]
