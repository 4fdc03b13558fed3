"""What a governor calls and looks up, written to `src/intendant/governor/footprint`.

    python -m benchmarks.footprint

watches the governors of a few runs, and their stubs, from the fork to the end. To be done again
when `governor_memory` has grown and nobody knows why; with the oldest Python that is supported.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import FrameType

from intendant import Client
from intendant.client.embedded import EmbeddedDaemon
from intendant.governor import footprint

RECORD = "INTENDANT_FOOTPRINT"
"""The variable that names the file for what is seen, a line for each function."""
COMMANDS = (["true"], ["false"], ["/nowhere"], ["sleep", "1.5"])
"""The last one is long enough to be found on the bus."""


def main() -> None:
    """Watch, and write down."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record")
        record.touch()
        sitecustomize = Path(folder, "sitecustomize.py")
        sitecustomize.write_text("import benchmarks.footprint as it; it.watch_children()")
        os.environ[RECORD] = str(record)
        os.environ["PYTHONPATH"] = f"{folder}:{Path(__file__).parents[1]}"
        with EmbeddedDaemon() as embedded, embedded.client() as client:
            _play(client)
        _write(record.read_text().splitlines())


def _play(client: Client) -> None:
    """Runs as they are, with each of the ends that are common."""
    for command in COMMANDS:
        client.submit(command).wait()
    sleeper = client.submit(["sleep", "600"])
    for info in client.watch(sleeper.id, changes=True):
        if info["state"] == "running":
            break
    sleeper.cancel()
    sleeper.wait()


def _write(lines: list[str]) -> None:
    folder = Path(footprint.__file__).parent
    parts = [line.split(" ") for line in lines]
    functions = {f"{module} {name}" for module, name, *_ in parts}
    names = {name for _, _, *names in parts for name in names}
    for file, words in (("functions.txt", functions), ("names.txt", names)):
        (folder / file).write_text("".join(f"{word}\n" for word in sorted(words)))


def watch_children() -> None:
    """In a zygote: have each child write down what it calls."""
    if b"intendant.process.zygote" not in Path("/proc/self/cmdline").read_bytes():
        return
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND)
    seen = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code not in seen:
            seen.add(code)
            words = frame.f_globals["__name__"], code.co_qualname, *code.co_names
            os.write(record, (" ".join(words) + "\n").encode())

    os.register_at_fork(
        before=partial(sys.setprofile, watch), after_in_parent=partial(sys.setprofile, None)
    )


if __name__ == "__main__":
    main()
