"""A study as a study in a storage of Optuna's, for optuna-dashboard and Optuna's own plots."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from intendant.errors import InvalidRequest, SettingsError, StoreError
from intendant.protocol.study import StudySpec
from intendant.protocol.trial_records import TrialInfo
from intendant.store.trials import TRIALS_FILE, TrialStore, copy_trials, read_trials
from intendant.workloads.study.hooks import History
from intendant.workloads.study.keeping import Past, Policy

AS_THEY_ARE = Policy(finished="skip", unfinished="skip", errored="skip")


def export(folder: Path, spec: StudySpec, *, storage: str, name: str) -> int:
    """Write the trials of the run in `folder` to a storage, as a new study; how many there are.

    The storage is a URL that SQLAlchemy knows (`sqlite:///study.db`), or the path of a journal.
    """
    try:
        import optuna

        from intendant.workloads.study.optuna_study import OptunaStudy
    except ImportError as error:
        raise SettingsError(f"Optuna is missing: pip install '.[study]' ({error})") from error
    ours = OptunaStudy(spec.space, goals=spec.goals)
    try:
        theirs = optuna.create_study(
            storage=_storage(storage), study_name=name, directions=ours.study.directions
        )
    except optuna.exceptions.DuplicatedStudyError as error:
        raise InvalidRequest(f"{storage} has a study {name!r} already") from error
    except Exception as error:
        raise StoreError(f"{storage}: {error}") from error
    count = 0
    for history, info in _trials(folder, spec):
        frozen = ours.frozen(history)
        frozen.datetime_start = _local(info.started_at or info.added_at)
        frozen.datetime_complete = _local(info.finished_at)
        frozen.user_attrs = {} if info.reason is None else {"reason": info.reason}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are JSON
            theirs.add_trial(frozen)
        count += 1
    return count


def _storage(text: str) -> Any:
    """A URL as it is; the path of a file as a journal."""
    if "://" in text:
        return text
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(text))


def _trials(folder: Path, spec: StudySpec) -> Iterator[tuple[History, TrialInfo]]:
    """What is known of each trial, from a copy: the study may still write."""
    if not (folder / TRIALS_FILE).exists():
        raise InvalidRequest(f"{folder}: found no trials of a study on this machine")
    with tempfile.TemporaryDirectory() as home:
        copy = Path(home, TRIALS_FILE)
        copy_trials(folder / TRIALS_FILE, copy)
        infos = read_trials(copy)
        with TrialStore(copy) as store:
            yield from zip(Past(store, spec, AS_THEY_ARE).histories(), infos, strict=True)


def _local(at: datetime | None) -> datetime | None:
    """Optuna keeps local times without a zone."""
    return None if at is None else at.astimezone().replace(tzinfo=None)
