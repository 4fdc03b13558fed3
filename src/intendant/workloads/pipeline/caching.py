"""The cache in a pipeline that runs: what is taken from it at the start, what is kept in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.step_keys import Decision, StepKey, decide, step_keys
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import GOOD, StepOutcome
from intendant.store.steps import StepChange, StepStore, ended, started
from intendant.workloads.pipeline.cache import CACHE_FOLDER, Cache, CacheMiss, Entry, code_of
from intendant.workloads.pipeline.orders import attempt_folder

log = structlog.get_logger()


class Forecast:
    """What will become of each step, and what its key is; nothing is changed by looking."""

    def __init__(
        self, pipeline: PipelineSpec, cache: Cache, cwd: Path, *, kept: frozenset[str] = frozenset()
    ) -> None:
        self._cache = cache
        self._cwd = cwd
        self._no_code: dict[str, str] = {}
        self.entries: dict[str, Entry] = {}
        self.keys: Mapping[str, StepKey] = step_keys(pipeline, self._code_of)
        self.decisions: Mapping[str, Decision] = decide(pipeline, self._look_up, kept=kept)

    def key_of(self, step: str) -> str | None:
        """Under which key the step's result can be kept; None if its code is not known."""
        return None if step in self._no_code else self.keys[step].key

    def _code_of(self, step: StepSpec) -> dict[str, str]:
        if not step.cache:
            return {}
        try:
            return code_of(step, self._cwd, sys.path)
        except CacheMiss as miss:
            self._no_code[step.name] = str(miss)
            return {}

    def _look_up(self, step: str) -> str | None:
        if step in self._no_code:
            return self._no_code[step]
        try:
            self.entries[step] = self._cache.find(self.keys[step].key)
        except CacheMiss as miss:
            return str(miss)
        return None


class Caching:
    """Settles the steps that have a cached result; keeps the results of others as they end."""

    def __init__(self, pipeline: PipelineSpec, run_folder: Path, cwd: Path) -> None:
        self._pipeline = pipeline
        self._run_folder = run_folder
        self._cwd = cwd
        self._steps = {step.name: step for step in pipeline.steps if step.cache}
        self._cache = Cache(cache_folder(pipeline, run_folder.parent.parent, cwd))
        self._forecast: Forecast | None = None
        self._folders: dict[str, str] = {}
        self._has_kept = False

    def settle(self, store: StepStore) -> None:
        """Write down as `cached` every step whose result is there, before anything starts."""
        if not self._steps:
            return
        infos = {info.name: info for info in store.steps()}
        kept = frozenset(name for name, info in infos.items() if info.outcome in GOOD)
        self._forecast = Forecast(self._pipeline, self._cache, self._cwd, kept=kept)
        changes = []
        for name, decision in self._forecast.decisions.items():
            if not decision.runs and name in self._forecast.entries:
                changes += self._taken(name, infos[name].attempt + 1, self._forecast.entries[name])
        store.write(changes)

    async def tell(self, changes: list[StepChange]) -> None:
        """Keep what steps that are to be cached have left."""
        for change in changes:
            if change.step not in self._steps:
                continue
            if isinstance(folder := change.columns.get("folder"), str):
                self._folders[change.step] = folder
            if change.columns.get("outcome") == StepOutcome.SUCCEEDED:
                self._keep(change.step, change.columns)

    def prune(self) -> None:
        """Bring the cache back to its bounds, if it has grown."""
        if self._has_kept:
            count = self._cache.prune(
                max_age_s=self._pipeline.cache_max_age_s,
                max_bytes=self._pipeline.cache_max_bytes,
            )
            log.info("cache_pruned", entries=count)

    def _taken(self, name: str, attempt: int, entry: Entry) -> list[StepChange]:
        at, folder = datetime.now(UTC), attempt_folder(name, attempt)
        try:
            report = entry.take(self._run_folder / folder)
        except OSError as error:  # somebody may have pruned it just now: it runs then
            log.warning("cache_entry_lost", step=name, error=str(error))
            return []
        change = ended(name, StepOutcome.CACHED, None, at=at, report=report)
        return [started(name, attempt=attempt, folder=folder, at=at), change]

    def _keep(self, name: str, columns: Mapping[str, Any]) -> None:
        key = None if self._forecast is None else self._forecast.key_of(name)
        text = columns.get("report")
        if key is None or text is None:
            return
        folder = self._run_folder / self._folders[name]
        try:
            self._cache.keep(key, name, folder, StepReport.model_validate_json(text))
        except OSError as error:
            log.warning("not_cached", step=name, error=str(error))
        else:
            self._has_kept = True


def cache_folder(pipeline: PipelineSpec, state_dir: Path, cwd: Path) -> Path:
    """Where the results of a pipeline's steps are kept."""
    return cwd / pipeline.cache_dir if pipeline.cache_dir else state_dir / CACHE_FOLDER
