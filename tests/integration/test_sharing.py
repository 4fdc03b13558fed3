"""Code that is laid together takes fewer pages, in an interpreter that has just been started."""

from __future__ import annotations

import subprocess
import sys

import pytest

SPREAD_OUT = """
import sys
from intendant.process.sharing import lay_together

for number in range(1000):
    exec(f"def f{number}(x):\\n" + "".join(f" x = f(x, {line})\\n" for line in range(LINES)))
functions = [globals()[f"f{number}"] for number in range(0, 1000, 10)]

def pages():
    return len({id(function.__code__) // 4096 for function in functions})

spread = pages()
lay_together({("__main__", function.__name__) for function in functions})
print(spread, pages())
"""


@pytest.mark.parametrize("lines", [1, 8], ids=["small", "large"])
def test_code_that_was_spread_out_takes_fewer_pages(lines: int) -> None:
    script = SPREAD_OUT.replace("LINES", str(lines))
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    spread, together = map(int, said.split())
    assert together < spread / 2
