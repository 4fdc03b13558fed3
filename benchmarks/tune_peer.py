"""Ray Tune: `python tune_peer.py fresh|reused COUNT`, in an environment that has it.

Says for each line on stdin how many trivial trials a second it has carried out, two at once.
"""

import logging
import sys
import tempfile
import time

import ray  # type: ignore[import-not-found]  # in an environment of its own
from ray import tune


def objective(config: dict) -> dict:  # type: ignore[type-arg]
    return {"loss": config["x"]}


how, count = sys.argv[1], int(sys.argv[2])
out, sys.stdout = sys.stdout, sys.stderr
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
home = tempfile.mkdtemp()
for _ in sys.stdin:
    began = time.perf_counter()
    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            num_samples=count, max_concurrent_trials=2, reuse_actors=how == "reused"
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=home),
    )
    tuner.fit()
    print(count / (time.perf_counter() - began), file=out, flush=True)
