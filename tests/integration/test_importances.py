"""What parameters are said to be worth, beside what Optuna says of them."""

from __future__ import annotations

import optuna

from intendant.cli.pages.importances import importances


def test_importances_agree_with_optuna_about_the_order() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    study.optimize(
        lambda each: 9 * each.suggest_float("a", -1, 1) + 4 * each.suggest_float("b", -1, 1)
        + each.suggest_float("c", -1, 1), n_trials=150,
    )  # fmt: skip
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    ours = importances(
        [each.params for each in study.trials], [each.values[0] for each in study.trials]
    )
    assert list(ours) == list(theirs) == ["a", "b", "c"]
