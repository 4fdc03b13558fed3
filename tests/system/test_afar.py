"""A daemon on one host, clients with keys on another: here two loopback addresses."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import zmq

from intendant.broker.keys import read_pair
from intendant.broker.sync_client import SyncConnection
from intendant.client.client import Client
from intendant.errors import AccessDenied, Busy, RunNotFound
from tests.helpers.bus import send_without_end
from tests.helpers.daemon import INTENDANT, Daemon, daemon_folders
from tests.helpers.keys import Keys, listening
from tests.helpers.waiting import wait_for

SERVER_HOST = "127.0.0.2"
HANGS_S = 25.0
"""A client that nobody answers gives up after 30 s."""


@dataclass(frozen=True)
class Afar:
    """A daemon that listens at another address, and the keys it knows."""

    daemon: Daemon
    keys: Keys
    endpoint: str

    def run(self, who: str, *arguments: str, within_s: float = 100.0) -> Done:
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
        keys.authorize("sue", more=', sees = "all"')
        keys.make("stranger")
        yield Afar(daemon, keys, listening(daemon, keys, "--slots", "4", host=SERVER_HOST))


def test_with_a_key_one_submits_follows_the_log_and_cancels_from_afar(afar: Afar) -> None:
    run_id = afar.submit("ann", "sh", "-c", "echo here; exec sleep 600")
    follower = afar.daemon.popen(*afar.keys.flags("ann", afar.endpoint), "logs", "-f", run_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "here\n"

    assert afar.run("ann", "cancel", run_id).returncode == 0

    assert afar.run("ann", "wait", run_id).returncode == 130
    assert follower.wait(60) == 0
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
    assert time.monotonic() - began < HANGS_S


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
    assert follower.wait(60) == 0, follower.stderr and follower.stderr.read()
    assert seen == [f"{number}\n" for number in range(1, 7)]


# --- roles ---------------------------------------------------------------------------------------


def test_an_observer_sees_lists_without_environments_and_marked_arguments(afar: Afar) -> None:
    submitted = afar.run(
        "ann", "submit", "--env", "PLAIN=visible-9d1", "--env", "ANN_TOKEN=token-4c7",
        "--secret-arg", "2", "--wait", "--", "sh", "-c", "true # argument-e20", "shown",
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stderr
    run_id = submitted.stdout.strip()

    seen = {
        who: afar.run(who, "ls", "--all", "--json").stdout
        + afar.run(who, "show", run_id, "--json").stdout
        + afar.run(who, "wait", run_id, "--json").stdout
        for who in ("ann", "olga", "oscar")
    }

    for who in ("ann", "oscar"):
        assert all(word in seen[who] for word in ("visible-9d1", "argument-e20", "shown"))
    assert "shown" in seen["olga"]
    assert "visible-9d1" not in seen["olga"]
    assert "argument-e20" not in seen["olga"]
    assert "token-4c7" not in "".join(seen.values())


@pytest.mark.parametrize(
    ("who", "arguments"),
    [
        ("olga", ["submit", "--", "true"]),
        ("olga", ["cancel", "1"]),
        ("olga", ["logs", "1"]),
        ("bob", ["queue", "pause", "default"]),
        ("bob", ["logs", "--system"]),
        ("oscar", ["shutdown"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_a_role_does_not_allow_is_refused_and_put_on_record(
    afar: Afar, who: str, arguments: list[str]
) -> None:
    done = afar.run(who, *arguments)

    assert done.returncode == 1
    assert "access denied" in done.stderr
    record = afar.run("oscar", "logs", "--system", "--level", "warning", "--json").stdout
    texts = [json.loads(line["text"]) for line in json.loads(record)]
    assert ("request_refused", who, "access_denied") in {
        (text["event"], text.get("account"), text.get("code")) for text in texts
    }


def test_anothers_run_looks_like_one_that_does_not_exist(afar: Afar) -> None:
    run_id = afar.submit("ann", "sh", "-c", "echo private-77; exec sleep 600")
    afar.daemon.wait_state(int(run_id), "running")
    unknown = str(int(run_id) + 1000)

    for verb in (["cancel"], ["show"], ["logs"], ["wait"], ["explain"], ["hold"], ["retry"],
                 ["result"], ["events"]):  # fmt: skip
        answers = [afar.run("bob", *verb, one) for one in (run_id, unknown)]
        assert [done.returncode for done in answers] == [1, 1], verb
        texts = [done.stderr.replace(run_id, "N").replace(unknown, "N") for done in answers]
        texts = [text.replace("N000", "N") for text in texts]
        assert f"no run {unknown}" in answers[1].stderr
        assert f"no run {run_id}" in answers[0].stderr, texts
    assert "private-77" not in afar.run("bob", "events").stdout
    listed = json.loads(afar.run("bob", "ls", "--all", "--json").stdout)
    assert run_id not in [str(run["id"]) for run in listed]
    counted = json.loads(afar.run("bob", "status", "--json").stdout)["runs"]
    assert sum(counted.values()) == len(listed)
    assert afar.daemon.show(int(run_id))["state"] == "running"

    assert afar.run("oscar", "logs", run_id).stdout == "private-77\n"
    assert afar.run("oscar", "cancel", run_id).returncode == 0


def test_the_last_run_of_a_stream_is_the_last_that_the_stream_may_be_about(afar: Afar) -> None:
    with Client(afar.keys.address("sue", afar.endpoint)) as sue:
        with pytest.raises(RunNotFound, match="no run yet"):
            list(sue.logs("last"))
        own = sue.submit(["echo", "sue's"])
        others = int(afar.submit("ann", "sh", "-c", "exit 7"))

        assert b"".join(sue.logs("last", follow=True)) == b"sue's\n"
        assert [run["id"] for run in sue.wait("last")] == [others]
        assert own.id < others


def test_a_stream_about_the_last_run_begins_by_saying_which_it_is(afar: Afar) -> None:
    run_id = int(afar.submit("ann", "true"))
    request = {"protocol_version": 1, "kind": "event_list_request", "selection": ["last"]}
    body = [json.dumps(request).encode()]
    with closing(SyncConnection(afar.endpoint, keys=afar.keys.of("oscar"))) as connection:
        _, [first] = next(iter(connection.stream(b"stream", lambda: body, timeout_s=60)))

    assert json.loads(first) == {"protocol_version": 1, "kind": "stream_tick", "last": run_id}


def test_an_accounts_queue_is_bounded_and_others_are_not_held_up(folders: Daemon) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann")
    keys.authorize("bob")
    settings = folders.home / "settings.toml"
    settings.write_text("max_queued = 3\nslots = 1\n")
    endpoint = listening(folders, keys, "--config", str(settings))
    with (
        Client(keys.address("ann", endpoint)) as ann,
        Client(keys.address("bob", endpoint)) as bob,
    ):
        for _ in range(3):
            ann.submit(["true"], hold=True)

        with pytest.raises(Busy, match="at most 3"):
            ann.submit(["true"])

        assert bob.submit(["true"]).wait()["outcome"] == "succeeded"


# --- attacks -------------------------------------------------------------------------------------


def test_s12_a_message_without_end_is_ended_by_the_bound_on_memory_and_harms_no_run(
    folders: Daemon,
) -> None:
    """No option of libzmq stops it. The sender's connection ends, and the broker if it must."""
    settings = folders.home / "settings.toml"
    settings.write_text("broker_memory_mib = 512\n")
    folders.start("--config", str(settings))
    run_id = folders.submit("sh", "-c", "until test -e go; do sleep 0.05; done; echo unharmed")
    folders.wait_state(run_id, "running")

    send_without_end(folders.runtime_dir / "client.sock")

    wait_for("a broker serves", folders.serves)
    broker = folders.status()["broker"]
    assert broker["restarts"] <= 1
    assert psutil.Process(broker["pid"]).memory_info().rss < 512 * 1024 * 1024
    (folders.home / "go").touch()
    assert folders.run("wait", str(run_id)).returncode == 0
    assert folders.run("logs", str(run_id)).stdout == "unharmed\n"


def test_only_what_was_asked_for_is_listened_at_while_runs_run(afar: Afar) -> None:
    run_id = afar.submit("ann", "sleep", "600")
    afar.daemon.wait_state(int(run_id), "running")
    executor = psutil.Process(afar.daemon.pid)

    listening_at = {
        connection.laddr
        for process in [executor, *executor.children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {f"tcp://{address.ip}:{address.port}" for address in listening_at} == {afar.endpoint}
    assert afar.run("ann", "cancel", run_id).returncode == 0


@pytest.mark.parametrize(
    "kind",
    ["__class__", "_private", "a.b.c", "run_shutdown_request", "run_start_request", "answer",
     "error_response", ""],
)  # fmt: skip
def test_a_verb_that_is_in_no_table_is_refused(afar: Afar, kind: str) -> None:
    answer = ask(afar, {"kind": kind, "protocol_version": 1})
    assert answer["code"] == "invalid_request"


@pytest.mark.parametrize(
    "selector", ["../../etc/passwd", "/etc", "%2e%2e", "1;ls", "1\0", ".", "", "1' OR '1'='1",
                 "x" * 5000],
)  # fmt: skip
def test_a_run_is_named_by_a_number_and_nothing_else(afar: Afar, selector: str) -> None:
    for kind in ("run_show_request", "run_cancel_request"):
        answer = ask(afar, {"kind": kind, "selection": [selector]})
        assert answer["code"] == "invalid_request"


def test_a_filter_is_data_to_the_database(afar: Afar) -> None:
    answer = ask(afar, {"kind": "run_list_request", "queue": "default' OR '1'='1"})
    assert answer["code"] == "invalid_request"


def test_an_admins_key_offers_no_service_of_the_daemons(afar: Afar) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        keys = afar.keys.of("ada")
        socket.linger, socket.rcvtimeo = 0, 60_000
        socket.curve_publickey = keys.pair.public.encode()
        socket.curve_secretkey = keys.pair.secret.encode()
        socket.curve_serverkey = keys.server.encode()
        socket.connect(afar.endpoint)
        socket.send_multipart([b"MDPW02", b"\x01", b"executor"])
        assert socket.recv_multipart() == [b"MDPW02", b"\x06"]


def ask(afar: Afar, message: dict[str, object]) -> dict[str, object]:
    """The answer to a request that no client of ours would make, with the key of an admin."""
    connection = SyncConnection(afar.endpoint, keys=afar.keys.of("ada"))
    with closing(connection):
        answer = connection.request(b"executor", [json.dumps(message).encode()], timeout_s=60)
    found: dict[str, object] = json.loads(answer[0])
    return found


# --- keys ----------------------------------------------------------------------------------------


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
        capture_output=True, text=True, timeout=60, check=False, umask=umask,
    )  # fmt: skip
