"""The loop of a study, criterion by criterion (T1 to T18)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from structlog.testing import capture_logs

from intendant.protocol.trial_states import Decision, TrialOutcome, TrialState
from intendant.workloads.study import reports
from intendant.workloads.study.actions import Answer, Drop, Finish, Refuse, Save, Start
from intendant.workloads.study.hooks import Callbacks
from intendant.workloads.study.tally import Tally
from intendant.workloads.study.trials import Checkpoint, Ending, Result, Trial, Trials
from tests.unit.workloads.study.studies import (
    Decider,
    a_study,
    answered,
    ended,
    only,
    started,
)

CONTINUE, PAUSE, STOP = Decision.CONTINUE, Decision.PAUSE, Decision.STOP


# --- the loop (T1 to T6) -----------------------------------------------------------------------


def test_t1_the_study_is_over_once_all_trials_are_and_the_searcher_has_no_more() -> None:
    study = a_study(proposals=2)
    study.returns(0, loss=1.0)
    assert study.finish is None
    study.returns(1, loss=0.5)
    assert study.finish == Finish(None)
    assert study.loop.is_finished


def test_t1_what_happens_after_the_end_changes_nothing() -> None:
    study = a_study(proposals=1)
    study.returns(0, loss=1.0)
    study.returns(0, loss=0.0)
    assert study.report(0, loss=0.0) == [Answer(0, STOP)]
    study.loop.on_time()
    assert study.take() == []


def test_t1_the_time_limit_counts_by_the_wall_clock_not_by_adding_trials_up() -> None:
    study = a_study(proposals=4, at_once=4, time_limit_s=10)
    assert study.passes(9) == []
    assert sorted(ended(study.passes(1))) == [0, 1, 2, 3]


def test_t1_the_time_limit_counts_the_time_before_a_restart_too() -> None:
    study = a_study(time_limit_s=10)
    assert study.loop.next_time() == 10
    study.report(0, loss=1.0)
    study.passes(10)
    study.fails(0)
    study.fails(1)
    assert study.finish == Finish(None)
    assert study.loop.tally.best is not None
    assert study.trial(0).outcome is TrialOutcome.CANCELLED


def test_t2_after_every_event_the_next_trial_starts() -> None:
    study = a_study(proposals=4)
    assert started(study.taken) == [0, 1]
    assert started(study.returns(0, loss=1.0)) == [2]
    assert started(study.returns(1, loss=1.0)) == [3]


def test_t3_a_trial_can_be_added_at_any_time() -> None:
    study = a_study(proposals=1)
    assert study.loop.add_trial({"x": 0.25}) == 1
    assert ("add", 1) in study.scheduler.told
    assert only(Start, study.take())[0].params == {"x": 0.25}
    assert [trial.number for trial in study.loop.trials] == [0, 1]


def test_t3_added_trials_do_not_use_up_those_of_the_search() -> None:
    study = a_study(proposals=5, trials=1)
    study.loop.add_trial({"x": 0.25})
    study.take()
    study.returns(0, loss=1.0)
    study.returns(1, loss=1.0)
    assert study.finish == Finish(None)


def test_t4_trials_are_pulled_one_at_a_time_when_there_is_room() -> None:
    study = a_study(proposals=100)
    assert [told for told in study.searcher.told if told[0] == "suggest"] == [
        ("suggest", 0),
        ("suggest", 1),
    ]


def test_t4_a_searcher_that_waits_for_results_is_asked_again_after_each() -> None:
    study = a_study(proposals=[{"x": 0.1}, None, {"x": 0.2}])
    assert started(study.taken) == [0]
    assert started(study.returns(0, loss=1.0)) == [1]


def test_t4_a_searcher_that_never_proposes_is_waited_for_but_not_for_ever() -> None:
    study = a_study(proposals=[None] * 1000)
    while (wake := study.loop.next_time()) is not None:
        assert wake - study.now[0] <= 10.01
        study.passes(wake - study.now[0])
    assert 600 <= study.now[0] <= 610
    assert study.finish is not None
    assert str(study.finish.error).startswith("searcher: nothing proposed for 10m")


def test_a_searcher_that_raises_ends_the_study_once_the_running_trials_are_through() -> None:
    study = a_study(proposals=[{"x": 0.1}, ValueError("no idea"), {"x": 0.2}])
    assert study.finish is None
    study.returns(0, loss=1.0)
    assert study.finish == Finish("searcher: ValueError: no idea")
    assert study.trial(0).outcome is TrialOutcome.COMPLETED


def test_a_searcher_that_proposes_what_can_not_be_written_down_is_told_apart() -> None:
    study = a_study(proposals=[{"x": 0.1}, {"x": object()}])  # type: ignore[dict-item]  # a user's
    study.returns(0, loss=1.0)
    assert study.finish is not None
    assert str(study.finish.error).startswith("searcher: PydanticSerializationError: ")


def test_t5_no_more_trials_start_than_there_are_resources_for() -> None:
    study = a_study(
        proposals=10,
        at_once=None,
        resources={"cpu": 1, "gpu": 0.1},
        available={"gpu": 0.3},
    )
    assert started(study.taken) == [0, 1, 2]
    assert started(study.returns(1, loss=1)) == [3]


def test_t5_resources_are_taken_until_the_process_is_gone() -> None:
    study = a_study(STOP, proposals=3, at_once=1)
    assert study.report(0, loss=1.0) == [Answer(0, STOP)]
    assert started(study.returns(0)) == [1]


def test_t5_a_trial_that_could_never_start_ends_the_study_at_once() -> None:
    study = a_study(resources={"cpu": 65})
    assert study.finish is not None
    assert "not even one trial fits" in str(study.finish.error)


def test_t5_the_scheduler_chooses_who_starts() -> None:
    class LastFirst(Decider):
        def choose_trial_to_run(self, trials: Trials) -> Trial | None:
            return trials.pending()[-1] if trials.pending() else None

    study = a_study(proposals=0, begin=False, scheduler=LastFirst())
    study.loop.admit([Trial(0, {}), Trial(1, {}), Trial(2, {})], Tally({"loss": "min"}), proposed=3)
    study.loop.begin()
    assert started(study.take()) == [2, 1]


def test_t5_trials_that_nobody_chooses_end_the_study_instead_of_holding_it_up() -> None:
    class Never(Decider):
        def choose_trial_to_run(self, trials: Trials) -> Trial | None:
            return None

    study = a_study(proposals=1, scheduler=Never())
    assert study.finish == Finish("scheduler: 1 trials wait, and it chooses none")
    assert study.trial(0).outcome is TrialOutcome.CANCELLED


def test_t6_a_slow_hook_is_warned_of_by_name() -> None:
    class Slow(Decider):
        def on_trial_add(self, trials: Trials, trial: Trial) -> None:
            study.now[0] += 0.6

    study = a_study(begin=False, scheduler=Slow())
    with capture_logs() as logged:
        study.loop.begin()
    slow = [entry for entry in logged if entry["event"] == "hook_slow"]
    assert slow[0]["hook"].endswith("Slow.on_trial_add")
    assert slow[0]["took_s"] == pytest.approx(0.6)


# --- results (T7 to T12) -----------------------------------------------------------------------


def test_t7_time_adds_up_over_the_starts_of_a_trial() -> None:
    study = a_study(max_failures=1)
    study.passes(3)
    study.fails(0)
    study.passes(4)
    study.report(0, loss=1.0)
    last = study.trial(0).last
    assert last is not None
    assert last.running_s == 7


def test_t7_metrics_are_flattened_for_stop_conditions() -> None:
    study = a_study(stop=["valid/accuracy >= 0.9"])
    assert study.report(0, loss=1.0, valid={"accuracy": 0.8}) == [Answer(0, CONTINUE)]
    assert study.report(0, loss=1.0, valid={"accuracy": 0.9}) == [Answer(0, STOP)]
    study.returns(0)
    assert study.trial(0).outcome is TrialOutcome.COMPLETED
    assert study.trial(0).reason == "stop: valid/accuracy >= 0.9"


def test_t7_a_stop_condition_completes_the_trial_for_scheduler_and_searcher() -> None:
    study = a_study(stop=["step >= 3"])
    study.report(0, 3, loss=1.0)
    assert study.scheduler.told[-1] == ("complete", 0)
    assert ("result", 0, 3) not in study.scheduler.told
    assert study.searcher.told[-1] == ("complete", 0, False)


def test_t7_what_comes_after_a_stop_is_kept_but_decides_nothing() -> None:
    study = a_study(stop=["step >= 3"])
    study.report(0, 3, loss=1.0)
    told = len(study.scheduler.told)
    assert study.report(0, 4, loss=0.5) == [Answer(0, STOP)]
    assert len(study.scheduler.told) == told
    study.returns(0)
    assert study.scheduler.told[told:].count(("complete", 0)) == 0


def test_a_condition_of_the_study_ends_it_and_completes_the_trial_that_met_it() -> None:
    study = a_study(stop_study=["loss <= 0.1"])
    actions = study.report(0, loss=0.1)
    assert answered(actions) == [(0, STOP)]
    assert ended(actions) == [1]
    study.returns(0)
    study.fails(1)
    assert study.finish == Finish(None)
    outcomes = [study.trial(number).outcome for number in (0, 1)]
    assert outcomes == [TrialOutcome.COMPLETED, TrialOutcome.CANCELLED]


def test_t8_the_scheduler_decides_before_the_searcher_hears() -> None:
    study = a_study(CONTINUE, STOP)
    assert study.report(0, loss=1.0) == [Answer(0, CONTINUE)]
    assert study.scheduler.told[-1] == ("result", 0, 1)
    assert study.searcher.told[-1] == ("result", 0, 1)
    assert study.report(0, loss=1.0) == [Answer(0, STOP)]
    assert study.searcher.told[-2:] == [("result", 0, 2), ("complete", 0, False)]
    study.returns(0)
    assert study.trial(0).outcome is TrialOutcome.PRUNED


def test_t8_a_decision_that_does_not_exist_fails_the_trial_and_names_it() -> None:
    study = a_study("MAYBE")
    actions = study.report(0, loss=1.0)
    assert ended(actions) == [0]
    study.fails(0, "signal: SIGTERM")
    assert study.trial(0).outcome is TrialOutcome.FAILED
    assert "decided 'MAYBE', expected continue, pause, stop" in str(study.trial(0).reason)


def test_t9_the_last_result_counts_when_the_objective_returns_nothing() -> None:
    study = a_study()
    study.report(0, loss=0.5)
    study.changes.clear()
    study.returns(0)
    assert study.trial(0).outcome is TrialOutcome.COMPLETED
    assert [result for changes in study.changes for result in changes.results] == []


def test_t9_a_returned_result_that_was_reported_already_is_not_stored_twice() -> None:
    study = a_study()
    study.report(0, loss=0.5)
    study.changes.clear()
    study.returns(0, loss=0.5)
    assert [result for changes in study.changes for result in changes.results] == []
    assert study.trial(0).results == 1


def test_t9_another_one_is_the_last_result() -> None:
    study = a_study()
    study.report(0, loss=0.5)
    study.returns(0, loss=0.25)
    last = study.trial(0).last
    assert last is not None
    assert (last.step, last.metrics) == (2, {"loss": 0.25})


@pytest.mark.parametrize("decision", [STOP, PAUSE, CONTINUE])
def test_t10_a_checkpoint_is_saved_whatever_was_decided(decision: Decision) -> None:
    study = a_study(decision, pause="disk")
    actions = study.report(0, loss=1.0, checkpoint="/there")
    assert [save.source for save in only(Save, actions)] == ["/there"]
    assert answered(actions) == []
    assert answered(study.save(actions)) == [(0, decision)]


def test_t10_a_pause_in_memory_saves_nothing_and_keeps_the_process() -> None:
    study = a_study(PAUSE, CONTINUE, at_once=1, proposals=1)
    assert study.report(0, loss=1.0) == [Answer(0, CONTINUE)]
    # Nothing else is there to run, so it goes on at once.
    assert study.trial(0).starts == 1


def test_t10_a_paused_trial_gives_its_resources_back_and_goes_on_later() -> None:
    study = a_study(PAUSE, proposals=2, at_once=1)
    assert started(study.report(0, loss=1.0)) == [1]
    assert study.trial(0).state is TrialState.PAUSED
    assert study.returns(1, loss=1.0) == [Answer(0, CONTINUE)]
    assert study.trial(0).state is TrialState.RUNNING


def test_t10_a_pause_to_disk_ends_the_process_and_starts_another_from_the_checkpoint() -> None:
    study = a_study(PAUSE, proposals=2, at_once=1, pause="disk")
    study.save(study.report(0, loss=1.0, checkpoint="/one"))
    assert started(study.returns(0)) == [1]
    [start] = only(Start, study.returns(1, loss=1.0))
    assert (start.number, start.start, start.step) == (0, 2, 1)
    assert start.checkpoint is not None
    assert start.checkpoint.path == "/one"


def test_t10_a_trial_without_a_checkpoint_is_paused_in_memory_whatever_was_asked() -> None:
    study = a_study(PAUSE, proposals=2, at_once=1, pause="disk")
    assert started(study.report(0, loss=1.0)) == [1]
    assert study.returns(1, loss=1.0) == [Answer(0, CONTINUE)]


def test_t11_a_decision_waits_for_the_save_in_flight() -> None:
    study = a_study(STOP)
    actions = study.report(0, loss=1.0, checkpoint="/one")
    assert answered(actions) == []
    assert answered(study.save(actions)) == [(0, STOP)]


def test_t11_stop_overwrites_a_waiting_continue_and_never_the_reverse() -> None:
    study = a_study(CONTINUE)
    actions = study.report(0, loss=1.0, checkpoint="/one")
    study.loop.stop_trial(0, "by hand")
    assert ended(study.take()) == [0]
    assert answered(study.save(actions)) == [(0, STOP)]


def test_t11_a_trial_that_goes_on_after_pause_is_told_again_and_paused_in_the_end() -> None:
    study = a_study(PAUSE, proposals=1, pause="disk")
    assert answered(study.save(study.report(0, loss=1.0, checkpoint="/one"))) == [(0, PAUSE)]
    assert answered(study.report(0, loss=0.5)) == [(0, PAUSE)]
    [start] = only(Start, study.returns(0, loss=0.1))
    assert (start.start, start.step) == (2, 1)


def test_t11_a_waiting_stop_stays_one() -> None:
    study = a_study(STOP)
    actions = study.report(0, loss=1.0, checkpoint="/one")
    study.loop.stop_trial(0, "by hand")
    assert answered(study.save(actions)) == [(0, STOP)]
    study.returns(0)
    assert study.trial(0).outcome is TrialOutcome.PRUNED


@pytest.mark.parametrize("decision", [STOP, CONTINUE])
def test_t11_the_decision_holds_when_the_save_fails(decision: Decision) -> None:
    study = a_study(decision)
    study.report(0, loss=1.0, checkpoint="/vanished")
    study.loop.on_save_failed(0, "no such folder")
    assert answered(study.take()) == [(0, decision)]


def test_t11_a_trial_that_ends_during_a_save_waits_for_it() -> None:
    study = a_study(CONTINUE, proposals=1)
    actions = study.report(0, loss=1.0, checkpoint="/one")
    assert study.returns(0) == []
    study.save(actions)
    assert study.trial(0).outcome is TrialOutcome.COMPLETED
    assert study.loop.tally.best is not None
    assert study.loop.tally.best.checkpoint == "/one"


def test_t12_trouble_in_dealing_with_one_trial_fails_that_trial_only() -> None:
    study = a_study(RuntimeError("oops"))
    assert ended(study.report(0, loss=1.0)) == [0]
    study.fails(0, "signal: SIGKILL")
    assert study.trial(0).outcome is TrialOutcome.FAILED
    assert study.trial(0).reason == "processing: RuntimeError: oops"
    study.returns(1, loss=0.5)
    study.returns(2, loss=0.7)
    assert study.finish == Finish(None)


def test_t12_callbacks_that_raise_change_nothing() -> None:
    class Broken(Callbacks):
        def on_trial_result(self, trial: Trial, result: Result) -> None:
            raise RuntimeError("oops")

    study = a_study(callbacks=[Broken()])
    assert study.report(0, loss=1.0) == [Answer(0, CONTINUE)]


def test_callbacks_hear_of_starts_results_checkpoints_and_ends_in_their_order() -> None:
    class Diary(Callbacks):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def on_trial_start(self, trial: Trial) -> None:
            self.lines.append(f"start {trial.number}")

        def on_trial_result(self, trial: Trial, result: Result) -> None:
            self.lines.append(f"result {trial.number} {result.metrics['loss']}")

        def on_checkpoint(self, trial: Trial, checkpoint: Checkpoint) -> None:
            self.lines.append(f"checkpoint {trial.number} {checkpoint.path}")

        def on_trial_complete(self, trial: Trial) -> None:
            self.lines.append(f"complete {trial.number}")

        def on_trial_error(self, trial: Trial) -> None:
            self.lines.append(f"error {trial.number} {trial.reason}")

        def on_study_end(self) -> None:
            self.lines.append("end")

    diary = Diary()
    study = a_study(proposals=2, at_once=1, callbacks=[diary])
    study.save(study.report(0, loss=1.0, checkpoint="/one"))
    study.returns(0)
    study.fails(1)
    assert diary.lines == [
        "start 0", "result 0 1.0", "checkpoint 0 /one", "complete 0",
        "start 1", "error 1 exit_code: 1", "end",
    ]  # fmt: skip


# --- failures (T13 to T18) ---------------------------------------------------------------------


def test_t13_a_trial_that_failed_is_done_with_before_what_it_still_had_to_say() -> None:
    study = a_study(proposals=1)
    study.fails(0, "signal: SIGSEGV (pid 4711)")
    assert study.report(0, loss=0.1) == [Answer(0, STOP)]
    assert study.trial(0).reason == "signal: SIGSEGV (pid 4711)"
    assert study.trial(0).last is None


def test_t14_a_failed_trial_starts_again_at_once_from_its_last_checkpoint() -> None:
    study = a_study(max_failures=1)
    study.save(study.report(0, 5, loss=1.0, checkpoint="/five"))
    study.report(0, 6, loss=0.9)
    [start] = only(Start, study.fails(0))
    assert start.number == 0
    assert start.checkpoint is not None
    assert (start.checkpoint.path, start.step) == ("/five", 5)
    assert study.changes[-1].rewound == [(0, 1)]
    assert study.report(0, 6, loss=0.8) == [Answer(0, CONTINUE)]
    assert [told for told in study.scheduler.told if told == ("error", 0)] == []
    assert [told for told in study.searcher.told if told[0] == "complete"] == []


def test_t14_without_room_it_goes_to_the_end_of_the_line_and_the_scheduler_hears() -> None:
    study = a_study(proposals=2, at_once=1, max_failures=1)
    study.loop.add_trial({"x": 0.5})
    study.take()
    resources = study.loop._study.resources
    resources._at_once = 0  # the room has gone meanwhile
    assert study.fails(0) == []
    assert study.scheduler.told[-2:] == [("error", 0), ("add", 0)]
    assert [trial.number for trial in study.loop.trials.pending()] == [1, 0]
    assert ("complete", 0, True) not in study.searcher.told


def test_t14_a_trial_that_fails_while_it_restores_is_tried_without_its_checkpoint() -> None:
    study = a_study(max_failures=2)
    study.save(study.report(0, 5, loss=1.0, checkpoint="/broken"))
    assert only(Start, study.fails(0))[0].checkpoint is not None
    [start] = only(Start, study.fails(0))
    assert (start.checkpoint, start.step) == (None, 0)
    assert study.report(0, 1, loss=1.0) == [Answer(0, CONTINUE)]


def test_t14_so_often_and_no_oftener() -> None:
    study = a_study(proposals=1, max_failures=2)
    for _ in range(3):
        study.fails(0)
    assert study.trial(0).outcome is TrialOutcome.FAILED
    assert study.trial(0).failures == 3


def test_t15_a_trial_that_fails_for_good_is_told_to_scheduler_and_searcher() -> None:
    study = a_study()
    study.fails(0, "exit_code: 3")
    assert ("error", 0) in study.scheduler.told
    assert ("complete", 0, True) in study.searcher.told
    assert (study.trial(0).outcome, study.trial(0).reason) == (TrialOutcome.FAILED, "exit_code: 3")


def test_t16_fail_fast_cancels_the_others_and_does_not_call_them_done() -> None:
    study = a_study(proposals=5, fail_fast=True)
    study.loop.add_trial({"x": 0.5})
    study.take()
    assert ended(study.fails(0, "exit_code: 3")) == [1]
    study.fails(1, "signal: SIGTERM")
    assert [study.trial(number).outcome for number in (0, 1, 2)] == [
        TrialOutcome.FAILED,
        TrialOutcome.CANCELLED,
        TrialOutcome.CANCELLED,
    ]
    assert study.searcher.was_finished
    assert study.finish == Finish("fail_fast: trial 0: exit_code: 3")


def test_t17_stopping_a_trial_that_has_ended_does_nothing() -> None:
    study = a_study()
    study.returns(0, loss=1.0)
    assert not study.loop.stop_trial(0, "by hand")
    assert not study.loop.stop_trial(99, "by hand")


def test_t17_a_waiting_trial_is_removed() -> None:
    study = a_study(proposals=1, at_once=1)
    study.loop.add_trial({"x": 0.5})
    study.take()
    assert study.loop.stop_trial(1, "by hand")
    assert study.take() == []
    assert study.scheduler.told[-1] == ("remove", 1)
    assert study.searcher.told[-1] == ("complete", 1, False)


def test_t17_a_running_trial_is_stopped_with_its_last_result() -> None:
    study = a_study()
    study.report(0, loss=0.5)
    study.loop.stop_trial(0, "by hand")
    assert ended(study.take()) == [0]
    study.report(0, loss=0.4)
    study.fails(0, "signal: SIGTERM")
    trial = study.trial(0)
    assert (trial.outcome, trial.reason) == (TrialOutcome.STOPPED, "by hand")
    assert trial.last is not None
    assert trial.last.metrics == {"loss": 0.4}
    assert ("complete", 0) in study.scheduler.told


def test_t17_a_stop_that_a_hook_fails_on_is_a_failure_of_the_trial() -> None:
    class Broken(Decider):
        def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:
            raise RuntimeError("oops")

    study = a_study(scheduler=Broken())
    study.loop.stop_trial(0, "by hand")
    study.fails(0, "signal: SIGTERM")
    assert study.trial(0).outcome is TrialOutcome.FAILED


def test_a_trial_that_is_added_while_the_study_closes_is_cancelled() -> None:
    study = a_study(proposals=1)
    study.loop.stop_study("by hand")
    study.loop.add_trial({"x": 0.5})
    study.loop.on_ended(0, Ending(error="signal"))
    assert study.loop.is_finished


def test_t17_a_trial_held_in_memory_is_ended() -> None:
    study = a_study(PAUSE, proposals=2, at_once=1)
    study.report(0, loss=1.0)
    study.loop.stop_trial(0, "by hand")
    assert ended(study.take()) == [0]
    study.fails(0, "signal: SIGTERM")
    assert study.trial(0).outcome is TrialOutcome.STOPPED
    study.returns(1, loss=1.0)
    assert study.finish == Finish(None)


def test_t18_the_study_can_be_stopped_and_has_what_it_has() -> None:
    study = a_study(proposals=9)
    study.returns(0, loss=1.0)
    study.loop.stop_study("by hand")
    assert sorted(ended(study.take())) == [1, 2]
    study.fails(1)
    study.fails(2)
    assert study.finish == Finish(None)


# --- what trials do wrong ----------------------------------------------------------------------


def test_a_step_that_comes_too_late_is_refused_and_nothing_kept() -> None:
    study = a_study()
    study.report(0, 5, loss=1.0)
    [refusal] = study.report(0, 5, loss=0.5)
    assert refusal == Refuse(0, "step 5 comes after step 5, expected a later one")
    assert study.trial(0).results == 1


def test_reports_come_to_an_end_and_the_trial_hears_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_REPORTS", 3)
    study = a_study(proposals=1)
    for _ in range(3):
        assert study.report(0, loss=1.0) == [Answer(0, CONTINUE)]
    [refusal] = study.report(0, loss=0.5)
    assert refusal == Refuse(0, "the trial has reported 3 times, expected no more")


def test_a_report_without_the_metric_is_kept_and_the_scheduler_not_asked() -> None:
    study = a_study(STOP)
    assert study.report(0, time=1.0) == [Answer(0, CONTINUE)]
    assert study.report(0, loss=1.0) == [Answer(0, STOP)]


def test_a_trial_without_the_metric_has_failed_and_hears_which_were_found() -> None:
    study = a_study()
    study.returns(0, accuracy=0.5, time=3)
    assert study.trial(0).reason == (
        "metric_missing: expected the number 'loss', found accuracy, time"
    )


def test_a_trial_that_says_nothing_has_failed() -> None:
    study = a_study()
    study.returns(0)
    assert str(study.trial(0).reason).startswith("no_result: ")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_at_the_end_is_a_failure(value: float) -> None:
    study = a_study()
    study.returns(0, loss=value)
    assert study.trial(0).outcome is TrialOutcome.FAILED
    assert str(study.trial(0).reason).startswith("metric_not_finite: loss is ")


@pytest.mark.parametrize(
    ("metrics", "complaint"),
    [
        ({"loss": object()}, "loss is object, expected a number or a text"),
        ({"loss": 1.0, "note": "\ud800"}, r"found '\ud800', which is half a character: no text"),
        ({"loss": 1.0, "\udfff": 1}, r"found '\udfff', which is half a character: no text"),
        ({str(at): at for at in range(1001)}, "found 1001 metrics, expected at most 1000"),
    ],
)
def test_what_is_no_metric_is_refused(metrics: dict[str, Any], complaint: str) -> None:
    study = a_study()
    assert study.report(0, **metrics) == [Refuse(0, complaint)]
    assert study.changes[-1].results == []


def test_a_step_that_no_column_holds_is_refused() -> None:
    study = a_study()
    assert study.report(0, 2**63 - 1, loss=1.0) == [Answer(0, CONTINUE)]
    refusal = Refuse(0, f"found step {2**63}, expected 0 to {2**63 - 1}")
    assert study.report(0, 2**63, loss=1.0) == [refusal]
    assert study.report(0, loss=1.0) == [refusal]


def test_a_whole_number_beyond_every_float_is_infinite() -> None:
    study = a_study()
    assert study.report(0, loss=-(10**400)) == [Answer(0, CONTINUE)]
    study.returns(0, loss=10**400)
    assert study.trial(0).reason == "metric_not_finite: loss is inf"


def test_a_trial_over_its_time_has_failed() -> None:
    study = a_study(trial_timeout_s=5)
    assert study.loop.next_time() == 5
    assert sorted(ended(study.passes(5))) == [0, 1]
    study.fails(0, "signal: SIGTERM")
    assert (study.trial(0).outcome, study.trial(0).reason) == (
        TrialOutcome.FAILED,
        "time_limit: 5.00s",
    )


def test_a_study_in_which_every_trial_failed_has_failed() -> None:
    study = a_study(proposals=2)
    study.fails(0)
    study.fails(1)
    assert study.finish == Finish("no_result: of 2 trials 2 failed, and none has a result")


def test_the_best_is_the_best_of_the_complete_ones() -> None:
    study = a_study(CONTINUE, STOP, proposals=3, mode="max", at_once=3)
    study.report(0, loss=0.5)
    study.report(1, loss=0.9)
    study.returns(1)
    assert study.loop.tally.best is not None
    assert study.loop.tally.best.number == 1
    study.returns(0)
    study.returns(2, loss=0.4)
    assert study.loop.tally.best.number == 0


def test_old_checkpoints_are_dropped_but_for_the_best_and_the_last() -> None:
    study = a_study(checkpoints={"keep": 2, "by": "loss", "mode": "min"})
    dropped = []
    for step, loss in enumerate([0.5, 0.1, 0.7, 0.6], start=1):
        actions = study.save(study.report(0, step, loss=loss, checkpoint=f"/{step}"))
        dropped += [drop.checkpoint.path for drop in only(Drop, actions)]
    assert dropped == ["/1", "/3"]


def test_an_ending_is_heard_once() -> None:
    study = a_study(proposals=1)
    study.loop.on_ended(0, Ending(metrics={"loss": 1.0}))
    study.loop.on_ended(0, Ending(error="again"))
    study.take()
    assert study.trial(0).outcome is TrialOutcome.COMPLETED


def test_a_trial_without_a_result_says_why_its_reports_were_none() -> None:
    study = a_study(proposals=1)
    study.loop.on_unreadable(0, "the report has 1200001 bytes, expected at most 1048576")
    assert only(Refuse, study.take()) == [
        Refuse(0, "the report has 1200001 bytes, expected at most 1048576")
    ]
    study.returns(0)
    assert (study.trial(0).reason or "").endswith("'loss'; of a report: the report has 1200001 "
                                                  "bytes, expected at most 1048576")  # fmt: skip


def test_with_several_metrics_a_trial_must_say_all_of_them() -> None:
    study = a_study(proposals=3, at_once=3, further_metrics={"size": "max"})
    study.report(0, loss=1.0, size=5)
    study.returns(0)
    study.report(1, loss=0.5)
    study.returns(1)
    study.returns(2, loss=0.5, size=math.inf)
    assert study.trial(1).reason == "metric_missing: expected the number 'size', found loss"
    assert study.trial(2).reason == "metric_not_finite: size is inf"
    assert [best.values for best in study.loop.tally.front] == [(1.0, 5.0)]
    assert study.finish == Finish(None)
