"""What a submission asks for, as plain dictionaries in the shape of `protocol.specs`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, TypedDict, Unpack

from intendant.client.call import Call
from intendant.client.wire import fresh_key
from intendant.errors import InvalidRequest, SettingsError
from intendant.protocol.environment import encode_environment


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its arguments, never a shell's line."""

    argv: Sequence[str]
    cwd: str | Path | None = None
    env: Mapping[str, str] | None = None
    umask: int | None = None
    stdin: str | Path | None = None
    secret_args: Sequence[int] = ()
    """Which arguments only the owner and operators are shown; 1 is the first."""
    timeout_s: float | None = None
    grace_s: float | None = None

    def __post_init__(self) -> None:
        _check_argv(self.argv)

    def spec(self) -> dict[str, object]:
        """A run spec that holds this command and what was said about it."""
        workload = {
            "kind": "command",
            "argv": list(self.argv),
            "cwd": _text(self.cwd),
            "env": dict(self.env) if self.env else None,
            "umask": self.umask,
            "stdin": _text(self.stdin),
            "secret_args": list(self.secret_args) or None,
        }
        limits = {"timeout_s": self.timeout_s, "grace_s": self.grace_s}
        return said({"workload": said(workload), **limits})


class RunOptions(TypedDict, total=False):
    """What can be said about any run; what is None is left at its default."""

    name: str | None
    queue: str | None
    priority: int | None
    timeout_s: float | None
    grace_s: float | None
    shutdown_grace_s: float | None
    retry: int | None  # attempts after the first
    restartable: bool | None
    hold: bool | None
    cwd: str | Path | None
    env: Mapping[str, str] | None
    on_end: Sequence[str] | None  # a command for its end


@dataclass(frozen=True, slots=True)
class Submitter:
    """Where a submission comes from: what a run inherits from whoever asked for it."""

    cwd: str
    environment: Mapping[bytes, bytes] = field(repr=False)
    umask: int
    python: str | None = None

    def encoded_environment(self) -> str:
        """The environment as it travels."""
        return encode_environment(self.environment)

    @classmethod
    def this_process(cls) -> Submitter:
        """The folder, environment, file mode mask and interpreter of the calling process."""
        try:
            folder = Path.cwd()
        except FileNotFoundError as error:
            raise SettingsError(
                "the working directory does not exist any more, expected one where the run can be"
            ) from error
        return cls(str(folder), dict(os.environb), _umask(), sys.executable or None)


class Described(Protocol):
    """What describes a run by itself, and may bring functions along: a pipeline, a study."""

    def spec(self) -> dict[str, object]: ...

    @property
    def pickle(self) -> str | None: ...


Work: TypeAlias = Command | Call | Described | Sequence[str] | Mapping[str, object]
"""What can be submitted: a command, a call, a pipeline, a study, bare arguments, or a run spec."""
Submission: TypeAlias = dict[str, object]


def spec_of(what: Work, **options: Unpack[RunOptions]) -> dict[str, object]:
    """The run spec of whatever can be submitted; `options` win over it."""
    spec = dict(what) if isinstance(what, Mapping) else _described(what).spec()
    retry, cwd, env = options.pop("retry", None), options.pop("cwd", None), options.pop("env", None)
    spec |= said(options)
    if retry is not None:
        spec["retry"] = {"attempts": retry}
    workload = said({"cwd": _text(cwd), "env": dict(env) if env else None})
    return {**spec, "workload": {**_workload(spec), **workload}}


def submitted(
    what: Work,
    *,
    key: str | None = None,
    secret_env: Mapping[str, str] | None = None,
    submitter: Submitter | None = None,
    **options: Unpack[RunOptions],
) -> Submission:
    """One run of a submission, of whatever can be submitted."""
    return submission(
        spec_of(what, **options),
        key=key,
        secret_env=secret_env,
        pickle=getattr(what, "pickle", None),
        submitter=submitter,
    )


def submissions(
    specs: Sequence[Mapping[str, object]],
    *,
    key: str | None,
    secret_env: Mapping[str, str] | None,
    submitter: Submitter | None,
) -> list[Submission]:
    """The runs of one submission, each with a key of its own."""
    _check_key(key)
    keys = [None if key is None else f"{key}/{at}" for at in range(1, len(specs) + 1)]
    return [
        submission(spec, key=one, secret_env=secret_env, submitter=submitter)
        for spec, one in zip(specs, keys, strict=True)
    ]


def submission(
    spec: Mapping[str, object],
    *,
    key: str | None = None,
    secret_env: Mapping[str, str] | None = None,
    pickle: str | None = None,
    submitter: Submitter | None = None,
) -> Submission:
    """One run of a submission. It always has a key, so that sending it twice is harmless.

    A `submitter` is given where the daemon shares its machine: the run gets its folder, and (with
    the request) its environment. From afar it gets the daemon's.
    """
    _check_key(key)
    secrets = said({"env": dict(secret_env or {}) or None, "pickle": pickle})
    return said(
        {
            "spec": _at_home(spec, submitter) if submitter else dict(spec),
            "secrets": secrets or None,
            "submission_key": fresh_key() if key is None else key,
        }
    )


def said(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that say something; what is left out has its default."""
    return {name: value for name, value in fields.items() if value is not None}


def _at_home(spec: Mapping[str, object], submitter: Submitter) -> dict[str, object]:
    """The spec with its folder seen from the submitter's, and what it inherits from there."""
    workload = _workload(spec)
    inherited: dict[str, object] = {"umask": submitter.umask}
    if workload.get("kind") in ("call", "pipeline", "study") and submitter.python is not None:
        inherited["python"] = submitter.python
    cwd = Path(submitter.cwd, str(workload.get("cwd") or ""))
    at_home = {**spec, "workload": {**inherited, **workload, "cwd": str(cwd)}}
    if on_end := spec.get("on_end"):
        at_home["on_end"] = _program_at_home(on_end, submitter)
    return at_home


def _program_at_home(argv: object, submitter: Submitter) -> object:
    """A command whose program is found from anywhere, where it is named by a path."""
    if not (isinstance(argv, Sequence) and argv and "/" in str(argv[0])):
        return argv
    program = Path(submitter.cwd, str(argv[0]))
    if not os.access(program, os.X_OK):
        raise InvalidRequest(f"on_end: found {argv[0]}, expected a program that can be executed")
    return [str(program), *argv[1:]]


def _check_key(key: str | None) -> None:
    if key == "":
        raise InvalidRequest("key: found nothing, expected 1 to 200 characters")


def _described(what: Command | Call | Described | Sequence[str]) -> Command | Call | Described:
    if isinstance(what, Sequence):
        return Command(what)
    if not hasattr(what, "spec"):
        raise InvalidRequest(
            f"found {what!r:.100}, expected a command, a call, a pipeline, a study"
        )
    return what


def _workload(spec: Mapping[str, object]) -> Mapping[str, object]:
    workload = spec.get("workload")
    if not isinstance(workload, Mapping):
        raise InvalidRequest(f"the spec's workload is {workload!r}: expected a table")
    return workload


def _check_argv(argv: Sequence[str]) -> None:
    if isinstance(argv, str):
        raise InvalidRequest(f"{argv!r} is one text: a command is a list of arguments")


def _umask() -> int:
    """This process's mask; umask(2) tells the old one only when a new one is set."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
