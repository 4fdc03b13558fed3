"""Who has what opens a pickle in its process, and who has not."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
import {module}
print(*sys.modules.keys() & {{"intendant.client.pickles", "cloudpickle", "tblib"}})
"""


@pytest.mark.parametrize(
    "module",
    ["intendant.executor.main", "intendant.governor.main", "intendant.broker.server",
     "intendant.process.zygote", "intendant.workloads.call", "intendant.cli.result"],
)  # fmt: skip
def test_what_passes_pickles_on_can_not_open_them(module: str) -> None:
    script = LOADED.format(module=module)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")
