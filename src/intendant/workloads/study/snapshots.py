"""Copies of a study's state in another place, any that fsspec knows, to go on from there.

    PLACE/latest.json           which copy counts, and where each checkpoint in it stands
    PLACE/state/STAMP.db        the database, as it was at one moment
    PLACE/checkpoints/KEY/…     checkpoints; none is ever changed

`latest.json` is written last and in one piece, so that what it names is there as a whole. A copy
that fails is tried again with the next one; the study goes on.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from intendant.errors import StoreError
from intendant.store.trials import (
    TRIALS_FILE,
    TrialStore,
    checkpoint_paths,
    copy_trials,
    read_study,
)
from intendant.workloads.study.keeping import AS_WITHIN_A_RUN, Policy, settle
from intendant.workloads.study.saving import drop, save

log = structlog.get_logger()

LATEST = "latest.json"
SHARE = 19
"""A copy may cost a twentieth of the time: after one that took long there is a longer pause."""


class Place:
    """A folder somewhere, by a path or a URL."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise StoreError(f"snapshots need fsspec: pip install '.[study]' ({error})") from error
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)

    def write(self, name: str, data: bytes) -> None:
        """One file, in one piece."""
        path, draft = self._path(name), self._path(f".{name}.new")
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(draft, data)
        self._files.mv(draft, path)

    def read(self, name: str) -> bytes | None:
        """One file; None if it is not there."""
        try:
            found: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return found

    def put(self, source: Path, name: str) -> None:
        """A file or a folder to there."""
        path = self._path(name)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.put(str(source), path, recursive=source.is_dir())

    def get(self, name: str, target: Path) -> None:
        """A file or a folder from there."""
        path = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._files.get(path, str(target), recursive=self._files.isdir(path))

    def remove(self, name: str) -> None:
        """A file or a folder; that it is gone already is no news."""
        try:
            self._files.rm(self._path(name), recursive=True)
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


class Snapshots:
    """Makes a copy at most every so often, and one in the end."""

    def __init__(self, place: Place, run_folder: Path, *, period_s: float) -> None:
        self._place = place
        self._run_folder = run_folder
        self._period_s = period_s
        self._changed = asyncio.Event()
        self._lock = threading.Lock()
        """A copy that is being made goes on although nobody waits for it any more."""
        self._latest: Mapping[str, Any] = json.loads(place.read(LATEST) or b"{}")

    def on_written(self) -> None:
        """Something has changed."""
        self._changed.set()

    async def keep(self) -> None:
        """Make copies while things change; until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            took_s = await self.make()
            await asyncio.sleep(max(self._period_s, SHARE * took_s))

    async def make(self) -> float:
        """Make one now; how long it took, in seconds."""
        began = time.monotonic()
        try:
            await asyncio.to_thread(self._make_alone)
        except Exception:
            log.warning("snapshot_failed", place=self._place.url, exc_info=True)
        return time.monotonic() - began

    def _make_alone(self) -> None:
        with self._lock:
            self._make()

    def _make(self) -> None:
        state = f"state/{time.time_ns()}.db"
        draft = self._run_folder / ".snapshot.db"
        try:
            copy_trials(self._run_folder / TRIALS_FILE, draft)
            checkpoints = self._put_checkpoints(checkpoint_paths(draft))
            self._place.put(draft, state)
        finally:
            draft.unlink(missing_ok=True)
        latest = {"state": state, "checkpoints": checkpoints}
        self._place.write(LATEST, json.dumps(latest).encode())
        before, self._latest = self._latest, latest
        self._forget(before)

    def _put_checkpoints(self, paths: list[str]) -> dict[str, str]:
        """Those that are not there yet; where each stands."""
        there: Mapping[str, str] = self._latest.get("checkpoints", {})
        found = {}
        for path in paths:
            folder = self._run_folder / path
            try:
                made = folder.stat().st_mtime_ns
            except FileNotFoundError:  # dropped since the database was copied
                continue
            key = f"checkpoints/{path.replace('/', '-')}-{made}"
            if there.get(path) != key:
                self._place.put(folder, key)
            found[path] = key
        return found

    def _forget(self, before: Mapping[str, Any]) -> None:
        """What only the copy before had."""
        kept = set(self._latest["checkpoints"].values())
        for key in before.get("checkpoints", {}).values():
            if key not in kept:
                self._place.remove(key)
        if "state" in before:
            self._place.remove(before["state"])


def fetch(
    source: str, run_folder: Path, *, fingerprint: str, policy: Policy = AS_WITHIN_A_RUN
) -> None:
    """Begin with what a snapshot, or the folder of another run, holds; `StoreError` if it can't.

    The database takes its name when it is whole and says which trials go on.
    """
    own = Path(source) / TRIALS_FILE
    draft = run_folder / ".resumed.db"
    for left in run_folder.glob(f"{draft.name}*"):  # by a try that was cut short, its log too
        left.unlink()
    if own.is_file():
        copy_trials(own, draft)
        _check(draft, source, fingerprint)
        for path in checkpoint_paths(draft):
            save(Path(source, path), run_folder / path)
    else:
        _fetch_snapshot(Place(source), draft, run_folder, fingerprint)
    with TrialStore(draft) as store:
        settle(store, policy)
    draft.rename(run_folder / TRIALS_FILE)


def _fetch_snapshot(place: Place, draft: Path, run_folder: Path, fingerprint: str) -> None:
    content = place.read(LATEST)
    if content is None:
        raise StoreError(f"resume: {place.url} holds no study: neither {LATEST} nor {TRIALS_FILE}")
    try:
        latest = json.loads(content)
        place.get(latest["state"], draft)
        _check(draft, place.url, fingerprint)
        for path, key in latest["checkpoints"].items():
            drop(run_folder / path)  # into a folder that is there it would be put as another one
            place.get(key, run_folder / path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"resume: {place.url} can't be used: {error}") from error


def _check(draft: Path, source: str, fingerprint: str) -> None:
    study = read_study(draft)
    if study is None:
        raise StoreError(f"resume: the study in {source} had not begun")
    if study.fingerprint != fingerprint:
        raise StoreError(f"resume: the study in {source} searches something else")
