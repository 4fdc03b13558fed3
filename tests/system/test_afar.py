"""A daemon on one host, clients with keys on another: here two loopback addresses."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from intendant.broker.keys import read_pair
from intendant.client.client import Client
from intendant.errors import AccessDenied
from tests.helpers.daemon import INTENDANT, Daemon, daemon_folders
from tests.helpers.keys import Keys, listening
from tests.helpers.waiting import wait_for

SERVER_HOST = "127.0.0.2"


@dataclass(frozen=True)
class Afar:
    """A daemon that listens at another address, and the keys it knows."""

    daemon: Daemon
    keys: Keys
    endpoint: str

    def run(self, who: str, *arguments: str, within_s: float = 60.0) -> Done:
        """A command line with the key of `who`."""
        return self.daemon.run(*self.keys.flags(who, self.endpoint), *arguments, within_s=within_s)

    def submit(self, who: str, *argv: str) -> str:
        done = self.run(who, "submit", "--", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def afar() -> Iterator[Afar]:
    """One for the whole module: leave the keys as they were."""
    with daemon_folders() as daemon:
        keys = Keys(daemon.home)
        for name, role in (("ann", "submit"), ("bob", "submit"), ("olga", "observe"),
                           ("oscar", "operate"), ("ada", "admin")):  # fmt: skip
            keys.authorize(name, role)
        keys.make("stranger")
        yield Afar(daemon, keys, listening(daemon, keys, "--slots", "4", host=SERVER_HOST))


def test_with_a_key_one_submits_follows_the_log_and_cancels_from_afar(afar: Afar) -> None:
    run_id = afar.submit("ann", "sh", "-c", "echo here; exec sleep 600")
    follower = afar.daemon.popen(*afar.keys.flags("ann", afar.endpoint), "logs", "-f", run_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "here\n"

    assert afar.run("ann", "cancel", run_id).returncode == 0

    assert afar.run("ann", "wait", run_id).returncode == 130
    assert follower.wait(20) == 0
    shown = json.loads(afar.run("ann", "show", run_id, "--json").stdout)
    assert shown["account"] == "ann"


@pytest.mark.parametrize(
    ("who", "says"),
    [("stranger", "does not know our key"), (None, "lets keys in alone")],
    ids=["a key that is not known", "no key"],
)
def test_who_is_not_let_in_is_told_so_at_once(afar: Afar, who: str | None, says: str) -> None:
    flags = ["--endpoint", afar.endpoint] if who is None else afar.keys.flags(who, afar.endpoint)
    began = time.monotonic()

    done = afar.daemon.run(*flags, "ls", "--json")

    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "access_denied"
    assert says in error["message"]
    assert time.monotonic() - began < 5.0


def test_a_server_with_another_key_than_the_expected_one_is_not_talked_to(afar: Afar) -> None:
    flags = [*afar.keys.flags("ann", afar.endpoint)[:-1], afar.keys.clients["bob"].public]

    done = afar.daemon.run(*flags, "ls")

    assert done.returncode == 1
    assert "its key is not the one we expect" in done.stderr


def test_a_removed_key_is_cut_off_at_once_and_an_added_one_let_in(afar: Afar) -> None:
    afar.keys.authorize("guest")
    reload(afar)
    with Client(afar.keys.address("guest", afar.endpoint)) as guest:
        run = guest.submit(["sh", "-c", "echo here; exec sleep 600"])
        log = guest.logs(run.id, follow=True)
        assert next(iter(log)) == b"here\n"

        afar.keys.remove("guest")
        reload(afar)

        with pytest.raises(AccessDenied):  # the stream
            list(log)
        with pytest.raises(AccessDenied):  # the connection for requests
            guest.status()
    assert afar.run("ada", "cancel", str(run.id)).returncode == 0


def test_a_faulty_file_of_keys_changes_nothing(afar: Afar) -> None:
    before = afar.keys.authorized_file.read_text()
    afar.keys.authorized_file.write_text(before + '"no key" = { account = "x" }\n')
    afar.daemon.send(signal.SIGHUP)
    wait_for("it is refused", lambda: "settings_refused" in afar.daemon.log_text())

    assert afar.run("ann", "status").returncode == 0
    assert afar.run("stranger", "status").returncode == 1
    afar.keys.authorized_file.write_text(before)


def test_a_restarted_server_goes_on_with_a_followed_log_without_loss_or_repetition(
    folders: Daemon,
) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann")
    endpoint = listening(folders, keys, "--on-signal", "leave", host=SERVER_HOST)
    script = "for i in 1 2 3 4 5; do echo $i; done; until test -e $0; do sleep 0.05; done; echo 6"
    go = folders.home / "go"
    run_id = folders.run(
        *keys.flags("ann", endpoint), "submit", "--", "sh", "-c", script, str(go)
    ).stdout.strip()
    follower = folders.popen(*keys.flags("ann", endpoint), "logs", "-f", run_id)
    assert follower.stdout is not None
    seen = [follower.stdout.readline() for _ in range(5)]

    assert folders.stop() == 143
    port = endpoint.rpartition(":")[2]
    folders.start(
        "--on-signal", "leave", "--listen", f"tcp://{SERVER_HOST}:{port}",
        "--server-key-file", str(keys.folder / "server.key"),
        "--authorized-keys", str(keys.authorized_file),
    )  # fmt: skip
    go.touch()

    seen += follower.stdout.readlines()
    assert follower.wait(20) == 0, follower.stderr and follower.stderr.read()
    assert seen == [f"{number}\n" for number in range(1, 7)]


def test_keygen_writes_a_file_for_its_owner_alone_and_prints_the_line_to_add(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ann.key"

    done = keygen(str(path), "--account", "ann", "--role", "operate", umask=0)

    pair = read_pair(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.stdout == f'"{pair.public}" = {{ account = "ann", role = "operate" }}\n'
    assert pair.secret not in done.stdout + done.stderr
    assert keygen(str(path)).returncode == 2  # it overwrites nothing


@pytest.mark.parametrize("whose", ["client", "server"])
def test_a_secret_key_that_others_can_read_is_refused(folders: Daemon, whose: str) -> None:
    keys = Keys(folders.home)
    keys.authorize("client")
    (keys.folder / f"{whose}.key").chmod(0o640)

    done = (
        folders.run(*keys.flags("client", "tcp://127.0.0.1:1"), "ls")
        if whose == "client"
        else folders.run(
            "serve", "--listen", "tcp://127.0.0.1:0", "--server-key-file",
            str(keys.folder / "server.key"), "--authorized-keys", str(keys.authorized_file),
        )
    )  # fmt: skip

    assert done.returncode == 2
    assert f"{whose}.key: found mode 0640, expected 0600" in done.stderr


def reload(afar: Afar) -> None:
    """Have the daemon read its keys again; returns when it has."""
    before = afar.daemon.log_text().count("settings_applied")
    afar.daemon.send(signal.SIGHUP)
    wait_for("the keys are read", lambda: afar.daemon.log_text().count("settings_applied") > before)


def keygen(*arguments: str, umask: int = -1) -> Done:
    return subprocess.run(
        [INTENDANT, "keygen", *arguments],
        capture_output=True, text=True, timeout=20, check=False, umask=umask,
    )  # fmt: skip
