"""A core that is sent anything at all stays consistent and bounded."""

from __future__ import annotations

import random

import pytest

from intendant.broker.services import Peer
from intendant.protocol import mdp
from tests.unit.broker.bus import CLIENT, WORKER, Bus
from tests.unit.broker.invariants import check_invariants

MESSAGES = 20_000
FRAMES: list[bytes] = [
    CLIENT, WORKER, b"", b"\x00", b"MDPC01", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06",
    b"\x07", b"echo", b"stream", b"executor", b"governor.1.1", b"governor.1.1.token",
    b"mmi.service", b"a" * 300, b"1:ann", b"x" * 1000,
]  # fmt: skip


class Chaos:
    """Peers that say sensible and senseless things in a random but repeatable order."""

    def __init__(self, seed: int, bus: Bus) -> None:
        self.random = random.Random(seed)
        self.bus = bus
        bus.checks_always = False
        self.peers = [bus.peer(pid=1, private=bool(n % 2)) for n in range(30)]

    def step(self) -> None:
        """One message, or a change around it."""
        peer = self.random.choice(self.peers)
        self.bus.say(peer, *self.message(peer))
        if self.random.random() < 0.05:
            self.change()
        self.bus.now += self.random.choice([0.0, 0.001, 0.01])
        if self.random.random() < 0.1:
            self.bus.tick()
            check_invariants(self.bus.core, self.bus.inbox)

    def message(self, peer: Peer) -> list[bytes]:
        """Half of the time what a peer could really say."""
        service = self.random.choice([b"echo", b"stream", b"executor", b"governor.1.1"])
        sensible = [
            [WORKER, mdp.W_READY, service],
            [WORKER, mdp.W_HEARTBEAT],
            [CLIENT, mdp.C_REQUEST, service, b"x"],
            [
                WORKER,
                self.random.choice([mdp.W_PARTIAL, mdp.W_FINAL]),
                self.address(peer),
                b"",
                b"y",
            ],
        ]
        if self.random.random() < 0.5:
            return self.random.choice(sensible)
        return self.random.choices(FRAMES, k=self.random.randrange(7))

    def address(self, peer: Peer) -> bytes:
        """The address that `peer` was given last, if any."""
        given = [frames[2] for frames in self.bus.inbox[peer] if frames[1:2] == [mdp.W_REQUEST]]
        return given[-1] if given and isinstance(given[-1], bytes) else b"1:ann"

    def change(self) -> None:
        """Somebody leaves, is stuck, comes back as somebody else; time jumps."""
        at = self.random.randrange(len(self.peers))
        peer = self.peers[at]
        for inbox in self.bus.inbox.values():
            del inbox[:-20]
        match self.random.randrange(4):
            case 0:
                self.bus.gone.add(peer)
                self.peers[at] = self.bus.peer(pid=1, private=bool(at % 2))
            case 1:
                self.bus.full.symmetric_difference_update({peer})
            case 2:
                self.bus.now += self.random.choice([0.3, 2.0, 50.0])
            case _:
                self.bus.deliver(self.bus.core.peer_gone(peer, self.bus.now))


@pytest.mark.parametrize("is_open", [True, False])
def test_a6_h3_the_core_survives_random_messages(is_open: bool) -> None:
    bus = Bus(
        open_registration=is_open, daemon_pid=1, max_queue=20, redeliver=frozenset({b"echo"}),
        request_ttl_s=2.0, patience_s=2.0,
    )  # fmt: skip
    bus.core.allow("governor.1.1", "00" * 32)
    chaos = Chaos(20_260_000 + is_open, bus)
    for _ in range(MESSAGES // 2):
        chaos.step()
    counters = bus.core.counters
    assert counters["requests"] > 100
    assert counters["invalid"] > 100
    assert counters["waiting"] <= 20 * 300
    assert counters["workers"] <= len(bus.inbox)


def test_h1_a_core_forgets_everything_when_everybody_is_gone() -> None:
    bus = Bus()
    chaos = Chaos(7, bus)
    for _ in range(2000):
        chaos.step()
    bus.gone.update(bus.inbox)
    for peer in list(bus.inbox):
        bus.deliver(bus.core.peer_gone(peer, bus.now))
    assert bus.core.counters["workers"] == bus.core.counters["waiting"] == 0
    assert bus.core.next_deadline is None
