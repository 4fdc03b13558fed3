"""The examples in docs/python.md print what stands behind them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
LIMIT_S = 280.0


@pytest.mark.timeout(300)
def test_the_examples_of_the_python_page_print_what_stands_there(daemon: Daemon) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    script = daemon.home / "page.py"
    script.write_text("\n".join(blocks))
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", script.read_text(), re.M)
    assert (len(blocks), len(expected)) == (8, 18)

    done = subprocess.run(
        [sys.executable, str(script)],
        env=daemon.environment, cwd=daemon.home, timeout=LIMIT_S,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.splitlines() == expected
