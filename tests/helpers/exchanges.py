"""The worked exchanges of `protocol/exchanges`: what each line says, and carrying it out.

An unindented line is an action (`client sends`, `worker receives`, `5 s pass`, …), the indented
lines below it are its frames: a text in quotes, an octet in hexadecimal, or a message in JSON.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from intendant.broker.config import BrokerConfig
from intendant.broker.core import BrokerCore
from intendant.broker.services import Outgoing, Peer
from intendant.protocol.roles import local

FOLDER = Path(__file__).parents[2] / "protocol" / "exchanges"
FILES = sorted(FOLDER.glob("*.txt"))
DAEMON_PID = 1
DAEMONS = ("executor", "stream", "supervisor")
"""Those of the peers that are the daemon's own process."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action and its frames."""

    action: str
    frames: list[bytes] = field(default_factory=list)


def read_steps(path: Path) -> list[Step]:
    """The steps of a file, in order."""
    steps: list[Step] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            steps[-1].frames.append(read_frame(line.strip()))
        elif line and not line.startswith("#"):
            steps.append(Step(line))
    return steps


def read_frame(text: str) -> bytes:
    """The bytes of one frame."""
    if text.startswith('"'):
        said = json.loads(text)
        assert isinstance(said, str)
        return said.encode()
    return text.encode() if text.startswith("{") else bytes.fromhex(text)


class Replay:
    """A daemon's broker without sockets, and everybody whom an exchange names."""

    def __init__(self) -> None:
        self.now = 100.0
        self.core = BrokerCore(BrokerConfig(daemon_pid=DAEMON_PID))
        self.inbox: defaultdict[str, deque[list[bytes]]] = defaultdict(deque)
        self._peers: dict[str, Peer] = {}

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Fail where the broker does anything else, or anything besides."""
        for step in steps:
            if not step.action.endswith(" receives"):
                self._require_nothing_more(step)
            self._do(step)
        self._require_nothing_more(Step("the end"))

    def _do(self, step: Step) -> None:
        match step.action.split():
            case [who, "sends"]:
                self._deliver(self.core.receive(self._peer(who), step.frames, self.now))
            case [who, "receives"]:
                assert self.inbox[who], f"{who} got nothing"
                assert self.inbox[who].popleft() == step.frames
            case ["executor", "allows", service, digest]:
                self.core.allow(service, digest)
            case [seconds, "s", "pass"] if re.fullmatch(r"\d+", seconds):
                self.now += float(seconds)
                self._deliver(self.core.tick(self.now))
            case ["broker", "ends"]:
                self._deliver(self.core.shut_down())
            case _:
                raise ValueError(f"no action: {step.action!r}")

    def _peer(self, who: str) -> Peer:
        if who not in self._peers:
            is_daemon = who in DAEMONS
            self._peers[who] = Peer(
                endpoint=0, routing_id=who.encode(), caller=local("ada"),
                pid=DAEMON_PID if is_daemon else 4711, private=is_daemon or who == "governor",
            )  # fmt: skip
        return self._peers[who]

    def _deliver(self, messages: list[Outgoing]) -> None:
        for peer, words, _ in messages:
            frames = [frame for frame in words if isinstance(frame, bytes)]
            self.inbox[peer.routing_id.decode()].append(frames)

    def _require_nothing_more(self, step: Step) -> None:
        left = {who: list(inbox) for who, inbox in self.inbox.items() if inbox}
        assert not left, f"before {step.action!r}, these were sent as well: {left}"
