"""Studies whose `resume` is "prompt": whoever starts them is asked whether to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from intendant.errors import SettingsError, StoreError

if TYPE_CHECKING:
    from intendant.protocol.studyfile import Resumes


def resume_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that answer without being asked."""
    return click.option(
        "--resume/--no-resume", default=None,
        help='For studies whose resume is "prompt": go on from the snapshot, or begin anew.',
    )(command)  # fmt: skip


def answer_of(flag: bool | None) -> Resumes:
    """Ask on a terminal about each snapshot that is there, unless a flag has answered."""

    def resumes(snapshot: str, cwd: str | None) -> bool:
        if flag is not None:
            return flag
        if not holds_study(snapshot if "://" in snapshot else str(Path(cwd or "", snapshot))):
            return False
        if not sys.stdin.isatty():
            raise SettingsError(
                f"{snapshot} holds a study, and there is no terminal to ask at whether to go on "
                "from it: --resume says yes, --no-resume begins anew"
            )
        return click.confirm(f"{snapshot} holds a study. Go on from it?", default=True, err=True)

    return resumes


def holds_study(snapshot: str) -> bool:
    """Whether there is a snapshot at a path or a URL; `StoreError` where nobody can say."""
    from intendant.workloads.study.snapshots import LATEST, Place

    try:
        return Place(snapshot).read(LATEST) is not None
    except (OSError, ValueError, ImportError) as error:
        raise StoreError(f"{snapshot}: can't be looked at: {error}") from error
