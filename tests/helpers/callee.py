"""The process of a call without a governor: its order, its report, its life-line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Called:
    """How a call ended."""

    status: int
    report: dict[str, Any] | None
    stdout: str
    stderr: str


class Callee:
    """One call in `folder`, where the modules that it names are and its result comes."""

    def __init__(self, folder: Path, **order: object) -> None:
        self.folder = folder
        self._report = tempfile.TemporaryFile()  # noqa: SIM115  closed by `wait`
        reading_end, self._life = os.pipe()
        defaults: dict[str, object] = {
            "target": None,
            "pickle": None,
            "args": [],
            "map": None,
            "processes": None,
        }
        content = {"label": "7.1", "folder": str(folder), "result": "json", **defaults, **order}
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(content).encode())
            file.seek(0)
            descriptors = (file.fileno(), self._report.fileno(), reading_end)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "intendant.workloads.callee", *map(str, descriptors)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                pass_fds=descriptors,
                process_group=0,
            )
        os.close(reading_end)

    def ask(self) -> None:
        """Ask it to end, as a governor does."""
        os.close(self._life)

    def wait(self, *, within_s: float = 60.0) -> Called:
        """The end."""
        stdout, stderr = self.process.communicate(timeout=within_s)
        self._report.seek(0)
        report = self._report.read()
        self._report.close()
        said = json.loads(report) if report else None
        return Called(self.process.returncode, said, stdout, stderr)
