"""Section A: what a message must look like, and what becomes of the others."""

from __future__ import annotations

from intendant.broker.conformance.bench import Bench, RuleBroken, require_equal, shown
from intendant.broker.conformance.rules import Level, rule
from intendant.protocol import mdp

CLIENT, WORKER = mdp.CLIENT, mdp.WORKER
BODIES = [[b"one"], [b""], [b"one", b"", b"\x00\xff", b"four"], [b"", b""]]
INVALID = [
    [b""],
    [b"", b""],
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
    [CLIENT, mdp.C_REQUEST],
    [CLIENT, mdp.C_REQUEST, b"", b"x"],
]


@rule("A1", Level.MUST)
def one_endpoint(bench: Bench) -> None:
    """One endpoint serves clients and workers."""
    bench.exchange()


@rule("A2", Level.MUST)
def bodies(bench: Bench) -> None:
    """A body arrives as it was, both ways."""
    worker, client = bench.worker(), bench.client()
    for body in BODIES:
        client.ask(*body)
        address, found = worker.take()
        require_equal(found, body)
        worker.final(address, *body)
        client.expect_final(*body)


@rule("A3", Level.MUST)
def service_names(bench: Bench) -> None:
    """PARTIAL and FINAL name the service that was asked."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    address, _ = worker.take()
    worker.partial(address, b"1")
    worker.final(address, b"2")
    for _ in range(2):
        require_equal(client.hear()[2:3], [bench.service])


@rule("A4", Level.MUST)
def envelope(bench: Bench) -> None:
    """A worker's REQUEST holds one address frame and one empty frame before the body."""
    worker, client = bench.worker(), bench.client()
    client.ask(b"x")
    frames = worker.hear()
    require_equal(frames[:2] + frames[3:], [WORKER, mdp.W_REQUEST, b"", b"x"])


@rule("A5", Level.MUST)
def answers_without_envelope(bench: Bench) -> None:
    """An answer without address, empty frame or body reaches no client."""
    for command in (mdp.W_PARTIAL, mdp.W_FINAL):
        for has_body, delimiter in ((True, []), (True, [b"!"]), (False, [b""])):
            worker, client = bench.worker(), bench.client()
            client.ask()
            address, _ = worker.take()
            worker.say(WORKER, command, address, *delimiter, *([b"forged"] if has_body else []))
            for frames in client.hear_all(bench.pace.quiet_s / 4):
                if len(frames) < 4 or frames[3] == b"forged":
                    raise RuleBroken(f"the client heard {shown(frames)}")
            worker.close()


@rule("A6", Level.SHOULD)
def invalid_messages(bench: Bench) -> None:
    """An invalid message is dropped; broker and other peers go on."""
    stranger = bench.stranger()
    for frames in INVALID:
        stranger.say(*frames)
    bench.exchange()


@rule("A7", Level.SHOULD)
def invalid_workers(bench: Bench) -> None:
    """A worker that sent an invalid message loses its registration."""
    worker, client = bench.worker(), bench.client()
    worker.say(WORKER, b"\x09")
    bench.settle_gone(bench.service)
    client.ask()
    worker.expect_no_request()


@rule("A8", Level.MUST)
def requests_without_body(bench: Bench) -> None:
    """A REQUEST without a body is invalid."""
    worker, client = bench.worker(), bench.client()
    client.say(CLIENT, mdp.C_REQUEST, bench.service)
    worker.expect_no_request()


@rule("A9", Level.OWN)
def unprintable_names(bench: Bench) -> None:
    """A service name has 1 to 255 printable characters."""
    for name in (b"with space", b"\x00", b"caf\xe9", b"a" * 256, b"line\n"):
        worker, client = bench.newcomer(name), bench.client(name)
        worker.ready()
        client.ask()
        for frames in worker.hear_all(bench.pace.quiet_s / 2):
            require_equal(frames[:2] == [WORKER, mdp.W_REQUEST], False)


@rule("A10", Level.MUST)
def superfluous_frames(bench: Bench) -> None:
    """A HEARTBEAT with a third frame is invalid."""
    worker, client = bench.worker(), bench.client()
    worker.say(WORKER, mdp.W_HEARTBEAT, b"more")
    bench.settle_gone(bench.service)
    client.ask()
    worker.expect_no_request()


@rule("A11", Level.MUST)
def answers_from_clients(bench: Bench) -> None:
    """PARTIAL and FINAL from a client are invalid."""
    worker, client, victim = bench.worker(), bench.client(), bench.client()
    for command in (mdp.C_PARTIAL, mdp.C_FINAL):
        client.say(CLIENT, command, bench.service, b"forged")
    worker.expect_no_request()
    victim.ask()
    worker.take()
    client.say(CLIENT, mdp.C_FINAL, bench.service, b"forged")
    bench.settle_asked(client)
    worker.beat()
    victim.expect_silence()


@rule("A12", Level.MUST)
def requests_from_workers(bench: Bench) -> None:
    """REQUEST from a worker gets DISCONNECT."""
    worker = bench.worker()
    worker.say(WORKER, mdp.W_REQUEST, b"1:ann", b"", b"x")
    worker.expect_disconnect()
