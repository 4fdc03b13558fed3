"""The session in the README prints what it says there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.waiting import wait_for

README = Path(__file__).parents[2] / "README.md"
DIFFERENT_EACH_TIME = [
    (r"\d{4}-\d\d-\d\d ", "<day> "),
    (r"\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
    (r"\d+\.\d\ds", "<duration>"),
    (r"pid=\d+", "pid=<pid>"),
    (r"account=\S+", "account=<account>"),
    (r" +", " "),
]


def session() -> list[tuple[str, str]]:
    """Each command, and what stands below it."""
    [block] = re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.M | re.S)
    _, *parts = re.split(r"^\$ ", block, flags=re.M)
    return [(command, said) for command, _, said in (part.partition("\n") for part in parts)]


def shape(text: str) -> str:
    """Text without what is different each time."""
    for pattern, instead in DIFFERENT_EACH_TIME:
        text = re.sub(pattern, instead, text)
    return text


def test_the_session_in_the_readme_prints_what_stands_there(folders: Daemon) -> None:
    env = folders.environment | {"PATH": f"{Path(INTENDANT).parent}:{os.environ['PATH']}"}
    (serve, nothing), *commands = session()
    assert (serve.endswith(" &"), nothing, len(commands)) == (True, "", 11)

    in_front = ["bash", "-c", f"exec {serve.removesuffix(' &')}"]
    with subprocess.Popen(in_front, env=env, cwd=folders.home) as daemon:
        try:
            wait_for("the daemon serves", lambda: folders.run("status").returncode == 0)
            for command, expected in commands:
                done = subprocess.run(
                    ["bash", "-c", command], env=env, cwd=folders.home, timeout=100,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                )  # fmt: skip
                assert shape(done.stdout) == shape(expected), command
            assert daemon.wait(60) == 0
        finally:
            daemon.kill()
