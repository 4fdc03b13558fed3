"""A process that is killed while it submits: what it acknowledged is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.stores import check_invariants, opened

SUBMIT = """
import asyncio, itertools, sys
from pathlib import Path
from tests.helpers.stores import opened, submission

async def submit(case, keys):
    for key in keys:
        [run_id] = await case.store.submit([submission(key, key=key)], account="ada")
        print(run_id, key, flush=True)

async def main():
    async with opened(Path(sys.argv[1])) as case:
        keys = map("key-{}".format, itertools.count())
        await asyncio.gather(*(submit(case, keys) for _ in range(8)))

asyncio.run(main())
"""


def kill_after(lines: int, folder: Path) -> dict[str, int]:
    """Let a process submit, kill it after so many answers; all that it had acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", SUBMIT, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        answers = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        answers += process.stdout.readlines()
    pairs = [line.split() for line in answers if line.endswith("\n")]
    return {key: int(run_id) for run_id, key in pairs}


async def test_what_was_acknowledged_survives_the_kill(tmp_path: Path) -> None:
    for lines in (1, 50, 333):
        folder = tmp_path / str(lines)
        folder.mkdir()

        acknowledged = kill_after(lines, folder)

        assert len(acknowledged) >= lines
        async with opened(folder) as case:
            for key, run_id in acknowledged.items():
                assert (await case.store.run(run_id)).name == key
            for key, run_id in acknowledged.items():
                assert await case.add(key, key=key) == run_id
        check_invariants(folder / "store.db")
