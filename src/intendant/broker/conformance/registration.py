"""Section C: how a worker comes and goes, and what it may not say."""

from __future__ import annotations

from intendant.broker.conformance.bench import DISCONNECT, HEARTBEAT, Bench, require_equal
from intendant.broker.conformance.rules import Level, rule
from intendant.protocol import mdp

WORKER = mdp.WORKER
ANSWERS = (mdp.W_PARTIAL, mdp.W_FINAL)


@rule("C1", Level.MUST)
def many_workers(bench: Bench) -> None:
    """A service may have many workers."""
    workers = [bench.worker() for _ in range(3)]
    clients = [bench.client() for _ in workers]
    for client in clients:
        client.ask()
    for worker in workers:
        worker.take()


@rule("C2", Level.MUST)
def ready(bench: Bench) -> None:
    """READY gets no answer."""
    worker = bench.newcomer()
    worker.ready()
    for frames in worker.hear_all(bench.pace.quiet_s):
        require_equal(frames, HEARTBEAT)


@rule("C3", Level.MUST)
def second_ready(bench: Bench) -> None:
    """A second READY gets DISCONNECT and nothing more."""
    worker, client = bench.worker(), bench.client()
    worker.ready()
    worker.expect_disconnect()
    client.ask()
    worker.ready()
    worker.expect_silence()


@rule("C4", Level.MUST)
def early_disconnect(bench: Bench) -> None:
    """DISCONNECT before READY gets no answer."""
    stranger = bench.stranger()
    stranger.say(*DISCONNECT)
    stranger.expect_silence()
    bench.exchange()


@rule("C5", Level.MUST)
def silence_after_disconnect(bench: Bench) -> None:
    """A worker that said DISCONNECT, idle or busy, is sent nothing more."""
    idle, client = bench.worker(), bench.client()
    idle.say(*DISCONNECT)
    busy = bench.worker(bench.service + b".busy")
    other = bench.client(busy.service)
    other.ask()
    busy.take()
    busy.say(*DISCONNECT)
    for worker in (idle, busy):
        bench.settle_gone(worker.service)
    idle.forget()
    busy.forget()
    client.ask()
    other.ask()
    idle.expect_silence(1.5 * bench.pace.heartbeat_s)
    busy.expect_silence()


@rule("C6a", Level.MUST)
def answers_before_ready(bench: Bench) -> None:
    """An answer before READY gets DISCONNECT, then silence."""
    for command in ANSWERS:
        stranger = bench.stranger()
        stranger.say(WORKER, command, b"1:ann", b"", b"x")
        stranger.expect_disconnect()
        stranger.expect_silence()


@rule("C6b", Level.MUST)
def heartbeat_before_ready(bench: Bench) -> None:
    """A HEARTBEAT before READY gets DISCONNECT, then silence."""
    stranger = bench.stranger()
    stranger.say(*HEARTBEAT)
    stranger.expect_disconnect()
    stranger.expect_silence()


@rule("C6c", Level.MUST)
def answers_from_idle_workers(bench: Bench) -> None:
    """An answer from an idle worker gets DISCONNECT."""
    for command in ANSWERS:
        worker = bench.worker()
        worker.say(WORKER, command, b"1:ann", b"", b"x")
        worker.expect_disconnect()


@rule("C6d", Level.MUST)
def forged_answers(bench: Bench) -> None:
    """An answer for an address that was given to another worker reaches nobody."""
    forger, client = bench.worker(), bench.client()
    client.ask()
    forger.take()
    honest, victim = bench.worker(), bench.client()
    victim.ask()
    address, _ = honest.take()
    forger.final(address, b"forged")
    forger.expect_disconnect()
    honest.final(address, b"true")
    victim.expect_final(b"true")


@rule("C6e", Level.MUST)
def second_ready_of_a_busy_worker(bench: Bench) -> None:
    """A second READY of a busy worker gets DISCONNECT."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    worker.take()
    worker.ready()
    worker.expect_disconnect()


@rule("C6f", Level.MUST)
def request_from_a_busy_worker(bench: Bench) -> None:
    """REQUEST from a busy worker gets DISCONNECT."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    address, _ = worker.take()
    worker.say(WORKER, mdp.W_REQUEST, address, b"", b"x")
    worker.expect_disconnect()


@rule("C7", Level.MUST)
def no_disconnect_for_strangers(bench: Bench) -> None:
    """Who has sent no worker's command gets no DISCONNECT."""
    stranger = bench.stranger()
    stranger.say(b"noise")
    stranger.say(mdp.CLIENT, b"\x09")
    stranger.expect_silence()


@rule("C8", Level.MUST)
def a_new_start(bench: Bench) -> None:
    """A worker that got DISCONNECT is welcome on a new socket."""
    worker, client = bench.worker(), bench.client()
    worker.ready()
    worker.expect_disconnect()
    worker.close()
    again = bench.worker()
    client.ask(b"x")
    require_equal(again.take()[1], [b"x"])


@rule("C10", Level.MUST)
def reserved_names(bench: Bench) -> None:
    """A worker that offers `mmi.` gets DISCONNECT."""
    for name in (b"mmi.service", b"mmi.", b"mmi.other"):
        worker = bench.newcomer(name)
        worker.ready()
        worker.expect_disconnect()


@rule("C12", Level.OWN)
def clients_or_workers(bench: Bench) -> None:
    """A socket is a client's or a worker's, not both."""
    client = bench.client(bench.service + b".early")
    client.ask()
    client.say(WORKER, mdp.W_READY, client.service)
    client.expect_no_request()
    worker, other = bench.worker(), bench.client()
    worker.say(mdp.CLIENT, mdp.C_REQUEST, bench.service, b"x")
    bench.settle_gone(bench.service)
    other.ask()
    worker.expect_no_request()
