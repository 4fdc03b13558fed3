"""pyperunner: `python pyperunner_peer.py FOLDER STEPS AT_ONCE chain|independent`.

Says for each line on stdin how many ms a step its run of no-op tasks took.
"""

import contextlib
import io
import itertools
import sys
import time

import pydot  # type: ignore[import-not-found]
from pyperunner import Pipeline, Runner, Task, run  # type: ignore[import-not-found]


class Noop(Task):  # type: ignore[misc]
    """Does nothing."""

    @run
    def run(self):  # type: ignore[no-untyped-def]
        """What a task's work is."""
        return 1


def main() -> None:
    """Answer each line."""
    folder, steps, at_once, shape = sys.argv[1:]
    # Its pictures would take Graphviz, and time.
    pydot.Dot.create = lambda *_, **__: b""
    rounds = itertools.count()
    for _ in sys.stdin:
        pipeline = Pipeline(f"noop-{next(rounds)}")  # its run folders are named to the second
        tasks = [Noop(tag=f"s{number}") for number in range(int(steps))]
        for before, task in zip([None, *tasks], tasks, strict=False):
            pipeline.add(task if before is None or shape != "chain" else before(task))
        runner = Runner(data_path=f"{folder}/data", log_path=f"{folder}/log",
                        process_limit=int(at_once))  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            began = time.perf_counter()
            runner.run(pipeline, force_reload=True)
            took = time.perf_counter() - began
        print(1000 * took / int(steps), flush=True)


main()
