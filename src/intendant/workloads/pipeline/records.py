"""What a pipeline leaves about itself in its run's folder, for people and for `Results.load`.

pipeline.yaml    where and with what it ran, its specification, and of each step its parents,
                 fingerprint, parameters and end; written soon after the start and at the end
pipeline.log     what happened, and at each step's end what it has printed: its stdout as INFO,
                 its stderr as ERROR, the last of each
exception.log    of each attempt that failed the last lines of its stderr
reports.jsonl    of each attempt that has ended a line of JSON: when it ran, how it ended and why,
                 its parameters, what it left and what it has used
status.svg       the graph, coloured by how each step is; drawn anew while it runs

Arguments that are marked as secret, and variables that look so, are hidden in all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from intendant import __version__
from intendant.protocol.graph_svg import GraphPicture, too_much
from intendant.protocol.records_text import yaml_of
from intendant.protocol.redaction import hide_arguments, hide_secrets, looks_secret
from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import FAILURES, StepEvent
from intendant.protocol.workloads import CallSpec
from intendant.store.steps import StepChange, StepStore
from intendant.workloads.pipeline.graph_executor import PipelineRun

RECORD_FILE = "pipeline.yaml"
LOG_FILE = "pipeline.log"
EXCEPTIONS_FILE = "exception.log"
REPORTS_FILE = "reports.jsonl"
PICTURE_FILE = "status.svg"
TAIL_BYTES = 64 * 1024
"""How much of what an attempt has printed is repeated in the pipeline's log."""
PAUSE_S = 1.0
"""Between a change and what is written about it."""
MAX_CHANGES = 1000
"""How many changes wait for that at most."""

_OPEN = ("LANG", "LC_", "TZ", "PATH", "PYTHON", "VIRTUAL_ENV", "CONDA_", "OMP_", "MKL_",
         "OPENBLAS_", "NUMEXPR_", "CUDA_VISIBLE_", "LD_LIBRARY_PATH", "HOME", "USER")  # fmt: skip
"""Variables whose values are no secret; of the others only the names are kept."""


class Records:
    """Writes the files; none of them is worth a failure."""

    def __init__(self, run: PipelineRun, store: StepStore) -> None:
        self._run = run
        self._store = store
        self._folder = run.folder
        self._marked = {
            step.name: step.workload.secret_args
            for step in run.pipeline.steps
            if isinstance(step.workload, CallSpec) and step.workload.secret_args
        }
        self._begun: dict[str, StepChange] = {}
        self._is_begun = False
        self._changes: list[StepChange] = []
        self._is_drawn = too_much(run.pipeline.graph) is None
        self._picture: GraphPicture | None = None
        self._pause: asyncio.TimerHandle | None = None

    async def tell(self, changes: list[StepChange]) -> None:
        """What has happened to steps; it is written down with what else happens by and by."""
        self._changes += changes
        if len(self._changes) >= MAX_CHANGES:
            self._write_logs()
        if changes and self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(PAUSE_S, self._after_pause)

    def end(self, failure: str | None) -> None:
        """Write down how everything ended."""
        if self._pause is not None:
            self._pause.cancel()
        self._write_logs()
        outcome = "succeeded" if failure is None else "failed"
        steps = self._store.steps()
        self._write_record(steps, {"outcome": outcome, "reason": failure})
        self._draw(steps)

    def _after_pause(self) -> None:
        self._pause = None
        self._write_logs()
        if self._is_begun and not self._is_drawn:
            return
        steps = self._store.steps()
        if not self._is_begun:
            self._is_begun = True
            self._write_record(steps, {"outcome": None})
        self._draw(steps)

    def _write_logs(self) -> None:
        """What has happened since the last time, and what steps have printed at their ends."""
        changes, self._changes = self._changes, []
        if not changes:
            return
        with suppress(OSError), self._opened(LOG_FILE) as file:
            for change in changes:
                if change.event is StepEvent.STARTED:
                    self._begun[change.step] = change
                file.writelines(f"{line}\n" for line in self._lines(change))
                if change.columns.get("outcome") in FAILURES:
                    self._append(EXCEPTIONS_FILE, self._failure(change))
        self._append(REPORTS_FILE, map(self._report, filter(_is_end, changes)))

    def _draw(self, steps: list[StepInfo]) -> None:
        if not self._is_drawn:
            return
        self._picture = self._picture or GraphPicture(self._run.pipeline.graph)
        text = self._picture.draw({info.name: info.outcome or info.state for info in steps})
        self._replace(PICTURE_FILE, text)

    def _write_record(self, infos: list[StepInfo], ending: Mapping[str, object]) -> None:
        pipeline = self._run.pipeline
        spec = pipeline.model_dump(mode="json", exclude_defaults=True, exclude={"steps"})
        steps = {step.name: step for step in pipeline.steps}
        rows = (
            {
                **self._shown_info(info),
                "parents": list(pipeline.graph.parents[info.name]),
                "spec": hide_secrets(
                    steps[info.name].model_dump(
                        mode="json", exclude_defaults=True, exclude={"name"}
                    )
                ),
            }
            for info in infos
        )
        head = {**_circumstances(self._run), **ending, "pipeline": spec}
        self._replace(RECORD_FILE, yaml_of(head, "steps", rows))

    def _shown_info(self, info: StepInfo) -> dict[str, Any]:
        shown = info.model_dump(mode="json", exclude_defaults=True)
        hide_arguments(shown.get("report", {}).get("parameters"), self._marked.get(info.name))
        return shown

    def _replace(self, name: str, text: str) -> None:
        with suppress(OSError):  # missed by somebody, but stops nothing
            draft = self._folder / f".{name}.new"
            draft.write_text(text, encoding="utf-8")
            draft.rename(self._folder / name)

    def _lines(self, change: StepChange) -> Iterator[str]:
        at = _stamp(change.at)
        match change.event:
            case StepEvent.STARTED:
                attempt = change.columns.get("attempt")
                yield f"{at} INFO  {change.step}: starts, attempt {attempt}"
            case StepEvent.ENDED | StepEvent.RETRIED:
                for stream, level in (("stdout", "INFO "), ("stderr", "ERROR")):
                    for line in self._tail(change.step, stream):
                        yield f"{at} {level} {change.step}: {line}"
                outcome, reason = change.columns.get("outcome"), change.columns.get("reason")
                level = "ERROR" if outcome in FAILURES else "INFO "
                yield f"{at} {level} {change.step}: {outcome}" + (f": {reason}" if reason else "")
            case StepEvent.RESET:
                yield f"{at} INFO  {change.step}: is to run again"

    def _failure(self, change: StepChange) -> Iterator[str]:
        yield f"{_stamp(change.at)} {change.step}: {change.columns.get('reason')}"
        yield from (f"    {line}" for line in self._tail(change.step, "stderr"))

    def _report(self, change: StepChange) -> str:
        columns = change.columns
        begun = self._begun.get(change.step)
        said = json.loads(str(columns.get("report") or "{}"))
        hide_arguments(said.get("parameters"), self._marked.get(change.step))
        report = {
            "step": change.step,
            "attempt": None if begun is None else begun.columns["attempt"],
            "started_at": None if begun is None else _stamp(begun.at),
            "finished_at": _stamp(change.at),
            **said,
            "outcome": columns.get("outcome"),
            "reason": columns.get("reason"),
        }
        return json.dumps(report, ensure_ascii=False)

    def _tail(self, step: str, stream: str) -> list[str]:
        """The last lines of what the newest attempt at a step has printed."""
        begun = self._begun.get(step)
        if begun is None:
            return []
        try:
            path = f"{self._folder}/{begun.columns['folder']}/{stream}.log"
            with open(path, "rb") as file:  # noqa: PTH123  most are not there: a Path takes longer
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - TAIL_BYTES, 0))
                data = file.read(TAIL_BYTES)
        except OSError:
            return []
        lines = data.decode(errors="backslashreplace").splitlines()
        if size > TAIL_BYTES:
            lines[:1] = [f"… {size - TAIL_BYTES} bytes before"]
        return lines

    def _append(self, name: str, lines: Iterable[str]) -> None:
        with suppress(OSError), self._opened(name) as file:
            file.writelines(f"{line}\n" for line in lines)

    def _opened(self, name: str) -> TextIO:
        return (self._folder / name).open("a", encoding="utf-8")


def _is_end(change: StepChange) -> bool:
    return change.event in (StepEvent.ENDED, StepEvent.RETRIED)


def _circumstances(run: PipelineRun) -> dict[str, object]:
    """Where and with what the pipeline runs."""
    shown, others = _environment(os.environ)
    return {
        "run": run.label,
        "folder": str(run.folder),
        "cwd": str(run.cwd),
        "host": {
            "name": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "versions": {
            "python": platform.python_version(),
            "executable": sys.executable,
            "intendant": __version__,
            "packages": _packages(),
        },
        "environment": {**shown, **run.pipeline.env},
        "other_variables": others,
    }


def _environment(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Variables that are no secret, and the names of the others."""
    shown = {
        name: text
        for name, text in sorted(environ.items())
        if name.startswith(_OPEN) and not looks_secret(name)
    }
    return shown, [name for name in sorted(environ) if name not in shown]


def _packages() -> dict[str, str]:
    """Installed packages and their versions, as the names of their folders say them (PEP 376)."""
    found: dict[str, str] = {}
    for folder in sys.path:
        with suppress(OSError):
            for path in Path(folder).glob("*.dist-info"):
                package, _, version = path.stem.partition("-")
                found.setdefault(package, version)
    return dict(sorted(found.items()))


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
