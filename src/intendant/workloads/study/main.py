"""The process of a study: `python -m intendant.workloads.study.main ORDER REPORT LIFE`.

Its arguments are descriptors; what they are stands in `workloads.interpreter`. The zygote for its
trials is forked first of all, while there is neither a thread nor an event loop, nor more in memory
than a trial needs; it imports the objective's module while this process makes itself ready.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from intendant.process.title import set_title
from intendant.workloads.asking import ASKED
from intendant.workloads.calling import opened_call
from intendant.workloads.results import reason
from intendant.workloads.study.trial_process import serve
from intendant.workloads.zygote import Preload, fork_zygote

FAILED = 1


def main(order_fd: int, report_fd: int, life_fd: int) -> int:
    """Conduct the study; the exit status."""
    for descriptor in (order_fd, report_fd, life_fd):
        os.set_inheritable(descriptor, False)
    with open(order_fd, encoding="utf-8") as file:
        order: dict[str, Any] = json.load(file)
    target, pickle = order["spec"].get("target"), order.pop("pickle")
    modules = [] if target is None else [target.partition(":")[0]]
    others = [] if pickle is None else [partial(opened_call, pickle)]
    title = f"intendant: trials {order['label']}"
    _, zygote = fork_zygote(title, partial(serve, pickle=pickle), Preload(modules, others))
    set_title(f"intendant: study {order['label']}")
    try:
        from intendant.workloads.study.conduct import conduct

        with zygote:
            outcome = conduct(order, zygote, life_fd)
        failure, is_asked = outcome.failure, outcome.is_asked
    except BaseException as error:  # noqa: BLE001  the top of a process: said to its log and its run
        failure, is_asked = _explained(error), False
    if is_asked:
        return ASKED
    report = {} if failure is None else {"reason": reason("study", failure)}
    os.pwrite(report_fd, json.dumps(report).encode(), 0)
    return 0 if failure is None else FAILED


def _explained(error: BaseException) -> str:
    """What went wrong; an error of ours is a sentence, any other has a traceback."""
    from intendant.errors import IntendantError

    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, IntendantError):
        sys.stderr.write(f"{error}\n")
        return str(error)
    import traceback

    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main(*map(int, sys.argv[1:4])))
