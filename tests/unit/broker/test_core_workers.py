"""Sections C, D, E and H: registration, heartbeats, loss of workers, peers out of reach."""

from __future__ import annotations

import pytest

from intendant.broker import core
from intendant.protocol import mdp
from tests.unit.broker.bus import DISCONNECT, HEARTBEAT, WORKER, Bus


def test_c1_a_service_may_have_many_workers() -> None:
    bus = Bus()
    workers = [bus.worker() for _ in range(3)]
    for _ in workers:
        bus.ask(bus.peer())
    assert [len(bus.requests(worker)) for worker in workers] == [1, 1, 1]


def test_c2_ready_gets_no_response() -> None:
    bus = Bus()
    assert bus.inbox[bus.worker()] == []
    assert bus.core.counters["workers"] == 1


def test_c3_c6e_a_second_ready_gets_disconnect_and_nothing_more() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.worker(peer=worker)
    bus.ask(bus.peer())
    bus.worker(peer=worker)
    bus.pass_time(5)
    assert bus.inbox[worker] == [DISCONNECT]


def test_c4_disconnect_before_ready_gets_no_response() -> None:
    bus = Bus()
    stranger = bus.peer()
    bus.say(stranger, *DISCONNECT)
    assert bus.inbox[stranger] == []


def test_c5_an_idle_worker_that_said_disconnect_gets_nothing_more() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, *DISCONNECT)
    bus.ask(bus.peer())
    bus.say(worker, *HEARTBEAT)
    bus.pass_time(5)
    assert bus.inbox[worker] == []


def test_c5_a_busy_worker_that_said_disconnect_gets_nothing_more() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.say(worker, *DISCONNECT)
    bus.answer(worker, b"late")
    bus.pass_time(5)
    assert len(bus.inbox[worker]) == 1
    assert bus.error_codes(client) == ["worker_lost"]


@pytest.mark.parametrize("command", [mdp.W_PARTIAL, mdp.W_FINAL])
def test_c6a_an_answer_before_ready_gets_disconnect_then_silence(command: bytes) -> None:
    bus = Bus()
    stranger = bus.peer()
    for _ in range(2):
        bus.say(stranger, WORKER, command, b"1:ann", b"", b"x")
    assert bus.inbox[stranger] == [DISCONNECT]


def test_c6b_d5_a_heartbeat_before_ready_gets_disconnect_then_silence() -> None:
    bus = Bus()
    stranger = bus.peer()
    for _ in range(2):
        bus.say(stranger, *HEARTBEAT)
    assert bus.inbox[stranger] == [DISCONNECT]


@pytest.mark.parametrize("command", [mdp.W_PARTIAL, mdp.W_FINAL])
def test_c6c_an_answer_from_an_idle_worker_gets_disconnect(command: bytes) -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, WORKER, command, b"1:ann", b"", b"x")
    assert bus.inbox[worker] == [DISCONNECT]


@pytest.mark.parametrize("command", [mdp.W_PARTIAL, mdp.W_FINAL])
def test_c6d_an_answer_to_another_address_gets_disconnect_and_is_not_passed_on(
    command: bytes,
) -> None:
    bus = Bus()
    forger, honest = bus.worker(), bus.worker()
    victim, other = bus.peer(), bus.peer()
    bus.ask(other)
    bus.ask(victim)
    address = bus.assigned(honest)[2]
    bus.say(forger, WORKER, command, address, b"", b"forged")
    bus.answer(honest, b"true")
    assert bus.inbox[forger][-1] == DISCONNECT
    assert bus.answers(victim) == [b"true"]
    assert bus.error_codes(other) == ["worker_lost"]


def test_c7_nobody_gets_disconnect_for_what_is_no_command_of_a_worker() -> None:
    bus = Bus()
    stranger = bus.peer()
    bus.say(stranger, WORKER, b"\x99")
    bus.say(stranger, b"noise")
    assert bus.inbox[stranger] == []


def test_c8_a_dismissed_worker_is_welcome_on_a_new_socket() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.worker(peer=worker)
    again = bus.worker()
    bus.ask(bus.peer(), b"x")
    assert bus.requests(again) == [b"x"]


@pytest.mark.parametrize("name", [b"mmi.service", b"mmi.", b"mmi.other"])
def test_c10_a_worker_that_offers_mmi_gets_disconnect(name: bytes) -> None:
    bus = Bus()
    assert bus.inbox[bus.worker(name)] == [DISCONNECT]


@pytest.mark.parametrize("busy", [False, True])
def test_d1_d8_a_worker_gets_heartbeats_idle_or_busy(busy: bool) -> None:
    bus = Bus()
    worker = bus.worker()
    if busy:
        bus.ask(bus.peer())
    bus.inbox[worker].clear()
    bus.pass_time(10, alive=(worker,))
    assert bus.inbox[worker] == [HEARTBEAT] * 10


@pytest.mark.parametrize("busy", [False, True])
def test_d2_d8_a_silent_worker_is_expired_idle_or_busy(busy: bool) -> None:
    bus = Bus()
    worker = bus.worker()
    if busy:
        bus.ask(bus.peer())
    bus.pass_time(2.75)
    assert bus.core.counters["workers"] == 1
    bus.pass_time(0.25)
    assert bus.core.counters["workers"] == 0
    assert bus.core.counters["expired"] == 1
    assert DISCONNECT not in bus.inbox[worker]


def test_d3_partials_keep_a_worker_alive_without_heartbeats() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    for _ in range(10):
        bus.pass_time(1)
        bus.part(worker)
    assert bus.core.counters["workers"] == 1


def test_d4_no_heartbeats_are_sent_while_other_commands_flow() -> None:
    bus = Bus()
    worker = bus.worker()
    for _ in range(20):
        bus.ask(bus.peer())
        bus.answer(worker)
        bus.pass_time(0.5)
    assert HEARTBEAT not in bus.inbox[worker]


def test_d1_heartbeats_that_are_due_soon_leave_with_one_that_is_due() -> None:
    bus = Bus()
    workers = [bus.worker()]
    for _ in range(2):
        bus.now += 0.2
        workers.append(bus.worker())
    bus.now += 0.5  # 0.9, 0.7 and 0.5 since each was sent something
    bus.tick()
    assert [bus.inbox[worker] for worker in workers] == [[HEARTBEAT], [HEARTBEAT], []]


def test_d1_no_heartbeat_leaves_before_one_is_due() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.now += 0.8
    bus.tick()
    assert bus.inbox[worker] == []


def test_d6_an_expired_worker_gets_nothing_although_another_one_lives() -> None:
    bus = Bus()
    alive, dead = bus.worker(), bus.worker()
    bus.pass_time(3, alive=(alive,))
    bus.inbox[dead].clear()
    bus.pass_time(5, alive=(alive,))
    bus.ask(bus.peer(), b"x")
    assert bus.inbox[dead] == []
    assert bus.requests(alive) == [b"x"]


def test_c6_an_expired_worker_that_speaks_again_is_told_to_start_anew() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.pass_time(3)
    bus.inbox[worker].clear()
    bus.say(worker, *HEARTBEAT)
    assert bus.inbox[worker] == [DISCONNECT]


def test_d9_nobody_is_judged_right_after_a_stall() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.now += 3600
    bus.tick()
    bus.pass_time(0.75)
    bus.say(worker, *HEARTBEAT)
    bus.pass_time(2)
    assert bus.core.counters["workers"] == 1


def test_d9_a_worker_that_stays_silent_after_a_stall_is_expired_one_interval_later() -> None:
    bus = Bus()
    bus.worker()
    bus.now += 3600
    bus.tick()
    bus.pass_time(1)
    assert bus.core.counters["workers"] == 0


def test_the_next_deadline_is_the_earliest_thing_to_do() -> None:
    bus = Bus(request_ttl_s=0.5)
    assert bus.core.next_deadline is None
    bus.worker(b"other")
    assert bus.core.next_deadline == pytest.approx(bus.now + 0.9)
    bus.ask(bus.peer())
    assert bus.core.next_deadline == pytest.approx(bus.now + 0.5)


def test_e3_a_request_is_not_redelivered_unless_the_service_asks_for_it() -> None:
    bus = Bus()
    first, second, client = bus.worker(), bus.worker(), bus.peer()
    bus.ask(client)
    bus.say(first, *DISCONNECT)
    assert bus.inbox[second] == []
    assert bus.error_codes(client) == ["worker_lost"]


@pytest.mark.parametrize("same_client", [True, False])
def test_e3_a_redelivered_request_is_first_in_line(same_client: bool) -> None:
    bus = Bus(redeliver=frozenset({b"echo"}))
    first, client = bus.worker(), bus.peer()
    bus.ask(client, b"lost")
    bus.ask(client if same_client else bus.peer(), b"waits")
    bus.say(first, *DISCONNECT)
    second = bus.worker()
    assert bus.requests(second) == [b"lost"]


def test_e3_a_request_is_redelivered_once_at_most() -> None:
    bus = Bus(redeliver=frozenset({b"echo"}))
    client = bus.peer()
    bus.ask(client)
    for _ in range(2):
        bus.say(bus.worker(), *DISCONNECT)
    assert bus.error_codes(client) == ["worker_lost"]


def test_e3_a_request_with_a_partial_is_not_redelivered() -> None:
    bus = Bus(redeliver=frozenset({b"echo"}))
    first, second, client = bus.worker(), bus.worker(), bus.peer()
    bus.ask(client)
    bus.part(first, b"part")
    bus.say(first, *DISCONNECT)
    assert bus.inbox[second] == []
    assert bus.error_codes(client) == ["worker_lost"]


def test_e7_the_client_sees_one_final_when_an_expired_worker_answers_late() -> None:
    bus = Bus(redeliver=frozenset({b"echo"}))
    first, client = bus.worker(), bus.peer()
    bus.ask(client)
    second = bus.worker()
    bus.pass_time(3, alive=(second,))
    bus.answer(first, b"late")
    bus.answer(second, b"true")
    assert bus.answers(client) == [b"true"]
    assert bus.inbox[first][-1] == DISCONNECT


def test_a_request_that_never_reached_its_worker_goes_to_the_next_one() -> None:
    bus = Bus()
    dead = bus.worker()
    bus.gone.add(dead)
    bus.ask(client := bus.peer(), b"x")
    worker = bus.worker()
    bus.answer(worker)
    assert bus.requests(worker) == [b"x"]
    assert bus.answers(client) == [b"!"]


def test_a_request_that_reached_nobody_for_nobody_is_forgotten() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client, b"1")
    bus.ask(client, b"2")
    bus.gone.update({client, worker})
    bus.answer(worker)
    assert bus.core.counters["waiting"] == bus.core.counters["workers"] == 0


def test_a_routing_id_whose_peer_is_gone_can_be_used_again() -> None:
    bus = Bus()
    worker = bus.worker()
    bus.say(worker, *DISCONNECT)
    bus.deliver(bus.core.peer_gone(worker, bus.now))
    bus.worker(peer=worker)
    assert bus.core.counters["workers"] == 1


def test_a_worker_whose_heartbeat_finds_nobody_is_lost_at_once() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.gone.add(worker)
    bus.pass_time(1)
    assert bus.error_codes(client) == ["worker_lost"]
    assert bus.core.counters["workers"] == 0


def test_a_probe_finds_the_busy_workers_that_are_gone() -> None:
    bus = Bus()
    gone, here, idle = bus.worker(), bus.worker(), bus.worker()
    clients = [bus.peer(), bus.peer()]
    for client in clients:
        bus.ask(client)
    bus.gone.add(gone)
    bus.deliver(bus.core.probe(bus.now))
    assert [bus.error_codes(client) for client in clients] == [["worker_lost"], []]
    assert bus.inbox[here][-1] == HEARTBEAT
    assert bus.inbox[idle] == []


def test_a_worker_that_streams_to_a_client_that_is_gone_gets_disconnect() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.gone.add(client)
    bus.part(worker)
    assert bus.inbox[worker][-1] == DISCONNECT
    assert bus.core.counters["workers"] == 0


def test_h2_a_client_that_reads_too_slowly_is_cut_off_and_told_so() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.part(worker, b"1")
    bus.full.add(client)
    bus.part(worker, b"2")
    assert bus.inbox[worker][-1] == DISCONNECT
    bus.full.clear()
    bus.pass_time(1)
    assert bus.answers(client)[0] == b"1"
    assert bus.error_codes(client) == ["slow_reader"]


def test_h2_a_final_that_does_not_fit_is_tried_again() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.full.add(client)
    bus.answer(worker, b"end")
    bus.pass_time(1, alive=(worker,))
    bus.full.clear()
    bus.pass_time(1, alive=(worker,))
    assert bus.answers(client) == [b"end"]


def test_h2_every_final_that_does_not_fit_is_tried_again() -> None:
    bus = Bus()
    worker, client = bus.worker(), bus.peer()
    bus.full.add(client)
    for number in (b"1", b"2"):
        bus.ask(client)
        bus.answer(worker, number)
    bus.full.clear()
    bus.pass_time(1, alive=(worker,))
    assert bus.answers(client) == [b"1", b"2"]


def test_h2_a_final_that_never_fits_is_dropped() -> None:
    bus = Bus(request_ttl_s=2.0)
    worker, client = bus.worker(), bus.peer()
    bus.ask(client)
    bus.full.add(client)
    bus.answer(worker)
    bus.pass_time(3, alive=(worker,))
    bus.full.clear()
    bus.pass_time(3, alive=(worker,))
    assert bus.answers(client) == []


def test_h2_finals_that_do_not_fit_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_HELD", 2)
    bus = Bus()
    worker = bus.worker()
    clients = [bus.peer() for _ in range(4)]
    bus.full.update(clients)
    for client in clients:
        bus.ask(client)
        bus.answer(worker)
    bus.full.clear()
    bus.tick()
    assert sum(len(bus.inbox[client]) for client in clients) == 2


def test_h4_every_worker_is_told_goodbye() -> None:
    bus = Bus()
    idle, busy = bus.worker(b"idle"), bus.worker()
    bus.ask(bus.peer())
    bus.deliver(bus.core.shut_down())
    assert bus.inbox[idle][-1] == bus.inbox[busy][-1] == DISCONNECT
