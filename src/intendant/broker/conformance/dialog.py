"""Sections B, E and F: the client's dialog, dispatch, and the broker's own services."""

from __future__ import annotations

import secrets

from intendant.broker.conformance.bench import Bench, live, require, require_equal, shown
from intendant.broker.conformance.rules import Level, rule
from intendant.protocol import mdp

FLOOD = 100
FEW = 5


@rule("B1", Level.MUST)
def empty_first_frame(bench: Bench) -> None:
    """A request with an empty frame before it, as a REQ sends it, is refused."""
    worker, client = bench.worker(), bench.client()
    client.say(b"", mdp.CLIENT, mdp.C_REQUEST, bench.service, b"x")
    worker.expect_no_request()


@rule("B2", Level.OWN)
def pipelined_requests(bench: Bench) -> None:
    """Requests that a client sends before the FINAL are handed out in order."""
    worker, client = bench.worker(), bench.client()
    for number in (b"1", b"2", b"3"):
        client.ask(number)
    bench.settle_asked(client)
    for number in (b"1", b"2", b"3"):
        address, body = worker.take()
        require_equal(body, [number])
        worker.final(address)


@rule("B3", Level.MUST)
def partials(bench: Bench) -> None:
    """PARTIALs reach the client in order, then the FINAL."""
    worker, client = bench.worker(), bench.client()
    for count in (0, 1, 3):
        client.ask()
        address, _ = worker.take()
        parts = [b"%d" % number for number in range(count)]
        for part in parts:
            worker.partial(address, part)
        worker.final(address, b"end")
        for part in parts:
            client.expect_partial(part)
        client.expect_final(b"end")


@rule("B4", Level.MUST)
def nothing_after_the_final(bench: Bench) -> None:
    """What a worker sends after its FINAL reaches no client; it gets DISCONNECT."""
    for command in (mdp.W_PARTIAL, mdp.W_FINAL):
        worker, client = bench.worker(), bench.client()
        client.ask()
        address, _ = worker.take()
        worker.final(address, b"end")
        client.expect_final(b"end")
        worker.say(mdp.WORKER, command, address, b"", b"more")
        client.expect_silence()
        worker.expect_disconnect()


@rule("B6", Level.SHOULD)
def early_requests(bench: Bench) -> None:
    """A request for a service without a worker waits for one."""
    client = bench.client()
    client.ask(b"early")
    bench.settle_asked(client)
    _, body = bench.worker().take()
    require_equal(body, [b"early"])


@rule("B8", Level.SHOULD)
def fairness(bench: Bench) -> None:
    """Clients that wait for the same service are served in turn."""
    worker, flood, other = bench.worker(), bench.client(), bench.client()
    for _ in range(FLOOD):
        flood.ask(b"flood")
    bench.settle_asked(flood)
    address, _ = worker.take()
    for _ in range(FEW):
        other.ask(b"other")
    bench.settle_asked(other)
    served = []
    for _ in range(4 * FEW):
        worker.final(address)
        address, body = worker.take()
        served += body
    count = served.count(b"other")
    require(count == FEW, f"of {4 * FEW} served, {count} were of the client that asked {FEW} times")


@rule("B9", Level.MUST)
def clients_that_are_gone(bench: Bench) -> None:
    """An answer whose client is gone is dropped, and the worker goes on."""
    worker, client, other = bench.worker(), bench.client(), bench.client()
    client.ask()
    address, _ = worker.take()
    client.close()
    bench.pause()
    worker.final(address)
    other.ask(b"next")
    address, _ = worker.take()
    worker.final(address, b"answer")
    other.expect_final(b"answer")


@rule("D10", Level.OWN)
def no_heartbeats_to_clients(bench: Bench) -> None:
    """Clients get no heartbeats."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    worker.take()
    live(worker, 2 * bench.pace.heartbeat_s, bench)
    client.expect_silence()


@rule("E1", Level.MUST)
def one_request_at_a_time(bench: Bench) -> None:
    """A worker has one request at a time."""
    worker, client, other = bench.worker(), bench.client(), bench.client()
    client.ask(b"1")
    address, _ = worker.take()
    other.ask(b"2")
    worker.partial(address, b"part")
    worker.expect_no_request()
    worker.final(address)
    require_equal(worker.take()[1], [b"2"])


@rule("E4", Level.MAY)
def longest_idle_first(bench: Bench) -> None:
    """The worker that has been idle longest is next."""
    order = []
    for _ in range(2):  # one after the other, so that both are known, and idle in this order
        worker, client = bench.worker(), bench.client()
        client.ask()
        order.append((worker, client, worker.take()[0]))
    for worker, client, address in order:
        worker.final(address, b"end")
        client.expect_final(b"end")
    (first, client, _), (second, _, _) = order
    for worker in (first, second, first):
        client.ask()
        address, _ = worker.take()
        worker.final(address, b"end")
        client.expect_final(b"end")


@rule("E6", Level.MUST)
def streams_at_once(bench: Bench) -> None:
    """Streams to several clients don't mix."""
    ann, bob = bench.client(), bench.client()
    workers = {}
    for client, name in ((ann, b"a"), (bob, b"b")):
        worker = bench.worker()
        client.ask(name)
        workers[name] = (worker, worker.take()[0])
    for number in range(3):
        for name, (worker, address) in workers.items():
            worker.partial(address, b"%b%d" % (name, number))
    for client, name in ((ann, b"a"), (bob, b"b")):
        for number in range(3):
            client.expect_partial(b"%b%d" % (name, number))


@rule("E8", Level.OWN)
def opaque_bodies(bench: Bench) -> None:
    """Bodies are passed on unread."""
    worker, client = bench.worker(), bench.client()
    body = [secrets.token_bytes(size) for size in (1, 255, 256, 100_000)]
    client.ask(*body)
    require_equal(worker.take()[1], body)


@rule("F1", Level.MUST)
def own_services(bench: Bench) -> None:
    """The broker answers `mmi.` requests itself, also those that it does not know."""
    client = bench.client(b"mmi." + secrets.token_hex(4).encode())
    client.ask()
    require_equal(client.hear()[:3], [mdp.CLIENT, mdp.C_FINAL, client.service])


@rule("F2", Level.MUST)
def mmi_service(bench: Bench) -> None:
    """`mmi.service` says 200 while a worker, busy or not, offers the service, else 404."""
    asker, client = bench.client(b"mmi.service"), bench.client()

    def require_answer(expected: bytes, when: str) -> None:
        asker.ask(bench.service)
        found = asker.hear()[3:]
        require(found == [expected], f"{when}: expected {expected!r}, heard {shown(found)}")

    require_answer(b"404", "before anybody offered it")
    worker = bench.worker()
    require_answer(b"200", "with an idle worker")
    client.ask()
    worker.take()
    require_answer(b"200", "with a busy worker")
    worker.say(mdp.WORKER, mdp.W_DISCONNECT)
    bench.settle_gone(bench.service)
    require_answer(b"404", "after the last worker left")


@rule("F3", Level.MUST)
def mmi_unknown(bench: Bench) -> None:
    """Any other `mmi.` service says 501, in one frame."""
    client = bench.client(b"mmi.nothing")
    client.ask(b"x")
    require_equal(client.hear()[3:], [b"501"])


@rule("F4", Level.MUST)
def mmi_answers(bench: Bench) -> None:
    """The answer of `mmi.service` is a FINAL of that service."""
    client = bench.client(b"mmi.service")
    client.ask(bench.service)
    client.expect_final(b"404")


@rule("F5", Level.OWN)
def near_mmi(bench: Bench) -> None:
    """Only a name that begins with `mmi.` is the broker's."""
    name = b"x" + secrets.token_hex(4).encode() + b"mmi.service"
    worker, client = bench.worker(name), bench.client(name)
    client.ask(b"x")
    require_equal(worker.take()[1], [b"x"])
