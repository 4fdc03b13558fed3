"""Section A: what a message must look like, and what becomes of the others."""

from __future__ import annotations

import pytest

from intendant.protocol import mdp
from tests.unit.broker.bus import CLIENT, DISCONNECT, WORKER, Bus

BODIES = [[b"one"], [b"one", b"", b"\x00\xff", b"four"], [b""], [b"", b""]]


@pytest.mark.parametrize("body", BODIES)
def test_a2_a_body_reaches_the_worker_as_it_was(body: list[bytes]) -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client, *body)
    assert bus.assigned(worker)[4:] == body


@pytest.mark.parametrize("body", BODIES)
def test_a2_an_answer_reaches_the_client_as_it_was(body: list[bytes]) -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.answer(worker, *body)
    assert bus.inbox[client] == [[CLIENT, mdp.C_FINAL, b"echo", *body]]


def test_a3_partial_and_final_name_the_service_that_was_asked() -> None:
    bus = Bus()
    worker, client = bus.worker(b"a.service"), bus.peer()
    bus.ask(client, service=b"a.service")
    bus.part(worker, b"1")
    bus.answer(worker, b"2")
    assert [frames[:3] for frames in bus.inbox[client]] == [
        [CLIENT, mdp.C_PARTIAL, b"a.service"],
        [CLIENT, mdp.C_FINAL, b"a.service"],
    ]


def test_a4_a_request_holds_one_address_with_the_account_and_one_empty_frame() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer(account="bob")
    bus.ask(client, b"x")
    assert bus.assigned(worker) == [WORKER, mdp.W_REQUEST, b"1:admin:all:bob", b"", b"x"]


def test_a4_no_two_requests_have_the_same_address() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    addresses = set()
    for _ in range(3):
        bus.ask(client)
        addresses.add(bus.assigned(worker)[2])
        bus.answer(worker)
    assert len(addresses) == 3


@pytest.mark.parametrize("command", [mdp.W_PARTIAL, mdp.W_FINAL])
@pytest.mark.parametrize(
    "rest",
    [
        [],
        [b"ADDRESS"],
        [b"ADDRESS", b""],
        [b"ADDRESS", b"!", b"x"],
        [b"ADDRESS", b"x"],
        [b"", b"", b"x"],
    ],
)
def test_a5_an_answer_without_address_delimiter_or_body_ends_the_registration(
    command: bytes, rest: list[bytes]
) -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    address = bus.assigned(worker)[2]
    bus.say(worker, WORKER, command, *[address if frame == b"ADDRESS" else frame for frame in rest])
    assert bus.inbox[worker][-1] == DISCONNECT
    assert bus.error_codes(client) == ["worker_lost"]


INVALID = [
    [],
    [b""],
    [b"garbage"],
    [CLIENT],
    [WORKER],
    [CLIENT, b"\x09", b"echo", b"x"],
    [WORKER, b"\x09"],
    [CLIENT, b"\x01\x01", b"echo", b"x"],
    [WORKER, b"\x01\x01", b"echo"],
    [b"MDPC01", b"\x01", b"echo", b"x"],
    [b"", b"MDPC01", b"echo", b"x"],
    [WORKER, mdp.W_READY],
    [WORKER, mdp.W_READY, b""],
    [WORKER, mdp.W_READY, b"echo", b"x"],
    [CLIENT, mdp.C_REQUEST],
    [CLIENT, mdp.C_REQUEST, b"echo"],
    [CLIENT, mdp.C_REQUEST, b"", b"x"],
    [CLIENT, mdp.C_PARTIAL, b"echo", b"x"],
    [CLIENT, mdp.C_FINAL, b"echo", b"x"],
    [WORKER, mdp.W_HEARTBEAT, b"x"],
    [WORKER, mdp.W_DISCONNECT, b"x"],
]


@pytest.mark.parametrize("frames", INVALID)
def test_a6_an_invalid_message_is_dropped_and_others_are_served(frames: list[bytes]) -> None:
    bus = Bus()
    worker, client, stranger = bus.worker(), bus.peer(), bus.peer()
    bus.say(stranger, *frames)
    bus.ask(client)
    bus.answer(worker)
    assert bus.inbox[stranger] == []
    assert bus.answers(client) == [b"!"]
    assert bus.core.counters["invalid"] == 1


@pytest.mark.parametrize("frames", INVALID)
def test_a7_a_worker_is_deregistered_by_an_invalid_message(frames: list[bytes]) -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, *frames)
    assert bus.inbox[worker] == [DISCONNECT]
    assert bus.core.counters["workers"] == 0


def test_a7_a_client_is_served_after_an_invalid_message() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.say(client, CLIENT, b"\x09")
    bus.ask(client)
    bus.answer(worker)
    assert bus.answers(client) == [b"!"]


def test_a8_a_request_without_a_body_is_invalid() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.say(client, CLIENT, mdp.C_REQUEST, b"echo")
    assert bus.inbox[worker] == []


@pytest.mark.parametrize("name", [b"", b"with space", b"\x00", b"caf\xe9", b"a" * 256, b"line\n"])
def test_a9_a_service_name_that_is_not_printable_is_refused(name: bytes) -> None:
    bus = Bus()
    stranger = bus.peer()
    bus.say(stranger, WORKER, mdp.W_READY, name)
    bus.say(stranger, CLIENT, mdp.C_REQUEST, name, b"x")
    assert bus.core.counters["invalid"] == 2
    assert bus.core.counters["workers"] == 0


def test_a9_a_service_name_of_255_bytes_is_accepted() -> None:
    bus = Bus()
    bus.worker(b"a" * 255)
    assert bus.core.counters["workers"] == 1


@pytest.mark.parametrize("command", [mdp.W_HEARTBEAT, mdp.W_DISCONNECT])
def test_a10_a_command_with_frames_that_it_does_not_have_is_invalid(command: bytes) -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, WORKER, command, b"more")
    assert bus.inbox[worker] == [DISCONNECT]
    assert bus.core.counters["invalid"] == 1


@pytest.mark.parametrize("command", [mdp.C_PARTIAL, mdp.C_FINAL])
def test_a11_an_answer_from_a_client_is_invalid(command: bytes) -> None:
    bus = Bus()
    worker, client, other = bus.worker(), bus.peer(), bus.peer()
    bus.ask(other)
    bus.say(client, CLIENT, command, b"echo", b"forged")
    assert bus.inbox[client] == bus.inbox[other] == []
    assert bus.requests(worker) == [b"?"]
    assert bus.core.counters["invalid"] == 1


def test_a12_a_request_from_a_worker_is_unexpected_and_gets_disconnect() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, WORKER, mdp.W_REQUEST, b"1:ann", b"", b"x")
    assert bus.inbox[worker] == [DISCONNECT]
