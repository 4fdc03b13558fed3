"""Results of steps that are kept for later runs: one folder for each key.

    <cache>/<key>/manifest.json    the report, and the SHA-256 of every file
    <cache>/<key>/files/…          what the attempt left in its folder, as hard links

An entry takes its name when it is whole. It counts only while each of its files, and each artifact
that it speaks of, is what it was: anything else is a miss. Nothing is loaded here: what a step
returned is opened by the step that needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from intendant.protocol.pipelines import BaseSpec, StepSpec
from intendant.protocol.step_records import Artifact, StepReport
from intendant.protocol.workloads import CallSpec, CommandSpec
from intendant.workloads.linking import link_tree

CACHE_FOLDER = "cache"
MAX_FILES = 1000
"""A step that left more files is not cached."""
_MANIFEST = "manifest.json"
_FILES = "files"
_CHUNK_BYTES = 1024 * 1024
_DRAFT_AGE_S = 3600.0


class CacheMiss(Exception):
    """There is no sound entry; says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A sound cached result."""

    folder: Path
    report: StepReport
    home: str
    """The folder that paths in the report began with."""

    def take(self, target: Path) -> StepReport:
        """Put its files into a step's folder; its report as it reads there."""
        link_tree(self.folder / _FILES, target)
        with suppress(OSError):
            os.utime(self.folder)  # the time of its last use
        text = self.report.model_dump_json(exclude_defaults=True)
        return StepReport.model_validate_json(
            text.replace(json.dumps(self.home)[1:-1] + "/", json.dumps(str(target))[1:-1] + "/")
        )


class Cache:
    """The entries in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> Entry:
        """The entry of this key; `CacheMiss` if there is none that is sound."""
        folder = self.folder / key
        try:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
            report = StepReport.model_validate(manifest["report"])
            files, home = manifest["files"], str(manifest["home"])
            _check_files(folder / _FILES, files)
            _check_artifacts(report, home=home)
        except FileNotFoundError as error:
            if not folder.exists():
                raise CacheMiss("no cached result") from None
            raise CacheMiss(f"damaged: {error.filename} is missing") from None
        except (OSError, ValueError, ValidationError, LookupError, TypeError) as error:
            raise CacheMiss(f"damaged: {error}") from None
        return Entry(folder, report, home)

    def keep(self, key: str, step: str, attempt_folder: Path, report: StepReport) -> None:
        """Make an entry of what an attempt left; `OSError` if that is not possible."""
        draft = self.folder / f".{uuid4().hex}"
        try:
            draft.mkdir(parents=True, mode=0o700)
            link_tree(attempt_folder, draft / _FILES)
            files = {
                str(path.relative_to(draft / _FILES)): _sha256(path)
                for path in _files(draft / _FILES)
            }
            manifest = {
                "step": step,
                "home": str(attempt_folder),
                "report": report.model_dump(mode="json", exclude_defaults=True),
                "files": files,
            }
            (draft / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            shutil.rmtree(self.folder / key, ignore_errors=True)  # damaged, or made anew
            draft.rename(self.folder / key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def prune(self, *, max_age_s: float, max_bytes: int) -> int:
        """Remove what was not used for so long, then the least recently used; how many entries.

        The ages of entries are those of the file system's clock.
        """
        now = time.time()
        entries = sorted(self._entries(), key=lambda entry: entry[0], reverse=True)
        kept_bytes = removed = 0
        for used_at, size, folder in entries:
            kept_bytes += size
            if now - used_at > max_age_s or kept_bytes > max_bytes:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, size in bytes, folder; drafts only once nobody can be at work on them."""
        try:
            folders = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for each in folders:
            with suppress(OSError):
                used_at = each.stat().st_mtime
                if each.name.startswith(".") and time.time() - used_at < _DRAFT_AGE_S:
                    continue
                size = sum(path.stat().st_size for path in Path(each.path).rglob("*"))
                yield used_at, size, Path(each.path)


def code_of(step: StepSpec, cwd: Path, search: list[str]) -> dict[str, str]:
    """What the code of a step consists of: files, each with its SHA-256; `CacheMiss` names one
    that can't be found.
    """
    if isinstance(step.workload, BaseSpec):
        raise CacheMiss("what it does is said by another run")
    folder = cwd / (step.workload.cwd or "")
    code: dict[str, str] = {}
    match step.workload:
        case CallSpec(pickle_sha256=str(digest)):
            code["function"] = digest
            if step.code_sha256 is not None:
                code["module"] = step.code_sha256
        case CallSpec(target=str(target)):
            source = find_source(target.partition(":")[0], [str(folder), *search])
            code[str(source)] = _hashed(source)
        case CommandSpec(argv=argv) if "/" in argv[0] and "${" not in argv[0]:
            code[argv[0]] = _hashed(folder / argv[0])
    if isinstance(step.workload, CallSpec):
        code["python"] = ".".join(map(str, sys.version_info[:2]))
    for name in step.cache_files:
        code[name] = _hashed(folder / name)
    return code


def find_source(module: str, search: list[str]) -> Path:
    """The file of a module, found without importing anything; `CacheMiss` if there is none."""
    path: list[str] | None = search
    found = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = PathFinder.find_spec(name, path)
        if found is None:
            raise CacheMiss(f"its code is not found: no module {module}")
        path = list(found.submodule_search_locations or [])
    if found is None or found.origin is None:
        raise CacheMiss(f"its code is not found: {module} has no file")
    return Path(found.origin)


def _hashed(path: Path) -> str:
    """The SHA-256 of a file, or of all files in a folder."""
    try:
        if path.is_dir():
            parts = [f"{each.relative_to(path)}\0{_sha256(each)}" for each in sorted(_files(path))]
            return hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return _sha256(path)
    except OSError as error:
        raise CacheMiss(f"can't be read: {path}: {error.strerror}") from error


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder; `OSError` if there are too many."""
    count = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            count += 1
            if count > MAX_FILES:
                raise OSError(f"{folder} holds more than {MAX_FILES} files")
            yield path


def _check_files(folder: Path, digests: dict[str, Any]) -> None:
    for name, digest in digests.items():
        if _sha256(folder / name) != digest:
            raise ValueError(f"{name} has changed")


def _check_artifacts(report: StepReport, *, home: str) -> None:
    """Those outside the step's folder must still be there, and the same."""
    for name, artifact in report.artifacts.items():
        if not artifact.path.startswith(f"{home}/") and not _is_there(artifact):
            raise ValueError(f"artifact {name}: {artifact.path} has changed or is missing")


def _is_there(artifact: Artifact) -> bool:
    path = Path(artifact.path)
    if artifact.sha256 is None:
        return path.is_dir()
    return (
        path.is_file()
        and path.stat().st_size == artifact.size
        and (_sha256(path) == artifact.sha256)
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
