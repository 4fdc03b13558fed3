"""A governor on another machine: it comes by tcp, with a key that is good for its attempt alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from intendant.broker.client import Connection
from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.dealer import ZmqDealer
from intendant.broker.keys import ClientKeys, make_pair
from intendant.broker.sockets import ConnectionLost, LinkEvent
from intendant.broker.worker import Request
from intendant.protocol import mdp
from intendant.protocol.messages import (
    RESPONSE,
    RunFinishedRequest,
    RunFinishedResponse,
    RunShutdownRequest,
    RunStartRequest,
    RunStartResponse,
    encode,
)
from intendant.protocol.order import GovernorKeys, GovernorOrder
from intendant.protocol.roles import Caller, Role, governor
from intendant.protocol.specs import RunSpec
from tests.helpers.bus import BrokerProcess, broker_process, workers

SERVICE = "governor.17.1"
TOKEN = "5a" * 16
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
PROVEN = f"{SERVICE}.{TOKEN}".encode()
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bus:
    """A daemon's broker with a tcp endpoint, and the key of one attempt."""

    broker: BrokerProcess
    private: str
    afar: str
    keys: ClientKeys

    def connection(self) -> Connection:
        return Connection(self.afar, keys=self.keys, connect_s=60.0)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    server, own = make_pair(), make_pair()
    private = f"ipc://{tmp_path}/run/private.sock"
    config = BrokerConfig(
        endpoints=(Endpoint(private, private=True), Endpoint("tcp://127.0.0.1:*")),
        daemon_pid=os.getpid(),
        heartbeat_s=5.0,
        server_key=server,
    )
    async with broker_process(config) as broker:
        said = await broker.start({"allow": SERVICE, "token_sha256": DIGEST, "key": own.public})
        bound = said["bound"]
        assert isinstance(bound, list)
        yield Bus(broker, private, bound[1], ClientKeys(own, server.public))


async def test_it_registers_carries_its_attempt_out_and_reports(bus: Bus, tmp_path: Path) -> None:
    told: list[tuple[Caller, RunFinishedRequest]] = []

    async def executor(request: Request) -> list[bytes]:
        told.append((request.caller, RunFinishedRequest.model_validate_json(request.body[0])))
        return [encode(RunFinishedResponse())]

    folder = tmp_path / "17" / "1"
    folder.mkdir(parents=True)
    async with workers(bus.private, b"executor", executor), by_hand(bus, folder) as process:
        started = await start(bus)
        assert await process.wait() == 0

    [(caller, finished)] = told
    assert isinstance(started, RunStartResponse)
    assert started.pid
    assert caller == governor(SERVICE)
    assert (finished.record.outcome, finished.record.exit_code) == ("failed", 3)
    assert (folder / "stdout.log").read_text() == "from afar\n"


async def test_a_wish_to_end_another_attempt_is_stale_and_ends_nothing(
    bus: Bus, tmp_path: Path
) -> None:
    folder = tmp_path / "17" / "1"
    folder.mkdir(parents=True)
    earlier = RunShutdownRequest(run_id=17, attempt=2, outcome="cancelled", reason="replayed")

    async with by_hand(bus, folder):
        [answer] = await answered(bus, SERVICE.encode(), encode(earlier))
        started = await start(bus)

    assert json.loads(answer)["code"] == "stale_attempt"
    assert isinstance(started, RunStartResponse)
    assert started.pid


async def test_a_request_that_makes_no_sense_is_logged_without_what_is_in_it(
    bus: Bus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "17" / "1"
    folder.mkdir(parents=True)
    secret = {"secrets": {"env": {"PASSWORD": ["hunter2"]}}, "hunter2": "hunter2"}
    malformed = json.dumps({"kind": "run_start_request", "run_id": "hunter2", **secret}).encode()

    async with by_hand(bus, folder):
        answers = [
            json.loads(*await answered(bus, SERVICE.encode(), word))["code"]
            for word in (malformed, b'{"kind": "hunter2"}', b'["hunter2"', b'{"kind": ["hunter2"]}')
        ]
        started = await start(bus)

    said = "".join(capfd.readouterr())
    assert answers == ["invalid_request"] * 4
    assert isinstance(started, RunStartResponse)
    assert "hunter2" not in said
    warnings = [json.loads(line) for line in said.splitlines() if "request_invalid" in line]
    assert (warnings[0]["request"], warnings[0]["bytes"]) == ("run_start_request", len(malformed))
    assert [one["request"] for one in warnings[1:]] == ["unknown"] * 3


@pytest.mark.parametrize(
    "service",
    [b"executor", b"stream", b"governor.18.1." + TOKEN.encode(), b"governor.17.2." + TOKEN.encode(),
     SERVICE.encode() + b".guess"],
)  # fmt: skip
async def test_its_key_registers_nothing_but_its_own_service(bus: Bus, service: bytes) -> None:
    await bus.broker.follow({"allow": "governor.18.1", "token_sha256": DIGEST})
    assert await refused(bus, service)


@pytest.mark.parametrize("service", [b"stream", b"governor.18.1", SERVICE.encode(), b"no-such"])
async def test_its_key_asks_for_nothing_but_the_executor(bus: Bus, service: bytes) -> None:
    with closing(bus.connection()) as connection:
        [answer] = await connection.request(service, [b"{}"])
    assert json.loads(answer)["code"] == "access_denied"


async def test_the_executor_hears_that_it_is_a_governor_and_of_which_attempt(bus: Bus) -> None:
    async def who(request: Request) -> list[bytes]:
        return [request.caller.encode().encode()]

    async with workers(bus.private, b"executor", who):
        with closing(bus.connection()) as connection:
            assert await connection.request(b"executor", [b"?"]) == [b"govern:own:governor.17.1"]


async def test_an_ordinary_key_does_not_speak_for_an_attempt_even_with_its_token(bus: Bus) -> None:
    pair = make_pair()
    caller = Caller("ada", Role.ADMIN)
    await bus.broker.follow({"authorized": {pair.public: caller.encode()}})
    assert await refused(replace(bus, keys=replace(bus.keys, pair=pair)), PROVEN)


async def test_when_the_attempt_is_over_its_key_is_worth_nothing(bus: Bus) -> None:
    assert not await is_denied(bus)

    await bus.broker.follow({"forbid": SERVICE})

    assert await is_denied(bus)


@asynccontextmanager
async def by_hand(bus: Bus, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A governor's process, told what a launcher on another machine would tell it."""
    keys = GovernorKeys(
        public_key=bus.keys.pair.public,
        secret_key=bus.keys.pair.secret,
        server_key=bus.keys.server,
    )
    order = GovernorOrder(
        run_id=17, attempt=1, token=TOKEN, endpoint=bus.afar, state_dir="/nowhere",
        start_deadline_s=60, heartbeat_s=5.0, liveness=3, log_level="warning", umask=0o077,
        cgroup_home=None, daemon=None, is_embedded=False, keys=keys,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.helpers.told", stdin=asyncio.subprocess.PIPE, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(order.model_dump_json().encode())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def is_denied(bus: Bus) -> bool:
    """Whether this key is not even let in."""
    with closing(ZmqDealer(bus.afar, keys=bus.keys)) as dealer:
        try:
            async with asyncio.timeout(60):
                await dealer.wait_connected()
        except ConnectionLost:
            return dealer.last_event is LinkEvent.REFUSED
    return False


async def refused(bus: Bus, service: bytes) -> bool:
    """Whether who offers a service with this key is sent away."""
    with closing(ZmqDealer(bus.afar, keys=bus.keys)) as dealer:
        async with asyncio.timeout(60):
            await dealer.send([mdp.WORKER, mdp.W_READY, service])
            return await dealer.receive() == [mdp.WORKER, mdp.W_DISCONNECT]


async def answered(bus: Bus, service: bytes, body: bytes = b"?") -> list[bytes]:
    """What the daemon gets when it asks for a service."""
    with closing(Connection(bus.private)) as connection:
        return await connection.request(service, [body])


async def start(bus: Bus) -> object:
    """The answer to the start request, which waits for the governor."""
    spec = RunSpec.model_validate(
        {"workload": {"kind": "command", "argv": ["sh", "-c", "echo from afar; exit 3"]}}
    )
    request = RunStartRequest(run_id=17, attempt=1, spec=spec)
    [answer] = await answered(bus, SERVICE.encode(), encode(request))
    return RESPONSE.validate_json(answer)
