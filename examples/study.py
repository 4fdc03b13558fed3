"""Tuning a neural network that reads handwritten digits; `study.toml` does it in two other ways.

    python examples/study.py

The objective trains one epoch after another and reports after each, so that a scheduler can stop it
early; it saves what it has learnt, so that it can go on later or as a variant of a better one.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from intendant import Study, space, trial

EPOCHS = 27
images, digits = load_digits(return_X_y=True)
train_images, test_images, train_digits, test_digits = train_test_split(
    images / 16, digits, test_size=0.3, random_state=0, stratify=digits
)


def objective(
    learning_rate: float = 0.001, alpha: float = 0.0001, hidden: int = 100, batch_size: int = 200
) -> None:
    """Reports the accuracy on images that the network has not been trained with."""
    folder, kept = trial.folder() / "network", trial.checkpoint()
    folder.mkdir(exist_ok=True)
    if kept is None:
        network, epoch = MLPClassifier((hidden,), random_state=0), 0
    else:
        network, epoch = pickle.loads((kept / "network.pickle").read_bytes())
    network.set_params(learning_rate_init=learning_rate, alpha=alpha, batch_size=batch_size)
    while epoch < EPOCHS:
        epoch += 1
        accuracy = train(network, seed=epoch)
        (folder / "network.pickle").write_bytes(pickle.dumps((network, epoch)))
        decision = trial.report(step=epoch, accuracy=accuracy, checkpoint=folder)
        if decision is not trial.Decision.CONTINUE:
            return


def train(network: MLPClassifier, *, seed: int) -> float:
    """One more epoch; the accuracy after it."""
    order = np.random.default_rng(seed).permutation(len(train_images))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.partial_fit(train_images[order], train_digits[order], classes=range(10))
    return float(network.score(test_images, test_digits))


def defaults() -> float:
    """The accuracy with scikit-learn's default parameters after as many epochs."""
    network = MLPClassifier(random_state=0)
    for epoch in range(1, EPOCHS + 1):
        accuracy = train(network, seed=epoch)
    return accuracy


def make() -> Study:
    """Random trials, of which only the better half goes on at 3, 6, 12 and 24 epochs.

    The objective is named: as a function of this very program it would take the images with it.
    """
    return Study(
        "study:objective",
        {
            "learning_rate": space.loguniform(0.0001, 0.1),
            "hidden": space.integer(20, 200, step=20),
            "batch_size": [16, 32, 64, 128],
        },
        metric="accuracy",
        mode="max",
        trials=12,
        at_once=2,
        reuse=True,
        cwd=Path(__file__).parent,
        search={"method": "random", "seed": 1},
        scheduler={"method": "asha", "options": {"min_resource": 3, "reduction_factor": 2}},
    )


if __name__ == "__main__":
    print(f"default parameters: {defaults():.4f}")
    best = make().run().best
    if best is not None:
        print(f"trial {best['trial']} with {best['params']}: {best['value']:.4f}")
