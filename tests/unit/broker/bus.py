"""A bus without sockets: peers talk to a core, what they would receive is kept by peer."""

from __future__ import annotations

import json

from intendant.broker.config import BrokerConfig
from intendant.broker.core import BrokerCore
from intendant.broker.services import Outgoing, Peer
from intendant.protocol import mdp
from intendant.protocol.roles import Caller, local
from tests.unit.broker.invariants import check_invariants

CLIENT, WORKER = mdp.CLIENT, mdp.WORKER
HEARTBEAT = [WORKER, mdp.W_HEARTBEAT]
DISCONNECT = [WORKER, mdp.W_DISCONNECT]


class Bus:
    """A core, a clock moved by hand, and the inbox of every peer."""

    def __init__(self, **config: object) -> None:
        defaults: dict[str, object] = {"heartbeat_s": 1.0, "open_registration": True}
        self.core = BrokerCore(BrokerConfig(**{**defaults, **config}))  # type: ignore[arg-type]  # a test names its own
        self.now = 100.0
        self.inbox: dict[Peer, list[list[object]]] = {}
        self.gone: set[Peer] = set()
        self.full: set[Peer] = set()
        self.checks_always = True
        self._last_id = 0

    def peer(
        self,
        account: str = "ann",
        *,
        caller: Caller | None = None,
        key: str | None = None,
        pid: int | None = None,
        private: bool = False,
    ) -> Peer:
        """Somebody who has just connected."""
        self._last_id += 1
        routing_id = self._last_id.to_bytes(5, "big")
        peer = Peer(0, routing_id, caller or local(account), key=key, pid=pid, private=private)
        self.inbox[peer] = []
        return peer

    def worker(self, service: bytes = b"echo", peer: Peer | None = None) -> Peer:
        """A peer that has said READY."""
        peer = peer or self.peer()
        self.say(peer, WORKER, mdp.W_READY, service)
        return peer

    def say(self, peer: Peer, *frames: object) -> None:
        """`peer` sends a message."""
        self.deliver(self.core.receive(peer, list(frames), self.now))

    def ask(self, client: Peer, *body: object, service: bytes = b"echo") -> None:
        """`client` sends a REQUEST."""
        self.say(client, CLIENT, mdp.C_REQUEST, service, *(body or (b"?",)))

    def answer(self, worker: Peer, *body: object, command: bytes = mdp.W_FINAL) -> None:
        """`worker` answers the request that it got last."""
        self.say(worker, WORKER, command, self.assigned(worker)[2], b"", *(body or (b"!",)))

    def part(self, worker: Peer, *body: object) -> None:
        """`worker` sends a PARTIAL for the request that it got last."""
        self.answer(worker, *body, command=mdp.W_PARTIAL)

    def assigned(self, worker: Peer) -> list[object]:
        """The last REQUEST that `worker` got."""
        return [frames for frames in self.inbox[worker] if frames[1] == mdp.W_REQUEST][-1]

    def requests(self, worker: Peer) -> list[object]:
        """The first body frame of every REQUEST that `worker` got."""
        return [frames[4] for frames in self.inbox[worker] if frames[1] == mdp.W_REQUEST]

    def answers(self, client: Peer) -> list[object]:
        """The first body frame of every PARTIAL and FINAL that `client` got."""
        return [frames[3] for frames in self.inbox[client]]

    def error_codes(self, client: Peer) -> list[str]:
        """The codes of the errors that `client` got."""
        bodies = [body for body in self.answers(client) if isinstance(body, bytes)]
        return [json.loads(body)["code"] for body in bodies if body.startswith(b"{")]

    def pass_time(
        self, duration_s: float, *, step_s: float = 0.25, alive: tuple[Peer, ...] = ()
    ) -> None:
        """Let time pass in steps; the workers `alive` send heartbeats meanwhile."""
        for _ in range(round(duration_s / step_s)):
            self.now += step_s
            for worker in alive:
                self.say(worker, *HEARTBEAT)
            self.tick()

    def tick(self) -> None:
        """The core is told the time."""
        self.deliver(self.core.tick(self.now))

    def deliver(self, messages: list[Outgoing]) -> None:
        """Put each message into its peer's inbox, or tell the core that it can't be sent."""
        queue = list(messages)
        while queue:
            message = queue.pop(0)
            peer, frames, _ = message
            if peer in self.gone | self.full:
                queue += self.core.send_failed(message, self.now, gone=peer in self.gone)
            else:
                self.inbox[peer].append(list(frames))
        if self.checks_always:
            check_invariants(self.core, self.inbox)
