"""A command: arguments for execve(2), never a shell's line."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from intendant.errors import WorkloadNotStarted
from intendant.protocol.specs import CommandSpec
from intendant.workloads.base import Surroundings

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""The shell's own exit codes for the two (POSIX, sh: Exit Status for Commands)."""


class CommandWorkload:
    """A program with arguments, environment, folder, file mode mask and input."""

    can_be_asked = False

    def __init__(self, spec: CommandSpec) -> None:
        self._spec = spec

    def start(self, surroundings: Surroundings) -> int:
        """Start the program; `WorkloadNotStarted` carries 127 or 126 where a shell would."""
        folder = self._folder(surroundings.folder)
        with ExitStack() as files:
            stdin = files.enter_context(self._open_stdin(folder))
            stdout = files.enter_context(_open_log(surroundings.stdout))
            stderr = files.enter_context(_open_log(surroundings.stderr))
            try:
                child = subprocess.Popen(  # noqa: S603 running a user's command is the point
                    self._spec.argv,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=folder,
                    env=self._environment(surroundings),
                    umask=-1 if self._spec.umask is None else self._spec.umask,
                    process_group=0,
                )
            except OSError as error:
                raise _not_started(error, self._spec.argv[0], folder) from error
        # The governor reaps it: without this, Popen's own clean-up might come first.
        child.returncode = 0
        return child.pid

    def _folder(self, default: Path) -> Path:
        folder = default if self._spec.cwd is None else default / self._spec.cwd
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

    def _open_stdin(self, folder: Path) -> BinaryIO:
        path = Path(os.devnull) if self._spec.stdin is None else folder / self._spec.stdin
        try:
            return path.open("rb")
        except OSError as error:
            raise WorkloadNotStarted(f"stdin_missing: {path}: {error.strerror}") from error

    def _environment(self, surroundings: Surroundings) -> dict[bytes, bytes]:
        own = {os.fsencode(name): os.fsencode(value) for name, value in self._spec.env.items()}
        return {**surroundings.environment, **own}


def _not_started(error: OSError, program: str, folder: Path) -> WorkloadNotStarted:
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
