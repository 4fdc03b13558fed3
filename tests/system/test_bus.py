"""The bus from outside: strangers at the door, a governor that talks nonsense, a broker alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import zmq

from intendant.broker.sync_client import SyncConnection
from intendant.broker.worker import Request
from intendant.errors import AccessDenied
from intendant.process.identity import children
from intendant.protocol.folders import client_endpoint
from tests.helpers.bus import broker_alone, send_without_end, workers
from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.keys import Keys
from tests.helpers.waiting import SLOWNESS_S, wait_for

ROOT = Path(__file__).parents[2]

HOSTILE: list[list[bytes]] = [
    [b""],
    [b"", b""],
    [b"garbage"],
    [b"\x00" * 1000] * 20,
    [b"MDPC02"],
    [b"MDPC02", b"\x01"],
    [b"MDPC02", b"\x01", b"executor", b"no JSON"],
    [b"MDPC02", b"\x01", b"executor", b'{"kind": "run_delete_everything_request"}'],
    [b"MDPC02", b"\x01", b"executor", b"[" * 100_000],
    [b"MDPW02", b"\x01", b"executor"],
    [b"MDPW02", b"\x01", b"stream"],
    [b"MDPW02", b"\x01", b"governor.1.1.token"],
    [b"MDPW02", b"\x06"],
    [b"MDPC02", b"\x01", b"mmi.service"],
]


def test_e16_what_a_stranger_sends_stops_neither_broker_nor_daemon(served: Daemon) -> None:
    broker = served.status()["broker"]

    with strangers_socket(served) as socket:
        for frames in HOSTILE * 3:
            socket.send_multipart(frames)

    assert served.run("submit", "--wait", "--", "true").returncode == 0
    assert served.status()["broker"] == broker


def test_e16_nobody_else_can_offer_the_daemons_services(served: Daemon) -> None:
    with strangers_socket(served) as socket:
        socket.send_multipart([b"MDPW02", b"\x01", b"executor"])

        with served.client() as client:
            assert {client.status()["pid"] for _ in range(100)} == {served.pid}


def test_e17_a_service_that_does_not_exist_is_refused_at_once(served: Daemon) -> None:
    began = time.monotonic()

    answer = ask(client_endpoint(served.runtime_dir), b"no-such-service", b"{}")

    assert json.loads(answer)["code"] == "service_unknown"
    assert time.monotonic() - began < 1.0 + SLOWNESS_S


def test_a_client_cannot_speak_to_a_governor(served: Daemon) -> None:
    run_id = served.submit("sleep", "600")
    served.wait_state(run_id, "running")

    answer = ask(client_endpoint(served.runtime_dir), f"governor.{run_id}.1".encode(), b"{}")

    assert json.loads(answer)["kind"] == "error_response"
    assert served.show(run_id)["state"] == "running"
    served.run("cancel", str(run_id))


def test_e7_a_governor_that_answers_nonsense_fails_its_own_run_alone(folders: Daemon) -> None:
    start_with_odd_governor(folders)
    odd = folders.submit("true")

    others = [folders.submit("sh", "-c", f"exit {number}") for number in range(3)]

    assert [folders.run("wait", str(run_id)).returncode for run_id in others] == [0, 1, 2]
    run = folders.wait_state(odd, "ended")
    assert run["outcome"] == "failed"
    assert run["started_at"] is None
    assert "protocol" in run["reason"]
    assert folders.running.poll() is None


@pytest.fixture(params=["ipc", "tcp"])
def alone(request: pytest.FixtureRequest, folders: Daemon) -> Iterator[str]:
    """A broker that runs alone; its endpoint."""
    listen = f"ipc://{folders.home}/b.sock" if request.param == "ipc" else "tcp://127.0.0.1:*"
    with broker_alone(listen) as broker:
        yield broker.endpoints[0]


async def test_through_a_broker_alone_anybody_offers_a_service_and_anybody_asks(
    alone: str,
) -> None:
    async def reverse(request: Request) -> list[bytes]:
        return [part[::-1] for part in request.body]

    async with workers(alone, b"reverse", reverse):
        client = await asyncio.to_thread(ask, alone, b"reverse", b"stressed")

    assert client == b"desserts"


async def test_a_request_to_a_broker_alone_waits_for_its_service(alone: str) -> None:
    async def answer(_: Request) -> list[bytes]:
        return [b"at last"]

    client = asyncio.create_task(asyncio.to_thread(ask, alone, b"later", b"x"))
    # Asked and answered after it by the same broker, so that one is there by now, or soon.
    assert await asyncio.to_thread(ask, alone, b"mmi.service", b"later") == b"404"

    async with workers(alone, b"later", answer):
        assert await client == b"at last"


async def test_e17_a_worker_that_dies_with_a_request_in_hand_gives_an_error(
    alone: str,
) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from intendant.broker.worker import Worker\n"
        "async def die(request): os._exit(1)\n"
        "asyncio.run(Worker(sys.argv[1], b'fragile', die).run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, alone]) as worker:  # noqa: ASYNC220
        answer = await asyncio.to_thread(ask, alone, b"fragile", b"x")

    assert worker.returncode == 1
    assert json.loads(answer)["code"] == "worker_lost"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_broker_alone_ends_at_a_signal(folders: Daemon, number: int, status: int) -> None:
    with broker_alone(f"ipc://{folders.home}/b.sock") as broker:
        broker.process.send_signal(number)

        assert broker.process.wait(60) == status


async def test_a_broker_alone_that_dies_is_back_at_the_same_place(folders: Daemon) -> None:
    async def reverse(request: Request) -> list[bytes]:
        return [part[::-1] for part in request.body]

    listen = [f"ipc://{folders.home}/b.sock", "tcp://127.0.0.1:*"]
    with broker_alone(*listen, heartbeat_s=1.0) as broker:
        async with workers(broker.endpoints[1], b"reverse", reverse, heartbeat_s=1.0):
            os.kill(broker.pid, signal.SIGKILL)

            for endpoint in broker.endpoints:
                answer = await asyncio.to_thread(ask, endpoint, b"reverse", b"stressed")
                assert answer == b"desserts"
            assert broker.process.poll() is None


def test_a_broker_alone_that_can_not_be_kept_alive_is_given_up(folders: Daemon) -> None:
    with broker_alone(f"ipc://{folders.home}/b.sock") as broker:
        (folders.home / "b.sock").unlink()
        (folders.home / "b.sock").mkdir()
        os.kill(broker.pid, signal.SIGKILL)

        assert broker.process.wait(60) == 70


def test_a_message_without_end_ends_no_broker_alone_for_long(folders: Daemon) -> None:
    path = folders.home / "b.sock"
    with broker_alone(f"ipc://{path}", flags=["--memory", "512"]) as broker:
        send_without_end(path)

        assert ask(f"ipc://{path}", b"mmi.service", b"x") == b"404"
        [serving] = children(broker.process.pid)
        assert psutil.Process(serving).memory_info().rss < 512 * 1024 * 1024


def test_a_broker_alone_lets_nobody_in_from_afar() -> None:
    done = subprocess.run(
        [INTENDANT, "broker", "--listen", "tcp://0.0.0.0:5999"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "loopback" in done.stderr


def test_a_broker_alone_can_be_told_whose_keys_to_let_in(folders: Daemon) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann")
    keys.make("stranger")
    flags = ["--server-key-file", str(keys.folder / "server.key")]
    flags += ["--authorized-keys", str(keys.authorized_file)]

    with (
        broker_alone("tcp://127.0.0.1:*", flags=flags) as broker,
        closing(SyncConnection(broker.endpoints[0], keys=keys.of("ann"))) as ann,
        closing(SyncConnection(broker.endpoints[0], keys=keys.of("stranger"))) as stranger,
    ):
        assert ann.request(b"mmi.service", [b"none"], timeout_s=20) == [b"404"]
        with pytest.raises(AccessDenied):
            stranger.request(b"mmi.service", [b"none"], timeout_s=20)

        keys.authorize("stranger")
        keys.remove("ann")
        broker.process.send_signal(signal.SIGHUP)
        wait_for("the stranger is let in", lambda: is_let_in(stranger))
        assert not is_let_in(ann)


def is_let_in(connection: SyncConnection) -> bool:
    """Whether its key is known."""
    try:
        return connection.request(b"mmi.service", [b"none"], timeout_s=20) == [b"404"]
    except AccessDenied:
        return False


@contextmanager
def strangers_socket(daemon: Daemon) -> Iterator[zmq.Socket[bytes]]:
    """A socket at the clients' door that keeps to no rule."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 1000
        socket.connect(client_endpoint(daemon.runtime_dir))
        yield socket


def start_with_odd_governor(daemon: Daemon) -> None:
    """A daemon in whose zygote a governor is what `odd_governor` says."""
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.odd_governor", "serve"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
            env=daemon.environment | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    wait_for("the daemon serves", daemon.serves)


def ask(endpoint: str, service: bytes, body: bytes) -> bytes:
    """One request; the first frame of the answer's body."""
    connection = SyncConnection(endpoint, connect_s=60)
    try:
        return connection.request(service, [body], timeout_s=60)[0]
    finally:
        connection.close()
