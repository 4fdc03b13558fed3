"""Who may offer and who may ask, in the daemon."""

from __future__ import annotations

import hashlib

import pytest
from structlog.testing import capture_logs

from intendant.broker.admission import without_token
from intendant.broker.services import Peer
from tests.unit.broker.bus import DISCONNECT, Bus

PID = 4711
TOKEN = "0f" * 16
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
GOVERNOR = b"governor.1.1"
PROVEN = GOVERNOR + b"." + TOKEN.encode()


def daemon(**config: object) -> Bus:
    return Bus(open_registration=False, daemon_pid=PID, **config)


def executor(bus: Bus) -> Peer:
    return bus.peer(pid=PID, private=True)


@pytest.mark.parametrize("service", [b"executor", b"stream"])
def test_the_daemons_own_process_offers_its_services(service: bytes) -> None:
    bus = daemon()
    worker = bus.worker(service, executor(bus))
    bus.ask(bus.peer(), b"x", service=service)
    assert bus.requests(worker) == [b"x"]


@pytest.mark.parametrize("service", [b"executor", b"stream"])
@pytest.mark.parametrize(
    ("pid", "private"), [(PID + 1, True), (PID, False), (None, True), (None, False)]
)
def test_nobody_else_offers_the_daemons_services(
    service: bytes, pid: int | None, private: bool
) -> None:
    bus = daemon()
    stranger = bus.peer(pid=pid, private=private)
    assert bus.inbox[bus.worker(service, stranger)] == [DISCONNECT]
    assert bus.core.counters["workers"] == 0


def test_without_a_daemons_pid_nobody_offers_its_services() -> None:
    bus = Bus(open_registration=False, daemon_pid=None)
    assert bus.inbox[bus.worker(b"executor", bus.peer(private=True))] == [DISCONNECT]


@pytest.mark.parametrize("name", [b"echo", b"mmi.service", b"governor", b"executor.2"])
def test_no_other_service_is_offered_in_the_daemon(name: bytes) -> None:
    bus = daemon()
    assert bus.inbox[bus.worker(name, executor(bus))] == [DISCONNECT]


def test_a_governor_registers_with_its_token_under_a_name_without_it() -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    governor = bus.worker(PROVEN)
    bus.ask(client := executor(bus), b"x", service=GOVERNOR)
    bus.answer(governor)
    assert bus.requests(governor) == [b"x"]
    assert bus.inbox[client][0][2] == GOVERNOR


@pytest.mark.parametrize(
    "name",
    [
        GOVERNOR,
        GOVERNOR + b".",
        GOVERNOR + b"." + b"0e" * 16,
        b"governor.1.2." + TOKEN.encode(),
        PROVEN + b".x",
        GOVERNOR + b"." + DIGEST.encode(),
    ],
)
def test_a_governor_without_its_token_is_refused_and_that_is_logged_without_it(name: bytes) -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    with capture_logs() as logged:
        assert bus.inbox[bus.worker(name, bus.peer(private=True))] == [DISCONNECT]
    assert [line["event"] for line in logged] == ["worker_refused"]
    assert TOKEN not in str(logged)


def test_a_newly_proven_governor_takes_the_place_of_the_older_one() -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    old = bus.worker(PROVEN)
    bus.ask(client := executor(bus), b"1", service=GOVERNOR)
    new = bus.worker(PROVEN)
    bus.ask(client, b"2", service=GOVERNOR)
    assert bus.inbox[old][-1] == DISCONNECT
    assert bus.error_codes(client) == ["worker_lost"]
    assert bus.requests(new) == [b"2"]


def test_a_failed_proof_leaves_the_registered_governor_alone() -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    governor = bus.worker(PROVEN)
    bus.worker(GOVERNOR + b".guess")
    bus.ask(executor(bus), b"x", service=GOVERNOR)
    assert bus.requests(governor) == [b"x"]


def test_a_request_waits_for_a_governor_that_is_allowed() -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    bus.ask(executor(bus), b"start", service=GOVERNOR)
    governor = bus.worker(PROVEN)
    assert bus.requests(governor) == [b"start"]


def test_requests_to_the_daemon_wait_for_a_worker_as_long_as_patience_lasts() -> None:
    bus = daemon(patience_s=2.0)
    bus.ask(client := bus.peer(), service=b"executor")
    bus.pass_time(1.75)
    assert bus.inbox[client] == []
    bus.pass_time(0.25)
    assert bus.error_codes(client) == ["request_expired"]


@pytest.mark.parametrize(
    ("service", "private", "code"),
    [
        (b"echo", False, "service_unknown"),
        (b"echo", True, "service_unknown"),
        (b"governor.9.9", True, "service_unknown"),
        (b"governor.9.9", False, "access_denied"),
        (GOVERNOR, False, "access_denied"),
    ],
)
def test_what_a_peer_may_not_ask_is_refused_at_once(
    service: bytes, private: bool, code: str
) -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    bus.ask(client := bus.peer(private=private), service=service)
    assert bus.error_codes(client) == [code]


def test_a_forbidden_governor_is_dismissed_and_what_waits_for_it_refused() -> None:
    bus = daemon()
    bus.core.allow(GOVERNOR.decode(), DIGEST)
    governor = bus.worker(PROVEN)
    in_hand, waiting = executor(bus), executor(bus)
    bus.ask(in_hand, service=GOVERNOR)
    bus.ask(waiting, service=GOVERNOR)
    bus.deliver(bus.core.forbid(GOVERNOR.decode()))
    assert bus.inbox[governor][-1] == DISCONNECT
    assert bus.error_codes(in_hand) == ["worker_lost"]
    assert bus.error_codes(waiting) == ["service_unknown"]
    assert bus.inbox[bus.worker(PROVEN)] == [DISCONNECT]


def test_a_stream_waits_for_a_worker_until_the_bound_is_reached() -> None:
    bus = daemon(max_streams=2)
    workers = [bus.worker(b"stream", executor(bus))]
    bus.ask(first := bus.peer(), service=b"stream")
    bus.ask(second := bus.peer(), b"second", service=b"stream")
    assert bus.inbox[second] == []
    workers.append(bus.worker(b"stream", executor(bus)))
    bus.ask(third := bus.peer(), service=b"stream")
    assert bus.requests(workers[1]) == [b"second"]
    assert bus.error_codes(third) == ["busy"]
    assert bus.inbox[first] == []


def test_tokens_are_not_logged() -> None:
    assert without_token(PROVEN) == GOVERNOR.decode()
    assert without_token(b"echo.with.many.dots") == "echo.with.many.dots"
