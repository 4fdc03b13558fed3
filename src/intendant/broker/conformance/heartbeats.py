"""Sections D, E and H as far as they are a matter of time or of noise."""

from __future__ import annotations

import random
import time

from intendant.broker.conformance.bench import (
    HEARTBEAT,
    Bench,
    Worker,
    live,
    require,
    require_equal,
)
from intendant.broker.conformance.rules import Level, rule
from intendant.protocol import mdp

NOISE = 2000
_WORDS = [
    mdp.CLIENT, mdp.WORKER, b"", b"\x00", b"MDPC01", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05",
    b"\x06", b"\x07", b"mmi.service", b"a" * 300, b"1:ann", b"x" * 1000,
]  # fmt: skip


def hear_heartbeats(worker: Worker, count: int, bench: Bench) -> None:
    """Send HEARTBEATs until so many were heard; they must come."""
    deadline = time.monotonic() + count * bench.pace.heartbeat_s + bench.pace.patience_s
    heard = 0
    while heard < count:
        require(time.monotonic() < deadline, f"only {heard} HEARTBEATs were heard")
        heard += live(worker, bench.pace.heartbeat_s / 2, bench).count(HEARTBEAT)


@rule("D1", Level.MUST)
def heartbeats(bench: Bench) -> None:
    """An idle worker gets a HEARTBEAT at each interval."""
    began = time.monotonic()
    hear_heartbeats(bench.worker(), 3, bench)
    intervals = (time.monotonic() - began) / bench.pace.heartbeat_s
    require(intervals > 2, f"3 HEARTBEATs were heard in {intervals:.1f} intervals")


@rule("D2", Level.MUST)
def silent_workers(bench: Bench) -> None:
    """A worker that is silent for liveness x interval counts as gone."""
    worker, client = bench.worker(), bench.client()
    bench.settle_gone(bench.service, after_s=bench.pace.expiry_s)
    client.ask()
    worker.expect_no_request()


@rule("D3", Level.MUST)
def partials_as_signs_of_life(bench: Bench) -> None:
    """PARTIALs without HEARTBEATs keep a worker registered."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    address, _ = worker.take()
    for _ in range(2 * bench.pace.liveness + 2):
        worker.partial(address, b"part")
        client.expect_partial(b"part")
        time.sleep(bench.pace.heartbeat_s / 2)
    worker.final(address, b"end")
    client.expect_final(b"end")


@rule("D4", Level.SHOULD)
def no_needless_heartbeats(bench: Bench) -> None:
    """No HEARTBEAT is sent where other commands flow."""
    asked_at = time.monotonic()
    worker, client = bench.worker(), bench.client()
    needless = 0
    for _ in range(12):
        before, asked_at = asked_at, time.monotonic()
        client.ask()
        frames = worker.hear_any(bench.pace.patience_s)
        while frames == HEARTBEAT:  # rightly, where we were late with the request ourselves
            needless += time.monotonic() - before < bench.pace.heartbeat_s / 2
            frames = worker.hear_any(bench.pace.patience_s)
        require(frames is not None and len(frames) > 4, "no REQUEST was heard")
        worker.final((frames or [])[2], b"end")
        client.expect_final(b"end")
        time.sleep(bench.pace.heartbeat_s / 4)
    # One may ask whether the worker is still there, for another reason than the interval.
    require(needless <= 1, f"{needless} HEARTBEATs came within half an interval of a REQUEST")


@rule("D5", Level.MUST)
def heartbeats_need_ready(bench: Bench) -> None:
    """HEARTBEAT does not register anybody."""
    worker, client = bench.newcomer(), bench.client()
    worker.beat()
    bench.pause()
    client.ask()
    worker.expect_no_request()


@rule("D6", Level.SHOULD)
def the_dead_beside_the_living(bench: Bench) -> None:
    """A worker that counts as gone is sent nothing, though another one lives."""
    alive, dead = bench.worker(), bench.worker(bench.service + b".dead")
    deadline = time.monotonic() + bench.pace.expiry_s + bench.pace.patience_s
    live(alive, bench.pace.expiry_s + bench.pace.heartbeat_s / 2, bench)
    while bench.offers(dead.service) and time.monotonic() < deadline:
        live(alive, bench.pace.heartbeat_s / 2, bench)
    dead.forget()
    live(alive, 1.5 * bench.pace.heartbeat_s, bench)
    dead.expect_silence()


@rule("D8", Level.MUST)
def busy_workers(bench: Bench) -> None:
    """A busy worker gets HEARTBEATs, and its own keep it registered."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    address, _ = worker.take()
    hear_heartbeats(worker, bench.pace.liveness + 1, bench)
    worker.final(address, b"end")
    client.expect_final(b"end")


@rule("E7", Level.OWN)
def one_final(bench: Bench) -> None:
    """A client sees one FINAL, also when a worker that counts as gone answers late."""
    worker, client = bench.worker(), bench.client()
    client.ask()
    address, _ = worker.take()
    lost = client.hear_any(bench.pace.expiry_s + bench.pace.patience_s)
    worker.final(address, b"late")
    require_equal((lost or client.hear())[1:2], [mdp.C_FINAL])
    client.expect_silence()


@rule("H3", Level.OWN)
def noise(bench: Bench) -> None:
    """Thousands of senseless messages harm nobody."""
    chance = random.Random(18)  # noqa: S311 - the same noise each time
    strangers = [bench.stranger() for _ in range(4)]
    for _ in range(NOISE):
        frames = chance.choices(_WORDS, k=chance.randrange(1, 7))
        chance.choice(strangers).say(*frames)
    bench.exchange()
