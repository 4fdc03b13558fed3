"""The process of a pipeline: `python -m intendant.workloads.pipeline.main ORDER REPORT LIFE`.

Its arguments are descriptors; what they are stands in `workloads.interpreter`. The zygote for its
steps is forked first of all, while there is neither a thread nor an event loop, nor more in memory
than a step needs; it imports the user's modules while this process reads the graph.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from intendant.process.title import set_title
from intendant.protocol.building import without_plugins
from intendant.protocol.bulk import uncollected
from intendant.workloads.asking import ASKED
from intendant.workloads.calling import opened_call
from intendant.workloads.pipeline.step_process import rehearse, serve
from intendant.workloads.results import reason
from intendant.workloads.zygote import Preload, fork_zygote

FAILED = 1


def main(order_fd: int, report_fd: int, life_fd: int) -> int:
    """Carry the pipeline out; the exit status."""
    for descriptor in (order_fd, report_fd, life_fd):
        os.set_inheritable(descriptor, False)
    with uncollected(), open(order_fd, encoding="utf-8") as file:
        order: dict[str, Any] = json.load(file)
    title = f"intendant: steps {order['label']}"
    calls = _calls(order)
    others: list[Callable[[], object]] = [rehearse]
    others += [partial(opened_call, call) for call in calls.values()]
    _, zygote = fork_zygote(title, serve, Preload(_modules(order["spec"]), others))
    set_title(f"intendant: pipeline {order['label']}")
    with uncollected(), without_plugins():
        from intendant.workloads.pipeline.conduct import conduct

    try:
        with zygote:
            failure, is_asked = conduct(order, calls, zygote, life_fd)
    except Exception as error:  # noqa: BLE001  the top of a process: said to its log and its run
        import traceback

        traceback.print_exception(error)
        cause = _alone(error)
        failure, is_asked = reason("pipeline", f"{type(cause).__name__}: {cause}"), False
    if is_asked:
        return ASKED
    report = {} if failure is None else {"reason": failure}
    os.pwrite(report_fd, json.dumps(report).encode(), 0)
    return 0 if failure is None else FAILED


def _alone(error: Exception) -> Exception:
    """What a task group has raised, where it is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _calls(order: dict[str, Any]) -> dict[str, str]:
    """The pickled functions of steps, by step, each still closed."""
    if order["pickle"] is None:
        return {}
    from intendant.client.pickles import open_calls

    calls = open_calls(base64.b64decode(order["pickle"]))
    return {step: base64.b64encode(call).decode() for step, call in calls.items()}


def _modules(spec: dict[str, Any]) -> list[str]:
    """The modules of the functions that steps call, and of what carries them out, each once."""
    targets = [step["workload"].get("target") for step in spec["steps"]]
    targets.append(spec.get("step_executor"))
    return list(dict.fromkeys(target.partition(":")[0] for target in targets if target))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main(*map(int, sys.argv[1:4])))
