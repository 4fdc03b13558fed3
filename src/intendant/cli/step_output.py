"""What a pipeline under `intendant run` shows: its steps while they run, then what they wrote.

The output of steps that no other comes after is the pipeline's: their stdout goes to our stdout
when it is over, in the pipeline's order. Of a step that failed the last lines are shown at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import click

from intendant.cli.inbox import Inbox, OutputDone
from intendant.cli.run_output import tail
from intendant.cli.sink import copy_log
from intendant.cli.step_progress import StepProgress, as_of, count_of, describe, steps_on
from intendant.client.client import Client
from intendant.client.run import Stream
from intendant.client.shapes import RunInfo, StepInfo

_FAILED = ("failed", "timed_out")
_WROTE = ("succeeded", "cached")


class StepOutput:
    """Follows the steps of one pipeline, in a thread."""

    def __init__(self, client: Callable[[], Client], inbox: Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._is_started = False
        self._tailed: set[tuple[str, int]] = set()
        self.is_done = False

    def on_changed(self, run: RunInfo) -> None:
        """Begin with the first word of the run."""
        if not self._is_started:
            self._is_started = True
            self._inbox.start("steps", lambda: self._follow(run))

    def on_all_ended(self) -> None:
        """The stream ends by itself."""

    def on_done(self) -> None:
        """The thread has finished."""
        self.is_done = True

    def _follow(self, run: RunInfo) -> None:
        steps: dict[str, StepInfo] = {}
        title = run["name"] or f"run {run['id']}"
        with self._client() as client, self._client() as reader:
            with steps_on(sys.stderr, title, count_of(run)) as progress:
                for step in client.watch_steps([run["id"]]):
                    steps[step["name"]] = step
                    now = as_of(step, run["submitted_at"])
                    progress.show(now)
                    self._show_tail(reader, run, now, progress)
            self._show_own_tail(reader, run)
            for name in _last_steps(run):
                if steps.get(name, {}).get("outcome") in _WROTE:
                    copy_log(reader.logs(run["id"], step=name), sys.stdout)
        self._inbox.put(OutputDone())

    def _show_own_tail(self, client: Client, run: RunInfo) -> None:
        """What the pipeline's own process said, if it did not fail for a step."""
        [now] = client.runs(selection=[run["id"]])
        is_of_steps = (now["reason"] or "").startswith("steps_failed")
        if now["outcome"] == "failed" and not is_of_steps and now["started_at"]:
            copy_log([tail(client.logs(run["id"], stream="stderr"))], sys.stderr)

    def _show_tail(
        self, client: Client, run: RunInfo, step: StepInfo, progress: StepProgress
    ) -> None:
        """The end of what a failed attempt wrote, of its stderr if there is any; once."""
        attempt = step.get("attempt", 0)
        key = (step["name"], attempt)
        if step.get("outcome") not in _FAILED or key in self._tailed:
            return
        self._tailed.add(key)
        streams: tuple[Stream, ...] = ("stderr", "stdout")
        for stream in streams:
            lines = tail(client.logs(run["id"], step=step["name"], stream=stream, attempt=attempt))
            if lines:
                with progress.hidden():
                    click.echo(f"intendant: {describe(step)}; its {stream}:", err=True)
                    copy_log([lines], sys.stderr)
                return


def _last_steps(run: RunInfo) -> Sequence[str]:
    """The steps that no other comes after, in the pipeline's order."""
    from intendant.protocol.pipelines import PipelineSpec

    workload = cast("dict[str, Any]", run["spec"]["workload"])
    graph = PipelineSpec.model_validate(workload).graph
    return [name for name, children in graph.children.items() if not children]
