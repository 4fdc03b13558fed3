"""Pipelines of no-op steps: milliseconds a step; and how soon a large one starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks.measuring import measuring
from benchmarks.peers import python_with
from benchmarks.row import Contest
from benchmarks.runs import daemon
from intendant import Client
from intendant.protocol.runfile import parse_run_file
from intendant.store.steps import STEPS_FILE, read_steps

PYPERUNNER = "pyperunner==0.1.2"
NEEDS = ("grandalf==0.6", "networkx==2.5", "numpy<2", "coloredlogs==15.0", "pydot==1.4.1", "joblib",
         "GitPython", "PyYAML")  # fmt: skip
"""It pins a PyYAML that can't be built any more; this one does as well."""
STEPS = 50
AT_ONCE = 2
LARGE = 10_000


def ms_per_step(
    execution: str, *, chained: bool
) -> Callable[[Path], AbstractContextManager[Contest]]:
    """From the start of the first step to the end of the last; pyperunner's run beside it."""

    @contextmanager
    def contest(folder: Path) -> Iterator[Contest]:
        with ExitStack() as stack:
            client = stack.enter_context(daemon(folder, slots=1))
            peer = _pyperunner(stack, folder, chained=chained)
            yield lambda: _ms_per_step(client, execution, chained=chained), peer

    return contest


@contextmanager
def large_graph_starts(folder: Path) -> Iterator[Contest]:
    """From the data of a run file with 10,000 steps to the start of the first; ms."""

    def ours() -> float:
        began = time.time()
        [spec] = parse_run_file(_file(LARGE, "inline", chained=True), source="large")
        run = client.submit(spec.model_dump(mode="json", exclude_defaults=True))
        for step in client.watch_steps([run.id]):
            if step["state"] != "pending":
                break
        run.cancel()
        run.wait()
        starts = (info.started_at for info in read_steps(_steps_file(client, run.id)))
        return 1000 * (min(at.timestamp() for at in starts if at is not None) - began)

    with daemon(folder, slots=1) as client:
        yield ours, None


def _ms_per_step(client: Client, execution: str, *, chained: bool) -> float:
    [spec] = parse_run_file(_file(STEPS, execution, chained=chained), source="benchmark")
    run = client.submit(spec.model_dump(mode="json", exclude_defaults=True))
    assert run.wait()["outcome"] == "succeeded"
    infos = read_steps(_steps_file(client, run.id))
    starts = [info.started_at.timestamp() for info in infos if info.started_at is not None]
    ends = [info.finished_at.timestamp() for info in infos if info.finished_at is not None]
    return 1000 * (max(ends) - min(starts)) / len(infos)


def _steps_file(client: Client, run_id: int) -> Path:
    return Path(client.show([run_id])["folder"]) / STEPS_FILE


def _file(count: int, execution: str, *, chained: bool) -> dict[str, object]:
    """A run file's data; the steps call what takes no time."""
    steps = [
        {
            "name": f"s{number}",
            "call": "time:time",
            "after": [f"s{number - 1}"] if chained and number else [],
        }
        for number in range(count)
    ]
    return {"name": "noop", "execution": execution, "processes": AT_ONCE, "steps": steps}


def _pyperunner(stack: ExitStack, folder: Path, *, chained: bool) -> Callable[[], float] | None:
    python = python_with(PYPERUNNER, *NEEDS)
    if python is None:
        return None
    program = Path(__file__).with_name("pyperunner_peer.py")
    shape = "chain" if chained else "independent"
    words = [python, str(program), str(folder / "pyperunner"), str(STEPS), str(AT_ONCE), shape]
    return stack.enter_context(measuring(words))
