"""Sections B, E and F: the client's dialog, dispatch, and the broker's own services."""

from __future__ import annotations

import pytest

from intendant.broker import core
from intendant.protocol import mdp
from intendant.protocol.messages import RESPONSE
from tests.unit.broker.bus import CLIENT, DISCONNECT, WORKER, Bus


def test_b1_a_req_client_is_refused() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.say(client, b"", CLIENT, mdp.C_REQUEST, b"echo", b"x")
    assert bus.inbox[worker] == []
    assert bus.inbox[client] == []


def test_b2_pipelined_requests_of_one_client_are_handed_out_in_order() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    for number in (b"1", b"2", b"3"):
        bus.ask(client, number)
    for _ in range(3):
        bus.answer(worker)
    assert bus.requests(worker) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_b3_partials_reach_the_client_in_order_before_the_final(parts: int) -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    expected = [b"%d" % part for part in range(parts)]
    for part in expected:
        bus.part(worker, part)
    bus.answer(worker, b"end")
    assert bus.answers(client) == [*expected, b"end"]
    assert [frames[1] for frames in bus.inbox[client]] == [mdp.C_PARTIAL] * parts + [mdp.C_FINAL]


@pytest.mark.parametrize("command", [mdp.W_PARTIAL, mdp.W_FINAL])
def test_b4_nothing_follows_the_final(command: bytes) -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.answer(worker, b"end")
    bus.answer(worker, b"more", command=command)
    assert bus.answers(client) == [b"end"]
    assert bus.inbox[worker][-1] == DISCONNECT


def test_b6_a_request_waits_for_the_first_worker() -> None:
    bus = Bus()
    client = bus.peer()
    bus.ask(client, b"early")
    worker = bus.worker()
    assert bus.requests(worker) == [b"early"]


def test_b7_a_request_that_nobody_takes_expires_with_an_error() -> None:
    bus = Bus(request_ttl_s=2.0)
    client = bus.peer()
    bus.ask(client)
    bus.pass_time(1.75)
    assert bus.core.counters["waiting"] == 1
    bus.pass_time(0.25)
    assert bus.core.counters["waiting"] == 0
    assert bus.error_codes(client) == ["request_expired"]


def test_an_error_is_a_message_that_clients_understand() -> None:
    bus = Bus(request_ttl_s=1.0)
    client = bus.peer()
    bus.ask(client)
    bus.pass_time(1)
    [body] = bus.answers(client)
    assert isinstance(body, bytes)
    assert RESPONSE.validate_json(body).kind == "error_response"


def test_b8_a_flood_of_one_client_does_not_starve_another() -> None:
    bus = Bus()
    worker, flood, other = bus.worker(), bus.peer(), bus.peer()
    for _ in range(300):
        bus.ask(flood, b"flood")
    for _ in range(10):
        bus.ask(other, b"other")
    for _ in range(20):
        bus.answer(worker)
    assert bus.requests(worker)[1:21].count(b"other") == 10


def test_d10_a_client_gets_no_heartbeats() -> None:
    bus = Bus()
    bus.worker()
    bus.ask(client := bus.peer())
    bus.pass_time(2.75)
    assert bus.inbox[client] == []


def test_b9_an_answer_to_a_client_that_is_gone_is_discarded() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.gone.add(client)
    bus.answer(worker)
    bus.ask(other := bus.peer(), b"next")
    assert bus.requests(worker) == [b"?", b"next"]
    assert bus.inbox[client] == bus.inbox[other] == []


def test_requests_of_a_client_that_is_gone_are_not_handed_out() -> None:
    bus = Bus()
    client = bus.peer()
    bus.ask(client)
    bus.ask(client)
    bus.deliver(bus.core.peer_gone(client, bus.now))
    worker = bus.worker()
    assert bus.inbox[worker] == []
    assert bus.core.counters["waiting"] == 0


def test_e1_a_worker_has_one_request_at_a_time() -> None:
    bus = Bus()
    worker = bus.worker()
    for _ in range(3):
        bus.ask(bus.peer())
    assert len(bus.requests(worker)) == 1
    bus.part(worker)
    assert len(bus.requests(worker)) == 1
    bus.answer(worker)
    assert len(bus.requests(worker)) == 2


def test_e4_the_worker_that_was_idle_longest_is_next() -> None:
    bus = Bus()
    first, second, third = bus.worker(), bus.worker(), bus.worker()
    for _ in range(2):
        bus.ask(bus.peer(), b"a")
    bus.answer(second)
    bus.answer(first)
    for number in (b"1", b"2", b"3"):
        bus.ask(bus.peer(), number)
    assert bus.requests(third) == [b"1"]
    assert bus.requests(second)[-1] == b"2"
    assert bus.requests(first)[-1] == b"3"


def test_e5_a_full_queue_is_said_to_be_busy() -> None:
    bus = Bus(max_queue=2)
    for _ in range(2):
        bus.ask(bus.peer())
    bus.ask(client := bus.peer())
    assert bus.error_codes(client) == ["busy"]
    assert bus.core.counters["waiting"] == 2


def test_e5_one_client_fills_half_of_a_queue_at_most() -> None:
    bus = Bus(max_queue=4)
    client = bus.peer()
    for _ in range(4):
        bus.ask(client)
    assert bus.core.counters["waiting"] == 2
    assert bus.error_codes(client) == ["busy", "busy"]


def test_h1_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_WAITING_BYTES", 1000)
    bus = Bus()
    bus.ask(bus.peer(), b"x" * 900)
    bus.ask(client := bus.peer(), b"x" * 900)
    assert bus.error_codes(client) == ["busy"]


def test_h1_what_waits_is_bounded_over_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_WAITING", 10)
    bus = Bus()
    for number in range(20):
        bus.ask(bus.peer(), service=b"service.%d" % number)
    assert bus.core.counters["waiting"] == 10


def test_e2_the_next_request_is_handed_out_after_the_one_final() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client, b"1")
    bus.ask(client, b"2")
    bus.part(worker)
    bus.answer(worker, b"end")
    assert bus.requests(worker) == [b"1", b"2"]
    assert [frames[1] for frames in bus.inbox[client]] == [mdp.C_PARTIAL, mdp.C_FINAL]


def test_e6_partials_of_two_clients_do_not_mix() -> None:
    bus = Bus()
    one, two = bus.worker(), bus.worker()
    ann, bob = bus.peer(), bus.peer()
    bus.ask(ann)
    bus.ask(bob)
    for number in (b"1", b"2"):
        bus.part(one, b"a" + number)
        bus.part(two, b"b" + number)
    assert bus.answers(ann) == [b"a1", b"a2"]
    assert bus.answers(bob) == [b"b1", b"b2"]


def test_e8_body_frames_are_passed_on_untouched() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    there, back = object(), object()
    bus.ask(client, there)
    bus.answer(worker, back)
    assert bus.assigned(worker)[4] is there
    assert bus.answers(client)[0] is back


def ask_mmi(bus: Bus, name: bytes, *body: bytes) -> list[object]:
    bus.ask(client := bus.peer(), *body, service=name)
    return bus.inbox[client][-1]


def test_f1_f3_f4_mmi_requests_never_wait_and_unknown_ones_say_501() -> None:
    bus = Bus()
    assert ask_mmi(bus, b"mmi.unheard", b"x") == [CLIENT, mdp.C_FINAL, b"mmi.unheard", b"501"]
    assert bus.core.counters["waiting"] == 0


def test_f2_mmi_service_says_200_while_a_worker_is_registered() -> None:
    bus = Bus()
    assert ask_mmi(bus, b"mmi.service", b"echo")[3] == b"404"
    worker = bus.worker()
    assert ask_mmi(bus, b"mmi.service", b"echo")[3] == b"200"
    bus.ask(bus.peer())
    assert ask_mmi(bus, b"mmi.service", b"echo")[3] == b"200"
    bus.say(worker, *DISCONNECT)
    assert ask_mmi(bus, b"mmi.service", b"echo")[3] == b"404"


def test_f2_mmi_service_says_404_after_expiry_and_for_what_was_only_asked_for() -> None:
    bus = Bus()
    bus.worker()
    bus.pass_time(3)
    bus.ask(bus.peer())
    assert ask_mmi(bus, b"mmi.service", b"echo")[3] == b"404"


@pytest.mark.parametrize("body", [(b"",), (b"a", b"b"), (b"\x00",)])
def test_f2_mmi_service_without_a_proper_name_says_404(body: tuple[bytes, ...]) -> None:
    assert ask_mmi(Bus(), b"mmi.service", *body)[3:] == [b"404"]


@pytest.mark.parametrize("name", [b"mmi", b"mmiservice", b"xmmi.service"])
def test_f5_only_names_that_begin_with_mmi_and_a_dot_are_the_brokers(name: bytes) -> None:
    bus = Bus()
    worker = bus.worker(name)
    bus.ask(bus.peer(), b"x", service=name)
    assert bus.requests(worker) == [b"x"]


def test_c12_a_request_from_a_workers_socket_ends_its_registration() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.ask(worker)
    assert bus.inbox[worker] == [DISCONNECT]


def test_c12_ready_from_a_client_with_an_open_request_is_refused() -> None:
    bus = Bus()
    client = bus.peer()
    bus.ask(client)
    bus.say(client, WORKER, mdp.W_READY, b"echo")
    assert bus.inbox[client] == [DISCONNECT]
    assert bus.core.counters["workers"] == 0
