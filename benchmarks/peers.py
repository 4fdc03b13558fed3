"""Environments of their own for peers, from the package registry; kept for the next time."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PEERS = Path(__file__).parents[1] / ".peers"
INSTALL_S = 300.0


def python_with(requirement: str, *needs: str) -> str | None:
    """A Python that has this package; None (and a line on stderr) where it can't be installed.

    `needs`, where given, is what it is installed with, instead of what it asks for itself.
    """
    folder = PEERS / requirement
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists():
        return str(python)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        venv.create(folder, with_pip=True, clear=True)
        alone = ["--no-deps"] if needs else []
        subprocess.run([*install, *alone, requirement], check=True, timeout=INSTALL_S)
        if needs:
            subprocess.run([*install, *needs], check=True, timeout=INSTALL_S)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{requirement} can't be installed: {error}", file=sys.stderr)
        return None
    ready.touch()
    return str(python)
