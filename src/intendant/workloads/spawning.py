"""Starting a workload's leader: folder, environment, output files.

The leader exists already, as the stub that the governor forked at its birth, in a process group
(and a cgroup) of its own; here it learns what to become.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

from intendant.errors import WorkloadNotStarted
from intendant.process.stub import Program
from intendant.workloads.base import Surroundings

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""The shell's own exit codes for the two (POSIX, sh: Exit Status for Commands)."""


class Placed(Protocol):
    """What every spec says of where and how its process runs."""

    @property
    def cwd(self) -> str | None: ...

    @property
    def env(self) -> Mapping[str, str]: ...

    @property
    def umask(self) -> int | None: ...


def spawn(
    argv: Sequence[str],
    spec: Placed,
    surroundings: Surroundings,
    *,
    stdin: str | None = None,
    pass_fds: Sequence[int] = (),
) -> int:
    """Start a program as the leader of a new process group; its pid, the caller's to reap.

    `WorkloadNotStarted` carries 127 or 126 where a shell would.
    """
    folder = _folder(spec, surroundings.folder)
    with ExitStack() as files:
        standard = (
            files.enter_context(_open_stdin(stdin, folder)),
            files.enter_context(_open_log(surroundings.stdout)),
            files.enter_context(_open_log(surroundings.stderr)),
        )
        descriptors = {number: file.fileno() for number, file in enumerate(standard)}
        program = Program(
            argv=[os.fsencode(argument) for argument in argv],
            environment=_environment(spec, surroundings),
            folder=folder,
            umask=spec.umask,
            descriptors=descriptors | {number: number for number in pass_fds},
        )
        try:
            surroundings.stub.become(program)
        except OSError as error:
            raise not_started(error, argv[0], folder) from error
    return surroundings.stub.pid


def _folder(spec: Placed, default: Path) -> Path:
    folder = default if spec.cwd is None else default / spec.cwd
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise WorkloadNotStarted(f"folder_missing: {folder}: {error.strerror}") from error
    if not is_folder:
        kind = "is no folder" if folder.exists() else "does not exist"
        raise WorkloadNotStarted(f"folder_missing: {folder} {kind}")
    if not os.access(folder, os.X_OK):
        raise WorkloadNotStarted(f"folder_missing: {folder} may not be entered")
    return folder


def _open_stdin(name: str | None, folder: Path) -> BinaryIO:
    path = Path(os.devnull) if name is None else folder / name
    try:
        return path.open("rb")
    except OSError as error:
        raise WorkloadNotStarted(f"stdin_missing: {path}: {error.strerror}") from error


def _environment(spec: Placed, surroundings: Surroundings) -> dict[bytes, bytes]:
    own = {os.fsencode(name): os.fsencode(value) for name, value in spec.env.items()}
    return {**surroundings.environment, **own}


def not_started(error: OSError, program: str, folder: Path) -> WorkloadNotStarted:
    """What an error of fork or execve(2) means for the run."""
    match error.errno:
        case errno.ENOENT if "/" in program and (folder / program).exists():
            return WorkloadNotStarted(
                f"interpreter_not_found: the one that {program} names", exit_code=NOT_FOUND
            )
        case errno.ENOENT | errno.ENOTDIR:
            return WorkloadNotStarted(f"command_not_found: {program}", exit_code=NOT_FOUND)
        case errno.EACCES | errno.ENOEXEC | errno.EISDIR:
            return WorkloadNotStarted(
                f"not_executable: {program}: {error.strerror}", exit_code=NOT_EXECUTABLE
            )
        case errno.E2BIG:
            return WorkloadNotStarted(
                "arguments_too_long: arguments and environment together exceed what the kernel "
                "takes (execve(2))",
                exit_code=NOT_EXECUTABLE,
            )
        case _:
            return WorkloadNotStarted(f"not_started: {program}: {error.strerror}")


def _open_log(path: Path) -> BinaryIO:
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    return os.fdopen(descriptor, "ab", buffering=0)
